"""Functions for CDA, CSV, JSON and DICOM cells: people, doses, narrative, the vendors' flags, DICOM texts.

They take plain texts like those of `functions.py`. Sources: WS/T 500-2016 entries; HL7 CDA R2; DICOM PS3.5 §6.2.1
(PN); FHIR R4 Timing; china-standards §2.3 (routes, frequencies), §2.4 (interpretation words).
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

from ..model import systems
from ..model.normalise import may_stand_for
from ..model.resource import Json
from ..model.times import fhir_from_ts
from . import functions as base
from . import result_values as results
from .codes import ucum
from .denials import denies, unlabelled
from .functions import Call, Function, Setting
from .remarks import Noted, Value

_PLACEHOLDERS = frozenset({"", "/", "-", "--", "无", "不详", "未知", "无证件", "null", "NULL"})
_EVERY_HOURS = re.compile(r"q(\d{1,2})h")
# A denial is one clause: `否认食物过敏，青霉素过敏` and `无食物过敏但对磺胺过敏` tell an allergy.
_ALLERGY_SYSTEM = "urn:alliance-gateway:codesystem:allergy"

_CLOCK = re.compile(r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:[0-5]\d)?)?")
_OFFSET = re.compile(r"[+-](?:0\d|1[0-4])[0-5]\d")

_REPEAT: dict[str, Json] = {
    "qd": {"frequency": 1, "period": 1, "periodUnit": "d"},
    "bid": {"frequency": 2, "period": 1, "periodUnit": "d"},
    "tid": {"frequency": 3, "period": 1, "periodUnit": "d"},
    "qid": {"frequency": 4, "period": 1, "periodUnit": "d"},
    "qod": {"frequency": 1, "period": 2, "periodUnit": "d"},
    "qw": {"frequency": 1, "period": 1, "periodUnit": "wk"},
    "biw": {"frequency": 2, "period": 1, "periodUnit": "wk"},
    "tiw": {"frequency": 3, "period": 1, "periodUnit": "wk"},
    "q2w": {"frequency": 1, "period": 2, "periodUnit": "wk"},
    "qn": {"frequency": 1, "period": 1, "periodUnit": "d", "when": ["HS"]},
    "hs": {"frequency": 1, "period": 1, "periodUnit": "d", "when": ["HS"]},
    "qm": {"frequency": 1, "period": 1, "periodUnit": "d", "when": ["MORN"]},
    "st": {"count": 1},
}
"""Mnemonics of Chinese hospital systems as Timing.repeat; any other stays text."""


# ---- people -------------------------------------------------------------------------------------
def card(setting: Setting, options: Mapping[str, str]) -> Call:
    """A card number as sent, half width and upper case; nothing for what stands there when there is none."""

    def make(value: str) -> Value:
        number = results.half_width(value).upper().replace(" ", "")
        return None if number in _PLACEHOLDERS or not number.strip("0") else number

    return make


def own_card(setting: Setting, options: Mapping[str, str]) -> Call:
    """A card number that may stand for its record where there is no local number; nothing for any other.

    Birth date, sex and name are those beside it: a number that contradicts them is somebody else's.
    """
    plain, day, gender = card(setting, options), base.date(setting, {"time": "elsewhere"}), setting.table("gender")

    def make(value: str, birth: str = "", sex: str = "", name: str = "") -> Value:
        number = plain(value)
        try:
            born = day(birth) or ""
        except ValueError:  # told where the birth date is made
            born = ""
        return number if number and may_stand_for(number, birth=born, sex=gender.value(sex) or "", name=name) else None

    return make


def address_parts(setting: Setting, options: Mapping[str, str]) -> Call:
    """Address from the parts a CDA sends: house number, street, township, county, city, state."""

    def make(
        house: str, street: str = "", township: str = "", county: str = "", city: str = "", state: str = ""
    ) -> Value:
        line = f"{street}{house}"
        if not (township or county):
            return base.address_of(f"{state}{city}{line}")
        out: Json = {"use": "home", "text": f"{county}{township}{line}"}
        for name, part in (("state", state), ("city", county or city), ("district", township)):
            if part:
                out[name] = part
        return out | ({"line": [line]} if line else {})

    return make


def pn(setting: Setting, options: Mapping[str, str]) -> Call:
    """HumanName list from a DICOM PN: the ideographic group is the name, an alphabetic one its pinyin."""

    def make(value: str) -> Value:
        groups = [group.replace("^", " ").strip() for group in value.split("=")]
        han = [re.sub(r"\s+", "", group) for group in groups if not group.isascii()]
        roman = [group for group in groups if group and group.isascii()]
        if han:
            return [{"text": han[0]}] + [_pinyin(group) for group in roman[:1]]
        return [{"text": roman[0]}] if roman else None

    return make


def _pinyin(text: str) -> Json:
    url = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
    return {"extension": [{"url": url, "valueCode": "ABC"}], "text": text}


def pn_person(setting: Setting, options: Mapping[str, str]) -> Call:
    """Display-only reference from a DICOM PN."""
    names = pn(setting, options)

    def make(value: str) -> Value:
        found = names(value)
        return {"display": found[0]["text"]} if found else None

    return make


def phone(setting: Setting, options: Mapping[str, str]) -> Call:
    """ContactPoint from `tel:…` or a bare number; nothing for a placeholder."""

    def make(value: str) -> Value:
        number = results.half_width(value).removeprefix("tel:").strip()
        return None if number in _PLACEHOLDERS else {"system": "phone", "value": number}

    return make


def staff(setting: Setting, options: Mapping[str, str]) -> Call:
    """Display-only reference with the staff number as identifier."""
    system = systems.local_number(setting.member, "staff")

    def make(name: str, number: str = "") -> Value:
        if not (name or number):
            return None
        return {"display": name or number} | ({"identifier": {"system": system, "value": number}} if number else {})

    return make


# ---- drugs --------------------------------------------------------------------------------------
def timing(setting: Setting, options: Mapping[str, str]) -> Call:
    """Timing from a frequency: `qd` as code.text, and as repeat where the mnemonic is known."""

    def make(value: str) -> Value:
        plain = results.half_width(value)
        key = plain.lower().replace(".", "")
        hours = _EVERY_HOURS.fullmatch(key)
        if key == "prn" or not plain:
            return {"code": {"text": plain}} if plain else None
        repeat = {"frequency": 1, "period": int(hours[1]), "periodUnit": "h"} if hours else _REPEAT.get(key)
        return ({"repeat": repeat} if repeat else {}) | {"code": {"text": plain}}

    return make


def days(setting: Setting, options: Mapping[str, str]) -> Call:
    """Duration in days as sent (`30` or `30天`). ValueError for anything else."""

    def make(value: str) -> Value:
        plain = results.half_width(value).removesuffix("天").removesuffix("d").strip()
        found = results.number(plain) if plain else None
        if found is None:
            if plain:
                raise ValueError("not a number of days")
            return None
        return {"value": found.value, "unit": "天", "system": systems.UCUM, "code": "d"}

    return make


def dose_text(setting: Setting, options: Mapping[str, str]) -> Call:
    """What the label would say: `100 mg qd 口服`, `5-10 mg qd`."""

    def make(dose: str, unit: str = "", frequency: str = "", route: str = "", to: str = "") -> Value:
        amount = f"{dose}-{to}" if to and to != dose else dose
        return " ".join(part for part in (f"{amount} {unit}".strip(), frequency, route) if part) or None

    return make


# ---- findings of the laboratory -----------------------------------------------------------------
def critical_flags(setting: Setting, options: Mapping[str, str]) -> Call:
    """Interpretation of the vendors' laboratory CDA: the direction, raised to HH or LL by a second 危急值.

    `N` says nothing a reader needs and is left out. The second flag alone is AA.
    """
    table = setting.table("interpretation")

    def make(flag: str, second: str = "", value: str = "") -> Value:
        code = (table.value(flag) if flag else "") or results.meaning(value)
        if "危" in second or (not code and "危" in flag):
            code = {"H": "HH", "L": "LL", "HH": "HH", "LL": "LL"}.get(code, "AA")
        return [base.coded_flag(code)] if code and code != "N" else None

    return make


def item(setting: Setting, options: Mapping[str, str]) -> Call:
    """CodeableConcept as `concept` makes it; a source that prints no name gets the name of the table."""
    plain, table, units = (
        base.concept(setting, options),
        setting.table(options.get("table", "")),
        setting.table("units"),
    )

    def make(code: str, name: str = "", unit: str = "", specimen: str = "") -> Value:
        found = plain(code, name, unit, specimen)
        if name.strip() or found is None:
            return found
        known = ucum(units, unit, table.expected_units(code, name))
        rows = table.rows(code.strip(), "", known, base.specimen_class(setting, specimen))
        printed = next((row.name or row.display for row in rows if row.name or row.display), "")
        return found if not printed or isinstance(found, Noted) else found | {"text": printed}

    return make


def stated_result(setting: Setting, options: Mapping[str, str]) -> Call:
    """Interpretation of the standard's result code from its display alone: the value lists contradict each other."""
    words = {"异常": "A", "阳性": "POS", "阴性": "NEG", "弱阳性": "WR", "可疑": "IND"}
    return lambda value: [base.coded_flag(words[value])] if value in words else None


