"""Files to a roster: one bad definition costs nobody else anything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.formats.policy_values import SUSPEND_REFUSED
from lamplighter.host.files.reading import read_configuration
from lamplighter.model.domain import DomainInfo
from lamplighter.model.policy import Policy, Start, Stop
from lamplighter.service.inventory import load_inventory
from tests.definitions import MALFORMED, malformed_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamplighter.model.policy import Inventory
    from lamplighter.model.problem import Problem

UUID_A = "6a0cf3b2-5c1f-4d6e-9f43-2f7c0c3b9a10"


class Etc:
    """A folder with a lamplighter.toml and definitions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.toml = '[host]\ndefinitions = ["xen/*.cfg"]\n'
        (folder / "xen").mkdir()

    def define(self, file: str, text: str) -> Path:
        path = self.folder / "xen" / f"{file}.cfg"
        path.write_bytes(text.encode(errors="surrogateescape"))
        return path

    def load(self) -> Inventory:
        path = self.folder / "lamplighter.toml"
        path.write_text(self.toml)
        return load_inventory(read_configuration(path, required=True), owner=os.geteuid())

    def short(self, problem: Problem) -> tuple[str, str, str | None]:
        """Code, place without the folder, domain."""
        place = str(problem.where).removeprefix(f"{self.folder}/")
        return problem.code, place, problem.domain


@pytest.fixture
def etc(tmp_path: Path) -> Iterator[Etc]:
    before = os.umask(0o022)
    yield Etc(tmp_path)
    os.umask(before)


def test_definitions_and_configuration_come_together(etc: Etc) -> None:
    etc.toml += '[defaults]\nstop_timeout = 60\n[domain.web]\nstop = "leave"\n'
    web = etc.define("web", f'name = "web"\nuuid = "{UUID_A}"\non_xend_start = "start"\n')
    etc.define("mail", 'name = "mail"\non_xend_stop = "ignore"\n')
    inventory = etc.load()
    assert inventory.problems == ()
    assert list(inventory.domains) == ["mail", "web"]
    managed = inventory.domains["web"]
    assert (managed.definition.path, managed.definition.uuid) == (str(web), UUID(UUID_A))
    policy = managed.policy
    assert (policy.start.value, policy.stop.value) == (Start.ALWAYS, Stop.LEAVE)
    assert policy.stop_timeout.value == 60
    assert inventory.defaults.stop_timeout.value == 60
    assert inventory.domains["mail"].policy.stop.value is Stop.LEAVE


def test_no_definitions_at_all(etc: Etc) -> None:
    assert etc.load().problems == ()
    assert etc.load().defaults == Policy()


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_definition_bars_only_itself(etc: Etc, name: str) -> None:
    etc.define("good", 'name = "good"\n')
    broken = etc.folder / "xen" / "broken.cfg"
    broken.write_bytes(malformed_path(name).read_bytes())
    inventory = etc.load()
    assert "good" in inventory.domains
    assert "good" not in inventory.blocked
    assert inventory.problems
    for problem in inventory.problems:
        assert problem.code == "definition"
        assert problem.fatal
        assert problem.where is not None
        assert problem.where.file == str(broken)
        assert problem.domain in (None, "broken")
    named = {problem.domain for problem in inventory.problems} - {None}
    assert set(inventory.blocked) == named


def test_the_name_of_a_broken_definition_is_saved(etc: Etc) -> None:
    etc.toml += '[domain.web]\nstop = "leave"\n'
    etc.define("web", 'memory = \nname = "web"\non_xend_stop = "ignore"\n')
    inventory = etc.load()
    assert [etc.short(problem) for problem in inventory.problems] == [
        ("definition", "xen/web.cfg:1:10", "web")
    ]
    assert inventory.domains == {}
    assert list(inventory.blocked) == ["web"]
    assert inventory.policy_of("web").stop.value is Stop.LEAVE


def test_a_bad_uuid_bars_the_domain_and_keeps_its_policy(etc: Etc) -> None:
    etc.define("web", 'name = "web"\nuuid = "x"\non_xend_stop = "ignore"\n')
    inventory = etc.load()
    assert list(inventory.blocked) == ["web"]
    assert inventory.domains["web"].policy.stop.value is Stop.LEAVE


def test_one_name_twice_starts_neither(etc: Etc) -> None:
    etc.define("a", 'name = "web"\non_xend_start = "start"\n')
    etc.define("b", 'memory = 1\nname = "web"\n')
    etc.define("c", 'name = "web"\nmemory = \n')
    etc.define("good", 'name = "good"\n')
    inventory = etc.load()
    assert list(inventory.domains) == ["good"]
    assert list(inventory.blocked) == ["web"]
    assert [etc.short(p) for p in inventory.problems if p.code == "duplicate-name"] == [
        ("duplicate-name", "xen/a.cfg:1:1", "web"),
        ("duplicate-name", "xen/b.cfg:2:1", "web"),
        ("duplicate-name", "xen/c.cfg:1:1", "web"),
    ]
    first = next(p for p in inventory.problems if p.code == "duplicate-name")
    assert f"{etc.folder}/xen/b.cfg:2:1, {etc.folder}/xen/c.cfg:1:1" in first.message


