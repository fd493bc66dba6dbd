"""Code tables (CSV): value tables, concept tables, units. A member's rows win over the shared ones, key by key.

- value table: `from,to`, perhaps `equivalence` (how near the target comes; further columns are notes).
- concept table: `from,name,unit,specimen,system,code,display`: one row a standard code; several spellings of
  one key are separated by `|`; `unit` (UCUM) and `specimen` (B S U F A P O) say when the row applies.
- units: `from,to,item`: printed spelling → UCUM; `item` = `counted`: only for items whose rows name this unit.

Each may have `valid-from`: from that day on the row stands in for earlier rows of its key (and code system).
`unmatched` in `equivalence` says that there is no target, and `note` why: a code that has none, or none from a day on.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from pathlib import Path

from ..errors import MappingError
from ..model import systems
from .result_values import LONG
from .strict_yaml import near_to, read_utf8

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
UNMATCHED = "unmatched"


def key_of(text: str) -> str:
    """How keys are compared: full-width folded, case and spaces ignored, both micro signs alike."""
    return _key_of(text) if len(text) < LONG else _long_key_of(text)


def _key_of(text: str) -> str:
    folded = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return "".join(folded.split()).casefold()


_long_key_of = lru_cache(maxsize=2)(_key_of)


@dataclass(frozen=True, slots=True)
class ConceptRow:
    """One standard code for a source item, and when it applies; code "": it has none, in `system` or, "", in any."""

    name: str
    units: frozenset[str]
    specimens: frozenset[str]
    system: str
    code: str
    display: str
    named: frozenset[str] = frozenset()  # Han characters of all its names, of a shared row alone

    def is_of_another(self, name: str) -> bool:
        """Whether a printed name has nothing in common with any of this row's: TP is 总蛋白, and elsewhere 梅毒.

        What a member wrote of its own code is never doubted.
        """
        han = self.named and _han(name)
        return bool(han) and not han & self.named

    def same_case(self, other: ConceptRow) -> bool:
        """Whether both apply in exactly the same case, so that only the first would ever be used."""
        mine = (self.system, self.units, self.specimens)
        return mine == (other.system, other.units, other.specimens)


@dataclass(frozen=True, slots=True)
class Table:
    """One table: `values` for value tables, `concepts` for concept tables; keys as `key_of` gives them."""

    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    concepts: Mapping[str, tuple[ConceptRow, ...]] = field(default_factory=dict)
    counted: Mapping[str, str] = field(default_factory=dict)  # units only for items counted in them
    digest: str = ""  # of the text it was read from; part of the version of every map that sees it
    later: tuple[tuple[str, Table], ...] = ()  # the whole table as it is from a day on, in the order of days

    @property
    def days(self) -> tuple[str, ...]:
        """Days (`2026-07-01`) from which on it says something else."""
        return tuple(day for day, _ in self.later)

    def at(self, day: str) -> Table:
        """The table in force on a day; on "" the rows without a day."""
        found = next((table for since, table in reversed(self.later) if since <= day), self)
        return replace(found, later=self.later) if self.later else self

    def over(self, base: Table | None) -> Table:
        """This table's keys, then those of `base` that are not in it, day by day."""
        if base is None:
            return self
        days = sorted({*self.days, *base.days})
        return replace(self._over(base), later=tuple((day, self.at(day)._over(base.at(day))) for day in days))

    def _over(self, base: Table) -> Table:
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
        is no homonym is found. One the table says has no standard code gives none, whatever its name.
        """
        for key in (code, name):
            known = self.concepts.get(key_of(key), ()) if key else ()
            coded = tuple(row for row in known if row.code and not row.is_of_another(name))
            if found := _fitting(coded, unit, specimen):
                return found
            if known and not any(row.code for row in known):
                break
        return ()

    def another(self, code: str, name: str) -> str:
        """What a code is in the shared table, where the printed name tells that it is something else here; else ""."""
        known = self.concepts.get(key_of(code), ()) if code else ()
        return known[0].name if known and all(row.is_of_another(name) for row in known) else ""

    def without_code(self, code: str, name: str) -> bool:
        """Whether the table says that an item has no standard code."""
        rows = next((rows for key in (code, name) if key and (rows := self.concepts.get(key_of(key)))), ())
        return bool(rows) and not any(row.code for row in rows)

    def expected_units(self, code: str, name: str) -> frozenset[str]:
        """UCUM units the rows of an item name; several for homonyms."""
        rows = [row for key in (code, name) if key for row in self.concepts.get(key_of(key), ())]
        return frozenset[str]().union(*(row.units for row in rows))


_SPECIMENS = frozenset("BSUFAPO")
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


VALID_FROM = "valid-from"
_VALUES = ("from", "to", "equivalence", "item", "note", VALID_FROM)
_CONCEPTS = ("from", "name", "unit", "specimen", "system", "code", "display", "equivalence", "note", VALID_FROM)
LOOKED_UP = frozenset({*_VALUES, *_CONCEPTS} - {"note"})
"""Columns whose content means something; `note` and columns of other names are for the reader."""
_DAY = re.compile(r"(\d{4})[-/](\d\d?)[-/](\d\d?)")  # Excel writes 2026/7/1


def parse_table(text: str, place: str, name: str) -> Table:
    """CSV text as table; the header decides its kind."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = reader.fieldnames or ()
    rows = [(reader.line_num, row) for row in reader]
    for line, row in rows:
        if None in row or any(cell is None for cell in row.values()):
            zh = f"这一行的列数与表头（{len(columns)} 列）不同；值里有逗号时请加双引号。"
            text = f"this row has another number of columns than the header ({len(columns)})"
            raise MappingError(f"{place}:{line}", text, detail_zh=zh)
    concepts = {"from", "system", "code"} <= set(columns)
    if not concepts and not {"from", "to"} <= set(columns):
        zh = "表头须有 from,to（取值对照）或 from,…,system,code（标准编码）。"
        raise MappingError(f"{place}:1", "the header needs `from,to` or `from,…,system,code`", detail_zh=zh)
    _check_columns(columns, _CONCEPTS if concepts else _VALUES, place)
    for line, row in rows:
        _check_source(row, f"{place}:{line}")
        _check_target(row, "code" if concepts else "to", f"{place}:{line}")
    _check_ends(rows, place)
    days = sorted({valid_from(row, f"{place}:{line}") for line, row in rows} | {""})
    digest, build = hashlib.sha256(text.encode()).hexdigest()[:16], _concept_table if concepts else _value_table
    first, *later = [replace(build(name, place, in_force(rows, day)), digest=digest) for day in days]
    return replace(first, later=tuple(zip(days[1:], later, strict=True)))