def allergy(setting: Setting, options: Mapping[str, str]) -> Call:
    """Allergen as text; a denial is the code for 无已知过敏."""

    def make(value: str) -> Value:
        plain = unlabelled(value)
        if not plain:
            return None
        if denies(plain):
            coding = {"system": _ALLERGY_SYSTEM, "code": "no-known-allergy", "display": "无已知过敏"}
            return {"coding": [coding], "text": "无已知过敏"}
        return {"text": plain.removesuffix("过敏") or plain}

    return make


def allergen(setting: Setting, options: Mapping[str, str]) -> Call:
    """The allergen as an id part: the same for `青霉素` and `青霉素过敏`, and for every way to deny one."""
    concept = allergy(setting, options)

    def make(value: str) -> Value:
        found = concept(value)
        return found["text"] if found else None

    return make


def result_in(setting: Setting, options: Mapping[str, str]) -> Call:
    """value[x] of a measurement whose unit is fixed by its column."""
    plain = base.result(setting, options)
    return lambda value: plain(value, options.get("fixed_unit", ""))


def specimen_report(setting: Setting, options: Mapping[str, str]) -> Call:
    """Name of a report that has none: `血清检验`."""
    return lambda value: {"text": f"{value.strip()}检验"}


# ---- documents ----------------------------------------------------------------------------------
def narrative(setting: Setting, options: Mapping[str, str]) -> Call:
    """Narrative of a section from plain text: a paragraph a line, everything escaped."""

    def make(value: str) -> Value:
        rows = [html.escape(line.strip(), quote=False) for line in value.splitlines() if line.strip()]
        if not rows:
            return None
        inner = "".join(f"<p>{row}</p>" for row in rows)
        return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>'}

    return make


