"""The scenarios, one file each; ``lab.scenario`` says what such a file holds."""
