"""Communication with guests through XenStore."""
