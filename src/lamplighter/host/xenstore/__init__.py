"""A client of XenStore that outlives its connections."""
