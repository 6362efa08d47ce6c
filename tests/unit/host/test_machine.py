"""Whether this is the control domain of a Xen host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamplighter.host.machine import is_control_domain

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("content", "expected"), [("control_d\n", True), ("", False), ("control_domain\n", False)]
)
def test_what_the_file_says(tmp_path: Path, content: str, *, expected: bool) -> None:
    path = tmp_path / "capabilities"
    path.write_text(content)
    assert is_control_domain(path) is expected


def test_without_xen_there_is_no_file(tmp_path: Path) -> None:
    assert is_control_domain(tmp_path / "capabilities") is False
    assert is_control_domain(tmp_path) is False
