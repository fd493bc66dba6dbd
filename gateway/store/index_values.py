"""From one FHIR value to its keys: what a row is found by (design-store §2, §11).

Every function takes (parameter, gathered, value) and adds to `gathered`. Hash parts, always after `Type|code`:
token `value`, `system, value`, `system, ""`, `type, system, code, value` of an Identifier, `words, text` of words that
come without a code, `~, text` of a plain string · string `~, gram` and `=, text as sent` · reference `ref, Type, id`,
`url, address`, and those of its identifier as token after `idn` · uri `value`. A quantity stands under `system|code`,
under its bare unit, and under its UCUM base units.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from .base import Wording, fh_of, hash64
from .index_dates import FIRST, LAST, date_range
from .index_params import SearchParam
from .index_text import (
    grams,
    is_chinese,
    mixed_forms,
    normal,
    normal_name,
    pinyin_forms,
    sortable,
    split_surname,
    starts,
)
from .index_units import MOST_TENS, UCUM, canonical

_LIMIT = 32_768
_SHORT = Context(prec=40)
_codes: dict[tuple[str, str | None, str | None], tuple[int, ...]] = {}
_plain: dict[tuple[str, Any], int] = {}
_Pointing = tuple[tuple[int, ...], tuple[int, int], bool]
"""Postings, (parameter number, fh), whether it is a Patient that is pointed to."""
_references: dict[tuple[str, str], _Pointing | None] = {}
_wordings: dict[tuple[str, str | None, str | None, str], Wording] = {}


class Gathered:
    """Keys of one row while they are collected."""

    __slots__ = ("dates", "numbers", "patients", "present", "refs", "texts", "tokens", "wordings")

    def __init__(self) -> None:
        self.present = 0
        self.tokens: list[int] = []
        self.refs: list[tuple[int, int]] = []
        self.dates: list[tuple[int, int, int]] = []
        self.numbers: list[tuple[int, int, float]] = []
        self.texts: list[tuple[int, str]] = []
        self.wordings: list[Wording] = []
        self.patients: list[int] = []


class Target:
    """A parameter as the emitters need it, with its hash prefix, its number and its bit worked out once.

    posts: False for a reference whose posting stands under another parameter.
    """

    __slots__ = ("bit", "idn", "number", "posts", "prefix")

    def __init__(self, param: SearchParam, bit: int = 0, *, posts: bool = True) -> None:
        self.prefix, self.number, self.bit, self.posts = param.prefix, param.number, bit, posts
        self.idn = f"{param.prefix}|idn"


Emit = Callable[[Target, Gathered, Any], None]


# ---- token --------------------------------------------------------------------------------------
def code_tokens(prefix: str, system: str | None, code: str | None) -> tuple[int, ...]:
    """Hashes of a code with or without its system."""
    if not code:
        return (hash64(prefix, system, ""),) if system else ()
    return (
        hash64(prefix, code),
        hash64(prefix, system or "", code),
        *((hash64(prefix, system, ""),) if system else ()),
    )


def _coding(t: Target, g: Gathered, v: Any) -> None:
    key = (t.prefix, v.system, v.code)
    found = _codes.get(key)
    if found is None:
        if len(_codes) > _LIMIT:
            _codes.clear()
        found = _codes[key] = code_tokens(*key)
    g.tokens += found
    if v.display is not None:
        _said(t, g, v, v.display)


def _concept(t: Target, g: Gathered, v: Any) -> None:
    for coding in v.coding or ():
        key = (t.prefix, coding.system, coding.code)
        found = _codes.get(key)
        if found is None:
            _coding(t, g, coding)
        else:
            g.tokens += found
            if coding.display is not None:
                _said(t, g, coding, coding.display)
    if v.text is not None:
        _said(t, g, next((coding for coding in v.coding or () if coding.code), None), v.text)


def _said(t: Target, g: Gathered, coding: Any, text: str) -> None:
    """Words of a code: every row with them carries its posting; with no code there, one of their own."""
    system, code = (coding.system, coding.code) if coding is not None else (None, None)
    key = (t.prefix, system, code, text)
    found = _wordings.get(key)
    if found is None:
        if len(_wordings) > _LIMIT:
            _wordings.clear()
        plain = normal(text)
        word = code_tokens(t.prefix, system, code)[1] if code else hash64(t.prefix, "words", plain)
        found = _wordings[key] = (t.number, sortable(plain), word)
    g.wordings.append(found)
    if not code:
        g.tokens.append(found[2])


def _identifier(t: Target, g: Gathered, v: Any) -> None:
    g.tokens += code_tokens(t.prefix, v.system, v.value)
    if v.type is None:
        return
    for text in (v.type.text, *(coding.display for coding in v.type.coding or ())):
        if text is not None:
            _said(t, g, None, text)
    if v.value:
        g.tokens += [
            hash64(t.prefix, "type", coding.system or "", coding.code, v.value)
            for coding in v.type.coding or ()
            if coding.code
        ]


def _contact(t: Target, g: Gathered, v: Any) -> None:
    if v.value:
        g.tokens += code_tokens(t.prefix, None, v.value)


def _plain_token(t: Target, g: Gathered, v: Any) -> None:
    key = (t.prefix, v)
    found = _plain.get(key)
    if found is None:
        if len(_plain) > _LIMIT:
            _plain.clear()
        found = _plain[key] = hash64(t.prefix, plain_text(v))
    g.tokens.append(found)


def _uncached_token(t: Target, g: Gathered, v: Any) -> None:
    g.tokens.append(hash64(t.prefix, str(v)))


def _string_token(t: Target, g: Gathered, v: str) -> None:
    g.tokens.append(hash64(t.prefix, "~", normal(v)))


def plain_text(value: Any) -> str:
    """How a primitive is written in a URL."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _said_true(t: Target, g: Gathered, v: Any) -> None:
    _plain_token(t, g, True)


