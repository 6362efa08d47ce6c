"""The state machine that stops one domain."""
