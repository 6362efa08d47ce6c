"""The XenStore wire protocol without input or output: both ends of it."""
