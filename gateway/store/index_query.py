"""The query side of the index: one search filter as postings to look up and a test for each candidate.

Whatever serves a filter (a posting, a range of an ordered table, a scan of a person's rows), `test` on the row's
Keys decides; `verify`, where there is one, decides on the resource itself because a hash could collide (identifiers)
or because the keys do not tell (`:missing` of tokens and references).
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ..errors import BadParameter, UnknownParameter
from ..model.query import Filter
from ..validate.definitions import resource_types
from ..validate.fhirpath import Route
from .base import Keys, hash64
from .index_composite import compile_composite
from .index_filter import CompiledFilter, Verify, Whole, allow, always, split_escaped, tokens, unescaped, values_at
from .index_numbers import compile_date, compile_number, compile_quantity
from .index_params import FULL_TEXT, META, SearchParam, params, presence
from .index_shared import filtered, pointing, posted_as
from .index_text import normal, normal_name, sortable
from .index_values import further, target_of

ORDERED: frozenset[tuple[str, str]] = frozenset(
    {
        ("Observation", "date"),
        ("Encounter", "date"),
        ("DiagnosticReport", "date"),
        ("DiagnosticReport", "issued"),
        ("ImagingStudy", "started"),
        ("MedicationRequest", "authoredon"),
        ("Condition", "recorded-date"),
        ("DocumentReference", "date"),
        ("Patient", "birthdate"),
        ("Patient", "name"),
    }
)
"""(type, code) worth a population-wide ordered table: dates `(param, lo, hi)`, `Patient.name` `(param, text)`."""

_GRAM_TYPES = frozenset({"HumanName", "Address"})
_NAME_CODES = frozenset({"family", "given", "phonetic"})
_FURTHER = 4
_TAGS = re.compile(r"<[^>]*>")


def param_of(resource_type: str, code: str) -> SearchParam:
    """The parameter; raises UnknownParameter naming the nearest known one."""
    known = params(resource_type)
    found = known.get(code)
    if found is None:
        near = nearest(resource_type, code)
        hint = f"{resource_type}?{code}" + (f"; did you mean {near}?" if near else "")
        hint_zh = f"{resource_type}?{code}" + (f"；是否指 {near}？" if near else "")
        raise UnknownParameter(code, hint, detail_zh=hint_zh)
    return found


def nearest(resource_type: str, code: str) -> str:
    """The known parameter most like this one, "" when none is."""
    known = {name.lower(): name for name in params(resource_type)}
    found = difflib.get_close_matches(code.lower(), known, n=1, cutoff=0.6)
    return known[found[0]] if found else ""


def compile_filter(resource_type: str, filter: Filter) -> CompiledFilter:
    """The filter for one type. Raises UnknownParameter, BadParameter."""
    param = param_of(resource_type, filter.code)
    if not filter.values or any(not v for v in filter.values):
        raise BadParameter(filter.code, "empty value", detail_zh="值为空")
    if filter.modifier == "missing":
        return _missing(param, filter)
    if filter.code == "_id":
        allow(filter, "")
        return tokens(tuple(hash64(param.prefix, value) for value in filter.values))
    if filter.code in FULL_TEXT:
        return _full_text(filter)
    if param.kind == "composite":
        return compile_composite(param, filter, _part)
    return _COMPILERS[param.kind](param, filter)


def _part(type_: str, code: str, value: str) -> CompiledFilter:
    return compile_filter(type_, Filter(code, params(type_)[code].kind, (value,)))


# ---- token --------------------------------------------------------------------------------------
def _token(param: SearchParam, filter: Filter) -> CompiledFilter:
    if filter.modifier == "text":
        return _token_text(param, filter)
    if filter.modifier == "of-type":
        return tokens(tuple(_typed_hash(one, value) for value in filter.values for one in posted_as(param)))
    if filter.modifier == "below" and param.media:
        return _media(param, filter)
    allow(filter, "", "not")
    hashes = tuple(found for value in filter.values for one in posted_as(param) for found in _token_hashes(one, value))
    made = tokens(hashes)
    if filter.modifier == "not":
        has = made.test
        return CompiledFilter(None, lambda keys: not has(keys))
    identifiers = [r for r in param.routes if r.type == "Identifier"]
    if len(identifiers) == len(param.routes) > 0:
        return CompiledFilter(hashes, made.test, verify=_identifier_verify(param.routes, filter.values))
    return made


def _token_hashes(param: SearchParam, value: str) -> tuple[int, ...]:
    system, bar, code = split_token(value)
    if all(r.type == "boolean" for r in param.routes) and param.routes and code not in ("true", "false"):
        raise BadParameter(param.code, "must be true or false", detail_zh="须为 true 或 false")
    if bar and not (param.plain and (not system or system in param.systems)):
        return (hash64(param.prefix, system, code),)
    if any(r.type == "string" for r in param.routes):  # whatever its case
        return hash64(param.prefix, code), hash64(param.prefix, "~", normal(code))
    return (hash64(param.prefix, code),)


def _media(param: SearchParam, filter: Filter) -> CompiledFilter:
    """`:below` of a media type: it itself, with any parameters behind a semicolon. Source: search.html#mimetype."""
    wanted = {unescaped(value).lower() for value in filter.values}

    def verify(whole: Whole) -> bool:
        found = (value for way in param.routes for value in values_at(whole.doc, way.steps))
        return any(str(value).partition(";")[0].strip().lower() in wanted for value in found)

    return CompiledFilter(None, always, verify=verify)


