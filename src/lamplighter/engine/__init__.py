"""Pure decision logic without I/O: plans, state machines of start and stop, recovery, status."""
