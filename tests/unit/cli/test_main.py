"""The frame of all commands: options on both sides, errors to messages and exit statuses."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from lamplighter import __version__, errors
from lamplighter.cli import main as frame
from lamplighter.cli.context import DEFAULT_CONFIG, Context

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    Behaviour = Callable[[argparse.Namespace, Context], int]


@dataclass
class End:
    status: int
    out: str
    err: str


class Probe(ModuleType):
    """A command that does what the test says."""

    HELP = "probe the frame"

    def __init__(self) -> None:
        super().__init__("probe")
        self.behaviour: Behaviour = lambda args, context: 0

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("command", nargs="?", choices=["this", "that"])
        parser.add_argument("--limit", type=int)

    def run(self, args: argparse.Namespace, context: Context) -> int:
        return self.behaviour(args, context)


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    module = Probe()
    monkeypatch.setitem(sys.modules, "tests.probe_command", module)
    monkeypatch.setitem(frame.COMMANDS, "probe", "tests.probe_command")
    return module


def call(*argv: str, environ: dict[str, str] | None = None) -> End:
    out, err = io.StringIO(), io.StringIO()
    status = frame.execute(argv, environ or {}, out, err)
    return End(status, out.getvalue(), err.getvalue())


def raising(error: BaseException) -> Behaviour:
    def behave(args: argparse.Namespace, context: Context) -> int:
        raise error

    return behave


# --- the command line ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "no command is given"),
        (("stauts",), "unknown command 'stauts'\n  did you mean status?"),
        (("frobnicate",), "unknown command 'frobnicate'\n  the commands are up, down, status,"),
        (("--jsn", "probe"), "unrecognized arguments: --jsn\n  did you mean --json?"),
        (("probe", "--limt=3"), "unrecognized arguments: --limt=3\n  did you mean --limit?"),
        (("probe", "--lim=3"), "unrecognized arguments: --lim=3\n  did you mean --limit?"),
        (("probe", "those"), "invalid choice: 'those' (choose from 'this', 'that')"),
        (("probe", "--limit", "many"), "argument --limit: invalid int value: 'many'"),
        (("--config",), "argument --config: expected one argument"),
        (("--config", "", "probe"), "--config requires a file name"),
    ],
)
def test_a_wrong_command_line_is_2_and_says_what_is_near(
    probe: Probe,
    argv: tuple[str, ...],
    said: str,
) -> None:
    probe.behaviour = raising(AssertionError("it ran"))
    end = call(*argv)
    assert (end.status, end.out) == (2, "")
    assert end.err.startswith("lamplighter: ")
    assert said in end.err


def test_version() -> None:
    assert call("--version") == End(0, f"lamplighter {__version__}\n", "")


@pytest.mark.parametrize("argv", [("--help",), ("-h",), ("help",)])
def test_the_overview_has_every_command(argv: tuple[str, ...]) -> None:
    end = call(*argv)
    assert end.status == 0
    listed = end.out.partition("commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == list(frame.COMMANDS)
    assert all(len(line.split()) > 2 for line in listed)


def test_a_commands_own_help(probe: Probe, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("probe", "--help").status == 0
    text = capsys.readouterr().out
    assert "usage: lamplighter probe" in text
    assert "--json" in text


@pytest.mark.parametrize(
    ("argv", "environ", "path", "explicit"),
    [
        (("probe",), {}, DEFAULT_CONFIG, False),
        (("probe",), {"LAMPLIGHTER_CONFIG": ""}, DEFAULT_CONFIG, False),
        (("probe",), {"LAMPLIGHTER_CONFIG": "/e"}, Path("/e"), True),
        (("--config", "/o", "probe"), {"LAMPLIGHTER_CONFIG": "/e"}, Path("/o"), True),
        (("probe", "--config", "/o"), {"LAMPLIGHTER_CONFIG": "/e"}, Path("/o"), True),
        (("--config=/first", "probe", "--config=/last"), {}, Path("/last"), True),
    ],
)
def test_where_the_configuration_is(
    probe: Probe,
    argv: tuple[str, ...],
    environ: dict[str, str],
    path: Path,
    explicit: bool,
) -> None:
    seen: list[Context] = []
    probe.behaviour = lambda args, context: seen.append(context) or 0
    assert call(*argv, environ=environ).status == 0
    assert (seen[0].config_path, seen[0].explicit) == (path, explicit)


@pytest.mark.parametrize("argv", [("--json", "probe"), ("probe", "--json")])
def test_json_is_understood_on_both_sides(probe: Probe, argv: tuple[str, ...]) -> None:
    probe.behaviour = lambda args, context: context.print_json({"é": context.as_json}) or 0
    assert json.loads(call(*argv).out) == {"é": True}


@pytest.mark.parametrize(
    ("before", "behind", "shown"),
    [
        ((), (), "iwe"),
        (("-v",), (), "diwe"),
        ((), ("--verbose",), "diwe"),
        (("--quiet",), (), "e"),
        ((), ("-q",), "e"),
        (("-v",), ("-q",), "e"),
        (("-q",), ("-v",), "diwe"),
        ((), ("-q", "-v"), "diwe"),
        (("-q", "--json"), (), "e"),
    ],
)
def test_how_much_is_shown_is_said_on_both_sides(
    probe: Probe, before: tuple[str, ...], behind: tuple[str, ...], shown: str
) -> None:
    def behave(args: argparse.Namespace, context: Context) -> int:
        log = logging.getLogger("lamplighter.service.any")
        for say, text in zip((log.debug, log.info, log.warning, log.error), "diwe", strict=True):
            say(text)
        return 0

    probe.behaviour = behave
    end = call(*before, "probe", *behind)
    assert end == End(0, "", "".join(f"lamplighter: {text}\n" for text in shown))


@pytest.mark.parametrize("option", ["-v", "-q"])
def test_an_error_is_shown_however_much_is(probe: Probe, option: str) -> None:
    probe.behaviour = raising(errors.CallFailed("m", hint="h"))
    assert call("probe", option) == End(1, "", "lamplighter: m\n  h\n")
    assert call(option, "prob").err.startswith("lamplighter: unknown command 'prob'\n")


def test_a_process_in_the_journal_gives_each_line_its_level() -> None:
    """As a unit's process has it: the two streams are not the same."""
    read, write = os.pipe()
    status = os.fstat(write)
    named = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    end = subprocess.run(
        [sys.executable, "-m", "lamplighter", "stauts"],
        stdout=subprocess.PIPE,
        stderr=write,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **named},
        check=False,
    )
    os.close(write)
    with os.fdopen(read) as journal:
        assert journal.read().splitlines() == [
            "<3>lamplighter: unknown command 'stauts'",
            "<3>  did you mean status?",
        ]
    assert (end.returncode, end.stdout) == (2, b"")


