"""Commits of this process, one transaction after the other; plans that wait meanwhile share the next one."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from dataclasses import dataclass

import psycopg
from psycopg import errors

from ..errors import Conflict
from .base import Committed
from .engine import PackedPlan, puts_of
from .figures import Commits
from .postgres_commit import Group, Outcome
from .postgres_database import Database, transaction, translated
from .postgres_draft import Later, alone

_PLANS, _PUTS = 64, 2_000
"""The most one transaction takes; a larger plan goes alone."""
_TRIES = 5
_GATHER, _LONGEST_S, _ENOUGH = 0.5, 0.01, 16
"""Where several write, the part of the last transaction's time a small group waits for those on their way, at most so
long: one of eight messages costs the server and this process hardly more than one of two."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    plan: PackedPlan
    told: asyncio.Future[Committed]


class Committer:
    """A queue of plans before one connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.commits = Commits()
        self._waiting: deque[_Waiting] = deque()
        self._work: asyncio.Task[None] | None = None
        self._gather_s = 0.0

    async def commit(self, plan: PackedPlan) -> Committed:
        """Returns once the plan is durable. Raises Conflict, Replan, StoreError."""
        told: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(plan, told))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._run())
        return await told

    async def close(self) -> None:
        """Commit what waits."""
        if self._work is not None:
            await self._work

    async def _run(self) -> None:
        while self._waiting:
            if self._gather_s and len(self._waiting) < _ENOUGH:
                await asyncio.sleep(self._gather_s)
            group = self._next()
            began = time.perf_counter()
            try:
                outcomes = await self._settle([one.plan for one in group])
                took = time.perf_counter() - began
                self.commits.add(len(group), took)
                self._gather_s = min(_GATHER * took, _LONGEST_S) if len(group) > 1 else 0.0
            except Exception as fault:  # told to everybody who waits
                outcomes = [fault] * len(group)
            later = [one for one, outcome in zip(group, outcomes, strict=True) if isinstance(outcome, Later)]
            self._waiting.extendleft(reversed(later))
            for one, outcome in zip(group, outcomes, strict=True):
                _tell(one.told, outcome)

    def _next(self) -> list[_Waiting]:
        """The plans that may share the next transaction, in their order."""
        group = [self._waiting.popleft()]
        puts = len(puts_of(group[0].plan))
        while self._waiting and len(group) < _PLANS and not alone(group[0].plan) and not alone(self._waiting[0].plan):
            puts += len(puts_of(self._waiting[0].plan))
            if puts > _PUTS:
                break
            group.append(self._waiting.popleft())
        return group

    async def _settle(self, plans: list[PackedPlan]) -> list[Outcome | Exception]:
        """At first without a lock; whoever was overtaken decides again while nobody else can commit."""
        alone_with_it = alone(plans[0])
        for turn in range(_TRIES):
            try:
                return await (self._locked(plans) if alone_with_it else self._once(plans))
            except (errors.SerializationFailure, errors.DeadlockDetected):
                await asyncio.sleep(random.uniform(0, 0.01 * 2**turn) if alone_with_it else 0)
                alone_with_it = True
            except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as fault:
                if isinstance(fault, errors.UniqueViolation) and not alone_with_it:
                    alone_with_it = True
                    continue
                if len(plans) == 1:
                    raise
                return [await self._apart(plan) for plan in plans]
        return [Conflict()] * len(plans)

    async def _apart(self, plan: PackedPlan) -> Outcome | Exception:
        """One plan of a transaction the database refused, so that the others do not fall with it."""
        try:
            return (await self._settle([plan]))[0]
        except Exception as fault:
            return fault

    async def _once(self, plans: list[PackedPlan]) -> list[Outcome | Exception]:
        async with self._database.writing.connection() as connection:
            return [*await Group(self._database, connection, plans).run()]

    async def _locked(self, plans: list[PackedPlan]) -> list[Outcome | Exception]:
        async with transaction(self._database.writing) as connection:
            group = Group(self._database, connection, plans)
            await group.lock()
            return [*await group.run()]


def _tell(told: asyncio.Future[Committed], outcome: Outcome | Exception) -> None:
    if told.done() or isinstance(outcome, Later):
        return
    if isinstance(outcome, Committed):
        told.set_result(outcome)
        return
    if not isinstance(outcome, psycopg.Error):
        told.set_exception(outcome)
        return
    try:
        with translated():
            raise outcome
    except Exception as fault:
        told.set_exception(fault)
