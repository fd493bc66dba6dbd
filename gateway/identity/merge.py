"""Acts that take records to another person, each told in a Task, and taking one back exactly.

A member's ADT^A40 and a steward's word move a whole person; a verified card moves one, or the one record that says it;
a parting takes out what only a card had brought. Undo moves exactly those back, whatever was filed under them since. A
card whose act was taken back proves nothing for these records from then on, so that it does not move them again.
Source: HL7 v2.5.1 §3.3.40; design-store §8.
"""

from __future__ import annotations

from datetime import datetime

from ..errors import IdentityError, NotFound, UnknownNumber
from ..model.message import MergeRequest
from ..model.resource import Json, reference_id
from ..model.times import parse_fhir
from . import reviews
from .match import REASONS_ZH, Code, Review
from .person import Record, acts_of, disowned, owned_again, with_acts
from .reviews import Trace
from .workspace import Key, Person, Workspace

_ANSWERED = (
    Code.CARD_CONTRADICTS, Code.CARD_UNVERIFIED, Code.SAME_TRAITS, Code.MERGE_CONTRADICTS, Code.MERGE_UNDONE,
)  # fmt: skip
_RETIRING = (reviews.MERGED, reviews.JOINED, reviews.CARD_JOINED)


async def apply(desk: Workspace, survivor_key: Key, request: MergeRequest, said_at: datetime) -> None:
    """Move the person of the retired number to the person of the survivor.

    Nothing happens when they are one already. Two different verified cards are not merged but
    reviewed: one of the numbers is wrong. Raises UnknownNumber.
    """
    key = (request.member, request.retired_number)
    record = await desk.load(key)
    if record is None:
        raise UnknownNumber("MRG-1")
    target, origin = await desk.person(desk.home(survivor_key)), await desk.person(desk.home(key))
    if target.id == origin.id:
        return
    if contradict(desk, target, origin):
        review = Review(Code.MERGE_CONTRADICTS, REASONS_ZH[Code.MERGE_CONTRADICTS], (target.id,))
        await desk.ask(review, record, said_at)
        return
    await join(desk, origin, target, Trace(reviews.MERGED, key, said_at))


async def join(desk: Workspace, origin: Person, target: Person, trace: Trace) -> None:
    """Move all of `origin` to `target`, and close the questions it answers."""
    for one in await carry(desk, list(origin.records), origin, target, trace):
        await desk.settle(target.records[one], *_ANSWERED)


async def carry(desk: Workspace, keys: list[Key], origin: Person, target: Person, trace: Trace) -> list[Key]:
    """Records go to another person, and a Task tells how to take that back. Gives the keys of all that went."""
    written = [before for one in (target, origin) for before in await _as_it_was(desk, one)]
    moved = desk.move(keys, origin, target)
    task = reviews.act_task(target.id, origin.id, moved, trace, written)
    act = await desk.put_act(task, trace.about[0], *([trace.review] if trace.review else trace.about))
    for key in moved:
        desk.attach(target, with_acts(target.records[key], [*acts_of(target.records[key]), act]))
    if origin.survivor:
        for stayed in [record for one, record in target.records.items() if one not in moved]:
            await desk.settle_met(stayed, Code.SAME_TRAITS, origin.id)
    return moved


async def _as_it_was(desk: Workspace, person: Person) -> list[reviews.Before]:
    """What a client had written of the person, now or before acts that stand: whichever goes back last needs it."""
    if (now := desk.as_it_was(person)) is not None:
        return [now]
    acts = dict.fromkeys(act for record in person.records.values() for act in acts_of(record))
    told = [one for act in acts for one in reviews.as_it_was((await desk.read_task(act))[0])]
    return [one for one in dict.fromkeys(told) if one.patient == person.id and not person.survivor]


async def part(desk: Workspace, record: Record, holder: Person, trace: Trace) -> str:
    """The record leaves whom its card had brought it to, with those that came along. Gives the person it is now."""
    keys, origin = await _came(desk, record, holder)
    if len(keys) < len(holder.records):
        for key in await carry(desk, keys, holder, origin, trace):
            desk.attach(origin, disowned(origin.records[key], *([trace.card] if trace.card else [])))
    return desk.home(record.key)


async def _came(desk: Workspace, record: Record, holder: Person) -> tuple[list[Key], Person]:
    """(the records that came by this record's card, the person they are to be: as before, or one of their own)."""
    acts = [(await desk.read_task(one))[0] for one in acts_of(record)]
    act = next((one for one in acts[::-1] if reviews.code_of(one) in reviews.BY_CARD), None)
    if act is None:
        return [record.key], await desk.aside(record, "apart", holder)
    keys = [key for key in reviews.moved_records(act) if await desk.load(key) and desk.home(key) == holder.id]
    former = await desk.person(reference_id(act["for"], "Patient"))
    if act is acts[-1] and _leads(act, former, holder):
        return keys, former
    return keys, await desk.aside(record, "apart", holder)


def _leads(act: Json, origin: Person, holder: Person) -> bool:
    """Whether who the records came from still is what the act had made of them."""
    return not origin.survivor or (reviews.code_of(act) in _RETIRING and origin.survivor == holder.id)


