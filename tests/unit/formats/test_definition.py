"""What of a definition concerns us."""

from __future__ import annotations

from uuid import UUID

import pytest

from lamplighter.formats import xlcfg
from lamplighter.formats.definition import Reading, read_definition
from lamplighter.formats.policy_values import SUSPEND_REFUSED
from lamplighter.model.domain import Kind
from lamplighter.model.policy import Start, Stop
from tests.definitions import VALID, read, truth, valid_path

FILE = "/etc/xen/web.cfg"


def reading(text: str) -> Reading:
    return read_definition(xlcfg.parse(text, FILE))


@pytest.mark.parametrize("name", VALID)
def test_name_uuid_and_kind_are_what_xl_prints(name: str) -> None:
    found = read_definition(xlcfg.parse(read(valid_path(name)), name))
    expected = truth(name)
    assert found.errors == ()
    assert found.definition is not None
    assert found.definition.name == expected["name"]
    assert found.definition.kind.value == expected["kind"]
    uuid = found.definition.uuid
    assert (str(uuid) if uuid else None) == expected["uuid"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", Kind.PV),
        ('type = "pv"\n', Kind.PV),
        ('type = "pvh"\n', Kind.PVH),
        ('type = "hvm"\n', Kind.HVM),
        ('type = "p"\n', Kind.PV),
        ('type = ""\n', Kind.HVM),
        ('builder = "hvm"\n', Kind.HVM),
        ('builder = "generic"\n', Kind.PV),
        ('type = "hvm"\nbuilder = "hvm"\n', Kind.HVM),
        ('type = [ "hvm" ]\n', Kind.PV),
    ],
)
def test_kinds(text: str, kind: Kind) -> None:
    definition = reading('name = "a"\n' + text).definition
    assert definition is not None
    assert definition.kind is kind


@pytest.mark.parametrize(
    ("text", "key", "value", "note"),
    [
        ('on_xend_start = "start"', "start", Start.ALWAYS, ""),
        ('on_xend_start = "ignore"', "start", Start.NEVER, ""),
        ('on_xend_stop = "shutdown"', "stop", Stop.SHUTDOWN, ""),
        ('on_xend_stop = "ignore"', "stop", Stop.LEAVE, ""),
        ('on_xend_stop = "suspend"', "stop", Stop.SHUTDOWN, SUSPEND_REFUSED),
    ],
)
def test_the_values_of_xend(text: str, key: str, value: object, note: str) -> None:
    found = reading(f'name = "a"\n\n{text}\n')
    assert found.errors == ()
    assert list(found.settings) == [key]
    setting = found.settings[key]
    assert (setting.value, setting.note) == (value, note)
    assert str(setting.origin) == f"{FILE}:3:1"


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ('on_xend_start = "strat"', '"start" or "ignore", not "strat"', "did you mean start?"),
        ('on_xend_start = "always"', 'not "always"', ""),
        ("on_xend_start = 1", 'not "1"', ""),
        ('on_xend_start = [ "start" ]', "not a list", ""),
        ('on_xend_start = "suspend"', 'not "suspend"', ""),
        ('on_xend_stop = "Shutdown"', '"shutdown", "ignore" or "suspend"', "mean shutdown?"),
        ('on_xend_stop = "destroy"', 'not "destroy"', ""),
        ('on_xend_stop = ""', 'not ""', ""),
        ("on_xend_stop = [ ]", "not a list", ""),
    ],
)
def test_a_value_that_xend_never_knew_hides_the_policy(text: str, says: str, hint: str) -> None:
    found = reading(f'name = "web"\n  {text}\n')
    assert found.name == "web"
    assert found.definition is None
    (error,) = found.errors
    assert (error.line, error.column) == (2, 3)
    assert says in error.problem
    assert hint in error.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name = ""\n', "not empty"),
        ('name = "a\\nb"\n', '"a\\nb" holds characters that cannot be shown'),
        ('name = "a\x1b[2J"\n', "cannot be shown"),
        ('name = "gr\udcfc"\n', "cannot be shown"),
        ('name = "a\u202eb"\n', "cannot be shown"),
        ("memory = 1\n", "states no name"),
        ("name = []\n", "not a list"),
        ('name = "Domain-0"\n', "is the control domain's"),
        ('name = "blank "\n', '"blank " cannot be told from another'),
        ('name = " web"\n', '" web" cannot be told from another'),
        ('name = "(null)"\n', '"(null)" cannot be told from another'),
    ],
)
def test_a_name_that_no_listing_can_show_is_none(text: str, says: str) -> None:
    found = reading(text)
    assert (found.name, found.definition) == (None, None)
    assert says in found.errors[0].problem


def test_a_bad_uuid_leaves_the_rest() -> None:
    found = reading('name = "web"\nuuid = "x"\non_xend_stop = "ignore"\n')
    assert found.definition is not None
    assert found.definition.uuid is None
    assert found.settings["stop"].value is Stop.LEAVE
    assert [error.line for error in found.errors] == [2]


def test_the_control_domains_uuid_is_nobody_elses() -> None:
    zeros = UUID(int=0)
    (error,) = reading(f'name = "web"\nuuid = "{zeros}"\n').errors
    assert "the control domain's UUID" in error.problem


def test_every_mistake_is_reported() -> None:
    text = 'uuid = "x"\ntype = "x"\non_xend_start = "x"\non_xend_stop = "x"\n'
    errors = reading(text).errors
    assert [error.line for error in errors] == [None, 1, 2, 3, 4]


def test_the_definition_keeps_every_value_and_its_place() -> None:
    definition = reading('name = "web"\nmine = [ "a", 1 ]\n').definition
    assert definition is not None
    assert definition.path == FILE
    assert definition.values == {"name": "web", "mine": ["a", 1]}
    assert definition.locations["mine"].line == 2
