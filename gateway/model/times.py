"""Instants, dates and the clock everybody is given (nobody calls the system clock by itself)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

Clock = Callable[[], datetime]
CHINA = timezone(timedelta(hours=8))


def system_clock() -> datetime:
    """The present instant, aware, in UTC."""
    return datetime.now(UTC)


def instant_text(at: datetime) -> str:
    """FHIR `instant` with milliseconds and the zone `at` carries: `2026-03-20T09:00:00.000+08:00`."""
    return at.isoformat(timespec="milliseconds")


def parse_offset(text: str) -> timezone:
    """`+08:00` or `+0800` as a timezone; raises ValueError for anything else."""
    digits = text.replace(":", "")
    if len(digits) != 5 or digits[0] not in "+-" or not digits[1:].isdigit():
        raise ValueError(f"not a UTC offset: {text!r}")
    size = timedelta(hours=int(digits[1:3]), minutes=int(digits[3:5]))
    return timezone(size if digits[0] == "+" else -size)


def fhir_from_ts(ts: str, zone: str = "+08:00") -> str:
    """FHIR dateTime from `YYYY[MM[DD[HH[MM[SS[.f]]]]]][±ZZZZ]` (HL7 v2 DTM, CDA TS, WS/T dates).

    Precision is kept: no time is made up for a date, no zone is given to a date. A time without
    zone gets `zone` (D17). Minutes without seconds become `:00`, because FHIR demands seconds.
    Raises ValueError for text that is no such date, and for days or hours that do not exist.
    Source: HL7 v2.5.1 §2.A.22; FHIR R4 dateTime.
    """
    if len(ts) == 14 and ts.isdigit() and ts[8:10] != "24" and ts.isascii():  # nearly all: a third of the cost
        text = f"{ts[:4]}-{ts[4:6]}-{ts[6:8]}T{ts[8:10]}:{ts[10:12]}:{ts[12:]}"
        datetime.fromisoformat(text)
        return text + zone
    if len(ts) == 8 and ts.isdigit() and ts.isascii():
        return _date_part(ts)
    body, offset = _split_offset(ts.strip())
    whole, _, fraction = body.partition(".")
    if not whole.isdigit() or len(whole) not in (4, 6, 8, 10, 12, 14):
        raise ValueError(f"not a timestamp of 4, 6, 8, 10, 12 or 14 digits: {len(whole)} characters")
    if len(whole) <= 8:
        return _date_part(whole)
    if whole[8:10] == "24" and not whole[10:].strip("0"):
        day = datetime.strptime(whole[:8], "%Y%m%d") + timedelta(days=1)
        whole = day.strftime("%Y%m%d") + "000000"
    padded = whole.ljust(14, "0")
    datetime(*_parts(padded))
    text = f"{padded[:4]}-{padded[4:6]}-{padded[6:8]}T{padded[8:10]}:{padded[10:12]}:{padded[12:14]}"
    if fraction:
        text += "." + fraction
    return text + (offset or zone)


def _parts(digits: str) -> tuple[int, int, int, int, int, int]:
    """14 digits as year to second; the constructor of datetime checks them at a tenth of strptime's cost."""
    hour, minute, second = int(digits[8:10]), int(digits[10:12]), int(digits[12:])
    return int(digits[:4]), int(digits[4:6]), int(digits[6:8]), hour, minute, second


def _split_offset(ts: str) -> tuple[str, str]:
    for sign in "+-":
        head, found, tail = ts.rpartition(sign)
        if found and head[:4].isdigit() and len(head) >= 8:
            zone = parse_offset(sign + tail)
            total = int(zone.utcoffset(None).total_seconds() // 60)
            return head, f"{sign}{abs(total) // 60:02d}:{abs(total) % 60:02d}"
    return ts, ""


def _date_part(digits: str) -> str:
    year = digits[:4]
    if len(digits) == 4:
        return year
    if len(digits) == 6:
        datetime(int(year), int(digits[4:6]), 1)
        return f"{year}-{digits[4:6]}"
    datetime(int(year), int(digits[4:6]), int(digits[6:8]))
    return f"{year}-{digits[4:6]}-{digits[6:8]}"


def parse_fhir(text: str) -> datetime:
    """The first instant of a FHIR date, dateTime or instant; a date starts at 00:00 in +08:00 (D17)."""
    if len(text) == 4:
        return datetime(int(text), 1, 1, tzinfo=CHINA)
    if len(text) == 7:
        return datetime(int(text[:4]), int(text[5:7]), 1, tzinfo=CHINA)
    leap = text[16:19] == ":60"  # FHIR allows the leap second, datetime knows none
    value = datetime.fromisoformat(f"{text[:17]}59{text[19:]}" if leap else text)
    return value if value.tzinfo else value.replace(tzinfo=CHINA)
