"""Which toolstack manages a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamplighter.host.clock import LoopClock
from lamplighter.model.policy import Configuration, HostSettings, Setting
from lamplighter.toolstacks import choose as module
from lamplighter.toolstacks.choose import choose


@pytest.mark.parametrize(
    ("wanted", "control_domain", "tools", "chosen"),
    [
        ("auto", True, True, "xl"),
        ("auto", True, False, "xl"),
        ("auto", False, False, "embedded"),
        ("auto", False, True, "xl"),  # a Xen host that was booted without Xen
        ("xl", False, False, "xl"),
        ("embedded", True, True, "embedded"),
    ],
)
def test_what_is_named_counts_and_auto_looks(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    wanted: str,
    control_domain: bool,
    tools: bool,
    chosen: str,
) -> None:
    monkeypatch.setattr(module, "is_control_domain", lambda: control_domain)
    monkeypatch.setattr(module, "find_program", lambda _: Path("/usr/sbin/xl") if tools else None)
    settings = HostSettings(toolstack=Setting(wanted), run=Setting(str(tmp_path)))
    toolstack = choose(Configuration(host=settings), LoopClock())
    assert type(toolstack).__name__.lower() == f"{chosen}toolstack"
    socket = Path(toolstack.xenstore_path)
    assert socket == Path("/run/xenstored/socket") or socket.parent == tmp_path
    assert socket.is_relative_to(tmp_path) == (chosen == "embedded")
