"""The one file that goes into a guest: what is in it, where it runs, how it is installed."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamplighter import __version__
from lamplighter.errors import LamplighterError, UsageError
from lamplighter.formats.agent_protocol import GUEST_NODES
from lamplighter.guest import installation
from lamplighter.guest.bytecode import with_bytecode
from lamplighter.guest.config import Paths
from lamplighter.guest.installation import install, uninstall
from lamplighter.guest.log import Log
from lamplighter.guest.nodes import node
from lamplighter.guest.xenbus import Bus
from tests.agent import BUILDER, PATIENCE, Notes, interpreters, program
from tests.store_thread import StoreThread

if TYPE_CHECKING:
    from collections.abc import Iterator

UNITS = ("lamplighter-agent.service", "lamplighter-agent-shutdown.service")
UNIT_FOLDER = "etc/systemd/system"

#: What of the package does not go in.
HOSTS = {
    "cli",
    "service",
    "toolstacks",
    "host",
    "embedded",
    "engine",
    "model",
    "man",
    "units",
    "etc",
}


def sources(file: Path) -> dict[str, bytes]:
    """Return what an archive holds, bytecode aside."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        return {name: archive.read(name) for name in names if not name.endswith(".pyc")}


def test_what_is_installed_is_compiled_for_its_python_and_runs_on_another_all_the_same(
    tmp_path: Path,
) -> None:
    ours = tmp_path / "ours"
    ours.write_bytes(with_bytecode(program().read_bytes(), "/usr/local/sbin/lamplighter-agent"))
    with zipfile.ZipFile(ours) as archive:
        names = archive.namelist()
        main = archive.read("__main__.pyc")
    assert {f"{name}c" for name in names if name.endswith(".py")} < set(names)
    theirs = tmp_path / "theirs"
    with zipfile.ZipFile(ours) as archive, zipfile.ZipFile(theirs, "w") as other:
        for name in names:
            content = archive.read(name)
            magic = b"\0\0\r\n" if name.endswith(".pyc") else content[:4]
            other.writestr(name, magic + content[4:])
    assert main[:4] == MAGIC_NUMBER
    for file in (ours, theirs):
        command = [sys.executable, file, "--version"]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        assert told.stdout == f"lamplighter-agent {__version__}\n"
    again = with_bytecode(ours.read_bytes(), "/usr/local/sbin/lamplighter-agent")
    assert len(again) == ours.stat().st_size, "it is not compiled twice"


def test_it_is_small_and_holds_the_guests_side_alone() -> None:
    assert program().stat().st_size < 100_000
    with zipfile.ZipFile(program()) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert "__main__.py" in names
    packages = {name.split("/")[1] for name in names if name.startswith("lamplighter/")}
    assert packages == {"__init__.py", "errors.py", "formats", "guest", "xenstore"}
    assert not packages & HOSTS
    formats = {name for name in names if name.startswith("lamplighter/formats/")}
    assert formats == {
        f"lamplighter/formats/{name}.py"
        for name in ("__init__", "agent_protocol", "durations", "sd_notify", "suggest")
    }


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    again = tmp_path / "again"
    subprocess.run([sys.executable, BUILDER, again], check=True, cwd=tmp_path)
    assert again.read_bytes() == program().read_bytes()
    assert again.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    assert again.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("python", interpreters())
