"""One laboratory Observation as a cell of the grid: value as sent, what it is in the row's unit, flag, band, times."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from ..model.directory import Directory
from ..model.printed import absent_words, effective_time, printed_beside, printed_value
from ..model.ranges import DeclaredRange, DeclaredRanges, leaves_out_its_limit
from ..model.resource import Json
from ..model.systems import EXT_CRITICAL_NOTICE, EXT_VERIFIED_AT, LOINC
from ..model.times import CHINA, parse_fhir
from ..validate.analytes import Analyte, analyte
from ..validate.units import Converted, plain_unit, to_display, unit_shown
from .lab_ranges import body_ranges, speaks_of, whom
from .lab_types import NOT_MEASURED, Band, Flag, Reading, Shown, Times
from .record import Record, member_of

NO_BAND = Band("none", "来源未提供参考区间")

_CORRECTED = frozenset({"corrected", "amended"})
_FINISHED = _CORRECTED | {"final"}
_PRELIMINARY = frozenset({"preliminary", "registered", "partial"})
_UNCHECKED = _PRELIMINARY | {"unknown"}
_STATUS = {
    "final": "终审",
    **dict.fromkeys(_CORRECTED, "已更正"),
    **dict.fromkeys(_PRELIMINARY, "初步"),
    "cancelled": "已取消",
}
_HIGH, _LOW = "high", "low"
_FLAGS = {
    "H": ("偏高", "↑H", _HIGH, False),
    "L": ("偏低", "↓L", _LOW, False),
    "HH": ("危急高", "↑↑HH", _HIGH, True),
    "LL": ("危急低", "↓↓LL", _LOW, True),
    "A": ("异常", "A", "", False),
    "AA": ("危急", "AA", "", True),
    "POS": ("阳性", "阳", "", False),
    "RR": ("有反应性", "反应", "", False),
    "WR": ("弱反应性", "弱反应", "", False),
    "DET": ("检出", "检出", "", False),
}
_ABNORMAL = "A"
_SAYS_NO_SIDE = frozenset({_ABNORMAL, "B", "D", "U", "W"})  # nor do changes since the last result
_CRITICAL = {"H": "HH", "L": "LL"}
_SAME = {"HU": "H", "LU": "L", ">": "H", "<": "L"}


@dataclass(frozen=True, slots=True)
class Analysed:
    """An Observation taken apart. number: as sent, None when it is not numeric. code: the source's own code."""

    body: Json
    id: str
    member: str
    loinc: str
    code: str
    name: str
    number: Decimal | None
    comparator: str
    unit: str
    ucum: str
    at: datetime | None

    @property
    def analyte(self) -> Analyte | None:
        """The analyte it is shown as."""
        return analyte(self.loinc) if self.loinc else None

    def converted(self) -> Converted | None:
        """The number in the analyte's display unit, None when it is none or must not be converted."""
        return self.convert(self.number) if self.number is not None else None

    def convert(self, number: Decimal, unit: str | None = None) -> Converted | None:
        """Another number of the same item, in its unit or in the unit printed with it."""
        if unit is None or plain_unit(unit) == plain_unit(self.unit):
            return to_display(self.loinc, number, self.ucum, self.unit)
        return to_display(self.loinc, number, "", unit)


def analysed(body: Json, directory: Directory) -> Analysed:
    """The Observation taken apart."""
    codings = body.get("code", {}).get("coding", ())
    own = next((str(c.get("code", "")) for c in codings if c.get("system") != LOINC and c.get("code")), "")
    name = str(body.get("code", {}).get("text") or next((c["display"] for c in codings if c.get("display")), own))
    quantity = body.get("valueQuantity", {})
    value = quantity.get("value", body.get("valueInteger"))
    return Analysed(
        body=body,
        id=str(body.get("id", "")),
        member=member_of(body, directory),
        loinc=next((str(c.get("code", "")) for c in codings if c.get("system") == LOINC), ""),
        code=own or name,
        name=name,
        number=None if value is None else Decimal(str(value)),
        comparator=str(quantity.get("comparator", "")),
        unit=printed_value(body)[1],
        ucum=str(quantity.get("code", "")),
        at=_moment(effective_time(body)) or _moment(body.get("issued")),
    )


