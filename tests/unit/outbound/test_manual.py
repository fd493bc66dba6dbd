"""`/docs`: every page a page links to is there, the mapping language too."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from starlette.applications import Starlette

from gateway.errors import GatewayError
from gateway.outbound.manual import DOCS, manual_routes
from gateway.security.http import handle_gateway_error

PAGES = sorted(path.stem for path in DOCS.glob("*.md"))


def got(*paths: str) -> list[httpx.Response]:
    async def asked() -> list[httpx.Response]:
        app = Starlette(routes=manual_routes(), exception_handlers={GatewayError: handle_gateway_error})
        door = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=door, base_url="http://gateway", follow_redirects=True) as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(asked())


@pytest.mark.parametrize("name", [*PAGES, "mapping"])
def test_every_link_between_pages_leads_somewhere(name: str) -> None:
    (page,) = got(f"/docs/{name}")
    assert page.status_code == 200
    links = [f"/docs/{link}" for link in re.findall(r'href="([^"#:]+\.md)', page.text)]
    assert [link for link, found in zip(links, got(*links), strict=True) if found.status_code != 200] == []


def test_a_vendor_reads_the_mapping_language_beside_a_running_gateway() -> None:
    vendors, language = got("/docs/vendors", "/docs/mapping")
    assert 'href="mapping.md"' in vendors.text
    assert "<h1>The mapping language</h1>" in language.text


def test_an_address_of_no_page_is_not_found_whatever_it_holds() -> None:
    names = ("none", "..%2Fcli", "%00", "a" * 3000, "decisions")
    assert [found.status_code for found in got(*(f"/docs/{name}" for name in names))] == [404] * len(names)
