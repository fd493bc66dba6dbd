"""SQLite: one file, one writing thread, readers that never wait for it (D10)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import apsw

from .aside import aside
from .base import Committed, Move, fh_of
from .engine import Indexed, PackedPlan, Row, Sight, names_of, puts_of
from .pages import Pages
from .sqlite_beside import Beside
from .sqlite_commit import MOVABLE, alone, movable_values, ready, transaction
from .sqlite_file import only_one, prepared, refuse_moved, refuse_unsafe
from .sqlite_reads import SqliteReads
from .sqlite_sql import WITH_BODY, sight_sql
from .sqlite_upkeep import indexed, purge, together
from .sqlite_zones import WrittenZones
from .wordings import Wordings
from .writer import GroupWriter, Together

_LARGE = 1_000  # puts of a plan
_STEPS, _BUSY = 100, 600
"""Steps of bringing postings together at a time, unless there were so many commits since the last time."""


class SqliteEngine(SqliteReads, Beside):
    """`<directory>/store.db`. Raises UnsafeStore when another process writes there, or the settings lose data, and
    ConfigError when its data was moved."""

    zones: WrittenZones

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        refuse_moved(directory)
        self._lock = only_one(directory / "store.lock")
        path = str(directory / "store.db")
        self._writer = GroupWriter(path, checkpoint_pages=8_000, cache_mb=64, gather=0.5)
        prepared(self._writer.connection)
        super().__init__(path, Pages())
        refuse_unsafe(self._reader)
        self._wordings = Wordings()
        self.zones = WrittenZones(self._reader, self._writer, self._names, self._apart)
        self._settled = self._known.tx

    # ---- reads for writing -------------------------------------------------------------------
    async def identified(self, h: int, sight: Sight) -> list[Row]:
        """By the directory of identifiers."""
        fhs = [found[0] for found in self._reader.execute("SELECT fh FROM ident WHERE h = ?", (h,))]
        return list((await self.current(fhs, sight)).values()) if fhs else []

    async def to_move(self, move: Move) -> list[Row]:
        """Rows of the source records at home with the Patient moved from, with bodies."""
        person = await self.person(fh_of("Patient", move.from_patient))
        if person is None:
            return []
        sql = f"SELECT {WITH_BODY} FROM row WHERE row.rid IN ({MOVABLE})"
        return self._rows(self._reader, sql, movable_values(person, move.srcs))

    async def changes(self, after: int, upto: int, sight: Sight, limit: int) -> list[Row]:
        """Type by type along (type, transaction), merged."""
        where, values = sight_sql(sight, self._names)
        names = sight.types if sight.types is not None else self._names.number
        found: list[Row] = []
        for typ in self._names.known(names):
            sql = (
                f"SELECT {WITH_BODY} FROM row INDEXED BY row_tx WHERE row.typ = ? AND row.from_tx > ? AND"
                f" row.from_tx <= ? AND {where} ORDER BY row.from_tx, row.rid LIMIT ?"
            )
            found += self._rows(self._reader, sql, (typ, after, upto, *values, limit))
        found.sort(key=lambda row: (row.tx, row.rid))
        return found[:limit]

    # ---- writing -----------------------------------------------------------------------------
    async def commit(self, plan: PackedPlan) -> Committed:
        """New names first, in a commit of their own; then the plan, grouped with whoever else waits."""
        large = len(plan.puts) > _LARGE  # then worked on beside the loop
        new = await aside(large, names_of, plan) - self._names.number.keys()
        if new:
            await self._writer.run(lambda db: self._names.learn(db, new))
            self._names.load(self._reader)
        made = await aside(large, ready, plan, self._names, self._wordings)
        self._known.begun(plan)
        work = self._writer.submit(Together(transaction, made, alone(made)))
        # First of its callbacks, so before anybody hears of the commit; and also when the caller went away meanwhile.
        work.add_done_callback(lambda done: self._told(plan, done))
        return await asyncio.shield(work)

    def _told(self, plan: PackedPlan, work: asyncio.Future[Committed]) -> None:
        """Forget what a plan may have changed; after a large one, all."""
        large = len(plan.puts) > _LARGE
        if large:
            self._pages.clear()
        else:
            self._pages.told(plan)
        self._known.told(plan, everything=large)
        if not work.cancelled() and not work.exception():
            self._known.heard(work.result())
            self._wordings.told(puts_of(plan))

    async def settle(self) -> int:
        """Bring the pieces together that commits left; others commit in between."""
        commits, self._settled = self._known.tx - self._settled, self._known.tx
        steps = 0
        while commits < _BUSY and steps < _STEPS and await self._writer.run(together):
            steps += 1
        return steps

    async def purge(self, before: datetime, limit: int) -> int:
        """Postings and ordered entries of versions closed before an instant."""
        return await self._writer.run(lambda db: purge(db, int(before.timestamp() * 1000), limit))

    async def indexed(self, fresh: Sequence[Indexed]) -> None:
        """All in one commit."""
        await self._writer.run(lambda db: indexed(db, self._names, fresh))
        self._known.indexed()
        self.zones.forget()
        self._pages.clear()

    async def noted(self, name: str) -> bytes | None:
        """From `meta`."""
        return self._one("SELECT value FROM meta WHERE name = ?", name)[0] or None

    async def note(self, name: str, value: bytes) -> None:
        """Into `meta`."""
        sql = "INSERT INTO meta VALUES(?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
        await self._writer.run(lambda db: db.execute(sql, (name, value)))

    async def forget(self, claimed: datetime, kept: datetime) -> None:
        """Old claims and answers."""

        def drop(db: apsw.Connection) -> None:
            for table, before in (("criteria", claimed), ("answer", kept)):
                db.execute(f"DELETE FROM {table} WHERE at < ?", (int(before.timestamp() * 1000),))

        await self._writer.run(drop)

    async def close(self) -> None:
        """Commit what waits, checkpoint, let another process in."""
        await asyncio.to_thread(self._writer.close)
        self._close_readers()
        os.close(self._lock)
