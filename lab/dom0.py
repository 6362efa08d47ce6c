"""The control domain as scenarios use it: commands, files, domains and the host itself.

Commands are shell lines, run as root. Every one has a deadline, and none outlives the scenario's
own. What the product prints with ``--json`` comes back parsed.
"""

from __future__ import annotations

import json
import shlex
import uuid
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from lab.clock import wait_for
from lab.failure import LabError
from lab.guests import BEHAVIOURS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lab.clock import Deadline
    from lab.link import Ended, Link
    from lab.variants import Variant

T = TypeVar("T")
Value = str | int | list[str]

#: The lab's guests get UUIDs from their names.
NAMESPACE = uuid.UUID("6c616d70-6c69-4768-9465-720000000000")
CONSOLES = "/var/log/xen/console"
DEFINITIONS = "/etc/xen"
#: On an emulated processor four creations at a time outlast libxl's own time-outs.
HOST = "[host]\nparallel_starts = 2\n"
REBOOT_TIME = 450.0


@dataclass(frozen=True)
class Answer:
    """The answer of a command of the product: its exit status and its JSON document."""

    status: int
    document: Any
    stderr: str
    seconds: float

    @property
    def domains(self) -> dict[str, Any]:
        """The document's domains by name."""
        return {entry["name"]: entry for entry in self.document["domains"]}

    @property
    def outcomes(self) -> dict[str, str]:
        """How each domain ended, by name."""
        return {name: entry["outcome"] for name, entry in self.domains.items()}

    def __str__(self) -> str:
        document = json.dumps(self.document, indent=1)
        return f"exit status {self.status} after {self.seconds:.1f} s\n{document}\n{self.stderr}"


