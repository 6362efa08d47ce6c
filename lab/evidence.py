"""What is kept of a scenario that failed: enough to find out why without running it again."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from lab.failure import LabError
from lab.wheels import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from lab.link import Link
    from lab.machine import Machine
    from lab.variants import Variant

KEPT = ROOT / "build" / "lab"
#: A file's name and the line that fills it.
ACCOUNTS = {
    "journal.txt": "journalctl --no-pager -o short-precise -b",
    "journal-before.txt": "journalctl --no-pager -o short-precise -b -1 2>/dev/null",
    "domains.txt": "xl list -v; xl list -l; timeout 10 xenstore-ls -fp",
    "services.txt": "systemctl --no-pager --full status; systemctl --no-pager list-jobs",
    "history.txt": "lamplighter history --transitions; lamplighter status",
    "xl-dmesg.txt": "xl dmesg",
}
FOLDERS = ("/var/log/xen", "/etc/xen", "/etc/lamplighter")
#: The bytes of the end of a log that are kept.
LIMIT = 2_000_000


def collect(machine: Machine, link: Link, folder: Path, serial_from: int, reason: str) -> None:
    """Fill the folder. What cannot be read is left out: the failure itself is what matters."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reason.txt").write_text(reason)
    with machine.serial.open("rb") as serial:
        serial.seek(serial_from)
        (folder / "serial.log").write_bytes(serial.read())
    try:
        link.run("true", timeout=20)
    except LabError as error:
        (folder / "unreachable.txt").write_text(f"{error}\n")
        return
    for name, command in ACCOUNTS.items():
        with suppress(LabError):
            ended = link.run(f"{{ {command}; }} 2>&1 | tail -c {LIMIT}", timeout=40)
            (folder / name).write_text(ended.stdout)
    with suppress(LabError):
        _copy_logs(link, folder)


def keep_serial(machine: Machine, variant: Variant) -> str:
    """Keep what a host that did not come up wrote to its serial line; say where."""
    if not machine.serial.exists():
        return "it wrote nothing to its serial line"
    kept = KEPT / variant.name / "host" / "serial.log"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(machine.serial, kept)
    return f"serial log kept in {kept}"


def _copy_logs(link: Link, folder: Path) -> None:
    listed = link.run(f"find {' '.join(FOLDERS)} -type f -size +0 2>/dev/null", timeout=20)
    for path in listed.stdout.splitlines():
        kept = folder / path.lstrip("/")
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(link.run(f"tail -c {LIMIT} '{path}'", timeout=20).stdout)