def test_what_the_command_returns_is_the_status(probe: Probe) -> None:
    probe.behaviour = lambda args, context: 1
    assert call("probe").status == 1


def test_a_configuration_that_was_named_must_exist(probe: Probe, tmp_path: Path) -> None:
    probe.behaviour = lambda args, context: context.configuration() and 0
    missing = tmp_path / "none.toml"
    end = call("--config", str(missing), "probe")
    assert end.status == 78
    assert end.err.startswith(f"lamplighter: {missing}: does not exist")


# --- the table of exit statuses --------------------------------------------------------------

EXITS = [
    (errors.UsageError("m", hint="h"), 2, "usage"),
    (errors.ToolstackUnreachable("m", hint="h"), 69, "toolstack-unreachable"),
    (errors.XenStoreUnreachable("m", hint="h"), 69, "xenstore-unreachable"),
    (errors.ProtocolError("m", hint="h"), 69, "protocol"),
    (errors.HostBusy("m", hint="h"), 75, "busy"),
    (errors.ConfigurationError("m", hint="h"), 78, "configuration"),
    (errors.DefinitionError("m", hint="h"), 78, "definition"),
    (errors.JournalError("m", hint="h"), 1, "journal"),
    (errors.CallFailed("m", hint="h"), 1, "call-failed"),
    (errors.CallTimedOut("m", hint="h"), 1, "call-timed-out"),
    (errors.XenStoreError("EACCES", "m", hint="h"), 1, "xenstore"),
]


