"""AuditEvent read and search, rendered from the gateway's own audit rows (design-store §10).

Only these parameters are served, and only these stand in the CapabilityStatement: patient, agent, entity,
date, action, type, subtype, outcome, _id, _lastUpdated. Reading the audit is audited like any other reading.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from ..errors import BadParameter, NotFound
from ..model.query import Filter
from ..model.resource import Json, dumps, loads
from ..model.rest import Answer, Call, Seen, etag, http_date
from ..security.audit import KINDS, events
from ..store.base import AuditQuery, AuditRow
from ..store.index_dates import date_range
from .fhir_answers import bundle, outcome_entry
from .fhir_parts import FhirParts, Handler, On
from .fhir_query import Parsed, pairs, parse, query_text


@dataclass(frozen=True, slots=True)
class _Known:
    """A search parameter of AuditEvent as served here."""

    kind: str
    targets: tuple[str, ...] = ()
    modifiers: frozenset[str] = frozenset()
    definition: str = ""


PARAMETERS = MappingProxyType(
    {
        "_id": _Known("token"),
        "patient": _Known("reference", ("Patient",)),
        "agent": _Known("reference", ("Practitioner",)),
        "entity": _Known("reference"),
        "date": _Known("date"),
        "_lastUpdated": _Known("date"),
        "action": _Known("token"),
        "type": _Known("token"),
        "subtype": _Known("token"),
        "outcome": _Known("token"),
    }
)
"""What can be asked of the audit."""

_LINKS = "fhir-audit-pages"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_NEWEST_FIRST = ((), (("date", True),), (("_lastUpdated", True),))


async def read(parts: FhirParts, call: Call, on: On) -> Answer:
    """One event. 404 when there is none."""
    row_id, _, number = on.id.partition("-")
    for candidate in {on.id, row_id if number.isdigit() else on.id}:
        for found_id, row in await parts.store.audits(AuditQuery(id=candidate, limit=1)):
            event = next((one for one in events(found_id, row) if one["id"] == on.id), None)
            if event is not None:
                return _one(event, row, on)
    raise NotFound(on.place)


def _one(event: Json, row: AuditRow, on: On) -> Answer:
    headers = (("etag", etag(1)), ("last-modified", http_date(row.at)))
    return Answer(200, dumps(event), headers, seen=Seen("R", "read", row.patients, (on.place,)))


async def search(parts: FhirParts, call: Call, on: On) -> Answer:
    """Events newest first. `_count` counts rows; a row about several patients gives one event for each."""
    given = pairs(call.query if call.method == "GET" else call.body.decode("utf-8", "replace"))
    parsed = parse("AuditEvent", given, lambda _: PARAMETERS, parts.rules(call))
    if parsed.query.sort not in _NEWEST_FIRST or parsed.query.includes or parsed.query.total != "none":
        raise BadParameter(
            "AuditEvent", "newest first, no _include, no _total", detail_zh="审计按时间倒序，不支持包含与总数。"
        )
    wanted = replace(_audit_query(parsed), limit=parsed.query.count + 1, before=_before(parts, call, parsed))
    rows = await parts.store.audits(wanted)
    shown = rows[: parsed.query.count]
    found = [event for row_id, row in shown for event in events(row_id, row) if _about(event, wanted.patient)]
    entries = [_entry(event, call.base) for event in found]
    if parsed.ignored:
        entries.append(outcome_entry(parsed.ignored))
    links = _links(parts, call, parsed, shown[-1][0] if len(rows) > len(shown) and shown else "")
    seen = Seen("E", "search-type", (), (), f"AuditEvent?{call.query}", f"{len(found)} events")
    at = shown[0][1].at if shown else parts.clock()
    return Answer(200, bundle("searchset", entries, links=links, at=at), seen=seen)


def _entry(event: Json, base: str) -> bytes:
    url = f"{base}/AuditEvent/{event['id']}"
    return dumps({"fullUrl": url, "resource": event, "search": {"mode": "match"}})


def _about(event: Json, patient: str | None) -> bool:
    """Of a row that names several patients, only the event of the one asked for."""
    if patient is None:
        return True
    wanted = f"Patient/{patient}"
    return any(one.get("what", {}).get("reference") == wanted for one in event.get("entity", ()))


def _links(parts: FhirParts, call: Call, parsed: Parsed, last: str) -> list[tuple[str, str]]:
    place = f"{call.base}/AuditEvent"
    applied = tuple(one for one in parsed.applied if one[0] != "_page")
    links = [("self", f"{place}?{query_text(parsed.applied)}" if parsed.applied else place)]
    if last:
        page = parts.seal(_LINKS).close(dumps([call.who.user, last]))
        links.append(("next", f"{place}?{query_text((*applied, ('_page', page)))}"))
    return links


def _before(parts: FhirParts, call: Call, parsed: Parsed) -> str:
    """The row a page goes on below. Raises BadParameter for a link of another kind or of another user."""
    if not parsed.page:
        return ""
    clear = parts.seal(_LINKS).open(parsed.page)
    user, before = loads(clear) if clear else ("", "")
    if user != call.who.user:
        raise BadParameter("_page", "not a link of this server to you", detail_zh="不是本服务器给您的翻页链接。")
    return str(before)


def _audit_query(parsed: Parsed) -> AuditQuery:
    query = AuditQuery()
    for one in parsed.query.filters:
        if not isinstance(one, Filter):
            raise BadParameter(one.code, "no chains on AuditEvent", detail_zh="AuditEvent 不支持链式查询。")
        if len(one.values) > 1:
            raise BadParameter(one.code, "one value", detail_zh="只接受一个值。")
        if one.code in ("date", "_lastUpdated"):
            query = _with_date(query, one)
            continue
        value = one.values[0].rpartition("|")[2]
        match one.code:
            case "_id":
                query = replace(query, id=value)
            case "patient":
                query = replace(query, patient=value.removeprefix("Patient/"))
            case "agent":
                query = replace(query, user=value)
            case "entity":
                query = replace(query, entity=value)
            case "action":
                query = replace(query, action=value)
            case "type":
                query = replace(query, kind=_kind(value))
            case "subtype":
                query = replace(query, subtype=value)
            case "outcome":
                query = replace(query, outcome=value)
    return query


def _kind(code: str) -> str:
    """The kind of row a code stands for; of an unknown code one that no row has."""
    return next((kind for kind, (_, known, _) in KINDS.items() if known == code), f"none {code}")


def _with_date(query: AuditQuery, one: Filter) -> AuditQuery:
    for value in one.values:
        prefix, text = (value[:2], value[2:]) if value[:2].isalpha() else ("eq", value)
        try:
            start, end = _covered(text)
        except (ValueError, OverflowError) as fault:
            raise BadParameter("date", "a FHIR date", detail_zh="日期不正确。") from fault
        if prefix in ("eq", "ge", "sa", "gt"):
            query = replace(query, since=start if prefix in ("eq", "ge") else end)
        if prefix in ("eq", "le", "lt", "eb"):
            query = replace(query, until=end if prefix in ("eq", "le") else start)
        if prefix not in ("eq", "ge", "gt", "sa", "le", "lt", "eb"):
            raise BadParameter("date", "prefix eq, ge, gt, sa, le, lt or eb")
    return query


def _covered(text: str) -> tuple[datetime, datetime]:
    """The first instant a date of this precision covers, and the first after it."""
    first, last = date_range(text.replace(" ", "+"))
    return _EPOCH + first * _MS, _EPOCH + (last + 1) * _MS


HANDLERS: dict[str, Handler] = {"read": read, "search-type": search}
"""The interactions AuditEvent offers."""
