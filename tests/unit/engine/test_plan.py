"""What a plan says about each domain, and why."""

from __future__ import annotations

from uuid import UUID

import pytest

from lamplighter.engine.plan import plan_down, plan_up
from lamplighter.errors import UsageError
from lamplighter.model.domain import Definition, Kind, ShutdownReason, Sighting
from lamplighter.model.location import Location
from lamplighter.model.outcome import Outcome
from lamplighter.model.plan import Verb
from lamplighter.model.policy import Managed, Policy, Problem, Roster, Setting, Start, Stop

WEB = UUID(int=1)
DB = UUID(int=2)
DOM0 = Sighting(0, UUID(int=0), "Domain-0")


def managed(
    name: str,
    uuid: UUID | None,
    start: Start = Start.ALWAYS,
    stop: Stop = Stop.SHUTDOWN,
) -> Managed:
    definition = Definition(name, uuid, Kind.PV, f"/etc/xen/{name}.cfg")
    origin = Location(f"/etc/xen/{name}.cfg", 3)
    return Managed(definition, Policy(start=Setting(start, origin), stop=Setting(stop, origin)))


def roster(*domains: Managed, problems: tuple[Problem, ...] = ()) -> Roster:
    return Roster({domain.name: domain for domain in domains}, Policy(), problems)


def test_up_starts_what_is_wanted_and_not_running_and_names_the_line_that_says_so() -> None:
    plan = plan_up(roster(managed("web", WEB)), [DOM0])
    (step,) = plan.steps
    assert (step.verb, step.definition is not None) == (Verb.START, True)
    assert step.reason == 'start = "always" (/etc/xen/web.cfg:3)'


def test_up_leaves_what_runs_already() -> None:
    (step,) = plan_up(roster(managed("web", WEB)), [Sighting(4, WEB, "web")]).steps
    assert (step.verb, step.outcome, step.good) == (Verb.NOTHING, Outcome.ALREADY, True)


def test_up_does_not_start_what_is_not_wanted_unless_it_is_named() -> None:
    house = roster(managed("web", WEB, Start.NEVER))
    (idle,) = plan_up(house, []).steps
    (named,) = plan_up(house, [], ["web"]).steps
    (by_uuid,) = plan_up(house, [], [str(WEB).upper()]).steps
    assert (idle.verb, idle.outcome, idle.good) == (Verb.NOTHING, Outcome.SKIPPED, True)
    assert (named.verb, by_uuid.verb) == (Verb.START, Verb.START)


def test_a_barred_domain_fails_and_the_others_start() -> None:
    problem = Problem("twice", "two definitions of this name", domain="db")
    broken = Problem("definition", "expected =", Location("/etc/xen/x.cfg", 2), domain="x")
    house = roster(managed("web", WEB), managed("db", DB), problems=(problem, broken))
    steps = {step.name: step for step in plan_up(house, [], []).steps}
    assert steps["web"].verb is Verb.START
    assert (steps["db"].outcome, steps["db"].good) == (Outcome.FAILED, False)
    assert steps["x"].reason == "/etc/xen/x.cfg:2: expected ="


def test_a_barred_domain_is_not_started_by_name_either() -> None:
    problem = Problem("writable", "anyone may write it", domain="web")
    (step,) = plan_up(roster(managed("web", WEB), problems=(problem,)), [], ["web"]).steps
    assert step.verb is Verb.NOTHING


def test_up_does_not_create_beside_another_domain_of_the_same_name() -> None:
    (step,) = plan_up(roster(managed("web", WEB)), [Sighting(5, DB, "web")]).steps
    assert (step.outcome, step.good) == (Outcome.FAILED, False)
    assert "another domain of this name" in step.reason


def test_up_says_how_to_remove_what_has_shut_down_and_is_kept() -> None:
    kept = Sighting(6, WEB, "web", shutdown=ShutdownReason.CRASH)
    (step,) = plan_up(roster(managed("web", WEB)), [kept]).steps
    assert step.outcome is Outcome.FAILED
    assert "lamplighter down web" in step.reason