def _typed_hash(param: SearchParam, value: str) -> int:
    parts = split_escaped(value, "|")
    if len(parts) != 3 or not all(parts):
        raise BadParameter(f"{param.code}:of-type", "use system|code|value", detail_zh="应写作 系统|类型|值")
    return hash64(param.prefix, "type", *parts)


def split_token(value: str) -> tuple[str, str, str]:
    """(system, "|" or "", code) of `system|code`, `|code`, `system|` or `code`; a code may itself hold a bar."""
    system, *code = split_escaped(value, "|")
    return (system, "|", "|".join(code)) if code else ("", "", system)


def _identifier_verify(ways: tuple[Route, ...], values: tuple[str, ...]) -> Verify:
    wanted = [split_token(value) for value in values]

    def verify(whole: Whole) -> bool:
        found = [v for way in ways for v in values_at(whole.doc, way.steps) if isinstance(v, dict)]
        return any(_same_identifier(v, *parts) for v in found for parts in wanted)

    return verify


def _same_identifier(found: dict[str, Any], system: str, bar: str, value: str) -> bool:
    if value and found.get("value") != value:
        return False
    return not bar or found.get("system", "") == system


def _token_text(param: SearchParam, filter: Filter) -> CompiledFilter:
    """`:text`: the words of a code, not the code; compared as a string is."""
    wanted = tuple(normal(unescaped(value)) for value in filter.values)
    steps = [way.steps for way in param.routes] or [META[param.code]]

    def verify(whole: Whole) -> bool:
        found = (text for s in steps for value in values_at(whole.doc, s) for text in _words_of(value))
        return any(normal(text).startswith(wanted) for text in found)

    return CompiledFilter(None, always, verify=verify)


def _words_of(value: Any) -> Iterator[str]:
    """CodeableConcept.text, Coding.display, Identifier.type.text."""
    if isinstance(value, dict):
        yield from (str(value[name]) for name in ("text", "display") if value.get(name))
        for inner in (*value.get("coding", ()), *([value["type"]] if isinstance(value.get("type"), dict) else ())):
            yield from _words_of(inner)


# ---- full text ----------------------------------------------------------------------------------
def _full_text(filter: Filter) -> CompiledFilter:
    """`_text`: the narrative; `_content`: every string. All words of an alternative must be there."""
    allow(filter, "")
    wanted = [normal(unescaped(value)).split() for value in filter.values]

    def verify(whole: Whole) -> bool:
        text = normal(_narrative(whole.doc) if filter.code == "_text" else " ".join(_strings(whole.doc)))
        return any(all(word in text for word in words) for words in wanted)

    return CompiledFilter(None, always, verify=verify)


