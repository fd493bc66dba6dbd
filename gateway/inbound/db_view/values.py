"""What drivers give for a cell: as text for a CSV, and as a position to go on from."""

from __future__ import annotations

import base64
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from ...translate.charset import decode

_TIME = re.compile(r"(\d{4})(\D?)(\d\d)(\D?)(\d\d)(?:(\D?)(\d\d)(\D?)(\d\d)(?:(\D?)(\d\d))?)?(\D\d{1,9})?")
_KINDS: dict[type, str] = {datetime: "t", date: "d", int: "i", Decimal: "n", float: "f", str: "s"}


def text_of(value: Any, charset: str = "auto") -> str:
    """A cell as an export would have it: digits as they are stored, NULL empty, times with a blank before the hour.

    Bytes are text whose charset the driver does not know (GBK in an old database); what is no text in any is base64.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _of_bytes(bytes(value), charset)
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    return _of_time(value) if isinstance(value, (date, time, timedelta)) else str(value)


def _of_time(value: date | time | timedelta) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y%m%d%H%M%S%z") if value.tzinfo else value.isoformat(" ").partition(".")[0]
    if isinstance(value, timedelta):  # TIME of MySQL
        return str(value)
    return value.isoformat().partition(".")[0]


def _of_bytes(value: bytes, charset: str) -> str:
    found = decode(value, configured=charset) if charset != "auto" else decode(value)
    return base64.b64encode(value).decode() if found.guessed or "\0" in found.text.rstrip("\0") else found.text


# ---- positions -------------------------------------------------------------------------------
def kept(value: Any) -> str:
    """A value of a position as text that says its type. Raises ValueError for a type nobody can count in."""
    if isinstance(value, (bytes, bytearray)):
        value = value.decode()
    if isinstance(value, UUID):
        value = str(value)
    kind = _KINDS.get(type(value))
    if kind is None:
        raise ValueError(type(value).__name__)
    return kind + (value.isoformat() if isinstance(value, date) else str(value))


def given(text: str) -> Any:
    """The value again."""
    kind, body = text[:1], text[1:]
    make: dict[str, Any] = {
        "t": datetime.fromisoformat, "d": date.fromisoformat, "i": int, "n": Decimal, "f": float, "s": str,
    }  # fmt: skip
    return make[kind](body)


def below(value: Any, overlap: int) -> Any:
    """So many seconds before a time, also one written as text; so many steps below a number.

    Raises ValueError for a text that is neither.
    """
    if isinstance(value, datetime):
        return value - timedelta(seconds=overlap)
    if isinstance(value, date):
        return value - timedelta(days=-(-overlap // 86400))
    if not isinstance(value, str):
        return value - overlap
    if (found := _TIME.fullmatch(value)) and _is_time(found):
        return _rewritten(value, found, overlap)
    if value.isascii() and value.isdigit():
        return str(max(int(value) - overlap, 0)).zfill(len(value))
    raise ValueError("neither a time nor a number")


def _is_time(found: re.Match[str]) -> bool:
    try:
        _instant(found)
    except ValueError:
        return False
    return True


def _instant(found: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second = (int(found[number] or 0) for number in (1, 3, 5, 7, 9, 11))
    return datetime(year, month, day, hour, minute, second)


def is_future(value: Any, today: datetime) -> bool:
    """True for a time more than a day ahead, also one written as text; numbers tell no time."""
    if isinstance(value, str):
        found = _TIME.fullmatch(value)
        value = _instant(found) if found and _is_time(found) else None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        return False
    return value > (today if value.tzinfo else today.replace(tzinfo=None)) + timedelta(days=1)


def _rewritten(value: str, found: re.Match[str], overlap: int) -> str:
    """The earlier time in the layout of the text: one by one its digits."""
    earlier = (_instant(found) - timedelta(seconds=overlap)).strftime("%Y%m%d%H%M%S")
    digits = iter(earlier)
    end = found.start(12) if found[12] else len(value)
    return "".join(next(digits) if one.isdigit() else one for one in value[:end])


def like(sample: Any, text: str) -> Any:
    """`since` as a value of the column's type. Raises ValueError."""
    if isinstance(sample, datetime):
        made = datetime.fromisoformat(text)
        return made.replace(tzinfo=sample.tzinfo) if sample.tzinfo and not made.tzinfo else made
    if isinstance(sample, date):
        return date.fromisoformat(text)
    return text if isinstance(sample, str) else type(sample)(text)
