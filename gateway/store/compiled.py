"""A query made ready to run: what is looked up, what is tested on each row, whose record it is about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ..model.query import Filter, Query
from .base import Keys, fh_of
from .engine import Match, Row, Span
from .index import CompiledFilter, compile_filter
from .index_dates import date_range
from .packing import unpack_keys

Follow = Callable[[int], Awaitable[str]]
_FOREVER = (-(1 << 62), 1 << 62)


@dataclass(slots=True)
class Compiled:
    """One query of one type.

    match: postings. spans: date ranges of ordered tables every match overlaps. updated: bounds (ms) on the instant.
    patient: fh of the one Patient it is about, 0 = a population; person_word: the posting that says so.
    """

    all: list[tuple[int, ...]] = field(default_factory=list)
    none: list[int] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    tests: list[Callable[[Keys], bool]] = field(default_factory=list)
    instants: list[Callable[[int], bool]] = field(default_factory=list)
    verifies: list[Callable[[dict[str, Any]], bool]] = field(default_factory=list)
    updated: tuple[int, int] = _FOREVER
    patient: int = 0
    person_words: tuple[int, ...] = ()
    granted: tuple[int, ...] = ()

    @property
    def match(self) -> Match:
        """All postings, to look up or to test."""
        return Match(tuple(self.all), tuple(self.none))

    def fitting(self, rows: list[Row]) -> list[Row]:
        """The rows that `fits` agrees to."""
        return [row for row in rows if self.fits(row)] if self.tests or self.instants else rows

    def fits(self, row: Row) -> bool:
        """True when the row's own keys and instant agree; its postings were matched by the engine."""
        if self.instants and not all(test(row.at) for test in self.instants):
            return False
        if not self.tests:
            return True
        found = unpack_keys(row.keys)
        keys = Keys(self.granted, found.refs, found.dates, found.numbers, found.texts)
        return all(test(keys) for test in self.tests)


async def compiled(query: Query, follow: Follow) -> Compiled:
    """`follow`: fh of a Patient → id of the one who reads in its place, "" for itself (design-store §8)."""
    out = Compiled()
    for one in query.filters:
        await _add(out, query.type, one, follow)
    # A row the engine found by its postings carries them; the tests of token filters need not read them again.
    out.granted = tuple(word for group in out.all for word in group)
    return out


async def _add(out: Compiled, type_: str, one: Filter, follow: Follow) -> None:
    if one.kind == "reference" and one.modifier in ("", "Patient"):
        one = replace(one, values=tuple([await _surviving(one, value, follow) for value in one.values]))
    if one.modifier == "not":
        plain = compile_filter(type_, replace(one, modifier=""))
        out.none += plain.postings or ()
        return
    made = compile_filter(type_, one)
    if made.postings is not None:
        out.all.append(made.postings)
    _tests(out, made, one)
    patient = _patient(one)
    if patient and not out.patient and made.postings:
        out.patient, out.person_words = fh_of("Patient", patient), made.postings
    if one.code == "_lastUpdated" and len(one.values) == 1 and not one.modifier:
        low, high = _bounds(one.values[0])
        out.updated = (max(out.updated[0], low), min(out.updated[1], high))


def _tests(out: Compiled, made: CompiledFilter, one: Filter) -> None:
    if made.updated is not None:
        out.instants.append(made.updated)
    elif made.postings is None or one.kind == "string":
        out.tests.append(made.test)
    if made.verify is not None:
        out.verifies.append(made.verify)
    if made.ordered is not None:
        number, low, high = made.ordered
        out.spans.append(Span("date", number, low, high))


async def _surviving(one: Filter, value: str, follow: Follow) -> str:
    id_ = _patient(replace(one, values=(value,)))
    survivor = await follow(fh_of("Patient", id_)) if id_ else ""
    return f"Patient/{survivor}" if survivor else value


def _patient(one: Filter) -> str:
    """The id of the Patient a reference filter names, "" for any other filter."""
    if one.kind != "reference" or len(one.values) != 1 or one.modifier not in ("", "Patient"):
        return ""
    value = one.values[0]
    if value.startswith("Patient/"):
        return value.removeprefix("Patient/").split("/")[0]
    named = one.modifier == "Patient" or one.code == "patient"
    return value if named and "/" not in value and ":" not in value else ""


def _bounds(value: str) -> tuple[int, int]:
    """Instants outside which no row can match a `_lastUpdated` value already found well formed."""
    prefix, text = (value[:2], value[2:]) if value[:2].isalpha() else ("eq", value)
    low, high = date_range(text.replace(" ", "+"))
    if prefix in ("ge", "gt", "sa"):
        return low, _FOREVER[1]
    if prefix in ("le", "lt", "eb"):
        return _FOREVER[0], high
    return (low, high) if prefix == "eq" else _FOREVER