# ---- string -------------------------------------------------------------------------------------
def _text(t: Target, g: Gathered, v: str) -> None:
    plain = normal(v)
    g.texts.append((t.number, plain))
    g.tokens.append(hash64(t.prefix, "=", v))
    g.tokens += [hash64(t.prefix, "~", s) for s in starts(plain)]


def _name(t: Target, g: Gathered, v: Any) -> None:
    said = [part for part in (v.text, v.family, *(v.given or ()), *(v.prefix or ()), *(v.suffix or ())) if part]
    if not v.text and len(said) > 1 and is_chinese(whole := _whole(v)):
        said.append(whole)
    name = _tight(v.text or _whole(v))
    forms = pinyin_forms(name)
    _some_text(t, g, said, [*forms, *mixed_forms(name), *pinyin_forms(_tight(v.family or ""))], *forms[:1])


def _family(t: Target, g: Gathered, v: str) -> None:
    forms = pinyin_forms(_tight(v))
    _some_text(t, g, [v], list(forms), *forms[:1])


def split_part(part: str, t: Target, g: Gathered, v: Any) -> None:
    """`family` or `given` of a Chinese name sent in one piece, as most sources do."""
    name = _tight(v.text or "")
    if v.family is None and not v.given and len(name) > 1 and is_chinese(name):
        g.present |= t.bit
        _family(t, g, split_surname(name)[part == "given"])


def _whole(v: Any) -> str:
    return (v.family or "") + "".join(part for part in v.given or () if part)


def _tight(text: str) -> str:
    return normal_name(text)


def further(number: int) -> int:
    """Under what the leading text of a parameter's second value, and of each after it, stands once more."""
    return ~number


def _some_text(t: Target, g: Gathered, said: list[str], more: list[str], *leading: str) -> None:
    """leading: by what the value is put in order, one of the others; else the first said."""
    plain = list(dict.fromkeys([*leading, *[normal_name(part) for part in said], *more]))
    if plain and any(number == t.number for number, _ in g.texts):
        g.texts.append((further(t.number), plain[0]))
    g.texts += [(t.number, text) for text in plain]
    g.tokens += [hash64(t.prefix, "=", part) for part in dict.fromkeys(said)]
    pieces: set[str] = set()
    for text in plain:
        pieces |= grams(text)
    g.tokens += [hash64(t.prefix, "~", piece) for piece in pieces]


