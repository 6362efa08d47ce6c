"""Composition: journal, then act; one worker a domain."""
