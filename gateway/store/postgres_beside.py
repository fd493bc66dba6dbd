"""What the PostgreSQL store keeps beside its rows: source records, outcomes, answers, effects, dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .base import Kept, SourceRecordRow
from .bodies import dictionary_hash, instant_of
from .engine import CURRENT_BY_TYPE
from .packing import kept_answer
from .postgres_database import Database, run, transaction, translated
from .postgres_reads import SharedReads
from .postgres_sql import Bound

NOTE = "INSERT INTO meta VALUES(%s, %s) ON CONFLICT(name) DO UPDATE SET value = excluded.value"
_RECORD = "src, member, local_number, patient, content, said_at, state"


class Beside:
    """One statement each."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._told: SharedReads[None, SourceRecordRow] = SharedReads(self._records)

    async def records(self, srcs: Sequence[int]) -> dict[int, SourceRecordRow]:
        """Source records by key; together with whoever else asks in this turn of the loop."""
        return await self._told.get(srcs, None)

    async def _records(self, srcs: Sequence[int], _: None) -> dict[int, SourceRecordRow]:
        sql = f"SELECT {_RECORD} FROM record WHERE src = ANY(%s::int8[])"
        return {row[0]: _record(row) for row in await self.database.select(sql, (list(srcs),), steady=True)}

    async def records_of(self, patient: str) -> list[SourceRecordRow]:
        """Source records of a Patient."""
        sql = f'SELECT {_RECORD} FROM record WHERE patient = %s ORDER BY member COLLATE "C", local_number'
        return [_record(row) for row in await self.database.select(sql, (patient,))]

    async def done(self, raw_keys: Sequence[str]) -> dict[str, bytes]:
        """Outcomes of settled messages."""
        sql = "SELECT raw_key, outcome FROM done WHERE raw_key = ANY(%s::text[])"
        return dict(await self.database.select(sql, (list(raw_keys),)))

    async def messages_of(self, reference: str, limit: int) -> list[str]:
        """Raw keys of messages whose outcome names a resource, newest first. Every outcome is looked through."""
        sql = "SELECT raw_key FROM done WHERE position(%s::bytea IN outcome) > 0 ORDER BY tx DESC LIMIT %s"
        return [row[0] for row in await self.database.select(sql, (f'"{reference}"'.encode(), limit))]

    async def kept(self, key: int) -> Kept | None:
        """The answer under an Idempotency-Key."""
        sql = "SELECT tx, at, digest, said, written FROM answer WHERE h = %s"
        found = await self.database.one(sql, (key,))
        return kept_answer(*found) if found else None

    async def effects(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Effects with their numbers, oldest first."""
        sql = "SELECT seq, said FROM effect WHERE seq > %s ORDER BY seq LIMIT %s"
        return await self.database.select(sql, (after, limit))

    async def effects_after(self, number: int) -> int:
        """How many effects there are behind a number."""
        found = await self.database.one("SELECT count(*) FROM effect WHERE seq > %s", (number,))
        return int(found[0]) if found else 0

    async def effects_by_number(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Effects by number."""
        sql = "SELECT seq, said FROM effect WHERE seq = ANY(%s::int8[])"
        return dict(await self.database.select(sql, (list(numbers),)))

    async def current_by_type(self) -> dict[str, int]:
        """Kept by the commits."""
        return {type_: int(count) for type_, count in await self.database.select(CURRENT_BY_TYPE)}

    async def freshness(self) -> dict[str, datetime]:
        """By member, when something it sent was last committed."""
        sql = "SELECT name.text, fresh.at FROM fresh JOIN name ON name.no = fresh.member WHERE name.text <> ''"
        return {member: instant_of(at) for member, at in await self.database.select(sql)}

    async def dictionaries(self, known: dict[int, bytes]) -> dict[int, bytes]:
        """Copy the shipped dictionaries into the database; give all it holds."""
        with translated():
            async with transaction(self.database.writing) as connection:
                for number, data in known.items():
                    sql = "INSERT INTO dictionary VALUES(%s, %s, %s) ON CONFLICT DO NOTHING"
                    await run(connection, sql, (number, dictionary_hash(data), data))
        return dict(await self.database.select("SELECT id, bytes FROM dictionary"))

    async def noted(self, name: str) -> bytes | None:
        """From `meta`."""
        with translated():
            found = await self.database.one("SELECT value FROM meta WHERE name = %s", (name,))
        return found[0] if found else None

    async def note(self, name: str, value: bytes) -> None:
        """Into `meta`."""
        with translated():
            async with transaction(self.database.writing) as connection:
                await run(connection, NOTE, (name, value))


def _record(row: Bound) -> SourceRecordRow:
    src, member, local_number, *rest = row
    return SourceRecordRow(src, member, local_number.decode(), *rest)
