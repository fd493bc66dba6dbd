"""Which codes a value set has, and which lie below or above a code, read from stored ValueSets and CodeSystems.

Source: FHIR R4 valueset.html, codesystem.html, search.html#token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
Pair = tuple[str, str]
Find = Callable[[str, str], Json]
"""(`ValueSet` or `CodeSystem`, `url`, `url|version` or `Type/id`) → the resource."""
GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"
_GENDER = "http://hl7.org/fhir/administrative-gender"
OFFICIAL = {GENDERS: {(_GENDER, code) for code in ("male", "female", "other", "unknown")}}
"""Of R4 itself."""
IMPLIED = {
    ("Patient", "gender"): _GENDER,
    ("Observation", "status"): "http://hl7.org/fhir/observation-status",
    ("Encounter", "status"): "http://hl7.org/fhir/encounter-status",
}
"""The system of an element that is a bare code."""


def codes(find: Find, modifier: str, asked: str) -> set[Pair]:
    """What a value of `:in`, `:not-in`, `:below` or `:above` stands for."""
    if modifier in ("in", "not-in"):
        return members(find, asked)
    system, _, code = asked.rpartition("|")
    parents = _parents(find("CodeSystem", system))
    known = {code, *parents}
    if modifier == "below":
        return {(system, one) for one in known if code in _upwards(parents, one)}
    return {(system, one) for one in _upwards(parents, code)}


def members(find: Find, url: str) -> set[Pair]:
    if url in OFFICIAL:
        return OFFICIAL[url]
    found = find("ValueSet", url)
    if "expansion" in found:
        return _listed(found["expansion"]["contains"])
    into: set[Pair] = set()
    for part in found["compose"]["include"]:
        into |= _part(find, part)
    for part in found["compose"].get("exclude", []):
        into -= _part(find, part)
    return into


def _part(find: Find, part: Json) -> set[Pair]:
    system = part.get("system")
    sets = [members(find, url) for url in part.get("valueSet", [])]
    if system is not None:
        named = [concept["code"] for concept in part.get("concept", [])]
        sets.append({(system, code) for code in named or _parents(find("CodeSystem", system))})
    return set.intersection(*sets)


def _listed(entries: list[Json]) -> set[Pair]:
    out: set[Pair] = set()
    for entry in entries:
        if "code" in entry and not entry.get("abstract"):
            out.add((entry.get("system", ""), entry["code"]))
        out |= _listed(entry.get("contains", []))
    return out


def _parents(system: Json) -> dict[str, set[str]]:
    out: dict[str, set[str]] = {}
    waiting = [(concept, "") for concept in system["concept"]]
    while waiting:
        concept, above = waiting.pop()
        said = {one["valueCode"] for one in concept.get("property", []) if one["code"] in ("parent", "subsumedBy")}
        out.setdefault(concept["code"], set()).update(said | ({above} if above else set()))
        waiting += [(inner, concept["code"]) for inner in concept.get("concept", [])]
    return out


def _upwards(parents: dict[str, set[str]], code: str) -> set[str]:
    """The code itself and all it has an is-a relationship with."""
    out = {code}
    for above in parents.get(code, set()):
        out |= _upwards(parents, above)
    return out
