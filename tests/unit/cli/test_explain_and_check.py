"""``explain`` and ``check``, from files to what is printed."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from lamplighter.cli import check
from lamplighter.cli.explain import explanation_text
from lamplighter.cli.main import execute
from lamplighter.cli.output.text import Style
from lamplighter.engine.explain import Explanation
from lamplighter.model.domain import Definition, Kind
from lamplighter.model.policy import ManagedDomain, Policy
from lamplighter.model.problem import Problem
from lamplighter.toolstacks import choose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UUID_A = "6a0cf3b2-5c1f-4d6e-9f43-2f7c0c3b9a10"

TOML = """\
[host]
toolstack = "embedded"
definitions = ["xen/*.cfg"]
state = "state"
run = "run"
[defaults]
stop_timeout = "5min"
[domain.web]
start = "always"
"""
WEB = f'name = "web"\nuuid = "{UUID_A}"\ntype = "hvm"\non_xend_start = "ignore"\n'


NO_VALUE = "expected a string, a number or '[', found the end of the line"


@dataclass
class End:
    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


class Host:
    """A folder with a lamplighter.toml and a definition of ``web``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "lamplighter.toml"
        self.config.write_text(TOML)
        (folder / "xen").mkdir()
        self.define("web", WEB)

    def define(self, file: str, text: str) -> Path:
        path = self.folder / "xen" / f"{file}.cfg"
        path.write_text(text)
        return path

    def call(self, *argv: str) -> End:
        out, err = io.StringIO(), io.StringIO()
        status = execute(["--config", str(self.config), *argv], {}, out, err)
        return End(status, out.getvalue().replace(f"{self.folder}/", ""), err.getvalue())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    before = os.umask(0o022)
    yield Host(tmp_path)
    os.umask(before)


class TestExplain:
    def test_shows_each_setting_with_its_place(self, host: Host) -> None:
        end = host.call("explain", "web")
        assert end.status == 0
        assert end.err == ""
        assert end.out.splitlines()[:8] == [
            f"web: HVM, UUID {UUID_A}, defined in xen/web.cfg",
            "",
            "SETTING        VALUE       FROM",
            'start          "always"    lamplighter.toml:9:1',
            '               "never"     xen/web.cfg:4:1, on_xend_start; overridden',
            '               "never"     built-in default; overridden',
            'stop           "shutdown"  built-in default',
            'start_timeout  "2min"      built-in default',
        ]
        assert "It is started with the host." in end.out
        assert "its power button is pressed after 10s" in end.out

    def test_in_json(self, host: Host) -> None:
        host.define("web", WEB + 'on_xend_stop = "suspend"\n')
        end = host.call("explain", UUID_A.upper(), "--json")
        document = end.document
        assert (document["name"], document["uuid"], document["kind"]) == ("web", UUID_A, "hvm")
        assert document["path"] == "xen/web.cfg"
        start = document["settings"]["start"]
        assert start["value"] == "always"
        assert start["origin"] == {"file": "lamplighter.toml", "line": 9, "column": 1}
        assert [layer["value"] for layer in start["overridden"]] == ["never", "never"]
        assert [layer["origin"] and layer["origin"]["line"] for layer in start["overridden"]] == [
            4,
            None,
        ]
        assert document["settings"]["stop_timeout"]["value"] == 300.0
        assert "suspend is refused" in document["settings"]["stop"]["note"]
        assert [problem["code"] for problem in document["problems"]] == ["suspend-refused"]
        assert len(document["follows"]) == 2

    def test_a_refused_suspend(self, host: Host) -> None:
        host.define("web", WEB + 'on_xend_stop = "suspend"\n')
        end = host.call("explain", "web")
        assert '"shutdown"  xen/web.cfg:5:1, on_xend_stop, which says suspend\n' in end.out
        assert "\nwarning: xen/web.cfg:5:1: suspend is refused" in end.out

    def test_a_refused_suspend_of_the_defaults(self, host: Host) -> None:
        host.config.write_text(TOML.replace("stop_timeout", 'stop = "suspend"\nstop_timeout'))
        host.define("mail", 'name = "mail"\non_xend_stop = "ignore"\n')
        assert "warning: lamplighter.toml:7:1: suspend" in host.call("explain", "web").out
        assert "warning" not in host.call("explain", "mail").out

    def test_a_broken_definition(self, host: Host) -> None:
        host.define("bad", 'name = "bad"\nmemory = \n')
        end = host.call("explain", "bad")
        assert end.status == 0
        assert end.out.startswith("bad\n\nSETTING")
        assert "It is never started: it has no valid definition." in end.out
        assert "\nerror: xen/bad.cfg:2:10: expected a string" in end.out
        assert host.call("explain", "bad", "--json").document["kind"] is None

    def test_a_blocked_domain(self, host: Host) -> None:
        host.define("web", WEB.replace(UUID_A, "x"))
        end = host.call("explain", "web")
        assert "web: HVM, no UUID of its own, defined in" in end.out
        assert "should be started with the host and is not" in end.out

    def test_a_domain_that_only_the_configuration_mentions(self, host: Host) -> None:
        with host.config.open("a") as config:
            config.write('[domain.other]\nstop = "leave"\n')
        end = host.call("explain", "other")
        assert 'stop           "leave"     lamplighter.toml:11:1' in end.out
        assert "It is left running when the host stops" in end.out
        assert "it has no valid definition" in end.out

    def test_a_domain_that_nobody_knows(self, host: Host) -> None:
        end = host.call("explain", "wbe")
        assert end.status == 2
        assert "there is no domain 'wbe'" in end.err
        assert "did you mean web?" in end.err
        assert "status lists them all" in host.call("explain", "x" * 50).err

    def test_a_narrow_terminal_and_a_hostile_path(self) -> None:
        managed = ManagedDomain(Definition("web", None, Kind.PV, "/x\x1b[2J.cfg"), Policy())
        text = explanation_text(
            Explanation("web", managed, Policy(), {}, ()), Style(colours=False, width=40)
        )
        assert "\x1b" not in text
        assert "\\x1b[2J.cfg" in text
        assert max(map(len, text.splitlines()[4:])) <= 40


