"""Pure decisions: what to do with the world, one step at a time."""
