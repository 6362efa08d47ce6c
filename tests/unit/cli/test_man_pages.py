"""The manual pages say everything that there is, and nothing that is not."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from lamplighter import errors
from lamplighter.cli.main import COMMANDS, _global_options
from lamplighter.embedded.guests.behaviour import _KNOWN, PREFIX, Behaviour
from lamplighter.formats import policy_values
from lamplighter.formats.definition import PARAMETERS
from lamplighter.formats.lamplighter_toml import TOOLSTACKS, parse
from lamplighter.guest.commands import parser_of
from lamplighter.guest.config import KEYS as AGENT_KEYS
from lamplighter.guest.config import Config, parse_config
from lamplighter.guest.main import COMMANDS as AGENT_COMMANDS
from lamplighter.guest.main import PLACES as AGENT_PLACES
from lamplighter.model.policy import HostSettings, Policy
from lamplighter.model.run import Outcome
from lamplighter.service.installation import STATE, UNITS

COMMAND, FORMAT, AGENT = "lamplighter.8", "lamplighter.toml.5", "lamplighter-agent.8"
SERVICES = [f"{unit}.8" for unit in UNITS]
PAGES = sorted(page.name for page in files("lamplighter").joinpath("man").iterdir())


def page(name: str) -> str:
    return files("lamplighter").joinpath("man", name).read_text(encoding="utf-8")


def section(title: str) -> str:
    return page(COMMAND).split(f".Sh {title}\n")[1].split(".Sh ")[0]


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {
        option.lstrip("-")
        for option in parser._option_string_actions
        if option.startswith("--") and option != "--help"
    }


def tags(text: str) -> dict[str, str]:
    """What each item of a tagged list says, by the first word of its tag."""
    items = re.split(r"^\.It (?:Cm|Ql|Pa|Ev) ", text, flags=re.MULTILINE)[1:]
    return {item.split()[0].strip('"'): item for item in items}


def test_there_is_a_page_for_the_command_the_service_and_the_format() -> None:
    assert set(PAGES) == {COMMAND, *SERVICES, FORMAT, AGENT}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_its_options_described(command: str) -> None:
    parser = argparse.ArgumentParser(add_help=False)
    import_module(COMMANDS[command]).add_arguments(parser)
    items = re.split(r"^\.It Cm ", section("COMMANDS"), flags=re.MULTILINE)
    told = "".join(item for item in items if item.split()[0] == command)
    assert told
    assert set(re.findall(r"Fl -([a-z-]+)", told)) == options(parser)


def test_no_command_is_described_that_does_not_exist() -> None:
    commands = section("COMMANDS")
    assert {line.split()[2] for line in commands.splitlines() if line.startswith(".It Cm ")} == set(
        COMMANDS
    )


def test_the_global_options_are_described() -> None:
    told = page(COMMAND).split(".Sh COMMANDS\n")[0]
    assert options(_global_options()) | {"help", "version"} == set(
        re.findall(r"Fl -([a-z]+)", told)
    )


def test_each_exit_status_is_described_and_no_other() -> None:
    told = section("EXIT STATUS")
    raised = {
        thing.exit_status
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, errors.LamplighterError)
    }
    assert {int(number) for number in re.findall(r"^\.It (\d+)$", told, re.MULTILINE)} == {
        0, *raised,
    }  # fmt: skip


def test_each_outcome_is_described_and_no_other() -> None:
    told = section("OUTCOMES")
    assert set(tags(told)) == {outcome.value for outcome in Outcome}


def test_each_key_of_the_configuration_is_described_with_its_default() -> None:
    head, tables = page(FORMAT).split(".Sh THE TABLES ")
    host = tags(head.split(".Sh THE TABLE ")[1])
    policy = tags(tables.split(".Sh DEFINITIONS")[0])
    assert set(host) == set(HostSettings._fields)
    words = {f'"{word}"' for word in (*policy_values._STOP, *policy_values._START, *TOOLSTACKS)}
    assert {key for key in policy if not key.startswith(r"\(dq")} == set(Policy._fields)
    lines = ["[host]", *map(_as_toml, host.values())]
    lines += ["[defaults]", *(_as_toml(policy[key]) for key in Policy._fields)]
    spoken = parse("\n".join(lines), "/etc/lamplighter/lamplighter.toml")
    for key in host:
        assert getattr(spoken.host, key).value == getattr(HostSettings(), key).value, key
    for key in Policy._fields:
        assert spoken.defaults[key].value == getattr(Policy(), key).value, key
    plain = page(FORMAT).replace(r"\(dq", '"')
    assert not [word for word in words if word not in plain]


def _as_toml(item: str) -> str:
    r"""The tag ``state No = \(dq/var\(dq`` as the line of TOML that it means."""
    tag = item.splitlines()[0]
    return tag.replace(" No = ", " = ").replace(r"\(dq", '"')


def test_each_key_of_a_definition_is_described() -> None:
    text = page(FORMAT).split(".Sh DEFINITIONS")[1]
    own, embedded = text.split(".Ss Definitions of an embedded host")
    assert set(tags(own)) == set(PARAMETERS)
    assert set(re.findall(rf"{PREFIX}[a-z]+", embedded)) == {PREFIX + key for key in _KNOWN}
    assert not [behaviour for behaviour in Behaviour if behaviour.value not in embedded]


def test_the_example_of_a_configuration_is_valid() -> None:
    example = page(FORMAT).split(".Bd -literal -offset indent\n")[-1].split(".Ed")[0]
    configuration = parse(example, "/etc/lamplighter/lamplighter.toml")
    assert configuration.domains["db"]["stop_timeout"].value == 1200


def test_the_files_are_where_the_pages_say() -> None:
    told = tags(section("FILES"))
    assert f"{STATE}/state.db" in told
    assert f"{HostSettings().run.value}/lock" in told


def test_the_agents_page_shows_its_commands_options_and_keys() -> None:
    text = page(AGENT)
    commands = text.split(".Sh COMMANDS\n")[1].split(".Ss ")[0]
    assert set(tags(commands)) == set(AGENT_COMMANDS)
    known = {option for name in AGENT_COMMANDS[1:] for option in options(parser_of(name))}
    known |= {option.lstrip("-") for option in AGENT_PLACES} | {"help", "version"}
    assert set(re.findall(r"(?:Fl|\|) -([a-z-]+)", text)) == known
    keys = tags(text.split(".Sh CONFIGURATION\n")[1].split(".Sh ")[0])
    lines = [item.splitlines()[0].replace(" No = ", " = ") for item in keys.values()]
    assert set(keys) == set(AGENT_KEYS)
    assert parse_config("\n".join(lines), AGENT) == (Config(), [])


@pytest.mark.parametrize("name", PAGES)
def test_a_page_refers_only_to_others_that_there_are(name: str) -> None:
    ours = {tuple(other.rsplit(".", 1)) for other in PAGES}
    for title, number in re.findall(r"^\.Xr (\S+) (\d)", page(name), re.MULTILINE):
        if title.startswith("lamplighter"):
            assert (title, number) in ours


def test_no_text_holds_the_marks_of_a_merge() -> None:
    root = Path(__file__).parents[3]
    texts = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("src/lamplighter/man/*")]
    assert len(texts) > len(PAGES)
    marks = re.compile(r"^(<{7}|\|{7}|>{7}) |^={7}$", re.MULTILINE)
    found = [str(text) for text in texts if marks.search(text.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="needs mandoc")
@pytest.mark.parametrize("name", PAGES)
def test_mandoc_finds_nothing_wrong(name: str) -> None:
    with as_file(files("lamplighter").joinpath("man", name)) as path:
        ended = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "warning", path],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, "")