def test_up_does_not_advise_to_remove_a_domain_that_another_tool_is_saving() -> None:
    saved = Sighting(6, WEB, "web", shutdown=ShutdownReason.SUSPEND)
    (step,) = plan_up(roster(managed("web", WEB)), [saved]).steps
    assert step.outcome is Outcome.FAILED
    assert step.reason == "another tool has suspended it as domid 6, to save or to move it"


def test_up_starts_a_domain_whose_last_incarnation_is_still_dying() -> None:
    dying = Sighting(6, WEB, "", shutdown=ShutdownReason.POWEROFF, dying=True)
    (step,) = plan_up(roster(managed("web", WEB)), [dying]).steps
    assert step.verb is Verb.START


def test_a_domain_without_uuid_is_known_by_its_name() -> None:
    house = roster(managed("web", None))
    (step,) = plan_up(house, [Sighting(7, DB, "web")]).steps
    assert step.outcome is Outcome.ALREADY


def test_down_stops_everything_but_dom0_and_what_the_host_needs() -> None:
    xenstore = Sighting(1, UUID(int=9), "Xenstore")
    stranger = Sighting(3, DB, "by-hand")
    seen = [DOM0, xenstore, Sighting(2, WEB, "web"), stranger]
    plan = plan_down(roster(managed("web", WEB)), seen, spared={1})
    assert [(step.name, step.verb) for step in plan.steps] == [
        ("by-hand", Verb.STOP),
        ("web", Verb.STOP),
    ]
    assert "no file knows this domain" in plan.steps[0].reason


def test_down_leaves_and_destroys_as_policy_says() -> None:
    house = roster(managed("web", WEB, stop=Stop.LEAVE), managed("db", DB, stop=Stop.DESTROY))
    seen = [Sighting(2, WEB, "web"), Sighting(3, DB, "db")]
    steps = {step.name: step for step in plan_down(house, seen).steps}
    assert (steps["web"].verb, steps["web"].outcome) == (Verb.NOTHING, Outcome.SKIPPED)
    assert steps["db"].verb is Verb.DESTROY
    (by_hand,) = plan_down(house, seen, ["web"]).steps
    assert by_hand.verb is Verb.STOP


def test_a_renamed_domain_is_still_itself() -> None:
    house = roster(managed("web", WEB, stop=Stop.LEAVE))
    (step,) = plan_down(house, [Sighting(2, WEB, "new-name")]).steps
    assert (step.name, step.outcome) == ("new-name", Outcome.SKIPPED)


def test_down_by_name_of_what_does_not_run_is_no_failure() -> None:
    (step,) = plan_down(roster(managed("web", WEB)), [DOM0], ["web"]).steps
    assert (step.outcome, step.good) == (Outcome.ALREADY, True)


@pytest.mark.parametrize("plan", [plan_up, plan_down])
def test_an_unknown_name_is_an_error_that_names_the_nearest(plan: object) -> None:
    assert callable(plan)
    with pytest.raises(UsageError, match="no domain 'wbe'") as caught:
        plan(roster(managed("web", WEB)), [], ["wbe"])
    assert caught.value.hint == "did you mean web?"


def test_notes_such_as_a_refused_suspend_go_with_the_step() -> None:
    policy = Policy(stop=Setting(Stop.SHUTDOWN, note="suspend is refused"))
    house = Roster({"web": Managed(Definition("web", WEB, Kind.PV, "x"), policy)})
    (step,) = plan_down(house, [Sighting(2, WEB, "web")]).steps
    assert step.notes == ("suspend is refused",)


def test_a_table_of_its_own_counts_for_a_domain_that_no_definition_describes() -> None:
    leave = Policy(stop=Setting(Stop.LEAVE, Location("lamplighter.toml", 9, 1)))
    broken = Problem("syntax", "a string has no end", domain="byhand")
    house = Roster(named={"byhand": leave}, problems=(broken,))
    (step,) = plan_down(house, [Sighting(4, WEB, "byhand")]).steps
    assert (step.verb, step.outcome) == (Verb.NOTHING, Outcome.SKIPPED)
    assert "no file knows" not in step.reason
    (gone,) = plan_down(house, [], ["byhand"]).steps
    assert gone.policy is leave
