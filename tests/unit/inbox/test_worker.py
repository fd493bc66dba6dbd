"""The worker: order inside a lane, poison alone, crashes between store and inbox, replays."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.times import ANCHOR
from gateway.errors import Conflict, StoreError
from gateway.inbox.queue import Arrival, Inbox, open_inbox
from gateway.inbox.worker import Worker
from gateway.model.message import RawMessage
from gateway.model.outcome import Outcome, State
from gateway.settings import Inbox as Rules
from gateway.store.inbox_sqlite import SqliteInbox


@dataclass(frozen=True, slots=True)
class _Work:
    keys: tuple[str, ...]
    lanes: tuple[str, ...]
    text: str
    sender: str = ""
    whole: str = ""


def _join(works: Sequence[_Work]) -> _Work:
    """All texts in one, as parts of one whole are worked on."""
    keys = tuple(key for one in works for key in one.keys)
    return _Work(keys, works[0].lanes, " ".join(one.text for one in works), whole=works[0].whole)


class _House:
    """A worker on a real inbox file; bodies are `lane:text`."""

    def __init__(self, folder: Path, known: dict[str, bytes] | None = None, *, rules: Rules | None = None) -> None:
        self.inbox = Inbox(SqliteInbox(folder))
        self.done: list[str] = []
        self.threads: set[int] = set()
        self.tries: dict[str, int] = {}
        self.known = known or {}
        self.away = 0
        self.worker: Worker[_Work] = Worker(self.inbox, self._prepare, self._finish, _join, self._done, rules=rules)
        self.task = asyncio.create_task(self.worker.run())

    async def keep(self, body: str) -> str:
        return (await self.inbox.keep(Arrival("s", "v2", body.encode(), ANCHOR))).key

    def _prepare(self, raws: Sequence[RawMessage]) -> tuple[list[_Work], list[Outcome]]:
        works = []
        self.threads.add(threading.get_ident())
        for raw in raws:
            lane, _, text = raw.body.decode().partition(":")
            if text.startswith("breaks prepare"):
                raise RecursionError
            whole = lane if lane.startswith("study") and text != "between" else ""
            works.append(_Work((raw.key,), tuple(lane.split("+")), text, whole=whole))
        return works, []

    async def _finish(self, work: _Work) -> Sequence[Outcome]:
        self.tries[work.text] = self.tries.get(work.text, 0) + 1
        if work.text.startswith("slow"):  # until another one is done
            async with asyncio.timeout(10):
                while not self.done:
                    await asyncio.sleep(0.001)
        if "breaks finish" in work.text:
            raise KeyError("x")
        if work.text.startswith("store away") and self.tries[work.text] < 2:
            raise StoreError()
        if work.text == "conflict":
            raise Conflict(work.text)
        if work.text == "away for long" and self.tries[work.text] < 3:
            await asyncio.sleep(0.1)
            raise StoreError()
        self.done.append(work.text)
        return [Outcome(key, State.PROCESSED) for key in work.keys]

    async def _done(self, keys: list[str]) -> dict[str, bytes]:
        if self.away:
            self.away -= 1
            raise StoreError()
        return {key: self.known[key] for key in keys if key in self.known}

    async def close(self) -> None:
        await self.worker.stop()
        await self.task
        await self.inbox.close()


async def test_one_lane_keeps_its_order_and_another_is_not_held_up(tmp_path: Path) -> None:
    house = _House(tmp_path)
    for body in ("a:slow 1", "a:2", "b:3"):
        await house.keep(body)
    await house.worker.drained()
    assert house.done.index("slow 1") < house.done.index("2")
    assert house.done.index("3") < house.done.index("slow 1")
    await house.close()


async def test_a_large_message_is_read_beside_the_loop(tmp_path: Path) -> None:
    house = _House(tmp_path)
    await house.keep("a:" + "x" * 200_000)
    await house.worker.drained()
    assert threading.get_ident() not in house.threads
    await house.keep("a:small")
    await house.worker.drained()
    assert threading.get_ident() in house.threads
    await house.close()


async def test_a_message_that_breaks_a_step_is_quarantined_and_the_others_pass(tmp_path: Path) -> None:
    house = _House(tmp_path)
    keys = [await house.keep(body) for body in ("a:1", "a:breaks prepare", "a:breaks finish", "a:2")]
    await house.worker.drained()
    states = [await house.inbox.messages.entry(key) for key in keys]
    assert [one.state for one in states if one] == [
        State.PROCESSED, State.QUARANTINED, State.QUARANTINED, State.PROCESSED,
    ]  # fmt: skip
    assert house.done == ["1", "2"]
    await house.close()


async def test_what_the_store_settled_before_a_crash_is_not_done_twice(tmp_path: Path) -> None:
    inbox = await open_inbox(tmp_path)
    key = (await inbox.keep(Arrival("s", "v2", b"a:once", ANCHOR))).key
    await inbox.close()
    house = _House(tmp_path, {key: b"{}"})
    await house.worker.drained()
    assert house.done == []
    assert (await house.inbox.replay([key])) == 1
    await house.worker.drained()
    assert house.done == ["once"]
    await house.close()


async def test_what_a_dead_process_left_runs_alone_and_is_apart_when_it_dies_of_it_again_and_again(
    tmp_path: Path,
) -> None:
    dead = []
    for _ in range(4):
        inbox = SqliteInbox(tmp_path)  # never closed while the next one works: its process died
        if not dead:
            keys = [(await inbox.keep(Arrival("s", "v2", body, ANCHOR))).key for body in (b"a:1", b"a:2")]
        assert [one.suspect for one in await inbox.claim(10)] == [bool(dead)] * 2
        if 0 < len(dead) < 3:
            assert await inbox.attempt(keys[0]) == len(dead)
        dead.append(inbox)
    house = _House(tmp_path)
    await house.worker.drained()
    entry = await house.inbox.messages.entry(keys[0])
    assert entry is not None and (entry.state, entry.reason) == (State.QUARANTINED, "GW-INB-026")
    assert house.done == ["2"]
    await house.inbox.replay(keys[:1])
    await house.worker.drained()
    assert house.done == ["2", "1"]
    await house.close()
    for inbox in dead:
        await inbox.close()


async def test_a_store_that_is_away_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    house = _House(tmp_path)
    await house.keep("a:store away")
    await house.worker.drained()
    assert house.tries["store away"] == 2
    assert house.done == ["store away"]
    await house.close()


async def test_a_message_whose_fault_does_not_pass_is_quarantined_with_it_but_an_absent_store_is_waited_for(
    tmp_path: Path,
) -> None:
    house = _House(tmp_path, rules=Rules(retry_s=0.05))
    stuck, away = [await house.keep(body) for body in ("a:conflict", "b:away for long")]
    await house.worker.drained()
    entries = [await house.inbox.messages.entry(key) for key in (stuck, away)]
    assert [(one.state, one.reason) for one in entries if one] == [
        (State.QUARANTINED, Conflict.code), (State.PROCESSED, ""),
    ]  # fmt: skip
    assert house.tries["conflict"] > 1 and house.tries["away for long"] == 3
    await house.close()


async def test_a_pause_before_a_retry_does_not_hold_up_the_end(tmp_path: Path) -> None:
    house = _House(tmp_path)
    key = await house.keep("a:conflict")
    while not house.tries.get("conflict"):
        await asyncio.sleep(0.01)
    await asyncio.wait_for(house.worker.stop(), 5)
    entry = await house.inbox.messages.entry(key)
    assert entry is not None and entry.state is State.RECEIVED
    await house.close()


# ---- parts of one whole ---------------------------------------------------------------------------
QUICK = Rules(gather_s=0.3)


async def _settled(house: _House, *keys: str) -> list[State]:
    """Waits as an operator does, without asking the worker to hurry."""
    while True:
        found = [one for key in keys if (one := await house.inbox.messages.entry(key))]
        if all(one.state is not State.RECEIVED for one in found):
            return [one.state for one in found]
        await asyncio.sleep(0.02)


async def test_parts_of_one_whole_that_come_one_by_one_are_worked_on_together(tmp_path: Path) -> None:
    house = _House(tmp_path, rules=QUICK)
    keys = []
    for number in range(5):
        keys.append(await house.keep(f"study:{number}"))
        keys.append(await house.keep(f"study 2:{number}"))
        await asyncio.sleep(0.02)
    assert house.done == []
    await asyncio.wait_for(_settled(house, *keys), 10)
    assert sorted(house.done) == ["0 1 2 3 4", "0 1 2 3 4"]
    await house.close()


async def test_what_came_between_two_parts_is_not_overtaken(tmp_path: Path) -> None:
    house = _House(tmp_path, rules=QUICK)
    keys = [await house.keep(f"study:{text}") for text in ("1", "2", "between", "3")]
    await asyncio.wait_for(_settled(house, *keys), 10)
    assert house.done == ["1 2", "between", "3"]
    await house.close()


async def test_two_wholes_of_one_lane_that_come_by_turns_are_two_works(tmp_path: Path) -> None:
    house = _House(tmp_path, rules=QUICK)
    keys = [await house.keep(f"study {number % 2}+patient:{number}") for number in range(8)]
    await asyncio.wait_for(_settled(house, *keys), 10)
    assert house.done == ["0 2 4 6", "1 3 5 7"]
    await house.close()


async def test_what_stands_behind_a_whole_does_not_wait_for_more_of_it(tmp_path: Path) -> None:
    house = _House(tmp_path, rules=Rules(gather_s=60))
    keys = [await house.keep(f"study:{text}") for text in ("1", "2", "between")]
    await asyncio.wait_for(_settled(house, *keys), 10)
    assert house.done == ["1 2", "between"]
    await house.close()


async def test_a_bad_part_takes_no_other_along(tmp_path: Path) -> None:
    house = _House(tmp_path, rules=QUICK)
    texts = ("1", "2", "breaks finish", "4", "5")
    keys = [await house.keep(f"study:{text}") for text in texts]
    states = await asyncio.wait_for(_settled(house, *keys), 10)
    assert states == [State.QUARANTINED if one == "breaks finish" else State.PROCESSED for one in texts]
    assert " ".join(house.done).split() == ["1", "2", "4", "5"]
    await house.close()


async def test_a_whole_that_never_ends_begins_all_the_same(tmp_path: Path) -> None:
    house = _House(tmp_path, rules=Rules(gather_s=0.05))
    number = 0
    while not house.done:
        number += 1
        await house.keep(f"study:{number}")
        await asyncio.sleep(0.02)
    assert number < 200
    await house.close()


async def test_no_whole_holds_up_the_others_for_want_of_room(tmp_path: Path) -> None:
    house = _House(tmp_path, rules=Rules(gather_s=30))
    bodies = [f"study {number % 10}:{number}" for number in range(1000)]
    await asyncio.gather(*[house.keep(body) for body in bodies])
    key = await house.keep("a:urgent")
    await asyncio.wait_for(_settled(house, key), 10)
    await house.close()


async def test_a_database_away_for_long_is_told_of_when_it_goes_and_when_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    house = _House(tmp_path)
    house.away = 4
    await house.keep("a:1")
    await house.worker.drained()
    assert house.done == ["1"]
    assert [one.getMessage() for one in caplog.records] == [
        "the inbox waits for its database: GW-STO-001", "the inbox has its database again",
    ]  # fmt: skip
    await house.close()
