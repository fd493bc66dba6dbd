"""A code table as FHIR ConceptMap, so that a platform's engineer reads with FHIR tools what a hospital's codes became.

Source: FHIR R4 ConceptMap. An empty `equivalence` is `equivalent`; a row for an item with several standard codes
gives several targets.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from ..model import systems
from ..model.resource import Json
from .codes import full_system

_URL = "urn:alliance-gateway:conceptmap:"


def concept_map(name: str, text: str, member: str = "") -> Json:
    """The ConceptMap of a table's CSV text. member "": a table everybody shares."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns, rows = set(reader.fieldnames or ()), list(reader)
    owner = member or "base"
    source = systems.local_codes(member, name) if member else f"{_URL}{owner}:{name}:source"
    groups = _concepts(rows) if {"system", "code"} <= columns else {f"{_URL}{owner}:{name}:target": _values(rows)}
    return {
        "resourceType": "ConceptMap",
        "id": f"{owner}-{name}".replace("_", "-")[:64],
        "url": f"{_URL}{owner}:{name}",
        "name": f"{owner}_{name}",
        "status": "active",
        "group": [
            {"source": source, "target": target, "element": _elements(found)} for target, found in groups.items()
        ],
    }


_Pair = tuple[str, Json]


def _values(rows: Iterable[dict[str, str]]) -> list[_Pair]:
    return [
        (spelling, _target(row["to"], "", row.get("equivalence", ""), row.get("note", "")))
        for row in rows
        for spelling in _spellings(row["from"])
    ]


def _concepts(rows: Iterable[dict[str, str]]) -> dict[str, list[_Pair]]:
    groups: dict[str, list[_Pair]] = {}
    for row in rows:
        when = "; ".join(f"{key} = {row[key]}" for key in ("unit", "specimen") if row.get(key))
        target = _target(row["code"], row.get("display", ""), row.get("equivalence", ""), when)
        pairs = [(spelling, target) for spelling in _spellings(row["from"])]
        groups.setdefault(full_system(row["system"]), []).extend(pairs)
    return groups


def _target(code: str, display: str, equivalence: str, comment: str) -> Json:
    if not code.strip():
        return {"equivalence": "unmatched"} | ({"comment": comment} if comment else {})
    made: Json = {"code": code.strip()} | ({"display": display} if display else {})
    made["equivalence"] = equivalence.strip() or "equivalent"
    return made | ({"comment": comment} if comment else {})


def _elements(pairs: Iterable[_Pair]) -> list[Json]:
    found: dict[str, list[Json]] = {}
    for code, target in pairs:
        found.setdefault(code, []).append(target)
    return [{"code": code, "target": targets} for code, targets in found.items()]


def _spellings(cell: str) -> list[str]:
    return [part.strip() for part in cell.split("|") if part.strip()]
