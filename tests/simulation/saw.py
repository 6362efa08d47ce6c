"""What the stories have in them: counted, so that no invariant passes because nothing happened.

Whoever makes something go wrong, or sees an invariant put to the test, counts it here. When 2,000
seeds have been played and one of these never came, that is a failure of the simulation.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum


class Saw(Enum):
    """One thing that the stories have to have in them."""

    KILL_BEFORE_WRITE = "killed before a write of the journal"
    KILL_AFTER_WRITE = "killed between a write of the journal and what it announces"
    KILL_BEFORE_CALL = "killed before a call of the toolstack"
    KILL_DURING_CALL = "killed during a call of the toolstack"
    KILL_AFTER_CALL = "killed after a call of the toolstack, before its answer was written"
    KILL_BEFORE_WORD = "killed before a word to a guest"
    KILL_AFTER_WORD = "killed after a word to a guest"
    CALL_FAILED = "a call failed"
    CALL_HUNG = "a call hung"
    CALL_SLOW = "a call acted late"
    HALF_BUILT = "a create died and left a domain half built"
    CALL_LIED = "a call did it and said that it failed"
    LIST_FAILED = "a listing failed or hung"
    LIST_OLD = "a listing was answered late, and was old by then"
    XENSTORE_LOST = "XenStore was restarted"
    EVENT_LOST = "a watch's event was lost"
    EVENT_LATE = "a watch's event came late"
    EVENT_TWICE = "a watch's event came twice"
    BUSY = "a host was so busy that listings and reaping took long"
    REAPER_KILLED = "the process that xl left behind was killed"
    GUEST_REBOOTED = "another tool had a guest reboot"
    SAVED = "another tool saved a domain"
    POWER_CUT_IN_RUN = "the power was cut in the middle of a command"
    POWER_CUT = "the power was cut while nothing was done"
    CLEAN_STOP = "the host was stopped in order and booted again"
    INTERRUPTED = "a run was told to end"
    SCOPE_QUEUED = "a run was told to end while systemd was to start a scope for its create"
    DROPPED = "a run was told to drop everything"
    STOP_WON = "a start was told to end, and the host's stop went before it"
    RUN_DIED = "a run that died was completed by a later one"
    CREATED = "a create was made, and examined"
    DESTROYED = "a running domain was destroyed, and its time examined"
    CAME_BACK = "a domain came back as another incarnation"
    CLEAN = "a domain was told to be clean, and that was examined"
    FORCED = "a domain was told to be forced"
    IN_TIME = "an end in time was told while nothing else went wrong, and that was examined"
    REAPED = "a domain that had ended was destroyed, and whether its reaper lived was examined"
    CUT_OFF = "a guest forced its own end"
    GRANTED = "a guest was granted more time"
    REFUSED = "a guest was refused more time"
    STARTED = "a domain was told to be started"
    FAILED = "a domain was told to have failed"
    UNKNOWN = "a domain was told to be unknown"
    WITHHELD = "a domain was not created because it was held meanwhile"
    WANTED = "a wanted domain was looked for in the calm, and ran"
    HELD_DOWN = "a held domain was looked for in the calm, and did not run"
    AWAY = "a domain that another tool had saved was looked for in the calm, and did not run"
    LAST_UP = "a domain that was up the last time was looked for, and ran"
    LAST_DOWN = "a domain that was down the last time was looked for, and did not run"
    CALM_SAME_BOOT = "the calm came in the boot that had the trouble"
    STOPPED_ALL = "a whole stop in order was looked at, and nothing ran after it"


Sights = Counter[Saw]


def table(sights: Sights) -> str:
    """Return the counts, one a line; what never came stands out by its zero."""
    return "\n".join(f"{sights[one]:8}  {one.value}" for one in Saw)


def missing(sights: Sights) -> list[str]:
    """Return what never came."""
    return [one.value for one in Saw if not sights[one]]
