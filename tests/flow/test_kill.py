"""The process is killed again and again while everybody sends: nothing acknowledged is lost, nothing doubled.

Hospitals send messages, clients create, update, patch and read over FHIR. Whoever got no answer does what a careful
client does: sends the message again, creates again under If-None-Exist, looks what became of its update.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from gateway.inbox.queue import open_inbox
from gateway.model.context import SYSTEM
from gateway.model.outcome import State
from gateway.model.query import Query
from gateway.model.resource import loads
from gateway.model.times import system_clock
from gateway.store.base import AuditQuery
from gateway.store.resources import ResourceStore, open_store
from tests.flow.alliance import TOKENS
from tests.flow.messages import oru
from tests.flow.victim import start

SENDERS, CREATORS, CHANGERS = 3, 2, 2
RESIDENTS = 12
SYSTEM_OF_ORDERS = "urn:test:order"
_HEADERS = {"authorization": f"Bearer {TOKENS['admin']}", "content-type": "application/fhir+json"}


@dataclass
class Counted:
    """A resource whose name is a number that only grows. acked, tried: the last one answered and sent."""

    id: str = ""
    acked: int = 0
    tried: int = 0


@dataclass
class Acknowledged:
    """Everything somebody was told is done."""

    reports: set[int] = field(default_factory=set)
    created: set[int] = field(default_factory=set)
    counters: list[Counted] = field(default_factory=lambda: [Counted() for _ in range(CHANGERS)])
    reads: int = 0

    def least(self) -> int:
        """How often everybody was answered at least."""
        return min(len(self.reports), len(self.created), self.reads)


async def _send_until_killed(port: int, numbers: range, acked: set[int]) -> None:
    """One sender; a message that got no answer is sent again after the restart, as a hospital would."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            if number in acked:
                continue
            writer.write(b"\x0b" + oru(number, number % RESIDENTS, items=4) + b"\x1c\r")
            answer = await reader.readuntil(b"\x1c\r")
            assert b"MSA|AA|" in answer
            acked.add(number)


async def _create_until_killed(http: httpx.AsyncClient, numbers: range, acked: set[int]) -> None:
    with contextlib.suppress(httpx.TransportError):
        for number in numbers:
            if number in acked:
                continue
            one = {"system": SYSTEM_OF_ORDERS, "value": str(number)}
            body = {"resourceType": "Organization", "identifier": [one], "name": f"第{number}院"}
            once = {"if-none-exist": f"identifier={SYSTEM_OF_ORDERS}|{number}"}
            answer = await http.post("/fhir/Organization", content=json.dumps(body), headers=once)
            assert answer.status_code in (200, 201), answer.text
            acked.add(number)


async def _change_until_killed(http: httpx.AsyncClient, counted: Counted, said: Acknowledged) -> None:
    """Updates and patches in turn, each read back; what the kill left open is looked up first."""
    with contextlib.suppress(httpx.TransportError):
        if not counted.id:
            made = await http.post("/fhir/Organization", content='{"resourceType":"Organization","name":"0"}')
            counted.id = made.headers["location"].split("/Organization/")[1].partition("/")[0]
        place = f"/fhir/Organization/{counted.id}"
        number = await _read(http, place, counted, said)
        while True:
            number += 1
            counted.tried = number
            answer = await _change(http, place, counted.id, number)
            assert answer.status_code == 200, answer.text
            counted.acked = number
            await _read(http, place, counted, said)


async def _change(http: httpx.AsyncClient, place: str, id_: str, number: int) -> httpx.Response:
    if number % 2:
        body = {"resourceType": "Organization", "id": id_, "name": str(number)}
        return await http.put(place, content=json.dumps(body))
    patch = [{"op": "replace", "path": "/name", "value": str(number)}]
    return await http.patch(place, content=json.dumps(patch), headers={"content-type": "application/json-patch+json"})


async def _read(http: httpx.AsyncClient, place: str, counted: Counted, said: Acknowledged) -> int:
    answer = await http.get(place)
    assert answer.status_code == 200
    number = int(answer.json()["name"])
    assert number in (counted.acked, counted.tried), "an acknowledged change is gone"
    counted.acked = number
    said.reads += 1
    return number


async def _one_life(home: Path, after_s: float, said: Acknowledged, enough: int = 0) -> None:
    """So long after everybody was answered that often in all, or after the start, at its first words.

    How soon a first answer comes is the machine's: by the clock alone, a busy one would see none.
    """
    process, mllp, port = start(home)
    limits = httpx.Limits(max_connections=CREATORS + CHANGERS)
    address = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=address, headers=_HEADERS, limits=limits, timeout=60) as http:
        work = [_send_until_killed(mllp, _lane(n), said.reports) for n in range(SENDERS)]
        work += [_create_until_killed(http, _lane(n), said.created) for n in range(CREATORS)]
        work += [_change_until_killed(http, counted, said) for counted in said.counters]
        running = asyncio.gather(*work)
        async with asyncio.timeout(120):
            while said.least() < enough and not running.done():
                await asyncio.sleep(0.01)
        await asyncio.sleep(after_s)
        process.kill()  # SIGKILL
        process.join()
        await running


