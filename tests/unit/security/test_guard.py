"""The outer ring: headers on everything, limits, deadline, and never a bare 500."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.middleware.gzip import GZipMiddleware

from gateway.errors import Conflict
from gateway.security.http import Guard, Limits, Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body and answers its length; misbehaves where the path says so."""
    if scope["path"] == "/conflict":
        raise Conflict("Patient/1")
    if scope["path"] == "/bug":
        raise ValueError("李建国 990101195803120115")
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})
    await send({"type": "http.response.body", "body": str(size).encode()})


def client(limits: Limits | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Guard(app, limits), raise_app_exceptions=True)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


async def test_every_answer_carries_request_id_and_security_headers() -> None:
    async with client() as http:
        answer = await http.get("/", headers={"X-Request-Id": "client-id-1"})
    assert answer.headers["x-request-id"] == "client-id-1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "public"


async def test_only_a_listed_proxy_says_that_a_request_came_over_tls() -> None:
    for proxies, strict in (((), False), (("127.0.0.1",), True), (("10.0.0.1",), False)):
        transport = httpx.ASGITransport(Guard(app, proxies=proxies))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            answer = await http.get("/", headers={"X-Forwarded-Proto": "https"})
        assert ("strict-transport-security" in answer.headers) is strict, proxies


async def long(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"x" * 5_000})


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True), ("gzip;q=0.5, deflate", True), ("br;q=1.0, GZip ; q=0.001", True), ("deflate;q=0, gzip", True),
        ("gzip;q=0", False), ("gzip; Q=0.000, identity", False), ("deflate, gzip ;q = 0.0", False), ("*;q=0", False),
    ],
)  # fmt: skip
async def test_gzip_goes_to_those_alone_who_give_it_a_weight(accepted: str, packed: bool) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Guard(GZipMiddleware(long))), base_url="http://gateway"
    ) as http:
        answer = await http.get("/", headers={"Accept-Encoding": accepted})
    assert (answer.headers.get("content-encoding") == "gzip") is packed and len(answer.content) == 5_000


async def test_a_gateway_error_is_an_operation_outcome_in_two_languages() -> None:
    async with client() as http:
        answer = await http.get("/conflict")
    issue = answer.json()["issue"][0]
    assert answer.status_code == 409
    assert issue["details"]["coding"][0]["code"] == "GW-STO-002"
    assert "修改" in issue["details"]["text"] and "changed" in issue["diagnostics"]


async def test_an_unexpected_fault_says_nothing_about_its_data(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        async with client() as http:
            answer = await http.get("/bug")
    assert answer.status_code == 500 and answer.json()["resourceType"] == "OperationOutcome"
    assert "ValueError" in caplog.text
    for text in (answer.text, caplog.text):
        assert "990101195803120115" not in text and "李建国" not in text


async def test_a_body_above_the_limit_is_refused_by_its_length_and_by_its_bytes() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    async with client(Limits(body_bytes=1000, larger={"/big": 5000})) as http:
        declared = await http.post("/", content=b"x" * 1001)
        streamed = await http.post("/", content=pieces())
        allowed = await http.post("/big", content=b"x" * 1001)
    assert (declared.status_code, streamed.status_code, allowed.status_code) == (413, 413, 200)
    assert declared.json()["issue"][0]["code"] == "too-long"
