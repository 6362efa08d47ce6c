"""The lock: one run at a time, told who, and gone with its holder."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from lamplighter.errors import ConfigurationError, HostBusy
from lamplighter.host.lock import hold_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SINCE = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)

HOLDER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from lamplighter.host.lock import hold_host
with hold_host(Path(sys.argv[1]), command="down", since=datetime(2025, 3, 1, 11, tzinfo=UTC)):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_run(directory: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def busy(directory: Path) -> HostBusy:
    with pytest.raises(HostBusy) as caught, hold_host(directory, command="up", since=SINCE):
        pass
    return caught.value


def test_holds_and_lets_go(tmp_path: Path) -> None:
    run = tmp_path / "run" / "lamplighter"
    with hold_host(run, command="up", since=SINCE):
        assert stat.S_IMODE(run.stat().st_mode) == 0o755
        assert stat.S_IMODE((run / "lock").stat().st_mode) == 0o600
    with hold_host(run, command="up", since=SINCE):
        pass


def test_lets_go_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), hold_host(tmp_path, command="up", since=SINCE):
        raise KeyError
    with hold_host(tmp_path, command="up", since=SINCE):
        pass


def test_says_who_holds_it_and_since_when(tmp_path: Path) -> None:
    with other_run(tmp_path) as process:
        error = busy(tmp_path)
        user = json.loads((tmp_path / "lock").read_text())["user"]
    assert error.message == (
        f"another run holds this host: down (pid {process.pid}, {user}), "
        "since 2025-03-01T11:00:00+00:00"
    )
    assert error.exit_status == 75


def test_dies_with_its_holder(tmp_path: Path) -> None:
    with other_run(tmp_path) as process:
        process.kill()
        process.wait()
        with hold_host(tmp_path, command="up", since=SINCE):
            pass


def test_is_not_inherited_by_a_program_it_starts(tmp_path: Path) -> None:
    with hold_host(tmp_path, command="up", since=SINCE):
        left_behind = subprocess.Popen(
            [sys.executable, "-c", "import sys; print('here', flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
        )
        # Popen may return while the kernel is still closing the descriptors of the new program.
        assert left_behind.stdout is not None
        assert left_behind.stdout.readline() == b"here\n"
    with left_behind, hold_host(tmp_path, command="up", since=SINCE):
        assert left_behind.poll() is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[1, 2]",
        '{"pid": "x"}',
        '{"pid": 1, "began": null, "command": "up", "user": "root", "since": "then"}',
        '{"pid": 1, "began": "-5", "command": "up", "user": "root", "since": "then"}',
        "9" * 100_000,
        "[" * 100_000,
    ],
)
def test_text_of_a_dead_holder_is_not_believed(tmp_path: Path, text: str) -> None:
    with other_run(tmp_path):
        (tmp_path / "lock").write_text(text)
        assert busy(tmp_path).message == ("another run holds this host: it is not known which")


@pytest.mark.parametrize("call", ["pwrite", "open"])
def test_a_full_run_directory_does_not_keep_a_run_from_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The host's stop must not fail because there is no room for a text."""
    real = getattr(os, call)

    def full(path: object, flags: object, *others: object, **named: object) -> object:
        if call == "open" and not int(str(flags)) & os.O_CREAT:
            return real(path, flags, *others, **named)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as context:
        context.setattr(os, call, full)
        with hold_host(tmp_path, command="down", since=SINCE):
            assert busy(tmp_path).message.endswith("it is not known which")
    assert (tmp_path / "lock").exists() == (call == "pwrite")
    with hold_host(tmp_path, command="up", since=SINCE):
        pass


@pytest.mark.parametrize("kind", ["directory", "link", "file in the way"])
def test_a_run_directory_that_cannot_be_used_is_reported(tmp_path: Path, kind: str) -> None:
    run = tmp_path / "run"
    if kind == "file in the way":
        run.write_text("")
    elif kind == "directory":
        (run / "lock").mkdir(parents=True)
    else:
        run.mkdir()
        (run / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError) as caught, hold_host(run, command="up", since=SINCE):
        pass
    assert caught.value.where == str(run / "lock")
    assert "[host] run" in caught.value.hint
    assert not (tmp_path / "elsewhere").exists()
