"""A denial of all allergies cannot stand beside an allergy its own source tells, in whatever order both arrive.

It is refuted, not deleted: a client that reads AllergyIntolerance must never find 无已知过敏 as the whole truth.
What another member says stays its own. Source: FHIR R4 AllergyIntolerance §9.1.5.1 (no known allergy).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..model import systems
from ..model.context import SYSTEM
from ..model.message import DraftResource
from ..model.query import Filter, Query
from ..model.resource import Json, dumps, loads, reference_id
from ..store.base import Resource, Store
from .version import Step, again, bare

_TYPE = "AllergyIntolerance"
_DENIAL = "no-known-allergy"
_OVER = frozenset({"refuted", "entered-in-error", "inactive", "resolved"})
_MOST = 200


async def disproved(
    store: Store, drafts: Sequence[DraftResource], stored: Collection[str], srcs: Sequence[int]
) -> tuple[list[DraftResource], list[Step]]:
    """The drafts, a denial among them refuted where an allergy is stored; and the stored denials new allergies refute.

    stored: `Type/id` of what is stored under the drafts' ids. srcs: source records of the message, by draft.record.
    """
    out, steps, own = list(drafts), list[Step](), {one.id for one in drafts if one.type == _TYPE}
    for place, one in enumerate(drafts):
        if one.type != _TYPE or not _stands(body := one.json):
            continue
        if _denies(body):
            if any(_stands(other) and not _denies(other) for _, other in await _others(store, one, body, srcs)):
                out[place] = one._replace(body=dumps(_refuted(body)))
        elif f"{_TYPE}/{one.id}" not in stored:
            found = [pair for pair in await _others(store, one, body, srcs) if _denies(pair[1]) and _stands(pair[1])]
            steps += [again(row, bare(_refuted(old)), old, _patient(old)) for row, old in found if row.id not in own]
    return out, list({step.resource.id: step for step in steps}.values())


async def _others(store: Store, one: DraftResource, body: Json, srcs: Sequence[int]) -> list[tuple[Resource, Json]]:
    """What the same source record has stored of the person's allergies."""
    asked = Query(_TYPE, (Filter("patient", "reference", (f"Patient/{_patient(body)}",)),), count=_MOST)
    rows = (await store.search(asked, SYSTEM)).matches
    return [(row, loads(row.body)) for row in rows if row.id != one.id and row.src == srcs[one.record]]


def _patient(body: Json) -> str:
    return reference_id(body.get("patient", {}), "Patient")


def _codes(body: Json, element: str) -> set[str]:
    return {str(coding.get("code", "")) for coding in body.get(element, {}).get("coding", ())}


def _denies(body: Json) -> bool:
    return _DENIAL in _codes(body, "code")


def _stands(body: Json) -> bool:
    return not _OVER & (_codes(body, "clinicalStatus") | _codes(body, "verificationStatus"))


def _refuted(body: Json) -> Json:
    clinical = {"coding": [{"system": systems.ALLERGY_CLINICAL, "code": "inactive"}]}
    verification = {"coding": [{"system": systems.ALLERGY_VERIFICATION, "code": "refuted"}]}
    return {**body, "clinicalStatus": clinical, "verificationStatus": verification}
