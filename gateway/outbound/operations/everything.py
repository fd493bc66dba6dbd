"""`Patient/{id}/$everything`: the person's whole record, at one moment, in one Bundle or in pages.

Source: FHIR R4 operation-patient-everything.html. Of a merged Patient it is the survivor's, and says so.
"""

from __future__ import annotations

from datetime import datetime

from ...errors import BadParameter, NotFound
from ...model.outcome import Finding
from ...model.rest import Answer, Call, Seen
from ...model.times import parse_fhir
from ...store.base import Resource
from ..fhir_answers import bundle, entry, outcome_entry, patients_of
from ..fhir_parts import FhirParts, On, Operation
from ..fhir_query import MAX_COUNT, pairs, query_text, shape_of
from ..fhir_search import merged_finding, survivor_of

_PARAMETERS = frozenset({"_type", "_since", "_count", "_page"})


async def everything(parts: FhirParts, call: Call, on: On) -> Answer:
    """A searchset Bundle: the Patient first. `_type` and `_since` narrow it, `_count` gives pages."""
    given = pairs(call.query)
    shape_of(given, _PARAMETERS, parts.rules(call))
    asked = dict(given)
    types = _types(asked.get("_type", ""), parts.types)
    survivor = await survivor_of(parts.store, on.id, call.who)
    found = await parts.store.everything(survivor or on.id, call.who, types=types)
    if not found and await parts.store.read("Patient", on.id, call.who) is None:
        raise NotFound(on.place)
    person = survivor or on.id
    # A Patient merged into this one lies in the compartment by its link; the record has one Patient all the same.
    own = [one for one in found if one.type != "Patient" or one.id == person]
    since = _instant(asked.get("_since", ""))
    kept = _ordered([one for one in own if since is None or one.at >= since])
    shown, following = _page(kept, asked)
    entries = [entry(one, call.base, "match") for one in shown]
    if survivor:
        entries.append(outcome_entry([_remark(on, survivor)]))
    links = _links(call, on, asked, following)
    total = len(kept) if "_count" in asked else None
    body = bundle("searchset", entries, links=links, at=parts.store.horizon()[1], total=total)
    people = tuple(dict.fromkeys((person, *patients_of(shown))))
    return Answer(200, body, seen=Seen("E", "operation", people, (f"Patient/{person}",), _query(call, on)))


def _query(call: Call, on: On) -> str:
    return f"{on.place}/$everything" + (f"?{call.query}" if call.query else "")


def _remark(on: On, survivor: str) -> Finding:
    return merged_finding(on.place, on.id, survivor)


def _types(text: str, known: frozenset[str]) -> frozenset[str] | None:
    if not text:
        return None
    asked = frozenset(part.strip() for part in text.split(","))
    unknown = sorted(asked - known)
    if unknown:
        raise BadParameter("_type", unknown[0][:64])
    return asked


def _instant(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return parse_fhir(text.replace(" ", "+"))
    except ValueError as fault:
        raise BadParameter("_since", "an instant", detail_zh="应为时间点。") from fault


def _ordered(found: list[Resource]) -> list[Resource]:
    """The Patient first, then by type and id: an order that does not move when versions do, so pages never shift."""
    return sorted(found, key=lambda one: (one.type != "Patient", one.type, one.id))


def _page(kept: list[Resource], asked: dict[str, str]) -> tuple[list[Resource], str]:
    if "_count" not in asked:
        return kept, ""
    text = asked["_count"]
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) == 0:
        raise BadParameter("_count", "a whole number above 0", detail_zh="应为正整数。")
    count, after = min(int(text), MAX_COUNT), asked.get("_page", "")
    rest = kept
    if after:
        type_, _, id_ = after.partition("/")
        rest = [one for one in kept if (one.type != "Patient", one.type, one.id) > (type_ != "Patient", type_, id_)]
    shown = rest[:count]
    return shown, f"{shown[-1].type}/{shown[-1].id}" if len(rest) > count else ""


def _links(call: Call, on: On, asked: dict[str, str], following: str) -> list[tuple[str, str]]:
    place = f"{call.base}/{on.place}/$everything"
    links = [("self", place + (f"?{call.query}" if call.query else ""))]
    if following:
        kept = tuple((key, value) for key, value in asked.items() if key != "_page")
        links.append(("next", f"{place}?{query_text((*kept, ('_page', following)))}"))
    return links


EVERYTHING = Operation(
    "$everything",
    "Patient",
    everything,
    "http://hl7.org/fhir/OperationDefinition/Patient-everything",
    _PARAMETERS,
    "居民的全部记录；_type、_since 缩小范围，_count 分页。",
)
