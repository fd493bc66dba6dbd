"""FHIR dates as closed millisecond ranges, for keys and for queries.

A date without time is the whole day at +08:00, on both sides: two dates compare as calendar days, and only a value
with a time and a zone of its own is compared as an instant (D17). An open end of a Period is the end of time.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta, timezone

FIRST = -62135596800000
LAST = 253402300799999
_CHINA = timezone(timedelta(hours=8))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY = 86_400_000
_SHIFT = 8 * 3_600_000
_MS = timedelta(milliseconds=1)


def date_range(text: str) -> tuple[int, int]:
    """(first ms, last ms) of a FHIR date, dateTime or instant, also of the shorter forms a query may use.

    `2026` · `2026-03` · `2026-03-20` · `2026-03-20T07:45` · `…:00` · `…:00.123`, zone optional (+08:00).
    Raises ValueError for anything else.
    """
    size = len(text)
    if size > 10:
        return _time_range(text)
    if size == 10:
        start = _day_ms(date.fromisoformat(text))
        return start, start + _DAY - 1
    if size == 7 and text[4] == "-":
        year, month = int(text[:4]), int(text[5:])
        return _day_ms(date(year, month, 1)), _day_ms(date(year, month, monthrange(year, month)[1])) + _DAY - 1
    if size == 4 and text.isdigit():
        year = int(text)
        return _day_ms(date(year, 1, 1)), _day_ms(date(year, 12, 31)) + _DAY - 1
    raise ValueError(f"not a date of {size} characters")


def _day_ms(day: date) -> int:
    return (day.toordinal() - _EPOCH_DAY) * _DAY - _SHIFT


def _time_range(text: str) -> tuple[int, int]:
    if text[10] != "T" or text[13:14] != ":":
        raise ValueError("no T between date and time, or an hour without its minutes")
    leap = text[16:19] == ":60"
    at = datetime.fromisoformat(text[:16] + ":59" + text[19:] if leap else text)
    if at.tzinfo is None:
        at = at.replace(tzinfo=_CHINA)
    start = (at - _EPOCH) // _MS + (1000 if leap else 0)
    if "." in text:
        return start, start
    return start, start + (59_999 if len(text) == 16 or text[16] != ":" else 999)
