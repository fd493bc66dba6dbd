"""How far each polled source was read: durable, beside the raw messages it is a statement about.

The bytes of a position belong to whoever polls; here they are only kept. Both engines pass
`tests/contract/test_positions.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import apsw
import msgspec
import zstandard

from ..model.view import Reading
from .base import hash64
from .writer import GroupWriter

SCHEMA = """
CREATE TABLE IF NOT EXISTS position(
  source TEXT PRIMARY KEY,
  body BLOB NOT NULL DEFAULT x'',   -- zstd, empty before the first
  reading TEXT NOT NULL DEFAULT ''  -- how it goes, JSON
);
"""


class Positions(Protocol):
    """Positions of polled sources, and which process polls."""

    async def lead(self, source: str) -> bool:
        """True while this process is the one that polls the source; to be asked before every poll."""

    async def load(self, source: str) -> bytes:
        """The position last saved, b"" for none."""

    async def save(self, source: str, position: bytes, reading: Reading) -> None:
        """Returns once position and reading are on disk."""

    async def tell(self, source: str, reading: Reading) -> None:
        """The reading alone."""

    async def readings(self) -> dict[str, Reading]:
        """How it goes with every source that was ever polled, whichever process polls it."""


_SAVE = (
    "INSERT INTO position(source, body, reading) VALUES({0}, {0}, {0})"
    " ON CONFLICT (source) DO UPDATE SET body = excluded.body, reading = excluded.reading"
)
_TELL = (
    "INSERT INTO position(source, reading) VALUES({0}, {0})"
    " ON CONFLICT (source) DO UPDATE SET reading = excluded.reading"
)
_LOAD = "SELECT body FROM position WHERE source = {0}"
_READINGS = "SELECT source, reading FROM position WHERE reading <> ''"


class SqlitePositions:
    """In the inbox's file, whose home belongs to one process."""

    def __init__(self, writer: GroupWriter, reader: apsw.Connection) -> None:
        self._writer, self._reader = writer, reader

    async def lead(self, source: str) -> bool:
        """There is no other process."""
        return True

    async def load(self, source: str) -> bytes:
        """The position last saved."""
        rows = list(self._reader.execute(_LOAD.format("?"), (source,)))
        return _unpacked(rows)

    async def save(self, source: str, position: bytes, reading: Reading) -> None:
        """In one commit."""
        values = (source, _packed(position), _json(reading))
        await self._writer.run(lambda db: _execute(db, _SAVE.format("?"), values))

    async def tell(self, source: str, reading: Reading) -> None:
        """In one commit."""
        await self._writer.run(lambda db: _execute(db, _TELL.format("?"), (source, _json(reading))))

    async def readings(self) -> dict[str, Reading]:
        """Of all sources."""
        return _readings(self._reader.execute(_READINGS))


Select = Callable[[str, tuple[Any, ...]], Awaitable[list[Any]]]


class PostgresPositions:
    """In the inbox's schema. lock: asks for an advisory lock that lasts as long as this process lives."""

    def __init__(self, select: Select, change: Callable[..., Awaitable[Any]], lock: Callable[[int], Awaitable[bool]]):
        self._select, self._change, self._lock = select, change, lock

    async def lead(self, source: str) -> bool:
        """True for the one process that got the source's lock."""
        return await self._lock(hash64("position", source))

    async def load(self, source: str) -> bytes:
        """The position last saved."""
        return _unpacked(await self._select(_LOAD.format("%s"), (source,)))

    async def save(self, source: str, position: bytes, reading: Reading) -> None:
        """In one statement."""
        await self._change(_SAVE.format("%s"), (source, _packed(position), _json(reading)))

    async def tell(self, source: str, reading: Reading) -> None:
        """In one statement."""
        await self._change(_TELL.format("%s"), (source, _json(reading)))

    async def readings(self) -> dict[str, Reading]:
        """Of all sources."""
        return _readings(await self._select(_READINGS, ()))


def _execute(db: apsw.Connection, sql: str, values: tuple[Any, ...]) -> None:
    db.execute(sql, values)


def _packed(position: bytes) -> bytes:
    return zstandard.compress(position, 1)


def _unpacked(rows: list[Any]) -> bytes:
    return zstandard.decompress(rows[0][0]) if rows and rows[0][0] else b""


def _json(reading: Reading) -> str:
    return msgspec.json.encode(reading).decode()


def _readings(rows: Any) -> dict[str, Reading]:
    return {source: msgspec.json.decode(text, type=Reading) for source, text in rows}
