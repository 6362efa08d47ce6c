"""Runs programs on this machine to their end, each with a deadline; the error has their output."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from lab.failure import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

OUTPUT_SHOWN = 4000


def run(
    command: Sequence[str | Path],
    *,
    timeout: float,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> str:
    """Run a program and return its standard output.

    Raises ``LabError`` with the end of its output when it fails or takes more than ``timeout``
    seconds. With ``log``, everything it prints goes to that file instead and "" is returned.
    """
    line = [str(part) for part in command]
    sink = log.open("wb") if log else None
    try:
        ended = subprocess.run(
            line,
            stdin=subprocess.DEVNULL,
            stdout=sink or subprocess.PIPE,
            stderr=sink or subprocess.PIPE,
            timeout=timeout,
            cwd=cwd,
            env={**os.environ, **(environ or {})},
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{line[0]}: no such program") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(line[:4])}: not done after {timeout:.0f} s") from error
    finally:
        if sink:
            sink.close()
    if ended.returncode:
        output = log.read_bytes() if log else (ended.stdout + ended.stderr)
        text = output[-OUTPUT_SHOWN:].decode(errors="replace")
        raise LabError(f"{' '.join(line[:4])}: exit status {ended.returncode}\n{text}")
    return "" if log else ended.stdout.decode(errors="replace")
