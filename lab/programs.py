"""Programs on this machine, run to their end: a deadline each, their last words in the error."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from lab.failure import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LAST_WORDS = 4000


def run(
    command: Sequence[str | Path],
    *,
    timeout: float,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> str:
    """Run a program and return its standard output.

    Raises ``LabError`` with the end of what it said when it fails or takes more than ``timeout``
    seconds. With ``log``, everything it prints goes to that file instead and "" is returned.
    """
    words = [str(word) for word in command]
    sink = log.open("wb") if log else None
    try:
        ended = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=sink or subprocess.PIPE,
            stderr=sink or subprocess.PIPE,
            timeout=timeout,
            cwd=cwd,
            env={**os.environ, **(environ or {})},
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{words[0]}: no such program") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(words[:4])}: not done after {timeout:.0f} s") from error
    finally:
        if sink:
            sink.close()
    if ended.returncode:
        said = log.read_bytes() if log else (ended.stdout + ended.stderr)
        told = said[-LAST_WORDS:].decode(errors="replace")
        raise LabError(f"{' '.join(words[:4])}: exit status {ended.returncode}\n{told}")
    return "" if log else ended.stdout.decode(errors="replace")
