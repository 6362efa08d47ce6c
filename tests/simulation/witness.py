"""Who sees what is done to the domains of one boot, and objects.

What must hold is checked where it happens, on the embedded host itself, not from what the product
says: no create of a domain that runs, or is being created, or is held, or after the run was told to
end; no second incarnation beside one that executes; no destroy before its time; nothing done that
was not on disk before. And what the product says is compared with it: nobody is told to be clean
that did not power off by itself, and nobody to be gone that runs.

Where nothing has gone wrong since a domain was first asked but that the host is busy, who shut down
by itself in time is told neither forced nor unknown, and is not destroyed while its reaper lives.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from lamplighter.engine.stop.extension import BY_THE_GUEST
from lamplighter.engine.stop.outcome import SHUT_DOWN
from lamplighter.engine.timing import REAPER_TIME
from lamplighter.formats.durations import parse_duration
from lamplighter.host.journal.reader import JournalReader
from lamplighter.model.domain import ShutdownReason
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Direction, Outcome
from lamplighter.xenstore import paths
from tests.simulation.process import CLOCK
from tests.simulation.saw import Saw

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from uuid import UUID

    from lamplighter.embedded.guests.behaviour import EmbeddedDefinition
    from lamplighter.embedded.guests.kernel import GuestKernel
    from lamplighter.embedded.host import EmbeddedHost
    from lamplighter.embedded.toolstack.xl import Resident
    from lamplighter.model.domain import DomainInfo
    from lamplighter.model.plan import Plan
    from lamplighter.model.run import Result, Run, Transition
    from tests.simulation.saw import Sights

STOP_TIMEOUT = 20.0

#: The time of a stop begins a little before its first transition is told.
TOLERANCE = 1.0

#: What went wrong so long before a stop may still work in it: calls that act late.
BEFORE = 15.0

#: What stands between how much more time was asked for and the rest, in a transition's detail.
MORE_GRANTED, MORE_REFUSED = " more granted,", " more refused,"

#: So a later run reports an end that the toolstack alone has seen.
ON_RECORD = "its end is on record"

#: The ends that may be told to be clean.
OWN_ENDS = (ShutdownReason.POWEROFF, ShutdownReason.REBOOT)

_TOLD = {
    Outcome.CLEAN: Saw.CLEAN,
    Outcome.FORCED: Saw.FORCED,
    Outcome.STARTED: Saw.STARTED,
    Outcome.FAILED: Saw.FAILED,
    Outcome.UNKNOWN: Saw.UNKNOWN,
}

_ON_RECORD = (
    "SELECT 1 FROM transition t JOIN run r ON r.id = t.run "
    "WHERE r.boot_id = :boot AND t.name = :name AND t.after = :after AND t.domid IS :domid"
)


class Broken(AssertionError):
    """An invariant does not hold."""


class Witness:
    """Sees what is done to the domains of one boot, and objects."""

    def __init__(
        self, embedded: EmbeddedHost, state: Path, sights: Sights, note: Callable[[str], None]
    ) -> None:
        self._xl = embedded.xl
        self._boot_id = embedded.boot_id
        self._journal = JournalReader(state)
        self.sights = sights
        self._note = note
        self._asked: dict[int, float] = {}
        self._granted: dict[int, float] = {}
        self._cut: set[tuple[UUID, int]] = set()
        self._cut_by_guest: set[tuple[UUID, int]] = set()
        self._ends: dict[tuple[UUID, int], ShutdownReason | None] = {}
        self._ended_at: dict[int, float] = {}
        self._seen_ended: set[int] = set()
        self.unheard: set[str] = set()
        self._disturbed_at = -inf
        self._objections: list[str] = []
        self._create, self._destroy = self._xl.create, self._xl.destroy
        self._run = self._xl._run
        self._xl.create = self._note_create  # type: ignore[method-assign]
        self._xl.destroy = self._note_destroy  # type: ignore[method-assign]
        self._xl._run = self._note_run  # type: ignore[method-assign]

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    # --- what is done ---

    async def _note_create(self, definition: EmbeddedDefinition) -> int:
        self.sights[Saw.CREATED] += 1
        self._note(f"      create {definition.name}")
        for seen in self._xl.list():
            if seen.running and seen.uuid == definition.uuid:
                self.object(f"create of {definition.name}, which runs as domid {seen.domid}")
        if definition.path in self._xl.creating():
            self.object(f"create of {definition.name}, which is being created")
        self._on_record(definition.name, Phase.CREATING, None)
        return await self._create(definition)

    async def _note_destroy(self, domid: int) -> None:
        self._note(f"      destroy {domid}")
        for seen in self._xl.list():
            if seen.domid == domid and seen.running and not seen.never_ran:
                self.sights[Saw.DESTROYED] += 1
                since = self._asked.get(domid)
                allowed = STOP_TIMEOUT + self._granted.get(domid, 0.0) - TOLERANCE
                if since is None or CLOCK.monotonic() - since < allowed:
                    self.object(f"domid {domid} ({seen.name}) was destroyed before its time")
                if CLOCK.monotonic() < self._relies_on(domid) < inf:
                    self.object(f"domid {domid} ({seen.name}) was told that it has more time")
                self._cut.add((seen.uuid, domid))
                self._on_record(seen.name, Phase.FORCING, domid)
            elif seen.domid == domid and self._ended_in_time(domid):
                self._has_no_reaper(seen)
        await self._destroy(domid)

    def disturb(self) -> None:
        """Something goes wrong that may keep the product from seeing or doing what it should."""
        self._disturbed_at = CLOCK.monotonic()

    def _ended_in_time(self, domid: int) -> bool:
        """Whether it shut down by itself before its time was up, and nothing disturbed its stop."""
        since, ended = self._asked.get(domid), self._ended_at.get(domid, inf)
        if since is None or self._disturbed_at >= since - BEFORE:
            return False
        return ended < since + STOP_TIMEOUT - TOLERANCE

    def _has_no_reaper(self, seen: DomainInfo) -> None:
        self.sights[Saw.REAPED] += 1
        patient = CLOCK.monotonic() < self._ended_at[seen.domid] + REAPER_TIME
        if self._xl.reaper_lives(seen.domid) and patient and seen.shutdown in OWN_ENDS:
            self.object(f"domid {seen.domid} ({seen.name}) is destroyed while its reaper lives")

    def _relies_on(self, domid: int) -> float:
        """Until when a guest has time, as it was told, less its agent's margin."""
        kernel = self._xl._residents[domid].kernel
        return kernel.promised_until if kernel is not None else inf

    async def _note_run(self, resident: Resident, kernel: GuestKernel) -> None:
        """An incarnation executes, until it ends by itself or is cut off (``CancelledError``)."""
        domain = resident.domain
        twins = [
            seen.domid
            for seen in self._xl.list()
            if seen.running and seen.uuid == domain.uuid and seen.domid != domain.domid
        ]
        if twins:
            self.object(f"{resident.definition.name} runs as {domain.domid} beside {twins}")
        if any(uuid == domain.uuid for uuid, _ in self._ends):
            self.sights[Saw.CAME_BACK] += 1
        await self._run(resident, kernel)
        self._ends[domain.uuid, domain.domid] = domain.shutdown
        self._ended_at[domain.domid] = CLOCK.monotonic()
        if kernel.cut_off:
            self.sights[Saw.CUT_OFF] += 1
            self._cut_by_guest.add((domain.uuid, domain.domid))

    def _on_record(self, name: str, announced: Phase, domid: int | None) -> None:
        """What is done to a domain was on disk before it was done.

        A slow call may act long after the run that made it.
        """
        values = {"boot": self._boot_id, "name": name, "after": announced.value, "domid": domid}
        if not self._journal._ask(_ON_RECORD, values):
            self.object(f"{announced.value} {name} is not on record")

    def object(self, why: str) -> None:
        """Remember it: what is raised here goes to the product, as the answer to its call."""
        self._objections.append(why)

    # --- what is said ---

    def seen_ended(self, domid: int) -> None:
        """An incarnation was seen to have shut down, before it was gone."""
        self._seen_ended.add(domid)

    def asked(self, domid: int, since: float) -> None:
        """The stop of an incarnation has begun, for the first time or again."""
        self._asked.setdefault(domid, since)

    def answered(self, domid: int | None, detail: str) -> None:
        """A guest's request for more time was granted or refused, if this is about one."""
        self.sights[Saw.REFUSED] += MORE_REFUSED in detail
        if MORE_GRANTED in detail and domid is not None:
            self.sights[Saw.GRANTED] += 1
            more = parse_duration(detail.partition(MORE_GRANTED)[0])
            self._granted[domid] = self._granted.get(domid, 0.0) + more

    def runs(self, result: Result) -> bool:
        """Say whether the incarnation of a result, or any where it names none, executes."""
        return any(
            seen.running
            and not seen.never_ran
            and seen.uuid == result.uuid
            and result.domid in (None, seen.domid)
            for seen in self._xl.list()
        )

    def told(self, result: Result, direction: Direction) -> None:
        """What is told to have ended, or not to have begun, does not run at this moment."""
        if result.outcome in _TOLD:
            self.sights[_TOLD[result.outcome]] += 1
        if result.outcome is Outcome.HELD and "lets it be started" not in result.note:
            self.sights[Saw.WITHHELD] += 1
        self._is_own_end(result)
        self._is_own_in_time(result)
        over = result.outcome in (Outcome.CLEAN, Outcome.FORCED) or " is gone" in result.note
        # A create that comes long after its call was given up may come while a listing is made.
        late = bool(self._xl.busy.listing) and "did not answer create" in result.note
        skipped = result.outcome is Outcome.SKIPPED and result.note.startswith("not started")
        absent = result.outcome is Outcome.FAILED or skipped
        over |= direction is Direction.UP and absent and not late
        if over and result.uuid is not None and self.runs(result):
            self.object(f"{result.name} runs, and is told to be: {result}")

    def _is_own_end(self, result: Result) -> None:
        """Nobody is called clean who did not shut down by itself."""
        if result.outcome is Outcome.CLEAN and result.uuid is not None:
            incarnation = (result.uuid, result.domid or 0)
            end, cut = self._ends.get(incarnation), incarnation in self._cut
            # Of an end that is only on record nobody lived to hear what the guest said.
            if ON_RECORD not in result.note and not self._unheard(result.domid):
                cut |= incarnation in self._cut_by_guest
            if end not in OWN_ENDS or cut:
                self.object(f"{result.name} is called clean, and ended with {end}: {result}")

    def _unheard(self, domid: int | None) -> bool:
        """Its last word was lost on the way, and it was gone with its nodes before anybody looked.

        What has been seen to have shut down has its nodes read, whether an event came or not.
        """
        lost = domid is not None and paths.agent_node(domid, "forced") in self.unheard
        return lost and domid not in self._seen_ended

    def _is_own_in_time(self, result: Result) -> None:
        """Who shut down by itself in time was neither forced, nor is that unknown."""
        domid = result.domid or 0
        incarnation = (result.uuid, domid)
        if result.uuid is None or self._ends.get((result.uuid, domid)) not in OWN_ENDS:
            return
        if not self._ended_in_time(domid) or incarnation in self._cut | self._cut_by_guest:
            return
        self.sights[Saw.IN_TIME] += 1
        interrupted = "not waited for" in result.note
        # Who says so of itself is believed: it can make its own end look worse, and never better.
        own_word = result.note.startswith(BY_THE_GUEST)
        if (result.outcome is Outcome.FORCED and not own_word) or (
            result.outcome is Outcome.UNKNOWN and not interrupted
        ):
            self.object(f"{result.name} shut down by itself in time: {result}")

    def ask(self) -> None:
        """Raise what there is to object to, what the journal says of this boot included."""
        for run in self._journal.runs():
            if run.boot_id == self._boot_id:
                for result in run.results:
                    self._is_own_end(result)
        if self._objections:
            raise Broken("; ".join(self._objections))


