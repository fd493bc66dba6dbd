"""Merging two local numbers of one member (ADT^A40), and taking a merge back exactly.

A merge moves the retired number's whole person to the survivor's; a Task keeps which source records
went where. Undo moves exactly those back, whatever was filed under them since. Source: HL7 v2.5.1
§3.3.40; design-store §8.
"""

from __future__ import annotations

from datetime import datetime

from ..errors import IdentityError, NotFound, UnknownNumber
from ..model.message import MergeRequest
from ..model.resource import reference_id
from . import reviews
from .match import REASONS_ZH, Code, Review
from .workspace import Key, Person, Workspace

_ANSWERED = (Code.CARD_CONTRADICTS, Code.CARD_UNVERIFIED, Code.SAME_TRAITS, Code.MERGE_CONTRADICTS)


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
    if _different(_cards(desk, target), _cards(desk, origin)):
        review = Review(Code.MERGE_CONTRADICTS, REASONS_ZH[Code.MERGE_CONTRADICTS], (target.id,))
        await desk.ask(review, record, said_at)
        return
    moved = list(origin.records)
    desk.move(moved, origin, target)
    task_id = desk.ids.of("Task", reviews.MERGED, *key, target.id)
    stored, version, _ = await desk.read_task(task_id)
    desk.put_task(task_id, reviews.merge_task(target.id, origin.id, moved, said_at), key[0], version, stored)
    for one in moved:
        await desk.settle(target.records[one], *_ANSWERED)
    for stayed in [record for one, record in target.records.items() if one not in moved]:
        await desk.settle_met(stayed, Code.SAME_TRAITS, origin.id)


def _cards(desk: Workspace, person: Person) -> set[str]:
    found = [record.card(desk.today) for record in person.records.values()]
    return {verdict.value18 for verdict in found if verdict.verified}


def _different(one: set[str], other: set[str]) -> bool:
    return bool(one) and bool(other) and not one & other


async def undo(desk: Workspace, task_id: str) -> None:
    """Give the retired person back every record the merge moved. Raises NotFound, IdentityError."""
    task, version, member = await desk.read_task(task_id)
    if not task or reviews.code_of(task) != reviews.MERGED:
        raise NotFound(f"Task/{task_id}")
    if task["status"] != "completed":
        raise IdentityError(f"Task/{task_id}", "The merge was taken back before.", detail_zh="该合并已撤销。")
    origin = await desk.person(reference_id(task["for"], "Patient"))
    moved = [key for key in reviews.moved_records(task) if await desk.load(key) is not None]
    survivor = reference_id(task["focus"], "Patient")
    if any(desk.home(key) != survivor for key in moved):
        raise IdentityError(
            f"Task/{task_id}",
            "Its records moved on since; undo that first.",
            detail_zh="相关本地号此后又有变动，请先撤销后一次。",
        )
    desk.take_back(moved, await desk.person(survivor), origin)
    for key in moved:
        if origin.records[key].provisional:
            await desk.reopen(origin.records[key], Code.CARD_CONTRADICTS)
    desk.put_task(task_id, {**task, "status": "cancelled"}, member, version, task)
