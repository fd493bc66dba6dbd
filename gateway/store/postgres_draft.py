"""What packed plans change, decided in memory against the rows they were held against.

The same rules as on SQLite: a change closes the old row and adds a new one, every check of the plan is made
again, and what does not hold any more is a Conflict or a Replan. Several plans are decided one after the
other; a plan that fails leaves nothing behind. Their transactions have no numbers yet: they count from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from ..errors import Conflict, StoreError
from .base import NO_TILL, Committed, Delete, PackedPut, Written, fh_of, src_of
from .bodies import instant_of
from .engine import DELETED, SEQ_BITS, PackedPlan, Replan, home_of, puts_of
from .postgres_sql import SEQ_MASK, number_of
from .stand import moved_stand, stand_of


class Later(Exception):
    """The plan asks about an identifier another plan of the same transaction brings: its turn is the next one."""


class Head(Struct, frozen=True):
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


class NewRow(Struct):
    """A version to insert. put: what it was made from, None for a deletion. shown: anybody can ever see it."""

    head: Head
    fh: int
    tx: int
    till: int
    at: int
    prev: int
    put: PackedPut | None
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a plan. tx: its place in the group, that of the plan before when it changes nothing."""

    tx: int
    at: int
    written: tuple[Written, ...]

    def committed(self, base: int, floor: int) -> Committed:
        """With its number, after the newest transaction before the group and its instant."""
        return Committed(base + self.tx, instant_of(max(floor, self.at)), self.written)


@dataclass(slots=True)
class State:
    """The loaded rows, and what the plans accepted so far have made of them.

    known: directory entries there are. seqs: last seq by home. people: person numbers ready to be given. holders:
    identifier hash -> current, not deleted (fh, version). survivors: who stands for superseded Patients. movable: row
    keys by move, in the plan's order. lying: what lies with a Patient that is deleted, likewise. carried: identifier
    hash -> newest transaction that wrote a resource which carries it. claimed: criteria hash -> last transaction under
    them. answered: Idempotency-Keys in use. stands: of source records. claiming: criteria the plans claim, by
    transaction. closing: row key -> (tx, at). gone: what was current before.
    """

    heads: dict[int, Head]
    seqs: dict[int, int]
    people: Iterator[int]
    holders: dict[int, list[tuple[int, int]]]
    survivors: dict[int, str]
    movable: list[set[int]]
    lying: list[list[int]]
    carried: dict[int, int]
    claimed: dict[int, int]
    answered: set[int]
    stands: dict[int, str]
    known: frozenset[int] = frozenset()
    tx: int = 0
    at: int = 0
    claiming: dict[int, int] = field(default_factory=dict)
    rows: dict[tuple[int, int], NewRow] = field(default_factory=dict)
    closing: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    gone: list[Head] = field(default_factory=list)
    idents: set[int] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)
    instants: list[int] = field(default_factory=list)
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
        self.heads: dict[int, Head] = {}
        self.seqs: dict[int, int] = {}
        self.rows: dict[tuple[int, int], NewRow] = {}
        self.closing: list[tuple[int, int]] = []
        self.gone: list[Head] = []

    def settle(self) -> Settled:
        """Decide and keep it in the state. Raises Conflict, Replan, Later, StoreError, having kept nothing."""
        self._check()
        for move in self.plan.moves:
            for put in move.puts:
                self._put(put)
        written = [self._put(put) for put in self.plan.puts]
        written += [self._delete(gone) for gone in self.plan.deletes]
        plan = self.plan
        if not (self.rows or plan.records or plan.moves or plan.audits or plan.done):
            return Settled(self.state.tx, self.state.at, tuple(written))
        self._keep(written)
        return Settled(self.tx, self.at, tuple(written))

    def _head(self, fh: int) -> Head:
        return self.heads.get(fh) or self.state.heads.get(fh, NOBODY)

    # ---- checks ------------------------------------------------------------------------------
    def _check(self) -> None:
        for put in self.plan.puts:
            self._expect(put.type, put.id, put.fh, put.expect)
        for gone in self.plan.deletes:
            self._expect(gone.type, gone.id, fh_of(gone.type, gone.id), gone.expect)
        # A Patient this plan itself writes stands for itself again (un-merge).
        own = {put.fh for put in self.plan.puts if put.type == "Patient"}
        homes = {put.home for put in self.plan.puts if put.home and put.type != "Patient"} - own
        survivors = self.state.survivors
        if not homes.isdisjoint(survivors) or any(survivors.get(fh) != id_ for fh, id_ in self.plan.led):
            raise Replan
        if any(self.state.stands.get(src, "") != stand for src, stand in self.plan.rests):
            raise Conflict(detail="a source record changed meanwhile", detail_zh="来源记录刚有变动。")
        self._answers_stand()
        for claim in self.plan.unclaimed:
            if claim.h in self.state.idents:
                raise Later
            if any(holder not in claim.seen for holder in self.state.holders.get(claim.h, ())):
                raise Replan
        for move, found in zip(self.plan.moves, self.state.movable, strict=False):
            if found != set(move.rids):
                raise Replan
        for one, lying in zip(self.plan.vacant, self.state.lying, strict=False):
            if self._head(one.fh).live:
                one.refuse(self.plan, lying)

    def _answers_stand(self) -> None:
        """What was asked before the plan was made would still be answered alike."""
        state = self.state
        for one in self.plan.conditions:
            last, here = (state.claimed, state.claiming) if one.claims else (state.carried, state.idents)
            if last.get(one.h, 0) > one.as_of or one.h in here:
                raise Conflict(detail="a condition met another write", detail_zh="条件相同的另一写入先到。")
        if self.plan.once is not None and self.plan.once.key in state.answered:
            raise Conflict(detail="the Idempotency-Key was used meanwhile", detail_zh="此幂等键刚被使用。")

    def _expect(self, type_: str, id_: str, fh: int, expect: int | None) -> None:
        if expect is None:
            return
        head = self._head(fh)
        found = head.version if head.live else 0
        if found != expect:
            raise Conflict(f"{type_}/{id_}", f"expected version {expect}, found {found}")

    # ---- changes -----------------------------------------------------------------------------
    def _put(self, put: PackedPut) -> Written:
        head = self._head(put.fh)
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
        head = self._head(fh)
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
                self.gone.append(head)
            else:  # replaced within its own transaction: nobody ever sees it, so nothing of it is indexed
                pending.till, pending.shown = self.tx, False
        self.rows[fresh.person, fresh.seq] = NewRow(fresh, fh, self.tx, NO_TILL, self.at, prev, put)
        self.heads[fh] = fresh

    def _person(self, put: PackedPut) -> int:
        if not put.home:
            return home_of(put.fh)
        home = self._head(put.home)
        if home.person < 0:
            # A Patient's rows stay where the Patient began: its person number is that of its first row.
            home = self.heads[put.home] = Head(next(self.state.people))
        return home.person

    def _next(self, person: int) -> int:
        # Without a gap: `settle` shifts what other groups overtook, and two that miss each other meet at their keys.
        seq = (self.seqs.get(person) or self.state.seqs.get(person, 0)) + 1
        if seq > SEQ_MASK:
            raise StoreError(detail=f"home {person} is full")
        self.seqs[person] = seq
        return seq

    # ---- kept --------------------------------------------------------------------------------
    def _keep(self, written: list[Written]) -> None:
        state = self.state
        state.tx, state.at = self.tx, self.at
        state.instants.append(self.at)
        state.heads.update(self.heads)
        state.touched.update(self.heads)
        state.seqs.update(self.seqs)
        state.rows.update(self.rows)
        for place, head in zip(self.closing, self.gone, strict=True):
            state.closing[place] = (self.tx, self.at)
            if earlier := state.rows.get(place):
                earlier.till = self.tx
            else:
                state.gone.append(head)
        state.idents.update(h for row in self.rows.values() if row.shown and row.put for h in row.put.idents)
        state.claiming.update({one.h: self.tx for one in self.plan.conditions if one.claims and one.writes})
        if self.plan.once is not None:
            state.answered.add(self.plan.once.key)
        self._follow()
        state.plans.append((self.tx, self.plan, written))

    def _follow(self) -> None:
        stands = self.state.stands
        stands.update({src_of(one.member, one.local_number): stand_of(one) for one in self.plan.records})
        for move in (one.move for one in self.plan.moves):
            moved = [src for src in move.srcs if src in stands]
            stands.update({src: moved_stand(stands[src], move.from_patient, move.to_patient) for src in moved})


