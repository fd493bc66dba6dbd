"""A group of packed plans, committed together: looked up, decided in memory, written by one call of the server.

Deciding holds no lock. `settle` (migration 0004) takes the one under which transactions are numbered, looks again at
what the group rests on when others committed meanwhile, writes and commits; so the lock is held for as long as the
server needs, however busy this process is. It is held until the transaction is visible, so that no number below the
newest visible one can still appear (design-store §5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..errors import GatewayError
from .aside import aside
from .base import NO_TILL, Committed, src_of
from .engine import DAY_MS, DELETED, SEQ_BITS, SHARED_HOMES, PackedPlan, Replan, puts_of
from .packing import pack_written
from .postgres_database import COMMIT, Connection, Database, run
from .postgres_draft import Draft, Grounds, Head, Later, NewRow, Settled, State, grounds_of
from .postgres_sql import LONG_MS, number_of
from .stand import stored_stand

Refused = GatewayError | Replan | Later
Outcome = Committed | Refused
_MANY = 200
"""Groups of more rows than this are decided in a thread, so that others are served meanwhile."""
LAST = "SELECT tx, at FROM tx ORDER BY tx DESC LIMIT 1"

_HEADS = (
    "SELECT d.fh, d.person, d.seq, d.ver, r.flags, r.same, r.typ, r.member, r.acl, r.src, r.id"
    " FROM unnest(%s::int8[]) AS a(fh) JOIN dir d ON d.fh = a.fh"
    " LEFT JOIN version r ON r.person = d.person AND r.seq = d.seq"
)
_SEQS = (
    "SELECT a.p, (SELECT max(seq) FROM version WHERE person = a.p)"
    " FROM (SELECT person FROM dir WHERE fh = ANY(%s::int8[]) UNION SELECT * FROM unnest(%s::int8[])) AS a(p)"
)
_PEOPLE = (
    "SELECT nextval('people') FROM unnest(%s::int8[]) AS a(fh) WHERE NOT EXISTS (SELECT FROM dir d WHERE d.fh = a.fh)"
)
_HOLDERS = (
    "SELECT i.h, i.fh, d.ver FROM ident i JOIN dir d ON d.fh = i.fh"
    " JOIN version r ON r.person = d.person AND r.seq = d.seq WHERE i.h = ANY(%s::int8[]) AND r.flags & 2 = 0"
)
_CARRIED = (
    "SELECT i.h, max(r.from_tx) FROM ident i JOIN dir d ON d.fh = i.fh"
    " JOIN version r ON r.person = d.person AND r.seq = d.seq WHERE i.h = ANY(%s::int8[]) GROUP BY i.h"
)
_SURVIVORS = "SELECT fh, id FROM survivor WHERE fh = ANY(%s::int8[])"
_CRITERIA = "SELECT h, tx FROM criteria WHERE h = ANY(%s::int8[])"
_ANSWERED = "SELECT h FROM answer WHERE h = ANY(%s::int8[]) AND at > %s"
_RECORDS = "SELECT src, patient, content, said_at, state FROM record WHERE src = ANY(%s::int8[])"
MOVABLE = (
    f"SELECT r.person << {SEQ_BITS} | r.seq FROM dir d JOIN version r ON r.person = d.person"
    f" WHERE d.fh = %s AND r.till_tx = {NO_TILL} AND r.flags = 0 AND r.src = ANY(%s::int8[])"
    f" AND r.typ <> {number_of('Patient')}"
)
"""Current rows of source records in one Patient's home, Patients left out."""
_LYING = " UNION ".join(
    f"SELECT r.fh FROM {source} AND r.till_tx = {NO_TILL} AND r.flags & {DELETED} = 0"
    f" AND r.typ <> {number_of('Patient')}"
    for source in (
        "dir d JOIN version r ON r.person = d.person WHERE d.fh = %s", "version r WHERE r.tk @> ARRAY[%s]::int8[]"
    )
) + " LIMIT %s"  # fmt: skip
_FOLLOW = "UPDATE record SET patient = %s WHERE patient = %s AND src = ANY(%s::int8[])"
_SETTLE = f"SELECT base, floor FROM settle({', '.join(['%s'] * 28)})"


