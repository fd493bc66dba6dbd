"""What a steward decides about an open review, and how either decision is taken back exactly.

same       the record's person joins a candidate, as ADT^A40 would have made them one
different  the question is closed; a record that only a lent card had linked leaves with a person of its own
undo       a merge, a parting, what a card had joined, or an answer that moved nothing, by the id of its Task

Every act is one commit with its audit row, made again when another write came first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from msgspec import structs

from ..errors import Conflict, IdentityError, NotFound
from ..model.resource import Json
from ..store.base import AuditRow, Move, Plan, Put, Store
from . import merge, reviews
from .index import PersonIndex
from .match import Code
from .person import Record
from .reviews import Trace
from .workspace import Resolution, Workspace, nth, puts_of

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
        """Take a merge, a parting, what a card had joined, or an answer that moved nothing back."""
        await self._done(lambda desk: take_back(desk, task), audit)

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
    origin, target = await desk.person(desk.home(record.key)), await merge.survivor(desk, candidate)
    await _answer(desk, review, reviews.decided(task, "completed", target.id, word.by, word.note, word.at))
    if origin.id == target.id:
        return
    if merge.contradict(desk, origin, target):
        raise IdentityError(f"Task/{review}", "They hold different cards.", detail_zh="双方证件号不同，不能合并。")
    await merge.join(desk, origin, target, Trace(reviews.JOINED, record.key, word.at, review))


async def part(desk: Workspace, review: str, word: Word) -> None:
    """Not the same person. Where a card had linked the record already, the card is no longer believed there."""
    task, record = await _question(desk, review)
    home = desk.home(record.key)
    if reviews.code_of(task) == Code.CARD_NAME_DIFFERS and await _linked(desk, task, home):
        card = record.card(desk.today).value18
        known = card in record.content.get("_disowned", ())  # nothing to take back with the parting then
        trace = Trace(reviews.PARTED, record.key, word.at, review, "" if known else card)
        home = await merge.part(desk, record, await desk.person(home), trace)
    await _answer(desk, review, reviews.decided(task, "rejected", home, word.by, word.note, word.at))


async def take_back(desk: Workspace, task_id: str) -> None:
    """An act is undone; a review somebody answered is asked again, unless an act followed from it and stands."""
    task, version, member = await desk.read_task(task_id)
    if reviews.code_of(task) not in tuple(Code):
        await merge.undo(desk, task_id)
        return
    if task.get("status") not in reviews.CLOSED or not reviews.by(task):
        raise NotFound(f"Task/{task_id}", "nobody answered it", detail_zh="该复核没有可撤销的结论，请刷新页面。")
    if await _followed(desk, task_id):
        text, zh = "What followed from it stands; undo that.", "由此作出的合并或拆分仍有效，请撤销那一次。"
        raise IdentityError(f"Task/{task_id}", text, detail_zh=zh)
    record = await desk.load(reviews.record_of(task))
    home = desk.home(record.key) if record else ""
    desk.put_task(task_id, reviews.opened_again(task, home), member, version, task)


async def _followed(desk: Workspace, review: str) -> bool:
    """Whether a merge or a parting that answers a review stands; one after another may have been made and undone."""
    for code in (reviews.JOINED, reviews.PARTED):
        for n in count():
            told, _, _ = await desk.read_task(desk.ids.of("Task", code, review, *nth(n)))
            if told.get("status") == reviews.STANDS:
                return True
            if not told:
                break
    return False


async def _linked(desk: Workspace, task: Json, home: str) -> bool:
    """Whether the record is one with a candidate already."""
    return home in [(await merge.survivor(desk, one)).id for one in reviews.candidates_of(task)]


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
