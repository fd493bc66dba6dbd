"""What a function of the mapping language remarks beside a value it gives; never with the patient's data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..model.outcome import Severity
from ..model.resource import Json

Value = Any  # JSON data, None, or Noted
_LONGEST_UNIT = 20  # characters; what is longer is no unit


@dataclass(frozen=True, slots=True)
class Noted:
    """A value with a remark: code, Chinese and English sentence (never with the patient's data).

    about: the further input the remark is about, where it is not the text at `from`.
    """

    value: Value
    code: str
    zh: str
    en: str
    severity: Severity = "warning"
    about: str = ""


def unmapped(value: Json, table: str, item: str) -> Noted:
    """The value with the finding that its code has no standard code; the code is named, so that gaps can be counted."""
    zh = f"码表 {table} 中没有项目代码 {item}，结果照常显示，标记为未编码。"
    return Noted(value, "GW-MAP-001", zh, f"Table {table} has no standard code for {item}; it stays local.")


def another(value: Json, table: str, item: str, name: str) -> Noted:
    """As `unmapped`, of a code that is another item in the shared table: abbreviations have several meanings."""
    zh = f"码表 {table} 中代码 {item} 是“{name}”，与来文的项目名不符，标记为未编码；请在本院码表中写明。"
    en = f"In table {table} the code {item} is another item than the one named here; it stays local."
    return Noted(value, "GW-MAP-001", zh, en)


def unfit(value: Json, table: str, item: str, unit: str) -> Noted:
    """As `unmapped`, of a code or name the table does have, in rows for another unit or specimen."""
    unit = unit[:_LONGEST_UNIT]
    zh = f"码表 {table} 中有项目 {item}，但没有一行的单位和标本与来文相符（单位“{unit}”），标记为未编码。"
    en = f"Table {table} has {item}, but no row of its unit {unit!r} and specimen; it stays local."
    return Noted(value, "GW-MAP-001", zh, en)


def unknown_flag(value: Value, table: str) -> Noted:
    """The interpretation with the finding that a flag of it is in no table."""
    zh, en = f"码表 {table} 中没有此标志，按原文保留。", f"Table {table} does not know this flag; it stands as printed."
    return Noted(value, "GW-MAP-002", zh, en)


def unit_told(value: Json, printed: str, code: str) -> Value:
    """The value of a result; with a finding when its unit is not known, or has no place beside a value of that kind."""
    if not printed or "dataAbsentReason" in value:
        return value
    unit = printed[:_LONGEST_UNIT]
    if "valueQuantity" in value or "valueRange" in value:
        zh, en = (
            f"单位“{unit}”的写法未登记，按原样保留。",
            f"The spelling of the unit {unit!r} is unknown; it is kept as printed.",
        )
        return value if code else Noted(value, "GW-MAP-004", zh, en, about="unit")
    zh = f"结果不是数值，FHIR R4 没有写单位的位置，单位“{unit}”没有写入。"
    en = f"The result is no number; R4 has no place for its unit {unit!r}, which is left out."
    return Noted(value, "GW-MAP-013", zh, en, "information", about="unit")