def _address(t: Target, g: Gathered, v: Any) -> None:
    parts = (v.text, *(v.line or ()), v.city, v.district, v.state, v.postalCode, v.country)
    said = [part for part in parts if part]
    if not v.text and len(said) > 1:
        said.insert(0, "".join(p for p in (v.state, v.city, v.district, *(v.line or ())) if p))
    _some_text(t, g, [part for part in said if part], [])


# ---- reference ----------------------------------------------------------------------------------
def target_of(text: str) -> tuple[str, str]:
    """(type, id) of a literal `Type/id[/_history/v]`; ("", "") for anything else."""
    type_, found, rest = text.partition("/")
    if not found or not rest or ":" in type_:
        return "", ""
    id_, _, tail = rest.partition("/")
    return (type_, id_) if not tail or tail.startswith("_history/") else ("", "")


def _reference(t: Target, g: Gathered, v: Any) -> None:
    text = v.reference
    if text is not None:
        key = (t.prefix, text)
        if key not in _references:
            if len(_references) > _LIMIT:
                _references.clear()
            _references[key] = _reference_keys(t, text)
        found = _references[key]
        if found is None:
            _address_token(t, g, text)
        else:
            _pointing(g, *found)
    if v.identifier is not None:
        g.tokens += code_tokens(t.idn, v.identifier.system, v.identifier.value)


def _reference_keys(t: Target, text: str) -> _Pointing | None:
    type_, id_ = target_of(text)
    if not type_:
        return None
    words = (hash64(t.prefix, "ref", type_, id_),) if t.posts else ()
    return words, (t.number, fh_of(type_, id_)), type_ == "Patient"


def _pointing(g: Gathered, words: tuple[int, ...], ref: tuple[int, int], to_patient: bool) -> None:
    g.tokens += words
    g.refs.append(ref)
    if to_patient:
        g.patients.append(ref[1])


def _address_token(t: Target, g: Gathered, text: str) -> None:
    if not text.startswith("#") and "?" not in text:
        g.tokens.append(hash64(t.prefix, "url", text))


def _canonical(t: Target, g: Gathered, v: str) -> None:
    if target_of(v)[0]:
        found = _reference_keys(t, v)
        if found is not None:
            _pointing(g, *found)
        return
    g.tokens.append(hash64(t.prefix, "url", v))
    if "|" in v:
        g.tokens.append(hash64(t.prefix, "url", v.partition("|")[0]))


# ---- dates, numbers, uris -----------------------------------------------------------------------
def _date(t: Target, g: Gathered, v: str) -> None:
    g.dates.append((t.number, *date_range(v)))


def _period(t: Target, g: Gathered, v: Any) -> None:
    if v.start is None and v.end is None:
        return
    low = FIRST if v.start is None else date_range(v.start)[0]
    g.dates.append((t.number, low, LAST if v.end is None else date_range(v.end)[1]))


def _timing(t: Target, g: Gathered, v: Any) -> None:
    found = [date_range(event) for event in v.event or () if event]
    if found:
        g.dates.append((t.number, min(low for low, _ in found), max(high for _, high in found)))
    if v.repeat is not None and v.repeat.boundsPeriod is not None:
        _period(t, g, v.repeat.boundsPeriod)


def _quantity(t: Target, g: Gathered, v: Any) -> None:
    if v.value is None:
        return
    value = _beside(float(v.value), v.comparator)
    g.numbers.append((t.number, 0, value))
    for unit in unit_hashes(v.system, v.code, v.unit):
        g.numbers.append((t.number, unit, value))
    base = base_unit(v.code) if v.system == UCUM and v.code else None
    if base is not None:
        g.numbers.append((t.number, base[1], _beside(_times(v.value, base[0]), v.comparator)))


