"""What a process remembers of a PostgreSQL store that other processes write to as well.

Before anything remembered is used the server is asked for its newest transaction, one question for all who ask in one
turn of the event loop; what was written since then is told to the memory. So an answer from memory shows every commit
that anybody was told of before it was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from .known import People
from .pages import Pages
from .postgres_database import Database
from .postgres_reads import SharedReads
from .postgres_sql import TYPES

_MOST = 2_000
"""Versions looked at to learn what changed; after more, all is forgotten."""
_MOMENT = "SELECT tx, at, (SELECT value FROM meta WHERE name = 'indexed') FROM tx ORDER BY tx DESC LIMIT 1"
_WRITTEN = (
    f"SELECT r.fh, r.tk FROM {TYPES} CROSS JOIN LATERAL (SELECT fh, tk FROM version"
    " WHERE version.typ = size.typ AND version.from_tx > %s LIMIT %s) AS r LIMIT %s"
)


class Known(People):
    """Of one process. tx, at: the newest transaction told and its instant (epoch ms)."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.tx, self.at = 0, 0
        self.pages = Pages()
        self._database = database
        self._indexed: bytes | None = None
        self._one_at_a_time = asyncio.Lock()
        self._moments: SharedReads[None, None] = SharedReads(self._asked)

    async def moment(self) -> tuple[int, int]:
        """The newest transaction of all processes and its instant; all that is remembered holds as of it."""
        await self._moments.get((), None)
        return self.tx, self.at

    async def _asked(self, _fhs: Sequence[int], _how: None) -> dict[int, None]:
        tx, at, indexed = await self._database.one(_MOMENT, steady=True) or (0, 0, None)
        if tx > self.tx or indexed != self._indexed:
            async with self._one_at_a_time:
                await self._told(tx, at, indexed)
        return {}

    async def _told(self, tx: int, at: int, indexed: bytes | None) -> None:
        """Forget what transactions up to this one may have changed. indexed: marks the last work on the index."""
        if indexed != self._indexed:
            self._indexed = indexed
            self.clear()
        elif tx > self.tx and (self._survivors or self.pages):
            rows = await self._database.select(_WRITTEN, (self.tx, _MOST + 1, _MOST + 1), steady=True)
            if len(rows) > _MOST:
                self.clear()
            for fh, words in rows if len(rows) <= _MOST else ():
                self.changed(fh)
                self.pages.changed(fh, words)
        self.pages.turn += 1
        if tx > self.tx:
            self.tx, self.at = tx, at

    def clear(self) -> None:
        """Forget all that a commit could change."""
        super().clear()
        self.pages.clear()
