"""Takes kept messages to their outcome: many at once, but never two of one patient out of order."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

import msgspec

from ..errors import AwaitsOther, GatewayError, NeverCame, StorageFull, StoreError, WorkerKilled
from ..model.message import RawMessage
from ..model.outcome import Outcome, State
from ..model.pace import OneByOne, Pace
from ..model.times import Clock, system_clock
from ..settings import Inbox as Rules
from ..store.aside import aside
from ..store.inbox_base import EVERYTHING, HELD_MOST, seq_of
from .gather import Gather, Job
from .lanes import Lanes
from .queue import Claimed, Inbox, Settled

log = logging.getLogger("gateway.inbox")


class Prepared(Protocol):
    """One or several messages, read and translated, waiting for their turn.

    lanes: what must not be overtaken (a patient's number, a study): same lane, arrival order. sender: see `Settled`.
    whole: see `gather.Part`.
    """

    @property
    def keys(self) -> tuple[str, ...]:
        """Raw keys of the messages in it."""

    @property
    def lanes(self) -> tuple[str, ...]:
        """See above."""

    @property
    def whole(self) -> str:
        """See above."""

    @property
    def sender(self) -> str:
        """See above."""


_PAGE = 256
_READ = 4
"""Messages read and translated at a stretch."""
_LARGE = 128 * 1024
"""Bytes of a stretch that is translated in a thread: a megabyte takes seconds, and everybody else would wait."""
_OVERDUE_S = 30.0
"""How often deadlines of parked messages are looked at."""
_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.5, 30.0
"""Longest pause before a first, and before any, retry of a message."""
T = TypeVar("T")
P = TypeVar("P", bound=Prepared)
Prepare = Callable[[Sequence[RawMessage]], "tuple[list[P], list[Outcome]]"]
Finish = Callable[[P], Awaitable[Sequence[Outcome]]]
Join = Callable[[Sequence[P]], P]


class Worker(Generic[P]):
    """`prepare` is pure and says which messages it refuses; `finish` commits, one outcome a message.

    join: makes one work of several parts of a whole.
    """

    def __init__(
        self,
        inbox: Inbox,
        prepare: Prepare[P],
        finish: Finish[P],
        join: Join[P],
        done: Callable[[list[str]], Awaitable[dict[str, bytes]]],
        *,
        rules: Rules | None = None,
        clock: Clock = system_clock,
        at_once: int = 48,
    ) -> None:
        self._clock = clock
        self._looked_at = 0.0
        self._rules = rules or Rules()
        self._inbox = inbox
        self._prepare = prepare
        self._finish = finish
        self._join = join
        self._done = done
        self._free, self._turn = asyncio.Semaphore(at_once), OneByOne()
        self._lanes = Lanes()
        self._gather: Gather[P] = Gather(self._rules.gather_s)
        self._suspects: list[tuple[int, RawMessage]] = []  # a heap of those not begun
        self._tried: dict[int, asyncio.Task[None]] = {}  # of those, who has begun
        self._running: dict[str, asyncio.Task[None]] = {}
        self._waiting: set[asyncio.Task[None]] = set()
        self._settled: list[Settled] = []
        self._idle = asyncio.Event()
        self._stopping = False
        self._without = 0  # how many ask a database that is away
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop`."""
        while not self._stopping:
            self._inbox.arrived.clear()
            try:
                await self._give_up_waiting()
                started = await self._start_open()
                await self._try_suspects()
                await self._settle()
            except GatewayError:
                if self._stopping:
                    return
                raise
            if not started:
                if not self._running:
                    self._idle.set()
                await self._wake()

    async def _wake(self) -> None:
        """Wait for news; another process may have kept or set back a message without telling this one."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._inbox.arrived.wait(), 2.0)

    async def stop(self) -> None:
        """Finish what has begun, then return; what is still open stays in the inbox."""
        self._stopping = True
        self._ending.set()
        self._inbox.arrived.set()
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        with contextlib.suppress(GatewayError):  # what is committed is found settled by the next claim
            await self._settle()

    async def drained(self) -> None:
        """Returns when everything kept so far has its outcome (demo loading, tests)."""
        with self._gather.hurry():
            while True:
                self._idle.clear()
                self._inbox.arrived.set()
                await self._idle.wait()
                if not self._running and not self._settled and not await self._inbox.messages.open_count():
                    return

    async def _start_open(self) -> int:
        """Claim what is open and start it, a page at a time; returns how many were started."""
        started = 0
        messages = self._inbox.messages
        while claimed := await self._sure(lambda: messages.claim(self._room())):
            raws = await self._not_done(claimed)
            suspects = {one.raw.key for one in claimed if one.suspect}
            for raw in raws:
                if raw.key in suspects:
                    heapq.heappush(self._suspects, (seq_of(raw.key), raw))
                    self._lanes.bar(seq_of(raw.key))
            await self._begin([raw for raw in raws if raw.key not in suspects])
            started += len(claimed)
            await self._settle()
            if self._room() < _PAGE:
                self._gather.release()
        return started

    async def _try_suspects(self) -> None:
        """Begin the earliest of what may have killed a process, unless another of them is at work.

        Nothing is waited for here: what a suspect waits for may still have to be claimed.
        """
        while self._suspects and not self._stopping and self._may_try(self._suspects[0][0]):
            await self._alone(*heapq.heappop(self._suspects))

    def _may_try(self, seq: int) -> bool:
        return all(seq < other and task in self._waiting for other, task in self._tried.items())

    async def _alone(self, seq: int, raw: RawMessage) -> None:
        """Nothing later begins before it is done with; counted on disk before it is looked at."""
        tries = await self._sure(lambda: self._inbox.messages.attempt(raw.key))
        if tries < self._rules.attempts:  # the first of the deaths went before the first attempt
            await self._begin([raw], alone=True)
        else:
            log.error("message quarantined, processes died of it: %s", raw.key)
            self._settled.append(_settled(WorkerKilled(raw.key).refusal(raw.key)))
            await self._sure(partial(self._inbox.messages.say_lanes, {raw.key: ()}))
        if task := self._running.get(raw.key):
            self._tried[seq] = task
            task.add_done_callback(lambda _: self._tried_out(seq))
        else:
            self._tried_out(seq)

    def _tried_out(self, seq: int) -> None:
        self._tried.pop(seq, None)
        self._lanes.lift(seq)
        self._inbox.arrived.set()

    async def _begin(self, raws: Sequence[RawMessage], *, alone: bool = False) -> None:
        """Read and translate, tell the lanes, let them run."""
        prepared, refused, pace = list[P](), list[Outcome](), Pace()
        for some in _portions(raws):
            works, faulty = await aside(sum([len(raw.body) for raw in some]) > _LARGE, self._prepared, some)
            prepared += works
            refused += faulty
            await pace()
        lanes: dict[str, Sequence[str]] = {raw.key: () for raw in raws}
        lanes.update((key, one.lanes) for one in prepared for key in one.keys)
        await self._sure(partial(self._inbox.messages.say_lanes, lanes))
        self._settled += [_settled(outcome) for outcome in refused]
        for one in prepared:
            self._launch(one, alone)

    def _room(self) -> int:
        return max(0, min(_PAGE, HELD_MOST - len(self._running) - len(self._suspects)))

    async def _sure(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the inbox or the store answers, asked again while they are away."""
        try:
            return await ask()
        except GatewayError as fault:
            if not fault.retry or self._stopping:
                raise
            if not self._without:
                log.warning("the inbox waits for its database: %s", fault.code)
        self._without += 1
        try:
            return await self._again(ask)
        finally:
            self._without -= 1
            if not self._without and not self._stopping:
                log.warning("the inbox has its database again")

    async def _again(self, ask: Callable[[], Awaitable[T]]) -> T:
        pause_s = 0.2
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 5)
            try:
                return await ask()
            except GatewayError as fault:
                if not fault.retry or self._stopping:
                    raise

    async def _not_done(self, claimed: Sequence[Claimed]) -> list[RawMessage]:
        """Messages to run; those a crash kept from being settled after their commit are settled now."""
        keys = [one.raw.key for one in claimed if not one.again]
        known = await self._sure(lambda: self._done(keys))
        self._settled += [Settled(key, State.PROCESSED, made=(EVERYTHING,)) for key in known]
        if known:
            await self._sure(lambda: self._inbox.messages.say_lanes(dict.fromkeys(known, ())))
        return [one.raw for one in claimed if one.raw.key not in known]

    def _prepared(self, raws: Sequence[RawMessage]) -> tuple[list[P], list[Outcome]]:
        """`prepare`, where a message that breaks it is found and quarantined, and the others go on."""
        try:
            return self._prepare(raws)
        except Exception:
            if len(raws) == 1:
                log.exception("message failed: %s", raws[0].key)
                return [], [GatewayError().refusal(raws[0].key)]
        parts = [self._prepared([raw]) for raw in raws]
        return [one for works, _ in parts for one in works], [one for _, refused in parts for one in refused]

    def _launch(self, one: P, alone: bool) -> None:
        """Of several messages in one the first counts: nobody may wait for it and be waited for by it."""
        job = None if alone else self._gather.joined(one)
        if job is None:
            place = self._lanes.enter(min(map(seq_of, one.keys)), one.lanes)
            job = self._gather.begun(one, place, alone=alone)
            job.task = asyncio.create_task(self._carry(job))
            self._waiting.add(job.task)
        assert job.task is not None
        for key in one.keys:
            self._running[key] = job.task

    async def _carry(self, job: Job[P]) -> None:
        me = asyncio.current_task()
        assert me is not None
        while True:
            await self._lanes.first(job.place)
            await self._gather.complete(job)
            await self._inbox.messages.turn(job.works[0].keys)
            if self._lanes.begin(job.place):
                break
        works = self._gather.taken(job)
        async with self._free:
            self._waiting.discard(me)
            await self._turn()
            settled = await self._together(works)
        self._settled += settled
        self._lanes.leave(job.place)
        for one in works:
            for key in one.keys:
                self._running.pop(key, None)
        self._inbox.arrived.set()

    async def _together(self, works: Sequence[P]) -> list[Settled]:
        """Parts of one whole in one go; where that is refused, in halves, so that a bad part takes no other along."""
        if len(works) == 1:
            return await self._carried(works[0])
        settled = await self._carried(self._join(works))
        if all(one.state is State.PROCESSED for one in settled):
            return settled
        half = len(works) // 2
        return [*await self._together(works[:half]), *await self._together(works[half:])]

    async def _carried(self, one: P) -> list[Settled]:
        """Tried again while its fault may pass. A database that is away is no fault of the message: no limit then."""
        most_s, failed = _FIRST_PAUSE_S, 0.0
        while True:
            try:
                return [_settled(outcome, one.lanes, one.sender) for outcome in await self._finish(one)]
            except AwaitsOther as other:
                return [_parked(key, other) for key in one.keys]
            except GatewayError as fault:
                failed = failed or time.monotonic()
                if not fault.retry or self._given_up(fault, failed):
                    return [_settled(fault.refusal(key)) for key in one.keys]
                if self._stopping:
                    return []
            except Exception:
                log.exception("message failed: %s", " ".join(one.keys))
                return [_settled(GatewayError().refusal(key)) for key in one.keys]
            with contextlib.suppress(TimeoutError):  # full jitter: those that failed together do not return together
                await asyncio.wait_for(self._ending.wait(), random.uniform(0, most_s))
            most_s = min(most_s * 2, _MOST_PAUSE_S)

    def _given_up(self, fault: GatewayError, failed: float) -> bool:
        away = isinstance(fault, (StoreError, StorageFull))
        return not away and time.monotonic() - failed > self._rules.retry_s

    async def _settle(self) -> None:
        batch, self._settled = self._settled, []
        if batch:
            woken = await self._sure(lambda: self._inbox.messages.settle(batch))
            if woken:
                self._inbox.arrived.set()

    async def _give_up_waiting(self) -> None:
        """Parked messages whose time is over run once more, to their quarantine. Looked for now and then."""
        if time.monotonic() - self._looked_at >= _OVERDUE_S:
            self._looked_at = time.monotonic()
            await self._sure(lambda: self._inbox.messages.overdue(self._clock()))


def _portions(raws: Sequence[RawMessage]) -> Iterator[Sequence[RawMessage]]:
    """Few at a time, so that others get their turn between."""
    for first in range(0, len(raws), _READ):
        yield raws[first : first + _READ]


def _parked(key: str, other: AwaitsOther) -> Settled:
    """A message that waits, or waited in vain; what it waits for wakes it in both cases."""
    state = State.QUARANTINED if isinstance(other, NeverCame) else State.PARKED
    said = msgspec.json.encode(other.refusal(key, state)).decode()
    return Settled(key, state, other.code, said, other.awaits, other.until)


def _settled(outcome: Outcome, lanes: Sequence[str] = (), sender: str = "") -> Settled:
    """lanes: what the message was about, for those that wait for it."""
    if outcome.state is State.PROCESSED:
        return Settled(outcome.key, State.PROCESSED, made=(*lanes, *outcome.resources), sender=sender)
    reason = next((one.code for one in outcome.findings if one.severity in ("error", "fatal")), "GW-000")
    return Settled(outcome.key, outcome.state, reason, msgspec.json.encode(outcome).decode())
