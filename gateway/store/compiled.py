"""A query made ready to run: what is looked up, what is tested on each row, whose record it is about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from ..model.query import Chain, Condition, Filter, Has
from .base import Keys, fh_of, hash64
from .engine import NOTHING, Match, Row, Sight, Span
from .index import CompiledFilter, compile_filter, forgets
from .index_dates import date_range
from .index_filter import Reach, Verify, always
from .packing import present_of, unpack_keys

Check = Callable[[list[Row]], Awaitable[list[Row]]]
"""The rows, of some in hand, that agree with what lies behind a chain or `_has`."""
Words = tuple[tuple[int, ...], ...]
_FOREVER = (-(1 << 62), 1 << 62)


class Targets(NamedTuple):
    """Postings any of which a match carries. homes: of a few Patients and nobody else, the fh and person of each."""

    words: tuple[int, ...]
    homes: tuple[tuple[int, int], ...]


class Links(Protocol):
    """Answers what one resource's conditions say about another."""

    async def follow(self, fh: int) -> str:
        """fh of a Patient → id of the one who reads in its place, "" for itself (design-store §8)."""

    async def expanded(self, type_: str, one: Filter) -> Filter:
        """A filter by value set or by hierarchy as the codes it means."""

    async def worded(self, type_: str, one: Filter) -> tuple[int, ...] | None:
        """Postings any of which a match of a `:text` filter carries; None where there are too many, or none to tell."""

    async def chain(self, type_: str, one: Chain, sight: Sight) -> Targets | Check:
        """What a match points to, or a check where that would be too much."""

    async def has(self, type_: str, one: Has, sight: Sight) -> frozenset[int] | Check:
        """fhs of all matches, or a check where they would be too many."""