class Group:
    """Plans that share one transaction, one number each."""

    def __init__(self, database: Database, connection: Connection, plans: Sequence[PackedPlan]) -> None:
        self._database, self._db, self._plans = database, connection, plans
        self._many = sum(len(puts_of(plan)) for plan in plans) > _MANY

    async def lock(self) -> None:
        """From here to the end of the transaction around nobody else commits."""
        await run(self._db, "SELECT pg_advisory_xact_lock(%s)", (self._database.lock(COMMIT),))

    async def run(self) -> list[Outcome]:
        """What became of each plan. Raises SerializationFailure or UniqueViolation when it must be decided again."""
        on = await aside(self._many, grounds_of, self._plans)
        base, floor, state = await self._load(on)
        settled, values = await aside(self._many, self._decide, on, state)
        if state.plans:
            cursor = await run(self._db, _SETTLE, (self._database.lock(COMMIT), base, *values))
            base, floor = (await cursor.fetchall())[0]
            for move in [one.move for _, plan, _ in state.plans for one in plan.moves]:
                await run(self._db, _FOLLOW, (move.to_patient, move.from_patient, list(move.srcs)))
        return [one.committed(base, floor) if isinstance(one, Settled) else one for one in settled]

    # ---- before ------------------------------------------------------------------------------
    async def _load(self, on: Grounds) -> tuple[int, int, State]:
        """The newest transaction, asked first, and what the plans rest on."""
        moves = [move for plan in self._plans for move in plan.moves]
        vacant = [(one.fh, one.word, len(plan.deletes) + 1) for plan in self._plans for one in plan.vacant]
        since = max(int(plan.at.timestamp() * 1000) for plan in self._plans) - DAY_MS
        async with self._db.pipeline():
            last = await run(self._db, LAST)
            asked = [
                # In this order: whoever appears in between is a home nobody has a number for yet, never the reverse.
                await run(self._db, _PEOPLE, (on.homes,)),
                await run(self._db, _SEQS, (on.resources, on.shared)),
                await run(self._db, _HEADS, (on.resources,)),
                await run(self._db, _HOLDERS, (on.claims,)),
                await run(self._db, _SURVIVORS, (on.homes + on.led,)),
                await run(self._db, _CARRIED, (on.identifiers,)),
                await run(self._db, _CRITERIA, (on.criteria,)),
                await run(self._db, _ANSWERED, (on.keys, since)),
                await run(self._db, _RECORDS, (on.srcs,)),
            ]
            movable = [await run(self._db, MOVABLE, (move.source, list(move.move.srcs))) for move in moves]
            lying = [await run(self._db, _LYING, bound) for bound in vacant]
        base, floor = (await last.fetchone()) or (0, 0)
        people, seqs, found, holders, survivors, carried, claimed, answered, records = [
            await one.fetchall() for one in asked
        ]
        heads = {fh: Head(*rest) if rest[2] else Head(rest[0]) for fh, *rest in found}
        held: dict[int, list[tuple[int, int]]] = {}
        for h, fh, version in holders:
            held.setdefault(h, []).append((fh, version))
        stands = {src: stored_stand(*said) for src, *said in records}
        state = State(
            heads, {person: seq or 0 for person, seq in seqs}, iter([SHARED_HOMES + row[0] for row in people]), held,
            dict(survivors), [{row[0] for row in await one.fetchall()} for one in movable],
            [[row[0] for row in await one.fetchall()] for one in lying],
            dict(carried), dict(claimed), {row[0] for row in answered}, stands, frozenset(heads),
        )  # fmt: skip
        return base, floor, state

    # ---- after -------------------------------------------------------------------------------
    def _decide(self, on: Grounds, state: State) -> tuple[list[Settled | Refused], tuple[object, ...]]:
        stands = self._database.packed("record_stand", [(src, state.stands.get(src, "")) for src in on.srcs])
        homes, lasts = list(state.seqs), list(state.seqs.values())
        settled = [_settled(state, plan) for plan in self._plans]
        grounds = (on.resources, on.claims + on.identifiers, on.criteria + on.keys, stands, homes, lasts)
        return settled, (*grounds, *self._written(state)) if state.plans else ()

    def _written(self, state: State) -> tuple[object, ...]:
        """What `settle` writes, in the order of its parameters."""
        rows = list(state.rows.values())
        ended = [((at, *place), tx) for place, (tx, at) in state.closing.items()]
        entries = [((fh, head.person, head.seq, head.version), fh in state.known) for fh, head in state.changed()]
        packed = self._database.packed
        return (
            state.instants,
            packed("version", map(_version, rows)),
            packed("closed", [one for one, _ in ended]),
            [tx for _, tx in ended],
            packed("dir", [entry for entry, known in entries if not known]),
            packed("dir", [entry for entry, known in entries if known]),
            *self._index([row for row in rows if row.shown and row.put]),
            packed("size", _sizes(rows, state.gone)),
            packed("fresh", _sent(state).items()),
            *self._beside(state),
        )

    def _index(self, rows: list[NewRow]) -> tuple[object, ...]:
        dates: list[tuple[int, ...]] = []
        texts: list[tuple[object, ...]] = []
        aways: list[tuple[int, ...]] = []
        wordings: dict[tuple[object, ...], None] = {}
        idents: dict[tuple[int, int], int] = {}
        led: dict[int, str] = {}
        for row in rows:
            head, put = row.head, row.put
            assert put is not None
            dates += [
                (head.typ, param, lo, hi, head.person, head.seq, int(hi - lo > LONG_MS)) for param, lo, hi in put.dates
            ]
            texts += [(head.typ, param, head.person, head.seq, text.encode()) for param, text in put.texts]
            aways += [(fh, head.person, head.seq) for fh in put.away]
            new = self._database.wordings.new(put)
            wordings |= {(word, head.typ, param, text.encode()): None for param, text, word in new}
            idents.update({(h, row.fh): head.person for h in put.idents})
            if put.type == "Patient":
                led[row.fh] = put.survivor
        packed = self._database.packed
        return (
            packed("date_order", dates),
            packed("text_order", texts),
            packed("away", aways),
            packed("wording", wordings),
            packed("ident", [(*key, person) for key, person in idents.items()]),
            [fh for fh, survivor in led.items() if not survivor],
            packed("survivor", [one for one in led.items() if one[1]]),
        )

    def _beside(self, state: State) -> tuple[object, ...]:
        records = {src_of(r.member, r.local_number): r for _, plan, _ in state.plans for r in plan.records}
        done = {key: (key, tx, outcome) for tx, plan, _ in state.plans for key, outcome in plan.done}
        packed = self._database.packed
        return (
            packed("source_record", [
                (src, r.member, r.local_number.encode(), r.patient, r.content, r.said_at, r.state)
                for src, r in records.items()
            ]),
            packed("effect", [(0, tx, said) for tx, plan, _ in state.plans for said in plan.audits]),
            packed("done", done.values()),
            packed("criteria", [(h, tx, state.instants[tx - 1]) for h, tx in state.claiming.items()]),
            packed("answer", [
                (plan.once.key, tx, state.instants[tx - 1], plan.once.digest, plan.once.said, pack_written(written))
                for tx, plan, written in state.plans
                if plan.once is not None
            ]),
        )  # fmt: skip