async def survivor(desk: Workspace, patient_id: str) -> Person:
    """Who stands for a Patient now."""
    person = await desk.person(patient_id)
    while person.survivor:
        person = await desk.person(person.survivor)
    return person


def contradict(desk: Workspace, one: Person, other: Person) -> bool:
    """True when both hold verified cards, and none in common."""
    mine, theirs = _cards(desk, one), _cards(desk, other)
    return bool(mine) and bool(theirs) and not mine & theirs


def _cards(desk: Workspace, person: Person) -> set[str]:
    found = [record.card(desk.today) for record in person.records.values()]
    return {verdict.value18 for verdict in found if verdict.verified}


async def undo(desk: Workspace, task_id: str) -> None:
    """As if the act had never been: everybody has their records again. Raises NotFound, IdentityError."""
    task, version, member = await desk.read_task(task_id)
    if reviews.code_of(task) not in reviews.ACTS:
        raise NotFound(f"Task/{task_id}")
    still_stands(task, task_id)
    records = [one for key in reviews.moved_records(task) if (one := await desk.load(key)) is not None]
    if any(acts_of(one)[-1:] != [task_id] for one in records):
        raise moved_on(task_id)
    holder, origin = [await desk.person(reference_id(task[one], "Patient")) for one in ("focus", "for")]
    if not _leads(task, origin, holder):
        raise merged_on(task_id)
    moved = desk.move([one.key for one in records], holder, origin)
    if not holder.records and not holder.survivor:  # its own records went elsewhere
        raise moved_on(task_id)
    for key in moved:
        desk.attach(origin, with_acts(_believed(task, origin.records[key]), acts_of(origin.records[key])[:-1]))
    for before in reviews.as_it_was(task):
        await desk.restore(before)
    for key in moved:
        if origin.records[key].provisional:
            await desk.reopen(origin.records[key], Code.CARD_CONTRADICTS)
    desk.put_task(task_id, {**task, "status": "cancelled"}, member, version, task)
    await _ask_again(desk, task, holder)


def _believed(task: Json, record: Record) -> Record:
    """What an act had made of a card is taken back with it: believed again, or not any more."""
    card = reviews.card_of(task)
    if not card:
        return record
    return owned_again(record, card) if reviews.code_of(task) == reviews.PARTED else disowned(record, card)


def still_stands(task: Json, task_id: str) -> None:
    """Raises IdentityError for what was taken back before."""
    if task["status"] != "completed":
        raise IdentityError(f"Task/{task_id}", "It was taken back before.", detail_zh="该操作已撤销。")


def moved_on(task_id: str) -> IdentityError:
    """The error for records that a later act moved again."""
    text, zh = "Its records moved on since; undo that first.", "相关本地号此后又有变动，请先撤销后一次。"
    return IdentityError(f"Task/{task_id}", text, detail_zh=zh)


def merged_on(task_id: str) -> IdentityError:
    """The error for records whose former person is another one's by now."""
    text, zh = (
        "Whom its records came from was merged since; undo that first.",
        "原居民此后又与他人合并，请先撤销那次合并。",
    )
    return IdentityError(f"Task/{task_id}", text, detail_zh=zh)


async def _ask_again(desk: Workspace, task: Json, holder: Person) -> None:
    """Open the review that an act now taken back had answered; of a card's act, ask whether it was right after all."""
    if reviews.code_of(task) in reviews.BY_CARD:
        if not holder.survivor:
            await _ask_of_card(desk, task, holder)
        return
    if reviews.code_of(task) == reviews.MERGED:
        if not holder.survivor:
            await _ask_of_merge(desk, task, holder)
        return
    review = reviews.based_on(task)
    stored, version, member = await desk.read_task(review) if review else ({}, 0, "")
    if stored:
        home = desk.home(reviews.record_of(stored)) if await desk.load(reviews.record_of(stored)) else ""
        desk.put_task(review, reviews.opened_again(stored, home), member, version, stored)


async def _ask_of_merge(desk: Workspace, task: Json, holder: Person) -> None:
    """A member had made them one: what was open between them is asked again, else the merge itself, so that taking
    it back by a slip can be mended."""
    record = await desk.load(reviews.record_of(task))
    if record is None or any([await desk.reopen(record, code, holder.id) for code in _ANSWERED]):
        return
    review = Review(Code.MERGE_UNDONE, REASONS_ZH[Code.MERGE_UNDONE], (holder.id,))
    await desk.ask(review, record, parse_fhir(task["authoredOn"]))


async def _ask_of_card(desk: Workspace, task: Json, holder: Person) -> None:
    record = await desk.load(reviews.record_of(task))
    if record is None or await desk.reopen(record, Code.CARD_NAME_DIFFERS, holder.id):
        return
    review = Review(Code.CARD_UNVERIFIED, "证件号相同，凭证件的归并已撤销", (holder.id,))
    await desk.ask(review, record, parse_fhir(task["authoredOn"]))
    await desk.reopen(record, Code.CARD_UNVERIFIED, holder.id)
