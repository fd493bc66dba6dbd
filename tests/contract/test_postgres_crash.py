"""The server ends in mid-load, again and again: what was acknowledged is there, once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gateway.errors import Conflict, StoreError
from gateway.inbox.queue import open_inbox
from gateway.model.context import SYSTEM
from gateway.model.outcome import State
from gateway.model.resource import loads
from gateway.store.base import AuditQuery, Done, Once, Plan, hash64
from gateway.store.inbox_base import Arrival, Messages, Settled
from gateway.store.resources import ResourceStore, open_store
from tests.contract.clinic import audit, observation, organization
from tests.contract.conftest import START
from tests.contract.postgres import TestServer

T = TypeVar("T")
_AHEAD = 200
AT = datetime(2026, 3, 20, 1, tzinfo=UTC)


@dataclass
class Load:
    """Clients of one store and one inbox. Each asks again what it got no answer to, as a sender does."""

    store: ResourceStore
    messages: Messages
    over: bool = False
    unanswered: int = 0
    created: dict[str, int] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    disclosed: int = 0

    async def creates(self, lane: int) -> None:
        """Each under an Idempotency-Key, with its audit row and its outcome."""
        number = 0
        while not self.over:
            id_ = f"g{lane}-{number}"
            once = Once(hash64("crash", id_), b"digest", b"{}")
            plan = Plan(
                puts=(organization(id_, "院"),), audits=(audit(START, detail=id_),), done=(Done(id_, b"{}"),), once=once
            )
            try:
                done = await self._answered(self.store.commit, plan)
                self.created[id_] = done.tx
            except Conflict:  # the answer before was lost, its effect is there
                kept = await self._answered(self.store.kept, once.key)
                assert kept is not None
                self.created[id_] = kept.done.tx
            number += 1

    async def counts(self, lane: int) -> None:
        """One resource, each version one more than the one read before."""
        id_ = f"c{lane}"
        while not self.over:
            at = self.counted.get(id_, 0)
            put = observation(id_, f"p{lane}", f"{at + 1}", expect=at)
            try:
                await self._answered(self.store.commit, Plan(puts=(put,)))
            except Conflict:
                found = await self._answered(self.store.read, "Observation", id_, SYSTEM)
                assert found is not None and found.version == at + 1
            self.counted[id_] = at + 1

    async def keeps(self, lane: int) -> None:
        """Messages sent until they are acknowledged."""
        number = 0
        while not self.over:
            if len(self.kept) - len(self.settled) > _AHEAD:  # senders are faster than one worker
                await asyncio.sleep(0.02)
                continue
            control = f"m{lane}-{number}"
            arrival = Arrival("s", "v2", control.encode(), AT, control=control)
            kept = await self._answered(self.messages.keep, arrival)
            self.kept[control] = kept.key
            number += 1

    async def works(self) -> None:
        """Claims, commits and settles, until nothing is left."""
        while not self.over or await self._answered(self.messages.open_count):
            mine = [one.raw for one in await self._answered(self.messages.claim, 50)]
            await asyncio.gather(*(self._answered(self._work, raw.key, raw.body.decode()) for raw in mine))
            settled = [Settled(raw.key, State.PROCESSED) for raw in mine]
            await self._answered(self.messages.settle, settled)
            self.settled |= {raw.key for raw in mine}
            await asyncio.sleep(0.02)

    async def _work(self, key: str, control: str) -> None:
        if await self.store.done([key]):
            return
        puts, audits = (organization(f"w-{control}", "院"),), (audit(START, detail=key),)
        await self.store.commit(Plan(puts=puts, audits=audits, done=(Done(key, b"{}"),)))

    async def discloses(self) -> None:
        """Rows of their own; an unanswered one may be there twice."""
        while not self.over:
            await self._answered(self.store.disclose, audit(START, detail="read"))
            self.disclosed += 1

    async def _answered(self, ask: Callable[..., Awaitable[T]], *values: Any) -> T:
        end = time.monotonic() + 120
        while True:
            try:
                return await ask(*values)
            except StoreError:
                assert time.monotonic() < end, "no answer for two minutes"
                self.unanswered += 1
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("crashes", [2, pytest.param(20, marks=pytest.mark.slow)])
async def test_what_was_acknowledged_outlives_every_crash_of_the_server_once(crashes: int) -> None:
    server = TestServer()
    url = server.schema()
    store = await open_store(url, clock=lambda: START)
    inbox = await open_inbox(Path("/nowhere"), url)
    load = Load(store, inbox.messages)
    try:
        lanes = [load.creates(n) for n in range(4)] + [load.counts(n) for n in range(2)]
        lanes += [load.keeps(n) for n in range(3)] + [load.works(), load.discloses()]
        tasks = [asyncio.create_task(lane) for lane in lanes]
        for number in range(crashes):
            await _more(load, tasks, 60)
            await asyncio.to_thread(server.crash, killed=bool(number % 2))
        await _more(load, tasks, 60)
        load.over = True
        await asyncio.wait_for(asyncio.gather(*tasks), 180)
        assert load.unanswered >= crashes
        await store.close()
        await inbox.close()
        await _prove(url, load)
    finally:
        for task in tasks:
            task.cancel()
        server.close()


async def _more(load: Load, tasks: list[asyncio.Task[None]], more: int) -> None:
    """Wait until so many more of each kind are acknowledged."""
    created, kept, settled = len(load.created), len(load.kept), len(load.settled)
    end = time.monotonic() + 120
    while min(len(load.created) - created, len(load.kept) - kept, len(load.settled) - settled) < more:
        for task in tasks:
            if task.done():
                task.result()
        assert time.monotonic() < end, "the load stands still"
        await asyncio.sleep(0.02)


async def _prove(url: str, load: Load) -> None:
    store = await open_store(url, clock=lambda: START)
    inbox = await open_inbox(Path("/nowhere"), url)
    try:
        await _created_once(store, load)
        for id_, at in load.counted.items():
            versions = await store.history("Observation", id_, SYSTEM, count=at + 9)
            assert [one.version for one in versions] == list(range(at, 0, -1))
            assert [loads(one.body)["valueQuantity"]["value"] for one in versions] == list(range(at, 0, -1))
        entries = await inbox.messages.entries(limit=1_000_000)
        assert Counter(one.control for one in entries) == Counter(list(load.kept))
        assert {one.control: one.key for one in entries} == load.kept
        assert {one.state for one in entries} == {State.PROCESSED}
        assert load.settled == set(load.kept.values())
    finally:
        await store.close()
        await inbox.close()


async def _created_once(store: ResourceStore, load: Load) -> None:
    """Each acknowledged create and each message's effect: one version, one audit row, one outcome."""
    ids = [*load.created, *(f"w-{control}" for control in load.kept)]
    found = await store.read_many([("Organization", id_) for id_ in ids], SYSTEM)
    assert [one.id for one in found] == ids and {one.version for one in found} == {1}
    assert len(set(load.created.values())) == len(load.created)  # each a transaction of its own
    marks = [*load.created, *load.kept.values()]
    assert set(await store.done(marks)) == set(marks)
    rows = Counter(row.detail for _, row in await store.audits(AuditQuery(limit=1_000_000)))
    assert rows.pop("read") >= load.disclosed
    assert rows == Counter(marks)
    assert (await store.audit_log.verify()).broken == 0
