"""The audit log's rows in PostgreSQL, written on connections of their own: no disclosure waits for the store's writer.

Numbers of disclosures are given under one lock held to the end of their transaction. A sealer that has seen one
number has therefore seen all below it, whichever process wrote them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from .audit_log import DISCLOSURE, EFFECT, START, End, Sealed, Told, Wanted
from .postgres_database import DISCLOSE, SEAL, Connection, Database, run, transaction, translated

_APPEND = (
    "WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(%s))"
    " INSERT INTO disclosure(said) SELECT a.said FROM turn CROSS JOIN unnest(%s::bytea[]) AS a(said)"
)
_ADD = (
    "INSERT INTO seal(n, log, seq, at, mac, tk) SELECT a.n, a.log, a.seq, a.at, a.mac, (%s::int8[])[a.low:a.high]"
    " FROM unnest(%s::int8[], %s::int4[], %s::int8[], %s::int8[], %s::bytea[], %s::int4[], %s::int4[])"
    " AS a(n, log, seq, at, mac, low, high)"
)
_END = (
    f"SELECT (SELECT max(seq) FROM seal WHERE log = {DISCLOSURE}), (SELECT max(seq) FROM seal WHERE log = {EFFECT}),"
    " s.n, s.mac FROM (SELECT) AS one LEFT JOIN (SELECT n, mac FROM seal ORDER BY n DESC LIMIT 1) AS s ON true"
)


class PostgresAudit:
    """Implements `AuditBook`; the pools are the engine's to close."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writing: asyncio.Task[None] | None = None

    def append(self, rows: list[bytes], told: Told) -> None:
        """One statement of many rows, committed by itself."""
        self._writing = asyncio.ensure_future(self._append(rows, told))

    async def _append(self, rows: list[bytes], told: Told) -> None:
        fault: Exception | None = None
        try:
            with translated():
                async with self._database.auditing.connection() as connection:
                    await run(connection, _APPEND, (self._database.lock(DISCLOSE), rows))
        except Exception as error:  # whatever it is, those who wait are told
            fault = error
        told(fault)

    async def end(self) -> End:
        """The end of the chain."""
        return _end(await self._database.select(_END))

    async def chain(self, make: Callable[[End], list[Sealed]]) -> None:
        """Under the sealers' lock: one chain, whichever process lengthens it."""
        with translated():
            async with transaction(self._database.auditing) as connection:
                await run(connection, "SELECT pg_advisory_xact_lock(%s)", (self._database.lock(SEAL),))
                end = _end(await (await run(connection, _END)).fetchall())
                await _add(connection, make(end))

    async def links(self, after: int, limit: int) -> list[tuple[int, int, int, bytes]]:
        """(n, log, seq, mac) in order."""
        sql = "SELECT n, log, seq, mac FROM seal WHERE n > %s ORDER BY n LIMIT %s"
        return await self._database.select(sql, (after, limit))

    async def disclosures(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Disclosures with their numbers, oldest first."""
        sql = "SELECT seq, said FROM disclosure WHERE seq > %s ORDER BY seq LIMIT %s"
        return await self._database.select(sql, (after, limit))

    async def disclosures_after(self, number: int) -> int:
        """How many there are behind a number."""
        found = await self._database.one("SELECT count(*) FROM disclosure WHERE seq > %s", (number,))
        return int(found[0]) if found else 0

    async def disclosures_by_number(self, wanted: Sequence[int]) -> dict[int, bytes]:
        """Disclosures."""
        sql = "SELECT seq, said FROM disclosure WHERE seq = ANY(%s::int8[])"
        return dict(await self._database.select(sql, (list(wanted),)))

    async def find(self, wanted: Wanted) -> list[tuple[int, int]]:
        """Places of links, newest first."""
        conditions: list[str] = []
        values: list[object] = []
        for condition, value in (("s.at >= %s", wanted.since), ("s.at < %s", wanted.until)):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        if wanted.words:
            conditions.append("s.tk @> %s::int8[]")
            values.append(list(wanted.words))
        if wanted.before is not None:
            conditions.append("s.n < coalesce((SELECT n FROM seal WHERE log = %s AND seq = %s), 0)")
            values += wanted.before
        where = " AND ".join(conditions) or "true"
        sql = f"SELECT s.log, s.seq FROM seal s WHERE {where} ORDER BY s.n DESC LIMIT %s"
        return await self._database.select(sql, (*values, wanted.limit))

    async def close(self) -> None:
        """Nothing of its own is open."""


def _end(found: list[Any]) -> End:
    disclosure, effect, n, mac = found[0]
    return End(n or 0, mac or START, {DISCLOSURE: disclosure or 0, EFFECT: effect or 0})


async def _add(connection: Connection, links: list[Sealed]) -> None:
    if not links:
        return
    words: list[int] = []
    rows: list[tuple[object, ...]] = []
    for link in links:
        low = len(words) + 1
        words += link.words
        rows.append((*link[:5], low, len(words)))
    await run(connection, _ADD, (words, *(list(column) for column in zip(*rows, strict=True))))