class Ear:
    """A listener that passes what a run reports on to the witness."""

    def __init__(self, witness: Witness, note: Callable[[str], None]) -> None:
        self._witness = witness
        self._note = note
        self._direction = Direction.UP
        self._begun: dict[UUID, float] = {}

    def began(self, plan: Plan) -> None:
        """The time of a stop begins with the run that makes it."""
        self._direction = plan.direction
        if plan.direction is Direction.DOWN:
            for step in plan.steps:
                if step.info is not None:
                    self._begun[step.info.uuid] = CLOCK.monotonic()
                    self._witness.asked(step.info.domid, CLOCK.monotonic())

    def moved(self, transition: Transition) -> None:
        """A domain that came back, or was created since, has the time of its own stop."""
        name, domid = transition.name, transition.domid
        if domid is not None and transition.detail.startswith(SHUT_DOWN):
            self._witness.seen_ended(domid)
        self._witness.answered(domid, transition.detail)
        self._note(f"    {name} {transition.after.value} (domid {domid}) {transition.detail}")
        if self._direction is Direction.DOWN and domid is not None and transition.uuid is not None:
            has_run = self._begun.setdefault(transition.uuid, CLOCK.monotonic())
            self._witness.asked(domid, has_run)

    def guest_reported(self, name: str, text: str) -> None:
        self._note(f"    {name} says {text}")

    def settled(self, result: Result) -> None:
        self._note(f"  {result.name}: {result.outcome.value} (domid {result.domid}) {result.note}")
        self._witness.told(result, self._direction)

    def message(self, level: int, message: str) -> None:
        self._note(f"  {message}")
        if "Traceback" in message:
            self._witness.object(message)


def check_record(state: Path) -> int:
    """Every run has an end, and every domain that it moved, too; return how many had died."""
    reader = JournalReader(state)
    try:
        if reader.unfinished():
            raise Broken("a run was left without an end")
        runs = reader.runs(limit=1000)
        for run in runs:
            _check_run(run, {moved.name for moved in reader.transitions(run.id)})
        return sum(run.exit is None for run in runs)
    finally:
        reader.close()


def _check_run(run: Run, moved: set[str]) -> None:
    if nobody := moved - {result.name for result in run.results}:
        raise Broken(f"run {run.id} moved {sorted(nobody)}, and how that ended is not on record")
