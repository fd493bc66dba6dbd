"""History of an instance, a type, the whole system: paged at one moment, incremental by `_since`.

`Bundle.meta.lastUpdated` is the horizon: who asks again with `_since` that instant misses nothing (design-store §5).
Source: FHIR R4 http.html §3.1.0.10.
"""

from __future__ import annotations

import msgspec

from ..errors import BadParameter, NotFound
from ..model.rest import Answer, Call, Seen
from ..security.seal import Seal
from ..store.base import Past, PastPage
from ..store.index_dates import date_range
from .fhir_answers import bundle, history_entry, patients_of
from .fhir_parts import FhirParts, On
from .fhir_query import DEFAULT_COUNT, MAX_COUNT, pairs, shape_of

_PARAMETERS = frozenset({"_count", "_since", "_at", "_page"})


class _Token(msgspec.Struct):
    """What a paging link carries, sealed: the question, its moment, and the place of the last version given."""

    place: str
    query: str
    user: str
    as_of: int
    at: int
    below: tuple[int, int]


_token = msgspec.json.Decoder(_Token)


async def history(parts: FhirParts, call: Call, on: On) -> Answer:
    """Versions newest first, deletions among them. 404 for an instance there never was."""
    given = pairs(call.query)
    shape_of(given, _PARAMETERS, parts.rules(call))
    page = dict(given).get("_page")
    token = _opened(parts, call, on, page) if page is not None else None
    query = token.query if token else call.query
    asked = _asked(on, dict(pairs(query)))
    if token:
        asked = msgspec.structs.replace(asked, as_of=token.as_of, at=token.at, below=token.below)
    found = await parts.store.past(asked, call.who)
    if on.id and not found.versions and await parts.store.read(on.type, on.id, call.who) is None:
        raise NotFound(on.place)
    entries = [history_entry(one, call.base) for one in found.versions]
    body = bundle("history", entries, links=_links(parts, call, on, query, found), at=found.at)
    places = (on.place,) if on.id else ()
    told = f"{on.place}/_history?{query}".lstrip("/") if query or not on.id else ""
    detail = f"{len(found.versions)} versions"
    return Answer(200, body, seen=Seen("R", on.name, patients_of(found.versions), places, told, detail))


def _asked(on: On, given: dict[str, str]) -> Past:
    since, during = given.get("_since"), given.get("_at")
    return Past(
        on.type,
        on.id,
        _count(given.get("_count", str(DEFAULT_COUNT))),
        None if since is None else _range("_since", since)[0],
        None if during is None else _range("_at", during),
    )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) == 0:
        raise BadParameter("_count", "a whole number above 0", detail_zh="应为正整数。")
    return min(int(text), MAX_COUNT)


def _range(name: str, text: str) -> tuple[int, int]:
    try:
        return date_range(text.replace(" ", "+"))
    except ValueError as fault:
        raise BadParameter(name, "a date or an instant", detail_zh="应为日期或时间点。") from fault


def _seal(parts: FhirParts) -> Seal:
    return Seal(parts.store.store_key, "fhir-history")


def _opened(parts: FhirParts, call: Call, on: On, page: str) -> _Token:
    clear = _seal(parts).open(page)
    if clear is None:
        raise BadParameter("_page", "not a link of this server", detail_zh="不是本服务器的翻页链接。")
    token = _token.decode(clear)
    if token.place != on.place or token.user != call.who.user:
        raise BadParameter("_page", "another history or another user", detail_zh="链接属于另一查询或另一用户。")
    return token


def _links(parts: FhirParts, call: Call, on: On, query: str, found: PastPage) -> list[tuple[str, str]]:
    place = f"{call.base}/{on.place}/_history" if on.place else f"{call.base}/_history"
    links = [("self", f"{place}?{call.query}" if call.query else place)]
    if found.next is not None:
        at = int(found.at.timestamp() * 1000)
        token = _Token(on.place, query, call.who.user, found.as_of, at, found.next)
        links.append(("next", f"{place}?_page={_seal(parts).close(msgspec.json.encode(token))}"))
    return links
