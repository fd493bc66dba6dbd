"""The closed list of functions a mapping may name in `by:`; a map can call nothing else.

A function is made once for a mapping (`make(setting, options)`) and then called with texts: the one at
`from`, then its further inputs. It gives JSON data, None for "nothing to say", or `Noted` (a value and a
finding). It raises ValueError for a value its field cannot have; the message is then quarantined with the
place. Functions are pure, so the compiled mapping remembers their results per value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation

from ..model import systems
from ..model.resource import Json
from ..model.times import fhir_from_ts, parse_fhir
from . import result_values as results
from .codes import Table, ucum
from .remarks import Noted, Value, another, unfit, unit_told, unknown_flag, unmapped

Call = Callable[..., Value]


@dataclass(frozen=True, slots=True)
class Setting:
    """What functions may know besides their arguments."""

    member: str
    member_name: str
    zone: str
    tables: Mapping[str, Table]

    def table(self, name: str) -> Table:
        """The named table; an empty one when the mapping names none."""
        return self.tables[name] if name else Table("")


@dataclass(frozen=True, slots=True)
class Function:
    """One entry of the list. inputs: further paths it takes; options: constants it takes.

    whole: it reads a whole HL7 v2 field (components, repetitions) instead of its first component.
    covers: the components it makes use of, 1-based; () = all of them.
    repeats: it reads every repetition of a whole field, not only the first.
    time: its result is a clinical time, checked against the future.
    uniform: the input (`from` or another) that may be any plain number, `5.21`, without changing what is said but its
    digits: they stand in the result once when it is `from`, not at all when it is another.
    notes: it may give `Noted`; False lets the compiler leave out the check and work it out once for a loop.
    loses: for a text that says too little it gives `Noted` of nothing, told once a field, and not where another
    alternative of `first` gives the element its value.
    gives: `text`, `date`, `dateTime`, `instant`, `decimal`, `integer`, `boolean`, or `object` for what has elements of
    its own or is a list of such; "" where that depends. An element of another kind is refused when the map is compiled.
    """

    make: Callable[[Setting, Mapping[str, str]], Call]
    inputs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    whole: bool = False
    covers: tuple[int, ...] = ()
    repeats: bool = False
    time: bool = False
    notes: bool = True
    loses: bool = False
    uniform: str = ""
    gives: str = ""

    @property
    def measured(self) -> int | None:
        """Which of all its inputs, `from` first, is the uniform one."""
        return ("from", *self.inputs).index(self.uniform) if self.uniform else None

    def may_note(self, options: Mapping[str, str]) -> bool:
        """False when no call can give a remark: a table with an empty `else`, a date whose time has its own place."""
        if self.make is text:
            return "table" in options and options.get("else") != ""
        return self.notes and not (self.make is date and _time_elsewhere(options))


# ---- text and codes -----------------------------------------------------------------------------
def text(setting: Setting, options: Mapping[str, str]) -> Call:
    """The text, or what `table` says for it; `else` for an empty value, and with a remark for one it does not know."""
    if "table" not in options:
        return lambda value: value.strip() or options.get("else")
    table, otherwise = setting.table(options["table"]), options.get("else")

    def look_up(value: str) -> Value:
        found = table.value(value)
        if found is not None:
            return found or None
        if otherwise == "" or not value.strip():
            return otherwise
        as_zh, as_en = (f"，按 {otherwise} 处理", f"; it is taken for {otherwise}") if otherwise else ("", "")
        zh, en = f"码表 {table.name} 中没有此代码{as_zh}。", f"Table {table.name} does not know this code{as_en}."
        return Noted(otherwise, "GW-MAP-002", zh, en)

    return look_up


def markdown(setting: Setting, options: Mapping[str, str]) -> Call:
    """Text of several lines; trailing spaces go, line breaks stay."""
    return lambda value: "\n".join(line.rstrip() for line in value.splitlines()).strip("\n") or None


def uri(setting: Setting, options: Mapping[str, str]) -> Call:
    """An OID or UID as `urn:oid:…`; a URI stays as it is."""
    return lambda value: value and (value if ":" in value else f"urn:oid:{value.strip()}")


def concept(setting: Setting, options: Mapping[str, str]) -> Call:
    """CodeableConcept: the source's code first, then standard codes of `table`, `text` as printed.

    `system` names the system of the source's code when it is a standard one; else it is local to the
    member under `local`. A code the table does not know stays visible and makes finding GW-MAP-001, unless
    `unmapped: quiet` (panels and orders, which rarely have a standard code). One that the table says has none is none.
    """
    table = setting.table(options.get("table", ""))
    units = setting.table("units")
    quiet = not table.name or options.get("unmapped") == "quiet"
    own = options.get("system") or systems.local_codes(setting.member, options.get("local", "item"))

    def make(code: str, name: str = "", unit: str = "", specimen: str = "") -> Value:
        code, name = code.strip(), name.strip()
        if not code and not name:
            return None
        expected = table.expected_units(code, name)
        known_unit = ucum(units, unit, expected) or ("?" if unit else "")
        rows = table.rows(code, name, known_unit, specimen_class(setting, specimen))
        out = concept_of(own, code, name, [(row.system, row.code, row.display) for row in rows])
        if rows or quiet or table.without_code(code, name):
            return out
        if other := table.another(code, name):
            return another(out, table.name, code, other)
        if unit and expected:
            return unfit(out, table.name, code if table.expected_units(code, "") else name, unit)
        return unmapped(out, table.name, code or name)

    return make


def concept_of(system: str, code: str, name: str, more: list[tuple[str, str, str]]) -> Json:
    """CodeableConcept from the source's coding and further (system, code, display)."""
    coding: list[Json] = []
    if code:
        coding.append({"system": system, "code": code} | ({"display": name} if name else {}))
    for also in more:
        entry = {"system": also[0], "code": also[1]} | ({"display": also[2]} if also[2] else {})
        coding.append(entry)
    out: Json = {"coding": coding} if coding else {}
    return out | {"text": name or code}


