"""Zones of the PostgreSQL engine; other processes make some too, so they are read again from time to time."""

from __future__ import annotations

import time

from .engine import Stretch, Zone, decode_zone, encode_zone
from .packing import short_words
from .postgres_database import Database, run, transaction, translated
from .postgres_sql import number_of

_FRESH_S = 60.0
_STRETCH = (
    "SELECT from_tx, keys, tk FROM version WHERE typ = %s AND from_tx > %s AND from_tx <="
    " (SELECT from_tx FROM version WHERE typ = %s AND from_tx > %s ORDER BY from_tx LIMIT 1 OFFSET %s)"
    " ORDER BY from_tx"
)


class PostgresZones:
    """Of one schema."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[float, list[Zone]]] = {}

    async def of(self, type_: str) -> list[Zone]:
        """Those of a type, oldest first."""
        known = self._known.get(type_)
        if known is None or time.monotonic() - known[0] > _FRESH_S:
            sql = "SELECT said FROM zone WHERE typ = %s ORDER BY last"
            found = await self._database.select(sql, (number_of(type_),))
            known = self._known[type_] = time.monotonic(), [decode_zone(row[0]) for row in found]
        return known[1]

    async def stretch(self, type_: str, after: int, count: int) -> list[Stretch]:
        """All versions of the next transactions that together have so many."""
        typ = number_of(type_)
        rows = await self._database.select(_STRETCH, (typ, after, typ, after, count - 1))
        return [Stretch(tx, keys, short_words(words)) for tx, keys, words in rows]

    async def keep(self, type_: str, zone: Zone) -> None:
        """Keep one more; where another process kept one meanwhile, theirs."""
        row = (number_of(type_), zone.last, encode_zone(zone))
        with translated():
            async with transaction(self._database.writing) as connection:
                await run(connection, "INSERT INTO zone VALUES(%s, %s, %s) ON CONFLICT DO NOTHING", row)
        self._known.pop(type_, None)

    def forget(self) -> None:
        """They are gone."""
        self._known.clear()
