"""PostgreSQL: versions keyed (person, seq), postings in an array with a GIN index, several gateway processes at once.

Every statement sees a snapshot of its own and every row carries the transactions it is true between, so a page
made of several statements is still of one moment.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from datetime import datetime

from .base import Committed, Move, fh_of
from .bodies import instant_of
from .engine import (
    DELETED,
    LATEST,
    NOTHING,
    SEQ_BITS,
    Homes,
    Indexed,
    Match,
    PackedPlan,
    Place,
    Placed,
    Row,
    Sight,
    Span,
    by_records,
    names_of,
    puts_of,
    tallied,
)
from .figures import Commits
from .pages import Pages
from .postgres_beside import NOTE, Beside
from .postgres_commit import MOVABLE
from .postgres_database import Database, open_database, run, transaction, translated
from .postgres_known import Known
from .postgres_reads import SharedReads
from .postgres_sql import (
    BY_RID,
    NEWEST,
    OLDEST,
    SEQ_MASK,
    TYPES,
    WITH_BODY,
    WITHOUT_BODY,
    Bound,
    Names,
    head_sql,
    match_sql,
    number_of,
    sight_sql,
    sizes_sql,
    split,
    table_of,
    types_sql,
)
from .postgres_upkeep import indexed, purge
from .postgres_walk import OrderedWalk
from .postgres_writer import Committer
from .postgres_zones import PostgresZones

_LARGE, _SIZE_S = 1_000, 10.0


class PostgresEngine(Beside):
    """Rows in one schema. Made by `open_engine`."""

    def __init__(self, database: Database, store_key: bytes) -> None:
        super().__init__(database)
        self.store_key = store_key
        self.zones = PostgresZones(database)
        self._committer = Committer(database)
        self._names = Names()
        self._known = Known(database)
        self._newest = (0, 0)
        self._sizes: dict[str, tuple[int, float]] = {}
        self._reads: SharedReads[Sight, Row] = SharedReads(self._current)
        self._holding: SharedReads[Sight, list[Row]] = SharedReads(self._holders)
        self._led: SharedReads[None, str] = SharedReads(self._survivors)
        self._numbered: SharedReads[None, int] = SharedReads(self._persons)
        self._aside: SharedReads[None, list[int]] = SharedReads(self._keys_away)

    @property
    def pages(self) -> Pages:
        """True as of the last moment asked for."""
        return self._known.pages

    @property
    def commits(self) -> Commits:
        """Of this process."""
        return self._committer.commits

    # ---- helpers -----------------------------------------------------------------------------
    async def _rows(self, sql: str, values: Bound, *, steady: bool = False) -> list[Row]:
        return await self._named(await self.database.select(sql, values, steady=steady))

    async def _named(self, found: list[Bound]) -> list[Row]:
        try:
            return self._names.rows(found)
        except KeyError:  # a type or member another process was the first to write
            await self.learn()
            return self._names.rows(found)

    async def learn(self) -> None:
        """Read the names of types and members again."""
        self._names.load(await self.database.select("SELECT no, text FROM name"))

    # ---- one moment --------------------------------------------------------------------------
    def horizon(self) -> tuple[int, datetime]:
        """The newest transaction this process has heard of."""
        tx, at = self._newest
        return tx, instant_of(at)

    async def moment(self) -> tuple[int, datetime]:
        """The newest transaction of all processes."""
        tx, at = await self._known.moment()
        self._heard(tx, at)
        return tx, instant_of(at)

    def _heard(self, tx: int, at: int) -> None:
        self._newest = max(self._newest, (tx, at))

    async def size(self, type_: str) -> int:
        """Kept by the commits; a large one is believed for a while, a search weighs its ways with it."""
        known, until = self._sizes.get(type_, (0, 0.0))
        if time.monotonic() > until:
            found = await self.database.one("SELECT sum(n)::int8 FROM size WHERE typ = %s", (number_of(type_),))
            known = (found[0] or 0) if found else 0
            self._sizes[type_] = known, time.monotonic() + (_SIZE_S if known >= _LARGE else 0)
        return known

    async def tally(self, type_: str, sight: Sight) -> tuple[int, int] | None:
        """Kept by the commits."""
        if by_records(type_, sight):
            return None
        sql = "SELECT member, acl, flags, live, (SELECT max(tx) FROM tx) FROM size WHERE typ = %s"
        found = await self.database.select(sql, (number_of(type_),))
        if any(row[0] not in self._names.text for row in found):
            await self.learn()
        total = tallied([(self._names.text[row[0]], *row[1:4]) for row in found], sight)
        return total, found[0][4] if found else sight.as_of

    async def wordings(self, type_: str, param: int, start: str, limit: int) -> list[int] | None:
        """By the table of words."""
        sql = (
            "SELECT DISTINCT word FROM wording WHERE typ = %s AND param = %s AND text >= %s AND text < %s || '\\xff'"
            " LIMIT %s"
        )
        found = await self.database.select(sql, (number_of(type_), param, start.encode(), start.encode(), limit + 1))
        return [row[0] for row in found] if len(found) <= limit else None

    async def first_tx(self, at_ms: int) -> int:
        """By the index of instants: they never go back while numbers go up."""
        found = await self.database.one("SELECT tx FROM tx WHERE at >= %s ORDER BY at, tx LIMIT 1", (at_ms,))
        return found[0] if found else (await self.moment())[0] + 1

    # ---- by id -------------------------------------------------------------------------------
    async def current(self, fhs: Sequence[int], sight: Sight) -> dict[int, Row]:
        """Together with whoever else asks in this turn of the loop."""
        return await self._reads.get(fhs, sight)

    async def _current(self, fhs: Sequence[int], sight: Sight) -> dict[int, Row]:
        """The directory, then the row; a row too young for the sight leads back along its versions."""
        where, values = sight_sql(sight)
        sql = (
            f"SELECT {WITH_BODY} FROM unnest(%s::int8[]) AS a(fh) JOIN dir d ON d.fh = a.fh"
            f" JOIN version r ON r.person = d.person AND r.seq = d.seq WHERE d.ver > 0 AND {where}"
        )
        found = {row.fh: row for row in await self._rows(sql, (list(fhs), *values), steady=True)}
        lacking = [fh for fh in fhs if fh not in found]
        if lacking and sight.as_of < LATEST:
            found.update({row.fh: row for row in await self._older(lacking, sight)})
        return found

    async def _older(self, fhs: list[int], sight: Sight) -> list[Row]:
        where, values = sight_sql(sight)
        sql = (
            f"WITH RECURSIVE v AS (SELECT d.person << {SEQ_BITS} | d.seq AS rid, r.from_tx, r.prev"
            " FROM unnest(%s::int8[]) AS f(fh) JOIN dir d ON d.fh = f.fh"
            " JOIN version r ON r.person = d.person AND r.seq = d.seq WHERE d.ver > 0 AND r.from_tx > %s"
            f" UNION ALL SELECT a.rid, r.from_tx, r.prev FROM (SELECT prev AS rid FROM v WHERE from_tx > %s) AS a"
            f" {BY_RID}) SELECT {WITH_BODY} FROM (SELECT rid FROM v WHERE from_tx <= %s) AS a {BY_RID} WHERE {where}"
        )
        return await self._rows(sql, (fhs, sight.as_of, sight.as_of, sight.as_of, *values))

    async def chain(self, fh: int, *, below: int, limit: int) -> list[Row]:
        """Along `prev`, newest first."""
        sql = (
            f"WITH RECURSIVE v AS (SELECT d.person << {SEQ_BITS} | d.seq AS rid, d.ver, r.prev FROM dir d"
            " JOIN version r ON r.person = d.person AND r.seq = d.seq WHERE d.fh = %s AND d.ver > 0"
            f" UNION ALL SELECT a.rid, r.ver, r.prev FROM (SELECT prev AS rid FROM v) AS a {BY_RID})"
            f" SELECT {WITH_BODY} FROM (SELECT rid FROM v WHERE ver < %s LIMIT %s) AS a {BY_RID} ORDER BY r.ver DESC"
        )
        return await self._rows(sql, (fh, below, limit))

    async def rows(self, rids: Sequence[int], sight: Sight, match: Match = NOTHING) -> dict[int, Row]:
        """Rows by key that match, with bodies."""
        where, values = sight_sql(sight)
        also, words = match_sql(match)
        sql = f"SELECT {WITH_BODY} FROM unnest(%s::int8[]) AS a(rid) {BY_RID} WHERE {where}{also}"
        return {row.rid: row for row in await self._rows(sql, (list(rids), *values, *words), steady=True)}

    async def deletions(self, rids: Sequence[int]) -> set[int]:
        """By their flags."""
        sql = f"SELECT a.rid FROM unnest(%s::int8[]) AS a(rid) {BY_RID} WHERE r.flags & {DELETED} <> 0"
        return {row[0] for row in await self.database.select(sql, (list(rids),), steady=True)}

    async def person(self, fh: int) -> int | None:
        """Person number of a Patient ever mentioned; once given it stays, so it is asked once."""
        known = self._known.person(fh)
        if known is None:
            known = (await self._numbered.get((fh,), None)).get(fh)
            if known is not None:
                self._known.keep_person(fh, known)
        return known

    async def _persons(self, fhs: Sequence[int], _: None) -> dict[int, int]:
        sql = "SELECT fh, person FROM dir WHERE fh = ANY(%s::int8[])"
        return dict(await self.database.select(sql, (list(fhs),), steady=True))

    async def survivors(self, fhs: Sequence[int]) -> dict[int, str]:
        """Ids of the Patients that replace superseded ones; every write about a person asks."""
        return await self._led.get(fhs, None)

    async def led(self, fhs: Sequence[int]) -> dict[int, str]:
        """Of most Patients it is remembered that nobody replaces them."""
        if not self._known.unknown(fhs):
            return self._known.survivors(fhs)
        turn = self.pages.turn
        found = await self._led.get(fhs, None)
        if self.pages.turn == turn:
            self._known.keep_survivors(fhs, found)
        return found

    async def _survivors(self, fhs: Sequence[int], _: None) -> dict[int, str]:
        sql = "SELECT fh, id FROM survivor WHERE fh = ANY(%s::int8[])"
        return dict(await self.database.select(sql, (list(fhs),), steady=True))

    # ---- scans -------------------------------------------------------------------------------
    async def home(
        self, person: int, sight: Sight, *, types: Sequence[str], match: Match, below: int, limit: int, bodies: bool
    ) -> list[Row]:
        """One range of rows, newest first."""
        where, values = sight_sql(sight)
        also, words = match_sql(match)
        sql = (
            f"SELECT {WITH_BODY if bodies else WITHOUT_BODY} FROM version r WHERE r.person = %s AND r.seq < %s"
            f" AND {where}{types_sql(types)}{also} ORDER BY r.seq DESC LIMIT %s"
        )
        top = max(0, min(below - (person << SEQ_BITS), SEQ_MASK + 1))
        return await self._rows(sql, (person, top, *values, *words, limit), steady=not match)

    async def homes(
        self, persons: Sequence[int], sight: Sight, *, types: Sequence[str], match: Match, below: Place, limit: int
    ) -> list[Row]:
        """The newest of each, merged by the server."""
        where, values = sight_sql(sight)
        also, words = match_sql(match)
        sql = (
            "SELECT r.* FROM unnest(%s::int8[]) AS o(person) CROSS JOIN LATERAL"
            f" (SELECT {WITH_BODY} FROM version r WHERE r.person = o.person"
            " AND (r.from_tx, r.person, r.seq) < (%s, %s, %s)"
            f" AND {where}{types_sql(types)}{also} ORDER BY r.seq DESC LIMIT %s) AS r(rid, from_tx)"
            " ORDER BY r.from_tx DESC, r.rid DESC LIMIT %s"
        )
        return await self._rows(sql, (list(persons), below[0], *split(below[1]), *values, *words, limit, limit))

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
        """Along (type, transaction)."""
        where, values = sight_sql(sight)
        also, words = match_sql(match)
        place, at = "", ()  # type: tuple[str, Bound]
        if after is not None:
            place = f" AND (r.from_tx, r.person, r.seq) {'>' if ascending else '<'} (%s, %s, %s)"
            at = (after[0], *split(after[1]))
        sql = (
            f"SELECT {WITH_BODY if bodies else WITHOUT_BODY} FROM {table_of((type_,))} r"
            f" WHERE r.typ = %s AND r.from_tx BETWEEN %s AND %s{place}"
            f" AND {where}{also} {OLDEST if ascending else NEWEST} LIMIT %s"
        )
        return await self._rows(sql, (number_of(type_), *between, *at, *values, *words, limit))

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
        """Type by type along (type, transaction), merged by the server."""
        sql = (
            f"SELECT r.* FROM {TYPES} CROSS JOIN LATERAL (SELECT {WITH_BODY} FROM version r JOIN dir d ON d.fh = r.fh"
            " JOIN version h ON h.person = d.person AND h.seq = d.seq WHERE r.typ = size.typ"
            " AND r.from_tx BETWEEN %s AND %s AND r.till_tx >= %s AND (r.from_tx, r.person, r.seq) < (%s, %s, %s)"
            f"{head_sql(sight)} {NEWEST} LIMIT %s) AS r(rid, from_tx) WHERE {sizes_sql(types, sight)}"
            " ORDER BY r.from_tx DESC, r.rid DESC LIMIT %s"
        )
        place = (below[0], *split(below[1]))
        return await self._rows(sql, (*between, alive, *place, limit, limit))

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
        """Along an ordered table; short and long date ranges are walked apart and merged."""
        walk = OrderedWalk(type_, sight, span, match, after, limit, descending)
        found = [row for sql, values in walk.statements() for row in await self.database.select(sql, values)]
        rows = await self._named([row[1:] for row in found])
        values = [row[0].decode() if span.table == "text" else row[0] for row in found]
        return walk.merged(map(Placed, values, rows))

    # ---- postings ----------------------------------------------------------------------------
    async def hits(
        self,
        match: Match,
        sight: Sight,
        *,
        types: Sequence[str],
        limit: int,
    ) -> list[Row] | None:
        """Rows by the GIN index, or along the table where the server knows that nearly all rows match."""
        where, values = sight_sql(sight)
        asked, words = match_sql(Match(match.all, match.none), by_postings=True)
        rows_of = f"{table_of(types)} r WHERE {where}{asked}{types_sql(types, found=True)}"
        sql = f"SELECT {WITHOUT_BODY} FROM {rows_of} LIMIT %s"
        rows = await self._rows(sql, (*values, *words, limit + 1))
        return None if len(rows) > limit else rows

    async def latest(
        self, type_: str, sight: Sight, *, match: Match, below: Place, first: int, limit: int
    ) -> list[Row] | None:
        """Keys of all that is found; the server sorts them, and reads no more rows than are given."""
        where, values = sight_sql(sight)
        asked, words = match_sql(Match(match.all, match.none), by_postings=True)
        table = table_of((type_,))
        sql = (
            f"WITH hit AS MATERIALIZED (SELECT r.person, r.seq, r.from_tx FROM {table} r"
            f" WHERE {where}{asked}{types_sql((type_,), found=True)} LIMIT %s)"
            f" SELECT met, {WITH_BODY} FROM (SELECT count(*) AS met FROM hit) AS m LEFT JOIN (SELECT * FROM hit"
            f" WHERE (from_tx, person, seq) < (%s, %s, %s) {NEWEST.replace('r.', '')} LIMIT %s) AS a"
            f" JOIN {table} r ON r.person = a.person AND r.seq = a.seq ON met <= %s {NEWEST}"
        )
        place = (below[0], *split(below[1]))
        found = await self.database.select(sql, (*values, *words, limit + 1, *place, first, limit))
        if found[0][0] > limit:
            return None
        return await self._named([row[1:] for row in found if row[1] is not None])

    async def away(self, homes: Homes, sight: Sight, *, types: Sequence[str], match: Match) -> list[Row]:
        """By the table of them, asked together with whoever else asks; most persons have none."""
        aside = await self._aside.get([fh for fh, _ in homes], None)
        rids = [rid for fh, person in homes for rid in aside.get(fh, ()) if rid >> SEQ_BITS != person]
        found = (await self.rows(rids, sight, match)).values() if rids else ()
        return [row for row in found if not types or row.type in types]

    async def _keys_away(self, fhs: Sequence[int], _: None) -> dict[int, list[int]]:
        sql = f"SELECT fh, array_agg(person << {SEQ_BITS} | seq) FROM away WHERE fh = ANY(%s::int8[]) GROUP BY fh"
        return dict(await self.database.select(sql, (list(fhs),), steady=True))

    async def count(self, type_: str, sight: Sight, match: Match, between: tuple[int, int]) -> int:
        """Counted by the server."""
        where, values = sight_sql(sight)
        also, words = match_sql(match)
        rows_of = f"{table_of((type_,))} r WHERE r.typ = %s AND r.from_tx BETWEEN %s AND %s AND {where}{also}"
        sql = f"SELECT count(*) FROM {rows_of}"
        found = await self.database.one(sql, (number_of(type_), *between, *values, *words))
        return int(found[0])

    async def identified(self, h: int, sight: Sight) -> list[Row]:
        """By the directory of identifiers; together with whoever else asks in this turn of the loop."""
        return (await self._holding.get((h,), sight)).get(h, [])

    async def _holders(self, hs: Sequence[int], sight: Sight) -> dict[int, list[Row]]:
        where, values = sight_sql(sight)
        sql = (
            f"SELECT a.h, {WITH_BODY} FROM unnest(%s::int8[]) AS a(h) JOIN ident i ON i.h = a.h"
            " JOIN dir d ON d.fh = i.fh JOIN version r ON r.person = d.person AND r.seq = d.seq"
            f" WHERE d.ver > 0 AND {where}"
        )
        found = await self.database.select(sql, (list(hs), *values), steady=True)
        held: dict[int, list[Row]] = {}
        for (h, *_), row in zip(found, await self._named([one[1:] for one in found]), strict=True):
            held.setdefault(h, []).append(row)
        return held

    async def to_move(self, move: Move) -> list[Row]:
        """Rows of the source records at home with the Patient moved from, with bodies."""
        sql = f"SELECT {WITH_BODY} FROM ({MOVABLE}) AS a(rid) {BY_RID}"
        return await self._rows(sql, (fh_of("Patient", move.from_patient), list(move.srcs)))

    async def changes(self, after: int, upto: int, sight: Sight, limit: int) -> list[Row]:
        """Type by type along (type, transaction), merged by the server."""
        where, values = sight_sql(sight)
        sql = (
            f"SELECT r.* FROM {TYPES} CROSS JOIN LATERAL (SELECT {WITH_BODY} FROM version r WHERE r.typ = size.typ"
            f" AND r.from_tx > %s AND r.from_tx <= %s AND {where} {OLDEST} LIMIT %s) AS r(rid, from_tx)"
            " ORDER BY r.from_tx, r.rid LIMIT %s"
        )
        return await self._rows(sql, (after, upto, *values, limit, limit))

    # ---- writing -----------------------------------------------------------------------------
    async def commit(self, plan: PackedPlan) -> Committed:
        """New names first, in a commit of their own; then the plan, together with whoever else waits."""
        new = self._names.missing(names_of(plan))
        if new:
            await self._introduce(new)
        done = await self._committer.commit(plan)
        self.database.wordings.told(puts_of(plan))
        self._heard(done.tx, round(done.at.timestamp() * 1000))
        return done

    async def _introduce(self, names: list[str]) -> None:
        with translated():
            async with transaction(self.database.writing) as connection:
                sql = "INSERT INTO name SELECT * FROM unnest(%s::int4[], %s::text[]) ON CONFLICT DO NOTHING"
                await run(connection, sql, ([number_of(name) for name in names], names))
        await self.learn()
        self._names.missing(names)

    async def settle(self) -> int:
        """Nothing to do: the server works off what waits to go into its index by itself."""
        return 0

    async def purge(self, before: datetime, limit: int) -> int:
        """Postings and ordered entries of versions closed before an instant."""
        with translated():
            async with transaction(self.database.writing) as connection:
                return await purge(connection, int(before.timestamp() * 1000), limit)

    async def indexed(self, fresh: Sequence[Indexed]) -> None:
        """All in one transaction, each row locked while it changes."""
        with translated():
            async with transaction(self.database.writing) as connection:
                for one in fresh:
                    await indexed(connection, one)
                await run(connection, "DELETE FROM zone")
                await run(connection, NOTE, ("indexed", secrets.token_bytes(8)))  # all processes forget their pages
        self.zones.forget()

    async def forget(self, claimed: datetime, kept: datetime) -> None:
        """Old claims and answers."""
        with translated():
            async with transaction(self.database.writing) as connection:
                for table, before in (("criteria", claimed), ("answer", kept)):
                    await run(connection, f"DELETE FROM {table} WHERE at < %s", (int(before.timestamp() * 1000),))

    async def close(self) -> None:
        """Commit what waits, let the connections go."""
        await self._committer.close()
        await self.database.close()


async def open_engine(url: str) -> PostgresEngine:
    """The engine on the schema the URL's search path names. Raises ConfigError, UnsafeStore, StoreError."""
    database = await open_database(url)
    with translated():
        async with transaction(database.writing) as connection:
            sql = "INSERT INTO meta VALUES('key', %s) ON CONFLICT DO NOTHING"
            await run(connection, sql, (secrets.token_bytes(32),))
    key = await database.one("SELECT value FROM meta WHERE name = 'key'")
    engine = PostgresEngine(database, key[0])
    await engine.learn()
    await engine.moment()
    return engine