def _beside(value: float, comparator: str | None) -> float:
    """`<20` is no 20: it stands below it by as little as can be, so that lt20 finds it and ge20 does not."""
    if comparator not in ("<", ">"):
        return value
    return math.nextafter(value, -math.inf if comparator == "<" else math.inf)


def _times(value: Decimal, worth: Fraction) -> float:
    """The product, by one division of whole numbers: rounded once, and a fifth of a Fraction's time.

    What is beyond all measure (1e999999999, 1e-999999999) is infinite or nothing: its whole numbers would take minutes,
    as those of a million digits would.
    """
    if not -MOST_TENS < value.adjusted() < MOST_TENS:
        return float(value)
    over, under = _SHORT.plus(value).as_integer_ratio()
    return over * worth.numerator / (under * worth.denominator)


def unit_hashes(system: str | None, code: str | None, unit: str | None) -> tuple[int, ...]:
    """Under what a quantity's unit is found: `system|code`, bare code, bare unit as printed."""
    key = ("unit", system, code or unit) if unit is None or unit == code else (unit, system, code)
    found = _codes.get(key)
    if found is None:
        bare = dict.fromkeys(text for text in (code, unit) if text)
        full = [hash64("unit", system, code)] if system and code else []
        found = _codes[key] = (*full, *(hash64("unit", "", text) for text in bare))
    return found


@lru_cache(4096)
def base_unit(code: str) -> tuple[Fraction, int] | None:
    """(what one is worth, hash of its UCUM base units); None for a unit that is comparable with itself only."""
    found = canonical(code)
    return None if found is None else (found[0], hash64("ucum", found[1]))


def _money(t: Target, g: Gathered, v: Any) -> None:
    if v.value is not None:
        value = float(v.value)
        g.numbers.append((t.number, 0, value))
        if v.currency:
            g.numbers += [(t.number, h, value) for h in unit_hashes("urn:iso:std:iso:4217", v.currency, None)]


def _range(t: Target, g: Gathered, v: Any) -> None:
    for end in (v.low, v.high):
        if end is not None:
            _quantity(t, g, end)


def _number(t: Target, g: Gathered, v: Any) -> None:
    g.numbers.append((t.number, 0, float(v)))


def _number_range(t: Target, g: Gathered, v: Any) -> None:
    for end in (v.low, v.high):
        if end is not None and end.value is not None:
            g.numbers.append((t.number, 0, float(end.value)))


def _uri(t: Target, g: Gathered, v: str) -> None:
    g.tokens.append(hash64(t.prefix, v))
    g.texts.append((t.number, v))


_NAMES = frozenset({"family", "given", "phonetic"})
_EMIT: dict[str, dict[str, Emit]] = {
    "token": {
        "CodeableConcept": _concept,
        "Coding": _coding,
        "Identifier": _identifier,
        "ContactPoint": _contact,
        "code": _plain_token,
        "boolean": _plain_token,
        "dateTime": _said_true,
        "string": _string_token,
    },
    "string": {"HumanName": _name, "Address": _address},
    "reference": {"Reference": _reference, "canonical": _canonical, "uri": _canonical},
    "date": {"Period": _period, "Timing": _timing},
    "quantity": {"Money": _money, "Range": _range},
    "number": {"Range": _number_range},
    "uri": {},
}
_OTHERWISE: dict[str, Emit] = {
    "token": _uncached_token,
    "string": _text,
    "date": _date,
    "quantity": _quantity,
    "number": _number,
    "uri": _uri,
}


def emitter(param: SearchParam, value_type: str, owner: str) -> Emit:
    """The function for one value type. owner: the element before the last, `name` in `Patient.name.family`."""
    if param.kind == "string" and param.code in _NAMES and value_type == "string":
        return _family
    if param.kind == "string" and owner == "address" and value_type == "string":
        return _address_part
    found = _EMIT[param.kind].get(value_type)
    return found or _OTHERWISE[param.kind]


def _address_part(t: Target, g: Gathered, v: str) -> None:
    _some_text(t, g, [v], [])
