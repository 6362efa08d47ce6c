"""The service manager's unit that a run is part of."""