@pytest.mark.parametrize(("error", "status", "code"), EXITS)
def test_each_error_has_its_exit_status(
    probe: Probe,
    error: errors.LamplighterError,
    status: int,
    code: str,
) -> None:
    probe.behaviour = raising(error)
    assert call("probe") == End(status, "", "lamplighter: m\n  h\n")
    told = call("probe", "--json")
    assert (told.status, told.err) == (status, "")
    assert json.loads(told.out) == {
        "error": {"code": code, "message": "m", "hint": "h"},
        "exit": status,
    }


def test_a_wrong_command_line_is_a_document_with_json() -> None:
    end = call("--json", "stauts")
    assert (end.status, end.err) == (2, "")
    assert json.loads(end.out)["error"]["code"] == "usage"
    assert json.loads(call("stauts", "--json").out)["exit"] == 2


def test_an_error_without_a_hint_is_one_line(probe: Probe) -> None:
    probe.behaviour = raising(errors.HostBusy("taken"))
    assert call("probe").err == "lamplighter: taken\n"


def test_what_an_error_quotes_cannot_harm_a_terminal(probe: Probe) -> None:
    probe.behaviour = raising(errors.CallFailed("xl said \x1b[2J", hint="see\x07"))
    assert call("probe").err == "lamplighter: xl said \\x1b[2J\n  see\\x07\n"


def test_an_interruption_is_130_and_says_where_to_look(probe: Probe) -> None:
    probe.behaviour = raising(KeyboardInterrupt())
    end = call("probe")
    assert end.status == 130
    assert (
        end.err == "lamplighter: interrupted\n  lamplighter status shows the state of each domain\n"
    )


def test_a_defect_keeps_its_traceback(probe: Probe) -> None:
    probe.behaviour = raising(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        call("probe")


# --- the process -----------------------------------------------------------------------------


def lamplighter(*argv: str, stdout: int) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "lamplighter", *argv],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )


def test_runs_as_a_module() -> None:
    end = lamplighter("--version", stdout=subprocess.PIPE)
    assert (end.returncode, end.stdout.decode(), end.stderr) == (
        0,
        f"lamplighter {__version__}\n",
        b"",
    )


@pytest.mark.parametrize("argv", [("--version",), ("--json", "nonsense")])
def test_a_reader_that_went_away_is_no_traceback(argv: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    end = lamplighter(*argv, stdout=write)
    os.close(write)
    assert (end.returncode, end.stderr) == (141, b"")


def test_a_full_disk_under_standard_output_is_reported() -> None:
    with Path("/dev/full").open("wb") as full:
        end = lamplighter("--version", stdout=full.fileno())
    assert end.returncode == 1
    assert end.stderr == b"lamplighter: the answer cannot be written: No space left on device\n"


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_a_closed_standard_stream_stops_nothing(closed: str) -> None:
    end = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m lamplighter --version {closed}>&-', sys.executable],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    said = b"" if closed == "1" else f"lamplighter {__version__}\n".encode()
    assert (end.returncode, end.stdout, end.stderr) == (0, said, b"")


@pytest.mark.parametrize("command", frame.COMMANDS)
def test_only_commands_that_speak_to_this_host_alone_do_without_tls(command: str) -> None:
    script = (
        "import io, sys; from lamplighter.cli.main import execute;"
        f"execute([{command!r}, '--help'], {{}}, io.StringIO(), io.StringIO());"
        "import asyncio; sys.stdout.write(str(asyncio.sslproto.ssl is not None))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    expected = importlib.util.find_spec("ssl") is not None and command not in frame.WITHOUT_TLS
    assert (ended.stdout.splitlines()[-1], ended.stderr) == (str(expected), "")