def specimen_class(setting: Setting, printed: str) -> str:
    """B S U F A P O for a printed specimen, "" when unknown."""
    return (setting.table("specimens").value(printed) or "") if printed else ""


# ---- times --------------------------------------------------------------------------------------
_SEPARATED = re.compile(
    r"(\d{4})[-/.年](\d{1,2})(?:[-/.月](\d{1,2})日?|月)?"
    r"(?:(?:[T ]+|(?<=日))(\d{1,2})(?::(\d{2})(?::(\d{2}))?|时(\d{1,2})分(?:(\d{1,2})秒)?))?(.*)"
)
_COMPACT = re.compile(r"(\d{8})[T ]+(\d{2}):?(\d{2})(?::?(\d{2}))?")


def stamp(text: str) -> str:
    """A printed date or time as digits for `fhir_from_ts`: `2026/3/9 8:05` → `202603090805`."""
    if text.isdigit() and text.isascii():
        return text
    plain = results.half_width(text)
    found = _SEPARATED.fullmatch(plain)
    if found:
        year, month, day, hour, *clock, rest = (part or "" for part in found.groups())
        parts = [year, month.zfill(2), day.zfill(2) if day else ""]
        if hour:
            parts += [part.zfill(2) for part in (hour, *clock) if part]
        return "".join(parts) + rest.strip().replace("Z", "+0000")
    if found := _COMPACT.fullmatch(plain):
        return "".join(part or "" for part in found.groups())
    return plain.replace("Z", "+0000")


def _nothing(text: str) -> bool:
    return not text.strip(' 0"/-')


