"""One seed, played under a limit of real time, in whatever process does it.

Virtual time bounds what waits, and the loop notices when it turns without end (``tests/virtual``);
what neither of them sees, a circle in plain code, ends here. The seed has failed then, and says so.
"""

from __future__ import annotations

import faulthandler
import signal
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from tests.simulation.chaos import play

if TYPE_CHECKING:
    from types import FrameType

    from tests.simulation.saw import Sights

#: Real seconds that one seed may take; it takes a tenth of one. It is told so again and again, in
#: case its end goes round in circles, too, and when that does not help its process is ended.
LIMIT = 60.0
AGAIN = 5.0
DEADLY = 120.0


class Overrun(KeyboardInterrupt):
    """The time is up. Only this kind of error goes through an event loop whatever it is doing."""


class Played(NamedTuple):
    """One seed, what was wrong in its story with all that happened in it, and what it had in it."""

    seed: int
    wrong: str
    sights: Sights


def played(seed: int) -> Played:
    """Play one seed; its story is told only if something was wrong in it."""
    before = signal.signal(signal.SIGALRM, _time_is_up)
    signal.setitimer(signal.ITIMER_REAL, LIMIT, AGAIN)
    faulthandler.dump_traceback_later(DEADLY, exit=True)
    try:
        told = play(seed)
    except Overrun as overrun:
        return Played(seed, f"seed {seed}: {overrun}", Counter())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
    wrong = "\n".join((f"seed {seed}:", *told.log, told.wrong.rstrip())) if told.wrong else ""
    return Played(seed, wrong, told.sights)


def _time_is_up(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Overrun(f"it did not end within {LIMIT:g} real seconds")
