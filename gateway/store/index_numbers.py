"""Dates, numbers and quantities of a query: prefixes, precision, units (FHIR R4 search §prefix, §date, §quantity).

Numbers are compared as the exact fractions that were written, turned into floats at the very end, as stored ones are.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from ..errors import BadParameter
from ..model.query import Filter
from .base import Keys, hash64
from .index_dates import FIRST, LAST, date_range
from .index_filter import CompiledFilter, allow, always, split_escaped
from .index_params import SearchParam
from .index_shared import posted_as
from .index_units import MOST_TENS, UCUM
from .index_values import base_unit

PREFIXES = ("eq", "ne", "gt", "ge", "lt", "le", "sa", "eb", "ap")
Range = tuple[int, int]
_DAY = 86_400_000
_Fits = tuple[Callable[[float], bool], float, float]
"""The test of a value, and between which values all that pass it lie."""
_LEAST, _MOST = float("-inf"), float("inf")
_ONE = Fraction(1)


# ---- date ---------------------------------------------------------------------------------------
def compile_date(param: SearchParam, filter: Filter) -> CompiledFilter:
    allow(filter, "")
    if param.code == "_lastUpdated":
        instants = [_date_test(filter, value)[0] for value in filter.values]
        return CompiledFilter(None, always, updated=lambda at: any(fits(at, at) for fits in instants))
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
    return (value[:2], value[2:]) if value[:2] in PREFIXES else ("eq", value)


# ---- number and quantity ------------------------------------------------------------------------
def compile_number(param: SearchParam, filter: Filter) -> CompiledFilter:
    """Numbers without unit."""
    allow(filter, "")
    return _numbers(param, [(0, _number_test(filter, value)) for value in filter.values])


def compile_quantity(param: SearchParam, filter: Filter) -> CompiledFilter:
    """`5`, `5||mg`, `5|system|mg`; a UCUM unit also finds what was written in another of the same measure."""
    allow(filter, "")
    return _numbers(param, [one for value in filter.values for one in _quantity(filter, value)])


def _quantity(filter: Filter, value: str) -> list[tuple[int, _Fits]]:
    number, *unit = split_escaped(value, "|")
    if unit and len(unit) != 2:
        raise BadParameter(filter.code, "use value|system|unit", detail_zh="应写作 数值|系统|单位")
    system, code = unit or ("", "")
    if not code:
        return [(0, _number_test(filter, number))]
    ways = [(hash64("unit", system, code), _number_test(filter, number))]
    base = base_unit(code) if system == UCUM else None
    return [*ways, (base[1], _number_test(filter, number, base[0]))] if base else ways


def _numbers(param: SearchParam, ways: list[tuple[int, _Fits]]) -> CompiledFilter:
    numbers = [one.number for one in posted_as(param)]

    def test(keys: Keys) -> bool:
        rows = [(unit, value) for n, unit, value in keys.numbers if n in numbers]
        return any(wanted == unit and fits[0](value) for wanted, fits in ways for unit, value in rows)

    reach = tuple((number, unit, low, high) for number in numbers for unit, (_, low, high) in ways)
    return CompiledFilter(None, test, reach=reach)


def _number_test(filter: Filter, text: str, worth: Fraction = _ONE) -> _Fits:
    """eq and ne hold to the precision written (`5.4` is 5.35 to 5.45), the others to the value itself."""
    prefix, digits = _split_prefix(text)
    exact, step = _written(filter, digits)
    value, low, high = float(exact * worth), float((exact - step) * worth), float((exact + step) * worth)
    margin = max(abs(exact) / 10, step)
    least, most = float((exact - margin) * worth), float((exact + margin) * worth)
    tests: dict[str, _Fits] = {
        "eq": (lambda v: low <= v < high, low, high),
        "ne": (lambda v: not low <= v < high, _LEAST, _MOST),
        "gt": (lambda v: v > value, value, _MOST),
        "ge": (lambda v: v >= value, value, _MOST),
        "lt": (lambda v: v < value, _LEAST, value),
        "le": (lambda v: v <= value, _LEAST, value),
        "sa": (lambda v: v > value, value, _MOST),
        "eb": (lambda v: v < value, _LEAST, value),
        "ap": (lambda v: least <= v <= most, least, most),
    }
    return tests[prefix]


def _written(filter: Filter, digits: str) -> tuple[Fraction, Fraction]:
    """The number and half a step of its last digit."""
    try:
        exact = Decimal(digits)
        exponent = exact.as_tuple().exponent
    except InvalidOperation:
        exponent = "n"
    if not isinstance(exponent, int) or max(abs(exponent), abs(exact.adjusted()), len(digits)) > MOST_TENS:
        raise BadParameter(filter.code, "not a number", detail_zh="不是数字")
    return Fraction(exact), Fraction(5) * Fraction(10) ** (exponent - 1)
