"""Functions for whole HL7 v2 fields: one a datatype, named after it (CE, CX, XPN, XAD, XTN, XCN).

They get the field as it stands between two bars, in standard separators, escapes still in it.
Source: HL7 v2.5.1 chapter 2.A; Chinese usage: inbound-facts §3 (PID reality).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from ..model import systems
from ..model.resource import Json
from ..model.times import fhir_from_ts
from . import functions as base
from . import result_values as results
from .functions import Call, Function, Setting
from .remarks import Noted, Value, unit_told

_HEX = re.compile(r"(?:\\X[0-9A-Fa-f]+\\)+")
_BREAK = re.compile(r"\\\.(?:br|sp\+?\d*|ce)\\")
_LAYOUT = re.compile(r"\\\.(?:fi|nf|in|ti|sk) *[+-]?\d*\\")
_CHARSET_SWITCH = re.compile(r"\\[CM][0-9A-Fa-f]+\\")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_CARD = re.compile(r"\d{17}[\dXx]|\d{15}")
_CARD_TYPES = frozenset({"NI", "NNCHN", "SFZ", "IDCARD", "身份证", "居民身份证", "01", "SS", "19", "母亲身份证"})
_HEALTH_CARD_TYPES = frozenset({"HC", "JKK", "健康卡", "居民健康卡"})
_CERTIFICATES = {
    **{word: code for code, word in systems.CERTIFICATES.items()},
    **{code: code for code in systems.CERTIFICATES},
    "PPN": "03",
    "DL": "05",
    "港澳通行证": "06",
    "回乡证": "06",
    "台胞证": "07",
}
"""What stands in CX-5 for a certificate, to its code in CV02.01.101."""
_SEX_WORDS = frozenset({"男", "女", "M", "F"})
_NONE = [""] * 16
_PLAIN_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PLACEHOLDERS = frozenset({"", '""', "/", "-", "无", "不详", "未知"})


def unescape(text: str) -> str:
    """Text with v2 escapes undone; unknown escapes vanish, a lone backslash stays."""
    if "\\" not in text:
        return text
    return _unescaped(text) if len(text) < results.LONG else _long_unescaped(text)


def _unescaped(text: str) -> str:
    text = _LAYOUT.sub("", _BREAK.sub("\n", text))
    text = _CHARSET_SWITCH.sub("", text)
    text = _HEX.sub(_from_hex, text)
    for escape, plain in (("F", "|"), ("S", "^"), ("T", "&"), ("R", "~"), ("H", ""), ("N", "")):
        text = text.replace(f"\\{escape}\\", plain)
    return text.replace("\\E\\", "\\")


_long_unescaped = lru_cache(maxsize=2)(_unescaped)
"""A map may look at one field once for each of a hundred segments."""


def _from_hex(found: re.Match[str]) -> str:
    """Bytes of one or several escapes side by side: some senders write each byte of a character in its own."""
    digits = "".join(one[: len(one) // 2 * 2] for one in found[0].replace("X", "").split("\\"))
    data = bytes.fromhex(digits)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("gb18030", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def part(field: str, component: int, subcomponent: int = 1) -> str:
    """One component (and subcomponent) of a field's first repetition, plain; `\"\"` counts as empty."""
    if field.isalnum():  # most fields are one word: nothing in it to take apart
        return field if component == subcomponent == 1 else ""
    parts = field.partition("~")[0].split("^", component)
    if component > len(parts):
        return ""
    found = parts[component - 1]
    if "&" in found:
        pieces = found.split("&", subcomponent)
        found = pieces[subcomponent - 1] if subcomponent <= len(pieces) else ""
    elif subcomponent > 1:
        return ""
    return _plain(found)


def _plain(found: str) -> str:
    return found if found.isalnum() else "" if found == '""' else unescape(found).strip()


def _parts(repeat: str, count: int) -> list[str]:
    """The first components of one repetition, plain, as many as asked for."""
    if repeat.isalnum():
        return [repeat, *_NONE[: count - 1]]
    found = repeat.split("^", count)[:count]
    if "&" in repeat:
        found = [one.partition("&")[0] for one in found]
    found = [one if one.isalnum() or not one else _plain(one) for one in found]
    return found + _NONE[: count - len(found)]


