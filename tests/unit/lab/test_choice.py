"""Which scenarios a commit chooses."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from lab.choice import SHARES, Choice, changed_subject, choose, share_of
from lab.landing import Landing
from lab.scenario import Scenario, all_scenarios
from lab.variants import VARIANTS
from lab.wheels import ROOT

SCENARIOS = all_scenarios()
ROTATING = [scenario for scenario in SCENARIOS if not scenario.always]
PAIRS = {
    (variant.name, scenario.name)
    for variant in VARIANTS.values()
    for scenario in SCENARIOS
    if scenario.runs_usually(variant)
}
#: What only some scenarios need of the lab. All else is shown by every scenario that runs.
SPECIAL = {"debians", "troubles", "xl_reads"}


def _landing(turn: int, *changed: str) -> Landing:
    return Landing(turn, changed, "")


def _chosen(choices: list[Choice]) -> set[tuple[str, str]]:
    return {(choice.variant.name, choice.scenario.name) for choice in choices if choice.chosen}


def _by_name(name: str) -> Scenario:
    return next(scenario for scenario in SCENARIOS if scenario.name == name)


@pytest.mark.parametrize("turn", range(4))
def test_every_pair_runs_within_three_turns(turn: int) -> None:
    landings = [choose(SCENARIOS, _landing(turn + later)) for later in range(SHARES)]

    assert set().union(*(_chosen(choices) for choices in landings)) == PAIRS


def test_what_rotates_runs_once_in_three_turns_and_says_when_it_is_due() -> None:
    for choice in choose(ROTATING, _landing(7)):
        due = [
            later
            for later in range(SHARES)
            for other in choose([choice.scenario], _landing(7 + later))
            if other.variant == choice.variant and other.chosen
        ]
        assert due == [choice.due_in]
        told = "turn 2 of 3" if choice.chosen else f"left out, due in {choice.due_in} turn"
        assert told in str(choice)


@pytest.mark.parametrize("turn", range(3))
def test_every_landing_has_the_contract_on_both_xens_and_both_xenstoreds(turn: int) -> None:
    chosen = _chosen(choose(SCENARIOS, _landing(turn)))

    hosts = [VARIANTS[variant] for variant, scenario in chosen if scenario == "contract"]
    assert {host.suite.xen for host in hosts} == {"4.17", "4.20"}
    assert {host.c_xenstored for host in hosts} == {False, True}


def test_what_has_changed_runs_on_all_its_hosts_at_every_turn_and_names_the_file() -> None:
    path = "lab/scenarios/guest_agent.py"
    for turn in range(SHARES):
        choices = choose(SCENARIOS, _landing(turn, "README.md", path))
        found = [choice for choice in choices if choice.scenario.name == "guest_agent"]
        assert len(found) == 2
        assert {choice.reason for choice in found} == {f"changed: {path}"}


def test_of_several_changed_files_the_first_is_named_and_the_others_are_counted() -> None:
    changed = ("lab/troubles.py", "src/lamplighter/guest/guard.py", "tools/make-agent")

    [choice, _] = choose([_by_name("guest_agent")], _landing(1, *changed))

    assert choice.reason == "changed: lab/troubles.py and 2 more"


def test_where_nobody_knows_what_has_changed_everything_runs() -> None:
    assert _chosen(choose(SCENARIOS, Landing(5, None, ""))) == PAIRS


def test_what_a_limit_may_cut_off_comes_last_and_hosts_of_what_always_runs_come_first() -> None:
    choices = choose(SCENARIOS, _landing(1, "lab/scenarios/stuck_are_forced.py"))

    chosen = [choice for choice in choices if choice.chosen]
    assert [choice.scenario.name for choice in chosen[:3]] == [
        "contract",
        "stuck_are_forced",
        "contract",
    ]
    assert [choice.rotates for choice in chosen] == [False] * 3 + [True] * (len(chosen) - 3)
    hosts = list(dict.fromkeys(choice.variant.name for choice in chosen[3:]))
    assert hosts == ["trixie", "bookworm-cxenstored", "bookworm"]


def test_no_limit_cuts_off_the_same_scenarios_each_time_that_their_third_comes_round() -> None:
    last = []
    for turn in range(1, 6 * SHARES, SHARES):
        choices = choose(SCENARIOS, _landing(turn, "lab/scenarios/stuck_are_forced.py"))
        chosen = [choice for choice in choices if choice.chosen]
        assert [choice.rotates for choice in chosen] == [False] * 3 + [True] * (len(chosen) - 3)
        last.append((chosen[-1].variant.name, chosen[-1].scenario.name))
    assert len(set(last[:3])) == 3, "each time another host"
    assert len(set(last)) > 3


def test_the_share_of_a_forgotten_turn_is_made_up_for() -> None:
    late, this = (_chosen(choose(ROTATING, _landing(turn))) for turn in (3, 4))

    assert _chosen(choose(ROTATING, Landing(4, (), "", forgotten=1))) == late | this
    assert _chosen(choose(SCENARIOS, Landing(4, (), "", forgotten=2))) == PAIRS


def test_a_pattern_takes_no_other_files() -> None:
    agent = _by_name("guest_agent")
    changed = ["src/lamplighter/guest/guard.py", "src/lamplighter/service/guests.py", "guest"]

    assert changed_subject(agent, changed) == changed[:1]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_scenario_says_what_it_is_about(scenario: Scenario) -> None:
    stale = [pattern for pattern in scenario.subject if not any(ROOT.glob(pattern))]
    assert not stale, f"SUBJECT names files that are not there: {stale}"
    assert scenario.always or len(scenario.subject) > 1, "it has no SUBJECT"
    assert scenario.share in range(SHARES)
    assert scenario.seconds > 0, "it has no SECONDS"


@pytest.mark.parametrize("scenario", ROTATING, ids=lambda scenario: scenario.name)
def test_what_a_scenario_needs_of_the_lab_beside_the_host_is_its_subject(
    scenario: Scenario,
) -> None:
    text = (ROOT / scenario.subject[0]).read_text()
    imported = {
        alias.name
        for node in ast.parse(text).body
        if isinstance(node, ast.ImportFrom) and node.module == "lab"
        for alias in node.names
    }

    needed = [f"lab/{name}.py" for name in sorted(imported & SPECIAL)]
    assert changed_subject(scenario, needed) == needed


def test_the_shares_take_about_equally_long() -> None:
    seconds: Counter[int] = Counter()
    for scenario in ROTATING:
        for variant in VARIANTS.values():
            if scenario.runs_usually(variant):
                seconds[share_of(scenario, variant)] += round(scenario.seconds)

    assert max(seconds.values()) < 1.25 * sum(seconds.values()) / SHARES, dict(seconds)


def test_the_tracked_turn_is_a_number() -> None:
    assert int(Path(ROOT, "lab/turn").read_text()) >= 0
