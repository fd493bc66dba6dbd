"""`/docs`: every page a page links to is there, the mapping language too."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from starlette.applications import Starlette

from gateway.outbound.manual import DOCS, manual_routes

PAGES = sorted(path.stem for path in DOCS.glob("*.md"))


def got(*paths: str) -> list[httpx.Response]:
    async def asked() -> list[httpx.Response]:
        door = httpx.ASGITransport(Starlette(routes=manual_routes()))
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
