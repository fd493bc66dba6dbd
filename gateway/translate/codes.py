"""Code tables (CSV): value tables, concept tables, units. A member's rows win over the shared ones, key by key.

- value table: `from,to`, perhaps `equivalence` (how near the target comes; further columns are notes).
- concept table: `from,name,unit,specimen,system,code,display`: one row a standard code; several spellings of
  one key are separated by `|`; `unit` (UCUM) and `specimen` (B S U F A P) say when the row applies.
- units: `from,to,item`: printed spelling → UCUM; `item` = `counted`: only for items whose rows name this unit.
"""

from __future__ import annotations

import csv
import hashlib
import io
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import MappingError
from ..model import systems
from .strict_yaml import read_utf8

_SYSTEMS = {
    "LOINC": systems.LOINC,
    "ICD10": systems.ICD10_CN,
    "ICD9": systems.ICD9_CN,
    "RECOGNITION": systems.RECOGNITION_ITEM,
    "UCUM": systems.UCUM,
    "DCM": systems.DCM,
    "V2-0074": systems.V2_0074,
    "ACT": systems.ACT_CODE,
    "INTERPRETATION": systems.INTERPRETATION,
    "SNOMED": "http://snomed.info/sct",
}


_EQUIVALENCE = frozenset(
    [
        "relatedto",
        "equivalent",
        "equal",
        "wider",
        "subsumes",
        "narrower",
        "specializes",
        "inexact",
        "unmatched",
        "disjoint",
    ]
)
"""How a target stands to its source: FHIR R4 ConceptMapEquivalence. An empty cell is `equivalent`."""


def key_of(text: str) -> str:
    """How keys are compared: full-width folded, case and spaces ignored, both micro signs alike."""
    folded = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return "".join(folded.split()).casefold()


@dataclass(frozen=True, slots=True)
class ConceptRow:
    """One standard code for a source item, and when it applies."""

    name: str
    units: frozenset[str]
    specimens: frozenset[str]
    system: str
    code: str
    display: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table: `values` for value tables, `concepts` for concept tables; keys as `key_of` gives them."""

    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    concepts: Mapping[str, tuple[ConceptRow, ...]] = field(default_factory=dict)
    counted: Mapping[str, str] = field(default_factory=dict)  # units only for items counted in them
    digest: str = ""  # of the text it was read from; part of the version of every map that sees it

    def over(self, base: Table | None) -> Table:
        """This table's keys, then those of `base` that are not in it."""
        if base is None:
            return self
        return Table(
            self.name,
            {**base.values, **self.values},
            {**base.concepts, **self.concepts},
            {**base.counted, **self.counted},
            self.digest + base.digest,
        )

    def value(self, text: str) -> str | None:
        """What the table says for a source value; None when it says nothing."""
        return self.values.get(key_of(text))

    def rows(self, code: str, name: str, unit: str, specimen: str) -> tuple[ConceptRow, ...]:
        """Rows for an item: by its code, else by its name, that its unit and specimen allow; one a code system.

        unit: UCUM; "" when none was printed, "?" when its spelling is unknown. Without a unit only an item that
        is no homonym is found.
        """
        for key in (code, name):
            found = _fitting(self.concepts.get(key_of(key), ()), unit, specimen) if key else ()
            if found:
                return found
        return ()

    def expected_units(self, code: str, name: str) -> frozenset[str]:
        """UCUM units the rows of an item name; several for homonyms."""
        rows = [row for key in (code, name) if key for row in self.concepts.get(key_of(key), ())]
        return frozenset[str]().union(*(row.units for row in rows))


_BLOOD = frozenset("BSP")  # whole blood, serum, plasma: laboratories name the tube, not what was measured


def _fitting(rows: tuple[ConceptRow, ...], unit: str, specimen: str) -> tuple[ConceptRow, ...]:
    if unit:
        rows = tuple(row for row in rows if not row.units or unit in row.units)
    elif len({(row.system, row.code) for row in rows}) > len({row.system for row in rows}):
        return ()
    if specimen:
        exact = tuple(row for row in rows if specimen in row.specimens)
        rows = exact or tuple(row for row in rows if _same_kind(row.specimens, specimen))
    return tuple({row.system: row for row in reversed(rows)}.values())[::-1]


def _same_kind(specimens: frozenset[str], specimen: str) -> bool:
    return not specimens or (specimen in _BLOOD and bool(specimens & _BLOOD))


def ucum(units: Table, printed: str, expected: frozenset[str]) -> str:
    """UCUM code of a printed unit, "" when the spelling is unknown.

    `G/L` is 10*9/L only for an item counted so (`expected`); for any other item it is g/L.
    """
    key = key_of(printed)
    counted = units.counted.get(key, "")
    return counted if counted in expected else units.values.get(key, "")


def read_table(path: Path, *, shown_as: str = "") -> Table:
    """One CSV as table. Raises MappingError with file and line."""
    return parse_table(read_utf8(path, shown_as or path.name), shown_as or path.name, path.stem)


def parse_table(text: str, place: str, name: str) -> Table:
    """CSV text as table; the header decides its kind."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = set(reader.fieldnames or ())
    rows = [(reader.line_num, row) for row in reader]
    for line, row in rows:
        if None in row or any(cell is None for cell in row.values()):
            raise MappingError(f"{place}:{line}", "this row has another number of columns than the header")
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    if {"from", "system", "code"} <= columns:
        return replace(_concept_table(name, place, rows), digest=digest)
    if {"from", "to"} <= columns:
        return replace(_value_table(name, place, rows), digest=digest)
    raise MappingError(f"{place}:1", "the header needs `from,to` or `from,…,system,code`")


Rows = Iterable[tuple[int, dict[str, str]]]


def _value_table(name: str, place: str, rows: Rows) -> Table:
    plain: dict[str, str] = {}
    counted: dict[str, str] = {}
    for line, row in rows:
        if (row.get("equivalence") or "equivalent") not in _EQUIVALENCE:
            raise MappingError(f"{place}:{line}", f"{row['equivalence']!r} is no equivalence of R4's ConceptMap")
        into = counted if row.get("item", "") == "counted" else plain
        for spelling in _spellings(row["from"]):
            if into.setdefault(spelling, row["to"].strip()) != row["to"].strip():
                raise MappingError(f"{place}:{line}", f"{row['from']!r} stands here twice with different targets")
    return Table(name, values=plain, counted=counted)


def _concept_table(name: str, place: str, rows: Rows) -> Table:
    out: dict[str, list[ConceptRow]] = {}
    for line, row in rows:
        concept = _concept_row(row, f"{place}:{line}")
        for spelling in _spellings(row["from"]):
            out.setdefault(spelling, []).append(concept)
    return Table(name, concepts={key: tuple(found) for key, found in out.items()})


def full_system(short: str) -> str:
    """The URI of a code system's short name (`LOINC`), else the text itself."""
    return _SYSTEMS.get(short, short)


def _concept_row(row: dict[str, str], place: str) -> ConceptRow:
    system = full_system(row["system"])
    if not system.startswith(("http", "urn:")) or not row["code"].strip():
        raise MappingError(place, f"system {row['system']!r} is neither a known short name nor a URI, or code is empty")
    return ConceptRow(
        name=row.get("name", "").strip(),
        units=frozenset(filter(None, row.get("unit", "").strip().split("|"))),
        specimens=frozenset(row.get("specimen", "").strip()),
        system=system,
        code=row["code"].strip(),
        display=row.get("display", "").strip(),
    )


def _spellings(cell: str) -> list[str]:
    return [key_of(part) for part in cell.split("|") if part.strip()]