@dataclass(frozen=True, slots=True)
class Reader:
    """Makes cells; what every cell of one record needs."""

    record: Record
    directory: Directory
    ranges: DeclaredRanges
    previous: Mapping[str, Json]

    def read(self, one: Analysed, *, display: bool) -> Reading:
        """The cell. display False: the row is in the unit as sent, because it cannot be converted."""
        body, report = one.body, self.record.report_of(one.body)
        converted = one.converted() if display else None
        number = converted.value if converted else one.number
        band = self._band(one, display)
        # Judged before rounding, as the limits are: the lower limit itself is not low.
        flag = _flag_of(one, converted.unrounded if converted else number, band)
        status = str(body.get("status", ""))
        previous = self._previous(one)
        told, told_at = notice_of(body)
        return Reading(
            observation_id=one.id,
            report_id=str((report or {}).get("id", "")),
            member=one.member,
            value=value_text(body),
            unit=one.unit,
            number=number,
            shown=_shown(one, converted),
            flag=flag,
            band=band,
            status=status,
            status_zh="已更正" if previous else _STATUS.get(status, "状态未知"),
            corrected=status in _CORRECTED or bool(previous),
            unchecked=status in _UNCHECKED,
            critical=bool(flag and flag.critical) or bool(told or told_at),
            previous=previous,
            notice_told=told,
            notice_at=told_at,
            times=self._times(one, report or {}),
            specimen=self._specimen(body, report or {}),
            method=_text(body.get("method", {})),
            note="；".join(_notes(body)),
        )

    def _band(self, one: Analysed, display: bool) -> Band:
        printed = [*body_ranges(one.body)]
        sex, age = str(self.record.patient.get("gender", "")), _age(self.record.patient.get("birthDate"), one.at)
        fitting = [band for band in printed if speaks_of(band, sex, age)]
        if len(fitting) == 1:
            return _report_band(one, fitting[0], display)
        if printed:  # none or several are this person's: shown, and nothing is judged by them
            return Band("report", "；".join(_for_whom(band) for band in printed))
        declared = self._declared(one)
        return _declared_band(one, declared, display) if declared else NO_BAND

    def _declared(self, one: Analysed) -> DeclaredRange | None:
        patient = self.record.patient
        age = _age(patient.get("birthDate"), one.at)
        shown_as = one.analyte.loinc if one.analyte else ""
        for loinc in filter(None, dict.fromkeys((one.loinc, shown_as))):
            found = self.ranges.find(one.member, loinc, str(patient.get("gender", "")), age)
            if found:
                return found
        return None

    def _previous(self, one: Analysed) -> str:
        before = self.previous.get(one.id)
        # A preliminary value that became final is no correction; a final one that changed is, whatever its status says.
        if before is None or before.get("status") not in _FINISHED or one.body.get("status") not in _FINISHED:
            return ""
        text = full_text(before)
        return text if text != full_text(one.body) else ""

    def _times(self, one: Analysed, report: Json) -> Times:
        specimen = self._specimen_of(one.body, report)
        collected = effective_time(one.body) or specimen.get("collection", {}).get("collectedDateTime")
        return Times(
            collected=_moment(collected),
            received=_moment(specimen.get("receivedTime")),
            verified=_moment(_extension(one.body, EXT_VERIFIED_AT) or _extension(report, EXT_VERIFIED_AT)),
            issued=_moment(one.body.get("issued") or report.get("issued")),
            arrived=self.record.arrived.get(f"Observation/{one.id}"),
        )

    def _specimen_of(self, body: Json, report: Json) -> Json:
        reference = body.get("specimen") or next(iter(report.get("specimen", ())), None)
        return self.record.get(reference) or {}

    def _specimen(self, body: Json, report: Json) -> str:
        return _text(self._specimen_of(body, report).get("type", {})) or str(
            body.get("specimen", {}).get("display", "")
        )


def value_text(body: Json) -> str:
    """The value as sent, without its unit: `1.20`, `<0.05`, `1:320`, `阴性(-)`, `未测`."""
    return printed_value(body)[0] or NOT_MEASURED


def full_text(body: Json) -> str:
    """The value as sent with its unit: `6.8 mmol/L`."""
    return f"{value_text(body)} {printed_value(body)[1]}".strip()


def told_words(flag: Flag | None) -> str:
    """` 偏高` for a sentence, "" without a flag."""
    return f" {flag.zh}" if flag else ""


def _shown(one: Analysed, converted: Converted | None) -> Shown | None:
    if converted is None or one.number is None:
        return None
    if converted.factor == 1 and converted.value == one.number:
        if not one.unit or plain_unit(one.unit) in (plain_unit(converted.code), plain_unit(converted.unit)):
            return None
        return Shown(f"原文 {value_text(one.body)} {one.unit}", "", converted.value, True)
    sign, factor = "=" if converted.exact else "≈", _digits(converted.factor)
    text = f"{sign}{one.comparator}{_digits(converted.value)} {converted.unit} (×{factor})"
    return Shown(text, f"{_digits(one.number)} × {factor} = {_digits(converted.unrounded)}", converted.value, False)


def _flag_of(one: Analysed, number: Decimal | None, band: Band) -> Flag | None:
    """The source's flag; where it says only "abnormal", the interval tells whether high or low."""
    said = source_flag(one.body)
    return said if said and said.code != _ABNORMAL else _judged(one, number, band) or said


def source_flag(body: Json) -> Flag | None:
    """The flag the laboratory put beside a result; None for normal and for codes that say no such thing."""
    code = source_code(body)
    return _flag(code, "source") if code in _FLAGS else None


def source_code(body: Json) -> str:
    """What the laboratory said, as one code, "" for nothing.

    Of several the critical one, with the direction another of them gives: H and AA are HH. A critical component
    makes the whole critical, without a direction.
    """
    said = [_SAME.get(code, code) for code in interpretation_codes(body)]
    code = next(filter(_is_critical, said), "")
    if code == "AA":
        return next((_CRITICAL[one] for one in said if one in _CRITICAL), code)
    parts = (one for part in body.get("component", ()) for one in interpretation_codes(part))
    if not code and any(map(_is_critical, parts)):
        return "AA"
    return code or next((one for one in said if one in _FLAGS), "".join(said[:1]))


