"""One variant: a host that has booted, the product on it, a snapshot, the scenarios from it."""

from __future__ import annotations

import shutil
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Self

from lab import evidence, wheels
from lab.clock import Deadline
from lab.dom0 import Dom0
from lab.failure import LabError
from lab.link import Link
from lab.machine import READY, Machine

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from lab.image import Image
    from lab.scenario import Scenario
    from lab.variants import Variant

INSTALL_TIME = 300.0


@dataclass(frozen=True)
class Verdict:
    """How a scenario ended. ``reason`` is empty when it passed.

    ``before`` is why its first try failed, when this is the second.
    """

    variant: str
    scenario: str
    seconds: float
    reason: str = ""
    before: str = ""

    def __str__(self) -> str:
        result = "FAILED" if self.reason else "passed"
        which = "  at the second try" if self.before else ""
        return f"{self.variant:<20} {self.scenario:<32} {result} {self.seconds:7.1f} s{which}"


class Bench:
    """A host that scenarios run on, one after another."""

    def __init__(self, variant: Variant, image: Image, booted: Path) -> None:
        """Continue from a host that has booted (``lab.booted``)."""
        self.variant = variant
        self._folder = Path(mkdtemp(prefix=f"lamplab-{variant.name}-"))
        self.machine = Machine(image, self._folder, c_xenstored=variant.c_xenstored, booted=booted)
        self.link = Link(self.machine.port, image.key)

    def prepare(self, product: Path | None) -> None:
        """Install the product (``lab.product``); keep the snapshot that scenarios begin from."""
        try:
            self.link.wait(120)
            # It still shows the time at which the host had booted.
            self.link.run(f"date -s @{time.time():.3f}", timeout=30)
            if product:
                self._install(product)
            self.link.run("sync", timeout=60)
            self.link.drop()
            self.machine.save(READY)
        except LabError as error:
            kept = evidence.keep_serial(self.machine, self.variant)
            raise LabError(f"{error}\n  {kept}") from error

    def run(self, scenarios: Iterable[Scenario], deadline: Deadline) -> list[Verdict]:
        """Run scenarios and print a line for each; begin none that would not end by the deadline.

        One that failed is run once more, because an emulated host is at times too slow for the
        time-outs of Xen's own tools. Both tries are printed, and the evidence of the first is kept.
        """
        verdicts = []
        for scenario in scenarios:
            if deadline.left < scenario.seconds:
                continue
            verdict = self._told(scenario)
            if verdict.reason and deadline.left >= scenario.seconds:
                verdict = self._told(scenario, before=verdict.reason)
            verdicts.append(verdict)
        return verdicts

    def rest(self) -> None:
        """End the machine, and with it what it takes of this one; scenarios may go on later."""
        self.link.drop()
        self.machine.quit()

    def close(self) -> None:
        """End the machine and remove what it left."""
        self.link.close()
        self.machine.quit()
        shutil.rmtree(self._folder, ignore_errors=True)

    def host(self, seconds: float) -> Dom0:
        """Return the control domain for a scenario of at most this time."""
        return Dom0(self.variant, self.link, Deadline(seconds), self.machine.cut_power)

    def _told(self, scenario: Scenario, *, before: str = "") -> Verdict:
        """Run a scenario and print how it ended."""
        name = f"{scenario.name}-again" if before else scenario.name
        kept = evidence.KEPT / self.variant.name / name
        shutil.rmtree(kept, ignore_errors=True)
        verdict = self._one(scenario, kept, before)
        print(verdict, flush=True)
        if verdict.reason:
            print(f"{verdict.reason.rstrip()}\n  kept in {kept}", flush=True)
        return verdict

    def _one(self, scenario: Scenario, kept: Path, before: str) -> Verdict:
        began = time.monotonic()
        serial_from = self.machine.serial.stat().st_size if self.machine.serial.exists() else 0
        with Attempt() as attempt:
            self._begin()
            scenario.run(self.host(scenario.deadline))
        seconds = time.monotonic() - began
        if attempt.error:
            evidence.collect(self.machine, self.link, kept, serial_from, attempt.reason)
        return Verdict(self.variant.name, scenario.name, seconds, attempt.reason, before)

    def _begin(self) -> None:
        self.link.drop()
        self.machine.load(READY)
        self.link.wait(120)

    def _install(self, product: Path) -> None:
        deadline = Deadline(INSTALL_TIME)
        line = (
            "tar -C / --no-same-owner -xf - && "
            f"ln -sf {wheels.HOME}/bin/lamplighter /usr/local/bin/lamplighter && "
            "lamplighter install"
        )
        ended = self.link.run(line, timeout=deadline.left, give=product.read_bytes())
        if ended.status:
            raise LabError(f"the product could not be installed: {ended}")
        self.host(deadline.left).configure()


class Attempt:
    """A block whose errors end the block and nothing else; ``reason`` is their text."""

    error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        last_record: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception):
            self.error = error
        return self.error is error

    @property
    def reason(self) -> str:
        """Empty when nothing went wrong."""
        match self.error:
            case None:
                return ""
            case AssertionError():
                return f"not as promised:\n{_place(self.error)}{self.error}"
            case LabError():
                return f"the lab:\n{_place(self.error)}{self.error}"
        trace = "".join(traceback.format_exception(self.error))
        return f"a defect of the scenario:\n{trace}"


def _place(error: BaseException) -> str:
    """Return the lines of the scenario that led to the error, which can be long itself."""
    return "".join(
        f"  {Path(frame.filename).name}:{frame.lineno}: {frame.line}\n"
        for frame in traceback.extract_tb(error.__traceback__)
        if "scenarios" in frame.filename
    )