def lines(setting: Setting, options: Mapping[str, str]) -> Call:
    """Free text (TX, FT): repetitions and `\\.br\\` are line breaks, separators sent unescaped stay."""

    def make(field: str) -> Value:
        rows = [unescape(row).rstrip() for row in field.split("~") if row != '""']
        return "\n".join(rows).strip() or None

    return make


# ---- coded values -------------------------------------------------------------------------------
def ce(setting: Setting, options: Mapping[str, str]) -> Call:
    """CodeableConcept from CE/CWE: as `concept`, plus LOINC or ICD-10 where components 3 or 6 name them."""
    plain = base.concept(setting, options)
    own = options.get("system")
    standard = {"LN": systems.LOINC, "I10": systems.ICD10_CN, "ICD10": systems.ICD10_CN}

    def make(field: str, unit: str = "", specimen: str = "") -> Value:
        if field.count("^") == 0 and _HAN.search(field):
            return plain("", part(field, 1), results.printed_unit(unescape(unit)), specimen)
        code, name = _coding(field)
        got = plain(code, name, results.printed_unit(unescape(unit)), specimen)
        also = [
            (standard[part(field, n + 2)], part(field, n), part(field, n + 1))
            for n in (1, 4)
            if standard.get(part(field, n + 2), own) != own
        ]
        if not also:
            return got
        return _with_standard(got, also)

    return make


def _coding(field: str) -> tuple[str, str]:
    """Code and name: the first triplet, else the alternate one, else the original text (CWE-9)."""
    first, second = ((part(field, n), part(field, n + 1)) for n in (1, 4))
    return first if any(first) else second if any(second) else ("", part(field, 9))


def _with_standard(got: Value, also: list[tuple[str, str, str]]) -> Value:
    value: Json = got.value if isinstance(got, Noted) else got
    have = {(entry["system"], entry["code"]) for entry in value.get("coding", ())}
    more = [{"system": s, "code": c} | ({"display": d} if d else {}) for s, c, d in also if c and (s, c) not in have]
    return value | {"coding": value.get("coding", []) + more}


_TEXT_TYPES = frozenset({"TX", "FT", "TXT"})
_CODED_TYPES = frozenset({"CE", "CWE", "CNE", "CF", "IS", "ID"})
_TIME_TYPES = frozenset({"DT", "TS", "DTM"})


def value(setting: Setting, options: Mapping[str, str]) -> Call:
    """value[x] from OBX-5 by the type in OBX-2; an empty or odd type falls back to the look of the value."""
    units = base.unit_codes(setting, options)
    coded = ce(setting, {"local": options.get("local", "result")})

    @lru_cache(4096)  # values differ from row to row, items and their units do not
    def resolve(unit: str, item: str) -> tuple[str, str]:
        printed, code = units(unescape(unit), part(item, 1) or part(item, 2))
        return (printed, code) if code or not printed else units(unescape(unit), part(item, 2))

    def make(field: str, kind: str = "", unit: str = "", item: str = "") -> Value:
        kind = kind.strip().upper()
        printed, code = resolve(unit, item)
        if field in ("", '""'):
            return results.absent("unknown")
        if kind in _CODED_TYPES:
            concept = _one_or_several(coded, field)
            return unit_told({"valueCodeableConcept": concept}, printed, code) if concept else results.absent("unknown")
        if kind in _TEXT_TYPES:
            return unit_told({"valueString": lines(setting, {})(field)}, printed, code)
        if kind in _NAMED:
            return unit_told({"valueString": _NAMED[kind](field) or unescape(field)}, printed, code)
        if kind == "CQ":  # a quantity with a unit of its own
            return make(field.partition("^")[0], "NM", field.partition("^")[2] or unit, item)
        if kind in _TIME_TYPES:
            return {"valueDateTime": fhir_from_ts(base.stamp(part(field, 1)), setting.zone)}
        if kind in _PAIRED_TYPES:
            parts = [unescape(p) for p in field.split("^")]
            return unit_told(_PAIRED_TYPES[kind](parts, printed, code, setting.zone), printed, code)
        return _measured(unescape(field.replace("~", "\n")).strip(), kind, printed, code)

    return make


