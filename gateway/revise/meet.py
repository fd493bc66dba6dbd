"""What was told under two numbers meets once these are one person's, and parts when that is taken back.

A merge, a card told later, a steward's decision or its undoing, and the move of a visit put resources with another
Patient. There and then, in the same commit, what names another thing by number gets its reference to what is about the
same Patient by now, and loses the one to what is not any more. Source: FHIR R4 §2.3.0.2 (logical references).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..model.context import SYSTEM
from ..model.resource import loads, type_and_id
from ..store.base import Move, Put, Resource, Store
from ..store.bodies import prepare
from .link import LITERAL, NAMED, NAMING, Find, moved, patient_of, pointed, subject
from .version import Step, again, bare

_MEETING = NAMED | NAMING


async def met(store: Store, steps: Sequence[Step], moves: Sequence[Move], carried: Iterable[str] = ()) -> list[Step]:
    """The steps, and what else changes because resources come to lie with another Patient.

    carried: ids of Patients between whom the steps themselves carry resources.
    """
    people = dict.fromkeys([*carried, *(one for move in moves for one in (move.from_patient, move.to_patient))])
    if not people:
        return list(steps)
    rows: dict[str, Resource] = {}
    for one in people:
        found = await store.everything(one, SYSTEM, types=_MEETING)
        rows |= {f"{row.type}/{row.id}": row for row in found if row.type in _MEETING}
    places = {f"{step.resource.type}/{step.resource.id}": place for place, step in enumerate(steps)}
    after = {ref: moved(row, moves) for ref, row in rows.items()}
    after |= {ref: steps[place].resource.body for ref, place in places.items() if _type(ref) in _MEETING}
    find, out = _among(after), list(steps)
    for ref in [one for one in after if _type(one) in NAMING]:
        new = await _right(after[ref], after, find)
        if new == after[ref]:
            continue
        if (place := places.get(ref)) is not None:
            out[place] = out[place]._replace(resource=out[place].resource._replace(body=new))
        else:
            out.append(again(rows[ref], bare(loads(new)), loads(after[ref]), patient_of(new)))
    return out


async def puts_met(store: Store, moves: Sequence[Move]) -> list[Put]:
    """The same for a plan that has nothing but moves, beside what the moves themselves change."""
    return [
        prepare(
            one.type, one.id, one.body, patient=step.patient, src=step.src, member=step.member,
            meta=step.meta, expect=step.expect,
        )
        for step in await met(store, (), moves)
        for one in (step.resource,)
    ]  # fmt: skip


def _type(ref: str) -> str:
    return type_and_id(ref)[0]


def _among(bodies: Mapping[str, bytes]) -> Find:
    by_number: dict[tuple[str, object, object], list[tuple[str, bytes]]] = {}
    for ref, body in bodies.items():
        type_, id_ = type_and_id(ref)
        for one in loads(body).get("identifier", ()) if type_ in NAMED else ():
            by_number.setdefault((type_, one.get("system"), one.get("value")), []).append((id_, body))

    async def found(type_: str, system: str, value: str) -> Iterable[tuple[str, bytes]]:
        return by_number.get((type_, system, value), ())

    return found


async def _right(body: bytes, bodies: Mapping[str, bytes], find: Find) -> bytes:
    """The body with references to what is about the same Patient, and to nothing of another one."""
    for one in LITERAL.finditer(body):
        other = bodies.get(one.group(1).decode())
        if other is not None and subject(other) != subject(body):
            body = body.replace(one.group(0), b"{" + one.group(0).partition(b",")[2])
    return (await pointed(body, find)).body
