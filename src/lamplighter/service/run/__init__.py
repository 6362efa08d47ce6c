"""One run: a start or a stop of domains."""