def test_one_uuid_twice_starts_neither_and_both_go_by_name(etc: Etc) -> None:
    etc.define("a", f'name = "web"\nuuid = "{UUID_A}"\non_xend_stop = "ignore"\n')
    etc.define("b", f'name = "mail"\nuuid = "{UUID_A.upper()}"\n')
    inventory = etc.load()
    assert sorted(inventory.blocked) == ["mail", "web"]
    assert {problem.code for problem in inventory.problems} == {"duplicate-uuid"}
    running = DomainInfo(3, UUID(UUID_A), "web")
    matching = [name for name, m in inventory.domains.items() if m.definition.matches(running)]
    assert matching == ["web"]
    assert inventory.domains["web"].policy.stop.value is Stop.LEAVE


def test_links_to_one_file_are_no_duplicates(etc: Etc) -> None:
    path = etc.define("web", f'name = "web"\nuuid = "{UUID_A}"\n')
    auto = etc.folder / "auto"
    auto.mkdir()
    (auto / "10-web").symlink_to(path)
    etc.toml = '[host]\ndefinitions = ["xen/*.cfg", "auto/*"]\n'
    inventory = etc.load()
    assert inventory.problems == ()
    assert list(inventory.domains) == ["web"]


def test_a_definition_that_others_can_write_is_not_started(etc: Etc) -> None:
    etc.define("web", 'name = "web"\non_xend_start = "start"\n').chmod(0o666)
    inventory = etc.load()
    assert inventory.domains == {}
    (problem,) = inventory.problems
    assert etc.short(problem) == ("permissions", "xen/web.cfg", "web")
    assert problem.message == "refused: can be written by everybody (mode 0666)"
    assert problem.hint == f"chmod o-w {etc.folder}/xen/web.cfg"
    assert list(inventory.blocked) == ["web"]


def test_it_cannot_bar_a_domain_that_a_trusted_file_defines(etc: Etc) -> None:
    etc.define("a", f'name = "web"\nuuid = "{UUID_A}"\n').chmod(0o666)
    etc.define("b", f'name = "web"\nuuid = "{UUID_A}"\n')
    inventory = etc.load()
    assert list(inventory.domains) == ["web"]
    assert inventory.blocked == {}
    assert [etc.short(problem) for problem in inventory.problems] == [
        ("permissions", "xen/a.cfg", None)
    ]


def test_a_folder_that_others_can_write_makes_its_definitions_unusable(etc: Etc) -> None:
    etc.define("web", 'name = "web"\n')
    (etc.folder / "xen").chmod(0o777)
    inventory = etc.load()
    assert inventory.domains == {}
    (problem,) = inventory.problems
    assert etc.short(problem) == ("permissions", "xen/web.cfg", "web")
    assert f"refused: {etc.folder}/xen can be written by everybody" in problem.message


def test_what_cannot_be_read_is_a_problem_of_its_own(etc: Etc) -> None:
    etc.define("web", 'name = "web"\n')
    (etc.folder / "xen" / "folder.cfg").mkdir()
    (etc.folder / "xen" / "gone.cfg").symlink_to("nowhere")
    os.mkfifo(etc.folder / "xen" / "pipe.cfg")
    inventory = etc.load()
    assert list(inventory.domains) == ["web"]
    assert [etc.short(problem) for problem in inventory.problems] == [
        ("not-a-file", "xen/folder.cfg", None),
        ("missing", "xen/gone.cfg", None),
        ("not-a-file", "xen/pipe.cfg", None),
    ]


def test_a_table_without_a_definition_is_a_warning(etc: Etc) -> None:
    etc.toml += '[domain.wbe]\nstop = "leave"\n[domain.xyzzy]\n'
    etc.define("web", 'name = "web"\n')
    inventory = etc.load()
    assert [etc.short(problem) for problem in inventory.problems] == [
        ("no-definition", "lamplighter.toml:4:1", "wbe"),
        ("no-definition", "lamplighter.toml (domain.xyzzy)", "xyzzy"),
    ]
    assert [problem.fatal for problem in inventory.problems] == [False, False]
    assert inventory.problems[0].hint == "did you mean web?"
    assert inventory.blocked == {}
    assert inventory.policy_of("wbe").stop.value is Stop.LEAVE
    assert inventory.policy_of("web") is inventory.domains["web"].policy
    assert inventory.policy_of("other") is inventory.defaults


def test_suspend_is_refused_once_for_each_place_it_is_set(etc: Etc) -> None:
    etc.toml += '[defaults]\nstop = "suspend"\n[domain.mail]\nstop = "suspend"\n'
    etc.define("mail", 'name = "mail"\non_xend_stop = "suspend"\n')
    etc.define("web", 'name = "web"\non_xend_stop = "suspend"\n')
    etc.define("plain", 'name = "plain"\n')
    inventory = etc.load()
    assert [etc.short(problem) for problem in inventory.problems] == [
        ("suspend-refused", "lamplighter.toml:4:1", None),
        ("suspend-refused", "lamplighter.toml:6:1", "mail"),
        ("suspend-refused", "xen/web.cfg:2:1", "web"),
    ]
    assert inventory.blocked == {}
    for managed in inventory.domains.values():
        assert managed.policy.stop.value is Stop.SHUTDOWN
        assert managed.policy.stop.note == SUSPEND_REFUSED