def alone(plan: PackedPlan) -> bool:
    """Who leads to whom changes, or with whom nothing may lie: the plan shares its transaction with no other."""
    return bool(plan.moves or plan.vacant) or any(put.survivor for put in plan.puts)


@dataclass(frozen=True, slots=True)
class Grounds:
    """Hashes of all some plans rest on.

    resources: those they write, and the Patients these lie with. homes: these Patients. shared: person numbers of the
    shared homes. led: superseded Patients on the way there. claims: identifiers nobody may hold. identifiers, criteria:
    what conditions ask. keys: Idempotency-Keys. srcs: source records.
    """

    resources: list[int]
    shared: list[int]
    homes: list[int]
    claims: list[int]
    identifiers: list[int]
    criteria: list[int]
    keys: list[int]
    srcs: list[int]
    led: list[int]


def grounds_of(plans: Sequence[PackedPlan]) -> Grounds:
    """What is looked at before the plans are decided, and again when they are committed."""
    puts = [put for plan in plans for put in puts_of(plan)]
    conditions = [one for plan in plans for one in plan.conditions]
    homes = {put.home for put in puts if put.home}
    resources = homes | {put.fh for put in puts}
    resources |= {fh_of(gone.type, gone.id) for plan in plans for gone in plan.deletes}
    led = {fh for plan in plans for fh, _ in plan.led}
    return Grounds(
        resources=list(resources | led),
        shared=list({home_of(put.fh) for put in puts if not put.home}),
        homes=list(homes),
        claims=list({claim.h for plan in plans for claim in plan.unclaimed}),
        identifiers=list({one.h for one in conditions if not one.claims}),
        criteria=list({one.h for one in conditions if one.claims}),
        keys=[plan.once.key for plan in plans if plan.once is not None],
        srcs=list({src for plan in plans for src, _ in plan.rests}),
        led=list(led),
    )
