"""What is told of a visit under the patient it was moved from belongs where the visit is now (ADT^A45, told late).

A report under the wrong number, sent before the move or by a system nobody told of it, names a visit that once lay
under this very source record and does not any more: its resources go to the Patient and the record the visit has now.
A visit that never lay there is no reason to give anybody another person's results.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..model.context import SYSTEM
from ..model.message import DraftResource
from ..model.outcome import Finding
from ..model.resource import Json, loads, type_and_id
from ..store.base import Move, Resource, Store
from .carry import parts_of, subject_of
from .told import told

_VISIT = re.compile(rb'"reference":"(Encounter/[^"]+)"')
_HISTORY = 50
_BY_MESSAGE = frozenset({"Observation", "Specimen", "Provenance"})
"""Types that are not looked at for a visit of their own: they go where their head goes."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a visit is now: the Patient's id, and the source record."""

    patient: str
    src: int


async def moved_away(
    store: Store,
    drafts: Sequence[DraftResource],
    stored: Mapping[str, Resource],
    srcs: Sequence[int],
    moves: Sequence[Move],
    said_at: datetime | None,
) -> tuple[dict[str, Home], list[str], list[Finding]]:
    """`Type/id` of drafts that belong to a visit which was moved away from their source record, and where it is now.

    Also the visits the message itself tells back to a record they once lay under, later than they were moved.
    stored: what is stored under the drafts' ids. srcs: the message's source records.
    """
    visits = visits_of(drafts) | _named(row.body for row in stored.values())
    if not visits or not srcs:
        return {}, [], []
    known = {one: row for one, row in stored.items() if one in visits}
    asked = [type_and_id(one) for one in visits if one not in stored]
    known |= {f"{row.type}/{row.id}": row for row in await store.read_many(asked, SYSTEM)}
    homes: dict[str, Home] = {}
    back: list[str] = []
    for ref, row in known.items():
        if row.src in srcs or not await _was(store, row, srcs):
            continue
        if any(f"{one.type}/{one.id}" == ref and _wins(one, row, said_at) for one in drafts):
            back.append(ref)
        else:
            homes[ref] = Home(_patient(row, moves), row.src)
    found = {one: home for ref, home in homes.items() for one in _filed(drafts, stored, ref)}
    return found, back, [_finding(ref) for ref in homes]


def visits_of(drafts: Iterable[DraftResource]) -> set[str]:
    """Visits the drafts are, or name: `Encounter/abc`."""
    heads = [one for one in drafts if one.type not in _BY_MESSAGE]
    return {f"Encounter/{one.id}" for one in heads if one.type == "Encounter"} | _named(one.body for one in heads)


def _named(bodies: Iterable[bytes]) -> set[str]:
    return {one.decode() for body in bodies for one in _VISIT.findall(body)}


def _wins(draft: DraftResource, row: Resource, said_at: datetime | None) -> bool:
    """Whether what this message tells of the visit itself is the latest about whose it is."""
    return subject_of(told(loads(row.body), draft, said_at).body) == subject_of(draft.json)


async def _was(store: Store, row: Resource, srcs: Sequence[int]) -> bool:
    """Whether the visit lay under one of these source records once."""
    return any(one.src in srcs for one in await store.history(row.type, row.id, SYSTEM, count=_HISTORY))


def _patient(row: Resource, moves: Iterable[Move]) -> str:
    found = subject_of(loads(row.body))
    return next((one.to_patient for one in moves if row.src in one.srcs and one.from_patient == found), found)


def _filed(drafts: Sequence[DraftResource], stored: Mapping[str, Resource], visit: str) -> set[str]:
    """The drafts that are the visit or name it, with their results and specimens."""
    mark = f'"{visit}"'.encode()
    bodies: dict[str, Json] = {}
    found: set[str] = set()
    for one in drafts:
        ref = f"{one.type}/{one.id}"
        bodies[ref] = one.json
        if ref == visit or mark in one.body or (ref in stored and mark in stored[ref].body):
            found.add(ref)
    found -= {ref for ref in found if ref.startswith("Provenance/")}
    level = found
    while level:
        level = {ref for ref in parts_of(bodies[one] for one in level) if ref in bodies and ref not in found}
        found = found | level
    return found


def _finding(ref: str) -> Finding:
    zh = "就诊已转到另一位患者名下：随该就诊的内容一并归到那位患者。"
    en = "The visit was moved to another patient; what was told of it lies with that patient."
    return Finding("GW-REV-005", "information", ref, zh, en)
