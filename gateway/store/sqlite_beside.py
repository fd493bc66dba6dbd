"""What the SQLite store keeps beside its rows: source records, outcomes, answers, effects, dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import apsw

from .base import Kept, SourceRecordRow
from .bodies import dictionary_hash, instant_of
from .engine import CURRENT_BY_TYPE
from .figures import Commits
from .packing import kept_answer
from .sqlite_sql import dictionaries, numbers
from .writer import GroupWriter

_RECORD = "src, member, local_number, patient, content, said_at, state"


class Beside:
    """Reads run inline: they take microseconds."""

    _reader: apsw.Connection
    _writer: GroupWriter

    async def records(self, srcs: Sequence[int]) -> dict[int, SourceRecordRow]:
        """Source records by key."""
        sql = f"SELECT {_RECORD} FROM record WHERE src IN (SELECT value FROM carray(?))"
        return {row[0]: SourceRecordRow(*row) for row in self._reader.execute(sql, (numbers(srcs),))}

    async def records_of(self, patient: str) -> list[SourceRecordRow]:
        """Source records of a Patient."""
        sql = f"SELECT {_RECORD} FROM record WHERE patient = ? ORDER BY member, local_number"
        return [SourceRecordRow(*row) for row in self._reader.execute(sql, (patient,))]

    async def done(self, raw_keys: Sequence[str]) -> dict[str, bytes]:
        """Outcomes of settled messages."""
        sql = "SELECT raw_key, outcome FROM done WHERE raw_key = ?"
        return {row[0]: row[1] for key in raw_keys for row in self._reader.execute(sql, (key,))}

    async def kept(self, key: int) -> Kept | None:
        """The answer under an Idempotency-Key."""
        sql = "SELECT tx, at, digest, said, written FROM answer WHERE h = ?"
        found = next(iter(self._reader.execute(sql, (key,))), None)
        return kept_answer(*found) if found else None

    async def effects(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Effects with their numbers, oldest first."""
        sql = "SELECT seq, row FROM effect WHERE seq > ? ORDER BY seq LIMIT ?"
        return [(row[0], row[1]) for row in self._reader.execute(sql, (after, limit))]

    async def effects_after(self, number: int) -> int:
        """How many effects there are behind a number."""
        return int(next(self._reader.execute("SELECT count(*) FROM effect WHERE seq > ?", (number,)))[0])

    async def effects_by_number(self, wanted: Sequence[int]) -> dict[int, bytes]:
        """Effects by number."""
        sql = "SELECT seq, CAST(row AS BLOB) FROM effect WHERE seq IN (SELECT value FROM carray(?))"
        return {row[0]: row[1] for row in self._reader.execute(sql, (numbers(wanted),))}

    async def current_by_type(self) -> dict[str, int]:
        """Kept by the commits."""
        return dict(self._reader.execute(CURRENT_BY_TYPE))

    @property
    def commits(self) -> Commits:
        """Of the one writer."""
        return self._writer.commits

    async def freshness(self) -> dict[str, datetime]:
        """By member, when something it sent was last committed."""
        found = self._reader.execute("SELECT name.text, fresh.at FROM fresh JOIN name ON name.no = fresh.member")
        return {row[0]: instant_of(row[1]) for row in found if row[0]}

    async def dictionaries(self, known: dict[int, bytes]) -> dict[int, bytes]:
        """Copy the shipped dictionaries into the file; give all it holds."""
        rows = [(number, dictionary_hash(data), data) for number, data in known.items()]
        sql = "INSERT OR IGNORE INTO dictionary VALUES(?, ?, ?)"
        await self._writer.run(lambda db: db.executemany(sql, rows))
        return dictionaries(self._reader)
