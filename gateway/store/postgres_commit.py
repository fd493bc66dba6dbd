"""One transaction of the PostgreSQL engine: a few packed plans under their locks, decided in memory, written at once.

Locks are taken in one order by everybody: the stripes of all hashes the plans rest on, ascending, then the one
lock under which transactions are numbered. It is held until the transaction is visible, so that no number below
the newest visible one can still appear (design-store §5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from ..errors import GatewayError
from .base import NO_TILL, Committed, src_of
from .engine import DAY_MS, SEQ_BITS, SHARED_HOMES, PackedMove, PackedPlan, Replan, home_of
from .packing import pack_written
from .postgres_database import COMMIT, STRIPES, Connection, Database, run
from .postgres_draft import Draft, Head, Later, NewRow, State, keys_of, puts_of
from .postgres_sql import LONG_MS, number_of

Cursor = psycopg.AsyncCursor[Any]
Outcome = Committed | GatewayError | Replan | Later
_ROWS_AT_ONCE = 500
LAST = "SELECT tx, at FROM tx ORDER BY tx DESC LIMIT 1"

_HEADS = (
    "SELECT d.fh, d.person, d.seq, d.ver, r.flags, r.same, r.typ, r.member, r.acl, r.src, r.id"
    " FROM unnest(%s::int8[]) AS a(fh) JOIN dir d ON d.fh = a.fh"
    " LEFT JOIN version r ON r.person = d.person AND r.seq = d.seq"
)
_SEQS = "SELECT a.p, (SELECT max(seq) FROM version WHERE person = a.p) FROM unnest(%s::int8[]) AS a(p)"
_HOLDERS = (
    "SELECT i.h, i.fh, d.ver FROM ident i JOIN dir d ON d.fh = i.fh"
    " JOIN version r ON r.person = d.person AND r.seq = d.seq WHERE i.h = ANY(%s::int8[]) AND r.flags & 2 = 0"
)
_CARRIED = (
    "SELECT i.h, max(r.from_tx) FROM ident i JOIN dir d ON d.fh = i.fh"
    " JOIN version r ON r.person = d.person AND r.seq = d.seq WHERE i.h = ANY(%s::int8[]) GROUP BY i.h"
)
_OWNERS = "SELECT src, patient FROM record WHERE src = ANY(%s::int8[])"
MOVABLE = (
    f"SELECT r.person << {SEQ_BITS} | r.seq FROM dir d JOIN version r ON r.person = d.person"
    f" WHERE d.fh = %s AND r.till_tx = {NO_TILL} AND r.flags = 0 AND r.src = ANY(%s::int8[])"
    f" AND r.typ <> {number_of('Patient')}"
)
"""Current rows of source records in one Patient's home, Patients left out."""
_NEW_ROWS = (
    "INSERT INTO version(person, seq, from_tx, till_tx, typ, flags, member, acl, ver, at, fh, src, same, prev, id,"
    " keys, body, tk) SELECT a.person, a.seq, a.from_tx, a.till_tx, a.typ, a.flags, a.member, a.acl, a.ver, a.at,"
    " a.fh, a.src, a.same, a.prev, a.id, a.keys, a.body, (%s::int8[])[a.low:a.high]"
    " FROM unnest(%s::int8[], %s::int4[], %s::int8[], %s::int8[], %s::int4[], %s::int4[], %s::int4[], %s::int4[],"
    " %s::int4[], %s::int8[], %s::int8[], %s::int8[], %s::int8[], %s::int8[], %s::text[], %s::bytea[], %s::bytea[],"
    " %s::int4[], %s::int4[]) AS a(person, seq, from_tx, till_tx, typ, flags, member, acl, ver, at, fh, src, same,"
    " prev, id, keys, body, low, high)"
)
_CLOSE = (
    "UPDATE version r SET till_tx = a.tx FROM unnest(%s::int8[], %s::int4[], %s::int8[]) AS a(person, seq, tx)"
    " WHERE r.person = a.person AND r.seq = a.seq"
)


