"""Calls to ``systemctl``, each with a deadline. None of them starts or stops anything."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lamplighter.errors import CallFailed, CallTimedOut

#: It exists exactly while systemd is the host's service manager.
BOOTED = Path("/run/systemd/system")

#: Real seconds: enabling a unit makes systemd read all units again.
TIMEOUT = 90.0

#: What is shown of a failed call's own words.
_MOST_WORDS = 500


def systemd_runs(booted: Path = BOOTED) -> bool:
    """Say whether systemd manages this host's services."""
    return booted.is_dir()


def reload_units() -> None:
    """Let systemd read its unit files again; raise ``CallFailed`` or ``CallTimedOut``."""
    _systemctl("daemon-reload")


def enable_unit(name: str) -> None:
    """Let a unit start with the host from now on; raise ``CallFailed`` or ``CallTimedOut``."""
    _systemctl("enable", "--quiet", name)


def _systemctl(*arguments: str) -> None:
    command = ("systemctl", "--no-ask-password", *arguments)
    told = " ".join(("systemctl", *arguments))
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise CallTimedOut(f"{told} did not return within {TIMEOUT:g} s") from error
    except subprocess.CalledProcessError as error:
        words = error.stdout.decode("utf-8", "replace").strip()[:_MOST_WORDS]
        raise CallFailed(
            f"{told} failed: {words or f'exit status {error.returncode}'}",
            hint=f"the files are in their places; when systemd answers, type {told}",
        ) from error
    except OSError as error:
        raise CallFailed(f"systemctl cannot be run: {error.strerror}") from error