class TestCheck:
    @pytest.fixture(autouse=True)
    def units(self, monkeypatch: pytest.MonkeyPatch) -> list[Problem]:
        found: list[Problem] = []
        monkeypatch.setattr(check, "conflicting_units", lambda: found)
        return found

    def test_a_sound_host(self, host: Host) -> None:
        host.define("mail", 'name = "mail"\n')
        end = host.call("check")
        assert end == End(
            0, "no problems: 2 domains defined, 1 of them started with the host\n", ""
        )
        assert host.call("check", "--json").document == {
            "sound": True,
            "domains": 2,
            "problems": [],
            "exit": 0,
        }

    def test_every_problem_is_reported(self, host: Host) -> None:
        host.define("bad", 'name = "bad"\nmemory = \n')
        host.define("open", 'name = "open"\n').chmod(0o666)
        host.define("twice", 'name = "web"\n')
        host.define("suspend", 'name = "suspend"\non_xend_stop = "suspend"\n')
        (host.folder / "xen" / "gone.cfg").symlink_to("nowhere")
        (host.folder / "state").write_text("")
        end = host.call("check")
        assert end.status == 78
        lines = end.out.splitlines()
        for expected in (
            f"error: xen/bad.cfg:2:10: {NO_VALUE}",
            "error: xen/open.cfg: refused: can be written by everybody (mode 0666)",
            "  chmod o-w xen/open.cfg",
            "error: xen/twice.cfg:1:1: the name web is also used by xen/web.cfg:1:1",
            "error: xen/web.cfg:1:1: the name web is also used by xen/twice.cfg:1:1",
            "  each domain needs a definition, a name and a UUID of its own",
            "error: xen/gone.cfg: is a link to nowhere, which does not exist",
            "error: lamplighter.toml:4:1: state is not a folder",
            '  say "shutdown", "leave" or "destroy"',
        ):
            assert expected in lines
        assert lines[-1] == "6 errors, 1 warning"
        document = host.call("check", "--json").document
        assert (document["sound"], document["exit"], document["domains"]) == (False, 78, 1)
        assert sorted(problem["code"] for problem in document["problems"]) == [
            "definition",
            "duplicate-name",
            "duplicate-name",
            "missing",
            "not-a-folder",
            "permissions",
            "suspend-refused",
        ]

    def test_a_warning_alone_is_not_sound(self, host: Host) -> None:
        host.define("web", WEB + 'on_xend_stop = "suspend"\n')
        end = host.call("check")
        assert end.status == 78
        assert end.out.endswith("\n\n1 warning\n")

    def test_a_wrong_configuration(self, host: Host) -> None:
        host.config.write_text("[hots]\n")
        end = host.call("check")
        assert end.status == 78
        assert end.out == (
            'error: lamplighter.toml:1:2: there is no key "hots"\n  did you mean host?\n\n1 error\n'
        )
        (problem,) = host.call("check", "--json").document["problems"]
        assert problem["code"] == "configuration"

    def test_a_configuration_that_is_not_there(self, host: Host) -> None:
        host.config.unlink()
        end = host.call("check")
        assert end.status == 78
        assert "lamplighter.toml: does not exist" in end.out

    def test_services_that_act_beside_us(
        self, host: Host, units: list[Problem], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        units.append(Problem("conflict", "xendomains.service is enabled", hint="disable it"))
        assert host.call("check").status == 0
        host.config.write_text(TOML.replace("embedded", "auto"))
        monkeypatch.setattr(choose, "is_control_domain", lambda: True)
        end = host.call("check")
        assert end.status == 78
        assert "error: xendomains.service is enabled\n  disable it\n" in end.out
