"""Communication with the service manager about the unit that a run is part of."""