@dataclass(slots=True)
class Compiled:
    """One query of one type.

    all, none: postings, a group a condition; match: the same, whole. spans: date ranges of ordered tables every match
    overlaps. reaches: of each group every match has a number in one. updated: bounds (ms) on the instant; exactly: they
    say all that `instants` say. among: fhs every match is one of. absent: bits of `Keys.present` that must be off
    (True) or on. patient: fh of the one Patient it is about, 0 = a population; subject: their id; person_words: the
    postings that say so. homes: of a few Patients one of whom every match refers to, the fh and person of each; () says
    nothing.
    """

    all: list[tuple[int, ...]] = field(default_factory=list)
    none: list[int] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    among: frozenset[int] | None = None
    absent: list[tuple[int, bool]] = field(default_factory=list)
    tests: list[Callable[[Keys], bool]] = field(default_factory=list)
    reaches: list[tuple[Reach, ...]] = field(default_factory=list)
    instants: list[Callable[[int], bool]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    verifies: list[Verify] = field(default_factory=list)
    updated: tuple[int, int] = _FOREVER
    exactly: bool = True
    patient: int = 0
    subject: str = ""
    person_words: tuple[int, ...] = ()
    homes: tuple[tuple[int, int], ...] = ()
    granted: tuple[int, ...] = ()
    match: Match = NOTHING

    def finished(self) -> Compiled:
        """Itself, when nothing more will be added."""
        # A row the engine found by its postings carries them; the tests of token filters need not read them again.
        self.granted = tuple(word for group in self.all for word in group)
        self.match = Match(tuple(self.all), tuple(self.none), tuple(self.absent))
        return self

    @property
    def impossible(self) -> bool:
        """True when nothing can match: no code in a value set, nobody at the end of a chain."""
        return not all(self.all) or self.among == frozenset()

    @property
    def counted(self) -> bool:
        """True when postings and the instant alone decide."""
        more = self.tests or self.checks or self.verifies or self.absent or self.among is not None
        return not more and (not self.instants or self.exactly)

    @property
    def matched(self) -> bool:
        """True when the match of a row says all."""
        return not (self.tests or self.instants or self.checks or self.verifies) and self.among is None

    @property
    def late(self) -> bool:
        """True when something is left to decide after `fits`."""
        return bool(self.checks or self.verifies)

    def fitting(self, rows: list[Row]) -> list[Row]:
        """The rows that `fits` agrees to."""
        tested = self.tests or self.absent or self.instants or self.among
        return [row for row in rows if self.fits(row)] if tested else rows

    def fits(self, row: Row) -> bool:
        """True when the row's own keys and instant agree; its postings were matched by the engine."""
        if self.among is not None and row.fh not in self.among:
            return False
        if self.instants and not all(test(row.at) for test in self.instants):
            return False
        if self.absent:
            present = present_of(row.keys)
            if any(off == bool(present & bit) for bit, off in self.absent):
                return False
        if not self.tests:
            return True
        found = unpack_keys(row.keys)
        keys = Keys(self.granted, found.refs, found.dates, found.numbers, found.texts, found.present)
        return all(test(keys) for test in self.tests)


async def compiled(
    type_: str, conditions: tuple[Condition, ...], links: Links, sight: Sight, *, within: str = ""
) -> Compiled:
    """All conditions (AND) on one type. within: `Patient/x`, the compartment a match lies in. Not to be changed."""
    plain = tuple([await _settled(type_, one, links) for one in conditions if isinstance(one, Filter)])
    inside = await _surviving(within, links) if within.startswith("Patient/") else within
    words = [await links.worded(type_, one) for one in plain if one.modifier == "text"]
    worded = tuple([one for one in words if one is not None])
    if len(plain) == len(conditions):
        return _ready(type_, plain, inside, worded)
    out = _plain(type_, plain, inside, worded)
    for one in conditions:
        if not isinstance(one, Filter):
            await _link(out, type_, one, links, sight)
    return out.finished()


async def _settled(type_: str, one: Filter, links: Links) -> Filter:
    """The filter as it stands today: sets as codes, merged Patients as those who read in their place."""
    if one.modifier in ("in", "not-in", "above", "below"):
        return await links.expanded(type_, one)
    if one.kind != "reference" or one.modifier not in ("", "Patient"):
        return one
    values = tuple([await _led(one, value, links) for value in one.values])
    return one if values == one.values else replace(one, values=values)


async def _led(one: Filter, value: str, links: Links) -> str:
    id_ = _named(one, value)
    led = await _surviving(f"Patient/{id_}", links) if id_ else ""
    return value if led == f"Patient/{id_}" or not id_ else led


async def _surviving(patient: str, links: Links) -> str:
    survivor = await links.follow(fh_of("Patient", patient.removeprefix("Patient/")))
    return f"Patient/{survivor}" if survivor else patient


def _plain(type_: str, filters: tuple[Filter, ...], within: str, worded: Words) -> Compiled:
    out = Compiled(all=list(worded))
    for one in filters:
        _add(out, type_, one)
    if within:
        _inside(out, within)
    if out.person_words in out.all:  # nearly all rows of a home carry them: the least telling of all
        out.all.remove(out.person_words)
        out.all.append(out.person_words)
    return out


@lru_cache(2048)
def _ready(type_: str, filters: tuple[Filter, ...], within: str, worded: Words) -> Compiled:
    """The same question comes again and again."""
    return _plain(type_, filters, within, worded).finished()


_filter = lru_cache(2048)(compile_filter)
forgets += [_ready.cache_clear, _filter.cache_clear]


def _inside(out: Compiled, within: str) -> None:
    type_, _, id_ = within.partition("/")
    words = (hash64("compartment", type_, id_),)
    out.all.append(words)
    if type_ == "Patient":
        out.patient, out.subject, out.person_words = fh_of(type_, id_), id_, words


async def _link(out: Compiled, type_: str, one: Chain | Has, links: Links, sight: Sight) -> None:
    found = await (links.chain(type_, one, sight) if isinstance(one, Chain) else links.has(type_, one, sight))
    if isinstance(found, Targets):
        out.all.append(found.words)
        out.homes = out.homes or found.homes
    elif isinstance(found, frozenset):
        out.among = found if out.among is None else out.among & found
    else:
        out.checks.append(found)


def _add(out: Compiled, type_: str, one: Filter) -> None:
    if one.modifier == "not":
        plain = _filter(type_, replace(one, modifier="")) if one.values else None
        out.none += plain.postings or () if plain else ()
        return
    if not one.values:
        out.all.append(())
        return
    made = _filter(type_, one)
    if made.postings is not None:
        out.all.append(made.postings)
    out.all += made.also
    _tests(out, made)
    patient = _named(one, one.values[0]) if len(one.values) == 1 else ""
    if patient and not out.patient and made.postings:
        out.patient, out.subject, out.person_words = fh_of("Patient", patient), patient, made.postings
    if one.code == "_lastUpdated" and not one.modifier:
        stretch = _bounds(one.values[0]) if len(one.values) == 1 else None
        low, high = stretch or _FOREVER
        out.updated = (max(out.updated[0], low), min(out.updated[1], high))
        out.exactly = out.exactly and stretch is not None


def _tests(out: Compiled, made: CompiledFilter) -> None:
    if made.updated is not None:
        out.instants.append(made.updated)
    elif made.absent is not None:
        out.absent.append(made.absent)
    elif not made.decided and made.test is not always and (made.verify is None or made.postings is None):
        out.tests.append(made.test)
    if made.verify is not None:
        out.verifies.append(made.verify)
    if made.reach:
        out.reaches.append(made.reach)
    if made.ordered is not None:
        number, low, high = made.ordered
        out.spans.append(Span("date", number, low, high))


def _named(one: Filter, value: str) -> str:
    """The id of the Patient a value of a reference filter names, "" for any other filter or value."""
    if one.kind != "reference" or one.modifier not in ("", "Patient"):
        return ""
    if value.startswith("Patient/"):
        return value.removeprefix("Patient/").split("/")[0]
    named = one.modifier == "Patient" or one.code == "patient"
    return value if named and "/" not in value and ":" not in value else ""


def _bounds(value: str) -> tuple[int, int] | None:
    """First and last instant that match a `_lastUpdated` value found well formed; None when they are no stretch."""
    prefix, text = (value[:2], value[2:]) if value[:2].isalpha() else ("eq", value)
    low, high = date_range(text.replace(" ", "+"))
    stretches = {
        "eq": (low, high), "ge": (low, _FOREVER[1]), "gt": (high + 1, _FOREVER[1]), "sa": (high + 1, _FOREVER[1]),
        "le": (_FOREVER[0], high), "lt": (_FOREVER[0], low - 1), "eb": (_FOREVER[0], low - 1),
    }  # fmt: skip
    return stretches.get(prefix)