def _lane(number: int) -> range:
    return range(number * 100_000, (number + 1) * 100_000)


async def _drain(home: Path) -> None:
    """One last life, until everything kept is processed."""
    process, _, _ = start(home)
    inbox = await open_inbox(home)
    try:
        while await inbox.messages.entries(state=State.RECEIVED, limit=1):
            await asyncio.sleep(0.1)
    finally:
        process.terminate()
        process.join()
        await inbox.close()


async def _check(home: Path, said: Acknowledged) -> None:
    store = await open_store(f"sqlite:///{home}", clock=system_clock)
    try:
        reports = await _numbers(store, "DiagnosticReport", "R0")
        assert said.reports - reports.keys() == set(), "lost"
        assert set(reports.values()) == {1}, "doubled"
        orders = await _numbers(store, "Organization", "", SYSTEM_OF_ORDERS)
        assert said.created - orders.keys() == set(), "lost"
        assert set(orders.values()) == {1}, "doubled"
        for counted in said.counters:
            await _check_history(store, counted)
        assert (await store.audit_log.verify()).broken == 0
    finally:
        await store.close()


async def _numbers(store: ResourceStore, type_: str, start_: str, system: str = "") -> Counter[int]:
    """How many resources carry each number, every one in its first version."""
    found: Counter[int] = Counter()
    cursor, more = "", True
    while more:
        page = await store.search(Query(type_, count=500, cursor=cursor), SYSTEM)
        for one in page.matches:
            for identifier in loads(one.body).get("identifier", ()):
                value = str(identifier["value"])
                if value.startswith(start_) and system in ("", identifier.get("system")):
                    assert one.version == 1, "changed by being sent again"
                    found[int(value.removeprefix("R"))] += 1
        cursor, more = page.next, bool(page.next)
    return found


async def _check_history(store: ResourceStore, counted: Counted) -> None:
    """Every number once, none left out, and every change and read that was answered stands in the audit."""
    history = await store.history("Organization", counted.id, SYSTEM, count=100_000)
    names = [int(loads(one.body)["name"]) for one in reversed(history)]
    assert names == list(range(len(names))) and names[-1] in (counted.acked, counted.tried)
    rows = [row for _, row in await store.audits(AuditQuery(entity=f"Organization/{counted.id}", limit=100_000))]
    done = Counter(row.subtype for row in rows if row.outcome == "0")
    assert done["update"] + done["patch"] == names[-1] and done["read"] >= counted.acked


def _campaign(home: Path, kills: int) -> None:
    chance, said = random.Random(20260320), Acknowledged()
    for turn in range(kills):
        asyncio.run(_one_life(home, chance.uniform(0.05, 0.6), said, said.least() + 3 if turn % 2 else 0))
    asyncio.run(_drain(home))
    assert said.least() > kills
    asyncio.run(_check(home, said))


def test_kills_under_mixed_load_lose_nothing_acknowledged_and_double_nothing(tmp_path: Path) -> None:
    _campaign(tmp_path, 8)


def test_a_message_that_kills_the_process_is_apart_after_three_deaths_and_the_others_pass(tmp_path: Path) -> None:
    bodies = [oru(number, number % 3, items=2) for number in range(9)]
    process, port, _ = start(tmp_path, attempts=3, poison=b"R00000004")
    asyncio.run(_send_all(port, bodies))
    deaths = 0
    while (process.join(4), process.exitcode)[1] is not None:
        deaths += 1
        assert deaths < 6, "it kills for ever"
        process, port, _ = start(tmp_path, attempts=3, poison=b"R00000004")
    asyncio.run(_send_all(port, [oru(10, 1, items=2)]))  # of the same resident
    asyncio.run(_only_poison_is_apart(tmp_path))
    process.terminate()
    process.join()
    assert deaths == 3


async def _send_all(port: int, bodies: list[bytes]) -> None:
    """Written at once; what the death cuts off is sent to nobody."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"".join(b"\x0b" + body + b"\x1c\r" for body in bodies))
        for _ in bodies:
            assert b"MSA|AA|" in await reader.readuntil(b"\x1c\r")


async def _only_poison_is_apart(home: Path) -> None:
    inbox = await open_inbox(home)
    async with asyncio.timeout(10):
        while await inbox.messages.entries(state=State.RECEIVED, limit=1):
            await asyncio.sleep(0.05)
    apart = await inbox.messages.entries(state=State.QUARANTINED)
    done = await inbox.messages.entries(state=State.PROCESSED)
    assert [(one.control, one.reason) for one in apart] == [("T00000004", "GW-INB-026")]
    assert "T00000010" in {one.control for one in done}
    await inbox.close()


@pytest.mark.slow
def test_fifty_kills_under_mixed_load_lose_nothing_acknowledged_and_double_nothing(tmp_path: Path) -> None:
    _campaign(tmp_path, 50)
