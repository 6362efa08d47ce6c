"""Errors of the lab itself, as opposed to failures of what it checks.

A scenario that finds a promise broken raises ``AssertionError``; everything that keeps the lab
from finding out is a ``LabError``. Both fail the scenario, and the report says which it was.
"""

from __future__ import annotations


class LabError(Exception):
    """The lab could not do its part: a build step, the boot, a command past its deadline."""