def date(setting: Setting, options: Mapping[str, str]) -> Call:
    """FHIR date, as precise as sent. A time of day is cut off with finding GW-MAP-012, unless `time: elsewhere`."""
    quiet = _time_elsewhere(options)
    zh = "钟点已略去：此处只能写日期（FHIR R4 date），原文照常保存。"
    en = "The time of day was cut off: R4 has but a date here. The original is kept."

    def make(value: str) -> Value:
        if _nothing(value):
            return None
        day, _, clock = fhir_from_ts(stamp(value), setting.zone).partition("T")
        return day if quiet or not _tells(clock) else Noted(day, "GW-MAP-012", zh, en, "information")

    return make


def _time_elsewhere(options: Mapping[str, str]) -> bool:
    """Whether the map writes the time of day to another element."""
    return options.get("time") == "elsewhere"


_MIDNIGHT = re.compile(r"00:00:00(?:\.0*)?(?:[+-].*)?")


def _tells(clock: str) -> bool:
    """False for no time of day, and for midnight: so systems write a date into a field for a time."""
    return bool(clock) and not _MIDNIGHT.fullmatch(clock)


def timed(setting: Setting, options: Mapping[str, str]) -> Call:
    """FHIR dateTime of a text that tells a time of day; nothing of a date alone or at midnight."""

    def make(value: str) -> Value:
        found = "" if _nothing(value) else fhir_from_ts(stamp(value), setting.zone)
        return found if _tells(found.partition("T")[2]) else None

    return make


def date_time(setting: Setting, options: Mapping[str, str]) -> Call:
    """FHIR dateTime, as precise as sent; a time without zone gets the source's."""
    return lambda value: None if _nothing(value) else fhir_from_ts(stamp(value), setting.zone)


def instant(setting: Setting, options: Mapping[str, str]) -> Call:
    """FHIR instant; of a date alone nothing but finding GW-MAP-011, because a time is never made up.

    Source: FHIR R4 datatypes, instant: known at least to the second, with a time zone.
    """
    zh = "只有日期，没有钟点：此处须有时刻（FHIR R4 instant），网关不补造，该时间未写入。"
    en = "Only a date, without a time of day: R4 wants an instant here, none is made up and this time is left out."
    only_a_day = Noted(None, "GW-MAP-011", zh, en)

    def make(value: str) -> Value:
        if _nothing(value):
            return None
        found = fhir_from_ts(stamp(value), setting.zone)
        return found if "T" in found else only_a_day

    return make


# ---- numbers and results ------------------------------------------------------------------------
def decimal(setting: Setting, options: Mapping[str, str]) -> Call:
    """A number with the digits sent. ValueError for anything else."""
    return lambda value: _number(value) if value.strip() else None


_ENDLESS = Decimal("Infinity")


def _number(value: str) -> Decimal:
    text = results.half_width(value)
    try:
        made = Decimal(text) if len(text) < results.LONG else _ENDLESS
    except InvalidOperation as error:
        raise ValueError("not a number") from error
    if not made.is_finite() or max(abs(made.adjusted()), len(made.as_tuple().digits)) > results.DIGITS:
        raise ValueError("no number of this world")
    return made


def integer(setting: Setting, options: Mapping[str, str]) -> Call:
    """A whole number. ValueError for anything else."""
    return lambda value: int(results.half_width(value)) if value.strip() else None


def boolean(setting: Setting, options: Mapping[str, str]) -> Call:
    """true for 1 Y 是 有 true, false for 0 N 否 无 false, nothing for empty. ValueError otherwise."""
    words = {"1": True, "y": True, "是": True, "有": True, "true": True, "": None}
    words |= {"0": False, "n": False, "否": False, "无": False, "false": False}

    def make(value: str) -> Value:
        key = value.strip().lower()
        if key not in words:
            raise ValueError("neither yes nor no")
        return words[key]

    return make


def unit_codes(setting: Setting, options: Mapping[str, str]) -> Callable[[str, str], tuple[str, str]]:
    """Printed unit and its UCUM code ("" when unknown) for a unit and the item it measures."""
    units, table = setting.table("units"), setting.table(options.get("table", ""))

    def make(unit: str, item: str) -> tuple[str, str]:
        printed = results.printed_unit(unit).strip()
        return printed, ucum(units, printed, table.expected_units(item, item)) if printed else ""

    return make


