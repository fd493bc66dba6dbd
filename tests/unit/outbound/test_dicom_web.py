"""The image proxy against a real HTTP server that plays the PACS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import httpx
import pytest

from gateway.errors import Forbidden, NotFound, PacsSilent
from gateway.outbound.dicom_web import Pacs, PacsSettings
from tests.builders import NOW

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100


class Archive:
    """A PACS of a few answers. `asked` counts requests by path."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent = False

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        self.asked.append(line)
        if not self.silent:
            status, media, body = self._answer(line)
            head = f"HTTP/1.1 {status} x\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n"
            extra = "Location: http://127.0.0.1:1/secret\r\n" if status == 302 else ""
            writer.write(f"{head}{extra}Connection: close\r\n\r\n".encode() + body)
            await writer.drain()
            writer.close()
        else:
            await asyncio.sleep(5)

    @staticmethod
    def _answer(path: str) -> tuple[int, str, bytes]:
        if "/rendered" not in path:
            return (
                (200, "application/dicom+json", b'[{"a":1}]') if "1.2.3" in path else (200, "application/json", b"[]")
            )
        return {
            "moved": (302, "text/html", b""),
            "page": (200, "text/html", b"<html>login</html>"),
            "gone": (404, "text/plain", b""),
            "huge": (200, "image/png", PNG * 100),
        }.get(path.split("/")[2], (200, "image/png", PNG))


@pytest.fixture
async def archive() -> AsyncIterator[tuple[Archive, str]]:
    here = Archive()
    server = await asyncio.start_server(here, "127.0.0.1", 0)
    yield here, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/studies"
    server.close()


class Ticking:
    """A clock the test moves."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at


def pacs_for(*allowed: str, clock: Ticking | None = None) -> Pacs:
    settings = PacsSettings(allowed, timeout_s=0.5, probe_timeout_s=0.3, max_bytes=4096)
    return Pacs(settings, httpx.AsyncClient(trust_env=False), clock or Ticking())


async def test_a_frame_is_passed_through(archive: tuple[Archive, str]) -> None:
    here, address = archive
    assert await pacs_for(address).rendered(address, "ok/series/1/instances/1", {"quality": "80"}) == (PNG, "image/png")
    assert here.asked == ["/studies/ok/series/1/instances/1/rendered?quality=80"]


@pytest.mark.parametrize("path", ["moved", "page", "huge"])
async def test_redirects_pages_and_floods_are_no_pictures(archive: tuple[Archive, str], path: str) -> None:
    here, address = archive
    with pytest.raises(PacsSilent):
        await pacs_for(address).rendered(address, path, {})
    assert len(here.asked) == 1


async def test_a_frame_the_archive_does_not_hold_is_not_found(archive: tuple[Archive, str]) -> None:
    with pytest.raises(NotFound):
        await pacs_for(archive[1]).rendered(archive[1], "gone", {})


async def test_an_archive_that_never_answers_is_given_up(archive: tuple[Archive, str]) -> None:
    here, address = archive
    here.silent = True
    with pytest.raises(PacsSilent):
        await pacs_for(address).rendered(address, "ok", {})


async def test_nothing_is_fetched_from_an_address_that_is_not_allowed(archive: tuple[Archive, str]) -> None:
    here, address = archive
    with pytest.raises(Forbidden):
        await pacs_for("http://127.0.0.1:1/studies").rendered(address, "ok", {})
    assert not await pacs_for().answers("1.2.3", address)
    assert here.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "http://pacs.example@evil/studies",
        "http://evil/studies",
        "https://pacs.example/studies",
        "http://pacs.example:81/studies",
        "http://pacs.example/studies/../admin",
        "http://pacs.example/studies%2f..%2fadmin",
        "http://pacs.example/studiesx",
        "http://pacs.example/studies?x=1",
        "file:///etc/passwd",
        "http://pacs.example:port/studies",
        "",
    ],
)
def test_look_alikes_of_an_allowed_address_are_refused(address: str) -> None:
    pacs = pacs_for("http://pacs.example/studies")
    assert pacs.allowed("http://pacs.example/studies") and pacs.allowed("http://pacs.example/studies/")
    assert not pacs.allowed(address)


async def test_whether_a_study_answers_is_asked_once_a_minute(archive: tuple[Archive, str]) -> None:
    here, address = archive
    clock = Ticking()
    pacs = pacs_for(address, clock=clock)
    assert await pacs.answers("1.2.3", address) and await pacs.answers("1.2.3", address)
    assert len(here.asked) == 1
    clock.at += timedelta(seconds=61)
    here.silent = True
    assert not await pacs.answers("1.2.3", address)


async def test_a_study_the_archive_does_not_know_does_not_answer(archive: tuple[Archive, str]) -> None:
    here, address = archive
    assert await pacs_for(address).answering([("1.2.3", address), ("9.9", address), ("../x", address)]) == {"1.2.3"}
    assert all(".." not in path for path in here.asked)
