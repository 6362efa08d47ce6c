"""Calls to ``systemctl``, each with a deadline. None of them moves a domain."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from lamplighter.errors import CallFailed, CallTimedOut
from lamplighter.host.machine import PATH
from lamplighter.host.programs import ENVIRONMENT

#: This folder exists exactly while systemd is the host's service manager.
BOOTED = Path("/run/systemd/system")

#: Real seconds; enabling a unit makes systemd read all units again.
TIMEOUT = 90.0

#: Real seconds for a query, which is made while systemd itself waits for this process.
ANSWER_TIMEOUT = 10.0

#: How many characters of a failed call's output are shown.
_OUTPUT_MAX = 500


class Job(NamedTuple):
    """A systemd job of a unit: its number, unique in a boot, and its type.

    A restart is one job: its type is ``restart`` until the unit has stopped, and ``start`` then.
    """

    number: int
    kind: str


def systemd_runs(booted: Path = BOOTED) -> bool:
    """Return whether systemd manages this host's services."""
    return booted.is_dir()


def reload_units() -> None:
    """Make systemd read its unit files again; raise ``CallFailed`` or ``CallTimedOut``."""
    _install("daemon-reload")


def enable_units(*names: str) -> None:
    """Make units start with the host; raise ``CallFailed`` or ``CallTimedOut``.

    systemd then reads its unit files again, as after ``reload_units``.
    """
    _install("enable", "--quiet", *names)


def restart_if_running(name: str) -> None:
    """Restart a unit if it runs; raise ``CallFailed`` or ``CallTimedOut``."""
    _install("try-restart", name)


def list_jobs(*units: str) -> dict[str, Job]:
    """Return the jobs of those of the units that have one; raise ``CallFailed``.

    As root, ``systemctl`` asks systemd itself over a private socket: no other daemon is needed, so
    it works until the very end of a shutdown.
    """
    listing = _systemctl(
        "list-jobs", "--full", "--no-legend", "--no-pager", *units, timeout=ANSWER_TIMEOUT
    )
    lines = (line.split() for line in listing.splitlines())
    fields = (line for line in lines if len(line) == 4 and line[0].isdecimal())
    return {unit: Job(int(number), kind) for number, unit, kind, _ in fields if unit in units}


def _install(*arguments: str) -> None:
    shown = " ".join(("systemctl", *arguments))
    hint = f"the files are in their places; when systemd answers, type {shown}"
    _systemctl(*arguments, timeout=TIMEOUT, hint=hint)


def _systemctl(*arguments: str, timeout: float, hint: str = "") -> str:
    command = ("systemctl", "--no-ask-password", *arguments)
    shown = " ".join(("systemctl", *arguments))
    try:
        ended = subprocess.run(
            command,
            # Nothing else of ours: SYSTEMD_COLORS=1, for one, would put escapes between the words.
            env={**ENVIRONMENT, "PATH": os.environ.get("PATH", PATH)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise CallTimedOut(f"{shown} did not return within {timeout:g} s") from error
    except subprocess.CalledProcessError as error:
        output = error.stdout.decode("utf-8", "replace").strip()[:_OUTPUT_MAX]
        raise CallFailed(
            f"{shown} failed: {output or f'exit status {error.returncode}'}", hint=hint
        ) from error
    except OSError as error:
        raise CallFailed(f"systemctl cannot be run: {error.strerror}") from error
    return ended.stdout.decode("utf-8", "replace")
