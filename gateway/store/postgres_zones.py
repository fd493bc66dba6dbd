"""Zones of the PostgreSQL engine; other processes make some too, so they are read again from time to time."""

from __future__ import annotations

import time

from .packing import short_words
from .postgres_database import Database, run, transaction, translated
from .postgres_sql import number_of
from .young import Young
from .zone import Group, Stretch, Zone, decode_zone, encode_zone, grouped

_FRESH_S = 60.0
_STRETCH = (
    "SELECT from_tx, keys, tk FROM version WHERE typ = %s AND from_tx > %s AND from_tx <="
    " (SELECT from_tx FROM version WHERE typ = %s AND from_tx > %s ORDER BY from_tx LIMIT 1 OFFSET %s)"
    " ORDER BY from_tx"
)
_SINCE = (
    "SELECT from_tx, keys, tk FROM version WHERE typ = %s AND from_tx > %s AND from_tx <= %s ORDER BY from_tx LIMIT %s"
)
_WITHIN = "SELECT said FROM zone WHERE typ = %s AND last BETWEEN %s AND %s"


class PostgresZones:
    """Of one schema."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[float, list[Group]]] = {}
        self.young = Young(self._since)

    async def of(self, type_: str) -> list[Group]:
        """Those of a type, oldest first."""
        known = self._known.get(type_)
        if known is None or time.monotonic() - known[0] > _FRESH_S:
            sql = "SELECT said FROM zone WHERE typ = %s ORDER BY last"
            found = await self._database.select(sql, (number_of(type_),))
            zones = [decode_zone(row[0]) for row in found]
            known = self._known[type_] = time.monotonic(), grouped(zones, known[1] if known else ())
        return known[1]

    async def stretch(self, type_: str, after: int, count: int) -> list[Stretch]:
        """All versions of the next transactions that together have so many."""
        typ = number_of(type_)
        rows = await self._database.select(_STRETCH, (typ, after, typ, after, count - 1))
        return [Stretch(tx, keys, short_words(words)) for tx, keys, words in rows]

    async def _since(self, type_: str, after: int, upto: int, limit: int) -> list[Stretch] | None:
        rows = await self._database.select(_SINCE, (number_of(type_), after, upto, limit + 1))
        return [Stretch(tx, keys, short_words(words)) for tx, keys, words in rows] if len(rows) <= limit else None

    async def keep(self, type_: str, zone: Zone) -> None:
        """Keep one more, in place of those it covers; where another process kept one meanwhile, theirs."""
        typ = number_of(type_)
        with translated():
            async with transaction(self._database.writing) as connection:
                found = await (await run(connection, _WITHIN, (typ, zone.first, zone.last))).fetchall()
                covered = [one.last for one in (decode_zone(row[0]) for row in found) if one.first >= zone.first]
                await run(connection, "DELETE FROM zone WHERE typ = %s AND last = ANY(%s::int8[])", (typ, covered))
                row = (typ, zone.last, encode_zone(zone))
                await run(connection, "INSERT INTO zone VALUES(%s, %s, %s) ON CONFLICT DO NOTHING", row)
        self._known.pop(type_, None)

    def forget(self) -> None:
        """They are gone."""
        self._known.clear()
        self.young.forget()
