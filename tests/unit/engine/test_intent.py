"""What is learned from what is seen, and when a domain is held by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from lamplighter.engine.intent import (
    Moment,
    crash_loop,
    ended_unasked,
    host_at_fault,
    learn,
    learn_from_domain_events,
    stated,
)
from lamplighter.engine.naming import DomainRef, find
from lamplighter.model.domain import Definition, DomainInfo, Kind, ShutdownReason
from lamplighter.model.domain_event import Change, DomainEvent, Initiator
from lamplighter.model.intent import Hold, Intent, Intents, Meant
from lamplighter.model.policy import Inventory, ManagedDomain, Policy, Setting
from lamplighter.model.run import Direction, LastRecord, Outcome, Result

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW = Moment(AT, "boot-2")
WEB = UUID(int=1)
MANAGED = ManagedDomain(Definition("web", WEB, Kind.PV, "/etc/xen/web.cfg"), Policy())
ROSTER = Inventory({"web": MANAGED})
RUNNING = DomainInfo(4, WEB, "web")


def intents(meant: Meant, boot_id: str = "boot-2", domid: int | None = 4) -> Intents:
    one = Intent(str(WEB), "web", meant, "asked", "anna", AT, boot_id, domid)
    return Intents({str(WEB): one})


def learned(
    before: Intents, *domains: DomainInfo, end: ShutdownReason | None = None
) -> list[Meant]:
    ends = {"web": end} if end is not None else {}
    return [one.meant for one in learn(ROSTER, domains, before, ends, NOW)]


def test_what_runs_and_of_which_nobody_spoke_is_meant_to_be_up() -> None:
    (one,) = learn(ROSTER, [RUNNING], Intents(), {}, NOW)
    assert (one.domain, one.meant, one.boot_id, one.domid) == (str(WEB), Meant.UP, "boot-2", 4)
    assert "domid 4" in one.reason


def test_what_does_not_run_and_of_which_nobody_spoke_stays_unspoken_of() -> None:
    assert learned(Intents()) == []
    assert learned(Intents(), RUNNING._replace(shutdown=ShutdownReason.CRASH)) == []


def test_nothing_is_learned_twice() -> None:
    assert learned(intents(Meant.UP), RUNNING) == []


def test_an_incarnation_that_was_told_to_go_down_and_still_runs_is_not_meant_to_be_up() -> None:
    assert learned(intents(Meant.DOWN), RUNNING) == []


@pytest.mark.parametrize("before", [("boot-2", 3), ("boot-1", 4), ("boot-2", None)])
def test_another_incarnation_of_what_was_told_to_go_down_is(before: tuple[str, int]) -> None:
    assert learned(intents(Meant.DOWN, *before), RUNNING) == [Meant.UP]


def test_what_powered_off_unasked_is_meant_to_be_down_and_what_crashed_is_not() -> None:
    assert learned(intents(Meant.UP), end=ShutdownReason.POWEROFF) == [Meant.DOWN]
    assert learned(intents(Meant.UP), end=ShutdownReason.CRASH) == []
    assert learned(intents(Meant.UP)) == []


SUSPENDED = RUNNING._replace(shutdown=ShutdownReason.SUSPEND)


@pytest.mark.parametrize("before", [Intents(), intents(Meant.UP), intents(Meant.DOWN)])
def test_what_another_tool_has_suspended_is_away_and_comes_back_when_it_runs(
    before: Intents,
) -> None:
    (one,) = learn(ROSTER, [SUSPENDED], before, {}, NOW)
    assert (one.meant, one.domid) == (Meant.AWAY, 4)
    away = before.updated([one])
    assert away.away(MANAGED.definition) == one
    assert learned(away, SUSPENDED) == []
    assert learned(away) == [], "it stays so when it is gone"
    assert learned(away, RUNNING) == [Meant.UP], "a checkpoint: the same incarnation goes on"
    assert learned(away, RUNNING._replace(domid=9)) == [Meant.UP]


def test_what_was_suspended_before_anybody_looked_is_away() -> None:
    assert learned(intents(Meant.UP), end=ShutdownReason.SUSPEND) == [Meant.AWAY]


def came_up(direction: Direction = Direction.UP, outcome: Outcome = Outcome.STARTED) -> LastRecord:
    return LastRecord("web", None, Result("web", WEB, 4, outcome), direction, AT)


def test_only_what_came_up_and_is_gone_without_a_run_of_ours_is_asked_about() -> None:
    up = intents(Meant.UP)
    assert ended_unasked(ROSTER, [], up, {"web": came_up()}) == [(MANAGED, 4)]
    assert ended_unasked(ROSTER, [RUNNING], up, {"web": came_up()}) == []
    assert ended_unasked(ROSTER, [], intents(Meant.DOWN), {"web": came_up()}) == []
    assert ended_unasked(ROSTER, [], up, {}) == []
    stopped = came_up(Direction.DOWN, Outcome.CLEAN)
    assert ended_unasked(ROSTER, [], up, {"web": stopped}) == [], "the host's stop means nothing"


def test_a_domain_that_was_defined_again_inherits_nothing() -> None:
    other = Definition("web", UUID(int=2), Kind.PV, "/etc/xen/web.cfg")
    held = Intents({}, {str(WEB): Hold(str(WEB), "web", "broken", "anna", AT)})
    assert held.hold_of(MANAGED.definition) is not None
    assert held.hold_of(other) is None
    assert not intents(Meant.UP).meant_up(other)


def test_a_hold_from_when_the_definition_had_no_uuid_is_kept() -> None:
    held = Intents({}, {"web": Hold("web", "web", "broken", "anna", AT)})
    assert held.hold_of(MANAGED.definition) is not None


def test_a_hold_on_a_uuid_holds_by_name_where_the_definition_states_no_uuid() -> None:
    """The toolstack gives such a domain another UUID at each start."""
    held = Intents({}, {str(WEB): Hold(str(WEB), "web", "broken", "anna", AT)})
    free = MANAGED.definition._replace(uuid=None)
    assert held.hold_of(free) is not None
    assert held.hold_of(free._replace(name="db")) is None


def test_a_domain_named_by_the_uuid_of_today_is_known_by_its_name() -> None:
    free = MANAGED._replace(definition=MANAGED.definition._replace(uuid=None))
    inventory = ROSTER._replace(domains={"web": free})
    assert find(str(WEB), inventory, [RUNNING]) == DomainRef("web", "web")
    other = MANAGED._replace(definition=MANAGED.definition._replace(uuid=UUID(int=2)))
    inventory = ROSTER._replace(domains={"web": other})
    assert find(str(WEB), inventory, [RUNNING]) == DomainRef(str(WEB), "web")


def test_naming_a_domain_says_what_is_meant_of_it() -> None:
    (one,) = stated([(MANAGED, RUNNING)], Meant.DOWN, "anna", NOW)
    assert (one.meant, one.said_by, one.domid, one.reason) == (
        Meant.DOWN,
        "anna",
        4,
        "lamplighter down web",
    )


def failures(*minutes: float) -> list[tuple[datetime, str]]:
    return [(AT - timedelta(minutes=ago), f"note {ago:g}") for ago in minutes]


def test_three_failed_starts_within_an_hour_hold_a_domain_with_the_evidence() -> None:
    evidence = crash_loop(failures(0, 10, 59), Policy(), AT)
    assert "3 times within 1h" in evidence
    assert "note 0" in evidence


@pytest.mark.parametrize("minutes", [(), (0, 10), (0, 10, 61)])
def test_fewer_or_older_ones_do_not(minutes: tuple[float, ...]) -> None:
    assert crash_loop(failures(*minutes), Policy(), AT) is None


@pytest.mark.parametrize(
    ("failed", "started", "at_fault"),
    [(1, 0, False), (1, 5, False), (2, 0, True), (2, 1, True), (2, 2, False), (9, 3, True)],
)
def test_what_hits_most_domains_is_the_hosts(failed: int, started: int, at_fault: bool) -> None:
    outcomes = [Outcome.FAILED] * failed + [Outcome.STARTED] * started + [Outcome.ALREADY] * 3
    results = [Result(f"d{n}", None, None, outcome) for n, outcome in enumerate(outcomes)]
    assert host_at_fault(results) is at_fault


def test_an_administrator_may_want_none_of_that() -> None:
    never = Policy(hold_after=Setting(0))
    assert crash_loop(failures(0, 1, 2, 3), never, AT) is None
    once = Policy(hold_after=Setting(1), hold_window=Setting(60.0))
    assert crash_loop(failures(0), once, AT)


# --- what the monitor saw ---

LATER = AT + timedelta(minutes=5)
POWEROFF = ShutdownReason.POWEROFF


def domain_event(
    way: Change, by: Initiator, end: ShutdownReason | None = None, domid: int = 5
) -> DomainEvent:
    return DomainEvent(way, "web", WEB, domid, by, "so it was seen", LATER, "boot-2", end)


def learned_of(before: Intents, *domain_events: DomainEvent) -> list[Meant]:
    return [one.meant for one in learn_from_domain_events(ROSTER, domain_events, before, "boot-2")]


@pytest.mark.parametrize(
    ("by", "end", "meant"),
    [
        (Initiator.GUEST, POWEROFF, [Meant.DOWN]),
        (Initiator.TOOL, POWEROFF, [Meant.DOWN]),
        (Initiator.US, POWEROFF, []),
        (Initiator.CRASH, ShutdownReason.CRASH, []),
        (Initiator.TOOL, None, []),  # destroyed: nobody intended anything by that
        (Initiator.TOOL, ShutdownReason.SUSPEND, [Meant.AWAY]),
        (Initiator.GUEST, ShutdownReason.REBOOT, []),
        (Initiator.UNKNOWN, None, []),
    ],
)
def test_what_is_meant_by_a_going(
    by: Initiator, end: ShutdownReason | None, meant: list[Meant]
) -> None:
    assert learned_of(intents(Meant.UP), domain_event(Change.WENT, by, end)) == meant


@pytest.mark.parametrize(
    ("by", "meant"),
    [
        (Initiator.TOOL, [Meant.UP]),
        (Initiator.US, [Meant.UP]),
        (Initiator.UNKNOWN, [Meant.UP]),
        (Initiator.GUEST, []),  # back from a reboot of its own
    ],
)
def test_what_is_meant_by_a_coming(by: Initiator, meant: list[Meant]) -> None:
    assert learned_of(intents(Meant.DOWN), domain_event(Change.CAME, by)) == meant


def test_the_incarnation_that_was_told_to_go_down_is_not_meant_up_for_being_seen_late() -> None:
    assert learned_of(intents(Meant.DOWN), domain_event(Change.CAME, Initiator.TOOL, domid=4)) == []


def test_the_events_are_taken_in_their_order() -> None:
    came, gone = (
        domain_event(Change.CAME, Initiator.TOOL),
        domain_event(Change.WENT, Initiator.GUEST, POWEROFF),
    )
    back = domain_event(Change.CAME, Initiator.TOOL, domid=6)
    assert learned_of(Intents(), came, gone) == [Meant.DOWN]
    assert learned_of(Intents(), came, gone, back) == [Meant.UP]
    assert learned_of(intents(Meant.UP), came, gone, back) == [Meant.UP]
    assert learned_of(intents(Meant.DOWN), came, gone) == [Meant.DOWN]


def test_what_was_suspended_and_goes_on_is_not_away_whichever_domid_it_has() -> None:
    came = domain_event(Change.CAME, Initiator.TOOL)._replace(at=AT)
    suspended = domain_event(Change.WENT, Initiator.TOOL, ShutdownReason.SUSPEND)
    later = LATER + timedelta(minutes=1)
    resumed = domain_event(Change.CAME, Initiator.TOOL)._replace(at=later)
    restored = domain_event(Change.CAME, Initiator.TOOL, domid=6)._replace(at=later)
    assert learned_of(Intents(), came, suspended) == [Meant.AWAY]
    assert learned_of(Intents(), came, suspended, resumed) == [Meant.UP]
    assert learned_of(Intents(), came, suspended, restored) == [Meant.UP]
    away = intents(Meant.AWAY, domid=5)
    away = away.updated(one._replace(at=LATER) for one in away.meant.values())
    assert learned_of(away, came, suspended) == [], "seen before"
    assert learned_of(away, came, suspended, resumed) == [Meant.UP]


@pytest.mark.parametrize("end", [ShutdownReason.REBOOT, ShutdownReason.CRASH])
def test_what_happens_to_a_guest_afterwards_does_not_unsay_that_it_is_meant_up(
    end: ShutdownReason,
) -> None:
    by = Initiator.GUEST if end is ShutdownReason.REBOOT else Initiator.CRASH
    story = (
        domain_event(Change.CAME, Initiator.TOOL),
        domain_event(Change.WENT, by, end),
        domain_event(Change.CAME, Initiator.GUEST, domid=6),
    )
    assert learned_of(intents(Meant.DOWN), *story) == [Meant.UP]


@pytest.mark.parametrize("years", [-20, 20])
def test_within_a_boot_the_incarnation_decides_what_is_newer_and_not_a_clock(years: int) -> None:
    then = AT + timedelta(days=365 * years)
    older = domain_event(Change.CAME, Initiator.TOOL, domid=3)._replace(at=then)
    assert learned_of(intents(Meant.DOWN), older) == []
    newer = domain_event(Change.CAME, Initiator.TOOL, domid=5)._replace(at=then)
    assert learned_of(intents(Meant.DOWN), newer) == [Meant.UP]
    own = domain_event(Change.WENT, Initiator.GUEST, POWEROFF, domid=4)._replace(at=then)
    assert learned_of(intents(Meant.UP), own) == [Meant.DOWN]


def test_of_two_earlier_boots_the_event_logs_order_decides_and_not_a_clock() -> None:
    first = domain_event(Change.CAME, Initiator.TOOL)._replace(
        boot_id="boot-0", at=AT + timedelta(days=9)
    )
    second = domain_event(Change.WENT, Initiator.GUEST, POWEROFF)._replace(boot_id="boot-1")
    assert learned_of(intents(Meant.UP, "boot-0"), first, second) == [Meant.DOWN]
    other = second._replace(name="db", uuid=UUID(int=9))
    assert learned_of(intents(Meant.DOWN, "boot-1", 9), first, other) == []


def test_an_intent_that_is_newer_than_the_event_stays() -> None:
    earlier = domain_event(Change.WENT, Initiator.GUEST, POWEROFF)._replace(at=AT)
    assert learned_of(intents(Meant.UP, domid=None), earlier) == []
    assert learned_of(intents(Meant.UP, domid=6), earlier) == []


@pytest.mark.parametrize("hours", [-48, 48])
def test_an_intent_of_this_boot_is_newer_than_any_event_of_another(hours: int) -> None:
    gone = domain_event(Change.WENT, Initiator.GUEST, POWEROFF)
    other = gone._replace(boot_id="boot-1", at=AT + timedelta(hours=hours))
    assert learned_of(intents(Meant.UP, "boot-2"), other) == []
    this = gone._replace(at=AT + timedelta(hours=hours))
    assert learned_of(intents(Meant.UP, "boot-1"), this) == [Meant.DOWN]


def test_what_is_learned_from_a_passage_bears_its_time_and_boot() -> None:
    gone = domain_event(Change.WENT, Initiator.GUEST, POWEROFF)._replace(boot_id="boot-1")
    (one,) = learn_from_domain_events(ROSTER, [gone], intents(Meant.UP, "boot-1"), "boot-2")
    assert (one.at, one.boot_id, one.domid) == (LATER, "boot-1", 5)
    assert one.reason == "as domid 5 it went: so it was seen"


def test_another_domain_of_the_same_name_says_nothing() -> None:
    other = domain_event(Change.WENT, Initiator.GUEST, POWEROFF)._replace(uuid=UUID(int=9))
    assert learned_of(intents(Meant.UP), other) == []


def test_a_domain_without_a_uuid_of_its_own_is_known_by_its_name() -> None:
    nameonly = Inventory(
        {"web": MANAGED._replace(definition=MANAGED.definition._replace(uuid=None))}
    )
    gone = domain_event(Change.WENT, Initiator.GUEST, POWEROFF)._replace(uuid=UUID(int=9))
    (one,) = learn_from_domain_events(nameonly, [gone], Intents(), "boot-2")
    assert (one.domain, one.meant) == ("web", Meant.DOWN)
    # One that was known by the UUID of its definition was another domain, whatever its name.
    assert (
        learn_from_domain_events(nameonly, [gone._replace(uuid=WEB)], intents(Meant.UP), "boot-2")
        == []
    )
