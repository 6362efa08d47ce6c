"""Whose word counts: ``[domain.NAME]``, the definition, ``[defaults]``, what is built in."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from lamplighter.engine.policy import KEYS, layers, settle
from lamplighter.model.domain import Definition, Kind
from lamplighter.model.policy import Configuration, Policy, Setting, Start, Stop
from lamplighter.model.problem import Location

if TYPE_CHECKING:
    from collections.abc import Mapping

WEB = Definition("web", None, Kind.PV, "web.cfg")
OWN = Setting(Start.ALWAYS, Location("l.toml", 9))
STATED = Setting(Start.NEVER, Location("web.cfg", 3))
DEFAULT = Setting(Start.ALWAYS, Location("l.toml", 2))
BUILT_IN = Policy().start


@pytest.mark.parametrize("said", list(product([False, True], repeat=3)))
def test_the_nearest_setting_wins_and_all_are_kept(said: tuple[bool, bool, bool]) -> None:
    def table(setting: Setting[Start], *, present: bool) -> Mapping[str, Setting[Any]]:
        return {"start": setting} if present else {}

    own, stated, default = said
    configuration = Configuration(
        defaults=table(DEFAULT, present=default),
        domains={"web": table(OWN, present=own)},
    )
    expected = [
        setting
        for setting, present in ((OWN, own), (STATED, stated), (DEFAULT, default))
        if present
    ]
    found = layers(configuration, "web", table(STATED, present=stated))
    assert found["start"] == (*expected, BUILT_IN)
    assert settle(configuration, "web", table(STATED, present=stated)).start == found["start"][0]


def test_without_a_setting_the_built_in_value_counts() -> None:
    assert settle(Configuration(), "web") == Policy()
    assert Policy().stop.value is Stop.SHUTDOWN
    assert Policy().start.value is Start.NEVER
    assert list(layers(Configuration(), None)) == list(KEYS)


def test_a_domain_that_no_file_knows_has_the_defaults() -> None:
    configuration = Configuration(
        defaults={"start": DEFAULT}, domains={"web": {"start": OWN}, "": {"start": OWN}}
    )
    assert settle(configuration).start == DEFAULT
    assert settle(configuration, "mail").start == DEFAULT


def test_each_key_is_settled_for_itself() -> None:
    timeout = Setting(7.0, Location("l.toml", 4))
    configuration = Configuration(
        defaults={"stop_timeout": timeout}, domains={"web": {"start": OWN}}
    )
    policy = settle(configuration, "web", {"stop": Setting(Stop.LEAVE)})
    assert policy == Policy(start=OWN, stop=Setting(Stop.LEAVE), stop_timeout=timeout)
