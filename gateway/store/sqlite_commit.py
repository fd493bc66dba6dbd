"""One transaction of the SQLite engine: a packed plan against the current rows, on the writing thread.

Nothing is re-keyed: a change closes the old row and inserts a new one (design-store §1). Every check of the
plan is made again here, inside the transaction; what does not hold any more is a Conflict or a Replan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import apsw
from msgspec import Struct

from ..errors import Conflict, StoreError
from .base import NO_TILL, Committed, Delete, PackedPut, RecordPut, Wording, Written, fh_of, src_of
from .bodies import instant_of
from .engine import DAY_MS, DELETED, SEQ_BITS, SHARED_HOMES, Match, PackedPlan, Replan, home_of
from .packing import pack_written, short_words
from .sqlite_sql import LONG_MS, SEQ_MASK, Names, fts, fts_words, insert, numbers
from .stand import moved_stand, stand_of, stored_stand
from .wordings import Wordings


@dataclass(slots=True)
class _Head:
    """The current version of a resource, or the place kept for one (version 0)."""

    rid: int = 0
    version: int = 0
    flags: int = 0
    same: int = 0
    typ: int = 0
    member: int = 0
    acl: int = 0
    src: int = 0
    id: str = ""

    @property
    def live(self) -> bool:
        return self.version > 0 and not self.flags & DELETED


class ReadyPut(Struct, frozen=True):
    """A packed put with what only this engine needs, made outside the transaction too."""

    put: PackedPut
    typ: int
    member: int
    fts: str
    words: bytes
    wordings: tuple[Wording, ...]


class ReadyPlan(Struct, frozen=True):
    """A packed plan ready for the writing thread. `moved` in the order of `plan.moves`."""

    plan: PackedPlan
    puts: tuple[ReadyPut, ...]
    moved: tuple[tuple[ReadyPut, ...], ...]


def ready(plan: PackedPlan, names: Names, wordings: Wordings) -> ReadyPlan:
    """Turn words into what the tables take; all names are known by now."""

    def one(put: PackedPut) -> ReadyPut:
        words = fts_words(put.words) if put.words else ""
        new = wordings.new(put)
        return ReadyPut(put, names.number[put.type], names.number[put.member], words, short_words(put.words), new)

    return ReadyPlan(plan, tuple(map(one, plan.puts)), tuple(tuple(map(one, move.puts)) for move in plan.moves))


def alone(work: ReadyPlan) -> bool:
    """True for a plan whose checks ask the tables for more than its own resources: it runs by itself.

    Plans that only put, delete and note share one transaction's statements; each keeps its number and its answer.
    """
    plan = work.plan
    asks = plan.moves or plan.unclaimed or plan.conditions or plan.once or plan.vacant
    return bool(asks or any(put.type == "Patient" for put in plan.puts))


def transaction(db: apsw.Connection, works: Sequence[ReadyPlan]) -> list[Committed | Exception]:
    """Run plans one after the other, written together; for each what came of it. Several only when none is `alone`."""
    return _Transaction(db, works).run()


class _Transaction:
    """Reads what the plans touch, decides in memory, writes in few statements."""

    def __init__(self, db: apsw.Connection, works: Sequence[ReadyPlan]) -> None:
        self.db, self.works = db, works
        last, at, self.people = next(iter(db.execute("SELECT tx, at, people FROM tx ORDER BY tx DESC LIMIT 1")))
        self.tx, self.at = int(last), int(at)  # of the plan in hand, or of the newest before it
        self.commits: list[tuple[int, int, int]] = []
        self.noted: list[tuple[int, PackedPlan]] = []
        self.heads: dict[int, _Head] = {}
        self.seqs: dict[int, int] = {}
        self.touched: set[int] = set()  # fh whose directory entry changes
        self.fresh: dict[int, int] = {}  # members that sent something, and when
        self.rows: dict[int, list[object]] = {}  # new rows by rid
        self.posted: dict[int, ReadyPut] = {}
        self.closing: list[tuple[int, int, int]] = []  # (tx, rid, instant)
        self.gone: list[_Head] = []  # their heads

    def run(self) -> list[Committed | Exception]:
        """An answer a plan. A plan that does not hold leaves no trace; any other fault undoes them all."""
        self._load()
        answers = [self._answer(work) for work in self.works]
        self._write()
        return answers

    def _answer(self, work: ReadyPlan) -> Committed | Exception:
        try:
            self._check(work)
        except (Conflict, Replan) as stale:
            return stale
        return self._apply(work)

    def _apply(self, work: ReadyPlan) -> Committed:
        plan, before = work.plan, (self.tx, self.at)
        self.tx, self.at = self.tx + 1, max(int(plan.at.timestamp() * 1000), self.at)
        if plan.records:
            self._records(plan.records)
        for move, puts in zip(plan.moves, work.moved, strict=True):
            for ready_put in puts:
                self._put(ready_put)
            self._follow(move.move.srcs, move.move.from_patient, move.move.to_patient)
        written = [self._put(one) for one in work.puts]
        written += [self._delete(one) for one in plan.deletes]
        if plan.audits:  # what the gateway writes of its own accord nobody sent
            self.fresh.update((one.member, self.at) for one in work.puts)
        changed = any(one.changed for one in written) or any(work.moved)
        if not (changed or plan.records or plan.moves or plan.audits or plan.done):
            self.tx, self.at = before
        else:
            self.commits.append((self.tx, self.at, self.people))
            self.noted.append((self.tx, plan))
            if plan.conditions or plan.once is not None:
                self._beside(plan, written)
        return Committed(self.tx, instant_of(self.at), tuple(written))

    # ---- what is there -----------------------------------------------------------------------
    def _load(self) -> None:
        puts = [one.put for work in self.works for part in (*work.moved, work.puts) for one in part]
        wanted = {one.fh for one in puts} | {one.home for one in puts if one.home}
        wanted |= {fh_of(one.type, one.id) for work in self.works for one in work.plan.deletes}
        sql = (
            "SELECT dir.fh, dir.rid, dir.ver, row.flags, row.same, row.typ, row.member, row.acl, row.src, row.id"
            " FROM carray(?) AS asked CROSS JOIN dir ON dir.fh = asked.value LEFT JOIN row ON row.rid = dir.rid"
        )
        for fh, rid, version, *rest in self.db.execute(sql, (numbers(tuple(wanted)),)):
            self.heads[fh] = _Head(rid, version, *rest) if version else _Head(rid)
        homes = {head.rid >> SEQ_BITS for head in self.heads.values() if head.rid}
        homes |= {home_of(one.fh) for one in puts if not one.home}
        self._last_of(homes)
        asked = {one.home for one in puts} | {fh for work in self.works for fh, _ in work.plan.led}
        sql = "SELECT survivor.* FROM carray(?) AS asked JOIN survivor ON survivor.fh = asked.value"
        self.survivors: dict[int, str] = dict(self.db.execute(sql, (numbers(tuple(asked)),)))
        rests = numbers(tuple({src for work in self.works for src, _ in work.plan.rests}))
        sql = (
            "SELECT src, patient, content, said_at, state FROM carray(?) AS asked"
            " JOIN record ON record.src = asked.value"
        )
        self.stands = {src: stored_stand(*said) for src, *said in self.db.execute(sql, (rests,))}

    def _last_of(self, persons: set[int]) -> None:
        sql = (
            f"SELECT value, (SELECT max(rid) FROM row WHERE rid BETWEEN value << {SEQ_BITS}"
            f" AND value << {SEQ_BITS} | {SEQ_MASK}) FROM carray(?)"
        )
        for person, last in self.db.execute(sql, (numbers(tuple(persons)),)):
            self.seqs[person] = (last or 0) & SEQ_MASK

    def _check(self, work: ReadyPlan) -> None:
        plan = work.plan
        for one in work.puts:
            if one.put.expect is not None:
                self._expect(one.put.type, one.put.id, one.put.fh, one.put.expect)
        for gone in plan.deletes:
            if gone.expect is not None:
                self._expect(gone.type, gone.id, fh_of(gone.type, gone.id), gone.expect)
        if self.survivors or plan.led:
            self._homes_stand(work)
        if any(self.stands.get(src, "") != stand for src, stand in plan.rests):
            raise Conflict(detail="a source record changed meanwhile", detail_zh="来源记录刚有变动。")
        if plan.conditions or plan.once is not None:
            self._answers_stand(plan)
        for claim in plan.unclaimed:
            sql = (
                "SELECT ident.fh, dir.ver, row.flags FROM ident JOIN dir ON dir.fh = ident.fh"
                " JOIN row ON row.rid = dir.rid WHERE ident.h = ?"
            )
            holders = list(self.db.execute(sql, (claim.h,)))
            if any(not flags & DELETED and (fh, version) not in claim.seen for fh, version, flags in holders):
                raise Replan
        for move in plan.moves:
            if self._movable(move.source, move.move.srcs) != set(move.rids):
                raise Replan
        for patient in plan.vacant:
            if (head := self.heads.get(patient.fh)) is not None and head.live:
                first = head.rid >> SEQ_BITS << SEQ_BITS
                bound = (first, first | SEQ_MASK, fts(Match(((patient.word,),))), len(plan.deletes) + 1)
                patient.refuse(plan, [fh for (fh,) in self.db.execute(_LYING, bound)])

    def _expect(self, type_: str, id_: str, fh: int, expect: int) -> None:
        head = self.heads.get(fh)
        found = head.version if head is not None and head.live else 0
        if found != expect:
            raise Conflict(f"{type_}/{id_}", f"expected version {expect}, found {found}")

    def _homes_stand(self, work: ReadyPlan) -> None:
        # A Patient this plan itself writes stands for itself again (un-merge).
        own = {one.put.fh for one in work.puts if one.put.type == "Patient"}
        homes = {one.put.home for one in work.puts if one.put.home and one.put.type != "Patient"} - own
        if not homes.isdisjoint(self.survivors) or any(self.survivors.get(fh) != id_ for fh, id_ in work.plan.led):
            raise Replan

    def _answers_stand(self, plan: PackedPlan) -> None:
        """What was asked before the plan was made would still be answered alike."""
        for one in plan.conditions:
            if list(self.db.execute(_CLAIMED if one.claims else _CARRIED, (one.h, one.as_of))):
                raise Conflict(detail="a condition met another write", detail_zh="条件相同的另一写入先到。")
        once, now = plan.once, max(int(plan.at.timestamp() * 1000), self.at)
        if once is not None and list(
            self.db.execute("SELECT 1 FROM answer WHERE h = ? AND at > ?", (once.key, now - DAY_MS))
        ):
            raise Conflict(detail="the Idempotency-Key was used meanwhile", detail_zh="此幂等键刚被使用。")

    def _movable(self, source: int, srcs: tuple[int, ...]) -> set[int]:
        head = list(self.db.execute("SELECT rid >> 24 FROM dir WHERE fh = ?", (source,)))
        return {row[0] for row in self.db.execute(MOVABLE, movable_values(head[0][0], srcs))} if head else set()

    # ---- changes -----------------------------------------------------------------------------
    def _put(self, one: ReadyPut) -> Written:
        put = one.put
        head = self.heads.setdefault(put.fh, _Head())
        person = self._person(put)
        if head.live and head.same == put.same and head.rid >> SEQ_BITS == person:
            return Written(put.type, put.id, head.version, False)
        fresh = _Head(0, head.version + 1, put.flags, put.same, one.typ, one.member, put.acl, put.src, put.id)
        self._replace(put.fh, head, fresh, person, one.words, put.keys, put.body)
        self.posted[fresh.rid] = one
        return Written(put.type, put.id, fresh.version, True)

    def _delete(self, gone: Delete) -> Written:
        fh = fh_of(gone.type, gone.id)
        head = self.heads.get(fh)
        if head is None or not head.live:
            return Written(gone.type, gone.id, head.version if head else 0, False)
        fresh = _Head(0, head.version + 1, DELETED, 0, head.typ, head.member, head.acl, head.src, head.id)
        self._replace(fh, head, fresh, head.rid >> SEQ_BITS, b"", b"", b"")
        return Written(gone.type, gone.id, fresh.version, True)

    def _replace(self, fh: int, head: _Head, fresh: _Head, person: int, words: bytes, keys: bytes, body: bytes) -> None:
        if head.version:
            self._close(head)
        fresh.rid = self._next_rid(person)
        self.rows[fresh.rid] = [
            fresh.rid, self.tx, NO_TILL, fresh.typ, fresh.flags, fresh.member, fresh.acl, fresh.version, self.at, fh,
            fresh.src, fresh.same, head.rid if head.version else 0, fresh.id, words, keys, body,
        ]  # fmt: skip
        self.heads[fh] = fresh
        self.touched.add(fh)

    def _close(self, head: _Head) -> None:
        rid = head.rid
        pending = self.rows.get(rid)
        if pending is None:
            self.closing.append((self.tx, rid, self.at))
            self.gone.append(head)
        else:  # replaced before it could be seen: nobody ever finds it, so nothing of it is indexed
            pending[2] = self.tx
            self.posted.pop(rid, None)

    def _person(self, put: PackedPut) -> int:
        if not put.home:
            return home_of(put.fh)
        head = self.heads.setdefault(put.home, _Head())
        if not head.rid:
            self.people += 1
            head.rid = (SHARED_HOMES + self.people) << SEQ_BITS
            self.touched.add(put.home)
        # A Patient's rows stay where the Patient began: its person number is that of its first row.
        return head.rid >> SEQ_BITS

    def _next_rid(self, person: int) -> int:
        seq = self.seqs.get(person, 0)  # 0: a person this transaction made
        if seq >= SEQ_MASK:
            raise StoreError(detail=f"home {person} is full")
        self.seqs[person] = seq + 1
        return person << SEQ_BITS | (seq + 1)

    def _records(self, records: tuple[RecordPut, ...]) -> None:
        rows = [
            (src_of(r.member, r.local_number), r.member, r.local_number, r.patient, r.content, r.said_at, r.state)
            for r in records
        ]
        insert(self.db, "INSERT OR REPLACE INTO record VALUES", rows)
        self.stands.update({row[0]: stand_of(r) for row, r in zip(rows, records, strict=True)})

    def _follow(self, srcs: tuple[int, ...], old: str, new: str) -> None:
        sql = "UPDATE record SET patient = ? WHERE patient = ? AND src IN (SELECT value FROM carray(?))"
        self.db.execute(sql, (new, old, numbers(srcs)))
        self.stands.update({src: moved_stand(self.stands[src], old, new) for src in srcs if src in self.stands})

    # ---- writing -----------------------------------------------------------------------------
    def _write(self) -> None:
        db = self.db
        insert(db, "INSERT INTO tx VALUES", self.commits)
        if self.closing:
            closed = [(tx, rid) for tx, rid, _ in self.closing]
            db.executemany("UPDATE row SET till_tx = ? WHERE rid = ?", closed)
            insert(db, "INSERT INTO closed VALUES", [(at, rid) for _, rid, at in self.closing])
        insert(db, "INSERT INTO row VALUES", [tuple(row) for row in self.rows.values()])
        directory = [(fh, self.heads[fh].rid, self.heads[fh].version) for fh in self.touched]
        insert(db, "INSERT OR REPLACE INTO dir VALUES", directory)
        self._index()
        insert(db, "INSERT OR REPLACE INTO fresh VALUES", list(self.fresh.items()))
        for kind, (more, live) in self._sizes().items():
            db.execute(_GROWN, (*kind, more, live))
        audits = [(tx, audit) for tx, plan in self.noted for audit in plan.audits]
        insert(db, "INSERT INTO effect(tx, row) VALUES", audits)
        done = [(key, tx, outcome) for tx, plan in self.noted for key, outcome in plan.done]
        insert(db, "INSERT OR REPLACE INTO done VALUES", done)

    def _sizes(self) -> dict[tuple[object, ...], tuple[int, int]]:
        """By type, member, labels and flags: how many versions more there are, and how many more current ones."""
        added = Counter((row[3], row[5], row[6], row[4]) for row in self.rows.values())
        live = Counter((row[3], row[5], row[6], row[4]) for row in self.rows.values() if row[2] == NO_TILL)
        live.subtract((head.typ, head.member, head.acl, head.flags) for head in self.gone)
        return {kind: (added[kind], live[kind]) for kind in added.keys() | live.keys()}

    def _beside(self, plan: PackedPlan, written: list[Written]) -> None:
        """What later plans are held against: claims of criteria, and the answer under an Idempotency-Key."""
        claims = [(one.h, self.tx, self.at) for one in plan.conditions if one.claims and one.writes]
        insert(self.db, "INSERT OR REPLACE INTO criteria VALUES", claims)
        if (once := plan.once) is not None:
            row = (once.key, self.tx, self.at, once.digest, once.said, pack_written(written))
            insert(self.db, "INSERT OR REPLACE INTO answer VALUES", [row])

    def _index(self) -> None:
        db, posted = self.db, self.posted.items()
        insert(db, "INSERT INTO post(rowid, words) VALUES", [(rid, one.fts) for rid, one in posted if one.fts])
        dates = [
            (one.typ, param, int(hi - lo > LONG_MS), lo, rid, hi)
            for rid, one in posted
            for param, lo, hi in one.put.dates
        ]
        insert(db, "INSERT OR IGNORE INTO date_order VALUES", dates)
        texts = [(one.typ, param, text, rid) for rid, one in posted for param, text in one.put.texts]
        insert(db, "INSERT OR IGNORE INTO text_order VALUES", texts)
        insert(db, "INSERT INTO away VALUES", [(fh, rid) for rid, one in posted for fh in one.put.away])
        wordings = [(one.typ, *wording) for _, one in posted for wording in one.wordings]
        insert(db, "INSERT OR IGNORE INTO wording VALUES", wordings)
        idents = [(h, one.put.fh) for _, one in posted for h in one.put.idents]
        insert(db, "INSERT OR IGNORE INTO ident VALUES", idents)
        patients = [one.put for _, one in posted if one.put.type == "Patient"]
        if patients:
            gone = numbers([put.fh for put in patients if not put.survivor])
            db.execute("DELETE FROM survivor WHERE fh IN (SELECT value FROM carray(?))", (gone,))
            retired = [(put.fh, put.survivor) for put in patients if put.survivor]
            insert(db, "INSERT OR REPLACE INTO survivor VALUES", retired)


_GROWN = (
    "INSERT INTO size VALUES(?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET n = n + excluded.n, live = live + excluded.live"
)
_CLAIMED = "SELECT 1 FROM criteria WHERE h = ? AND tx > ?"
_CARRIED = (
    "SELECT 1 FROM ident JOIN dir ON dir.fh = ident.fh JOIN row ON row.rid = dir.rid"
    " WHERE ident.h = ? AND row.from_tx > ? LIMIT 1"
)
_CURRENT = f"till_tx = {NO_TILL} AND flags & {DELETED} = 0 AND typ <> (SELECT no FROM name WHERE text = 'Patient')"
_LYING = (
    f"SELECT fh FROM row WHERE rid BETWEEN ? AND ? AND {_CURRENT} UNION"
    f" SELECT fh FROM post JOIN row ON row.rid = post.rowid WHERE post MATCH ? AND {_CURRENT} LIMIT ?"
)
MOVABLE = (
    "SELECT rid FROM row WHERE rid BETWEEN ? AND ? AND till_tx = ? AND flags = 0"
    " AND src IN (SELECT value FROM carray(?)) AND +typ <> ifnull((SELECT no FROM name WHERE text = 'Patient'), 0)"
)
"""Current rows of source records in one home, Patients left out."""


def movable_values(person: int, srcs: Iterable[int]) -> tuple[object, ...]:
    """What MOVABLE is bound to."""
    first = person << SEQ_BITS
    return first, first | SEQ_MASK, NO_TILL, numbers(tuple(srcs))
