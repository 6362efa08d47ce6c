"""Status: wanted against seen, and why they differ."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from lamplighter.engine.status import Row, Seen, View, Wanted, status_rows
from lamplighter.model.domain import Definition, DomainInfo, Kind, ShutdownReason
from lamplighter.model.domain_event import Change, DomainEvent, Initiator
from lamplighter.model.lifecycle import Phase
from lamplighter.model.policy import Inventory, ManagedDomain, Policy, Setting, Start, Stop
from lamplighter.model.problem import Location, Problem
from lamplighter.model.run import Direction, LastRecord, Outcome, Result, Transition

AT = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
LATER = AT + timedelta(seconds=30)
DB = UUID(int=7)
DOM0 = DomainInfo(0, UUID(int=0), "Domain-0")
ALWAYS = Policy(start=Setting(Start.ALWAYS))
LEFT = Policy(stop=Setting(Stop.LEAVE))
START_IT = "lamplighter up db starts it"


def managed(name: str = "db", policy: Policy = ALWAYS) -> ManagedDomain:
    return ManagedDomain(Definition(name, DB, Kind.PV, f"/etc/xen/{name}.cfg"), policy)


def inventory(
    *members: ManagedDomain, problems: tuple[Problem, ...] = (), stop: Stop = Stop.SHUTDOWN
) -> Inventory:
    defaults = Policy(stop=Setting(stop))
    return Inventory({m.name: m for m in members}, defaults, problems)


def seen(
    domid: int = 3,
    *,
    name: str = "db",
    uuid: UUID = DB,
    shutdown: ShutdownReason | None = None,
    dying: bool = False,
    paused: bool = False,
) -> DomainInfo:
    return DomainInfo(domid, uuid, name, shutdown=shutdown, dying=dying, paused=paused)


def moved(after: Phase, at: datetime = AT, domid: int | None = 3) -> Transition:
    return Transition("db", DB, domid, Phase.UP, after, "", at)


def last_record(direction: Direction, outcome: Outcome, note: str = "") -> LastRecord:
    result = Result("db", DB, 3, outcome, note=note)
    return LastRecord("db", moved(Phase.ABSENT), result, direction, LATER)


def only(rows: list[Row]) -> Row:
    (row,) = rows
    return row


def row_of(
    *domains: DomainInfo,
    policy: Policy = ALWAYS,
    not_advertised: tuple[int, ...] = (),
    past: LastRecord | None = None,
    problems: tuple[Problem, ...] = (),
) -> Row:
    files = inventory(managed(policy=policy), problems=problems)
    view = View((DOM0, *domains), not_advertised, unpause="xl unpause")
    return next(
        row
        for row in status_rows(files, view, {"db": past} if past else {})
        if row.wanted is not Wanted.NOTHING
    )


def test_a_wanted_domain_that_runs_needs_no_explanation() -> None:
    row = row_of(seen(), past=LastRecord("db", moved(Phase.UP)))
    assert row == Row("db", DB, 3, Wanted.UP, Seen.RUNNING, AT, "")


@pytest.mark.parametrize(
    ("info", "state", "why"),
    [
        (
            seen(paused=True),
            Seen.PAUSED,
            "is paused and answers nothing; xl unpause db lets it go on",
        ),
        (seen(dying=True), Seen.DYING, "the hypervisor is destroying it"),
        (
            seen(shutdown=ShutdownReason.SOFT_RESET),
            Seen.SHUT_DOWN,
            "has shut down (soft reset) and is kept; lamplighter down db removes it",
        ),
        (
            seen(shutdown=ShutdownReason.SUSPEND),
            Seen.SHUT_DOWN,
            "another tool has suspended it, to save or to move it",
        ),
    ],
)
def test_states_of_a_domain_that_is_there(info: DomainInfo, state: Seen, why: str) -> None:
    row = row_of(info)
    assert (row.seen, row.why) == (state, why)


def test_a_silent_kernel_boots_until_a_run_took_it_for_up() -> None:
    row = row_of(seen(3), not_advertised=(3,))
    assert row.seen is Seen.BOOTING
    assert row.why == "its kernel has not advertised itself: it still boots, or has no PV drivers"
    mute = row_of(seen(3), not_advertised=(3,), past=LastRecord("db", moved(Phase.UP, domid=3)))
    assert (mute.seen, mute.why) == (Seen.RUNNING, "")
    reborn = row_of(seen(4), not_advertised=(4,), past=LastRecord("db", moved(Phase.UP, domid=3)))
    assert reborn.seen is Seen.BOOTING


@pytest.mark.parametrize(
    ("past", "why"),
    [
        (None, f"should be up and has not been started since the host booted; {START_IT}"),
        (
            last_record(Direction.UP, Outcome.FAILED, "no memory"),
            "should be up and is not: its start failed at 2025-03-01 12:00:30: no memory",
        ),
        (
            last_record(Direction.DOWN, Outcome.FORCED),
            "should be up and is not: a run took it down at 2025-03-01 12:00:30 (forced); "
            + START_IT,
        ),
        (
            last_record(Direction.UP, Outcome.STARTED),
            f"should be up and is not: it ended by itself after 2025-03-01 12:00:30; {START_IT}",
        ),
        (
            LastRecord("db", moved(Phase.CREATING, domid=None)),
            "should be up and is not: a run has been moving it (creating)",
        ),
    ],
)
def test_why_a_wanted_domain_is_absent(past: LastRecord | None, why: str) -> None:
    row = row_of(past=past)
    assert (row.seen, row.domid, row.why) == (Seen.ABSENT, None, why)
    assert row.since == (AT if past else None)


def test_a_blocked_domain_says_what_blocks_it() -> None:
    problem = Problem("unsafe", "writable by everyone", Location("/etc/xen/db.cfg"), "db")
    row = row_of(problems=(problem,))
    assert row.why == (
        "should be up and must not be started: /etc/xen/db.cfg: writable by everyone"
    )


def test_an_impostor_of_the_same_name_is_named() -> None:
    row = row_of(seen(9, uuid=UUID(int=99)))
    assert row.why == (
        f"should be up and is not: another domain of this name is there (domid 9, {UUID(int=99)})"
    )


@pytest.mark.parametrize(
    ("policy", "wanted", "why"),
    [
        (Policy(), Wanted.DOWN, "down will shut it down cleanly"),
        (LEFT, Wanted.LEAVE, "down will leave it"),
        (Policy(stop=Setting(Stop.DESTROY)), Wanted.DOWN, "down will destroy it"),
    ],
)
def test_a_domain_nothing_starts(policy: Policy, wanted: Wanted, why: str) -> None:
    assert row_of(policy=policy) == Row("db", DB, None, wanted, Seen.ABSENT, None, "")
    running = row_of(seen(), policy=policy)
    assert running.wanted is wanted
    assert running.why == f"runs, although nothing starts it with the host; {why}"


def test_what_could_not_be_read_is_unknown_and_never_absent() -> None:
    files = inventory(managed(), managed("web", Policy()))
    rows = status_rows(files, View(None), {"db": last_record(Direction.UP, Outcome.STARTED)})
    assert [(row.name, row.seen, row.since) for row in rows] == [
        ("db", Seen.UNKNOWN, None),
        ("web", Seen.UNKNOWN, None),
    ]


def test_strangers_have_rows_and_dom0_has_none() -> None:
    view = View((DOM0, seen(4, name="byhand"), seen(5, name="", uuid=UUID(int=5))))
    byhand, unnamed_definitions = sorted(
        status_rows(inventory(), view, {}), key=lambda row: row.domid or 0
    )
    assert byhand == Row(
        "byhand",
        DB,
        4,
        Wanted.NOTHING,
        Seen.RUNNING,
        None,
        "runs, but no file defines it; down will shut it down cleanly",
    )
    assert unnamed_definitions.name == "domid 5"


def test_a_stranger_under_a_leaving_default_and_a_spared_one() -> None:
    view = View((seen(4, name="a"), seen(5, name="b")), protected={5})
    first, second = status_rows(inventory(stop=Stop.LEAVE), view, {})
    assert first.why == "runs, but no file defines it; down will leave it"
    assert second.why == "the host, or another domain, needs it: no stop touches it"


def test_a_domain_of_an_unusable_definition_is_one_row() -> None:
    problem = Problem("syntax", "a string has no end", Location("/etc/xen/db.cfg", 3), "db")
    row = only(status_rows(inventory(problems=(problem,)), View((seen(4),)), {}))
    assert (row.wanted, row.seen, row.domid) == (Wanted.NOTHING, Seen.RUNNING, 4)
    assert row.why == "its definition cannot be used: /etc/xen/db.cfg:3: a string has no end"


def test_the_newest_incarnation_is_shown_and_since_belongs_to_it() -> None:
    old, new = seen(3, dying=True), seen(8)
    row = row_of(old, new, past=LastRecord("db", moved(Phase.UP, domid=3)))
    assert (row.domid, row.seen, row.since) == (8, Seen.RUNNING, None)


def test_a_stranger_with_a_table_of_its_own_has_its_policy() -> None:
    row = only(status_rows(Inventory(named={"db": LEFT}), View([seen()]), {}))
    assert row.why.endswith("; down will leave it")


# --- with a monitor ---

SEEN_AT = LATER + timedelta(minutes=1)


def watched(
    way: Change, *domains: DomainInfo, past: LastRecord | None = None, domid: int = 3
) -> Row:
    domain_event = DomainEvent(
        way, "db", DB, domid, Initiator.GUEST, "it powered off by itself", SEEN_AT, "boot"
    )
    view = View((DOM0, *domains), last_events={"db": domain_event})
    return only(status_rows(inventory(managed()), view, {"db": past} if past else {}))


def test_the_monitor_knows_since_when_a_domain_runs() -> None:
    assert watched(Change.CAME, seen()).since == SEEN_AT
    assert (
        watched(Change.CAME, seen(), past=last_record(Direction.UP, Outcome.STARTED)).since
        == SEEN_AT
    )


def test_what_it_saw_of_another_incarnation_or_before_does_not_count() -> None:
    assert watched(Change.CAME, seen(), domid=2).since is None
    assert watched(Change.WENT, seen(4)).since is None
    assert watched(Change.CAME).since is None


def test_the_monitor_knows_since_when_and_why_a_domain_is_gone() -> None:
    row = watched(Change.WENT, past=last_record(Direction.UP, Outcome.STARTED))
    assert (row.seen, row.since) == (Seen.ABSENT, SEEN_AT)
    when = f"{SEEN_AT:%Y-%m-%d %H:%M:%S}"
    assert row.why == (f"should be up and is not: it powered off by itself, at {when}; {START_IT}")


def test_since_when_it_has_been_shut_down_and_is_kept() -> None:
    ended = seen(shutdown=ShutdownReason.POWEROFF)
    assert watched(Change.WENT, ended).since == SEEN_AT
    assert watched(Change.CAME, ended).since is None
