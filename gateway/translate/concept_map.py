"""A code table as FHIR ConceptMap, so that a platform's engineer reads with FHIR tools what a hospital's codes became.

Source: FHIR R4 ConceptMap. An empty `equivalence` is `equivalent`; a row for an item with several standard codes
gives several targets. A table with days (`valid-from`) is one ConceptMap a period: the same url, `version` its first
day, and the R4 extension `resource-effectivePeriod`. A row that says there is no target is `unmatched` with its reason,
where it names no code system in every one of the table.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import date, timedelta

from ..model import systems
from ..model.resource import Json
from .codes import full_system, in_force, key_of, valid_from

_URL = "urn:alliance-gateway:conceptmap:"
_PERIOD = "http://hl7.org/fhir/StructureDefinition/resource-effectivePeriod"


def concept_maps(name: str, text: str, member: str = "") -> list[Json]:
    """The ConceptMaps of a table's CSV text, one a period. member "": a table everybody shares."""
    rows = list(enumerate(csv.DictReader(io.StringIO(text, newline="")), 2))
    days = sorted({valid_from(row, name) for _, row in rows} | {""})
    targets = list(dict.fromkeys(system for _, row in rows if (system := full_system(row.get("system", "").strip()))))
    made = [
        _concept_map(name, [row for _, row in in_force(rows, day)], member or "base", _period(day, till), targets)
        for day, till in zip(days, [*days[1:], ""], strict=True)
    ]
    return [one for one in made if one["group"]]


def _concept_map(name: str, rows: list[dict[str, str]], owner: str, period: Json, targets: list[str]) -> Json:
    source = systems.local_codes(owner, name) if owner != "base" else f"{_URL}{owner}:{name}:source"
    dated = f"-{period['start']}" if "start" in period else ""
    about: Json = {"extension": [{"url": _PERIOD, "valuePeriod": period}]} if period else {}
    concepts = any({"system", "code"} <= row.keys() for row in rows)
    groups = _concepts(rows, targets) if concepts else {f"{_URL}{owner}:{name}:target": _values(rows)} if rows else {}
    return {
        "resourceType": "ConceptMap",
        "id": f"{owner}-{name}".replace("_", "-")[: 64 - len(dated)] + dated,
        **about,
        "url": f"{_URL}{owner}:{name}",
        **({"version": period["start"]} if "start" in period else {}),
        "name": f"{owner}_{name}",
        "status": "active",
        "group": [
            {"source": source, **({"target": target} if target else {}), "element": _elements(found)}
            for target, found in groups.items()
        ],
    }


def _period(day: str, next_day: str) -> Json:
    """From a day to the last before the next change; {} for a table without days."""
    last = (date.fromisoformat(next_day) - timedelta(days=1)).isoformat() if next_day else ""
    return {key: text for key, text in (("start", day), ("end", last)) if text}


_Pair = tuple[str, Json]


def _values(rows: Iterable[dict[str, str]]) -> list[_Pair]:
    return [
        (spelling, _target(row["to"], "", row.get("equivalence", ""), row.get("note", "")))
        for row in rows
        for spelling in _spellings(row["from"])
    ]


def _concepts(rows: list[dict[str, str]], targets: list[str]) -> dict[str, list[_Pair]]:
    """Pairs by target system; a spelling without any code is told in every one of `targets`."""
    groups: dict[str, list[_Pair]] = {}
    coded = [(full_system(row["system"].strip()), row["from"]) for row in rows if row["code"].strip()]
    for row in rows:
        when = [f"{key} = {row[key]}" for key in ("unit", "specimen") if row.get(key)]
        comment = "; ".join([*when, *filter(None, [row.get("note", "").strip()])])
        target = _target(row["code"], row.get("display", ""), row.get("equivalence", ""), comment)
        system = full_system(row["system"].strip())
        for into in [system] if system else targets or [""]:
            again = {key_of(one) for other, cell in coded if other == into != system for one in _spellings(cell)}
            pairs = [(one, target) for one in _spellings(row["from"]) if key_of(one) not in again]
            if pairs:
                groups.setdefault(into, []).extend(pairs)
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
