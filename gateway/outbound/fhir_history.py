"""History of an instance, a type, the whole system: paged at one moment, incremental by `_since`.

`Bundle.meta.lastUpdated` is the horizon: who asks again with `_since` that instant misses nothing (design-store §5).
Source: FHIR R4 http.html §3.1.0.10.
"""

from __future__ import annotations

import msgspec

from ..errors import BadParameter, NotFound
from ..model.rest import Answer, Call, Seen
from ..store.base import Past, PastPage
from ..store.index_dates import date_range
from .fhir_answers import bundle, history_entry, patients_of
from .fhir_pages import Token, closed, count_of, opened, token_of
from .fhir_parts import FhirParts, On
from .fhir_query import DEFAULT_COUNT, pairs, shape_of

_PARAMETERS = frozenset({"_count", "_since", "_at", "_page"})


async def history(parts: FhirParts, call: Call, on: On) -> Answer:
    """Versions newest first, deletions among them. 404 for an instance there never was."""
    given = pairs(call.query)
    shape_of(given, _PARAMETERS, parts.rules(call))
    page = dict(given).get("_page")
    token = token_of(parts, call, on, call.query) if page is None else opened(parts, call, on, page)
    query = token.query
    asked = _asked(on, dict(pairs(query)), token)
    found = await parts.store.past(asked, call.who)
    if on.id and not found.versions and await parts.store.read(on.type, on.id, call.who) is None:
        raise NotFound(on.place)
    entries = [history_entry(one, call.base) for one in found.versions]
    body = bundle("history", entries, links=_links(parts, call, on, token, found), at=found.at)
    places = (on.place,) if on.id else ()
    told = f"{on.place}/_history?{query}".lstrip("/") if query or not on.id else ""
    detail = f"{len(found.versions)} versions"
    return Answer(200, body, seen=Seen("R", on.name, patients_of(found.versions), places, told, detail))


def _asked(on: On, given: dict[str, str], token: Token) -> Past:
    since, during = given.get("_since"), given.get("_at")
    return Past(
        on.type,
        on.id,
        count_of(given.get("_count", str(DEFAULT_COUNT))),
        None if since is None else _range("_since", since)[0],
        None if during is None else _range("_at", during),
        token.as_of,
        token.at,
        (token.below[0], token.below[1]) if token.below else None,
    )


def _range(name: str, text: str) -> tuple[int, int]:
    try:
        return date_range(text.replace(" ", "+"))
    except ValueError as fault:
        raise BadParameter(name, "a date or an instant", detail_zh="应为日期或时间点。") from fault


def _links(parts: FhirParts, call: Call, on: On, token: Token, found: PastPage) -> list[tuple[str, str]]:
    place = f"{call.base}/{on.place}/_history" if on.place else f"{call.base}/_history"
    links = [("self", f"{place}?{call.query}" if call.query else place)]
    if found.next is not None:
        at = int(found.at.timestamp() * 1000)
        following = msgspec.structs.replace(token, as_of=found.as_of, at=at, below=found.next)
        links.append(("next", f"{place}?_page={closed(parts, following)}"))
    return links