class Group:
    """Plans that share one transaction, one number each."""

    def __init__(self, database: Database, connection: Connection, plans: Sequence[PackedPlan]) -> None:
        self._database, self._db, self._plans = database, connection, plans

    async def run(self) -> list[Outcome]:
        """What became of each plan, once the transaction around is committed."""
        await self._lock()
        state = await self._load()
        outcomes = [_settled(state, plan) for plan in self._plans]
        if state.plans:
            async with self._db.pipeline():
                await self._write(state)
        return outcomes

    async def _do(self, sql: str, rows: Iterable[Sequence[object]], *more: object) -> None:
        """Run a statement over the columns of some rows; nothing when there are none."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        if columns:
            await run(self._db, sql, (*more, *columns))

    # ---- before ------------------------------------------------------------------------------
    async def _lock(self) -> None:
        stripes = sorted({key % STRIPES for plan in self._plans for key in keys_of(plan)})
        keys = [self._database.lock(stripe) for stripe in stripes]
        await run(self._db, "SELECT count(pg_advisory_xact_lock(k)) FROM unnest(%s::int8[]) AS k", (keys,))

    async def _load(self) -> State:
        keys = {key for plan in self._plans for key in keys_of(plan)}
        found = await (await run(self._db, _HEADS, (list(keys),))).fetchall()
        heads = {fh: Head(*rest) if rest[2] else Head(rest[0]) for fh, *rest in found}
        puts = [put for plan in self._plans for put in puts_of(plan)]
        persons = {home_of(put.fh) for put in puts if not put.home} | {head.person for head in heads.values()}
        homes = {put.home for put in puts if put.home}
        claims = [claim.h for plan in self._plans for claim in plan.unclaimed]
        moves = [move for plan in self._plans for move in plan.moves]
        new = len(homes - heads.keys())
        async with self._db.pipeline():
            seqs = await run(self._db, _SEQS, (list(persons),))
            people = await run(self._db, "SELECT nextval('people') FROM generate_series(1, %s)", (new,))
            holders = await run(self._db, _HOLDERS, (claims,))
            superseded = await run(self._db, "SELECT fh FROM survivor WHERE fh = ANY(%s::int8[])", (list(homes),))
            movable = [await self._movable(move) for move in moves]
            asked = [await run(self._db, sql, values) for sql, values in _conditions(self._plans)]
            owners = await run(self._db, _OWNERS, (list({src for plan in self._plans for src, _ in plan.rests}),))
            await run(self._db, "SELECT pg_advisory_xact_lock(%s)", (self._database.lock(COMMIT),))
        held: dict[int, list[tuple[int, int]]] = {}
        for h, fh, version in await holders.fetchall():
            held.setdefault(h, []).append((fh, version))
        last = await (await run(self._db, LAST)).fetchone()
        tx, at = last or (0, 0)
        return State(
            tx, at, heads, {person: seq or 0 for person, seq in await seqs.fetchall()},
            iter([SHARED_HOMES + row[0] for row in await people.fetchall()]), held,
            {row[0] for row in await superseded.fetchall()},
            [{row[0] for row in await one.fetchall()} for one in movable],
            dict(await asked[0].fetchall()), dict(await asked[1].fetchall()),
            {row[0] for row in await asked[2].fetchall()},
            dict(await owners.fetchall()),
        )  # fmt: skip

    async def _movable(self, move: PackedMove) -> Cursor:
        return await run(self._db, MOVABLE, (move.source, list(move.move.srcs)))

    # ---- after -------------------------------------------------------------------------------
    async def _write(self, state: State) -> None:
        await self._do("INSERT INTO tx SELECT * FROM unnest(%s::int8[], %s::int8[])", state.instants.items())
        rows = list(state.rows.values())
        for at in range(0, len(rows), _ROWS_AT_ONCE):
            await self._insert(rows[at : at + _ROWS_AT_ONCE])
        await self._do(_CLOSE, [(*place, tx) for place, (tx, _) in state.closing.items()])
        await self._do("INSERT INTO closed SELECT * FROM unnest(%s::int8[], %s::int8[], %s::int8[])", state.closed)
        directory = [(fh, head.person, head.seq, head.version) for fh, head in state.changed()]
        await self._do(
            "INSERT INTO dir SELECT * FROM unnest(%s::int8[], %s::int8[], %s::int4[], %s::int4[])"
            " ON CONFLICT(fh) DO UPDATE SET person = excluded.person, seq = excluded.seq, ver = excluded.ver",
            directory,
        )
        await self._index([row for row in rows if row.shown and row.put])
        await self._count(rows)
        await self._beside(state)

    async def _insert(self, rows: list[NewRow]) -> None:
        words: list[int] = []
        values: list[tuple[object, ...]] = []
        for row in rows:
            head, put, low = row.head, row.put, len(words) + 1
            if row.shown and put:
                words += put.words
            values.append((
                head.person, head.seq, row.tx, row.till, head.typ, head.flags, head.member, head.acl, head.version,
                row.at, row.fh, head.src, head.same, row.prev, head.id, put.keys if put else b"",
                put.body if put else b"", low, len(words),
            ))  # fmt: skip
        await self._do(_NEW_ROWS, values, words)

    async def _index(self, rows: list[NewRow]) -> None:
        dates: list[tuple[object, ...]] = []
        texts: list[tuple[object, ...]] = []
        idents: dict[tuple[int, int], int] = {}
        for row in rows:
            head, put = row.head, row.put
            assert put is not None
            dates += [
                (head.typ, param, lo, hi, head.person, head.seq, int(hi - lo > LONG_MS)) for param, lo, hi in put.dates
            ]
            texts += [(head.typ, param, head.person, head.seq, text.encode()) for param, text in put.texts]
            idents.update({(h, row.fh): head.person for h in put.idents})
        await self._do(
            "INSERT INTO date_order SELECT * FROM unnest(%s::int4[], %s::int4[], %s::int8[], %s::int8[], %s::int8[],"
            " %s::int4[], %s::int4[]) ON CONFLICT DO NOTHING",
            dates,
        )
        await self._do(
            "INSERT INTO text_order SELECT * FROM unnest(%s::int4[], %s::int4[], %s::int8[], %s::int4[], %s::bytea[])"
            " ON CONFLICT DO NOTHING",
            texts,
        )
        await self._do(
            "INSERT INTO ident SELECT * FROM unnest(%s::int8[], %s::int8[], %s::int8[])"
            " ON CONFLICT(h, fh) DO UPDATE SET person = excluded.person WHERE ident.person <> excluded.person",
            [(*key, person) for key, person in idents.items()],
        )
        await self._survivors(rows)

    async def _survivors(self, rows: list[NewRow]) -> None:
        led = {row.fh: row.put.survivor for row in rows if row.put and row.put.type == "Patient"}
        staying = [fh for fh, survivor in led.items() if not survivor]
        if staying:
            await run(self._db, "DELETE FROM survivor WHERE fh = ANY(%s::int8[])", (staying,))
        await self._do(
            "INSERT INTO survivor SELECT * FROM unnest(%s::int8[], %s::text[])"
            " ON CONFLICT(fh) DO UPDATE SET id = excluded.id",
            [(fh, survivor) for fh, survivor in led.items() if survivor],
        )

    async def _count(self, rows: list[NewRow]) -> None:
        await self._do(
            "INSERT INTO size SELECT * FROM unnest(%s::int4[], %s::int8[])"
            " ON CONFLICT(typ) DO UPDATE SET n = size.n + excluded.n",
            Counter(row.head.typ for row in rows).items(),
        )
        await self._do(
            "INSERT INTO fresh SELECT * FROM unnest(%s::int4[], %s::int8[])"
            " ON CONFLICT(member) DO UPDATE SET at = excluded.at",
            {row.head.member: row.at for row in rows}.items(),
        )

    async def _beside(self, state: State) -> None:
        records = {src_of(r.member, r.local_number): r for _, plan, _ in state.plans for r in plan.records}
        await self._do(
            "INSERT INTO record SELECT * FROM unnest(%s::int8[], %s::text[], %s::bytea[], %s::text[], %s::bytea[],"
            " %s::text[], %s::text[]) ON CONFLICT(src) DO UPDATE SET patient = excluded.patient,"
            " content = excluded.content, said_at = excluded.said_at, state = excluded.state",
            [
                (src, r.member, r.local_number.encode(), r.patient, r.content, r.said_at, r.state)
                for src, r in records.items()
            ],
        )
        for move in [one.move for _, plan, _ in state.plans for one in plan.moves]:
            sql = "UPDATE record SET patient = %s WHERE patient = %s AND src = ANY(%s::int8[])"
            await run(self._db, sql, (move.to_patient, move.from_patient, list(move.srcs)))
        await self._do(
            "INSERT INTO effect(tx, said) SELECT * FROM unnest(%s::int8[], %s::bytea[])",
            [(tx, said) for tx, plan, _ in state.plans for said in plan.audits],
        )
        settled = {key: (tx, outcome) for tx, plan, _ in state.plans for key, outcome in plan.done}
        await self._do(
            "INSERT INTO done SELECT * FROM unnest(%s::text[], %s::int8[], %s::bytea[])"
            " ON CONFLICT(raw_key) DO UPDATE SET tx = excluded.tx, outcome = excluded.outcome",
            [(key, *rest) for key, rest in settled.items()],
        )
        await self._do(
            "INSERT INTO criteria SELECT * FROM unnest(%s::int8[], %s::int8[], %s::int8[])"
            " ON CONFLICT(h) DO UPDATE SET tx = excluded.tx, at = excluded.at",
            [(h, tx, state.instants[tx]) for h, tx in state.claimed.items() if tx in state.instants],
        )
        await self._do(
            "INSERT INTO answer SELECT * FROM unnest(%s::int8[], %s::int8[], %s::int8[], %s::bytea[], %s::bytea[],"
            " %s::bytea[]) ON CONFLICT(h) DO UPDATE SET tx = excluded.tx, at = excluded.at, digest = excluded.digest,"
            " said = excluded.said, written = excluded.written",
            [
                (plan.once.key, tx, state.instants[tx], plan.once.digest, plan.once.said, pack_written(written))
                for tx, plan, written in state.plans
                if plan.once is not None
            ],
        )


def _conditions(plans: Sequence[PackedPlan]) -> list[tuple[str, tuple[object, ...]]]:
    """Questions about what the plans rest on: identifiers, criteria, Idempotency-Keys."""
    asked = [one for plan in plans for one in plan.conditions]
    once = [plan.once.key for plan in plans if plan.once is not None]
    since = max((int(plan.at.timestamp() * 1000) for plan in plans), default=0) - DAY_MS
    return [
        (_CARRIED, ([one.h for one in asked if not one.claims],)),
        ("SELECT h, tx FROM criteria WHERE h = ANY(%s::int8[])", ([one.h for one in asked if one.claims],)),
        ("SELECT h FROM answer WHERE h = ANY(%s::int8[]) AND at > %s", (once, since)),
    ]


def _settled(state: State, plan: PackedPlan) -> Outcome:
    try:
        return Draft(state, plan).settle()
    except (GatewayError, Replan, Later) as fault:
        return fault
