"""Functions of HL7 v2 beyond results and people: encapsulated documents (ED, RP), how long things take, doses.

Source: HL7 v2.5.1 §2.A.24 (ED), §2.A.65 (RP), §2.A.81 (TQ), §4.14.4 (RXE-3, RXE-4), §10.6.4 (AIS-7, AIS-8).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal

from ..model import systems
from ..model.resource import Json
from ..model.times import fhir_from_ts, parse_fhir
from . import functions as base
from .denials import denies, leaves_open
from .functions import Call, Function, Setting
from .functions_v2 import label, lines, names, part
from .remarks import Noted, Value
from .result_values import half_width

_MIME = {
    "PDF": "application/pdf",
    "JPEG": "image/jpeg",
    "JPG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "DICOM": "application/dicom",
    "HTML": "text/html",
    "PLAIN": "text/plain",
    "TEXT": "text/plain",
    "RTF": "application/rtf",
    "XML": "application/xml",
    "X-HL7-CDA-LEVEL-ONE": "application/xml",
}
_TEXT = "text/plain; charset=utf-8"
_UNTOLD = "application/octet-stream"
_BEGINNINGS = {
    "JVBERi": "application/pdf",
    "/9j/": "image/jpeg",
    "iVBORw0KGgo": "image/png",
    "e1xydG": "application/rtf",
}
_MINUTES: dict[str, Decimal | int] = {
    "": 1,
    "MIN": 1,
    "M": 1,
    "分": 1,
    "分钟": 1,
    "H": 60,
    "HR": 60,
    "小时": 60,
    "S": Decimal(1) / 60,
    "SEC": Decimal(1) / 60,
}


def attachment(setting: Setting, options: Mapping[str, str]) -> Call:
    """Attachment from OBX-5 by the type in OBX-2: ED holds the data, RP points at it, anything else is text.

    Raises ValueError for data that is not in the encoding it names.
    """
    printed, named = lines(setting, {}), label(setting, {})

    def make(field: str, kind: str = "", title: str = "") -> Value:
        if not field or (kind == "ED" and not _payload(field)):
            return None
        head: Json = {}
        if kind == "ED":
            head = _encapsulated(field)
        elif kind == "RP":
            head = {"contentType": _mime(field, 3), "url": part(field, 1)}
        else:
            head = _written(printed(field) or "")
        name = named(title)
        return head | ({"title": name} if name else {})

    return make


def _encapsulated(field: str) -> Json:
    data = _data(part(field, 4), _payload(field))
    kind = _mime(field) if "^" in field else _UNTOLD
    return {"contentType": _looks_like(data) if kind == _UNTOLD else kind, "data": data}


def _written(text: str) -> Json:
    """Text as an attachment; some senders write RTF into a text field."""
    kind = "application/rtf" if text.startswith("{\\rtf") else _TEXT
    return {"contentType": kind, "data": base64.b64encode(text.encode()).decode()}


def _payload(field: str) -> str:
    """Component 5; of a field without components the field, as some senders write the data alone."""
    return field if "^" not in field else field.split("^", 4)[4].partition("^")[0] if field.count("^") >= 4 else ""


def _looks_like(data: str) -> str:
    """Media type by the first bytes of the data (base64), where its sender told none."""
    return next((kind for begin, kind in _BEGINNINGS.items() if data.startswith(begin)), _UNTOLD)


def _mime(field: str, at: int = 2) -> str:
    kind, subtype = part(field, at), part(field, at + 1)
    if "/" in kind:
        return kind.lower()
    return _MIME.get(subtype.upper()) or _MIME.get(kind.upper()) or _UNTOLD


def _data(encoding: str, payload: str) -> str:
    if encoding.upper() == "A":
        return base64.b64encode((part(payload, 1)).encode()).decode()
    plain = re.sub(r"\\\.br\\|\\X0[AD]\\|\s", "", payload)
    try:
        raw = bytes.fromhex(plain) if encoding.upper() == "HEX" else base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the data is not in the encoding it names") from error
    return base64.b64encode(raw).decode()


def minutes(setting: Setting, options: Mapping[str, str]) -> Call:
    """Whole minutes of a duration in `unit`, or in minutes; nothing for one that rounds to none (R4: positiveInt)."""
    decimal = base.decimal(setting, {})
    return lambda duration, unit="": round(_in_minutes(decimal(duration) or 0, unit)) or None


def _in_minutes(duration: Decimal | int, unit: str) -> Decimal:
    """Raises ValueError for a duration that is none."""
    found = Decimal(duration * _MINUTES.get(unit.strip().upper(), 1))
    if not 0 <= found < 2**31:
        raise ValueError("no duration of an appointment")
    return found


def beginning(setting: Setting, options: Mapping[str, str]) -> Call:
    """Instant an appointment begins; of a day alone its first moment: R4 wants one, `end_of_day` is the other end."""

    moment = _moments(setting)

    def make(value: str) -> Value:
        found = moment(value)
        return fhir_from_ts(base.stamp(f"{found}T00:00:00"), setting.zone) if _is_day(found) else found or None

    return make


def end_of_day(setting: Setting, options: Mapping[str, str]) -> Call:
    """The last second of a day alone, nothing of a time of day."""
    moment = _moments(setting)
    return lambda value: (
        fhir_from_ts(base.stamp(f"{day}T23:59:59"), setting.zone) if _is_day(day := moment(value)) else None
    )


def day_alone(setting: Setting, options: Mapping[str, str]) -> Call:
    """The date of a day alone, nothing of a time of day."""
    moment = _moments(setting)
    return lambda value: day if _is_day(day := moment(value)) else None


def _moments(setting: Setting) -> Callable[[str], str]:
    """Reads a FHIR dateTime; of a date, and of midnight, which many systems write for one, the date. "" for nothing."""
    date_time, timed = base.date_time(setting, {}), base.timed(setting, {})

    def moment(value: str) -> str:
        found = date_time(value) or ""
        return found if timed(value) else found.partition("T")[0]

    return moment


def _is_day(moment: str) -> bool:
    return len(moment) == len("2026-03-25")


def later(setting: Setting, options: Mapping[str, str]) -> Call:
    """Instant so many minutes (or `unit`) after a time; nothing without a duration, of a date alone as `instant`."""
    instant, decimal = base.instant(setting, {}), base.decimal(setting, {})

    def make(start: str, duration: str = "", unit: str = "") -> Value:
        begun, count = instant(start), duration.strip()
        if begun is None or not count:
            return None
        if isinstance(begun, Noted):
            return begun
        try:
            return (parse_fhir(begun) + timedelta(minutes=float(_in_minutes(decimal(count), unit)))).isoformat()
        except OverflowError as error:
            raise ValueError("no time is so far ahead") from error

    return make


_LASTS = {  # by the letters of TQ, which has M for minutes and L for months
    "s": ("s", "秒"), "m": ("min", "分钟"), "h": ("h", "小时"), "d": ("d", "天"), "w": ("wk", "周"), "l": ("mo", "月"),
}  # fmt: skip
_WORDS = {"s": "sec 秒", "m": "min 分 分钟", "h": "hr 时 小时", "d": "day 天 日", "w": "wk 周", "l": "mo 月 个月"}
_LASTS |= {word: _LASTS[letter] for letter, words in _WORDS.items() for word in words.split(" ")}
_LASTING = re.compile(r"([^\W\d]*)(\d{1,60}(?:\.\d{1,60})?)([^\W\d]*)")


def duration(setting: Setting, options: Mapping[str, str]) -> Call:
    """Duration from `7` in a unit (days when none is told), `7天`, or an interval as TQ spells it (`D7`, `W2`)."""
    zh, en = "时长的写法读不懂，没有写入。", "The duration cannot be read and is left out."
    unread = Noted(None, "GW-MAP-003", zh, en)

    def make(value: str, unit: str = "") -> Value:
        plain = half_width(value)
        if not plain or re.fullmatch(r"X\d*|INDEF", plain.upper()):  # so many times, or without end
            return None
        found = _LASTING.fullmatch(plain)
        told = (found[1] or found[3] or half_width(unit) or "d").lower() if found else ""
        if not found or told not in _LASTS:
            return unread
        code, name = _LASTS[told]
        return {"value": Decimal(found[2]), "unit": name, "system": systems.UCUM, "code": code}

    return make


def dose(setting: Setting, options: Mapping[str, str]) -> Call:
    """dose[x]: a Quantity, or a Range where the most that may be given is another number. ValueError for no number."""
    quantity = base.quantity(setting, {})

    def make(value: str, unit: str = "", to: str = "") -> Value:
        low, high = quantity(value, unit), quantity(to, unit)
        if low is None or high is None or low == high:
            found = low if low is not None else high
            return None if found is None else {"doseQuantity": found}
        return {"doseRange": {"low": low, "high": high}}

    return make


def ingredient(setting: Setting, options: Mapping[str, str]) -> Call:
    """One part of a mixture as a label prints it: `氯化钾 10 ml`."""
    named = label(setting, {})
    return lambda field, amount="", unit="": (
        " ".join(filter(None, (named(field), f"{part(amount, 1)} {named(unit) or ''}".strip()))) or None
    )


def denial(setting: Setting, options: Mapping[str, str]) -> Call:
    """What stands as an allergen (CE): a `substance`, `none` for a denial, `unknown` where nobody knows."""

    def make(field: str) -> Value:
        texts = [text for text in (part(field, 2), part(field, 1)) if text]
        if not texts:
            return None
        if any(map(leaves_open, texts)):
            return "unknown"
        return "none" if any(map(denies, texts)) else "substance"

    return make


def called(setting: Setting, options: Mapping[str, str]) -> Call:
    """How the first person of an XPN is called, in one text."""
    people = names(setting, {})
    return lambda field: found[0]["text"] if (found := people(field)) else None


MORE_V2_FUNCTIONS: dict[str, Function] = {
    "beginning": Function(beginning, notes=False),
    "end_of_day": Function(end_of_day, notes=False),
    "day_alone": Function(day_alone, notes=False),
    "called": Function(called, whole=True, repeats=True, covers=(1, 2, 7, 8), notes=False),
    "denial": Function(denial, whole=True, covers=(1, 2), notes=False),
    "duration": Function(duration, ("unit",)),
    "dose": Function(dose, ("unit", "to"), notes=False),
    "ingredient": Function(ingredient, ("amount", "unit"), whole=True, covers=(1, 2, 3), notes=False),
    "attachment": Function(
        attachment, ("type", "title"), whole=True, repeats=True, covers=(1, 2, 3, 4, 5), notes=False
    ),
    "minutes": Function(minutes, ("unit",), notes=False),
    "later": Function(later, ("duration", "unit"), notes=False, loses=True),
}
