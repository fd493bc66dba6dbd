"""Several workers on one inbox: nobody overtakes in a lane, nothing of a dead one is left lying."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest_asyncio

from gateway.inbox.queue import Inbox
from gateway.inbox.worker import Worker
from gateway.model.message import RawMessage
from gateway.model.outcome import Outcome, State
from gateway.store.inbox_base import Arrival, Settled
from gateway.store.inbox_postgres import PostgresInbox, open_postgres_inbox
from tests.contract.postgres import TestServer

AT = datetime(2026, 3, 20, 1, tzinfo=UTC)
Two = tuple[PostgresInbox, PostgresInbox]


@pytest_asyncio.fixture
async def two(server: TestServer) -> AsyncIterator[Two]:
    """The inboxes of two processes."""
    url = server.schema()
    here, there = await asyncio.gather(open_postgres_inbox(url), open_postgres_inbox(url))
    yield here, there
    await here.close()
    await there.close()


async def kept(inbox: PostgresInbox, *bodies: str) -> list[str]:
    return [(await inbox.keep(Arrival("s", "v2", body.encode(), AT))).key for body in bodies]


async def keys(inbox: PostgresInbox, limit: int = 100) -> list[str]:
    return [one.raw.key for one in await inbox.claim(limit)]


async def test_a_message_is_claimed_by_one_worker_only(two: Two) -> None:
    made = await kept(two[0], *(str(n) for n in range(60)))
    found = await asyncio.gather(*(keys(two[n % 2], 10) for n in range(6)))
    assert sorted(key for part in found for key in part) == sorted(made)
    assert await keys(two[0]) == await keys(two[1]) == []


async def test_a_later_message_waits_for_an_earlier_one_of_its_lane_at_another_worker(two: Two) -> None:
    here, there = two
    first, second, third = await kept(here, "a", "b", "c")
    assert (await keys(here, 1), await keys(there)) == ([first], [second, third])
    await there.say_lanes({second: ("zhang", "li"), third: ("wang",)})
    turns = {key: asyncio.create_task(there.turn((key,))) for key in (second, third)}
    await asyncio.sleep(0.1)
    assert not any(turn.done() for turn in turns.values())  # nobody knows yet whose the first is
    await here.say_lanes({first: ("li",)})
    await asyncio.wait_for(turns[third], 1)
    assert not turns[second].done()
    await here.settle([Settled(first, State.PROCESSED)])
    await asyncio.wait_for(turns[second], 1)


async def test_claims_of_a_dead_worker_go_to_another_before_any_limit(two: Two) -> None:
    here, there = two
    made = await kept(here, *(str(n) for n in range(9)))
    assert len(await keys(here, 5)) == 5
    await _die(here)
    there._looked = 0
    assert await keys(there, 0) == made[:5]
    assert await keys(there) == made[5:]


async def test_what_a_dead_worker_held_is_suspect_and_its_attempts_are_counted_until_it_is_set_back(two: Two) -> None:
    here, there = two
    made = await kept(here, "a", "b")
    assert [one.suspect for one in await here.claim(5)] == [False, False]
    await _die(here)
    there._looked = 0
    assert [(one.raw.key, one.suspect) for one in await there.claim(5)] == [(key, True) for key in made]
    assert [await there.attempt(made[0]) for _ in range(2)] == [1, 2]
    await there.settle([Settled(made[0], State.QUARANTINED, "GW-INB-026")])
    await there.reopen(made[:1])
    assert [one.suspect for one in await there.claim(5)] == [False]
    assert await there.attempt(made[0]) == 1


async def _die(inbox: PostgresInbox) -> None:
    """What the end of a process does to its connections."""
    assert inbox._alive is not None
    await inbox._alive.close()
    await asyncio.sleep(0.2)


async def test_two_processes_that_get_a_message_at_once_keep_it_once(two: Two) -> None:
    arrivals = [Arrival("s", "v2", b"%d" % (n % 5), AT, control=str(n % 5)) for n in range(100)]
    found = await asyncio.gather(*(two[n % 2].keep(one) for n, one in enumerate(arrivals)))
    assert len({one.key for one in found}) == 5 and sum(not one.duplicate for one in found) == 5


@dataclass(frozen=True, slots=True)
class _Work:
    keys: tuple[str, ...]
    lanes: tuple[str, ...]
    number: int
    sender: str = ""
    whole: str = ""


class _Process:
    """A worker as one process has it; bodies are `number:lane,lane`."""

    def __init__(self, inbox: PostgresInbox, done: list[tuple[int, tuple[str, ...]]]) -> None:
        self.inbox = Inbox(inbox)
        self.done, self.count = done, 0
        self.worker: Worker[_Work] = Worker(self.inbox, self._prepare, self._finish, lambda works: works[0], self._none)
        self.task = asyncio.create_task(self.worker.run())

    def _prepare(self, raws: Sequence[RawMessage]) -> tuple[list[_Work], list[Outcome]]:
        works = []
        for raw in raws:
            number, _, lanes = raw.body.decode().partition(":")
            works.append(_Work((raw.key,), tuple(lanes.split(",")), int(number)))
        return works, []

    async def _finish(self, work: _Work) -> Sequence[Outcome]:
        await asyncio.sleep(0.001 * (work.number % 7))
        self.count += 1
        self.done.append((work.number, work.lanes))
        return [Outcome(key, State.PROCESSED) for key in work.keys]

    async def _none(self, keys: list[str]) -> dict[str, bytes]:
        return {}


async def test_two_workers_share_the_work_and_keep_every_lane_in_order(two: Two) -> None:
    bodies = [f"{n}:p{n * 7919 % 97},r{n * 104729 % 53}".encode() for n in range(1_200)]
    await asyncio.gather(*(two[0].keep(Arrival("s", "v2", body, AT)) for body in bodies))
    done: list[tuple[int, tuple[str, ...]]] = []
    processes = [_Process(inbox, done) for inbox in two]
    await asyncio.wait_for(processes[0].worker.drained(), 30)
    for process in processes:
        await process.worker.stop()
        await process.task
    assert sorted(number for number, _ in done) == list(range(1_200))
    assert all(process.count > 100 for process in processes)
    last: dict[str, int] = {}
    for number, lanes in done:
        for lane in lanes:
            assert last.get(lane, -1) < number, (lane, number)
            last[lane] = number
