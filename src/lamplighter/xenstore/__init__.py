"""The XenStore wire protocol, client and server side, without I/O."""
