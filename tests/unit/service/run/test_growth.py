"""What a run costs for each transition does not grow with the number of domains.

``bench/growth`` measures processor time with thousands of them; this counts calls of functions with
a few, which is the same number every time. What is called to serve the simulated host, to read its
listings and to show them is not counted: how many listings there are is the observer's business.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lamplighter.host.journal.intents import IntentStore, load_intents
from lamplighter.host.journal.writer import Journal
from lamplighter.model.intent import Hold, Meant
from lamplighter.model.run import Direction, Outcome
from lamplighter.service.run.prepare import prepare
from lamplighter.service.run.progress import ListenerGroup
from lamplighter.service.run.runner import Runner
from lamplighter.service.unit.systemd_status import UnitStatus
from tests.simulated import CLOCK, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from lamplighter.model.run import Transition
    from tests.simulated import Simulation

FEW, MANY = 10, 50

COUNTED = (
    "engine/",
    "model/",
    "service/",
    "host/journal/writer",
    "host/journal/intents",
    "formats/state_json",
)
#: Who makes listings, and by whom one is taken apart when it is shown.
OBSERVER = "service/observer.py"
SHOWN = {"model/domain.py", "service/run/mailbox.py"}


def test_a_transition_of_many_domains_costs_no_more_calls_than_one_of_few(tmp_path: Path) -> None:
    few, many = (calls_a_transition(tmp_path / str(size), size) for size in (FEW, MANY))
    for direction, calls in many.items():
        assert calls < 1.1 * few[direction], (direction, few, many)


def calls_a_transition(folder: Path, size: int) -> dict[Direction, float]:
    """Start and stop so many domains that all are held once, and learned of; return the costs."""
    costs: dict[Direction, float] = {}
    folder.mkdir()

    async def story(simulation: Simulation) -> None:
        names = [simulation.define(f"guest-{number}") for number in range(size)]
        held = [Hold(f"other-{name}", name, "", "", CLOCK.wall()) for name in names]
        await IntentStore(folder / "state", CLOCK).hold(*held)
        simulation.journal = Journal.open(folder / "state", threaded=False)
        for direction, outcome in (
            (Direction.UP, Outcome.STARTED),
            (Direction.DOWN, Outcome.CLEAN),
        ):
            host = simulation.product()
            made = 0

            class Counting(UnitStatus):
                def moved(self, transition: Transition) -> None:
                    nonlocal made
                    made += 1
                    super().moved(transition)

            with counted() as calls:
                plan = await prepare(host, direction, ())
                run = await Runner(host, ListenerGroup([Counting(direction, active=False)])).run(
                    plan
                )
            assert [result.outcome for result in run.results] == [outcome] * size
            costs[direction] = calls[0] / made
        known = load_intents(folder / "state")
        assert {one.meant for one in known.meant.values()} == {Meant.UP}
        assert len(known.meant) == size
        await simulation.journal.close()

    simulate(story, policy=f'state = "{folder}/state"\n')
    return costs


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count calls of functions while the block lasts."""
    calls = [0]

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_back is not None:
            path, caller = module(frame), module(frame.f_back)
            shown = OBSERVER in (path, caller) or {path, caller} <= SHOWN
            calls[0] += path.startswith(COUNTED) and not shown

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def module(frame: FrameType) -> str:
    """Return the path of the code that a frame executes, below the package."""
    return frame.f_code.co_filename.rpartition("/lamplighter/")[2]
