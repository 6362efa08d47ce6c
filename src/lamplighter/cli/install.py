"""``lamplighter install``: install the units, the manual and a configuration; enable the units.

It starts nothing: the domains' unit starts domains, and an administrator should see the plan
first. A running monitor is restarted, which affects no domain. The command can be repeated at
any time and then changes only what differs.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lamplighter.cli.output.problems import problem_text
from lamplighter.cli.output.text import printable, style_of
from lamplighter.host.files.installing import Change, Installed
from lamplighter.host.systemd.systemctl import (
    enable_units,
    reload_units,
    restart_if_running,
    systemd_runs,
)
from lamplighter.host.systemd.units import MONITOR, conflicting_units, enabling_link
from lamplighter.report.documents import problem_document
from lamplighter.service.installation import (
    CONFIGURATION,
    PROGRAM,
    UNITS,
    InstallPaths,
    inside,
    install_files,
    on_this_host,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lamplighter.cli.context import Context
    from lamplighter.cli.output.text import Style
    from lamplighter.model.problem import Problem

HELP = "install the systemd units, the manual pages and a configuration"

#: Folders from which programs are usually started; a link there stays when the venv is replaced.
USUAL_FOLDERS = (Path("/usr/local/bin"), Path("/usr/bin"))

#: What to type when the host is installed, in this order.
NEXT = (
    "lamplighter check",
    "lamplighter plan up",
    *(f"systemctl start {unit.removesuffix('.service')}" for unit in reversed(UNITS)),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "--root",
        metavar="DIR",
        help="install below this folder, for a package; nothing outside it is read or changed",
    )
    parser.add_argument("--no-enable", action="store_true", help="do not enable the units")
    parser.add_argument(
        "--bindir",
        metavar="DIR",
        help="the folder of the program (default: that of this program; with --root: /usr/bin)",
    )
    parser.add_argument(
        "--unitdir",
        metavar="DIR",
        help="the folder for units (default: /etc/systemd/system; with --root: "
        "/usr/lib/systemd/system)",
    )
    parser.add_argument(
        "--mandir",
        metavar="DIR",
        help="the folder for man pages (default: /usr/local/share/man; with --root: "
        "/usr/share/man)",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the command; return the exit status."""
    places = places_of(args)
    placed = install_files(places)
    notes: list[str] = []
    enabled = False
    problems: list[Problem] = []
    on_host = args.root is None
    if on_host:
        new = [unit for unit in UNITS if not _enabled(unit)]
        if not systemd_runs():
            units = " ".join(UNITS)
            notes.append(f"systemd is not running here; once it is: systemctl enable {units}")
        else:
            if new and not args.no_enable:
                enable_units(*new)
                notes += [f"enabled    {unit}" for unit in new]
            else:
                reload_units()
            restart_if_running(MONITOR)
            enabled = not args.no_enable
        enabled = enabled or all(map(_enabled, UNITS))
        problems = conflicting_units()
    elif not os.path.lexists(program := places.root / (places.bindir / PROGRAM).relative_to("/")):
        notes.append(f"{program} does not exist yet; the unit will start it")
    if context.explicit and context.config_path.absolute() != CONFIGURATION:
        notes.append(f"the service reads {CONFIGURATION}, not {context.config_path}")
    following = NEXT if on_host else ()
    if context.as_json:
        context.print_json(
            {
                "files": [{"path": str(p.path), "how": p.how.value} for p in placed],
                "enabled": enabled,
                "notes": notes,
                "problems": [problem_document(problem) for problem in problems],
                "next": list(following),
                "exit": 0,
            }
        )
    else:
        style = style_of(context.out, context.environ)
        context.print(install_text(placed, notes, problems, following, style))
    return 0


def places_of(args: argparse.Namespace) -> InstallPaths:
    """Return the paths of the installation, as the options say."""
    if args.root is not None:
        places = inside(Path(args.root).absolute())
    else:
        places = on_this_host(bindir_of(Path(sys.argv[0]), Path(sys.executable)))
    given = {name: getattr(args, name) for name in ("bindir", "unitdir", "mandir")}
    return replace(places, **{name: Path(path) for name, path in given.items() if path is not None})


def bindir_of(
    called: Path, interpreter: Path, usual_folders: Sequence[Path] = USUAL_FOLDERS
) -> Path:
    """Return the folder of the running program; a usual folder if its link leads to it."""
    program = called if called.name == PROGRAM else interpreter.parent / PROGRAM
    for folder in usual_folders:
        if (folder / PROGRAM).exists() and (folder / PROGRAM).resolve() == program.resolve():
            return folder
    return program.absolute().parent


def install_text(
    placed: Sequence[Installed],
    notes: Sequence[str],
    problems: Sequence[Problem],
    following: Sequence[str],
    style: Style,
) -> str:
    """Lay out what happened to each file, notes, problems, and what to type next."""
    width = max(len(how.value) for how in Change)
    lines = [f"{p.how.value:<{width}}  {printable(str(p.path))}" for p in placed]
    lines += [printable(note) for note in notes]
    lines += [problem_text(problem, style) for problem in problems]
    if following:
        lines += ["Nothing was started. Type next:", *(f"  {line}" for line in following)]
    return "\n".join(lines)


def _enabled(unit: str) -> bool:
    return enabling_link(unit.removesuffix(".service")) is not None
