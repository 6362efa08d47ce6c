"""A command as a process of its own that has everything imported already: a fork, not a new Python.

Most of the processor time of a short command is Python's own start and its imports. So a server,
one for each process that runs tests, makes them once and forks for each command.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lamplighter.cli.main import COMMANDS, main

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Real seconds that a command may take.
LIMIT = 60.0

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])

for _module in COMMANDS.values():
    import_module(_module)


def run_forked(
    words: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run ``lamplighter`` with these words; raise ``TimeoutExpired`` when it does not end."""
    with TemporaryDirectory() as told:
        out, err = Path(told, "out"), Path(told, "err")
        command = _CONTEXT.Process(
            target=_command, args=(list(words), dict(environment), Path.cwd(), out, err)
        )
        command.start()
        command.join(LIMIT)
        if command.exitcode is None:
            command.kill()
            command.join()
            raise subprocess.TimeoutExpired(words, LIMIT)
        return subprocess.CompletedProcess(
            words, command.exitcode, out.read_text("utf-8"), err.read_text("utf-8")
        )


def _command(
    words: list[str], environment: dict[str, str], folder: Path, out: Path, err: Path
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, path in ((1, out), (2, err)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.exit(main(words))
