"""Behaviour read from definitions, and the example host."""

from __future__ import annotations

import math
import stat
from typing import TYPE_CHECKING

import pytest

from lamplighter.embedded.examples import CONFIGURATION, definitions, write_example_host
from lamplighter.embedded.guests.behaviour import Behaviour, Reaction, read_embedded_definition
from lamplighter.errors import ConfigurationError, DefinitionError
from lamplighter.host.files.reading import read_configuration
from lamplighter.model.domain import ShutdownReason
from lamplighter.service.inventory import load_inventory

if TYPE_CHECKING:
    from pathlib import Path


def definition(text: str) -> object:
    return read_embedded_definition(f'name = "web"\n{text}\n', "web.cfg")


def test_what_a_definition_says_of_its_guest() -> None:
    text = 'name = "web"\nembedded_guest = "slow"\nembedded_boot = 7\nembedded_after = "1min"\n'
    profile = read_embedded_definition(text, "web.cfg").profile
    assert profile.behaviour is Behaviour.SLOW
    assert (profile.boot, profile.shutdown, profile.after) == (7.0, 15.0, 60.0)
    never = read_embedded_definition('name = "x"\nembedded_shutdown = "never"', "x.cfg").profile
    assert math.isinf(never.shutdown)


@pytest.mark.parametrize("behaviour", Behaviour)
def test_every_behaviour_can_be_written(behaviour: Behaviour) -> None:
    text = f'name = "x"\ntype = "hvm"\nembedded_guest = "{behaviour.value}"'
    assert read_embedded_definition(text, "x.cfg").profile.behaviour is behaviour


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('embedded_guest = "promt"', "did you mean prompt"),
        ('embedded_gest = "prompt"', "did you mean embedded_guest"),
        ('embedded_guest = "no-drivers"', "HVM"),
        ('embedded_boot = "soon"', "embedded_boot"),
        ('embedded_boot = "-3s"', "embedded_boot"),
        ('embedded_boot = "never"', "embedded_boot"),
        ('embedded_every = "0s"', r"0\.01"),
        ('embedded_linger = "25h"', "embedded_linger"),
        ("embedded_boot = [1]", "not a list"),
        ('embedded_advertises = "maybe"', '"yes" or "no"'),
        ('on_crash = "explode"', "expected one of destroy"),
        ("memory = 0", "MiB"),
        ('memory = "lots"', "MiB"),
        ("memory = [1]", "MiB"),
    ],
)
def test_what_is_wrong_is_reported_with_its_place(line: str, says: str) -> None:
    with pytest.raises(DefinitionError, match=says) as caught:
        definition(line)
    assert caught.value.where.startswith("web.cfg:2")


def test_what_xl_does_by_default() -> None:
    reactions = read_embedded_definition(
        'name = "x"\non_crash = "coredump-restart"', "x.cfg"
    ).reactions
    assert reactions == {
        ShutdownReason.POWEROFF: Reaction.DESTROY,
        ShutdownReason.REBOOT: Reaction.RESTART,
        ShutdownReason.CRASH: Reaction.RESTART,
        ShutdownReason.WATCHDOG: Reaction.DESTROY,
    }


def test_the_example_host_is_sound_and_only_ours(tmp_path: Path) -> None:
    folder = tmp_path / "host"
    write_example_host(folder)

    files = [folder / CONFIGURATION, *(folder / "domains").iterdir()]
    assert len(files) >= 13
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}
    assert stat.S_IMODE((folder / "domains").stat().st_mode) == 0o755
    configuration = read_configuration(folder / CONFIGURATION, required=True)
    inventory = load_inventory(configuration, owner=folder.stat().st_uid)
    assert set(inventory.domains) == set(definitions())
    assert [problem.code for problem in inventory.problems] == ["suspend-refused"]
    behaviours = {
        read_embedded_definition(path.read_text(), str(path)).profile.behaviour
        for path in (folder / "domains").iterdir()
    }
    assert behaviours == set(Behaviour)


def test_an_example_host_leaves_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "domains").mkdir()
    (tmp_path / "domains/web.cfg").write_text("mine")
    write_example_host(tmp_path)
    assert (tmp_path / "domains/web.cfg").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written") as caught:
        write_example_host(tmp_path / "file")
    assert "file" in caught.value.where
