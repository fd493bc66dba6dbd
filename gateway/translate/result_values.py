"""What a laboratory prints as a result, as FHIR value[x], interpretation and reference range.

Numbers keep their digits; comparators, arrows, full-width signs, titres and words are read, never guessed.
Source: HL7 v2.5.1 §7.4.2.5 (OBX-5), §7.4.2.7 (OBX-7); china-standards §2.4, §2.5.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal

from ..model import systems
from ..model.resource import Json

LONG = 1_000  # from here on a text is nothing a person printed or typed into one box
DIGITS = 60  # no result has so many; of a million digits every sum takes half a minute
_DIGITS = rf"\d{{1,{DIGITS}}}"
_PLAIN = rf"[+-]?{_DIGITS}(?:\.{_DIGITS})?"
_NUMBER = re.compile(r"([↑↓*]*)\s*(<=|>=|<|>)?\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*([↑↓HLhl*]*)")
_POWER = re.compile(r"(<=|>=|<|>)?\s*(?:(\d+(?:\.\d+)?)\s*[×xX*]\s*)?10\^(\d{1,2})")
_TITRE = re.compile(rf"({_DIGITS})\s*:\s*({_DIGITS})")
_ABSENT = {
    "": "unknown",
    "/": "unknown",
    "-": "unknown",
    "--": "unknown",
    "标本溶血": "error",
    "溶血": "error",
    "标本凝固": "error",
    "标本不足": "error",
    "标本量不足": "error",
    "未做": "not-performed",
    "未检": "not-performed",
    "未送检": "not-performed",
}
_RANGE = re.compile(rf"({_PLAIN})\s*(?:-{{1,3}}|~|–|—|至)\s*({_PLAIN})")
_BOUND = re.compile(rf"(<=|>=|<|>)\s*({_PLAIN})")
_HAN = "[\u4e00-\u9fff]"
_NO_SENSE = re.compile(rf"革兰氏?(?:染色)?[:\s]*[阴阳]性|[阴阳]性(?!反应|结果)(?={_HAN})|检出[限率]")
"""Words of a name that say nothing of the result: 革兰阴性杆菌, 凝固酶阴性葡萄球菌."""
_SENSE = re.compile(r"(弱阳性)|(阴性|未检出|无反应)|(阳性|检出|有反应)")
_SIGNS = {"WR": re.compile(r"±|\+-|\+/-"), "NEG": re.compile(r"\(?-\)?"), "POS": re.compile(r"\(?[1-4]?\++[1-4]?\)?")}
_UNIT_IN_CARETS = re.compile(r"(?:[×xX*]?\s*10|\S*m)\^\d[^\s^]*")


@dataclass(frozen=True, slots=True)
class Number:
    """A printed number: comparator, digits as sent, arrows and stars around it."""

    comparator: str
    value: Decimal
    marks: str


def half_width(text: str) -> str:
    """Full-width letters, digits and signs as ASCII; `≤ ≥` and the like spelt out."""
    if text.isascii():
        return text.strip()
    folded = unicodedata.normalize("NFKC", text).strip()
    return folded.replace("≤", "<=").replace("≦", "<=").replace("≥", ">=").replace("≧", ">=")


def number(text: str) -> Number | None:
    """The number a text prints, None when it prints something else."""
    printed = half_width(text)
    found = _NUMBER.fullmatch(printed) if len(printed) < LONG else None
    if found is None or len(found[3]) > DIGITS:
        return None
    return Number(found[2] or "", Decimal(found[3]), found[1] + found[4])


def quantity(value: Decimal, comparator: str, unit: str, code: str) -> Json:
    """FHIR Quantity; `unit` as printed, UCUM only when the spelling is known."""
    out: Json = {"value": value}
    if comparator:
        out["comparator"] = comparator
    if unit:
        out["unit"] = unit
    if code:
        out |= {"system": systems.UCUM, "code": code}
    return out


def absent(reason: str) -> Json:
    """Fragment with dataAbsentReason, code from the FHIR code system of the same name."""
    system = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
    return {"dataAbsentReason": {"coding": [{"system": system, "code": reason}]}}


def by_shape(text: str, unit: str, code: str) -> Json:
    """value[x] fragment from what the text looks like: number, titre, span of a unit, absent, else the text."""
    plain = half_width(text)
    if plain in _ABSENT:
        out = absent(_ABSENT[plain])
        if plain.strip("/-"):
            out["dataAbsentReason"]["text"] = text
        return out
    found = number(plain)
    if found:
        return {"valueQuantity": quantity(found.value, found.comparator, unit, code)}
    if unit and (power := _POWER.fullmatch(plain)):  # a colony count: `>10^5`
        value = Decimal(power[2] or 1).scaleb(int(power[3]))
        return {"valueQuantity": quantity(Decimal(f"{value:f}"), power[1] or "", unit, code)}
    titre = _TITRE.fullmatch(plain)
    if titre:
        return {"valueRatio": {"numerator": {"value": int(titre[1])}, "denominator": {"value": int(titre[2])}}}
    span = _RANGE.fullmatch(plain) if unit else None  # without one `1-2` may be a grade
    if span and (low := Decimal(span[1])) < (high := Decimal(span[2])):
        return {"valueRange": {"low": quantity(low, "", unit, code), "high": quantity(high, "", unit, code)}}
    return {"valueString": text}


def structured_numeric(parts: list[str], unit: str, code: str) -> Json:
    """SN (comparator ^ number ^ separator ^ number) as Quantity, Ratio or Range."""
    comparator, first, separator, second = ([*parts, "", "", "", ""])[:4]
    one, two = number(first), number(second)
    if one and two and separator in (":", "/"):
        return {"valueRatio": {"numerator": {"value": one.value}, "denominator": {"value": two.value}}}
    if one and two and separator == "-":
        low, high = (quantity(side.value, "", unit, code) for side in (one, two))
        return {"valueRange": {"low": low, "high": high}}
    sign = half_width(comparator).replace("=<", "<=").replace("=>", ">=")
    if one and not second and not separator.strip() and sign in ("", "=", "<", ">", "<=", ">="):
        return {"valueQuantity": quantity(one.value, sign.strip("=") if sign == "=" else sign, unit, code)}
    return {"valueString": "".join(parts).strip()}


def meaning(text: str) -> str:
    """Interpretation code a result's own words or arrows carry: H L HH LL POS NEG IND WR or ""."""
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return ""
    plain = half_width(text)
    found = number(plain)
    if found:
        marks = found.marks.upper().strip("*")
        return {"↑": "H", "↓": "L", "↑↑": "HH", "↓↓": "LL"}.get(marks, marks if marks in ("H", "L", "HH", "LL") else "")
    if sign := next((code for code, signs in _SIGNS.items() if signs.fullmatch(plain)), ""):
        return sign
    return "IND" if plain == "可疑" else _sense(plain)


