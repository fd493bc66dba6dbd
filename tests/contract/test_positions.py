"""Positions of polled sources on both engines: durable, one process polls, everybody sees how it goes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.inbox.queue import open_inbox
from gateway.model.view import Fault, Reading
from tests.contract.postgres import TestServer

WELL = Reading("V_MZJL", read_at=1_774_000_000.5, rows=7)
ILL = Reading("V_JYJG", fault=Fault("GW-INB-050", "V_JYJG", "读不到。", "Not read."), failing_at=1_774_000_000.0)


async def test_a_position_is_there_again_after_a_restart(url: str, tmp_path: Path) -> None:
    inbox = await open_inbox(tmp_path, url)
    positions = inbox.messages.positions
    assert await positions.load("his") == b""
    await positions.tell("his", ILL)
    assert await positions.load("his") == b""
    await positions.save("his", b"one", WELL)
    await positions.save("his", b"two" * 1000, WELL)
    await positions.tell("lis", ILL)
    await inbox.close()
    inbox = await open_inbox(tmp_path, url)
    assert await inbox.messages.positions.load("his") == b"two" * 1000
    assert await inbox.messages.positions.readings() == {"his": WELL, "lis": ILL}
    await inbox.close()


async def test_telling_how_it_goes_leaves_the_position_as_it_is(url: str, tmp_path: Path) -> None:
    inbox = await open_inbox(tmp_path, url)
    await inbox.messages.positions.save("his", b"one", WELL)
    await inbox.messages.positions.tell("his", ILL)
    assert await inbox.messages.positions.load("his") == b"one"
    await inbox.close()


async def test_one_process_polls_a_source_and_another_takes_over_when_it_ends(server: TestServer) -> None:
    url = server.schema()
    first, second = await open_inbox(Path(), url), await open_inbox(Path(), url)
    for _ in range(2):
        assert await first.messages.positions.lead("his")
        assert not await second.messages.positions.lead("his")
    assert await second.messages.positions.lead("lis"), "each source has a lock of its own"
    await first.close()
    async with asyncio.timeout(20):  # the server notices when it comes to it
        while not await second.messages.positions.lead("his"):
            await asyncio.sleep(0.01)
    assert await second.messages.positions.lead("his")
    await second.close()
