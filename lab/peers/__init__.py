"""Lamplighter beside what else starts and stops domains, on the same booted host: `make lab-bench`."""