class Dom0:
    """The control domain of the lab's host."""

    def __init__(
        self, variant: Variant, link: Link, deadline: Deadline, cut_power: Callable[[], None]
    ) -> None:
        """``cut_power`` takes the power from the host's machine and gives it back."""
        self.variant = variant
        self._link = link
        self._deadline = deadline
        self._cut_power = cut_power

    # --- commands ----------------------------------------------------------------------------

    def run(
        self, command: str, *, timeout: float = 60, check: bool = True, give: str = ""
    ) -> Ended:
        """Run a shell line in dom0. With ``check``, another exit status than 0 is a failure."""
        ended = self._link.run(command, timeout=self._deadline.within(timeout), give=give.encode())
        if check:
            assert ended.status == 0, str(ended)
        return ended

    def lamplighter(self, *arguments: str, timeout: float = 120) -> Answer:
        """Run a command of the product with ``--json``; whatever its exit status is."""
        ended = self.run(
            shlex.join(["lamplighter", "--json", *arguments]), timeout=timeout, check=False
        )
        try:
            document = json.loads(ended.stdout)
        except json.JSONDecodeError as error:
            raise AssertionError(f"no JSON on standard output: {ended}") from error
        return Answer(ended.status, document, ended.stderr, ended.seconds)

    def wait_for(self, what: str, look: Callable[[], T | None], *, seconds: float = 60) -> T:
        """Wait until ``look`` returns something true; fail with ``what`` when it never does."""
        return wait_for(what, look, seconds=self._deadline.within(seconds))

    def wait_until(self, what: str, test: str, *, seconds: float = 60) -> None:
        """Wait in dom0 until a shell line succeeds: to check over ssh would cost it more."""
        seconds = self._deadline.within(seconds)
        loop = shlex.quote(f"until {test}; do sleep 0.5; done 2>/dev/null")
        ended = self._link.run(f"timeout {seconds:.1f} sh -c {loop}", timeout=seconds + 20)
        if ended.status:
            raise LabError(f"waited {ended.seconds:.0f} s for {what}")

    # --- files -------------------------------------------------------------------------------

    def put(self, path: str, text: str) -> None:
        """Write a file of dom0, with its folders."""
        place = shlex.quote(path)
        self.run(f"mkdir -p $(dirname {place}) && cat >{place}", give=text)

    def copy(self, files: Iterable[Path], folder: str) -> None:
        """Put files of this machine into a folder of dom0; folders with all they hold."""
        self._link.copy(files, folder, timeout=self._deadline.within(60))

    def read(self, path: str) -> str:
        """Return what a file of dom0 holds."""
        return self.run(f"cat {shlex.quote(path)}").stdout

    def configure(self, text: str = "") -> None:
        """Write /etc/lamplighter/lamplighter.toml; its [host] table is the lab's."""
        self.put("/etc/lamplighter/lamplighter.toml", HOST + text)

    def define(
        self,
        name: str,
        behaviour: str,
        *,
        seconds: int | None = None,
        folder: str = DEFINITIONS,
        **keys: Value,
    ) -> str:
        """Write FOLDER/NAME.cfg for a guest of this behaviour; return its UUID.

        ``seconds`` is the behaviour's time; other keys are xl.cfg's (or ours, such as
        ``on_xend_start="start"``).
        """
        return self.write_definition(name, _needs(behaviour, seconds) | keys, folder=folder)

    def define_all(self, behaviours: Mapping[str, str], **keys: Value) -> None:
        """Write the definitions of several guests at once; ``behaviours`` is by name."""
        with TemporaryDirectory() as local:
            for name, behaviour in behaviours.items():
                Path(local, f"{name}.cfg").write_text(_definition(name, _needs(behaviour) | keys))
            self.copy(Path(local).iterdir(), DEFINITIONS)

    def write_definition(
        self, name: str, keys: Mapping[str, Value], *, folder: str = DEFINITIONS
    ) -> str:
        """Write FOLDER/NAME.cfg with keys of xl.cfg, or ours; return the domain's UUID."""
        self.put(f"{folder}/{name}.cfg", _definition(name, keys))
        return identity_of(name)

    # --- domains -----------------------------------------------------------------------------

    def domids(self) -> dict[str, int]:
        """The guests that the hypervisor lists under a name, by name; not dom0."""
        listed = json.loads(self.run("xl list -l").stdout or "[]")
        names = {entry["config"]["c_info"].get("name"): entry["domid"] for entry in listed}
        return {name: domid for name, domid in names.items() if name and domid}

    def create(self, *names: str, folder: str = DEFINITIONS) -> None:
        """Start domains by hand, each with ``xl create`` in a scope of its own."""
        for name in names:
            scope = f"systemd-run --quiet --scope --unit=by-hand-{name}"
            self.run(f"{scope} xl create -q {folder}/{name}.cfg >/dev/null 2>&1")

    def wait_up(self, *names: str, seconds: float = 60) -> None:
        """Return when each of these domains' kernels has advertised itself in XenStore."""
        for name in names:
            self.wait_node(name, "control/feature-poweroff", "1", seconds=seconds)

    def wait_node(self, name: str, node: str, value: str, *, seconds: float = 60) -> None:
        """Return when a node of this domain's own in XenStore holds this value."""
        path = f"/local/domain/$(xl domid {shlex.quote(name)})/{node}"
        test = f'[ "$(xenstore-read "{path}")" = {shlex.quote(value)} ]'
        self.wait_until(f"{name}'s {node} to be {value}", test, seconds=seconds)

    def wait_console(self, name: str, text: str, *, lines: int = 1, seconds: float = 60) -> None:
        """Return when this text is in so many lines of the domain's console."""
        test = f'[ "$(grep -cF -- {shlex.quote(text)} {_console(name)})" -ge {lines} ]'
        self.wait_until(f"{text!r} on {name}'s console", test, seconds=seconds)

    def console(self, name: str) -> str:
        """Everything this domain's incarnations have written to their consoles."""
        return self.run(f"cat {_console(name)} 2>/dev/null || true").stdout

    def xenstore(self, path: str) -> str | None:
        """Return a node's value; None: there is no such node."""
        ended = self.run(f"xenstore-read {shlex.quote(path)}", check=False)
        return ended.stdout.removesuffix("\n") if ended.status == 0 else None

    # --- the host ----------------------------------------------------------------------------

    def unit(self, name: str) -> dict[str, str]:
        """The properties of a unit by name, from systemd."""
        shown = self.run(f"systemctl show {shlex.quote(name)}").stdout
        return dict(line.partition("=")[::2] for line in shown.splitlines())

    def boot_id(self) -> str:
        """The kernel's identifier of this boot of dom0."""
        return self.read("/proc/sys/kernel/random/boot_id").strip()

    def reboot(self) -> None:
        """Reboot the host and return when it has booted to the end."""
        before = self.boot_id()
        self.run("systemctl reboot --no-block")
        self._wait_booted(before)

    def cut_power(self) -> None:
        """Cut the host's power, and return when it has booted to the end."""
        before = self.boot_id()
        self._cut_power()
        self._wait_booted(before)

    def _wait_booted(self, before: str) -> None:
        def back() -> bool:
            self._link.drop()
            try:
                return self.boot_id() != before
            except (LabError, AssertionError):
                return False

        wait_for("the host to boot", back, seconds=self._deadline.within(REBOOT_TIME), pause=2)
        self.settle()

    def settle(self) -> None:
        """Return when systemd has ended every job of the boot."""
        command = "timeout 240 systemctl is-system-running --wait"
        self.run(command, timeout=250, check=False)


def identity_of(name: str) -> str:
    """Return the UUID that the lab's guest of this name has."""
    return str(uuid.uuid5(NAMESPACE, name))


def _needs(behaviour: str, seconds: int | None = None) -> dict[str, Value]:
    """Return the keys of xl.cfg that give a guest its behaviour."""
    character = BEHAVIOURS[behaviour]
    extra = character.extra + (f" lamp.seconds={seconds}" if seconds is not None else "")
    values: dict[str, Value] = {"kernel": character.kernel, "memory": character.memory}
    if character.ramdisk:
        values["ramdisk"] = character.ramdisk
    if extra:
        values["extra"] = extra
    return values


def _definition(name: str, keys: Mapping[str, Value]) -> str:
    values: dict[str, Value] = {"name": name, "uuid": identity_of(name), "vcpus": 1, **keys}
    return "".join(f"{key} = {_literal(value)}\n" for key, value in values.items())


def _console(name: str) -> str:
    """Return where a domain's console is logged, for a shell."""
    return shlex.quote(f"{CONSOLES}/guest-{name}.log")


def _literal(value: Value) -> str:
    """Return a value as xl.cfg spells it."""
    if isinstance(value, list):
        return "[" + ", ".join(_literal(one) for one in value) + "]"
    return str(value) if isinstance(value, int) else f'"{value}"'
