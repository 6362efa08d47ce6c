"""The commands' answers as JSON documents."""
