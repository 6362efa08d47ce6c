"""What guests report and what they are sent, through XenStore."""