_NAMED: dict[str, Callable[[str], str]] = {
    "XCN": lambda field: part(field, 2) + part(field, 3) or part(field, 1),
    **dict.fromkeys(("PN", "XPN"), lambda field: part(field, 1) + part(field, 2)),
    **dict.fromkeys(("CX", "EI", "XON"), lambda field: part(field, 1)),
}
"""What is shown of a person, a number or an organization."""


def _one_or_several(coded: Call, field: str) -> Value:
    """The concept; several answers to one question are one text, because codings of one concept mean the same."""
    found = [concept for repeat in field.split("~") if (concept := coded(repeat))]
    return found[0] if len(found) == 1 else {"text": "；".join([one["text"] for one in found])} if found else None


def _structured(parts: list[str], printed: str, code: str, zone: str) -> Json:
    return results.structured_numeric(parts, printed, code)


def _period(parts: list[str], printed: str, code: str, zone: str) -> Json:
    """DR: from ^ to."""
    ends = zip(("start", "end"), parts, strict=False)
    return {"valuePeriod": {end: fhir_from_ts(base.stamp(text), zone) for end, text in ends if text}}


def _range(parts: list[str], printed: str, code: str, zone: str) -> Json:
    """NR: low ^ high."""
    found = [(side, results.number(text)) for side, text in zip(("low", "high"), parts, strict=False)]
    return {"valueRange": {side: results.quantity(one.value, "", printed, code) for side, one in found if one}}


def _time(parts: list[str], printed: str, code: str, zone: str) -> Json:
    """TM: HHMM[SS]; R4 wants the seconds."""
    digits = parts[0].replace(":", "")[:6].ljust(6, "0")
    if not digits.isdigit() or digits > "235959":
        raise ValueError("no time of day")
    return {"valueTime": f"{digits[:2]}:{digits[2:4]}:{digits[4:]}"}


_PAIRED_TYPES = {"SN": _structured, "DR": _period, "NR": _range, "TM": _time}


def _measured(text: str, kind: str, printed: str, code: str) -> Value:
    out = results.by_shape(text, printed, code)
    if "valueString" in out and kind in ("NM", "NUM"):
        zh, en = "数值型字段里不是数字，按文本保留", "A numeric field holds no number; it is kept as text"
        if printed:
            zh, en = f"{zh}，单位没有写入", f"{en}, without its unit"
        return Noted(out, "GW-MAP-003", f"{zh}。", f"{en}.")
    return unit_told(out, printed, code)


def interpretation(setting: Setting, options: Mapping[str, str]) -> Call:
    """As `interpretation` of the general list, from whole fields OBX-8 and OBX-5."""
    plain = base.interpretation(setting, options)
    return lambda field, value="": plain("~".join(_flag_of(one) for one in field.split("~")), part(value, 1))


def _flag_of(repeat: str) -> str:
    """The flag of one repetition of OBX-8: its code, or the name beside an empty one."""
    return part(repeat, 1) or part(repeat, 2) if "^" in repeat or '"' in repeat else unescape(repeat)


def reference_range(setting: Setting, options: Mapping[str, str]) -> Call:
    """As `range` of the general list, from whole fields OBX-7, OBX-6 and OBX-3."""
    plain = base.reference_range(setting, options)

    def make(field: str, unit: str = "", item: str = "") -> Value:
        printed, unit = _printed_range(field), results.printed_unit(unescape(unit))
        first = plain(printed, unit, part(item, 1))
        coded = first and any("code" in first[0].get(side, {}) for side in ("low", "high"))
        return first if coded else plain(printed, unit, part(item, 2))

    return make


def _printed_range(field: str) -> str:
    """OBX-7 as printed; low and high in components of their own, as in NR, with a dash between them.

    `10^4` sent unescaped is a power.
    """
    low, _, high = field.partition("^")
    if _PLAIN_NUMBER.fullmatch(low) and _PLAIN_NUMBER.fullmatch(high) and low != "10":
        return f"{low}-{high}"
    return "" if field == '""' else unescape(field)