def _sense(plain: str) -> str:
    """WR, NEG or POS for a text whose words all say the same; "" for `HPV16阳性，HPV18阴性` and for names."""
    found = {
        ("WR", "NEG", "POS")[one.lastindex - 1] for one in _SENSE.finditer(_NO_SENSE.sub("", plain)) if one.lastindex
    }
    return found.pop() if len(found) == 1 else ""


def reference_range(text: str, unit: str, code: str) -> list[Json]:
    """Observation.referenceRange from a printed range: low, high where they can be read, text as printed."""
    printed = text.strip()
    if not printed:
        return []
    out: Json = {"text": printed}
    plain = half_width(printed).removesuffix(half_width(unit) or " ").strip("()[] ")
    both, one = _RANGE.fullmatch(plain), _BOUND.fullmatch(plain)
    if both:
        out["low"] = quantity(Decimal(both[1]), "", unit, code)
        out["high"] = quantity(Decimal(both[2]), "", unit, code)
    elif one:
        side = "high" if one[1].startswith("<") else "low"
        out[side] = quantity(Decimal(one[2]), "", unit, code)
    return [out]


def printed_unit(text: str) -> str:
    """The unit as printed; `10^9/L` or `…1.73m^2` sent unescaped in a coded field is put together again.

    `""` is none.
    """
    if text == '""':
        return ""
    found = _UNIT_IN_CARETS.match(text)
    return found[0] if found else text.partition("^")[0]