def test_it_runs_and_says_what_it_is(python: str) -> None:
    def told(*words: str) -> str:
        command = [python, "-IS", "-W", "error", program(), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert told("--version") == f"lamplighter-agent {__version__}\n"
    assert "usage: lamplighter-agent COMMAND" in told("--help")
    for command in ("say", "more", "status", "stopping", "install", "uninstall"):
        assert f"lamplighter-agent {command}" in told(command, "--help")


def test_the_daemon_loads_nothing_that_is_large() -> None:
    large = ("asyncio", "argparse", "dataclasses", "pathlib", "subprocess", "logging", "inspect")
    code = f"import sys, lamplighter.guest.daemon; print(*(set(sys.modules) & set({large})))"
    command = [
        sys.executable,
        "-ISc",
        f"import sys; sys.path.insert(0, {str(program())!r}); {code}",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout == "\n"


@pytest.mark.parametrize("python", interpreters())
def test_it_installs_itself_into_a_tree(tmp_path: Path, python: str) -> None:
    def in_tree(*words: str) -> str:
        command = [python, program(), *words, "--root", tmp_path]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr

    assert in_tree("install").count("wrote ") == 4
    installed = tmp_path / "usr/local/sbin/lamplighter-agent"
    assert sources(installed) == sources(program())
    assert installed.stat().st_mode & 0o777 == 0o755
    for unit in UNITS:
        path = tmp_path / UNIT_FOLDER / unit
        assert "/usr/local/sbin/lamplighter-agent" in path.read_text()
        link = tmp_path / UNIT_FOLDER / "multi-user.target.wants" / unit
        assert link.readlink() == Path("/", UNIT_FOLDER, unit)
    for folder in ("shutdown.d", "ready.d"):
        assert (tmp_path / "etc/lamplighter" / folder).is_dir()

    configuration = tmp_path / "etc/lamplighter/agent.conf"
    configuration.write_text("deadline = 3s\n")
    assert in_tree("install") == ""
    assert configuration.read_text() == "deadline = 3s\n"

    subprocess.run([python, installed, "install", "--root", tmp_path], check=True)  # as an image is
    assert in_tree("uninstall").count("removed ") == 5
    left = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if not path.is_dir()}
    assert left == {Path("etc/lamplighter/agent.conf")}


def test_a_link_does_not_lead_the_installation_out_of_the_tree(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/etc").symlink_to(tmp_path / "out")
    command = [sys.executable, program(), "install", "--root", tmp_path / "in"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "a link leads out of" in ended.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_installed_is_the_one_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lamplighter.guest", "install", "--root", tmp_path]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "is not the agent in one file" in ended.stderr


@pytest.mark.parametrize("root", [None, "/"])
def test_it_is_not_installed_in_the_host(tmp_path: Path, root: str | None) -> None:
    (tmp_path / "xen").mkdir()
    (tmp_path / "xen/capabilities").write_text("control_d\n")
    places, log = Paths(proc=str(tmp_path)), Log(marked=False)
    with pytest.raises(UsageError, match="says that this is the host"):
        install(root, start=False, itself=str(tmp_path), log=log, places=places)


@pytest.mark.parametrize("capabilities", [None, ""])
def test_a_guest_is_no_host(tmp_path: Path, capabilities: str | None) -> None:
    """It comes as far as looking at the program."""
    if capabilities is not None:
        (tmp_path / "xen").mkdir()
        (tmp_path / "xen/capabilities").write_text(capabilities)
    places, log = Paths(proc=str(tmp_path)), Log(marked=False)
    with pytest.raises(UsageError, match="is not the agent in one file"):
        install(None, start=False, itself=str(tmp_path), log=log, places=places)


@pytest.mark.parametrize("python", ["exit 1", "exit 0", None])
def test_the_python_that_the_units_start_must_be_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str | None
) -> None:
    monkeypatch.setattr(installation, "systemd_runs", lambda: True)
    monkeypatch.setattr(installation, "SYSTEMD_PATH", str(tmp_path))
    if python is not None:
        (tmp_path / "python3").write_text(f"#!/bin/sh\n{python}\n")
        (tmp_path / "python3").chmod(0o755)
    refused = "is not the agent in one file" if python == "exit 0" else "python3 is older than 3.9"
    places, log = Paths(proc=str(tmp_path)), Log(marked=False, descriptor=-1)
    with pytest.raises(LamplighterError, match=refused):
        install(None, start=False, itself=str(tmp_path), log=log, places=places)


def test_what_is_installed_is_replaced_by_itself(tmp_path: Path) -> None:
    """Under another Python its bytecode is another one, and so the file that is being read."""
    installed = tmp_path / "usr/local/sbin/lamplighter-agent"
    installed.parent.mkdir(parents=True)
    installed.write_bytes(program().read_bytes())
    command = [sys.executable, installed, "install", "--root", tmp_path]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stderr.count("wrote ") == 4
    assert installed.read_bytes() != program().read_bytes()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system without systemd, below this folder, although it is this very system."""
    monkeypatch.setattr(installation, "systemd_runs", lambda: False)
    for name in ("PROGRAM", "UNIT_FOLDER"):
        monkeypatch.setattr(
            installation, name, tmp_path / getattr(installation, name).relative_to("/")
        )
    return tmp_path


def places_of(folder: Path) -> Paths:
    run = folder / "run"
    run.mkdir(exist_ok=True)
    store, etc = str(folder / "s"), str(folder / "etc/lamplighter")
    return Paths(xenstore=store, etc=etc, run=str(run), proc=str(folder))


@pytest.mark.parametrize("runs", [True, False])
def test_an_uninstalled_agent_leaves_no_nodes_behind(elsewhere: Path, *, runs: bool) -> None:
    places, notes = places_of(elsewhere), Notes()
    with StoreThread(elsewhere / "s"):
        bus = Bus(places.xenstore)
        for name in (*GUEST_NODES, "asked"):
            bus.write(node(name), b"1 0.1.0")
        with talking(places, runs=runs):
            assert uninstall(None, notes, places) == 0
        assert [name for name in (*GUEST_NODES, "asked") if bus.read(node(name))] == ["asked"]
        bus.close()
    warned = ["the agent still runs: have your init stop it and not start it again"]
    assert notes.lines == [*(warned if runs else []), f"{places.etc} is yours and stays"]


def test_a_xenstore_that_is_not_there_keeps_nobody_from_taking_it_out(elsewhere: Path) -> None:
    places, notes = places_of(elsewhere), Notes()
    assert uninstall(None, notes, places) == 0
    assert notes.lines == [f"{places.etc} is yours and stays"]


@pytest.mark.parametrize("runs", [True, False])
def test_an_upgrade_says_that_the_old_program_still_runs(elsewhere: Path, *, runs: bool) -> None:
    places, notes = places_of(elsewhere), Notes()
    with talking(places, runs=runs):
        assert install(None, start=True, itself=str(program()), log=notes, places=places) == 0
    told = "an agent runs already: have your init restart it, it is the old program"
    assert (notes.lines[-1] == told) is runs
    assert any("systemd does not run here" in line for line in notes.lines)


@contextmanager
def talking(places: Paths, *, runs: bool) -> Iterator[None]:
    """A daemon that says that it is there, or none."""
    if not runs:
        yield
        return
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(places.control_socket)
        listener.listen()

        def answer() -> None:
            caller, _ = listener.accept()
            with caller:
                caller.recv(64)
                caller.sendall(b"0.1.0\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_that_is_masked_is_not_unmasked(tmp_path: Path, unit: str) -> None:
    mask = tmp_path / UNIT_FOLDER / unit
    mask.parent.mkdir(parents=True)
    mask.symlink_to("/dev/null")
    command = [sys.executable, program(), "install", "--root", tmp_path]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 78
    assert f"{mask}: the unit is masked" in ended.stderr
    assert f"systemctl unmask {unit}" in ended.stderr
    assert mask.readlink() == Path("/dev/null")
    assert not (tmp_path / "usr").exists(), "nothing was done"


#: What Debian's python3-minimal lacks, as far as anything here might ask for it.
NOT_MINIMAL = "asyncio bz2 concurrent dataclasses gzip json lzma multiprocessing shutil uuid xml"


def test_a_minimal_python_is_enough(tmp_path: Path) -> None:
    """Each command's own words are understood, and the program is installed without bytecode."""

    def execute(*words: str) -> subprocess.CompletedProcess[str]:
        code = (
            f"import runpy, sys; sys.modules.update(dict.fromkeys({NOT_MINIMAL.split()}))\n"
            f"sys.argv = {[str(program()), *words]}\n"
            "runpy.run_path(sys.argv[0], run_name='__main__')"
        )
        command = [sys.executable, "-ISc", code]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    places = {"--run": "run", "--xenstore": "store", "--etc": "etc"}
    nowhere = [word for option, name in places.items() for word in (option, str(tmp_path / name))]
    for words in (("say", "hello"), ("more", "5s"), ("status",), ("stopping", "poweroff")):
        ended = execute(words[0], *nowhere, *words[1:])
        assert "Traceback" not in ended.stderr, ended.stderr
        assert f"usage: lamplighter-agent {words[0]}" in execute(words[0], "--help").stdout

    (tmp_path / "tree").mkdir()
    ended = execute("install", "--root", str(tmp_path / "tree"))
    assert "without bytecode" in ended.stderr
    assert ended.stderr.count("wrote ") == 4
    installed = tmp_path / "tree/usr/local/sbin/lamplighter-agent"
    assert installed.read_bytes() == program().read_bytes()
    assert execute("uninstall", "--root", str(tmp_path / "tree")).stderr.count("removed ") == 5


def too_old() -> list[list[str]]:
    """Pythons that are too old: this one saying that it is, and those that are found here."""
    claims = "import runpy, sys; sys.version_info = (3, 8, 0); del sys.argv[0]"
    this = [sys.executable, "-ISc", f"{claims}; runpy.run_path(sys.argv[0], run_name='__main__')"]
    found = Path("~/.pyenv/versions").expanduser()
    old = [path for name in ("2.7", "3.6", "3.8") for path in found.glob(f"{name}.*/bin/python")]
    return [this, *([str(path)] for path in old)]


def test_a_python_that_is_too_old_says_so() -> None:
    for python in too_old():
        command = [*python, program(), "install"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 78
        needs = f"lamplighter-agent: it needs Python 3.9 or later; {python[0]} is "
        assert ended.stderr.startswith(needs), ended.stderr
        assert ended.stderr.count("\n") == 1