# ---- people -------------------------------------------------------------------------------------
def names(setting: Setting, options: Mapping[str, str]) -> Call:
    """HumanName list from XPN: the Han name whole in text; pinyin as second component or alphabetic repetition."""

    def make(field: str) -> Value:
        found = [name for repeat in field.split("~") for name in _names_of(repeat)]
        return list({name["text"]: name for name in found}.values()) or None

    return make


def _names_of(repeat: str) -> list[Json]:
    first, second, *_, alphabet = _parts(repeat, 8)
    if first in _PLACEHOLDERS:
        return []
    if alphabet == "A":  # XPN-8, table 0465: alphabetic
        return [_pinyin(f"{first} {second}".strip())]
    if not second or second in _SEX_WORDS:
        return [{"text": first}]
    if _HAN.search(second):
        return [{"text": first + second, "family": first, "given": [second]}]
    if _HAN.search(first):
        return [{"text": first}, _pinyin(second)]
    return [{"text": f"{first} {second}", "family": first, "given": [second]}]


def _pinyin(text: str) -> Json:
    url = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
    return {"extension": [{"url": url, "valueCode": "ABC"}], "text": text}


_NI, _HC, _MR = ({"coding": [{"system": systems.V2_0203, "code": code}]} for code in ("NI", "HC", "MR"))

_V2_CODES = {"03": "PPN", "05": "DL"}


def local_number(setting: Setting, options: Mapping[str, str]) -> Call:
    """The member's own patient number in PID-3: the first repetition that is no card."""

    def make(field: str) -> Value:
        for repeat in field.split("~"):
            number, _, _, _, kind = _parts(repeat, 5)
            if number not in _PLACEHOLDERS and not _card_kind(kind) and kind not in _CERTIFICATES:
                return number
        return None

    return make


def _card_kind(printed: str) -> str:
    kind = printed.upper()
    if kind in _CARD_TYPES:
        return "NI"
    return "HC" if kind in _HEALTH_CARD_TYPES else ""


def identifiers(setting: Setting, options: Mapping[str, str]) -> Call:
    """Identifier list from PID-3 (CX, repeated) and the fields that may carry the card: PID-19, PID-4."""
    own: Json = {"type": _MR, "system": systems.local_number(setting.member)}
    assigner: Json = {"assigner": {"display": setting.member_name}} if setting.member_name else {}

    def of(repeat: str) -> Json | None:
        number, _, _, _, kind = _parts(repeat, 5)
        if number in _PLACEHOLDERS or not number.strip("0"):
            return None
        known = _card_kind(kind)
        if known == "NI":
            return _card(number, kind)
        if known == "HC":
            return {"type": _HC, "system": systems.HEALTH_CARD, "value": number}
        if kind in _CERTIFICATES:
            return _certificate(number, _CERTIFICATES[kind])
        return {**own, "value": number, **assigner}

    def make(field: str, card: str = "", alternate: str = "") -> Value:
        out = [of(repeat) for repeat in dict.fromkeys(field.split("~"))]
        out += [_bare_card(other) for other in (card, alternate) if other]
        return _distinct([entry for entry in out if entry]) or None

    return make


def _certificate(number: str, code: str) -> Json:
    kind: Json = {"text": systems.CERTIFICATES[code]}
    if code in _V2_CODES:
        kind = {"coding": [{"system": systems.V2_0203, "code": _V2_CODES[code]}], **kind}
    return {"type": kind, "system": systems.certificate(code), "value": number}


def _bare_card(field: str) -> Json | None:
    number = results.half_width(part(field, 1))
    return _card(number, part(field, 5)) if _CARD.fullmatch(number) else None


def _card(number: str, kind: str) -> Json:
    out: Json = {"type": _NI, "system": systems.ID_CARD, "value": results.half_width(number).upper()}
    if kind in ("19", "母亲身份证"):
        out["extension"] = [{"url": systems.EXT_ID_KIND, "valueCode": "19"}]
    return out


def _distinct(found: list[Json]) -> list[Json]:
    if len({entry["value"] for entry in found}) == len(found):
        return found
    return list({(entry["system"], entry["value"]): entry for entry in reversed(found)}.values())[::-1]