def _narrative(doc: dict[str, Any]) -> str:
    return _TAGS.sub(" ", str((doc.get("text") or {}).get("div", "")))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield _TAGS.sub(" ", value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("data", "resourceType"):
                yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


# ---- string -------------------------------------------------------------------------------------
def _string(param: SearchParam, filter: Filter) -> CompiledFilter:
    allow(filter, "", "exact", "contains")
    param = posted_as(param)[0]
    if filter.modifier == "exact":
        return tokens(tuple(hash64(param.prefix, "=", unescaped(value)) for value in filter.values))
    tight = _tight(param)
    texts = tuple((normal_name if tight else normal)(unescaped(value)) for value in filter.values)
    if not all(texts):
        raise BadParameter(filter.code, "nothing to search for", detail_zh="没有可查询的文字")
    postings: tuple[int, ...] | None = tuple(hash64(param.prefix, "~", text[:3]) for text in texts)
    number = param.number
    also = _further(param, texts[0]) if tight and len(texts) == 1 else ()
    if filter.modifier == "":
        return CompiledFilter(
            postings, lambda keys: any(n == number and t.startswith(texts) for n, t in keys.texts), also=also
        )
    if not tight:
        postings = None  # only the start of ordinary texts is posted
    return CompiledFilter(
        postings, lambda keys: any(n == number and any(text in t for text in texts) for n, t in keys.texts), also=also
    )


def _further(param: SearchParam, text: str) -> tuple[tuple[int, ...], ...]:
    """Postings of more of a name than its first three letters: many are called Wang, few Wang Xiulan."""
    places = dict.fromkeys([*range(3, len(text) - 2, 3), len(text) - 3][:_FURTHER]) if len(text) > 3 else ()
    return tuple((hash64(param.prefix, "~", text[at : at + 3]),) for at in places)


def _tight(param: SearchParam) -> bool:
    """True for names and addresses: every n-gram is posted, blanks do not count."""
    if param.code in _NAME_CODES:
        return True
    owners = {r.steps[-2].attr if len(r.steps) > 1 else "" for r in param.routes}
    return any(r.type in _GRAM_TYPES for r in param.routes) or "address" in owners


# ---- reference ----------------------------------------------------------------------------------
def _reference(param: SearchParam, filter: Filter) -> CompiledFilter:
    if filter.modifier == "identifier":
        prefix = f"{param.prefix}|idn"
        parts = [split_token(value) for value in filter.values]
        return tokens(tuple(hash64(prefix, *((system, value) if bar else (value,))) for system, bar, value in parts))
    if filter.modifier and filter.modifier not in resource_types():
        allow(filter, "", "below")
    asked = [unescaped(value) for value in filter.values]
    if filter.modifier == "below":
        return _versions(param, asked)
    return tokens(tuple(h for value in asked for h in _reference_hashes(param, filter.modifier, value)))


def _versions(param: SearchParam, asked: list[str]) -> CompiledFilter:
    """`:below` of a canonical: `url` in all its versions, `url|1` in 1, 1.0, 1.1. Source: search.html#versions."""
    bare = tokens(tuple(hash64(param.prefix, "url", value.partition("|")[0]) for value in asked))
    if not any("|" in value for value in asked):
        return bare

    def verify(whole: Whole) -> bool:
        found = [str(value) for way in param.routes for value in values_at(whole.doc, way.steps)]
        return any(_version_below(value, wanted) for value in found for wanted in asked)

    return replace(bare, verify=verify)


def _version_below(value: str, asked: str) -> bool:
    url, bar, _ = asked.partition("|")
    return value == asked or value.startswith(f"{asked}." if bar else f"{url}|")


def _reference_hashes(param: SearchParam, type_: str, value: str) -> list[int]:
    if ":" in value:
        return [hash64(param.prefix, "url", value)]
    named, id_ = target_of(value)
    if not named and "/" in value:
        raise BadParameter(param.code, "must be Type/id, id or an address", detail_zh="须为 类型/id、id 或地址")
    if named and named not in resource_types():
        raise BadParameter(param.code, f"{named} is no resource type", detail_zh=f"{named} 不是资源类型")
    if named:
        return list(pointing(param, named, id_)) if type_ in ("", named) else []
    targets = (type_,) if type_ else filtered(param) or param.targets or tuple(sorted(resource_types()))
    return [word for target in targets for word in pointing(param, target, value)]


# ---- uri, missing, sort -------------------------------------------------------------------------
def _uri(param: SearchParam, filter: Filter) -> CompiledFilter:
    allow(filter, "", "below", "above")
    asked = tuple(unescaped(value) for value in filter.values)
    if not filter.modifier and param.code == "url" and any("|" in value for value in asked):
        return _of_version(param, asked)
    if not filter.modifier:
        return tokens(tuple(hash64(param.prefix, value) for value in asked))
    fits = _below(asked) if filter.modifier == "below" else _above(asked)
    if not param.routes:
        steps = META[param.code]
        return CompiledFilter(None, always, verify=lambda whole: any(map(fits, values_at(whole.doc, steps))))
    number = param.number
    return CompiledFilter(None, lambda keys: any(n == number and fits(text) for n, text in keys.texts))


def _of_version(param: SearchParam, asked: tuple[str, ...]) -> CompiledFilter:
    """`url|version` of what a canonical names: its address and its version."""
    pairs = [tuple(value.split("|", 1)) for value in asked]

    def verify(whole: Whole) -> bool:
        own = whole.doc.get("url"), whole.doc.get("version")
        return any(own[: len(pair)] == pair for pair in pairs)

    return replace(tokens(tuple(hash64(param.prefix, pair[0]) for pair in pairs)), verify=verify)


def _below(asked: tuple[str, ...]) -> Callable[[str], bool]:
    """A URL and what begins with it; a URN has nothing below it. Source: FHIR R4 search.html#uri."""
    urls = tuple(value for value in asked if not value.startswith("urn:"))
    return lambda text: text in asked or text.startswith(urls)


def _above(asked: tuple[str, ...]) -> Callable[[str], bool]:
    return lambda text: (
        text in asked or (not text.startswith("urn:") and any(value.startswith(text) for value in asked))
    )


def _missing(param: SearchParam, filter: Filter) -> CompiledFilter:
    if filter.values not in (("true",), ("false",)):
        raise BadParameter(f"{filter.code}:missing", "must be true or false", detail_zh="须为 true 或 false")
    absent = filter.values == ("true",)
    bit = presence(param.type).get(param.code, 0)
    if not bit:  # `_id` and `_lastUpdated` are never missing
        return CompiledFilter(None, lambda keys: not absent)
    return CompiledFilter(None, lambda keys: absent == (not keys.present & bit), absent=(bit, absent))


def sort_key(resource_type: str, code: str, descending: bool) -> Callable[[Keys], tuple[int, Any]] | None:
    """Key to sort rows by; (0, 0) for a row without a value. None when the keys do not hold the value.

    Of several values the one that comes first in this order. Dates sort by their first instant, names by their pinyin
    where there is one. Raises UnknownParameter. Source: FHIR R4 search.html#sort.
    """
    param = param_of(resource_type, code)
    number, first = param.number, max if descending else min
    if param.kind == "date" and param.routes:
        return lambda keys: first(((1, lo) for n, lo, _ in keys.dates if n == number), default=(0, 0))
    posted = [one.number for one in posted_as(param)]
    if param.kind in ("number", "quantity"):
        return lambda keys: first(((1, v) for n, unit, v in keys.numbers if n in posted and unit == 0), default=(0, 0))
    if param.kind == "string":
        number = posted[0]
        texts = _leading if _tight(param) else _all
        return lambda keys: first(((1, sortable(text)) for text in texts(keys, number)), default=(0, 0))
    return None


def _all(keys: Keys, number: int) -> Iterator[str]:
    return (text for n, text in keys.texts if n == number)


def _leading(keys: Keys, number: int) -> Iterator[str]:
    """What each name or address is put in order by: the first text of all, and those that begin a further one."""
    yield from itertools.islice(_all(keys, number), 1)
    yield from _all(keys, further(number))


_COMPILERS: dict[str, Callable[[SearchParam, Filter], CompiledFilter]] = {
    "token": _token,
    "string": _string,
    "reference": _reference,
    "date": compile_date,
    "number": compile_number,
    "quantity": compile_quantity,
    "uri": _uri,
}