def _check_source(row: Mapping[str, str], place: str) -> None:
    """A row of no code would be read and never used."""
    if not row["from"].strip(" |"):
        text, zh = (
            "from is empty: write the code as it is sent, or delete the row",
            "from 列为空：请写院内代码（合并的单元格请取消合并、逐行填写），或删去这一行。",
        )
        raise MappingError(place, text, detail_zh=zh)


def _check_target(row: Mapping[str, str], column: str, place: str) -> None:
    """No target is said in so many words, with the reason: a cell left empty by mistake would lose codes in silence."""
    said, target = row.get("equivalence", "").strip(), row[column].strip()
    if said and said not in _EQUIVALENCE:
        near, near_zh = near_to(said, _EQUIVALENCE)
        text = f"{said!r} is no equivalence of R4's ConceptMap{near}"
        raise MappingError(place, text, detail_zh=f"equivalence 列没有 {said!r}{near_zh}")
    if said != UNMATCHED and not target:
        text = "the target is empty; where there is none, write unmatched as equivalence and the reason as note"
        zh = "目标为空：确实没有对应的，请在 equivalence 列填 unmatched，在 note 列写明原因。"
        raise MappingError(place, text, detail_zh=zh)
    if said == UNMATCHED and (target or row.get("unit", "").strip() or row.get("specimen", "").strip()):
        text = "unmatched says that there is no target; leave target, unit and specimen empty"
        zh = "unmatched 表示没有对应的目标：目标、unit、specimen 列须留空。"
        raise MappingError(place, text, detail_zh=zh)
    if said == UNMATCHED and not row.get("note", "").strip():
        text, zh = "say in note why there is no target", "请在 note 列写明为什么没有对应的目标。"
        raise MappingError(place, text, detail_zh=zh)


