"""The whole record of a Patient or an Encounter: the resource itself, then what lies in its compartment, newest first.

A Patient's rows are one stretch of the table (their home) and what postings find elsewhere; an Encounter's are found by
postings alone. A page shows one transaction's moment and goes on after the last row given (design-store §5). With it go
those that its rows refer to and that lie in nobody's record; what lies in somebody's comes with that alone.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

from msgspec.structs import replace

from ..errors import TooCostly
from ..model.context import EVERY_LABEL, AccessContext
from ..validate.definitions import compartment, resource_types
from .base import Whole, WholePage, fh_of, hash64, param_number
from .bodies import instant_of
from .engine import NOTHING, RETIRED, SEQ_BITS, Match, Reads, Row, Sight
from .index import params
from .opened import NOWHERE, Home, Opened
from .packing import refs_of, unpack_keys
from .search import sight_of
from .totals import GATHER

_TOP = 1 << 62
_LAST = (-_TOP, -_TOP)
_LIFE = frozenset(param_number(code) for code in ("birthdate", "death-date"))
"""Dates that are no dates of care."""


class Records:
    """Pages of records."""

    def __init__(self, engine: Reads, opened: Opened) -> None:
        self._engine, self._opened = engine, opened

    async def page(self, asked: Whole, who: AccessContext) -> WholePage:
        """At most `asked.count` resources; `next` when there are more. Raises TooCostly."""
        top, at = await self._engine.moment()
        as_of, at = (asked.as_of, instant_of(asked.at)) if asked.as_of else (top, at)
        fh = fh_of(asked.type, asked.id)
        sight = sight_of(who, as_of)
        person = await self._engine.person(fh) if asked.type == "Patient" else None
        rows = [] if asked.below else await self._own(asked, fh, sight)
        rows += await self._rest(asked, person, fh, sight, asked.count + 1 - len(rows))
        shown = rows[: asked.count]
        place = _after(shown, asked, person, fh) if len(rows) > asked.count else None
        along = tuple(self._opened.all(await self._along(asked, shown, sight)))
        home = NOWHERE if person is None else Home(person, asked.id)
        return WholePage(tuple(self._opened.all(await self._filled(shown, sight), home)), along, place, as_of, at)

    async def withheld(self, asked: Whole, who: AccessContext) -> Counter[str]:
        """Of a Patient's record, by type, how much the caller would see but for the labels on it."""
        top, _ = await self._engine.moment()
        fh, sight = fh_of("Patient", asked.id), sight_of(replace(who, labels=EVERY_LABEL), top)
        person = await self._engine.person(fh)
        rows = await self._rest(asked, person, fh, sight, asked.count, bodies=False)
        return Counter(row.type for row in rows if row.acl & ~who.labels)

    async def _along(self, asked: Whole, rows: list[Row], sight: Sight) -> list[Row]:
        wanted = {fh: None for row in rows for number, fh in refs_of(row.keys) if number in _leading_out(row.type)}
        met = await self._engine.current(list(wanted), sight) if wanted else {}
        known = (row for row in met.values() if row.type in _nobodys() and _recent(asked, row))
        return [row for row in known if not asked.types or row.type in asked.types]

    async def _own(self, asked: Whole, fh: int, sight: Sight) -> list[Row]:
        row = (await self._engine.current((fh,), sight)).get(fh)
        fits = row is not None and _recent(asked, row) and (not asked.types or row.type in asked.types)
        return [row] if row is not None and fits else []

    async def _rest(
        self, asked: Whole, person: int | None, fh: int, sight: Sight, wanted: int, *, bodies: bool = True
    ) -> list[Row]:
        """Home and elsewhere, merged by age."""
        tx, rid, below = asked.below or (_TOP, _TOP, _TOP)
        away = [row for row in await self._away(asked, person, fh, sight) if (row.tx, row.rid) < (tx, rid)]
        if person is None:
            return away[:wanted]
        found: list[Row] = []
        while len(found) < wanted:
            size = max(wanted - len(found), 8)
            home = await self._engine.home(
                person, sight, types=tuple(asked.types), match=NOTHING, below=below, limit=size, bodies=bodies
            )
            floor = (home[-1].tx, home[-1].rid) if len(home) == size else _LAST
            near = [row for row in away if (row.tx, row.rid) > floor]
            away = away[len(near) :]
            fitting = [row for row in home if _fits(asked, row, fh)]
            found += sorted(fitting + near, key=_age, reverse=True) if near else fitting
            if len(home) < size:
                break
            below = home[-1].rid
        return found

    async def _away(self, asked: Whole, person: int | None, fh: int, sight: Sight) -> list[Row]:
        """Newest first, without bodies."""
        inside, types = Match(((hash64("compartment", asked.type, asked.id),),)), tuple(asked.types)
        found = (
            await self._engine.hits(inside, sight, types=types, limit=GATHER)
            if person is None
            else await self._engine.away([(fh, person)], sight, types=types, match=inside)
        )
        if found is None:
            raise TooCostly(f"{asked.type}/{asked.id}", f"more than {GATHER} resources")
        return sorted((row for row in found if _fits(asked, row, fh)), key=_age, reverse=True)

    async def _filled(self, rows: list[Row], sight: Sight) -> list[Row]:
        bare = [row.rid for row in rows if not row.body]
        whole = await self._engine.rows(bare, sight) if bare else {}
        return [whole.get(row.rid, row) for row in rows] if whole else rows


@cache
def _nobodys() -> frozenset[str]:
    """Types that lie in no Patient's record."""
    return resource_types() - {"Patient", *compartment("Patient")}


@cache
def _leading_out(type_: str) -> frozenset[int]:
    """Numbers of the parameters that may point to one of them."""
    references = (one for one in params(type_).values() if one.kind == "reference")
    return frozenset(one.number for one in references if not one.targets or not _nobodys().isdisjoint(one.targets))


def _age(row: Row) -> tuple[int, int]:
    return row.tx, row.rid


def _fits(asked: Whole, row: Row, fh: int) -> bool:
    # A superseded Patient lies in the record of its survivor by its link; it is not part of it.
    return row.fh != fh and not row.flags & RETIRED and _recent(asked, row) and _in_care(asked, row)


def _recent(asked: Whole, row: Row) -> bool:
    return asked.since is None or row.at >= asked.since


def _in_care(asked: Whole, row: Row) -> bool:
    """One of its dates of care touches the time asked for; what has none belongs to every time."""
    if asked.care is None:
        return True
    first, last = asked.care
    dates = [(low, high) for param, low, high in unpack_keys(row.keys).dates if param not in _LIFE]
    return not dates or any(low <= last and high >= first for low, high in dates)


def _after(shown: list[Row], asked: Whole, person: int | None, fh: int) -> tuple[int, int, int]:
    """(tx, rid) of the last row given, and below which row its home goes on; the resource itself has no place."""
    tx, rid, below = asked.below or (_TOP, _TOP, _TOP)
    for row in shown:
        if row.fh != fh:
            tx, rid = row.tx, row.rid
            below = rid if rid >> SEQ_BITS == person else below
    return tx, rid, below
