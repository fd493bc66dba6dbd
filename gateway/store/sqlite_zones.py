"""Zones of the SQLite engine: read once, then added to by the one process that makes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import apsw

from .sqlite_sql import Names
from .writer import GroupWriter
from .young import Young
from .zone import Group, Stretch, Zone, decode_zone, encode_zone, grouped

_STRETCH = (
    "SELECT from_tx, keys, words FROM row INDEXED BY row_tx WHERE typ = ?1 AND from_tx > ?2 AND from_tx <="
    " (SELECT from_tx FROM row INDEXED BY row_tx WHERE typ = ?1 AND from_tx > ?2 ORDER BY from_tx LIMIT 1 OFFSET ?3)"
    " ORDER BY from_tx"
)
_SINCE = (
    "SELECT from_tx, keys, words FROM row INDEXED BY row_tx WHERE typ = ? AND from_tx > ? AND from_tx <= ?"
    " ORDER BY from_tx LIMIT ?"
)
Apart = Callable[[Callable[[apsw.Connection], list[Stretch]]], Awaitable[list[Stretch]]]


class SqliteZones:
    """apart: runs a long read in a thread."""

    def __init__(self, reader: apsw.Connection, names: Names, apart: Apart) -> None:
        self._reader, self._names, self._apart = reader, names, apart
        self._known: dict[str, list[Group]] = {}
        self._stale: dict[str, list[Group]] = {}
        self.young = Young(self._since)

    async def of(self, type_: str) -> list[Group]:
        """Those of a type, oldest first."""
        known = self._known.get(type_)
        if known is None:
            sql = "SELECT said FROM zone WHERE typ = ? ORDER BY last"
            found = self._reader.execute(sql, (self._names.number.get(type_, -1),))
            zones = [decode_zone(row[0]) for row in found]
            known = self._known[type_] = grouped(zones, self._stale.pop(type_, ()))
        return known

    def renew(self) -> None:
        """Those that another process made meanwhile are to be seen."""
        self._stale |= self._known
        self._known = {}

    async def _since(self, type_: str, after: int, upto: int, limit: int) -> list[Stretch] | None:
        bound = (self._names.number.get(type_, -1), after, upto, limit + 1)
        found = await self._apart(lambda db: [Stretch(*row) for row in db.execute(_SINCE, bound)])
        return found if len(found) <= limit else None


class WrittenZones(SqliteZones):
    """Of the process that writes."""

    def __init__(self, reader: apsw.Connection, writer: GroupWriter, names: Names, apart: Apart) -> None:
        super().__init__(reader, names, apart)
        self._writer = writer

    async def stretch(self, type_: str, after: int, count: int) -> list[Stretch]:
        """All versions of the next transactions that together have so many."""
        bound = (self._names.number.get(type_, -1), after, count - 1)
        return await self._apart(lambda db: [Stretch(*row) for row in db.execute(_STRETCH, bound)])

    async def keep(self, type_: str, zone: Zone) -> None:
        """Keep one more, in place of those it covers."""
        typ = self._names.number[type_]

        def write(db: apsw.Connection) -> None:
            db.execute("DELETE FROM zone WHERE typ = ? AND last BETWEEN ? AND ?", (typ, zone.first, zone.last))
            db.execute("INSERT INTO zone VALUES(?, ?, ?)", (typ, zone.last, encode_zone(zone)))

        await self._writer.run(write)
        self._stale[type_] = self._known.pop(type_, [])

    def forget(self) -> None:
        """They are gone."""
        self._known.clear()
        self._stale.clear()
        self.young.forget()