# ---- DICOM --------------------------------------------------------------------------------------
def date_and_time(setting: Setting, options: Mapping[str, str]) -> Call:
    """dateTime from DICOM DA and TM, in the zone of (0008,0201) or the source's; a date without time stays a date.

    A time or a zone that is none is left out with finding GW-MAP-014: the day alone, or the zone of the source.
    """

    def make(date: str, time: str = "", zone: str = "") -> Value:
        day, clock = date.replace(".", "").strip(), time.partition(".")[0].replace(":", "").strip()
        if not day:
            return None
        if not _CLOCK.fullmatch(clock):
            found = fhir_from_ts(day, setting.zone)
            return _left_out(
                found, "不是时刻（HHMMSS），只写日期", "no time of day, the date stands alone", "time", clock
            )
        offset = zone if _OFFSET.fullmatch(zone) else ""
        found = fhir_from_ts(day + clock + offset, setting.zone)
        told = "" if offset else zone
        return _left_out(
            found, "不是时区（如 +0800），按来源的时区", "no offset from UTC, that of the source counts", "zone", told
        )

    return make


def _left_out(value: Value, zh: str, en: str, about: str, text: str) -> Value:
    """The value, with a finding where there was a text that could not be used."""
    return Noted(value, "GW-MAP-014", f"该值{zh}。", f"This is {en}.", about=about) if text else value


def ordinal(setting: Setting, options: Mapping[str, str]) -> Call:
    """A number as R4 can hold it (unsignedInt); of any other nothing but GW-MAP-014."""
    zh = "FHIR R4 在此只有 0–2147483647 的整数，该值没有写入，其余照常入库。"
    left_out = Noted(
        None, "GW-MAP-014", zh, "R4 has a whole number of 31 bits here; this one is left out, the rest stored."
    )

    def make(value: str) -> Value:
        text = value.strip().removeprefix("+")
        if not text:
            return None
        return int(text) if text.isdecimal() and len(text) < 12 and int(text) < 1 << 31 else left_out

    return make


def dicom_code(setting: Setting, options: Mapping[str, str]) -> Call:
    """Coding in the DICOM ontology from a coded string (CT, DX)."""
    return lambda value: (
        {"system": systems.DCM, "code": value.partition("\\")[0].strip().upper()} if value.strip() else None
    )


def urn_uid(setting: Setting, options: Mapping[str, str]) -> Call:
    """`urn:oid:` and the uid."""
    return lambda value: f"urn:oid:{value}" if value else None


def one_of_many(setting: Setting, options: Mapping[str, str]) -> Call:
    """The first of several values joined by a backslash."""
    return lambda value: value.partition("\\")[0].strip() or None


ROW_FUNCTIONS: dict[str, Function] = {
    "card": Function(card, gives="text"),
    "own_card": Function(own_card, ("birth", "sex", "name"), notes=False, gives="text"),
    "address_parts": Function(address_parts, ("street", "township", "county", "city", "state"), gives="object"),
    "contact": Function(phone, gives="object"),
    "staff": Function(staff, ("number",), gives="object"),
    "timing": Function(timing),
    "dose_text": Function(dose_text, ("unit", "frequency", "route", "to"), gives="text"),
    "item": Function(item, ("text", "unit", "specimen"), ("table", "local", "system"), gives="object"),
    "days": Function(days),
    "critical_flags": Function(critical_flags, ("second", "value")),
    "stated_result": Function(stated_result),
    "allergy": Function(allergy),
    "allergen": Function(allergen),
    "result_in": Function(result_in, options=("fixed_unit", "table")),
    "specimen_report": Function(specimen_report),
    "narrative": Function(narrative),
    "pn": Function(pn),
    "pn_person": Function(pn_person),
    "date_and_time": Function(date_and_time, ("time", "zone"), time=True),
    "ordinal": Function(ordinal),
    "dicom_code": Function(dicom_code),
    "urn_uid": Function(urn_uid),
    "first_value": Function(one_of_many),
}
"""Functions maps of row formats may use besides those of `functions.py`."""
