"""Listings, creation and destruction: what a toolstack promises on any host."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from lamplighter.errors import CallFailed
from lamplighter.model.domain import Definition, Kind
from lamplighter.service.incarnation import kind_of, newest_domid
from lamplighter.xenstore import paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.conftest import Story
    from tests.contract.under_test import UnderTest

    OnHost = Callable[[Story], None]


def test_the_control_domain_comes_first(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        first, *others = await host.toolstack.list()
        assert (first.domid, first.name, first.running) == (0, "Domain-0", True)
        assert all(seen.domid > 0 for seen in others)
        assert await host.xenstore.is_domain_introduced(0)

    on_host(story)


def test_a_domain_is_created_seen_and_destroyed(on_host: OnHost) -> None:
    async def story(host: UnderTest) -> None:
        came = await host.listen(paths.INTRODUCE_DOMAIN)
        went = await host.listen(paths.RELEASE_DOMAIN)
        web = host.define("web", "prompt")

        domid = await host.create(web)

        listed = await host.toolstack.list()
        assert [seen.domid for seen in listed] == sorted(seen.domid for seen in listed)
        seen = next(seen for seen in listed if seen.domid == domid)
        assert (seen.uuid, seen.name) == (web.uuid, web.name)
        assert await kind_of(host.xenstore, domid) is Kind.PV
        assert seen.running
        assert set(came) == {paths.INTRODUCE_DOMAIN}
        assert await host.xenstore.is_domain_introduced(domid)
        assert await host.xenstore.read(paths.name(domid)) == web.name.encode()
        assert await host.xenstore.read(paths.vm(domid)) == f"/vm/{web.uuid}".encode()
        assert await host.request(domid) == b""

        with pytest.raises(CallFailed, match=web.name):
            await host.toolstack.create(web)
        now = [(each.domid, each.uuid) for each in await host.toolstack.list()]
        assert now == [(each.domid, each.uuid) for each in listed], "nothing else changed"
        await host.until_up(domid)

        went.clear()
        await host.toolstack.destroy(domid)

        await host.until(lambda: host.is_gone(web), 5)
        assert went, "@releaseDomain did not fire"
        assert await host.request(domid) is None
        assert await host.xenstore.read_or_none(paths.vm(domid)) is None
        assert await kind_of(host.xenstore, domid) is None
        assert await newest_domid(host.xenstore, web) is None
        assert not await host.xenstore.is_domain_introduced(domid)
        assert await host.toolstack.shutdown_reason(seen) is None, "it was destroyed, not shut down"
        await host.toolstack.destroy(domid)  # gone already: no error

    on_host(story)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name = "contract-broken"\nmemory = \n', r"broken\.cfg"),
        ('name = "contract-broken"\nkernel = "/none"\nmemory = 16000000\n', "(?i)memory|/none"),
        (None, r"broken\.cfg.*No such file"),
    ],
    ids=["malformed", "impossible", "missing"],
)
def test_what_cannot_be_created_says_why(on_host: OnHost, text: str | None, says: str) -> None:
    async def story(host: UnderTest) -> None:
        path = host.folder / "broken.cfg"
        if text is not None:
            host.write("broken.cfg", text)
        broken = Definition("contract-broken", UUID(int=0xB), Kind.PV, str(path))
        before = await host.toolstack.list()

        with pytest.raises(CallFailed, match=says):
            await host.toolstack.create(broken)

        assert [seen.domid for seen in await host.toolstack.list()] == [
            seen.domid for seen in before
        ]

    on_host(story)
