"""Installs and removes the agent in a guest: ``lamplighter-agent install`` and ``uninstall``.

With ``--root`` both work on the tree of a system that is not running, as builders of images need
it: links are made directly, and nothing is started. Both can be repeated at any time. Only what was
installed is removed; the administrator's own files stay, and masked units are refused.

Uninstalling also removes the agent's nodes, or the host would show a guest with an agent until the
next reboot. An agent that an init other than systemd still runs is not stopped but reported.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from pkgutil import get_data
from typing import TYPE_CHECKING
from zipimport import ZipImportError, zipimporter

from lamplighter.errors import ConfigurationError, LamplighterError, UsageError
from lamplighter.guest.config import Paths
from lamplighter.guest.control_socket import HELLO, call
from lamplighter.guest.nodes import AgentNodes
from lamplighter.guest.processes import Children, run_to_end
from lamplighter.guest.systemd import systemd_runs
from lamplighter.guest.xenbus import Bus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamplighter.guest.log import Log

PROGRAM = Path("/usr/local/sbin/lamplighter-agent")
UNIT_FOLDER = Path("/etc/systemd/system")
AGENT, HOOK = UNITS = ("lamplighter-agent.service", "lamplighter-agent-shutdown.service")
TARGET = "multi-user.target.wants"
PLACES = Paths()

#: Where systemd looks for programs (systemd.exec(5)), and code that fails in too old a Python.
SYSTEMD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NEW_ENOUGH = "import sys; sys.exit(sys.version_info < (3, 9))"


def install(root: str | None, *, start: bool, itself: str, log: Log, places: Paths = PLACES) -> int:
    """Install everything and, on the running system, start it; return the exit status."""
    tree = _tree(root)
    with reporting_os_errors(tree):
        _refuse_wrong_system(tree, Path(places.proc, "xen/capabilities"), log)
        try:
            zipimporter(itself)
        except ZipImportError:
            raise UsageError(
                f"{itself} is not the agent in one file, which is what is installed",
                hint="'make agent' builds it: dist/lamplighter-agent",
            ) from None
        program = Path(itself).read_bytes()
        try:
            compiling = import_module("lamplighter.guest.bytecode")
            program = compiling.with_bytecode(program, str(PROGRAM))
        except ImportError as error:
            reason = f"this Python is incomplete ({error})"
            log.note(f"without bytecode, so it starts slower: {reason}")
        # Read these before the program is replaced: it may be the file that they are in.
        units = {name: packaged("units", name) for name in UNITS}
        defaults = packaged("etc", "agent.conf")
        _place(_inside(tree, PROGRAM), program, 0o755, log)
        for name, unit in units.items():
            _place(_inside(tree, UNIT_FOLDER / name), unit, 0o644, log)
        for folder in (places.etc, places.scripts, places.checks):
            _inside(tree, Path(folder)).mkdir(mode=0o755, parents=True, exist_ok=True)
        configuration = _inside(tree, Path(places.configuration))
        if not configuration.exists():
            _place(configuration, defaults, 0o644, log)
        if root is not None:
            # Enable the units as ``systemctl enable`` would.
            wants = _inside(tree, UNIT_FOLDER / TARGET)
            wants.mkdir(mode=0o755, parents=True, exist_ok=True)
            for name in UNITS:
                link = wants / name
                if not link.is_symlink():
                    link.symlink_to(UNIT_FOLDER / name)
            return 0
    if not systemd_runs():
        log.note(f"systemd does not run here: let your init start '{PROGRAM} run' last, and call")
        log.note(f"'{PROGRAM} stopping poweroff|reboot' when it begins to stop the system")
        if _still_runs(places):
            log.warn("an agent runs already: have your init restart it, it is the old program")
        return 0
    status = _systemctl(log, "daemon-reload") or _systemctl(log, "enable", *UNITS)
    if status or not start:
        return status
    # A new program needs a new process. The hook's unit is not restarted: that would run its stop.
    status = _systemctl(log, "restart", AGENT) or _systemctl(log, "start", HOOK)
    if not status:
        log.note(f"{AGENT} runs")
    return status


def uninstall(root: str | None, log: Log, places: Paths = PLACES) -> int:
    """Remove the program, its units and its nodes in XenStore; return the exit status."""
    tree = _tree(root)
    if root is None and systemd_runs():
        _systemctl(log, "disable", "--now", *UNITS)
    with reporting_os_errors(tree):
        for name in UNITS:
            _remove(_inside(tree, UNIT_FOLDER / TARGET) / name, log)
            _remove(_inside(tree, UNIT_FOLDER / name), log)
        _remove(_inside(tree, PROGRAM), log)
    if root is None and systemd_runs():
        _systemctl(log, "daemon-reload")
    if root is None:
        with suppress(LamplighterError):
            AgentNodes.remove_all(Bus(places.xenstore))
        if _still_runs(places):
            log.warn("the agent still runs: have your init stop it and not start it again")
    log.note(f"{places.etc} is yours and stays")
    return 0


def _still_runs(places: Paths) -> bool:
    return call(places.control_socket, HELLO, patience=5.0) is not None


def packaged(folder: str, name: str) -> bytes:
    """Return a file that is packaged with the program."""
    content = get_data("lamplighter.guest", f"{folder}/{name}")
    if content is None:
        raise FileNotFoundError(f"{folder}/{name} is not in the program")
    return content


def _refuse_wrong_system(tree: Path, capabilities: Path, log: Log) -> None:
    """Refuse a system that the agent must not be put into, or could not run in."""
    if tree.resolve() == Path("/"):
        # In dom0 a request for the host itself to power off would force the host's end.
        if capabilities.is_file() and "control_d" in capabilities.read_text().split():
            raise UsageError(
                f"{capabilities} says that this is the host; the agent belongs into its guests",
                hint="for an image: --root DIR; for the host itself: lamplighter install",
            )
        # The python3 that systemd finds for the units need not be the one running now.
        path = f"PATH={SYSTEMD_PATH}"
        command = ("/usr/bin/env", path, "python3", "-IS", "-c", NEW_ENOUGH)
        if systemd_runs() and run_to_end(Children(), log, command):
            raise ConfigurationError(
                "python3 is older than 3.9, or there is none where systemd looks for it",
                where=SYSTEMD_PATH,
                hint="make a newer one python3, as with 'alternatives --config python3'",
            )
    # The administrator of a masked unit does not want it to run, and a write would unmask it.
    for name in UNITS:
        unit = _inside(tree, UNIT_FOLDER / name)
        if unit.is_symlink() and os.readlink(unit) == os.devnull:
            raise ConfigurationError(
                "the unit is masked", where=str(unit), hint=f"systemctl unmask {unit.name}"
            )


# --- files ---------------------------------------------------------------------------------------


def _place(path: Path, content: bytes, mode: int, log: Log) -> None:
    """Write a file atomically, unless it has that content already."""
    if path.is_file() and path.read_bytes() == content:
        if stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    new.replace(path)
    log.note(f"wrote {path}")


def _remove(path: Path, log: Log) -> None:
    if path.is_symlink() or path.exists():
        path.unlink()
        log.note(f"removed {path}")


def _tree(root: str | None) -> Path:
    tree = Path(root or "/").absolute()
    if not tree.is_dir():
        raise UsageError(f"--root: there is no folder {tree}")
    return tree


def _inside(tree: Path, path: Path) -> Path:
    """Return the path inside the tree; ``UsageError`` if a link there leads out of it."""
    inner = tree / path.relative_to("/")
    try:
        inner.parent.resolve().relative_to(tree.resolve())
    except ValueError:
        raise UsageError(f"--root: a link leads out of {tree}: {inner.parent}") from None
    return inner


@contextmanager
def reporting_os_errors(tree: Path) -> Iterator[None]:
    """Turn an ``OSError`` into a ``ConfigurationError`` that names the path."""
    try:
        yield
    except OSError as error:
        where = str(error.filename or tree)
        hint = "only root may do this" if isinstance(error, PermissionError) else ""
        message = error.strerror or "it failed"
        raise ConfigurationError(message, where=where, hint=hint) from error


# --- systemd -------------------------------------------------------------------------------------


def _systemctl(log: Log, *words: str) -> int:
    return run_to_end(Children(), log, ("systemctl", "--quiet", *words))
