"""The store's file read beside the one process that writes it."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from .engine import Row, Sight
from .sqlite_sql import Names, dictionaries, heads


class SqliteReading:
    """`<directory>/store.db`, opened for reading alone; implements `Reading`."""

    def __init__(self, directory: str) -> None:
        self._db = apsw.Connection(f"{directory}/store.db", flags=apsw.SQLITE_OPEN_READONLY)
        self._db.set_busy_timeout(5_000)
        self._names = Names()
        ((key,),) = self._db.execute("SELECT value FROM meta WHERE name = 'key'")
        assert isinstance(key, bytes)
        self.store_key = key

    async def done(self, raw_keys: Sequence[str]) -> dict[str, bytes]:
        """By key, one after another."""
        sql = "SELECT raw_key, outcome FROM done WHERE raw_key = ?"
        return {str(row[0]): bytes(row[1]) for key in raw_keys for row in self._db.execute(sql, (key,))}

    async def messages_of(self, reference: str, limit: int) -> list[str]:
        """Every outcome is looked through."""
        sql = "SELECT raw_key FROM done WHERE instr(outcome, CAST(? AS BLOB)) ORDER BY tx DESC LIMIT ?"
        return [str(row[0]) for row in self._db.execute(sql, (f'"{reference}"', limit))]

    async def current(self, fhs: Sequence[int], sight: Sight) -> dict[int, Row]:
        """By the directory."""
        self._names.load(self._db)  # other processes learn new ones
        return {row.fh: row for row in heads(self._db, self._names, fhs, sight)}

    async def dictionaries(self, known: dict[int, bytes]) -> dict[int, bytes]:
        """Those of the file, which may lack the newest: nothing was packed with it yet."""
        return known | dictionaries(self._db)

    async def close(self) -> None:
        """At once."""
        self._db.close()
