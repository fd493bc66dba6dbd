"""Merging two local numbers of one member (ADT^A40), and taking a merge back exactly.

A merge moves the retired number's whole person to the survivor's; a Task keeps which source records
went where. Undo moves exactly those back, whatever was filed under them since. Source: HL7 v2.5.1
§3.3.40; design-store §8.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..errors import IdentityError, NotFound, UnknownNumber
from ..model.message import MergeRequest
from ..model.resource import Json, reference_id
from . import reviews
from .match import REASONS_ZH, Code, Review
from .workspace import Key, Person, Workspace

_ANSWERED = (Code.CARD_CONTRADICTS, Code.CARD_UNVERIFIED, Code.SAME_TRAITS, Code.MERGE_CONTRADICTS)


@dataclass(frozen=True, slots=True)
class Trace:
    """The Task a merge leaves: its id, whose merge it was, when, and the review it answers ("" for none)."""

    task_id: str
    code: str
    said_at: datetime
    review: str = ""


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
    task_id = desk.ids.of("Task", reviews.MERGED, *key, target.id)
    await join(desk, origin, target, Trace(task_id, reviews.MERGED, said_at))


async def join(desk: Workspace, origin: Person, target: Person, trace: Trace) -> None:
    """Move all of `origin` to `target`, leave the Task that undoes it, and close the questions it answers."""
    moved = list(origin.records)
    written = [before for one in (target, origin) if (before := desk.as_it_was(one)) is not None]
    desk.move(moved, origin, target)
    stored, version, _ = await desk.read_task(trace.task_id)
    task = reviews.merge_task(
        target.id, origin.id, moved, trace.said_at, code=trace.code, review=trace.review, written=written
    )
    desk.put_task(trace.task_id, task, moved[0][0], version, stored)
    for one in moved:
        await desk.settle(target.records[one], *_ANSWERED)
    for stayed in [record for one, record in target.records.items() if one not in moved]:
        await desk.settle_met(stayed, Code.SAME_TRAITS, origin.id)


def contradict(desk: Workspace, one: Person, other: Person) -> bool:
    """True when both hold verified cards, and none in common."""
    mine, theirs = _cards(desk, one), _cards(desk, other)
    return bool(mine) and bool(theirs) and not mine & theirs


def _cards(desk: Workspace, person: Person) -> set[str]:
    found = [record.card(desk.today) for record in person.records.values()]
    return {verdict.value18 for verdict in found if verdict.verified}


async def undo(desk: Workspace, task_id: str) -> None:
    """Give the retired person back every record the merge moved. Raises NotFound, IdentityError."""
    task, version, member = await desk.read_task(task_id)
    if reviews.code_of(task) not in reviews.MERGES:
        raise NotFound(f"Task/{task_id}")
    still_stands(task, task_id)
    origin = await desk.person(reference_id(task["for"], "Patient"))
    moved = [key for key in reviews.moved_records(task) if await desk.load(key) is not None]
    survivor = reference_id(task["focus"], "Patient")
    if any(desk.home(key) != survivor for key in moved):
        raise moved_on(task_id)
    desk.take_back(moved, await desk.person(survivor), origin)
    for before in reviews.as_it_was(task):
        await desk.restore(before)
    for key in moved:
        if origin.records[key].provisional:
            await desk.reopen(origin.records[key], Code.CARD_CONTRADICTS)
    desk.put_task(task_id, {**task, "status": "cancelled"}, member, version, task)
    await ask_again(desk, task)


def still_stands(task: Json, task_id: str) -> None:
    """Raises IdentityError for what was taken back before."""
    if task["status"] != "completed":
        raise IdentityError(f"Task/{task_id}", "It was taken back before.", detail_zh="该操作已撤销。")


def moved_on(task_id: str) -> IdentityError:
    """The error for records that a later act moved again."""
    text, zh = "Its records moved on since; undo that first.", "相关本地号此后又有变动，请先撤销后一次。"
    return IdentityError(f"Task/{task_id}", text, detail_zh=zh)


async def ask_again(desk: Workspace, task: Json) -> None:
    """Open the review that an act now taken back had answered."""
    review = reviews.based_on(task)
    stored, version, member = await desk.read_task(review) if review else ({}, 0, "")
    if stored:
        home = desk.home(reviews.record_of(stored)) if await desk.load(reviews.record_of(stored)) else ""
        desk.put_task(review, reviews.opened_again(stored, home), member, version, stored)
