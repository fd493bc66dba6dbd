"""The shapes of the cumulative laboratory grid, as pages and prints read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

NOT_MEASURED = "未测"


@dataclass(frozen=True, slots=True)
class Flag:
    """code: H L HH LL A AA POS NEG …; zh: 偏高 偏低 危急高 危急低 异常 …; direction: "high" | "low" | "".

    origin: source = the laboratory said so; report = value against the range the report prints;
    declared = value against 机构公布区间. symbol: `↑H`, `↓↓LL`.
    """

    code: str
    zh: str
    symbol: str
    direction: Literal["high", "low", ""]
    critical: bool
    origin: Literal["source", "report", "declared"]


@dataclass(frozen=True, slots=True)
class Band:
    """Reference interval. text as printed (`41–81`, `0.50–1.10 mg/dL`); low/high in the row's display unit.

    origin none: text is 来源未提供参考区间.
    """

    origin: Literal["report", "declared", "none"]
    text: str
    low: Decimal | None = None
    high: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """How the value reads in the row's unit when that is not what was sent.

    text: `≈106 μmol/L (×88.4)`; arithmetic: `1.20 × 88.4 = 106.08`. renamed: only the unit's spelling differs
    (`6.5 G/L` is 6.5 10⁹/L), then text is `原文 6.5 G/L`.
    """

    text: str
    arithmetic: str
    value: Decimal
    renamed: bool


@dataclass(frozen=True, slots=True)
class Times:
    """The five times of a result, each None when the source did not give it."""

    collected: datetime | None = None
    received: datetime | None = None
    verified: datetime | None = None
    issued: datetime | None = None
    arrived: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One cell. value and unit as sent (`1.20`, `<0.05`, `阴性(-)`; a not measured one: 未做 and why).

    number: in the row's display unit, None when not numeric. status: FHIR status; status_zh: 终审 已更正 初步 ….
    previous: the value before a correction, as sent with its unit, "" when not known.
    notice_told/notice_at: who was told of a critical value, and when.
    """

    observation_id: str
    report_id: str
    member: str
    value: str
    unit: str
    number: Decimal | None
    shown: Shown | None
    flag: Flag | None
    band: Band
    status: str
    status_zh: str
    corrected: bool
    unchecked: bool
    critical: bool
    previous: str
    notice_told: str
    notice_at: datetime | None
    times: Times
    specimen: str
    method: str
    note: str

    @property
    def answers(self) -> bool:
        """True when it says something of the person: neither cancelled nor without a result."""
        return self.status != "cancelled" and self.value != NOT_MEASURED

    @property
    def at(self) -> datetime | None:
        """When it was true of the person, as well as its source says."""
        return self.times.collected or self.times.issued or self.times.arrived


@dataclass(frozen=True, slots=True)
class Column:
    """One report event: what one member collected from the person on one occasion."""

    member: str
    member_name: str
    at: datetime
    reports: tuple[str, ...]
    latest: bool


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a sparkline, value and band in the row's display unit. column: index into LabGrid.columns.

    method_changed: method or specimen differs from the point before (方法不同，不可直接比较).
    """

    column: int
    at: datetime
    value: Decimal
    band: Band
    direction: Literal["high", "low", ""]
    converted: bool
    method_changed: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One analyte. key: stable id for links (`14682-9`, `county_tcm_hospital:X-9981`). unit: display unit, `μmol/L`.

    coded False: the source's own item, marked 未编码. cells: one for each column, None = not done.
    abnormal: any cell flagged. label: the trend in words, for `aria-label`.
    """

    key: str
    loinc: str
    name: str
    short: str
    unit: str
    group: str
    coded: bool
    cells: tuple[Reading | None, ...]
    points: tuple[Point, ...]
    abnormal: bool
    label: str

    @property
    def newest(self) -> Reading | None:
        """The newest result that answers; a haemolysed specimen after a critical value takes nothing back.

        By its own time: a column that holds a whole day stands where the day's first result stands.
        """
        return max(self._answers(), key=_when, default=None)

    @property
    def standing(self) -> Reading | None:
        """The newest that may say a critical value is over, or is one: an unchecked normal one does not."""
        checked = [cell for cell in self._answers() if cell.critical or not cell.unchecked]
        return max(checked, key=_when, default=None)

    def _answers(self) -> list[Reading]:
        return [cell for cell in reversed(self.cells) if cell and cell.answers and cell.at]


@dataclass(frozen=True, slots=True)
class LabGrid:
    """Rows in group order; `groups` are (heading, rows)."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    groups: tuple[tuple[str, tuple[Row, ...]], ...]


def _when(cell: Reading) -> tuple[datetime | None, datetime | None]:
    # Of one specimen tested twice the later report counts.
    return cell.at, cell.times.issued or cell.at