def _is_critical(code: str) -> bool:
    return code in _FLAGS and _FLAGS[code][3]


def interpretation_codes(body: Json) -> list[str]:
    """Codes of Observation.interpretation, in order."""
    concepts = body.get("interpretation", ())
    return [str(c.get("code", "")) for concept in concepts for c in concept.get("coding", ())]


def _judged(one: Analysed, number: Decimal | None, band: Band) -> Flag | None:
    # The laboratory's own judgement, also "normal", is never overruled.
    if number is None or band.origin == "none" or set(interpretation_codes(one.body)) - _SAYS_NO_SIDE:
        return None
    at_limit = leaves_out_its_limit(band.text)
    below = band.low is not None and (number < band.low or (at_limit and number == band.low))
    above = band.high is not None and (number > band.high or (at_limit and number == band.high))
    if one.comparator.startswith("<"):
        above = False
        below = band.low is not None and number <= band.low
    elif one.comparator.startswith(">"):
        below = False
        above = band.high is not None and number >= band.high
    if not (below or above):
        return None
    return _flag("L" if below else "H", band.origin)


def _flag(code: str, origin: str) -> Flag:
    zh, symbol, direction, critical = _FLAGS[code]
    return Flag(code, zh, symbol, direction, critical, origin)  # type: ignore[arg-type]


def _range_text(printed: Json) -> str:
    low, high = printed.get("low", {}), printed.get("high", {})
    return _dashes(str(printed.get("text") or _made_text(low.get("value"), high.get("value"))))


def _for_whom(printed: Json) -> str:
    text, told = _range_text(printed), whom(printed)
    return text if told in text else f"{told} {text}"


def _report_band(one: Analysed, printed: Json, display: bool) -> Band:
    low, high = printed.get("low", {}), printed.get("high", {})
    text = _range_text(printed)
    converted = one.converted() if display else None
    if converted and converted.factor != 1 and one.unit and one.unit not in text:
        text = f"{text} {one.unit}"
    return Band("report", text, _limit(one, low, display), _limit(one, high, display))


def _limit(one: Analysed, quantity: Json, display: bool) -> Decimal | None:
    value = quantity.get("value")
    if value is None:
        return None
    number, unit = Decimal(str(value)), quantity.get("unit")
    if not display:  # limits of another unit than the value's, or of a value without one, judge nothing
        return number if unit is None or plain_unit(unit) == plain_unit(one.unit) else None
    converted = one.convert(number, unit)
    return converted.unrounded if converted else None


def _declared_band(one: Analysed, row: DeclaredRange, display: bool) -> Band:
    limits = {"unit": row.unit}
    low = _limit(one, {**limits, "value": row.low}, display)
    high = _limit(one, {**limits, "value": row.high}, display)
    text = _dashes(row.text or _made_text(row.low, row.high))
    shown = one.analyte
    in_row = display and shown is not None and plain_unit(unit_shown(shown.unit)) == plain_unit(row.unit)
    return Band("declared", text if in_row or not row.unit else f"{text} {row.unit}", low, high)


def _made_text(low: object, high: object) -> str:
    if low is not None and high is not None:
        return f"{_digits(low)}–{_digits(high)}"
    return f"≥{_digits(low)}" if low is not None else f"≤{_digits(high)}"


def _dashes(text: str) -> str:
    return re.sub(r"(?<=\d)\s*(?:--|-|~|～|—)+\s*(?=\d)", "–", text)


def notice_of(body: Json) -> tuple[str, datetime | None]:
    """Who was told of a critical value, and when; ("", None) when the source did not say."""
    for extension in body.get("extension", ()):
        if extension.get("url") == EXT_CRITICAL_NOTICE:
            parts = {part.get("url"): part for part in extension.get("extension", ())}
            told = str(parts.get("told", {}).get("valueString", ""))
            return told, _moment(parts.get("at", {}).get("valueDateTime"))
    return "", None


def _extension(body: Json, url: str) -> object:
    return next((e.get("valueDateTime") for e in body.get("extension", ()) if e.get("url") == url), None)


def _notes(body: Json) -> Iterator[str]:
    for note in body.get("note", ()):
        if note.get("text"):
            yield str(note["text"])
    if why := absent_words(body):
        yield why
    yield from printed_beside(body)


def _moment(text: object) -> datetime | None:
    return parse_fhir(str(text)) if text else None


def _age(birth: object, at: datetime | None) -> int | None:
    if not birth or at is None:
        return None
    born, day = parse_fhir(str(birth)).date(), at.astimezone(CHINA).date()
    return day.year - born.year - (_in_year(day) < _in_year(born))


def _in_year(day: date) -> tuple[int, int]:
    return day.month, day.day


def _digits(value: object) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _text(concept: Json) -> str:
    return str(concept.get("text") or next((c["display"] for c in concept.get("coding", ()) if c.get("display")), ""))
