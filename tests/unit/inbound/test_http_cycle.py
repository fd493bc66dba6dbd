"""Answers on the wire, byte by byte, from the gateway's own HTTP server on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.inbound.http_server import HttpServer
from gateway.settings import Http, Limits

START = "http.response.start"
BODY = "http.response.body"


def _answers(*messages: dict[str, Any]) -> Callable[..., Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(dict(message))

    return app


def _whole(body: bytes = b"hello", status: int = 200, *headers: tuple[bytes, bytes]) -> Callable[..., Any]:
    length = ((b"content-length", str(len(body)).encode()),) if status not in (204, 304) else ()
    return _answers(
        {"type": START, "status": status, "headers": [*length, *headers]}, {"type": BODY, "body": body}
    )  # fmt: skip


@contextlib.asynccontextmanager
async def _served(app: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = HttpServer(app, Http(), Limits(), stop_s=1)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.should_exit = True
        await task


async def _said(app: Any, *requests: bytes) -> bytes:
    """Everything that comes back until the server closes."""
    async with _served(app) as (reader, writer):
        writer.write(b"".join(requests))
        return await asyncio.wait_for(reader.read(), 5)


LAST = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
NEXT = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def _parts(said: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    head, _, body = said.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    return status, dict(line.split(b": ", 1) for line in lines), body


async def test_a_whole_answer_has_its_length_and_its_date() -> None:
    status, headers, body = _parts(await _said(_whole(), LAST))
    assert (status, body, headers[b"content-length"]) == (b"HTTP/1.1 200 OK", b"hello", b"5")
    assert headers[b"date"].endswith(b"GMT") and headers[b"connection"] == b"close"


async def test_requests_sent_ahead_are_answered_in_order_on_one_line() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.02 if scope["path"] == "/slow" else 0)
        await _whole(scope["path"].encode() + scope["query_string"])(scope, receive, send)

    said = await _said(app, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /a%20b?q HTTP/1.1\r\nhost: x\r\n\r\n", LAST)
    assert said.count(b"HTTP/1.1 200 OK") == 3
    assert said.index(b"/slow") < said.index(b"/a bq") < said.rindex(b"HTTP/1.1 200")


async def test_an_answer_without_length_comes_in_chunks() -> None:
    pieces = [{"type": BODY, "body": b"ab", "more_body": True}, {"type": BODY, "body": b"c" * 17, "more_body": True}]
    app = _answers({"type": START, "status": 200, "headers": []}, *pieces, {"type": BODY})
    _, headers, body = _parts(await _said(app, LAST))
    assert headers[b"transfer-encoding"] == b"chunked"
    assert body == b"2\r\nab\r\n11\r\n" + b"c" * 17 + b"\r\n0\r\n\r\n"


async def test_head_and_304_have_no_body() -> None:
    said = await _said(_whole(), LAST.replace(b"GET", b"HEAD"))
    assert _parts(said)[1][b"content-length"] == b"5" and _parts(said)[2] == b""
    said = await _said(_whole(b"", 304), LAST)
    assert said.startswith(b"HTTP/1.1 304") and b"transfer-encoding" not in said and _parts(said)[2] == b""


async def test_http_1_0_is_answered_and_closed() -> None:
    status, headers, body = _parts(await _said(_whole(), b"GET / HTTP/1.0\r\n\r\n"))
    assert status == b"HTTP/1.1 200 OK" and headers[b"connection"] == b"close" and body == b"hello"


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb"])
async def test_a_header_of_two_lines_never_leaves(value: bytes) -> None:
    said = await _said(_whole(b"x", 200, (b"x-name", value)), LAST)
    assert said.startswith(b"HTTP/1.1 500") and b"set-cookie" not in said


@pytest.mark.parametrize("declared", [b"4", b"6"])
async def test_a_body_of_another_length_than_declared_ends_the_line(declared: bytes) -> None:
    app = _answers(
        {"type": START, "status": 200, "headers": [(b"content-length", declared)]}, {"type": BODY, "body": b"hello"}
    )
    assert await _said(app, NEXT, LAST) == b""


async def test_a_client_that_asks_first_hears_that_it_may_go_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        await _whole(message["body"])(scope, receive, send)

    async with _served(app) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert b"content-length: 3" in await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(3) == b"abc"
