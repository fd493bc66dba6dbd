"""What a packed plan changes, decided in memory against the rows its transaction has loaded and locked.

The same rules as on SQLite: a change closes the old row and adds a new one, every check of the plan is made
again, and what does not hold any more is a Conflict or a Replan. Several plans are decided one after the
other within one transaction; a plan that fails leaves nothing behind.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import Conflict, StoreError
from .base import NO_TILL, Committed, Delete, PackedPut, Written, fh_of, src_of
from .bodies import instant_of
from .engine import DELETED, SEQ_BITS, PackedPlan, Replan, home_of
from .postgres_sql import SEQ_MASK, number_of


class Later(Exception):
    """The plan asks about an identifier another plan of the same transaction brings: its turn is the next one."""


@dataclass(frozen=True, slots=True)
class Head:
    """The current version of a resource, or the place kept for one (version 0, seq 0)."""

    person: int = -1
    seq: int = 0
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
        """There, and not deleted."""
        return self.version > 0 and not self.flags & DELETED


NOBODY = Head()


@dataclass(slots=True)
class NewRow:
    """A version to insert. put: what it was made from, None for a deletion. shown: anybody can ever see it."""

    head: Head
    fh: int
    tx: int
    till: int
    at: int
    prev: int
    put: PackedPut | None
    shown: bool = True


@dataclass(slots=True)
class State:
    """The loaded rows, and what the plans accepted so far have made of them.

    seqs: last seq by home. people: person numbers ready to be given. holders: identifier hash -> current, not
    deleted (fh, version). superseded: homes that have a survivor. movable: row keys by move, in the plan's order.
    carried: identifier hash -> newest transaction that wrote a resource which carries it. claimed: criteria hash ->
    last transaction under them. answered: Idempotency-Keys in use. owners: Patient by source record.
    closing: row key -> (tx, at).
    """

    tx: int
    at: int
    heads: dict[int, Head]
    seqs: dict[int, int]
    people: Iterator[int]
    holders: dict[int, list[tuple[int, int]]]
    superseded: set[int]
    movable: list[set[int]]
    carried: dict[int, int] = field(default_factory=dict)
    claimed: dict[int, int] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    owners: dict[int, str] = field(default_factory=dict)
    rows: dict[tuple[int, int], NewRow] = field(default_factory=dict)
    closing: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    closed: list[tuple[int, int, int]] = field(default_factory=list)
    idents: set[int] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)
    instants: dict[int, int] = field(default_factory=dict)
    plans: list[tuple[int, PackedPlan, list[Written]]] = field(default_factory=list)

    def changed(self) -> list[tuple[int, Head]]:
        """Directory entries to write."""
        return [(fh, self.heads[fh]) for fh in self.touched]


class Draft:
    """One plan being decided."""

    def __init__(self, state: State, plan: PackedPlan) -> None:
        self.state, self.plan = state, plan
        self.tx = state.tx + 1
        self.at = max(int(plan.at.timestamp() * 1000), state.at)
        self.heads: ChainMap[int, Head] = ChainMap({}, state.heads)
        self.rows: dict[tuple[int, int], NewRow] = {}
        self.closing: list[tuple[int, int]] = []

    def settle(self) -> Committed:
        """Decide and keep it in the state. Raises Conflict, Replan, Later, StoreError, having kept nothing."""
        self._check()
        for move in self.plan.moves:
            for put in move.puts:
                self._put(put)
        written = [self._put(put) for put in self.plan.puts]
        written += [self._delete(gone) for gone in self.plan.deletes]
        plan = self.plan
        if not (self.rows or plan.records or plan.moves or plan.audits or plan.done):
            return Committed(self.state.tx, instant_of(self.state.at), tuple(written))
        self._keep(written)
        return Committed(self.tx, instant_of(self.at), tuple(written))

    # ---- checks ------------------------------------------------------------------------------
    def _check(self) -> None:
        for put in self.plan.puts:
            self._expect(put.type, put.id, put.fh, put.expect)
        for gone in self.plan.deletes:
            self._expect(gone.type, gone.id, fh_of(gone.type, gone.id), gone.expect)
        # A Patient this plan itself writes stands for itself again (un-merge).
        own = {put.fh for put in self.plan.puts if put.type == "Patient"}
        homes = {put.home for put in self.plan.puts if put.home and put.type != "Patient"} - own
        if homes & self.state.superseded:
            raise Replan
        if any(self.state.owners.get(src, "") != patient for src, patient in self.plan.rests):
            raise Conflict(detail="a source record moved meanwhile", detail_zh="来源记录的归属刚有变动。")
        self._answers_stand()
        for claim in self.plan.unclaimed:
            if claim.h in self.state.idents:
                raise Later
            if any(holder not in claim.seen for holder in self.state.holders.get(claim.h, ())):
                raise Replan
        for move, found in zip(self.plan.moves, self.state.movable, strict=False):
            if found != set(move.rids):
                raise Replan

    def _answers_stand(self) -> None:
        """What was asked before the plan was made would still be answered alike."""
        state = self.state
        for one in self.plan.conditions:
            last = state.claimed.get(one.h, 0) if one.claims else state.carried.get(one.h, 0)
            if last > one.as_of or (not one.claims and one.h in state.idents):
                raise Conflict(detail="a condition met another write", detail_zh="条件相同的另一写入先到。")
        if self.plan.once is not None and self.plan.once.key in state.answered:
            raise Conflict(detail="the Idempotency-Key was used meanwhile", detail_zh="此幂等键刚被使用。")

    def _expect(self, type_: str, id_: str, fh: int, expect: int | None) -> None:
        if expect is None:
            return
        head = self.heads.get(fh, NOBODY)
        found = head.version if head.live else 0
        if found != expect:
            raise Conflict(f"{type_}/{id_}", f"expected version {expect}, found {found}")

    # ---- changes -----------------------------------------------------------------------------
    def _put(self, put: PackedPut) -> Written:
        head = self.heads.get(put.fh, NOBODY)
        person = self._person(put)
        if head.live and head.same == put.same and head.person == person:
            return Written(put.type, put.id, head.version, False)
        fresh = Head(
            person, self._next(person), head.version + 1, put.flags, put.same, number_of(put.type),
            number_of(put.member), put.acl, put.src, put.id,
        )  # fmt: skip
        self._replace(put.fh, head, fresh, put)
        return Written(put.type, put.id, fresh.version, True)

    def _delete(self, gone: Delete) -> Written:
        fh = fh_of(gone.type, gone.id)
        head = self.heads.get(fh, NOBODY)
        if not head.live:
            return Written(gone.type, gone.id, head.version, False)
        seq = self._next(head.person)
        fresh = Head(
            head.person, seq, head.version + 1, DELETED, 0, head.typ, head.member, head.acl, head.src, head.id
        )  # fmt: skip
        self._replace(fh, head, fresh, None)
        return Written(gone.type, gone.id, fresh.version, True)

    def _replace(self, fh: int, head: Head, fresh: Head, put: PackedPut | None) -> None:
        prev = 0
        if head.version:
            prev = head.person << SEQ_BITS | head.seq
            pending = self.rows.get((head.person, head.seq))
            if pending is None:
                self.closing.append((head.person, head.seq))
            else:  # replaced within its own transaction: nobody ever sees it, so nothing of it is indexed
                pending.till, pending.shown = self.tx, False
        self.rows[fresh.person, fresh.seq] = NewRow(fresh, fh, self.tx, NO_TILL, self.at, prev, put)
        self.heads[fh] = fresh

    def _person(self, put: PackedPut) -> int:
        if not put.home:
            return home_of(put.fh)
        home = self.heads.get(put.home, NOBODY)
        if home.person < 0:
            # A Patient's rows stay where the Patient began: its person number is that of its first row.
            home = self.heads[put.home] = Head(next(self.state.people))
        return home.person

    def _next(self, person: int) -> int:
        seq = self.state.seqs.get(person, 0) + 1
        if seq > SEQ_MASK:
            raise StoreError(detail=f"home {person} is full")
        self.state.seqs[person] = seq
        return seq

    # ---- kept --------------------------------------------------------------------------------
    def _keep(self, written: list[Written]) -> None:
        state = self.state
        state.tx, state.at = self.tx, self.at
        state.instants[self.tx] = self.at
        changed = self.heads.maps[0]
        state.heads.update(changed)
        state.touched.update(changed)
        state.rows.update(self.rows)
        for place in self.closing:
            earlier = state.rows.get(place)
            if earlier is None:
                state.closing[place] = (self.tx, self.at)
            else:
                earlier.till = self.tx
            state.closed.append((self.at, *place))
        state.idents.update(h for row in self.rows.values() if row.shown and row.put for h in row.put.idents)
        state.claimed.update({one.h: self.tx for one in self.plan.conditions if one.claims})
        if self.plan.once is not None:
            state.answered.add(self.plan.once.key)
        self._follow()
        state.plans.append((self.tx, self.plan, written))

    def _follow(self) -> None:
        owners = self.state.owners
        owners.update({src_of(one.member, one.local_number): one.patient for one in self.plan.records})
        for move in (one.move for one in self.plan.moves):
            owners.update({src: move.to_patient for src in move.srcs if owners.get(src) == move.from_patient})


def puts_of(plan: PackedPlan) -> list[PackedPut]:
    """All a plan writes, what it moves among it."""
    return [*plan.puts, *(put for move in plan.moves for put in move.puts)]


def keys_of(plan: PackedPlan) -> Iterator[int]:
    """Hashes of all a plan rests on: its resources, their homes, its identifiers. Their stripes are locked."""
    for put in puts_of(plan):
        yield put.fh
        yield put.home or home_of(put.fh)
        yield from put.idents
    for gone in plan.deletes:
        yield fh_of(gone.type, gone.id)
    for claim in plan.unclaimed:
        yield claim.h
    for condition in plan.conditions:
        yield condition.h
    if plan.once is not None:
        yield plan.once.key
    for src, _ in plan.rests:
        yield src
    for record in plan.records:
        yield src_of(record.member, record.local_number)
    for move in plan.moves:
        yield from move.move.srcs
        yield move.source
        yield fh_of("Patient", move.move.to_patient)


def alone(plan: PackedPlan) -> bool:
    """Who leads to whom changes: such a plan shares its transaction with no other."""
    return bool(plan.moves) or any(put.survivor for put in plan.puts)
