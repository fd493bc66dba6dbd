"""Search of one type, of several or of a compartment: understood, led to the surviving persons, run at one moment.

Source: FHIR R4 search.html; design-store §5 (one moment a search), §8 (persons on the wire).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeGuard

import msgspec
from msgspec.structs import replace

from ..errors import BadParameter, ExpiredPage, UnknownParameter, UnsupportedMedia
from ..model.context import AccessContext
from ..model.outcome import Finding
from ..model.query import Chain, Filter, Has, Query
from ..model.rest import Answer, Call, Seen
from ..store.base import Condition, Page, Resource, StoreReads
from ..store.includes import LIMIT
from ..validate.definitions import compartment
from .fhir_answers import bundle, entries, entry, outcome_entry, patients_of, subset
from .fhir_conditions import Parameter
from .fhir_parts import On, SearchParts
from .fhir_query import Parsed, Rules, Shape, pairs, parse, query_text

_MAX_MERGES = 8
_LINKS = "fhir-page"
_FORM = "application/x-www-form-urlencoded"
_CUT = Finding(
    "GW-STO-004",
    "warning",
    "_include",
    f"随附资源过多（最多 {LIMIT} 个，且有时限），只给出一部分。",
    f"Too much was to be included (at most {LIMIT}, within some seconds); some is left out.",
)


class _Reference(msgspec.Struct):
    reference: str = ""


class _Link(msgspec.Struct):
    type: str = ""
    other: _Reference = msgspec.field(default_factory=_Reference)


class _Person(msgspec.Struct):
    link: list[_Link] = []


class _Token(msgspec.Struct):
    """What a paging link carries, sealed."""

    type: str
    query: str
    cursor: str
    user: str
    at: float


_person = msgspec.json.Decoder(_Person)
_token = msgspec.json.Decoder(_Token)


class _Asked(msgspec.Struct, frozen=True):
    """A search as asked: parsed, its cursor, the query text for the audit, and what was applied, for the links.

    people: Patients its references name. known: the parameters it was understood by.
    """

    parsed: Parsed
    cursor: str
    text: str
    applied: str
    people: tuple[str, ...]
    known: Mapping[str, Parameter] = {}


_understood_before: dict[tuple[object, ...], _Asked] = {}
"""Clients ask the same again and again. By everything the meaning rests on but the parameters in force."""
_REMEMBERED, _LONGEST = 2_000, 2_000


async def search(parts: SearchParts, call: Call, on: On) -> Answer:
    """A searchset Bundle; `next` carries a sealed token, so no value of the search stands in a link we make."""
    asked = _understood(parts, call, on)
    query, findings = await _led_to_survivors(parts.store, call, asked)
    page = await parts.store.search(replace(query, cursor=asked.cursor) if asked.cursor else query, call.who)
    shape = asked.parsed.shape
    found = [] if shape.summary == "count" else _entries(page, call.base, shape)
    remarks = [*asked.parsed.ignored, *findings, *([_CUT] if page.cut else [])]
    if remarks:
        found.append(outcome_entry(remarks))
    body = bundle("searchset", found, links=_links(parts, call, on, asked, page), at=page.at, total=page.total)
    counted = "count only" if shape.summary == "count" else f"{len(page.matches)} matches"
    seen = Seen("E", on.name, patients_of((*page.matches, *page.included)), (), f"{on.place}?{asked.text}", counted)
    return Answer(200, body, seen=seen)


def _understood(parts: SearchParts, call: Call, on: On) -> _Asked:
    text = _query_of(call)
    known = parts.lookup(on.type) if on.type else {}
    key = (on.type, on.within, text, call.base, parts.rules(call))
    asked = _understood_before.get(key)
    if asked is not None and asked.known is known:
        return asked
    asked = msgspec.structs.replace(_newly_understood(parts, call, on, text), known=known)
    if on.type and asked.text == text and len(text) < _LONGEST:  # a sealed link is its owner's, each time
        if len(_understood_before) >= _REMEMBERED:
            _understood_before.clear()
        _understood_before[key] = asked
    return asked


def _newly_understood(parts: SearchParts, call: Call, on: On, text: str) -> _Asked:
    given = pairs(text)
    page = dict(given).get("_page")
    if page is None:
        return _asked(_parsed(parts, call, on, given), call.base, "", text)
    others = [name for name, _ in given if name not in ("_page", "_format", "_pretty")]
    if others:
        raise UnknownParameter(
            others[0][:64], "a paging link takes no further parameters", detail_zh="翻页链接不能再加参数。"
        )
    token = _opened(parts, call, on, page)
    return _asked(_parsed(parts, call, on, pairs(token.query)), call.base, token.cursor, token.query)


def _asked(parsed: Parsed, base: str, cursor: str, text: str) -> _Asked:
    """With addresses of this server as plain references."""
    filters = tuple(_local(one, base) if _may_be_ours(one) else one for one in parsed.query.filters)
    named = [(one, value) for one in filters if _names_resources(one) for value in one.values]
    people = tuple(dict.fromkeys(id_ for one, value in named if (id_ := _patient_of(one, value))))
    applied = query_text(parsed.applied)
    return _Asked(replace(parsed, query=replace(parsed.query, filters=filters)), cursor, text, applied, people)


def _names_resources(one: Filter | Chain | Has) -> TypeGuard[Filter]:
    return isinstance(one, Filter) and one.kind == "reference" and one.modifier not in ("missing", "identifier")


def _may_be_ours(one: Filter | Chain | Has) -> TypeGuard[Filter]:
    """True where a value may be an address of this server: a reference, or a value set."""
    return _names_resources(one) or (isinstance(one, Filter) and one.modifier in ("in", "not-in"))


def _local(one: Filter, base: str) -> Filter:
    return replace(one, values=tuple([value.removeprefix(base + "/") for value in one.values]))


def _patient_of(one: Filter, value: str) -> str:
    """The id of the Patient a value names, "" for another value."""
    id_ = value if one.code == "patient" or one.modifier == "Patient" else ""
    id_ = value[8:] if value.startswith("Patient/") else id_
    return "" if "/" in id_ else id_


def _parsed(parts: SearchParts, call: Call, on: On, given: list[tuple[str, str]]) -> Parsed:
    """Of one type; of a compartment, all of its types; of the system, the types that `_type` names."""
    if on.type:
        parsed = parse(on.type, given, parts.lookup, parts.rules(call))
    else:
        parsed = parse("", given, parts.lookup, parts.rules(call), types=_types_of(parts, on, given))
    return replace(parsed, query=replace(parsed.query, within=on.within))


def _types_of(parts: SearchParts, on: On, given: list[tuple[str, str]]) -> frozenset[str]:
    served = parts.types - {"AuditEvent"}
    if on.within:
        owner = on.within.partition("/")[0]
        return served & {owner, *compartment(owner)}
    if all(name != "_type" for name, _ in given):
        raise BadParameter("_type", "name the types: _type=Patient,Observation", detail_zh="请用 _type 指明资源类型。")
    return served


def _query_of(call: Call) -> str:
    if call.method != "POST":
        return call.query
    if call.body and not call.header("content-type").lower().startswith(_FORM):
        raise UnsupportedMedia("_search", _FORM)
    try:
        form = call.body.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise BadParameter("_search", "not UTF-8", detail_zh="不是 UTF-8 编码。") from fault
    return "&".join(part for part in (call.query, form) if part)


def _opened(parts: SearchParts, call: Call, on: On, page: str) -> _Token:
    clear = parts.seal(_LINKS).open(page)
    if clear is None:
        raise BadParameter("_page", "not a link of this server", detail_zh="不是本服务器的翻页链接。")
    token = _token.decode(clear)
    if token.type != on.place or token.user != call.who.user:
        raise BadParameter("_page", "another search or another user", detail_zh="链接属于另一查询或另一用户。")
    if token.cursor and parts.clock().timestamp() - token.at > parts.page_life_s:
        raise ExpiredPage(
            "_page", f"first page: {_address(call, on)}?_page={_sealed(parts, call, on, token.query, '')}"
        )
    return token


def _sealed(parts: SearchParts, call: Call, on: On, query: str, cursor: str) -> str:
    token = _Token(on.place, query, cursor, call.who.user, parts.clock().timestamp())
    return parts.seal(_LINKS).close(msgspec.json.encode(token))


def _links(parts: SearchParts, call: Call, on: On, asked: _Asked, page: Page) -> list[tuple[str, str]]:
    applied = asked.applied
    place = _address(call, on)
    # A GET repeats what its own URL said; a search that came in a body or a sealed link stays sealed.
    hidden = asked.parsed.personal and (call.method == "POST" or "_page=" in call.query)
    if hidden or asked.cursor:
        own = f"{place}?_page={_sealed(parts, call, on, applied, asked.cursor)}"
    else:
        own = f"{place}?{applied}" if applied else place
    links = [("self", own)]
    if page.next:
        links.append(("next", f"{place}?_page={_sealed(parts, call, on, applied, page.next)}"))
    return links


def _address(call: Call, on: On) -> str:
    return f"{call.base}/{on.place}" if on.place else call.base


def _entries(page: Page, base: str, shape: Shape) -> list[bytes]:
    if not shape.elements and not shape.summary:
        return entries(page.matches, base, "match") + entries(page.included, base, "include")
    found = [entry(one, base, "match", _cut(one, shape)) for one in page.matches]
    if not shape.summary:  # elements are those of the matches (FHIR R4 search.html#elements)
        return found + entries(page.included, base, "include")
    return found + [entry(one, base, "include", _cut(one, shape)) for one in page.included]


def _cut(resource: Resource, shape: Shape) -> bytes:
    return subset(resource.type, resource.body, elements=shape.elements, summary=shape.summary)


# ---- merged persons ---------------------------------------------------------------------------
async def _led_to_survivors(store: StoreReads, call: Call, asked: _Asked) -> tuple[Query, list[Finding]]:
    query, led, findings = asked.parsed.query, dict[str, str](), list[Finding]()
    for id_ in asked.people:
        if survivor := await survivor_of(store, id_, call.who):
            led[id_] = survivor
    if not led:
        return query, []
    filters = tuple(_led(one, led, findings) if _names_resources(one) else one for one in query.filters)
    return replace(query, filters=filters), findings


def _led(one: Filter, led: dict[str, str], findings: list[Finding]) -> Filter:
    values = []
    for value in one.values:
        id_ = _patient_of(one, value)
        survivor = led.get(id_, "")
        if survivor:
            findings.append(merged_finding(one.code, id_, survivor))
        values.append((f"Patient/{survivor}" if "/" in value else survivor) if survivor else value)
    return replace(one, values=tuple(values))


async def survivor_of(store: StoreReads, patient: str, who: AccessContext) -> str:
    """The Patient a merged one was replaced by, at the end of the chain; "" when it was not merged."""
    if not await store.merged(patient):
        return ""
    survivor = ""
    for _ in range(_MAX_MERGES):
        found = await store.read("Patient", survivor or patient, who)
        if found is None or not found.body or b'"replaced-by"' not in found.body:
            return survivor
        links = _person.decode(found.body).link
        following = next((one.other.reference for one in links if one.type == "replaced-by"), "")
        if not following.startswith("Patient/"):
            return survivor
        survivor = following[8:]
    return survivor


def merged_finding(place: str, merged: str, survivor: str) -> Finding:
    """The remark that an answer is about another Patient than the one asked for."""
    return Finding(
        "GW-FHR-101",
        "information",
        place,
        f"Patient/{merged} 已并入 Patient/{survivor}，结果为后者的。",
        f"Patient/{merged} was merged into Patient/{survivor}; the answer is about the latter.",
    )


def finder(parts: SearchParts) -> Callable[[str, str, AccessContext, int], Awaitable[tuple[list[Resource], Condition]]]:
    """For conditional writes: what matches criteria, at most so many, judged by the caller's own eyes.

    With it the Condition under which a plan made from the answer still holds. Raises UnknownParameter and
    BadParameter, also for what a search would only report: a condition must hold in full.
    """

    async def find(type_: str, criteria: str, who: AccessContext, limit: int) -> tuple[list[Resource], Condition]:
        parsed = parse(type_, pairs(criteria), parts.lookup, Rules(False, frozenset()))
        if parsed.ignored or not parsed.query.filters:
            raise BadParameter(f"{type_}?…", "a condition needs known parameters", detail_zh="条件中有未知参数。")
        page = await parts.store.search(replace(parsed.query, count=limit), who)
        return list(page.matches), _condition(parsed.query, page.as_of)

    return find


def _condition(query: Query, as_of: int) -> Condition:
    """By the identifiers every match must carry one of, where a filter names them with their system."""
    plain = [one for one in query.filters if isinstance(one, Filter)]
    named = (one.values for one in plain if one.code == "identifier" and not one.modifier)
    pointed = next((values for values in named if all("|" in one and one[-1] != "|" for one in values)), ())
    halves = [one.partition("|") for one in pointed]
    canonical = "&".join(sorted(_said(one) for one in query.filters))
    return Condition(query.type, canonical, as_of, tuple((system, value) for system, _, value in halves))


def _said(one: Filter | Chain | Has) -> str:
    return f"{one.code}:{one.modifier}={','.join(sorted(one.values))}" if isinstance(one, Filter) else repr(one)