def quantity(setting: Setting, options: Mapping[str, str]) -> Call:
    """Quantity from a number and its unit; `table` names the items whose counts may be written `G/L`."""
    resolve = unit_codes(setting, options)

    def make(value: str, unit: str = "", item: str = "") -> Value:
        found = results.number(value)
        if found is None:
            if value.strip():
                raise ValueError("not a number")
            return None
        return results.quantity(found.value, found.comparator, *resolve(unit or options.get("fixed_unit", ""), item))

    return make


def result(setting: Setting, options: Mapping[str, str]) -> Call:
    """value[x] by the look of the text: number with unit, titre, absent with its reason, else text."""
    resolve = unit_codes(setting, options)

    def make(value: str, unit: str = "", item: str = "") -> Value:
        printed, code = resolve(unit, item)
        return unit_told(results.by_shape(value.strip(), printed, code), printed, code)

    return make


def reference_range(setting: Setting, options: Mapping[str, str]) -> Call:
    """List of one referenceRange, text as printed; [] → nothing for an empty one."""
    resolve = unit_codes(setting, options)

    def make(value: str, unit: str = "", item: str = "") -> Value:
        return results.reference_range(value, *resolve(unit, item)) or None

    return make


_FLAG_TEXT = {
    "H": "偏高",
    "L": "偏低",
    "HH": "危急高",
    "LL": "危急低",
    "AA": "危急值",
    "A": "异常",
    "N": "正常",
    "POS": "阳性",
    "NEG": "阴性",
    "WR": "弱阳性",
    "IND": "可疑",
    "S": "敏感",
    "I": "中介",
    "R": "耐药",
}


def interpretation(setting: Setting, options: Mapping[str, str]) -> Call:
    """List of interpretations from the flag; when it is empty, from arrows or words of `value`.

    A flag the table does not know stands as text, with a remark.
    """
    table = setting.table("interpretation")

    def make(flag: str, value: str = "") -> Value:
        said = [(part.strip(), table.value(part)) for part in flag.split("~") if part.strip()]
        codes = [code for _, code in said if code] or [code for code in [results.meaning(value)] if code]
        unknown = [part for part, code in said if code is None]
        out = [*map(coded_flag, dict.fromkeys(codes)), *({"text": part} for part in unknown)] or None
        return unknown_flag(out, table.name) if unknown else out

    return make


def coded_flag(code: str) -> Json:
    """CodeableConcept of one interpretation code."""
    out: Json = {"coding": [{"system": systems.INTERPRETATION, "code": code}]}
    return out | ({"text": _FLAG_TEXT[code]} if code in _FLAG_TEXT else {})


_NOTICE = re.compile(
    r"(?:(\d{4}\S*?)\s*)?(\d{1,2})[:：](\d{2}).*?(?:电话)?(?:通知|告知|报告|电话)(?:给|了)?\s*([^，。；,;\s]{2,20})"
)


def critical_notice(setting: Setting, options: Mapping[str, str]) -> Call:
    """Extension that says who was told of a critical value and when, read from a note; `date` gives the day.

    Form read: `危急值已于15:32通知周医生`. Nothing for a note that says no such thing. A note without a day
    means the nearest to `date`: a value issued at 23:58 is told at 00:10.
    """

    def make(note: str, day: str = "") -> Value:
        place = note.find("危急")
        found = _NOTICE.search(note[max(place - 100, 0) : place + results.LONG]) if place >= 0 else None
        if found is None:
            return None
        parts: list[Json] = [{"url": "told", "valueString": found[4]}]
        if at := _told_at(found[1] or "", day, f"{found[2].zfill(2)}{found[3]}", setting.zone):
            parts.append({"url": "at", "valueDateTime": at})
        return {"url": systems.EXT_CRITICAL_NOTICE, "extension": parts}

    return make


