"""OPTIONS, HEAD and CORS of the FHIR door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from gateway.outbound.fhir_routes import FhirDoor
from gateway.security.cors import Cors
from tests.unit.fhir_site import TOKENS, Site, a_patient, a_site

FRIEND, STRANGER = "https://his.example", "https://evil.example"


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as made:
        await made.keep(a_patient())
        yield made


def browser(site: Site) -> httpx.AsyncClient:
    parts = replace(site.parts, cors=Cors.of([FRIEND + "/"]))
    transport = httpx.ASGITransport(FhirDoor(parts))
    return httpx.AsyncClient(transport=transport, base_url="http://gateway/fhir/")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("Patient/p1", "OPTIONS, GET, HEAD, PUT, PATCH, DELETE"),
        ("Patient", "OPTIONS, GET, HEAD, POST, PUT, PATCH, DELETE"),
        ("Patient/p1/_history", "OPTIONS, GET, HEAD"),
        ("Patient/_search", "OPTIONS, GET, HEAD, POST"),
        ("metadata", "OPTIONS, GET, HEAD"),
        ("", "OPTIONS, GET, HEAD, POST"),
    ],
)
async def test_options_names_what_an_address_takes_without_asking_who(site: Site, path: str, allowed: str) -> None:
    async with site.as_("") as http:
        answer = await http.options(f"/fhir/{path}")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allowed, b"")
    assert ("accept-patch" in answer.headers) == ("PATCH" in allowed)


async def test_a_method_an_address_does_not_take_is_answered_with_those_it_takes(site: Site) -> None:
    async with site.as_("admin") as http:
        answer = await http.delete("/fhir/Patient/p1/_history")
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, GET, HEAD")


async def test_head_has_the_headers_of_get_and_no_body(site: Site) -> None:
    async with site.as_("platform") as http:
        got, head = await http.get("/fhir/Patient/p1"), await http.head("/fhir/Patient/p1")
    assert head.status_code == 200 and head.content == b""
    assert head.headers["etag"] == got.headers["etag"] and head.headers["content-length"] == str(len(got.content))
    assert (await site.audits())[0].detail == "HEAD"


async def test_pages_of_configured_origins_alone_may_call(site: Site) -> None:
    asking = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,if-match"}
    signed = {"Authorization": f"Bearer {TOKENS['platform']}"}
    async with browser(site) as http:
        friend = await http.options("Patient/p1", headers=asking | {"Origin": FRIEND})
        stranger = await http.options("Patient/p1", headers=asking | {"Origin": STRANGER})
        read = await http.get("Patient/p1", headers=signed | {"Origin": FRIEND})
        refused = await http.get("Patient/p1", headers={"Origin": FRIEND})
        theirs = await http.get("Patient/p1", headers=signed | {"Origin": STRANGER})
    assert (
        friend.headers["access-control-allow-origin"] == FRIEND
        and "PUT" in friend.headers["access-control-allow-methods"]
    )
    assert "If-Match" in friend.headers["access-control-allow-headers"]
    assert (
        read.headers["access-control-allow-origin"] == FRIEND
        and "ETag" in read.headers["access-control-expose-headers"]
    )
    assert refused.status_code == 401 and refused.headers["access-control-allow-origin"] == FRIEND
    for answer in (stranger, theirs):
        assert not any(name.startswith("access-control") for name in answer.headers)
    assert "access-control-allow-credentials" not in read.headers


async def test_no_origin_is_allowed_unless_configured(site: Site) -> None:
    answer = await site.get("Patient/p1", Origin=FRIEND)
    assert not any(name.startswith("access-control") for name in answer.headers)
    assert (await site.get("metadata")).json()["rest"][0]["security"]["cors"] is False
