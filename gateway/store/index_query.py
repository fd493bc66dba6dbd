"""The query side of the index: one search filter as postings to look up and a test for each candidate.

Whatever serves a filter (a posting, a range of an ordered table, a scan of a person's rows), `test` on the row's
Keys decides; `verify`, where there is one, decides on the resource itself because a hash could collide (identifiers)
or because the keys do not tell (`:missing` of tokens and references).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from ..errors import BadParameter, UnknownParameter
from ..model.query import Filter
from ..validate.definitions import resource_types
from ..validate.fhirpath import Route, Step
from .base import Keys, hash64
from .index_dates import FIRST, LAST, date_range
from .index_params import SearchParam, params
from .index_text import normal, normal_name, sortable
from .index_values import target_of

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

_PREFIXES = ("eq", "ne", "gt", "ge", "lt", "le", "sa", "eb", "ap")
_GRAM_TYPES = frozenset({"HumanName", "Address"})
_NAME_CODES = frozenset({"family", "given", "phonetic"})
_DAY = 86_400_000
Range = tuple[int, int]
Test = Callable[[Keys], bool]
Verify = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class CompiledFilter:
    """One filter, ready to run.

    postings: tokens any of which a match carries; None when no posting serves. ordered: (parameter number, first ms,
    last ms): every match has a date range that overlaps it; None when that says nothing. ids: the filter is `_id`.
    updated: decides on the instant (ms) of the version, for `_lastUpdated`. A row matches when `test`, and `verify`
    on the decoded JSON where it is given, and `updated` where it is given, all say so.
    """

    postings: tuple[int, ...] | None
    test: Test
    ordered: tuple[int, int, int] | None = None
    verify: Verify | None = None
    ids: frozenset[str] | None = None
    updated: Callable[[int], bool] | None = None


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
        return _by_id(param, filter)
    if filter.code == "_lastUpdated":
        _allow(filter, "")
        tests = [_date_test(filter, value)[0] for value in filter.values]
        return CompiledFilter(None, _always, updated=lambda at: any(t(at, at) for t in tests))
    return _COMPILERS[param.kind](param, filter)


def _always(keys: Keys) -> bool:
    return True


def _allow(filter: Filter, *modifiers: str) -> None:
    if filter.modifier not in modifiers:
        place = f"{filter.code}:{filter.modifier}"
        raise BadParameter(place, "modifier is not supported here", detail_zh="此参数不支持该修饰符")


def _any_token(hashes: tuple[int, ...]) -> Test:
    wanted = frozenset(hashes)
    return lambda keys: not wanted.isdisjoint(keys.tokens)


def _by_id(param: SearchParam, filter: Filter) -> CompiledFilter:
    _allow(filter, "")
    hashes = tuple(hash64(param.prefix, value) for value in filter.values)
    return CompiledFilter(hashes, _any_token(hashes), ids=frozenset(filter.values))


# ---- token --------------------------------------------------------------------------------------
def _token(param: SearchParam, filter: Filter) -> CompiledFilter:
    _allow(filter, "", "not")
    hashes = tuple(_token_hash(param, value) for value in filter.values)
    has = _any_token(hashes)
    if filter.modifier == "not":
        return CompiledFilter(None, lambda keys: not has(keys))
    identifiers = [r for r in param.routes if r.type == "Identifier"]
    verify = _identifier_verify(param.routes, filter.values) if len(identifiers) == len(param.routes) > 0 else None
    return CompiledFilter(hashes, has, verify=verify)


def _token_hash(param: SearchParam, value: str) -> int:
    system, bar, code = split_token(value)
    if all(r.type == "boolean" for r in param.routes) and param.routes and code not in ("true", "false"):
        raise BadParameter(param.code, "must be true or false", detail_zh="须为 true 或 false")
    if not bar or (param.plain and (not system or system in param.systems)):
        return hash64(param.prefix, code)
    return hash64(param.prefix, system, code)


def split_token(value: str) -> tuple[str, str, str]:
    """(system, "|" or "", code) of `system|code`, `|code`, `system|` or `code`; a code may itself hold a bar."""
    system, bar, code = value.partition("|")
    return (system, bar, code) if bar else ("", "", value)


def _identifier_verify(ways: tuple[Route, ...], values: tuple[str, ...]) -> Verify:
    wanted = [split_token(value) for value in values]

    def verify(doc: dict[str, Any]) -> bool:
        found = [v for way in ways for v in values_at(doc, way.steps) if isinstance(v, dict)]
        return any(_same_identifier(v, *parts) for v in found for parts in wanted)

    return verify


def _same_identifier(found: dict[str, Any], system: str, bar: str, value: str) -> bool:
    if value and found.get("value") != value:
        return False
    return not bar or found.get("system", "") == system


def values_at(doc: Any, steps: tuple[Step, ...]) -> Iterator[Any]:
    """Values a route leads to in plain JSON."""
    if not steps:
        yield doc
        return
    step = steps[0]
    found = doc.get(step.attr.removesuffix("_")) if isinstance(doc, dict) else None
    items = found if isinstance(found, list) else [] if found is None else [found]
    for place, item in enumerate(items):
        if _passes(step, item, place):
            yield from values_at(item, steps[1:])


def _passes(step: Step, item: Any, place: int) -> bool:
    if item is None or (step.index >= 0 and place != step.index):
        return False
    if step.equals[0] and item.get(step.equals[0]) != step.equals[1]:
        return False
    return not step.target or str(item.get("reference", "")).startswith(step.target + "/")


# ---- string -------------------------------------------------------------------------------------
def _string(param: SearchParam, filter: Filter) -> CompiledFilter:
    _allow(filter, "", "exact", "contains")
    if filter.modifier == "exact":
        hashes = tuple(hash64(param.prefix, "=", value) for value in filter.values)
        return CompiledFilter(hashes, _any_token(hashes))
    tight = _tight(param)
    texts = tuple((normal_name if tight else normal)(value) for value in filter.values)
    if not all(texts):
        raise BadParameter(filter.code, "nothing to search for", detail_zh="没有可查询的文字")
    postings: tuple[int, ...] | None = tuple(hash64(param.prefix, "~", text[:3]) for text in texts)
    number = param.number
    if filter.modifier == "":
        return CompiledFilter(postings, lambda keys: any(n == number and t.startswith(texts) for n, t in keys.texts))
    if not tight:
        postings = None  # only the start of ordinary texts is posted
    return CompiledFilter(
        postings, lambda keys: any(n == number and any(text in t for text in texts) for n, t in keys.texts)
    )


def _tight(param: SearchParam) -> bool:
    """True for names and addresses: every n-gram is posted, blanks do not count."""
    if param.code in _NAME_CODES:
        return True
    owners = {r.steps[-2].attr if len(r.steps) > 1 else "" for r in param.routes}
    return any(r.type in _GRAM_TYPES for r in param.routes) or "address" in owners


# ---- reference ----------------------------------------------------------------------------------
def _reference(param: SearchParam, filter: Filter) -> CompiledFilter:
    if filter.modifier == "identifier":
        pairs = (split_token(value) for value in filter.values)
        hashes = tuple(hash64(param.prefix, "idn", system, value) for system, _, value in pairs)
        return CompiledFilter(hashes, _any_token(hashes))
    if filter.modifier and filter.modifier not in resource_types():
        _allow(filter, "")
    hashes = tuple(h for value in filter.values for h in _reference_hashes(param, filter.modifier, value))
    return CompiledFilter(hashes, _any_token(hashes))


def _reference_hashes(param: SearchParam, type_: str, value: str) -> list[int]:
    if ":" in value:
        return [hash64(param.prefix, "url", value)]
    named, id_ = target_of(value)
    if not named and "/" in value:
        raise BadParameter(param.code, "must be Type/id, id or an address", detail_zh="须为 类型/id、id 或地址")
    if named and named not in resource_types():
        raise BadParameter(param.code, f"{named} is no resource type", detail_zh=f"{named} 不是资源类型")
    if named:
        return [hash64(param.prefix, "ref", named, id_)] if type_ in ("", named) else []
    targets = (type_,) if type_ else _targets(param)
    return [hash64(param.prefix, "ref", target, value) for target in targets]


def _targets(param: SearchParam) -> tuple[str, ...]:
    filtered = {r.steps[-1].target for r in param.routes if r.steps}
    if filtered and "" not in filtered:
        return tuple(sorted(filtered))
    return param.targets or tuple(sorted(resource_types()))


# ---- date ---------------------------------------------------------------------------------------
def _date(param: SearchParam, filter: Filter) -> CompiledFilter:
    _allow(filter, "")
    number = param.number
    made = [_date_test(filter, value) for value in filter.values]
    tests = [test for test, _ in made]
    spans = [span for _, span in made]
    ordered = None
    if all(span is not None for span in spans):
        known = [span for span in spans if span is not None]
        ordered = (number, min(low for low, _ in known), max(high for _, high in known))
    return CompiledFilter(
        None, lambda keys: any(n == number and any(t(lo, hi) for t in tests) for n, lo, hi in keys.dates), ordered
    )


def _date_test(filter: Filter, value: str) -> tuple[Callable[[int, int], bool], Range | None]:
    """The test of a row's (first, last) ms and the span every match overlaps. Source: FHIR R4 search §date, §prefix."""
    prefix, text = _split_prefix(value)
    try:
        low, high = date_range(text.replace(" ", "+"))
    except ValueError:
        raise BadParameter(
            filter.code, "not a date: use 2026-03-20", detail_zh="日期写法不对，应如 2026-03-20"
        ) from None
    if prefix == "ap":
        more = max(_DAY, (high - low) // 10)
        low, high = low - more, high + more
    tests: dict[str, tuple[Callable[[int, int], bool], Range | None]] = {
        "eq": (lambda lo, hi: low <= lo and hi <= high, (low, high)),
        "ne": (lambda lo, hi: not (low <= lo and hi <= high), None),
        "gt": (lambda lo, hi: hi > high, (high + 1, LAST)),
        "ge": (lambda lo, hi: hi > high or (low <= lo and hi <= high), (low, LAST)),
        "lt": (lambda lo, hi: lo < low, (FIRST, low - 1)),
        "le": (lambda lo, hi: lo < low or (low <= lo and hi <= high), (FIRST, high)),
        "sa": (lambda lo, hi: lo > high, (high + 1, LAST)),
        "eb": (lambda lo, hi: hi < low, (FIRST, low - 1)),
        "ap": (lambda lo, hi: lo <= high and hi >= low, (low, high)),
    }
    return tests[prefix]


def _split_prefix(value: str) -> tuple[str, str]:
    return (value[:2], value[2:]) if value[:2] in _PREFIXES else ("eq", value)


# ---- number and quantity ------------------------------------------------------------------------
def _number(param: SearchParam, filter: Filter) -> CompiledFilter:
    _allow(filter, "")
    return _numbers(param, [(_number_test(filter, value), None) for value in filter.values])


def _quantity(param: SearchParam, filter: Filter) -> CompiledFilter:
    _allow(filter, "")
    made: list[tuple[Callable[[float], bool], int | None]] = []
    for value in filter.values:
        number, bar, unit = value.partition("|")
        system, _, code = unit.partition("|")
        if bar and "|" not in unit:
            raise BadParameter(filter.code, "use value|system|unit", detail_zh="应写作 数值|系统|单位")
        made.append((_number_test(filter, number), hash64("unit", system, code) if code else None))
    return _numbers(param, made)


def _numbers(param: SearchParam, made: list[tuple[Callable[[float], bool], int | None]]) -> CompiledFilter:
    number = param.number

    def test(keys: Keys) -> bool:
        rows = [(unit, value) for n, unit, value in keys.numbers if n == number]
        return any((wanted or 0) == unit and fits(value) for fits, wanted in made for unit, value in rows)

    return CompiledFilter(None, test)


def _number_test(filter: Filter, text: str) -> Callable[[float], bool]:
    """eq and ne hold to the precision written (`5.4` is 5.35 to 5.45), the others to the value itself."""
    prefix, digits = _split_prefix(text)
    try:
        exact = Decimal(digits)
        value, exponent = float(exact), exact.as_tuple().exponent
    except (InvalidOperation, ValueError, OverflowError):
        exponent = "n"
    if not isinstance(exponent, int) or abs(exponent) > 300:
        raise BadParameter(filter.code, "not a number", detail_zh="不是数字")
    half = float(Decimal(5).scaleb(exponent - 1))
    tests: dict[str, Callable[[float], bool]] = {
        "eq": lambda v: value - half <= v < value + half,
        "ne": lambda v: not value - half <= v < value + half,
        "gt": lambda v: v > value,
        "ge": lambda v: v >= value,
        "lt": lambda v: v < value,
        "le": lambda v: v <= value,
        "sa": lambda v: v > value,
        "eb": lambda v: v < value,
        "ap": lambda v: abs(v - value) <= max(abs(value) * 0.1, half),
    }
    return tests[prefix]


# ---- uri, missing, sort -------------------------------------------------------------------------
def _uri(param: SearchParam, filter: Filter) -> CompiledFilter:
    _allow(filter, "", "below", "above")
    number = param.number
    if filter.modifier and not param.routes:
        _allow(filter, "")
    if filter.modifier == "below":
        return CompiledFilter(
            None, lambda keys: any(n == number and t.startswith(filter.values) for n, t in keys.texts)
        )
    if filter.modifier == "above":
        return CompiledFilter(
            None, lambda keys: any(n == number and any(v.startswith(t) for v in filter.values) for n, t in keys.texts)
        )
    hashes = tuple(hash64(param.prefix, value) for value in filter.values)
    return CompiledFilter(hashes, _any_token(hashes))


def _missing(param: SearchParam, filter: Filter) -> CompiledFilter:
    if filter.values not in (("true",), ("false",)):
        raise BadParameter(f"{filter.code}:missing", "must be true or false", detail_zh="须为 true 或 false")
    absent = filter.values == ("true",)
    if param.code in ("_id", "_lastUpdated"):
        return CompiledFilter(None, lambda keys: not absent)
    steps = [way.steps for way in param.routes] or [_META_STEPS[param.code]]
    return CompiledFilter(
        None, _always, verify=lambda doc: absent == (not any(True for s in steps for _ in values_at(doc, s)))
    )


_META_STEPS: dict[str, tuple[Step, ...]] = {
    "_tag": (Step("meta", False), Step("tag", True)),
    "_security": (Step("meta", False), Step("security", True)),
    "_profile": (Step("meta", False), Step("profile", True)),
    "_source": (Step("meta", False), Step("source", False)),
}


def sort_key(resource_type: str, code: str) -> Callable[[Keys], tuple[int, Any]] | None:
    """Key to sort rows by; (0, 0) for a row without a value. None when the keys do not hold the value.

    Dates sort by their first instant, texts by their pinyin where there is one. Raises UnknownParameter.
    """
    param = param_of(resource_type, code)
    number = param.number
    if param.kind == "date" and param.routes:
        return lambda keys: min(((1, lo) for n, lo, _ in keys.dates if n == number), default=(0, 0))
    if param.kind in ("number", "quantity"):
        return lambda keys: min(((1, v) for n, unit, v in keys.numbers if n == number and unit == 0), default=(0, 0))
    if param.kind == "string":
        return lambda keys: _text_key([t for n, t in keys.texts if n == number])
    return None


def _text_key(texts: list[str]) -> tuple[int, Any]:
    if not texts:
        return (0, 0)
    return (1, sortable(next((t for t in texts if t.isascii()), texts[0])))


_COMPILERS: dict[str, Callable[[SearchParam, Filter], CompiledFilter]] = {
    "token": _token,
    "string": _string,
    "reference": _reference,
    "date": _date,
    "number": _number,
    "quantity": _quantity,
    "uri": _uri,
}
