"""Lamplighter compared with other tools that start and stop the same guests: ``make lab-bench``."""
