"""`<member>/ranges.csv`: the reference intervals a member has published for its own laboratory (D25).

Header: `loinc,sex,age_low,age_high,unit,low,high,text`; empty cells are open.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path

from ..errors import MappingError
from ..model.ranges import DeclaredRange, DeclaredRanges
from ..model.systems import LOINC
from .codes import check_code
from .mapping import Library
from .strict_yaml import read_utf8

_COLUMNS = ("loinc", "sex", "age_low", "age_high", "unit", "low", "high", "text")
_SEX = {"": "", "male": "male", "female": "female", "M": "male", "F": "female", "男": "male", "女": "female"}


def declared_ranges(library: Library, members: Iterable[str]) -> DeclaredRanges:
    """All members' rows. Raises MappingError with file and line."""
    rows: list[DeclaredRange] = []
    for member in members:
        path = library.find(f"{member}/ranges.csv")
        if path is not None:
            rows += read_ranges(path, member)
    return DeclaredRanges.of(rows)


def read_ranges(path: Path, member: str) -> list[DeclaredRange]:
    """The rows of one file, in order."""
    shown = f"{member}/{path.name}"
    reader = csv.DictReader(io.StringIO(read_utf8(path, shown), newline=""))
    if set(reader.fieldnames or ()) != set(_COLUMNS):
        header = ",".join(_COLUMNS)
        raise MappingError(f"{shown}:1", f"the header must be {header}", detail_zh=f"表头应为 {header}。")
    return [_row(row, member, f"{shown}:{reader.line_num}") for row in reader]


def _row(row: dict[str, str], member: str, place: str) -> DeclaredRange:
    if None in row or None in row.values():
        zh = f"这一行应有 {len(_COLUMNS)} 列。"
        raise MappingError(place, f"this row must have {len(_COLUMNS)} columns", detail_zh=zh)
    if not row["loinc"].strip():
        raise MappingError(place, "loinc is empty", detail_zh="loinc 列为空：请写代码，或删去这一行。")
    check_code(LOINC, row["loinc"].strip(), place)
    made = _range(row, member, place)
    if made.low is not None and made.high is not None and made.low > made.high:
        raise MappingError(place, "low is above high", detail_zh="下限 low 大于上限 high。")
    return made


def _range(row: dict[str, str], member: str, place: str) -> DeclaredRange:
    try:
        return DeclaredRange(
            member=member,
            loinc=row["loinc"].strip(),
            sex=_SEX[row["sex"].strip()],
            age_low=int(row["age_low"]) if row["age_low"] else None,
            age_high=int(row["age_high"]) if row["age_high"] else None,
            unit=row["unit"].strip(),
            low=Decimal(row["low"]) if row["low"] else None,
            high=Decimal(row["high"]) if row["high"] else None,
            text=row["text"].strip(),
        )
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        zh = "sex 只能是 男、女 或空，年龄与上下限应是数字。"
        raise MappingError(place, "sex is male, female or empty; ages and limits are numbers", detail_zh=zh) from error
