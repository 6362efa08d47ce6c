"""What XenStore tells of an incarnation, and what it does not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast
from uuid import UUID

import pytest

from lamplighter.model.domain import Definition, Kind
from lamplighter.service.incarnation import kind_of, newest_domid

if TYPE_CHECKING:
    from lamplighter.host.xenstore.client import XenStore

WEB = Definition("web", UUID(int=1), Kind.PV, "/etc/xen/web.cfg")
NAMED = WEB._replace(uuid=None)
OTHER = f"/vm/{UUID(int=2)}".encode()
ITS = f"/vm/{WEB.uuid}".encode()


class Nodes:
    """XenStore with these nodes; of the domids in ``gone`` they go before they are read."""

    def __init__(self, names: list[str], nodes: dict[str, bytes]) -> None:
        self._names = names
        self._nodes = nodes
        self.reads = 0

    async def directory(self, path: str) -> list[str]:
        assert path == "/local/domain"
        return self._names

    async def read_or_none(self, path: str) -> bytes | None:
        self.reads += 1
        return self._nodes.get(path)


def newest(definition: Definition, names: list[str], **nodes: bytes) -> int | None:
    """``_7_vm`` is the node ``vm`` of domain 7."""
    told = {f"/local/domain{key.replace('_', '/')}": value for key, value in nodes.items()}
    return asyncio.run(newest_domid(cast("XenStore", Nodes(names, told)), definition))


def test_a_domain_is_known_by_its_uuid_whatever_it_is_called() -> None:
    assert newest(WEB, ["0", "7", "8"], _7_vm=ITS, _8_vm=OTHER, _8_name=b"web") == 7


def test_where_its_definition_states_none_by_its_name() -> None:
    assert newest(NAMED, ["0", "7", "8"], _7_name=b"web", _8_name=b"webs") == 7


def test_of_several_the_newest_counts_by_number() -> None:
    assert newest(WEB, ["9", "10", "0"], _9_vm=ITS, _10_vm=ITS) == 10


@pytest.mark.parametrize("definition", [WEB, NAMED])
def test_what_is_not_there_or_vanishes_while_it_is_looked_for_has_none(
    definition: Definition,
) -> None:
    assert newest(definition, ["0", "7"]) is None


def test_names_that_are_no_numbers_are_no_domains() -> None:
    assert newest(WEB, ["x", "", "-1", "1e3", "²", "7"], _7_vm=ITS) == 7


def test_the_one_that_was_just_created_costs_one_read() -> None:
    store = Nodes([str(domid) for domid in range(1000)], {"/local/domain/999/vm": ITS})
    assert asyncio.run(newest_domid(cast("XenStore", store), WEB)) == 999
    assert store.reads == 1


@pytest.mark.parametrize(
    ("told", "kind"),
    [(b"pv", Kind.PV), (b"pvh", Kind.PVH), (b"hvm", Kind.HVM), (b"PV", None), (None, None)],
)
def test_libxl_writes_down_the_kind(told: bytes | None, kind: Kind | None) -> None:
    nodes = {"/libxl/7/type": told} if told is not None else {}
    assert asyncio.run(kind_of(cast("XenStore", Nodes([], nodes)), 7)) is kind
