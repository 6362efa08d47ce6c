"""What a plan says about each domain, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from lamplighter.engine.naming import identify
from lamplighter.engine.plan import NO_PAST, Past, plan_down, plan_up
from lamplighter.errors import UsageError
from lamplighter.model.domain import Definition, DomainInfo, Kind, ShutdownReason
from lamplighter.model.intent import Hold, Intent, Intents, Meant
from lamplighter.model.lifecycle import Phase
from lamplighter.model.plan import Step, Verb
from lamplighter.model.policy import Inventory, ManagedDomain, Policy, Setting, Start, Stop
from lamplighter.model.problem import Location, Problem
from lamplighter.model.run import Direction, LastRecord, Outcome, Result, Transition

WEB = UUID(int=1)
DB = UUID(int=2)
DOM0 = DomainInfo(0, UUID(int=0), "Domain-0")


def managed(
    name: str,
    uuid: UUID | None,
    start: Start = Start.ALWAYS,
    stop: Stop = Stop.SHUTDOWN,
) -> ManagedDomain:
    definition = Definition(name, uuid, Kind.PV, f"/etc/xen/{name}.cfg")
    origin = Location(f"/etc/xen/{name}.cfg", 3)
    return ManagedDomain(
        definition, Policy(start=Setting(start, origin), stop=Setting(stop, origin))
    )


def inventory(*domains: ManagedDomain, problems: tuple[Problem, ...] = ()) -> Inventory:
    return Inventory({domain.name: domain for domain in domains}, Policy(), problems)


def test_up_starts_what_is_wanted_and_not_running_and_names_the_line_that_says_so() -> None:
    plan = plan_up(inventory(managed("web", WEB)), [DOM0])
    (step,) = plan.steps
    assert (step.verb, step.definition is not None) == (Verb.START, True)
    assert step.reason == 'start = "always" (/etc/xen/web.cfg:3)'


def test_up_leaves_what_runs_already() -> None:
    (step,) = plan_up(inventory(managed("web", WEB)), [DomainInfo(4, WEB, "web")]).steps
    assert (step.verb, step.outcome, step.good) == (Verb.NOTHING, Outcome.ALREADY, True)


def test_up_does_not_start_what_is_not_wanted_unless_it_is_named() -> None:
    house = inventory(managed("web", WEB, Start.NEVER))
    (idle,) = plan_up(house, []).steps
    (named,) = plan_up(house, [], ["web"]).steps
    (by_uuid,) = plan_up(house, [], [str(WEB).upper()]).steps
    assert (idle.verb, idle.outcome, idle.good) == (Verb.NOTHING, Outcome.SKIPPED, True)
    assert (named.verb, by_uuid.verb) == (Verb.START, Verb.START)


def test_a_blocked_domain_fails_and_the_others_start() -> None:
    problem = Problem("twice", "two definitions of this name", domain="db")
    broken = Problem("definition", "expected =", Location("/etc/xen/x.cfg", 2), domain="x")
    house = inventory(managed("web", WEB), managed("db", DB), problems=(problem, broken))
    steps = {step.name: step for step in plan_up(house, [], []).steps}
    assert steps["web"].verb is Verb.START
    assert (steps["db"].outcome, steps["db"].good) == (Outcome.FAILED, False)
    assert steps["x"].reason == "/etc/xen/x.cfg:2: expected ="


def test_a_blocked_domain_is_not_started_by_name_either() -> None:
    problem = Problem("writable", "anyone may write it", domain="web")
    (step,) = plan_up(inventory(managed("web", WEB), problems=(problem,)), [], ["web"]).steps
    assert step.verb is Verb.NOTHING


def test_up_does_not_create_beside_another_domain_of_the_same_name() -> None:
    (step,) = plan_up(inventory(managed("web", WEB)), [DomainInfo(5, DB, "web")]).steps
    assert (step.outcome, step.good) == (Outcome.FAILED, False)
    assert "another domain of this name" in step.reason


def test_up_says_how_to_remove_what_has_shut_down_and_is_kept() -> None:
    kept = DomainInfo(6, WEB, "web", shutdown=ShutdownReason.CRASH)
    (step,) = plan_up(inventory(managed("web", WEB)), [kept]).steps
    assert step.outcome is Outcome.FAILED
    assert "lamplighter down web" in step.reason


def test_up_does_not_advise_to_remove_a_domain_that_another_tool_is_saving() -> None:
    saved = DomainInfo(6, WEB, "web", shutdown=ShutdownReason.SUSPEND)
    (step,) = plan_up(inventory(managed("web", WEB)), [saved]).steps
    assert step.outcome is Outcome.FAILED
    assert step.reason == "another tool has suspended it as domid 6, to save or to move it"


def test_up_starts_a_domain_whose_last_incarnation_is_still_dying() -> None:
    dying = DomainInfo(6, WEB, "", shutdown=ShutdownReason.POWEROFF, dying=True)
    (step,) = plan_up(inventory(managed("web", WEB)), [dying]).steps
    assert step.verb is Verb.START


def started_as(uuid: UUID) -> dict[str, LastRecord]:
    result = Result("web", uuid, 7, Outcome.STARTED)
    return {"web": LastRecord("web", None, result, Direction.UP)}


@pytest.mark.parametrize("label", ["web", "renamed", "web--migratedaway", ""])
def test_a_domain_without_uuid_is_known_by_its_incarnation_whatever_its_name(label: str) -> None:
    listed = [DomainInfo(7, DB, label)]
    house = identify(inventory(managed("web", None)), listed, started_as(DB))
    (step,) = plan_up(house, listed).steps
    assert step.outcome is Outcome.ALREADY
    for names in ((), ("web",), (label,) if label else (str(DB),)):
        (step,) = plan_down(house, listed, names).steps
        assert (step.name, step.verb, step.definition is not None) == ("web", Verb.STOP, True)


@pytest.mark.parametrize("dying", [False, True])
def test_an_incarnation_that_has_ended_does_not_hide_its_successor(dying: bool) -> None:
    ended = DomainInfo(7, DB, "" if dying else "web", ShutdownReason.CRASH, dying=dying)
    listed = [ended, DomainInfo(9, WEB, "web")]
    house = identify(inventory(managed("web", None)), listed, started_as(DB))
    (step,) = plan_up(house, listed).steps
    assert (step.outcome, step.info) == (Outcome.ALREADY, listed[1])


def test_an_incarnation_that_is_gone_identifies_nothing() -> None:
    listed = [DomainInfo(7, DB, "web")]
    house = identify(inventory(managed("web", None)), listed, started_as(DB))
    again = [DomainInfo(9, WEB, "web")]
    (step,) = plan_up(identify(house, again), again).steps
    assert (step.outcome, step.info) == (Outcome.ALREADY, again[0])
    (step,) = plan_up(identify(house, []), []).steps
    assert step.verb is Verb.START


def test_a_domain_that_is_being_received_is_not_created_beside_itself() -> None:
    (step,) = plan_up(inventory(managed("web", None)), [DomainInfo(7, DB, "web--incoming")]).steps
    assert (step.outcome, step.good) == (Outcome.FAILED, False)
    assert step.reason == "it is being received from another host as domid 7"


def test_a_domain_without_uuid_is_known_by_its_name() -> None:
    house = inventory(managed("web", None))
    (step,) = plan_up(house, [DomainInfo(7, DB, "web")]).steps
    assert step.outcome is Outcome.ALREADY


def test_down_stops_everything_but_dom0_and_what_the_host_needs() -> None:
    xenstore = DomainInfo(1, UUID(int=9), "Xenstore")
    stranger = DomainInfo(3, DB, "by-hand")
    seen = [DOM0, xenstore, DomainInfo(2, WEB, "web"), stranger]
    plan = plan_down(inventory(managed("web", WEB)), seen, protected={1})
    assert [(step.name, step.verb) for step in plan.steps] == [
        ("by-hand", Verb.STOP),
        ("web", Verb.STOP),
    ]
    assert "no file defines it" in plan.steps[0].reason


def test_down_leaves_and_destroys_as_policy_says() -> None:
    house = inventory(managed("web", WEB, stop=Stop.LEAVE), managed("db", DB, stop=Stop.DESTROY))
    seen = [DomainInfo(2, WEB, "web"), DomainInfo(3, DB, "db")]
    steps = {step.name: step for step in plan_down(house, seen).steps}
    assert (steps["web"].verb, steps["web"].outcome) == (Verb.NOTHING, Outcome.SKIPPED)
    assert steps["db"].verb is Verb.DESTROY
    (by_hand,) = plan_down(house, seen, ["web"]).steps
    assert by_hand.verb is Verb.STOP


def test_a_renamed_domain_is_still_itself() -> None:
    house = inventory(managed("web", WEB, stop=Stop.LEAVE))
    (step,) = plan_down(house, [DomainInfo(2, WEB, "new-name")]).steps
    assert (step.name, step.outcome) == ("web", Outcome.SKIPPED)


def test_down_by_name_of_what_does_not_run_is_no_failure() -> None:
    (step,) = plan_down(inventory(managed("web", WEB)), [DOM0], ["web"]).steps
    assert (step.outcome, step.good) == (Outcome.ALREADY, True)


@pytest.mark.parametrize("plan", [plan_up, plan_down])
def test_an_unknown_name_is_an_error_that_names_the_nearest(plan: object) -> None:
    assert callable(plan)
    with pytest.raises(UsageError, match="no domain 'wbe'") as caught:
        plan(inventory(managed("web", WEB)), [], ["wbe"])
    assert caught.value.hint == "did you mean web?"


def test_notes_such_as_a_refused_suspend_go_with_the_step() -> None:
    policy = Policy(stop=Setting(Stop.SHUTDOWN, note="suspend is refused"))
    house = Inventory({"web": ManagedDomain(Definition("web", WEB, Kind.PV, "x"), policy)})
    (step,) = plan_down(house, [DomainInfo(2, WEB, "web")]).steps
    assert step.notes == ("suspend is refused",)


def test_a_table_of_its_own_counts_for_a_domain_that_no_definition_describes() -> None:
    leave = Policy(stop=Setting(Stop.LEAVE, Location("lamplighter.toml", 9, 1)))
    broken = Problem("syntax", "a string has no end", domain="byhand")
    house = Inventory(named={"byhand": leave}, problems=(broken,))
    (step,) = plan_down(house, [DomainInfo(4, WEB, "byhand")]).steps
    assert (step.verb, step.outcome) == (Verb.NOTHING, Outcome.SKIPPED)
    assert "no file defines" not in step.reason
    (gone,) = plan_down(house, [], ["byhand"]).steps
    assert gone.policy is leave


AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HELD = Intents({}, {str(WEB): Hold(str(WEB), "web", "disk broken", "anna", AT)})


def meant(word: Meant) -> Intents:
    return Intents({str(WEB): Intent(str(WEB), "web", word, "because", "anna", AT)})


def left(after: Phase, domid: int | None = 4) -> dict[str, Transition]:
    return {"web": Transition("web", WEB, domid, Phase.UP, after, "", AT)}


def up_with(
    past: Past, *domains: DomainInfo, start: Start = Start.ALWAYS, names: tuple[str, ...] = ()
) -> Step:
    (step,) = plan_up(inventory(managed("web", WEB, start)), domains, names, past=past).steps
    return step


def test_a_held_domain_is_not_started_and_that_is_good_unless_it_is_asked_for() -> None:
    step = up_with(Past(HELD))
    assert (step.verb, step.outcome, step.good) == (Verb.NOTHING, Outcome.HELD, True)
    assert "anna" in step.reason
    assert "disk broken" in step.reason
    named = up_with(Past(HELD), names=("web",))
    assert (named.outcome, named.good) == (Outcome.HELD, False)
    assert "lamplighter release web" in named.reason


def test_a_hold_that_nobody_made_is_not_good() -> None:
    ours = {key: one._replace(said_by="lamplighter") for key, one in HELD.holds.items()}
    step = up_with(Past(HELD._replace(holds=ours)))
    assert (step.outcome, step.good) == (Outcome.HELD, False)
    assert up_with(Past(HELD)).good


def test_a_held_domain_that_runs_runs_on_and_that_is_reported() -> None:
    step = up_with(Past(HELD), DomainInfo(4, WEB, "web"))
    assert step.outcome is Outcome.ALREADY
    assert "disk broken" in step.reason


@pytest.mark.parametrize(
    ("intents", "verb", "told"),
    [
        (meant(Meant.UP), Verb.START, "meant to be up"),
        (meant(Meant.DOWN), Verb.NOTHING, "meant to be down since 2026-03-01 12:00:00: because"),
        (Intents(), Verb.NOTHING, "never been up"),
    ],
)
def test_last_state_asks_intent(intents: Intents, verb: Verb, told: str) -> None:
    step = up_with(Past(intents), start=Start.LAST_STATE)
    assert (step.verb, told in step.reason) == (verb, True)
    assert up_with(Past(intents), start=Start.LAST_STATE, names=("web",)).verb is Verb.START


@pytest.mark.parametrize("start", [Start.ALWAYS, Start.LAST_STATE])
def test_a_domain_that_is_away_is_started_only_by_name(start: Start) -> None:
    at = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    away = Intent(str(WEB), "web", Meant.AWAY, "saved", "what was seen", at)
    past = Past(Intents({str(WEB): away}))
    step = up_with(past, start=start)
    assert (step.verb, step.outcome, step.good) == (Verb.NOTHING, Outcome.SKIPPED, True)
    assert step.reason == (
        "away since 2026-03-01 12:00:00: saved; lamplighter up web starts it afresh all the same"
    )
    named = up_with(past, start=start, names=("web",))
    assert named.verb is Verb.START
    assert "that memory must not be continued" in named.notes[-1]


@pytest.mark.parametrize("start", [Start.ALWAYS, Start.LAST_STATE])
def test_without_knowing_what_is_held_nothing_is_started_but_by_name(start: Start) -> None:
    blind = Past(Intents(error="the journal cannot be read"))
    step = up_with(blind, start=start)
    assert (step.verb, step.outcome, step.good) == (Verb.NOTHING, Outcome.FAILED, False)
    assert "the journal cannot be read" in step.reason
    assert "lamplighter up web" in step.reason
    assert up_with(blind, start=start, names=("web",)).verb is Verb.START
    assert up_with(blind, start=Start.NEVER).outcome is Outcome.SKIPPED


def test_a_start_goes_on_where_a_dead_run_or_another_creator_has_brought_it() -> None:
    running = DomainInfo(4, WEB, "web")
    booting = up_with(Past(resume_points=left(Phase.BOOTING)), running)
    assert (booting.verb, booting.resume, booting.info) == (Verb.START, Phase.BOOTING, running)
    assert up_with(Past(resume_points=left(Phase.CREATING, None)), running).resume is Phase.BOOTING
    assert up_with(Past(resume_points=left(Phase.ASKED)), running).outcome is Outcome.ALREADY
    assert up_with(Past(resume_points=left(Phase.CREATING, None))).resume is None
    assert up_with(Past(being_created={str(WEB)})).resume is Phase.CREATING
    assert up_with(Past(being_created={"db"})).resume is None


def test_what_has_ended_and_is_about_to_be_created_again_is_waited_for() -> None:
    anew = Past(being_created={str(WEB)})
    dying = DomainInfo(4, WEB, "web", shutdown=ShutdownReason.REBOOT, dying=True)
    ended = DomainInfo(4, WEB, "web", shutdown=ShutdownReason.REBOOT)
    saved = DomainInfo(4, WEB, "web", shutdown=ShutdownReason.SUSPEND)
    assert up_with(anew, dying).resume is Phase.CREATING
    assert up_with(NO_PAST, dying).resume is None
    assert up_with(anew, ended).resume is Phase.CREATING
    assert up_with(NO_PAST, ended).outcome is Outcome.FAILED
    assert up_with(anew, saved).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("after", "domid", "resume"),
    [
        (Phase.ACKNOWLEDGED, 4, Phase.ACKNOWLEDGED),
        (Phase.FORCING, 4, Phase.FORCING),
        (Phase.FORCING, 3, None),
        (Phase.ASKED, 4, None),
        (Phase.GIVEN_UP, 4, None),
    ],
)
def test_a_stop_goes_on_only_with_the_very_incarnation(
    after: Phase, domid: int, resume: Phase | None
) -> None:
    past = Past(resume_points=left(after, domid))
    (step,) = plan_down(inventory(), [DOM0, DomainInfo(4, WEB, "web")], past=past).steps
    assert (step.verb, step.resume) == (Verb.STOP, resume)


@pytest.mark.parametrize("after", [Phase.ACKNOWLEDGED, Phase.FORCING])
@pytest.mark.parametrize(
    ("minutes", "counts"), [(0, True), (12, True), (14, False), (60 * 24 * 20, False), (-1, False)]
)
def test_what_a_stop_had_come_to_expires(after: Phase, minutes: int, counts: bool) -> None:
    """Weeks later, in the same boot, a healthy guest is not destroyed unasked."""
    past = Past(resume_points=left(after), now=AT + timedelta(minutes=minutes))
    (step,) = plan_down(inventory(), [DOM0, DomainInfo(4, WEB, "web")], past=past).steps
    assert step.resume is (after if counts else None)