def _sent(state: State) -> dict[int, int]:
    """Members that sent something, and when; what the gateway writes of its own accord, unaudited, nobody sent."""
    told = [(state.instants[tx - 1], plan) for tx, plan, _ in state.plans if plan.audits]
    return {number_of(put.member): at for at, plan in told for put in plan.puts}


def _sizes(rows: Sequence[NewRow], gone: Sequence[Head]) -> list[tuple[int, ...]]:
    """How many versions more there are, and how many more current ones, by type, member, labels and flags."""
    added = Counter(map(_kind, [row.head for row in rows]))
    live = Counter(map(_kind, [row.head for row in rows if row.till == NO_TILL]))
    live.subtract(map(_kind, gone))
    return [(added[kind], live[kind], *kind) for kind in added.keys() | live.keys()]


def _kind(head: Head) -> tuple[int, int, int, int]:
    return head.typ, head.member, head.acl, head.flags


def _version(row: NewRow) -> tuple[object, ...]:
    head, put = row.head, row.put
    return (
        head.person, row.tx, row.till, row.at, row.fh, head.src, head.same, row.prev, head.seq, head.typ, head.member,
        head.acl, head.version, head.flags, head.id, put.words if put and row.shown else (), put.keys if put else b"",
        put.body if put else b"",
    )  # fmt: skip


def _settled(state: State, plan: PackedPlan) -> Settled | Refused:
    try:
        return Draft(state, plan).settle()
    except (GatewayError, Replan, Later) as fault:
        return fault
