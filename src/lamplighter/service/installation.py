"""Installs the units, the manual pages, the configuration and the state directory.

The files are in the package, so that a wheel contains all of them. On the host itself the units go
where the administrator's units are; inside another root, for packagers, where a distribution's are.
Everything is checked before the first file is written.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.errors import ConfigurationError, UsageError
from lamplighter.host.files.installing import Installed, install_file, place_folder
from lamplighter.host.files.trust import Walk
from lamplighter.host.systemd.units import MONITOR, SERVICE

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

UNITS = (SERVICE, MONITOR)
CONFIGURATION = Path("/etc/lamplighter/lamplighter.toml")
STATE = Path("/var/lib/lamplighter")
PROGRAM = "lamplighter"

#: What a path in ExecStart= may consist of, so that systemd reads it as nothing but a path.
_PLAIN = re.compile(r"(/[A-Za-z0-9_.+,:@=-]+)+|/")


@dataclass(frozen=True, slots=True)
class InstallPaths:
    """Where things go, as the installed host will see them; ``root`` is where that host is."""

    root: Path
    bindir: Path
    unitdir: Path
    mandir: Path


def on_this_host(bindir: Path) -> InstallPaths:
    """Return the paths of an installation by the administrator."""
    return InstallPaths(
        Path("/"), bindir, Path("/etc/systemd/system"), Path("/usr/local/share/man")
    )


def inside(root: Path, bindir: Path = Path("/usr/bin")) -> InstallPaths:
    """Return the paths of an installation by a distribution's package, in a folder of its own."""
    return InstallPaths(root, bindir, Path("/usr/lib/systemd/system"), Path("/usr/share/man"))


def install_files(places: InstallPaths) -> list[Installed]:
    """Install everything; return what was done with each file.

    Raises ``UsageError`` for a path that makes no sense, ``ConfigurationError`` for a file that
    cannot be written or a program that must not be run.
    """
    check_places(places)
    placed = []
    for name in UNITS:
        unit = _packaged("units", name).replace("@bindir@", str(places.bindir)).encode()
        placed.append(install_file(_within(places, places.unitdir / name), unit))
    for name in sorted(page.name for page in _package().joinpath("man").iterdir()):
        section = Path(name).suffix.removeprefix(".")
        target = places.mandir / f"man{section}" / name
        placed.append(install_file(_within(places, target), _packaged("man", name).encode()))
    default = _packaged("etc", CONFIGURATION.name).encode()
    placed.append(install_file(_within(places, CONFIGURATION), default, keep=True))
    placed.append(place_folder(_within(places, STATE), 0o700))
    return placed


def check_places(places: InstallPaths) -> None:
    """Raise ``UsageError`` or ``ConfigurationError`` for a path that cannot be used."""
    for option, path in (
        ("--root", places.root),
        ("--bindir", places.bindir),
        ("--unitdir", places.unitdir),
        ("--mandir", places.mandir),
    ):
        if not path.is_absolute() or ".." in path.parts:
            raise UsageError(f"{option} needs an absolute path without '..', not '{path}'")
    if not _PLAIN.fullmatch(str(places.bindir)):
        raise UsageError(
            f"--bindir: '{places.bindir}' cannot be written into a unit",
            hint="it may consist of letters, digits and _ . + , : @ = - only",
        )
    if not places.root.is_dir():
        raise UsageError(f"--root: there is no folder {places.root}", hint="create it first")
    if places.root == Path("/"):
        check_program(places.bindir / PROGRAM, owners={0})


def check_program(program: Path, owners: set[int]) -> None:
    """Raise ``ConfigurationError`` unless this is a program that root may start at boot."""
    where = str(program)
    try:
        with Walk(program, owners) as walk:
            runs = os.access(walk.path, os.X_OK) and walk.path.is_file()
            distrust = walk.distrust
    except OSError as error:
        raise ConfigurationError(
            f"the unit could not start it: {error.strerror}",
            where=where,
            hint="--bindir names the folder that holds the program lamplighter",
        ) from error
    if not runs:
        raise ConfigurationError(
            "the unit could not start it: it is not an executable file", where=where
        )
    if distrust is not None:
        raise ConfigurationError(
            f"root must not start it with the host: {distrust}", where=where, hint=distrust.hint
        )


def _within(places: InstallPaths, path: Path) -> Path:
    """Return the path inside the root; ``ConfigurationError`` when a link there leads out of it."""
    inner = places.root / path.relative_to("/")
    if not inner.parent.resolve().is_relative_to(places.root.resolve()):
        raise ConfigurationError(
            f"a link leads out of {places.root}, to {inner.parent.resolve()}", where=str(inner)
        )
    return inner


def _packaged(folder: str, name: str) -> str:
    return _package().joinpath(folder, name).read_text(encoding="utf-8")


def _package() -> Traversable:
    return files("lamplighter")
