"""What a steward decides about an open review, and how either decision is taken back exactly.

same       the record's person joins a candidate, as ADT^A40 would have made them one
different  the question is closed; a record that only a lent card had linked leaves with a person of its own
undo       a merge or a parting, by the id of its Task

Every act is one commit with its audit row, made again when another write came first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec import structs

from ..errors import Conflict, IdentityError, NotFound
from ..model.resource import Json, reference_id
from ..store.base import AuditRow, Move, Plan, Put, Store
from . import merge, reviews
from .index import PersonIndex
from .match import Code
from .person import Record, disowned
from .workspace import Resolution, Workspace, puts_of

_TRIES = 5
Meet = Callable[[Sequence[Move]], Awaitable[list[Put]]]
"""What else changes when moves put resources with another Patient: references between what meets or parts."""


@dataclass(frozen=True, slots=True)
class Word:
    """Who decides, when, and what they say about it ("" for nothing)."""

    by: str
    at: datetime
    note: str = ""


class Steward:
    """Decides and commits. Raises NotFound for no such review, IdentityError for a decision that cannot stand."""

    def __init__(self, people: PersonIndex, store: Store, meet: Meet) -> None:
        self._people, self._store, self._meet = people, store, meet

    async def same(self, review: str, candidate: str, word: Word, audit: AuditRow) -> None:
        """The record of this review belongs to the candidate, and so does all of its person."""
        await self._done(lambda desk: join(desk, review, candidate, word), audit)

    async def different(self, review: str, word: Word, audit: AuditRow) -> None:
        """The record of this review is about nobody of the candidates."""
        await self._done(lambda desk: part(desk, review, word), audit)

    async def undo(self, task: str, audit: AuditRow) -> None:
        """Take a merge or a parting back."""
        await self._done(lambda desk: undo(desk, task), audit)

    async def _done(self, act: Callable[[Workspace], Awaitable[None]], audit: AuditRow) -> None:
        for _ in range(_TRIES):
            desk = self._people.workspace()
            try:
                await act(desk)
                made = desk.render(())
                await self._store.commit(_plan(made, await self._meet(made.moves), audit))
            except Conflict:
                continue
            return
        raise Conflict("Task")


def _plan(made: Resolution, met: Sequence[Put], audit: AuditRow) -> Plan:
    people = [one.id for one in made.resources if one.type == "Patient"]
    return Plan(
        puts=(*puts_of(made), *met),
        records=made.records,
        moves=made.moves,
        unclaimed=made.unclaimed,
        rests=made.rests,
        audits=(structs.replace(audit, patients=tuple(people)),),
    )


async def join(desk: Workspace, review: str, candidate: str, word: Word) -> None:
    """One person from now on. Two different verified cards cannot be one person: one of them is wrong."""
    task, record = await _question(desk, review)
    if candidate not in reviews.candidates_of(task):
        raise NotFound(f"Patient/{candidate[:64]}")
    origin, target = await desk.person(desk.home(record.key)), await desk.person(candidate)
    while target.survivor:
        target = await desk.person(target.survivor)
    await _answer(desk, review, reviews.decided(task, "completed", target.id, word.by, word.note, word.at))
    if origin.id == target.id:
        return
    if merge.contradict(desk, origin, target):
        raise IdentityError(f"Task/{review}", "They hold different cards.", detail_zh="双方证件号不同，不能合并。")
    trace = merge.Trace(desk.ids.of("Task", reviews.JOINED, review), reviews.JOINED, word.at, review)
    await merge.join(desk, origin, target, trace)


async def part(desk: Workspace, review: str, word: Word) -> None:
    """Not the same person. Where a card had linked the record already, the card is no longer believed there."""
    task, record = await _question(desk, review)
    holder = await desk.person(desk.home(record.key))
    home = holder.id
    if reviews.code_of(task) == Code.CARD_NAME_DIFFERS and len(holder.records) > 1:
        own = await desk.person(desk.ids.of("Patient", *record.key, "apart"))
        own.owner = own.owner or record.member
        written = [before for before in (desk.as_it_was(holder),) if before is not None]
        desk.take_back([record.key], holder, own)
        desk.attach(own, disowned(record, desk.today))
        parting = desk.ids.of("Task", reviews.PARTED, review)
        _, version, _ = await desk.read_task(parting)
        made = reviews.merge_task(
            own.id, holder.id, [record.key], word.at, code=reviews.PARTED, review=review, written=written
        )
        desk.put_task(parting, made, record.member, version, {})
        home = own.id
    await _answer(desk, review, reviews.decided(task, "rejected", home, word.by, word.note, word.at))


async def undo(desk: Workspace, task_id: str) -> None:
    """As if the decision had never been made: everybody has their records again, and the question is open."""
    task, version, member = await desk.read_task(task_id)
    if reviews.code_of(task) != reviews.PARTED:
        await merge.undo(desk, task_id)
        return
    merge.still_stands(task, task_id)
    own, holder = await desk.person(reference_id(task["focus"], "Patient")), reference_id(task["for"], "Patient")
    (key,) = reviews.moved_records(task)
    if await desk.load(key) is None or desk.home(key) != own.id or list(own.records) != [key]:
        raise merge.moved_on(task_id)
    desk.attach(own, disowned(own.records[key], desk.today, taken_back=True))
    desk.move([key], own, await desk.person(holder))
    for before in reviews.as_it_was(task):
        await desk.restore(before)
    desk.put_task(task_id, {**task, "status": "cancelled"}, member, version, task)
    await merge.ask_again(desk, task)


async def _question(desk: Workspace, review: str) -> tuple[Json, Record]:
    """An open review and the record it is about."""
    task, _, _ = await desk.read_task(review)
    record = await desk.load(reviews.record_of(task)) if reviews.code_of(task) in tuple(Code) else None
    if record is None:
        raise NotFound(f"Task/{review[:64]}")
    if task.get("status") in reviews.CLOSED:
        raise IdentityError(f"Task/{review}", "It was decided before.", detail_zh="该复核已有结论，请刷新页面。")
    return task, record


async def _answer(desk: Workspace, review: str, answered: Json) -> None:
    stored, version, member = await desk.read_task(review)
    desk.put_task(review, answered, member, version, stored)
