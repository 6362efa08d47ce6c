"""What commands do: toolstack, XenStore, journal and decisions put together."""
