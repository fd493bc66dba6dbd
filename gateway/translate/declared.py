"""`<member>/ranges.csv`: the reference intervals a member has published for its own laboratory (D25).

Header: `loinc,sex,age_low,age_high,unit,low,high,text`; empty cells are open.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path

from ..errors import MappingError
from ..model.ranges import DeclaredRange, DeclaredRanges
from .mapping import Library

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
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if set(reader.fieldnames or ()) != set(_COLUMNS):
            header = ",".join(_COLUMNS)
            zh = f"表头应为 {header}。"
            raise MappingError(f"{member}/{path.name}:1", f"the header must be {header}", detail_zh=zh)
        return [_row(row, member, f"{member}/{path.name}:{reader.line_num}") for row in reader]


def _row(row: dict[str, str], member: str, place: str) -> DeclaredRange:
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
