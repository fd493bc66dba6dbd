"""Fifty times the process is killed while hospitals send: nothing acknowledged is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

from gateway.inbox.queue import open_inbox
from gateway.model.context import SYSTEM
from gateway.model.outcome import State
from gateway.model.query import Query
from gateway.model.resource import loads
from gateway.model.times import system_clock
from gateway.store.resources import open_store
from tests.flow.messages import oru
from tests.flow.victim import start

KILLS = 50
SENDERS = 4
RESIDENTS = 12


async def _send_until_killed(port: int, numbers: range, acked: set[int], last: list[int]) -> None:
    """One sender; a message that got no answer is sent again after the restart, as a hospital would."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            if number in acked:
                continue
            last[0] = number
            writer.write(b"\x0b" + oru(number, number % RESIDENTS, items=4) + b"\x1c\r")
            answer = await reader.readuntil(b"\x1c\r")
            assert b"MSA|AA|" in answer
            acked.add(number)


async def _one_life(home: Path, after_s: float, lanes: list[range], acked: set[int]) -> None:
    process, port = start(home)
    senders = [asyncio.create_task(_send_until_killed(port, lane, acked, [0])) for lane in lanes]
    await asyncio.sleep(after_s)
    process.kill()  # SIGKILL
    process.join()
    await asyncio.gather(*senders)


def test_fifty_kills_lose_nothing_acknowledged_and_double_nothing(tmp_path: Path) -> None:
    chance = random.Random(20260320)
    acked: set[int] = set()
    lanes = [range(start * 100_000, (start + 1) * 100_000) for start in range(SENDERS)]
    for _ in range(KILLS):
        asyncio.run(_one_life(tmp_path, chance.uniform(0.05, 0.6), lanes, acked))
    asyncio.run(_drain(tmp_path))
    assert len(acked) > KILLS
    asyncio.run(_check(tmp_path, acked))


async def _drain(home: Path) -> None:
    """One last life, until everything kept is processed."""
    process, _ = start(home)
    inbox = await open_inbox(home)
    try:
        while await inbox.messages.entries(state=State.RECEIVED, limit=1):
            await asyncio.sleep(0.1)
    finally:
        process.terminate()
        process.join()
        await inbox.close()


async def _check(home: Path, acked: set[int]) -> None:
    store = await open_store(f"sqlite:///{home}", clock=system_clock)
    versions: dict[int, int] = {}
    cursor = ""
    while True:
        page = await store.search(Query("DiagnosticReport", count=500, cursor=cursor), SYSTEM)
        for one in page.matches:
            number = next(i["value"] for i in loads(one.body)["identifier"] if i["value"].startswith("R0"))
            assert int(number[1:]) not in versions, "doubled"
            versions[int(number[1:])] = one.version
        cursor = page.next
        if not cursor:
            break
    assert acked - versions.keys() == set(), "lost"
    assert set(versions.values()) == {1}
    await store.close()
