"""One file a scenario; ``lab.scenario`` says what such a file holds."""
