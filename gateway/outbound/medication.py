"""The medication lists: what the resident takes now with the days left, and what is past."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from ..model.directory import Directory
from .record import Record


@dataclass(frozen=True, slots=True)
class Medicine:
    """One prescription line.

    dose: `100 mg`; frequency: `qd`; usage: `100 mg qd × 30 天`, without days where the source gave none.
    days: supplied days, None = the source gave none (天数来源未提供). last_day: the last day it reaches, inclusive.
    days_left: counted from `at`'s day, that day included; 0 when used up. supply_zh: `剩 16 天（至 04-04）` or 天数来源未提供.
    origin_zh: 出院带药 | 门诊处方 | 处方. duplicates: ids of other current lines of the same drug.
    """

    request_id: str
    name: str
    drug: str
    dose: str
    frequency: str
    route: str
    usage: str
    start: date | None
    days: int | None
    last_day: date | None
    days_left: int | None
    supply_zh: str
    member: str
    member_name: str
    origin_zh: str
    duplicates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MedicationLists:
    """Newest first; duplicates stand together in `current`."""

    current: tuple[Medicine, ...]
    past: tuple[Medicine, ...]


def medications(record: Record, directory: Directory, *, at: datetime) -> MedicationLists:
    """Current and past lines at `at`."""
    raise NotImplementedError
