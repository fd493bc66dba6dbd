"""Arrivals into the PostgreSQL inbox: all that wait share one transaction, in their order."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from dataclasses import dataclass
from typing import Any

import zstandard
from psycopg_pool import AsyncConnectionPool

from ..model.outcome import State
from .base import hash64
from .inbox_base import NUMBER, REUSED, Arrival, Kept, key_of
from .postgres_database import Connection, run, transaction, translated

_GROUP = 256
_STRIPES = 1 << 15
"""Two processes that get the same message at once decide one after the other which of them is the duplicate."""
_QUARANTINED = NUMBER[State.QUARANTINED]
_KNOWN = "SELECT seq, twin, hash, state, reason FROM message WHERE twin = ANY(%s::int8[]) ORDER BY seq"
_NUMBERS = "SELECT nextval(pg_get_serial_sequence('message', 'seq')) FROM generate_series(1, %s)"
_INSERT = (
    "INSERT INTO message(seq, source, format, name, control, at, state, reason, outcome, twin, hash, size)"
    " SELECT * FROM unnest(%s::int8[], %s::text[], %s::text[], %s::text[], %s::text[], %s::int8[], %s::int4[],"
    " %s::text[], %s::text[], %s::int8[], %s::bytea[], %s::int4[])"
)


@dataclass(slots=True)
class _Waiting:
    arrival: Arrival
    twin: int
    digest: bytes
    packed: bytes
    told: asyncio.Future[Kept]


@dataclass(slots=True)
class _Known:
    seq: int
    digest: bytes
    state: int
    reason: str


class Keeper:
    """A queue of arrivals before one connection."""

    def __init__(self, writing: AsyncConnectionPool[Connection], space: int) -> None:
        self._writing, self._space = writing, space
        self._queue: deque[_Waiting] = deque()
        self._work: asyncio.Task[None] | None = None
        self._pack = zstandard.ZstdCompressor(level=1)

    async def keep(self, arrival: Arrival) -> Kept:
        """Returns once it is durable. Raises StoreError."""
        digest = hashlib.blake2b(arrival.content or arrival.body, digest_size=16).digest()
        twin = hash64(arrival.source, arrival.control or digest.hex())
        told: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(arrival, twin, digest, self._pack.compress(arrival.body), told))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._run())
        return await told

    def waiting(self) -> int:
        """Arrivals not yet in a transaction."""
        return len(self._queue)

    async def close(self) -> None:
        """Keep what waits."""
        if self._work is not None:
            await self._work

    async def _run(self) -> None:
        while self._queue:
            group = [self._queue.popleft() for _ in range(min(_GROUP, len(self._queue)))]
            try:
                with translated():
                    async with transaction(self._writing) as connection:
                        kept = await self._keep(connection, group)
            except Exception as fault:  # told to everybody who waits
                for one in group:
                    if not one.told.done():
                        one.told.set_exception(fault)
                continue
            for one, answer in zip(group, kept, strict=True):
                if not one.told.done():
                    one.told.set_result(answer)

    async def _keep(self, connection: Connection, group: list[_Waiting]) -> list[Kept]:
        twins = list({one.twin for one in group})
        locks = [self._space | stripe for stripe in sorted({twin % _STRIPES for twin in twins})]
        async with connection.pipeline():
            await run(connection, "SELECT count(pg_advisory_xact_lock(k)) FROM unnest(%s::int8[]) AS k", (locks,))
            found = await run(connection, _KNOWN, (twins,))
            numbers = await run(connection, _NUMBERS, (len(group),))
        known: dict[int, list[_Known]] = {}
        for seq, twin, digest, state, reason in await found.fetchall():
            known.setdefault(twin, []).append(_Known(seq, digest, state, reason))
        free = iter([row[0] for row in await numbers.fetchall()])
        rows: list[tuple[Any, ...]] = []
        kept = [_decide(one, known.setdefault(one.twin, []), free, rows) for one in group]
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            async with connection.pipeline():
                await run(connection, _INSERT, tuple(columns[:-1]))
                await run(
                    connection,
                    "INSERT INTO body SELECT * FROM unnest(%s::int8[], %s::bytea[])",
                    (columns[0], columns[-1]),
                )
        return kept


def _decide(one: _Waiting, known: list[_Known], free: Any, rows: list[tuple[Any, ...]]) -> Kept:
    """Duplicate, clash or new; a new one's row is added to `rows` and to `known`."""
    new = one.arrival
    same = next((earlier for earlier in known if earlier.digest == one.digest), None)
    if same is not None:
        return Kept(key_of(same.seq), duplicate=True, clash=same.reason == REUSED)
    # What was quarantined made nothing, so its id is free for a whole message (a file cut off on its way).
    clash = bool(new.control) and any(earlier.state != _QUARANTINED for earlier in known)
    reason = REUSED if clash else new.refused
    state, seq = _QUARANTINED if reason else 0, next(free)
    known.append(_Known(seq, one.digest, state, reason))
    rows.append((
        seq, new.source, new.format, new.name, new.control, int(new.at.timestamp() * 1000), state, reason, new.outcome,
        one.twin, one.digest, len(new.body), one.packed,
    ))  # fmt: skip
    return Kept(key_of(seq), clash=clash)
