"""Reads of the SQLite engine: of the process that writes the file, and of one that reads beside it.

Reads by key or within one person's home run inline: they take microseconds. What may walk a population runs
in a worker thread with a connection of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import apsw

from ..errors import TooCostly
from .bodies import instant_of
from .engine import (
    DELETED,
    LATEST,
    NOTHING,
    SEQ_BITS,
    Homes,
    Match,
    Place,
    Placed,
    Row,
    Sight,
    Span,
    by_records,
    sees,
    tallied,
)
from .pages import Pages
from .sqlite_keys import at_home, away, counted, latest, newest_of, posted, worded
from .sqlite_known import Known
from .sqlite_sql import (
    WITH_BODY,
    WITHOUT_BODY,
    Names,
    head_sql,
    heads,
    match_sql,
    numbers,
    sight_sql,
    types_sql,
)
from .sqlite_walk import Newest, OrderedWalk
from .sqlite_zones import SqliteZones
from .writer import connect

T = TypeVar("T")
_EMPTY = (0, 0, 0)
_HERE = 500
"""Rows read on the event loop at once."""
_SOON = 64
"""Rows found by postings on the event loop at once."""
SECONDS = 5.0
"""How long one read in a worker thread may take."""


class SqliteReads:
    """`store.db` in WAL mode; implements `engine.Reads`."""

    zones: SqliteZones

    def __init__(self, path: str, pages: Pages) -> None:
        self._path, self._pages = path, pages
        self._reader = connect(path, writer=False)
        self._pool: SimpleQueue[apsw.Connection] = SimpleQueue()
        self._pooled: list[apsw.Connection] = []
        self._names = Names()
        self._names.load(self._reader)
        self._known = Known(self._names, *self._one("SELECT tx, at FROM tx ORDER BY tx DESC LIMIT 1"))
        self.store_key: bytes = self._one("SELECT value FROM meta WHERE name = 'key'")[0]

    def _close_readers(self) -> None:
        self._reader.close()
        for connection in self._pooled:
            connection.close()

    # ---- helpers -----------------------------------------------------------------------------
    def _one(self, sql: str, *values: object) -> tuple[Any, ...]:
        return next(iter(self._reader.execute(sql, values)), _EMPTY)

    async def _apart(self, read: Callable[[apsw.Connection], T]) -> T:
        """Run a read that may be long in a worker thread."""
        return await asyncio.to_thread(self._borrow, read)

    def _borrow(self, read: Callable[[apsw.Connection], T]) -> T:
        try:
            connection = self._pool.get_nowait()
        except Empty:
            connection = connect(self._path, writer=False)
            self._pooled.append(connection)
        until = time.monotonic() + SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > until, 20_000)
        try:
            return read(connection)
        except apsw.InterruptError:
            raise TooCostly(detail=f"more than {SECONDS:.0f} s") from None
        finally:
            connection.set_progress_handler(None)
            self._pool.put(connection)

    def _rows(self, db: apsw.Connection, sql: str, values: Sequence[Any]) -> list[Row]:
        return self._names.rows(db.execute(sql, tuple(values)))

    @property
    def pages(self) -> Pages:
        """In the process that writes there is no other."""
        return self._pages

    # ---- one moment --------------------------------------------------------------------------
    def horizon(self) -> tuple[int, datetime]:
        """Newest committed transaction somebody has heard of, and its instant."""
        return self._known.tx, instant_of(self._known.at)

    async def moment(self) -> tuple[int, datetime]:
        """The same: the process that writes is told of its commits, and tells others."""
        return self.horizon()

    async def size(self, type_: str) -> int:
        """Kept by the commits."""
        return int(self._one("SELECT ifnull(sum(n), 0) FROM size WHERE typ = ?", self._names.number.get(type_, -1))[0])

    async def tally(self, type_: str, sight: Sight) -> tuple[int, int] | None:
        """Kept by the commits."""
        if by_records(type_, sight):
            return None
        sql = "SELECT member, acl, flags, live, (SELECT max(tx) FROM tx) FROM size WHERE typ = ?"
        found = list(self._reader.execute(sql, (self._names.number.get(type_, -1),)))
        total = tallied([(self._names.text[row[0]], *row[1:4]) for row in found], sight)
        return total, found[0][4] if found else sight.as_of

    async def wordings(self, type_: str, param: int, start: str, limit: int) -> list[int] | None:
        """By the table of words."""
        return worded(self._reader, self._names.number.get(type_, -1), param, start, limit)

    async def first_tx(self, at_ms: int) -> int:
        """By halving: instants never go back while numbers go up."""
        low, high = 0, self.horizon()[0] + 1
        while low < high:
            middle = (low + high) // 2
            if self._one("SELECT at FROM tx WHERE tx = ?", middle)[0] >= at_ms:
                high = middle
            else:
                low = middle + 1
        return low

    # ---- by id -------------------------------------------------------------------------------
    async def current(self, fhs: Sequence[int], sight: Sight) -> dict[int, Row]:
        """The directory, then the row; a row too young for the sight leads back along its versions."""
        if len(fhs) != 1:
            return self._current(fhs, sight)
        head = self._known.head(fhs[0], sight)
        if head is not None:
            return {head.fh: head} if sees(sight, head) else {}
        found = self._current(fhs, sight)
        if sight.as_of >= LATEST:
            self._known.keep_heads(found.values())
        return found

    def _current(self, fhs: Sequence[int], sight: Sight) -> dict[int, Row]:
        found = {row.fh: row for row in heads(self._reader, self._names, fhs, sight)}
        for fh in fhs:
            if fh not in found:
                older = self._older(fh, sight)
                if older is not None:
                    found[fh] = older
        return found

    def _older(self, fh: int, sight: Sight) -> Row | None:
        young = self._one("SELECT row.prev, row.from_tx FROM dir JOIN row ON row.rid = dir.rid WHERE dir.fh = ?", fh)
        rid, tx = young[0], young[1]
        while rid and tx > sight.as_of:
            older = self._one("SELECT rid, prev, from_tx FROM row WHERE rid = ?", rid)
            rid, tx = older[1], older[2]
            if tx <= sight.as_of:
                where, values = sight_sql(sight, self._names)
                sql = f"SELECT {WITH_BODY} FROM row WHERE row.rid = ? AND {where}"
                return next(iter(self._rows(self._reader, sql, (older[0], *values))), None)
        return None

    async def chain(self, fh: int, *, below: int, limit: int) -> list[Row]:
        """Along `prev`, newest first."""
        rid = self._one("SELECT rid FROM dir WHERE fh = ? AND ver > 0", fh)[0]
        out: list[Row] = []
        while rid and len(out) < limit:
            row = self._rows(self._reader, f"SELECT {WITH_BODY} FROM row WHERE rid = ?", (rid,))[0]
            if row.version < below:
                out.append(row)
            rid = row.prev
        return out

    async def rows(self, rids: Sequence[int], sight: Sight, match: Match = NOTHING) -> dict[int, Row]:
        """Rows by key that match, with bodies."""
        where, values = sight_sql(sight, self._names)
        also, words = match_sql(match)
        sql = f"SELECT {WITH_BODY} FROM carray(?) AS asked CROSS JOIN row ON row.rid = asked.value WHERE {where}{also}"
        return {row.rid: row for row in self._rows(self._reader, sql, (numbers(rids), *values, *words))}

    async def deletions(self, rids: Sequence[int]) -> set[int]:
        """By their flags."""
        sql = f"SELECT rid FROM carray(?) AS asked CROSS JOIN row ON row.rid = asked.value WHERE flags & {DELETED}"
        return {row[0] for row in self._reader.execute(sql, (numbers(rids),))}

    async def person(self, fh: int) -> int | None:
        """Person number of a Patient ever mentioned."""
        known = self._known.person(fh)
        if known is not None:
            return known
        rid: int = self._one("SELECT rid FROM dir WHERE fh = ?", fh)[0]
        if not rid:
            return None
        self._known.keep_person(fh, rid >> SEQ_BITS)
        return rid >> SEQ_BITS

    async def survivors(self, fhs: Sequence[int]) -> dict[int, str]:
        """Ids of the Patients that replace superseded ones."""
        unknown = self._known.unknown(fhs)
        if len(unknown) == 1:
            self._learn(unknown[0])
        elif unknown:
            sql = "SELECT fh, id FROM carray(?) AS asked CROSS JOIN survivor ON survivor.fh = asked.value"
            found = {row[0]: row[1] for row in self._reader.execute(sql, (numbers(unknown),))}
            self._known.keep_survivors(unknown, found)
        return self._known.survivors(fhs)

    def _learn(self, fh: int) -> None:
        """Who reads for a Patient, and their number, which is asked for next."""
        sql = "SELECT (SELECT rid FROM dir WHERE fh = ?1), (SELECT id FROM survivor WHERE fh = ?1)"
        rid, survivor = self._one(sql, fh)
        self._known.keep_survivors((fh,), {fh: survivor} if survivor else {})
        if rid:
            self._known.keep_person(fh, rid >> SEQ_BITS)

    async def led(self, fhs: Sequence[int]) -> dict[int, str]:
        """The same: there is no other process."""
        return await self.survivors(fhs)

    # ---- scans -------------------------------------------------------------------------------
    async def home(
        self, person: int, sight: Sight, *, types: Sequence[str], match: Match, below: int, limit: int, bodies: bool
    ) -> list[Row]:
        """One range of rows, newest first, in one statement: other questions about a person are about other rows."""
        columns = WITH_BODY if bodies else WITHOUT_BODY
        asked = at_home(self._reader, self._names, person, sight, types, match, below, limit, columns)
        return self._rows(self._reader, *asked)

    async def homes(
        self, persons: Sequence[int], sight: Sight, *, types: Sequence[str], match: Match, below: Place, limit: int
    ) -> list[Row]:
        """Keys first, then the rows."""
        rids = newest_of(self._reader, self._names, persons, sight, types, match, below, limit)
        return self._known.rows(self._reader, rids)

    def _by_key(self, db: apsw.Connection, rids: list[int], columns: str) -> list[Row]:
        sql = f"SELECT {columns} FROM carray(?) AS asked CROSS JOIN row ON row.rid = asked.value"
        return self._rows(db, sql, (numbers(rids),))

    async def newest(
        self,
        type_: str,
        sight: Sight,
        *,
        match: Match,
        between: tuple[int, int],
        after: tuple[int, int] | None,
        limit: int,
        ascending: bool,
        bodies: bool = False,
    ) -> list[Row]:
        """Along (type, transaction), in a thread; few rows are then read here."""
        walk = Newest(self._names, type_, sight, match, between, after, limit, ascending)
        rids = await self._apart(walk.keys)
        if bodies or len(rids) <= _HERE:
            return self._known.rows(self._reader, rids)
        return await self._apart(lambda db: self._by_key(db, rids, WITHOUT_BODY))

    async def versions(
        self,
        types: Sequence[str],
        sight: Sight,
        *,
        between: tuple[int, int],
        alive: int,
        below: tuple[int, int],
        limit: int,
    ) -> list[Row]:
        """Type by type along (type, transaction), merged; in a thread."""
        sql = (
            f"SELECT {WITH_BODY} FROM row INDEXED BY row_tx CROSS JOIN dir ON dir.fh = row.fh CROSS JOIN row AS head"
            " ON head.rid = dir.rid WHERE row.typ = ? AND row.from_tx BETWEEN ? AND ? AND row.till_tx >= ?"
            f" AND (row.from_tx, row.rid) < (?, ?){head_sql(sight, self._names)}"
            " ORDER BY row.from_tx DESC, row.rid DESC LIMIT ?"
        )
        wanted = types or (self._names.number if sight.types is None else sight.types)
        bound = (between[0], min(between[1], below[0]), alive, *below, limit)

        def read(db: apsw.Connection) -> list[Row]:
            found = [row for typ in self._names.known(wanted) for row in self._rows(db, sql, (typ, *bound))]
            found.sort(key=lambda row: (row.tx, row.rid), reverse=True)
            return found[:limit]

        return await self._apart(read)

    async def ordered(
        self,
        type_: str,
        sight: Sight,
        span: Span,
        *,
        match: Match,
        after: tuple[int | str, int] | None,
        limit: int,
        descending: bool,
    ) -> list[Placed]:
        """Along an ordered table, in a thread; short and long date ranges are walked apart and merged."""
        walk = OrderedWalk(self._names, type_, sight, span, match, after, limit, descending)
        return await self._apart(walk.read)

    # ---- postings ----------------------------------------------------------------------------
    async def hits(self, match: Match, sight: Sight, *, types: Sequence[str], limit: int) -> list[Row] | None:
        """FTS5 gives the keys; the rows are then fetched by key. In a thread."""

        def read(db: apsw.Connection) -> list[Row] | None:
            rids = posted(db, match, limit)
            return None if len(rids) > limit else self._found(db, rids, sight, types, NOTHING)

        return await self._apart(read)

    async def latest(
        self, type_: str, sight: Sight, *, match: Match, below: Place, first: int, limit: int
    ) -> list[Row] | None:
        """Keys in a thread, in one step; the rows here. A word that few carry is looked up here sooner than there."""

        def keys(db: apsw.Connection, most: int) -> list[int] | None:
            return latest(db, self._names, type_, sight, match, below, first, most)

        rids = keys(self._reader, min(limit, _SOON)) if match.one_word else None
        if rids is None:
            rids = await self._apart(lambda db: keys(db, limit))
        return None if rids is None else self._known.rows(self._reader, rids)

    async def away(self, homes: Homes, sight: Sight, *, types: Sequence[str], match: Match) -> list[Row]:
        """By the table of them; for most persons there are none."""
        rids = {rid for fh, person in homes for rid in away(self._reader, fh, person)}
        return self._found(self._reader, list(rids), sight, types, match)

    def _found(
        self, db: apsw.Connection, rids: list[int], sight: Sight, types: Sequence[str], also: Match
    ) -> list[Row]:
        if not rids:
            return []
        where, values = sight_sql(sight, self._names)
        test, words = match_sql(also)
        sql = (
            f"SELECT {WITHOUT_BODY} FROM carray(?) AS asked CROSS JOIN row ON row.rid = asked.value"
            f" WHERE {where}{types_sql(types, self._names)}{test}"
        )
        return self._rows(db, sql, (numbers(rids), *values, *words))

    async def count(self, type_: str, sight: Sight, match: Match, between: tuple[int, int]) -> int:
        """In a thread."""
        return await self._apart(lambda db: counted(db, self._names, type_, sight, match, between))
