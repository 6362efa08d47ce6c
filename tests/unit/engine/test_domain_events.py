"""Who came and went between two listings, and on whose account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from lamplighter.engine import domain_events
from lamplighter.engine.domain_events import Evidence, IncarnationTracker
from lamplighter.model.domain import DomainInfo, ShutdownReason
from lamplighter.model.domain_event import Change, DomainEvent, Initiator, Moment
from lamplighter.model.lifecycle import Phase
from lamplighter.model.run import Direction, LastRecord, Outcome, Result, Transition

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW = Moment(AT, "boot-1")
WEB = UUID(int=1)
DOM0 = DomainInfo(0, UUID(int=0), "Domain-0")
RUNNING = DomainInfo(4, WEB, "web")


def register() -> IncarnationTracker:
    """A register in which web runs as domid 4."""
    register = IncarnationTracker()
    register.compare([DOM0, RUNNING], Evidence(), NOW)
    return register


def last_record(after: Phase, domid: int | None = 4, settled: datetime | None = None) -> LastRecord:
    return LastRecord(
        "web", Transition("web", WEB, domid, Phase.UP, after, "", AT), settled=settled
    )


def moves(past: LastRecord | None) -> dict[int, Transition]:
    """What the journal has of incarnations, from what it has of the domain."""
    if past is None or past.moved is None or past.moved.domid is None:
        return {}
    return {past.moved.domid: past.moved}


def came(evidence: Evidence, seen: DomainInfo = RUNNING) -> DomainEvent:
    (domain_event,) = IncarnationTracker().compare([DOM0, seen], evidence, NOW)
    assert domain_event.way is Change.CAME
    return domain_event


def went(evidence: Evidence, *domains: DomainInfo) -> DomainEvent:
    (domain_event,) = register().compare([DOM0, *domains], evidence, NOW)
    assert domain_event.way is Change.WENT
    assert (domain_event.name, domain_event.uuid, domain_event.domid) == ("web", WEB, 4)
    return domain_event


@pytest.mark.parametrize(
    ("past", "gapless", "by"),
    [
        (None, True, Initiator.TOOL),
        (None, False, Initiator.UNKNOWN),
        (last_record(Phase.CREATING, None), True, Initiator.US),
        (last_record(Phase.BOOTING, None), False, Initiator.US),
        (last_record(Phase.BOOTING, None, settled=AT + timedelta(seconds=1)), True, Initiator.TOOL),
        (last_record(Phase.UP), True, Initiator.US),
        (last_record(Phase.UP, 3), True, Initiator.TOOL),
        (last_record(Phase.ASKED), True, Initiator.TOOL),
        (
            LastRecord("web", None, Result("web", WEB, 4, Outcome.STARTED), Direction.UP, AT),
            False,
            Initiator.US,
        ),
        (
            LastRecord("web", None, Result("web", WEB, 4, Outcome.ALREADY), Direction.UP, AT),
            True,
            Initiator.TOOL,
        ),
    ],
)
def test_on_whose_account_a_domain_came(
    past: LastRecord | None, gapless: bool, by: Initiator
) -> None:
    last_records = {"web": past} if past is not None else {}
    domain_event = came(Evidence(last_records, gapless=gapless))
    assert domain_event.by is by
    assert (domain_event.at, domain_event.boot_id, domain_event.end) == (AT, "boot-1", None)


REASONS = ShutdownReason


@pytest.mark.parametrize(
    ("end", "word", "past", "by", "why"),
    [
        (REASONS.POWEROFF, None, None, Initiator.GUEST, "it powered off by itself"),
        (REASONS.REBOOT, None, None, Initiator.GUEST, "it rebooted by itself"),
        (REASONS.POWEROFF, "power off", None, Initiator.TOOL, "another tool asked it to power off"),
        (REASONS.REBOOT, "", None, Initiator.TOOL, "another tool asked it to reboot"),
        (REASONS.CRASH, "power off", None, Initiator.CRASH, "it crashed"),
        (REASONS.WATCHDOG, None, last_record(Phase.ASKED), Initiator.CRASH, "its watchdog ran out"),
        (REASONS.SUSPEND, None, None, Initiator.TOOL, "suspended it"),
        (REASONS.UNKNOWN, None, None, Initiator.GUEST, "it shut down by itself"),
        (
            REASONS.POWEROFF,
            "power off",
            last_record(Phase.ASKED),
            Initiator.US,
            "lamplighter down asked it to",
        ),
        (
            REASONS.POWEROFF,
            None,
            last_record(Phase.FORCING),
            Initiator.US,
            "lamplighter down destroyed it",
        ),
        (
            REASONS.REBOOT,
            None,
            last_record(Phase.ASKED),
            Initiator.GUEST,
            "it rebooted while lamplighter",
        ),
        (
            REASONS.POWEROFF,
            None,
            last_record(Phase.ASKED, 3),
            Initiator.GUEST,
            "it powered off by itself",
        ),
        (
            REASONS.POWEROFF,
            None,
            last_record(Phase.UP),
            Initiator.GUEST,
            "it powered off by itself",
        ),
        (None, None, last_record(Phase.FORCING), Initiator.US, "lamplighter down destroyed it"),
        (
            None,
            None,
            last_record(Phase.ACKNOWLEDGED),
            Initiator.US,
            "it ended: lamplighter down asked it to",
        ),
        (None, "power off", None, Initiator.TOOL, "how it ended was not seen"),
        (None, None, None, Initiator.TOOL, "another tool destroyed it"),
    ],
)
@pytest.mark.parametrize("listed", [True, False])
def test_on_whose_account_a_domain_went(
    listed: bool,
    end: ShutdownReason | None,
    word: str | None,
    past: LastRecord | None,
    by: Initiator,
    why: str,
) -> None:
    evidence = Evidence(
        moves=moves(past), asked={4: word} if word is not None else {}, ends={4: end}
    )
    still = [RUNNING._replace(shutdown=end, dying=end is None)] if listed else []
    domain_event = went(evidence, *still)
    assert (domain_event.by, domain_event.end) == (by, end)
    assert why in domain_event.why


def test_what_went_while_nobody_looked_is_unknown() -> None:
    assert went(Evidence(gapless=False)).by is Initiator.UNKNOWN
    asked = went(Evidence(asked={4: "power off"}, gapless=False))
    assert asked.by is Initiator.TOOL
    ended = went(Evidence(ends={4: ShutdownReason.POWEROFF}, gapless=False))
    assert (ended.by, ended.end) == (Initiator.GUEST, ShutdownReason.POWEROFF)


@pytest.mark.parametrize("end", [REASONS.POWEROFF, None])
def test_what_our_own_run_may_have_done_is_not_taken_for_a_wish(end: ShutdownReason | None) -> None:
    domain_event = went(Evidence(asked={4: "power off"}, ends={4: end}, doubtful={4}))
    assert domain_event.by is Initiator.UNKNOWN
    told = Evidence(moves=moves(last_record(Phase.ASKED)), ends={4: end}, doubtful={4})
    assert went(told).by is Initiator.US
    assert went(Evidence(ends={4: REASONS.CRASH}, doubtful={4})).by is Initiator.CRASH
    assert went(Evidence(ends={4: REASONS.POWEROFF}, doubtful={3})).by is Initiator.GUEST


def test_each_is_reported_once() -> None:
    book = register()
    assert book.compare([DOM0, RUNNING], Evidence(), NOW) == []
    ended = RUNNING._replace(shutdown=ShutdownReason.POWEROFF)
    assert [one.way for one in book.compare([DOM0, ended], Evidence(), NOW)] == [Change.WENT]
    assert book.compare([DOM0, ended], Evidence(), NOW) == []
    assert book.compare([DOM0], Evidence(), NOW) == []
    assert book.present == {}


def test_a_reboot_is_a_going_and_a_coming_on_the_same_account() -> None:
    book = register()
    reboot = RUNNING._replace(shutdown=ShutdownReason.REBOOT)
    (gone,) = book.compare([DOM0, reboot], Evidence(asked={4: "reboot"}), NOW)
    (back,) = book.compare([DOM0, RUNNING._replace(domid=5)], Evidence(), NOW)
    assert (gone.by, back.by) == (Initiator.TOOL, Initiator.TOOL)
    assert back.why == "it is back from the reboot of domid 4"


def test_what_comes_back_after_a_crash_is_nobody_s_wish() -> None:
    book = register()
    crash = RUNNING._replace(shutdown=ShutdownReason.CRASH)
    told = book.compare([DOM0, crash, RUNNING._replace(domid=5)], Evidence(), NOW)
    assert [(one.way, one.by) for one in told] == [
        (Change.WENT, Initiator.CRASH),
        (Change.CAME, Initiator.GUEST),
    ]


def test_a_later_run_or_another_name_hides_no_stop_of_ours() -> None:
    stopped = last_record(Phase.ENDED)
    later = LastRecord("web", Transition("web", WEB, None, Phase.CREATING, Phase.ABSENT, "", AT))
    evidence = Evidence({"old-name": stopped, "web": later}, moves(stopped), gapless=False)
    assert went(evidence._replace(ends={4: REASONS.POWEROFF})).by is Initiator.US


def test_a_move_of_another_domain_with_this_domid_is_not_ours() -> None:
    other = last_record(Phase.ASKED).moved
    assert other is not None
    other = other._replace(uuid=UUID(int=9))
    assert went(Evidence(moves={4: other}, ends={4: REASONS.POWEROFF})).by is Initiator.GUEST


def test_both_incarnations_in_one_listing_are_reported() -> None:
    reboot = RUNNING._replace(shutdown=ShutdownReason.REBOOT)
    told = register().compare([DOM0, reboot, RUNNING._replace(domid=5)], Evidence(), NOW)
    assert [(one.way, one.domid) for one in told] == [(Change.WENT, 4), (Change.CAME, 5)]


def test_what_has_no_name_yet_has_not_come() -> None:
    unnamed_definitions = RUNNING._replace(name="")
    book = IncarnationTracker()
    assert book.compare([DOM0, unnamed_definitions], Evidence(), NOW) == []
    assert [one.name for one in book.compare([DOM0, RUNNING], Evidence(), NOW)] == ["web"]
    assert (
        book.compare([DOM0, unnamed_definitions], Evidence(), NOW) == []
    )  # its nodes go before it does


def test_the_remains_of_what_was_never_seen_running_are_nothing() -> None:
    ended = RUNNING._replace(shutdown=ShutdownReason.CRASH)
    assert IncarnationTracker().compare([DOM0, ended], Evidence(), NOW) == []


def test_a_register_goes_on_from_its_record() -> None:
    first = IncarnationTracker()
    record = first.compare([DOM0, RUNNING, DomainInfo(5, UUID(int=2), "db")], Evidence(), NOW)
    record += first.compare([DOM0, RUNNING], Evidence(), NOW)
    again = IncarnationTracker(record)
    assert again.compare([DOM0, RUNNING], Evidence(gapless=False), NOW) == []
    assert [one.name for one in again.compare([DOM0], Evidence(gapless=False), NOW)] == ["web"]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain_events, "REMEMBERED", 3)
    book = IncarnationTracker()
    for number in range(1, 6):
        book.compare([DOM0, DomainInfo(number, UUID(int=number), "web")], Evidence(), NOW)
    assert [uuid.int for uuid in book.last] == [3, 4, 5]
