"""`Patient/{id}/$everything`, `Encounter/{id}/$everything`: a whole record at one moment, at once or in pages.

What lies in the compartment, the resource itself first, then the newest; with it what these refer to and is of nobody's
record (mode include). A record of more than `_AT_ONCE` resources
leaves in parts, each audited before it goes. Of a merged Patient it is the survivor's, and says so. `start` and `end`
look at every date of care a resource is found by; what has none (an allergy without onset) belongs to every time.
Sources: FHIR R4 operation-patient-everything.html, operation-encounter-everything.html; design-store §10.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from ...errors import BadParameter
from ...model.rest import Answer, Call, Part, Seen
from ...store.base import Resource, Whole, WholePage
from ...store.index_dates import date_range
from ..fhir_answers import bundle, current, entries, outcome_entry, patients_of
from ..fhir_pages import Token, closed, count_of, opened, token_of
from ..fhir_parts import FhirParts, On, Operation
from ..fhir_query import given_to, pairs, query_text, shape_of
from ..fhir_search import merged_finding, survivor_of

_PARAMETERS = frozenset({"_type", "_since", "_count", "_page"})
_CARE = frozenset({"start", "end"})
_AT_ONCE = 1000
_FIRST, _LAST = -(1 << 62), 1 << 62
_END = b"]}"


async def everything(parts: FhirParts, call: Call, on: On) -> Answer:
    """A searchset Bundle. `_type`, `_since`, `start` and `end` narrow it, `_count` gives pages."""
    given = given_to(call)
    shape_of(given, _known(on), parts.rules(call))
    page = dict(given).get("_page")
    token = await _first(parts, call, on, given) if page is None else _further(parts, call, on, page)
    asked = _asked(parts, on, token)
    found = await parts.store.whole(asked, call.who)
    if not found.resources and not asked.below:
        current(await parts.store.read(asked.type, asked.id, call.who), on.place)
    if _in_parts(token, found):
        return _streamed(parts, call, on, token, asked, found)
    return _page(parts, call, on, token, found)


def _known(on: On) -> frozenset[str]:
    return _PARAMETERS | _CARE if on.type == "Patient" else _PARAMETERS


# ---- the question -----------------------------------------------------------------------------
async def _first(parts: FhirParts, call: Call, on: On, given: list[tuple[str, str]]) -> Token:
    kept = tuple((name, value) for name, value in given if name in _known(on))
    survivor = await survivor_of(parts.store, on.id, call.who) if on.type == "Patient" else ""
    return msgspec.structs.replace(token_of(parts, call, on, query_text(kept)), about=survivor)


def _further(parts: FhirParts, call: Call, on: On, page: str) -> Token:
    return opened(parts, call, on, page, life_s=parts.page_life_s)


def _asked(parts: FhirParts, on: On, token: Token) -> Whole:
    given = pairs(token.query)
    last = dict(given)
    below = token.below
    return Whole(
        on.type,
        token.about or on.id,
        count_of(last["_count"]) if "_count" in last else _AT_ONCE,
        _types(given, parts.types),
        _range("_since", last["_since"])[0] if "_since" in last else None,
        _care(last),
        token.as_of,
        token.at,
        (below[0], below[1], below[2]) if below else None,
        along=True,
    )


def _types(given: list[tuple[str, str]], known: frozenset[str]) -> frozenset[str]:
    asked = {part.strip() for name, value in given if name == "_type" and value for part in value.split(",")}
    unknown = sorted(asked - known)
    if unknown:
        raise BadParameter("_type", unknown[0][:64], detail_zh=f"没有这种资源类型：{unknown[0][:64]}")
    return frozenset(asked)


def _care(given: dict[str, str]) -> tuple[int, int] | None:
    if not _CARE & given.keys():
        return None
    first = _range("start", given["start"])[0] if "start" in given else _FIRST
    last = _range("end", given["end"])[1] if "end" in given else _LAST
    if first > last:
        raise BadParameter("start", "after end", detail_zh="start 晚于 end。")
    return first, last


def _range(name: str, text: str) -> tuple[int, int]:
    try:
        return date_range(text.replace(" ", "+"))
    except ValueError as fault:
        raise BadParameter(name, "a date or an instant", detail_zh="应为日期或时间点。") from fault


# ---- the answer -------------------------------------------------------------------------------
def _page(parts: FhirParts, call: Call, on: On, token: Token, found: WholePage) -> Answer:
    shown = entries(found.resources, call.base, "match") + entries(found.along, call.base, "include")
    total = len(found.resources) if not found.next and not token.below else None
    body = bundle(
        "searchset",
        shown + _remarks(on, token),
        links=_links(parts, call, on, token, found),
        at=found.at,
        total=total,
    )
    return Answer(200, body, seen=_seen(call, on, token, (*found.resources, *found.along)))


def _remarks(on: On, token: Token) -> list[bytes]:
    return [outcome_entry([merged_finding(on.place, on.id, token.about)])] if token.about else []


def _links(parts: FhirParts, call: Call, on: On, token: Token, found: WholePage) -> list[tuple[str, str]]:
    place = f"{call.base}/{on.place}/{on.operation}"
    own = call.query or token.query
    links = [("self", f"{place}?{own}" if own else place)]
    if found.next and "_count" in dict(pairs(token.query)):
        at = int(found.at.timestamp() * 1000)
        following = msgspec.structs.replace(token, as_of=found.as_of, at=at, below=found.next)
        links.append(("next", f"{place}?_page={closed(parts, following)}"))
    return links


def _seen(call: Call, on: On, token: Token, shown: tuple[Resource, ...]) -> Seen:
    person = (token.about or on.id,) if on.type == "Patient" else ()
    people = tuple(dict.fromkeys((*person, *patients_of(shown))))
    said = f"{on.place}/{on.operation}" + (f"?{token.query}" if token.query else "")
    return Seen("E", "operation", people, (f"{on.type}/{token.about or on.id}",), said, f"{len(shown)} resources")


# ---- a long one -------------------------------------------------------------------------------
def _in_parts(token: Token, found: WholePage) -> bool:
    return found.next is not None and "_count" not in dict(pairs(token.query))


def _streamed(parts: FhirParts, call: Call, on: On, token: Token, asked: Whole, found: WholePage) -> Answer:
    """The first part of a Bundle with the rest behind it; all parts show the moment of the first."""
    answer = _page(parts, call, on, token, found)
    at = int(found.at.timestamp() * 1000)
    onward = msgspec.structs.replace(asked, as_of=found.as_of, at=at, below=found.next)
    return msgspec.structs.replace(
        answer, body=answer.body.removesuffix(_END), more=_rest(parts, call, on, token, onward, found.along)
    )


async def _rest(
    parts: FhirParts, call: Call, on: On, token: Token, asked: Whole, given: tuple[Resource, ...]
) -> AsyncIterator[Part]:
    """given: what went along with the first part; once in a Bundle is enough."""
    known = {(one.type, one.id) for one in given}
    while asked.below is not None:
        found = await parts.store.whole(asked, call.who)
        fresh = tuple(one for one in found.along if (one.type, one.id) not in known)
        known |= {(one.type, one.id) for one in fresh}
        added = entries(found.resources, call.base, "match") + entries(fresh, call.base, "include")
        shown = b"".join([b"," + one for one in added])
        yield Part(shown if found.next else shown + _END, _seen(call, on, token, (*found.resources, *fresh)))
        asked = msgspec.structs.replace(asked, below=found.next)


EVERYTHING = (
    Operation(
        "$everything",
        "Patient",
        everything,
        "http://hl7.org/fhir/OperationDefinition/Patient-everything",
        _PARAMETERS | _CARE,
        "居民的全部记录；_type、_since、start、end 缩小范围，_count 分页。",
    ),
    Operation(
        "$everything",
        "Encounter",
        everything,
        "http://hl7.org/fhir/OperationDefinition/Encounter-everything",
        _PARAMETERS,
        "一次就诊的全部记录；_type、_since 缩小范围，_count 分页。",
    ),
)