def addresses(setting: Setting, options: Mapping[str, str]) -> Call:
    """Address list from XAD; a Chinese address in one piece is taken apart."""

    def make(field: str) -> Value:
        return [found for repeat in dict.fromkeys(field.split("~")) if (found := _address(repeat))] or None

    return make


def _address(repeat: str) -> Json | None:
    """Senders put 县 and 镇 into city, state or other designation as they like: the endings of the words decide."""
    line, other, city, state, code, _, _, _, county = _parts(repeat, 9)
    pieces = [piece for piece in (state, county, city, other) if piece and piece not in line]
    found = base.address_of("".join([*sorted(pieces, key=_size_of_place), line]))
    return found | ({"postalCode": code} if code else {}) if found else None


_SIZE = {end: size for size, ends in enumerate(("省自区", "市盟州", "县旗", "镇乡道")) for end in ends}


def _size_of_place(name: str) -> int:
    return _SIZE.get(name[-1], len(_SIZE))


def phones(setting: Setting, options: Mapping[str, str]) -> Call:
    """ContactPoint list from XTN: a number in component 1 (old form) or 12 or 7, else an e-mail address in 4."""

    def make(field: str) -> Value:
        return [found for repeat in dict.fromkeys(field.split("~")) if (found := _contact(repeat))] or None

    return make


def _contact(repeat: str) -> Json | None:
    for system, components in (("phone", (1, 12, 7)), ("email", (4,))):
        found = next(filter(None, (part(repeat, n) for n in components)), "")
        if found not in _PLACEHOLDERS:
            return {"system": system, "value": found}
    return None


def actor(setting: Setting, options: Mapping[str, str]) -> Call:
    """Display-only reference from XCN (`D01^周医生`), with the staff number as identifier."""
    system = systems.local_number(setting.member, "staff")

    def make(field: str) -> Value:
        number, display = part(field, 1), part(field, 2) + part(field, 3)
        if not number and not display:
            return None
        if not display:
            return {"display": number}
        return {"display": display} | ({"identifier": {"system": system, "value": number}} if number else {})

    return make


def location(setting: Setting, options: Mapping[str, str]) -> Call:
    """Where somebody lies or was seen (PL), in one text: ward, room, bed."""
    return lambda field: " ".join(filter(None, (part(field, n) for n in (1, 2, 3)))) or None


def label(setting: Setting, options: Mapping[str, str]) -> Call:
    """The text of a coded field (CE): its name, else its code."""
    return lambda field: part(field, 2) or part(field, 1) or None


V2_FUNCTIONS: dict[str, Function] = {
    "ce": Function(
        ce,
        ("unit", "specimen"),
        ("table", "local", "system", "unmapped"),
        whole=True,
        covers=(1, 2, 3, 4, 5, 6, 7, 8, 9),
        gives="object",
    ),
    "value": Function(value, ("type", "unit", "item"), ("table", "local"), whole=True, repeats=True, uniform="from"),
    "flags": Function(interpretation, ("value",), whole=True, repeats=True, uniform="value", gives="object"),
    "printed_range": Function(reference_range, ("unit", "item"), ("table",), whole=True, notes=False, gives="object"),
    "lines": Function(lines, whole=True, repeats=True, notes=False, gives="text"),
    "names": Function(names, whole=True, repeats=True, covers=(1, 2, 7, 8), notes=False, gives="object"),
    "local_number": Function(local_number, whole=True, repeats=True, covers=(1, 4, 5), notes=False),
    "identifiers": Function(
        identifiers, ("card", "alternate"), whole=True, repeats=True, covers=(1, 4, 5), notes=False
    ),
    "addresses": Function(
        addresses, whole=True, repeats=True, covers=(1, 2, 3, 4, 5, 6, 7, 9), notes=False, gives="object"
    ),
    "phones": Function(phones, whole=True, repeats=True, covers=(1, 2, 3, 4, 7, 12), notes=False, gives="object"),
    "label": Function(label, whole=True, covers=(1, 2, 3), notes=False, gives="text"),
    "location": Function(location, whole=True, covers=(1, 2, 3), notes=False, gives="text"),
    "actor": Function(actor, whole=True, covers=(1, 2, 3), notes=False, gives="object"),
}