def _check_ends(rows: Rows, place: str) -> None:
    """A code that has a target and none from the same day on says nothing."""
    said: dict[tuple[str, str, str], dict[str, bool]] = {}  # by spelling, item and day: whether it ends, by system
    for line, row in rows:
        since, ends = valid_from(row, f"{place}:{line}"), row.get("equivalence", "").strip() == UNMATCHED
        for spelling, (key, system, item) in _about(row):
            same = said.setdefault((key, item, since), {})
            if any(other != ends for one, other in same.items() if not system or one in ("", system)):
                text = f"{spelling!r} has a target and is unmatched from the same day on"
                zh = f"{spelling!r} 从同一天起既有目标又写了 unmatched，请只留一行。"
                raise MappingError(f"{place}:{line}", text, detail_zh=zh)
            same[system] = ends


def _check_columns(columns: Sequence[str], known: Sequence[str], place: str) -> None:
    """Further columns are notes; one that only looks like a known column is a slip, whose content would be lost."""
    for column in columns:
        near = difflib.get_close_matches(column.strip().lower().replace("_", "-"), known, 1, 0.75)
        if column not in known and near:
            zh = f"没有列 {column!r}，是不是 {near[0]!r}？"
            text = f"the column {column!r} is unknown; did you mean {near[0]!r}?"
            raise MappingError(f"{place}:1", text, detail_zh=zh)


def valid_from(row: Mapping[str, str], place: str) -> str:
    """From which day on a row counts, as `2026-07-01`; "" for one that counts since ever."""
    cell = row.get(VALID_FROM, "").strip()
    if not cell:
        return ""
    try:
        if found := _DAY.fullmatch(cell):
            return date(*map(int, found.groups())).isoformat()
    except ValueError:
        pass
    zh = f"valid-from 列的 {cell!r} 不是日期，请写成 2026-07-01 这样。"
    raise MappingError(place, f"valid-from is {cell!r}; write a day, like 2026-07-01", detail_zh=zh)


Rows = Sequence[tuple[int, dict[str, str]]]  # line, cells


def in_force(rows: Rows, day: str) -> Rows:
    """Those in force on a day, in their order; for a spelling (and code system) only the newest.

    A row without code system ends the spelling in all of them.
    """
    newest: dict[tuple[str, str, str], str] = {}
    for line, row in rows:
        since = valid_from(row, f":{line}")
        for _, about in _about(row) if since <= day else ():
            newest[about] = max(since, newest.get(about, ""))
    out = []
    for line, row in rows:
        since = valid_from(row, "")
        mine = [(spelling, one, (one[0], "", one[2])) for spelling, one in _about(row)]
        if kept := [said for said, one, all_ in mine if newest.get(one) == since >= newest.get(all_, "")]:
            out.append((line, row | {"from": "|".join(kept)}))
    return out


def _about(row: Mapping[str, str]) -> list[tuple[str, tuple[str, str, str]]]:
    """Each spelling of a row, and what another row must share with it to take its place."""
    system, item = full_system(row.get("system", "").strip()), row.get("item", "")
    return [(part.strip(), (key_of(part), system, item)) for part in row["from"].split("|") if part.strip()]


def _value_table(name: str, place: str, rows: Rows) -> Table:
    plain: dict[str, str] = {}
    counted: dict[str, str] = {}
    for line, row in rows:
        into = counted if row.get("item", "") == "counted" else plain
        if name == "units":
            _check_ucum(row["to"].strip(), "to", f"{place}:{line}")
        for spelling in _spellings(row["from"]):
            if into.setdefault(spelling, row["to"].strip()) != row["to"].strip():
                text = f"{row['from']!r} stands here twice with different targets"
                zh = f"{row['from']!r} 写了两次而目标不同；从某天起才换的，请填 valid-from 列。"
                raise MappingError(f"{place}:{line}", text, detail_zh=zh)
    return Table(name, values=plain, counted=counted)


