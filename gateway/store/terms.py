"""`:in`, `:not-in`, `:above` and `:below` on codes, by the ValueSets and CodeSystems that are stored.

A value set is taken as its expansion or its compose says; a hierarchy as nested concepts, or `parent` and
`subsumedBy` properties, say. What is not stored, or needs a filter, is refused: an empty answer would look like a
finding. Source: FHIR R4 valueset.html, codesystem.html.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from msgspec.structs import replace

from ..errors import BadParameter, TooCostly
from ..model.query import Filter
from ..model.resource import Json
from ..validate.definitions import codes
from .index import params
from .index_query import split_token

MAX_CODES = 2_000
Lookup = Callable[[str, str], Awaitable[Json | None]]
"""(`ValueSet` or `CodeSystem`, canonical url with or without version) → the stored resource."""
_Pair = tuple[str, str]


class Terms:
    """Turns sets and hierarchies into plain alternatives."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def expanded(self, type_: str, one: Filter) -> Filter:
        """The filter itself, or the same in codes. Raises BadParameter for a set nobody knows, TooCostly."""
        known = params(type_).get(one.code)
        if known is None or known.kind != "token" or one.modifier not in ("in", "not-in", "above", "below"):
            return one
        if one.modifier == "below" and known.media:
            return one
        pairs = [pair for value in one.values for pair in await self._pairs(one, value)]
        if len(pairs) > MAX_CODES:
            raise TooCostly(f"{one.code}:{one.modifier}", f"more than {MAX_CODES} codes")
        said = tuple(dict.fromkeys(f"{_escaped(system)}|{_escaped(code)}" for system, code in pairs))
        return replace(one, values=said, modifier="not" if one.modifier == "not-in" else "")

    async def _pairs(self, one: Filter, value: str) -> list[_Pair]:
        if one.modifier in ("in", "not-in"):
            return list(dict.fromkeys(await self._members(one, value, 0)))
        system, _, code = split_token(value)
        parents = _parents(await self._needed("CodeSystem", one, system))
        found = _below(code, parents) if one.modifier == "below" else _above(code, parents)
        return [(system, each) for each in found]

    async def _needed(self, type_: str, one: Filter, url: str) -> Json:
        found = await self._lookup(type_, url) if url else None
        if found is None:
            place = f"{one.code}:{one.modifier}"
            raise BadParameter(place, f"no {type_} {url[:120]} is stored", detail_zh=f"没有存储 {type_} {url[:120]}")
        return found

    async def _members(self, one: Filter, url: str, depth: int) -> list[_Pair]:
        standard = codes(url.partition("|")[0])
        if standard:
            return [(system, code) for system, found in standard.items() for code in sorted(found)]
        if depth > 3:
            raise TooCostly(f"{one.code}:{one.modifier}", "value sets within value sets beyond 3")
        stored = await self._needed("ValueSet", one, url)
        if stored.get("expansion"):
            return list(_contained(stored["expansion"].get("contains", ())))
        compose = stored.get("compose") or {}
        out = [pair for part in compose.get("include", ()) for pair in await self._part(one, part, depth)]
        gone = {pair for part in compose.get("exclude", ()) for pair in await self._part(one, part, depth)}
        return [pair for pair in out if pair not in gone]

    async def _part(self, one: Filter, part: Json, depth: int) -> list[_Pair]:
        """What one include or exclude lists: its value sets all, of these its system's codes."""
        if part.get("filter"):
            raise BadParameter(f"{one.code}:{one.modifier}", "a value set with a filter", detail_zh="值集含过滤条件")
        sets = [set(await self._members(one, url, depth + 1)) for url in part.get("valueSet", ())]
        system = part.get("system")
        if system is None:
            return sorted(set.intersection(*sets)) if sets else []
        said = [concept["code"] for concept in part.get("concept", ())]
        if not said:
            said = list(_parents(await self._needed("CodeSystem", one, system)))
        return [(system, code) for code in said if all((system, code) in each for each in sets)]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def _contained(entries: list[Json]) -> Iterator[_Pair]:
    for entry in entries:
        if entry.get("code") and not entry.get("abstract"):
            yield entry.get("system", ""), entry["code"]
        yield from _contained(entry.get("contains", []))


def _parents(system: Json) -> dict[str, set[str]]:
    """Each code with the codes right above it."""
    found: dict[str, set[str]] = {}

    def walk(concepts: list[Json], above: str) -> None:
        for concept in concepts:
            own = found.setdefault(concept["code"], set())
            own.update(filter(None, (above, *_named(concept))))
            walk(concept.get("concept", []), concept["code"])

    walk(system.get("concept", []), "")
    return found


def _named(concept: Json) -> list[str]:
    said = (one for one in concept.get("property", ()) if one.get("code") in ("parent", "subsumedBy"))
    return [str(one.get("valueCode", "")) for one in said]


def _above(code: str, parents: dict[str, set[str]]) -> set[str]:
    """The code and all above it."""
    out, fresh = {code}, {code}
    while fresh:
        fresh = {up for one in fresh for up in parents.get(one, ())} - out
        out |= fresh
    return out


def _below(code: str, parents: dict[str, set[str]]) -> set[str]:
    """The code and all below it."""
    out, fresh = {code}, {code}
    while fresh:
        fresh = {one for one, ups in parents.items() if not ups.isdisjoint(fresh)} - out
        out |= fresh
    return out
