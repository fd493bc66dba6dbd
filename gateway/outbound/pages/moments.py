"""Times as a page says them: China time, the year left out while it is the present one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ...model.times import CHINA, parse_fhir


@dataclass(frozen=True, slots=True)
class When:
    """`iso` for <time datetime>, `text` as read."""

    iso: str
    text: str

    def __bool__(self) -> bool:
        return bool(self.iso)


UNKNOWN = When("", "未知")


def day(value: str, now: datetime, *, full: bool = False) -> When:
    """`03-06` this year, `2025-03-06` otherwise or with `full`; a FHIR date keeps its own precision."""
    if not value:
        return UNKNOWN
    if len(value) < 10:
        return When(value, value)
    at = _at(value)
    same = at.year == now.astimezone(CHINA).year
    return When(at.date().isoformat(), at.strftime("%m-%d" if same and not full else "%Y-%m-%d"))


def minute(value: str, now: datetime, *, full: bool = False) -> When:
    """`03-06 09:30`; a value without a time reads as its day."""
    if len(value) <= 10:
        return day(value, now, full=full)
    at = _at(value)
    same = at.year == now.astimezone(CHINA).year
    text = at.strftime("%m-%d %H:%M" if same and not full else "%Y-%m-%d %H:%M")
    return When(at.isoformat(timespec="minutes"), text)


def of(at: datetime | None, now: datetime, *, full: bool = False) -> When:
    """An instant as `minute` gives it; 未知 for None."""
    return minute(at.isoformat(), now, full=full) if at else UNKNOWN


def clock(value: str) -> str:
    """`15:32` of a FHIR dateTime, "" when it has no time."""
    return _at(value).strftime("%H:%M") if len(value) > 10 else ""


def ago(at: datetime, now: datetime) -> str:
    """`刚刚`, `8 分钟前`, `2 小时前`, `3 天前`."""
    minutes = max(0, int((now - at).total_seconds() // 60))
    if minutes < 1:
        return "刚刚"
    if minutes < 60:
        return f"{minutes} 分钟前"
    if minutes < 60 * 48:
        return f"{minutes // 60} 小时前"
    return f"{minutes // (60 * 24)} 天前"


def age(birth: str, now: datetime, died: str = "") -> str:
    """`84 岁`, under two years `14 个月`, under one month `15 天`; 年龄未知 without year and month of birth."""
    if len(birth) < 7:
        return "年龄未知"
    born, at = parse_fhir(birth), (parse_fhir(died) if died else now).astimezone(CHINA)
    months = (at.year - born.year) * 12 + at.month - born.month - (at.day < born.day)
    if months < 1:
        return f"{max(0, (at.date() - born.date()).days)} 天"
    return f"{months} 个月" if months < 24 else f"{months // 12} 岁"


def _at(value: str) -> datetime:
    return parse_fhir(value).astimezone(CHINA)