def _concept_table(name: str, place: str, rows: Rows) -> Table:
    out: dict[str, list[ConceptRow]] = {}
    for line, row in rows:
        concept = _concept_row(row, f"{place}:{line}")
        for spelling in _spellings(row["from"]):
            rows_of = out.setdefault(spelling, [])
            if any(one.same_case(concept) and one.code != concept.code for one in rows_of):
                text = f"{row['from']!r} has another code already in the same system, for the same unit and specimen"
                zh = f"{row['from']!r} 在同一编码系统里有两个 code；请只留一行，或用 unit、specimen、valid-from 区分。"
                raise MappingError(f"{place}:{line}", text, detail_zh=zh)
            rows_of.append(concept)
    return Table(name, concepts={key: tuple(found) for key, found in out.items()})


def full_system(short: str) -> str:
    """The URI of a code system's short name (`LOINC`), else the text itself."""
    return _SYSTEMS.get(short, short)


def _concept_row(row: dict[str, str], place: str) -> ConceptRow:
    system, ends = full_system(row["system"].strip()), not row["code"].strip()
    if not (ends and not system) and not system.startswith(("http", "urn:")):
        near, near_zh = near_to(row["system"], _SYSTEMS)
        text = f"system {row['system']!r} is neither a known short name nor a URI{near}"
        zh = f"system 列的 {row['system']!r} 不是已知简称（{'、'.join(_SYSTEMS)}），也不是 URI{near_zh}"
        raise MappingError(place, text, detail_zh=zh)
    check_code(system, row["code"].strip(), place)
    units = frozenset(filter(None, row.get("unit", "").strip().split("|")))
    for unit in sorted(units):
        _check_ucum(unit, "unit", place)
    return ConceptRow(
        name=row.get("name", "").strip(),
        units=units,
        specimens=_specimens(row.get("specimen", "").strip(), place),
        system=system,
        code=row["code"].strip(),
        display=row.get("display", "").strip(),
        named=_han("".join(filter(None, map(row.get, ("from", "name", "display")))))
        if _is_shared(place)
        else frozenset(),
    )


def _is_shared(place: str) -> bool:
    return place.startswith("_base/")


def _han(text: str) -> frozenset[str]:
    return frozenset(char for char in text if "\u3400" <= char <= "\u9fff")


def check_code(system: str, code: str, place: str) -> None:
    """LOINC codes carry a check digit (LOINC Users' Guide, mod 10): a slip of the pen is no code."""
    if system == systems.LOINC and code and not _is_loinc(code):
        text = f"{code!r} is no LOINC code: its form or its check digit is wrong"
        raise MappingError(place, text, detail_zh=f"code 列的 {code!r} 不是 LOINC 代码：格式或校验位不对，请核对。")


def _check_ucum(unit: str, column: str, place: str) -> None:
    """UCUM is ASCII without blanks, within braces too (UCUM §6, §12): a printed unit is no code."""
    if not unit.isascii() or " " in unit:
        text = f"{unit!r} in {column} is no UCUM code, like g/L or 10*9/L"
        zh = f"{column} 列的 {unit!r} 不是 UCUM 代码：请写 g/L、10*9/L、umol/L 这样的代码，打印写法登记在 units.csv。"
        raise MappingError(place, text, detail_zh=zh)


def _is_loinc(code: str) -> bool:
    body, _, digit = code.rpartition("-")
    if not (body.isdecimal() and digit.isdecimal() and len(digit) == 1 and code.isascii()):
        return False
    doubled = "".join(str(int(one) * (2 - place % 2)) for place, one in enumerate(reversed(body)))
    return (sum(map(int, doubled)) + int(digit)) % 10 == 0


def _specimens(cell: str, place: str) -> frozenset[str]:
    if set(cell) - _SPECIMENS:
        text = f"specimen {cell!r} is unknown; known are {', '.join(sorted(_SPECIMENS))}, several as BS"
        kinds = "B 全血、S 血清或血浆、U 尿、F 粪、A 动脉血、P 枸橼酸抗凝血、O 其他"
        zh = f"specimen 列不认识 {cell!r}：{kinds}，可连写如 BS。"
        raise MappingError(place, text, detail_zh=zh)
    return frozenset(cell)


def _spellings(cell: str) -> list[str]:
    return [key_of(part) for part in cell.split("|") if part.strip()]
