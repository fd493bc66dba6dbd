"""What was filed with a visit follows the visit to another patient (ADT^A45).

A visit carries what lies in its compartment, and the results and specimens of the reports among it; of all this only
what was filed under the Patient the visit had. Source: HL7 v2.5.1 §3.3.45; FHIR R4 compartment Encounter.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..model.context import SYSTEM
from ..model.resource import Json, loads, reference_id, type_and_id
from ..store.base import Resource, Store, Whole
from .report import items_below
from .version import references

_PAGE = 500


async def filed_with(store: Store, encounter_id: str, patient: str) -> list[Resource]:
    """Everything about `Patient/<id>` that lies with the visit, without the visit itself."""
    found: dict[str, Resource] = {}
    asked: Whole | None = Whole("Encounter", encounter_id, _PAGE)
    while asked is not None:
        page = await store.whole(asked, SYSTEM)
        found |= {f"{row.type}/{row.id}": row for row in page.resources}
        asked = page.next and Whole(
            "Encounter", encounter_id, _PAGE, as_of=page.as_of, at=int(page.at.timestamp() * 1000), below=page.next
        )
    found.pop(f"Encounter/{encounter_id}", None)
    await _add_parts(store, found)
    mark = f'"Patient/{patient}"'.encode()
    return [row for row in found.values() if mark in row.body]


async def _add_parts(store: Store, found: dict[str, Resource]) -> None:
    """Results below the reports, and specimens, level by level."""
    level = list(found.values())
    while level:
        bodies = {f"{row.type}/{row.id}": loads(row.body) for row in level}
        wanted = [ref for ref in dict.fromkeys(parts_of(bodies.values())) if ref not in found]
        level = await store.read_many([type_and_id(ref) for ref in wanted], SYSTEM)
        found |= {f"{row.type}/{row.id}": row for row in level}


def parts_of(bodies: Iterable[Json]) -> list[str]:
    """`Type/id` of the results and specimens these resources name."""
    bodies = list(bodies)
    specimens = [one for body in bodies for one in _specimens(body)]
    return [*items_below(bodies, {}), *references(specimens, "Specimen")]


def _specimens(body: Json) -> list[Json]:
    found = body.get("specimen", ())
    return [found] if isinstance(found, dict) else [one for one in found if isinstance(one, dict)]


def subject_of(body: Json) -> str:
    """Patient id of a visit, "" without one."""
    return reference_id(body.get("subject", {}), "Patient")