def _told_at(told: str, issued: str, clock: str, zone: str) -> str:
    """The dateTime of a clock on the day told, else near the issue; "" without a day or a time of day."""
    on = stamp(told or issued)
    if len(on) < 8:
        return ""
    try:
        at = parse_fhir(fhir_from_ts(f"{on[:8]}{clock}", zone))
        if not told and len(on) >= 12:
            at += timedelta(days=round((parse_fhir(fhir_from_ts(on, zone)) - at) / timedelta(days=1)))
    except ValueError:
        return ""
    return at.isoformat()


# ---- people and places --------------------------------------------------------------------------
_ENDS = [  # of the parts of a Chinese address, the large ones first
    ("state", re.compile("省|自治区")),
    ("big", re.compile("市(?!场)")),
    ("city", re.compile("[县区旗]")),
    ("district", re.compile("[镇乡]|街道")),
]


def address(setting: Setting, options: Mapping[str, str]) -> Call:
    """Address from one text: 县 → city, 镇 → district, the rest → line."""

    def make(value: str) -> Value:
        return address_of(value.strip())

    return make


def address_of(printed: str) -> Json | None:
    """Address of a printed Chinese address, None for an empty one."""
    if not printed:
        return None
    out: Json = {"use": "home", "text": printed}
    parts, line = _places(printed)
    city = parts.get("city") or parts.get("big")
    for name, part in (("state", parts.get("state")), ("city", city), ("district", parts.get("district"))):
        if part:
            out[name] = part
    return out | ({"line": [line]} if line else {})


def _places(printed: str) -> tuple[dict[str, str], str]:
    """Each part up to the word it ends with, and the rest; a text of several lines stays whole, in none of them."""
    parts: dict[str, str] = {}
    if "\n" in printed:
        return parts, ""
    at = 0
    for name, end in _ENDS:
        if found := end.search(printed, at + 1):
            parts[name] = printed[at : found.end()]
            at = found.end()
    return parts, printed[at:]


def phone(setting: Setting, options: Mapping[str, str]) -> Call:
    """ContactPoint for a telephone number; digits are kept as sent."""
    return lambda value: {"system": "phone", "value": value.strip()} if value.strip() else None


def person(setting: Setting, options: Mapping[str, str]) -> Call:
    """Display-only reference to somebody who acted."""
    return lambda value: {"display": value.strip()} if value.strip() else None


FUNCTIONS: dict[str, Function] = {
    "text": Function(text, options=("table", "else"), gives="text"),
    "code": Function(text, options=("table", "else"), gives="text"),
    "markdown": Function(markdown, notes=False, gives="text"),
    "uri": Function(uri, notes=False, gives="text"),
    "concept": Function(
        concept, ("text", "unit", "specimen"), ("table", "local", "system", "unmapped"), gives="object"
    ),
    "date": Function(date, options=("time",), gives="date"),
    "timed": Function(timed, notes=False, gives="dateTime"),
    "dateTime": Function(date_time, time=True, notes=False, gives="dateTime"),
    "planned": Function(date_time, notes=False, gives="dateTime"),
    "instant": Function(instant, time=True, notes=False, loses=True, gives="instant"),
    "planned_instant": Function(instant, notes=False, loses=True, gives="instant"),
    "decimal": Function(decimal, notes=False, gives="decimal"),
    "integer": Function(integer, notes=False, gives="integer"),
    "boolean": Function(boolean, notes=False, gives="boolean"),
    "quantity": Function(quantity, ("unit", "item"), ("table", "fixed_unit"), notes=False, gives="object"),
    "result": Function(result, ("unit", "item"), ("table",)),
    "range": Function(reference_range, ("unit", "item"), ("table",), notes=False, gives="object"),
    "interpretation": Function(interpretation, ("value",), notes=False, gives="object"),
    "critical_notice": Function(critical_notice, ("date",), notes=False),
    "address": Function(address, notes=False, gives="object"),
    "phone": Function(phone, notes=False, gives="object"),
    "person": Function(person, notes=False, gives="object"),
}
"""Functions every format may use; `functions_v2.py` adds HL7 v2 datatypes."""
