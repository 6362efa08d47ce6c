"""Paths as xenstored takes them, the nodes of a domain, and permissions as text."""

from __future__ import annotations

import pytest

from lamplighter.xenstore import paths, permissions
from lamplighter.xenstore.permissions import Access, Permission


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/local/domain/0/name",
        "control/shutdown",
        "/a-b_c@d/E9",
        "/" + "x" * (paths.ABSOLUTE_MAX - 1),
        "x" * paths.RELATIVE_MAX,
    ],
)
def test_sound_paths(path: str) -> None:
    assert paths.fault(path) is None
    assert paths.fault(path, special=True) is None


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("", "empty"),
        ("/a/", "ends in a slash"),
        ("a/", "ends in a slash"),
        ("//", "two slashes"),
        ("/a//b", "two slashes"),
        ("/a b", "' ' is not allowed"),
        ("/a\n", r"'\\n' is not allowed"),
        ("/a\0", "is not allowed"),
        ("/ä", "'ä' is not allowed"),
        ("/" + "x" * paths.ABSOLUTE_MAX, "3073 bytes, the limit is 3072"),
        ("x" * (paths.RELATIVE_MAX + 1), "2049 bytes, the limit is 2048"),
        ("@releaseDomain", "special watch is not a node"),
    ],
)
def test_faults_are_named(path: str, fault: str) -> None:
    message = paths.fault(path)
    assert message is not None
    assert fault.replace("\\\\", "\\") in message


def test_special_watches_are_allowed_where_asked_for() -> None:
    assert paths.fault(paths.RELEASE_DOMAIN, special=True) is None
    assert paths.fault(paths.INTRODUCE_DOMAIN, special=True) is None
    assert paths.fault("@releaseDomain/7", special=True) is None
    assert paths.fault("@", special=False) is not None
    assert paths.is_special("@releaseDomain")
    assert not paths.is_special("/@releaseDomain")


def test_the_nodes_of_a_domain() -> None:
    assert paths.domain(7) == "/local/domain/7"
    assert paths.control_shutdown(7) == "/local/domain/7/control/shutdown"
    assert paths.feature_poweroff(7) == "/local/domain/7/control/feature-poweroff"
    assert paths.feature(7, "reboot") == "/local/domain/7/control/feature-reboot"
    assert paths.name(7) == "/local/domain/7/name"
    assert paths.vm(7) == "/local/domain/7/vm"


def test_relative_paths_begin_at_the_domains_own_node() -> None:
    assert paths.absolute("control/shutdown", 3) == "/local/domain/3/control/shutdown"
    assert paths.absolute("/tool", 3) == "/tool"
    assert paths.absolute("@releaseDomain", 3) == "@releaseDomain"
    assert paths.is_absolute("/tool")
    assert not paths.is_absolute("tool")


def test_below_goes_by_whole_names() -> None:
    assert paths.is_below("/a/b", "/a")
    assert paths.is_below("/a", "/a")
    assert paths.is_below("/a", "/")
    assert not paths.is_below("/ab", "/a")
    assert not paths.is_below("/", "/a")


@pytest.mark.parametrize("text", ["n0", "r3", "w12", "b32767"])
def test_permissions_there_and_back(text: str) -> None:
    assert str(permissions.parse(text)) == text


def test_permissions_mean_reading_and_writing() -> None:
    assert permissions.parse("b1") == Permission(Access.BOTH, 1)
    assert [access.readable for access in Access] == [False, True, False, True]
    assert [access.writable for access in Access] == [False, False, True, True]
    assert permissions.encode([Permission(Access.NONE, 0), Permission(Access.READ, 5)]) == (
        b"n0\0r5\0"
    )


@pytest.mark.parametrize("text", ["", "n", "x1", "1", "r-1", "r1.5", "r99999", "r 1", "r٣", "N0"])
def test_malformed_permissions_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"permission|domid"):
        permissions.parse(text)
