"""Chains and `_has`: what the conditions on one resource say about another that points to it, or that it points to.

The far side is asked first. When few resources answer, the near side is looked up by them; when many do, each row of
the near side is checked as it is met, so that a page costs what a page costs. Every step sees what the caller sees.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from ..errors import TooCostly
from ..model.query import Chain, Condition, Filter, Has
from .base import param_number
from .compiled import Check, Compiled, Targets, compiled
from .engine import SEQ_BITS, Match, Reads, Row, Sight
from .index import params
from .index_filter import unescaped
from .index_shared import pointing, posted_as
from .index_text import normal, sortable
from .judge import Judge
from .packing import unpack_keys
from .terms import Terms

FEW = 200
"""Resources at the end of a chain that are looked up by their postings."""
HOMES = 16
"""Patients at the end of a chain whose homes are looked at one by one."""
SOME, MANY = 1_000, 20_000
"""Resources that may point back, for `_has`: looked up ahead, and looked up when a page does not fill."""
CHART = 200
"""Rows of a Patient's home looked at for one that points to them."""
PATIENCE = 250
"""Rows asked for one by one before that."""
TO_ONE = 20_000
"""Resources that may point to one, where each is checked; of more, the newest `FEW`."""
_TOP = 1 << 62
Gather = Callable[[str, Compiled, Sight, int], Awaitable[list[Row] | None]]
"""All rows of a type that match and fit; None when there are more than so many to look at."""
Follow = Callable[[int], Awaitable[str]]


class StoreLinks:
    """Implements `compiled.Links` on an engine."""

    def __init__(self, engine: Reads, judge: Judge, gather: Gather, follow: Follow, terms: Terms) -> None:
        self._engine, self._judge, self._gather, self._follow, self._terms = engine, judge, gather, follow, terms

    async def follow(self, fh: int) -> str:
        """The surviving Patient."""
        return await self._follow(fh)

    async def expanded(self, type_: str, one: Filter) -> Filter:
        """`:in`, `:not-in`, `:above`, `:below` as codes."""
        return await self._terms.expanded(type_, one)

    async def worded(self, type_: str, one: Filter) -> tuple[int, ...] | None:
        """By the words of codes that are stored."""
        param = params(type_).get(one.code)
        starts = [sortable(normal(unescaped(value))) for value in one.values]
        if param is None or not param.routes or not all(starts):
            return None
        out: dict[int, None] = {}
        for start, posted in itertools.product(starts, posted_as(param)):
            found = await self._engine.wordings(type_, posted.number, start, FEW)
            if found is None:
                return None
            out |= dict.fromkeys(found)
        return tuple(out) if len(out) <= FEW else None

    # ---- forward -----------------------------------------------------------------------------
    async def chain(self, type_: str, one: Chain, sight: Sight) -> Targets | Check:
        """Postings of the few targets, or a check of each row's targets."""
        everywhere = replace(sight, retired=True)
        ways = [(target, await self._far(target, inner, everywhere)) for target, inner in one.ways]
        words: dict[int, None] = {}
        homes: dict[int, int] = {}
        for target, what in ways:
            rows = await self._all(target, what, everywhere, FEW)
            if rows is None:
                return self._pointing(one.code, dict(ways), everywhere)
            words |= {word: None for row in rows for word in pointing(params(type_)[one.code], row.type, row.id)}
            homes |= {row.fh: row.rid >> SEQ_BITS for row in rows if row.type == "Patient"}
        return Targets(tuple(words), tuple(homes.items()) if len(words) == len(homes) <= HOMES else ())

    async def _far(self, type_: str, inner: Condition, sight: Sight) -> Compiled:
        return await compiled(type_, (inner,), self, sight)

    async def _all(self, type_: str, what: Compiled, sight: Sight, limit: int) -> list[Row] | None:
        if what.impossible:
            return []
        rows = await self._gather(type_, what, sight, limit)
        return None if rows is None else await self._judge.judged(what, rows, sight, len(rows))

    def _pointing(self, code: str, ways: dict[str, Compiled], sight: Sight) -> Check:
        number = param_number(code)

        async def check(rows: list[Row]) -> list[Row]:
            targets = {row.rid: [fh for n, fh in unpack_keys(row.keys).refs if n == number] for row in rows}
            fhs = list(dict.fromkeys(fh for found in targets.values() for fh in found))
            met = list((await self._engine.current(fhs, sight)).values()) if fhs else []
            good: set[int] = set()
            for type_, what in ways.items():
                mine = [row for row in met if row.type == type_]
                if mine and not what.impossible:
                    good |= {row.fh for row in await self._judge.among(what, mine, sight, len(mine))}
            return [row for row in rows if not good.isdisjoint(targets[row.rid])]

        return check

    # ---- back --------------------------------------------------------------------------------
    async def has(self, type_: str, one: Has, sight: Sight) -> frozenset[int] | Check:
        """Who is pointed to by the matches of the far side, or a check that somebody points to each row."""
        everywhere = replace(sight, retired=True)
        what = await self._far(one.type, one.condition, everywhere)
        found = await self._pointed_to(one, what, everywhere, min(MANY, SOME))
        return self._pointed(one, what, everywhere) if found is None else found

    async def _pointed_to(self, one: Has, what: Compiled, sight: Sight, limit: int) -> frozenset[int] | None:
        """fhs of all that matches point to; None for more than so many matches."""
        rows = await self._all(one.type, what, sight, limit)
        number = param_number(one.code)
        if rows is None:
            return None
        return frozenset(fh for row in rows for n, fh in unpack_keys(row.keys).refs if n == number)

    def _pointed(self, one: Has, what: Compiled, sight: Sight) -> Check:
        """Each row is asked for by itself, for most pages are full soon; after `PATIENCE` of them all are gathered."""
        asked, enough = 0, 1 if what.matched else CHART
        all_of_them: frozenset[int] | None = None

        async def somebody(row: Row) -> bool:
            words = pointing(params(one.type)[one.code], row.type, row.id)
            if not words:
                return False
            match = Match((*what.match.all, words), what.match.none, what.match.bits)
            told = await of_theirs(row, match) if row.type == "Patient" else None
            if told is not None:
                return told
            rows = await self._engine.hits(match, sight, types=(one.type,), limit=TO_ONE)
            if rows is None:
                return await newest(match)
            return bool(await self._judge.judged(what, what.fitting(rows), sight, 1))

        async def of_theirs(row: Row, match: Match) -> bool | None:
            """By a Patient's home, then what lies elsewhere; None when that is too much to look at."""
            person = row.rid >> SEQ_BITS
            rows = await self._engine.home(
                person, sight, types=(one.type,), match=match, below=_TOP, limit=enough, bodies=False
            )
            if await self._judge.judged(what, what.fitting(rows), sight, 1):
                return True
            if len(rows) == enough:
                return None
            away = await self._engine.away([(row.fh, person)], sight, types=(one.type,), match=match)
            return bool(await self._judge.judged(what, what.fitting(away), sight, 1))

        async def newest(match: Match) -> bool:
            # one so often pointed to (a hospital) is mostly told by a few rows; no is said only when all were seen
            rows = await self._engine.newest(
                one.type, sight, match=match, between=(0, _TOP), after=None, limit=FEW, ascending=False
            )
            if not await self._judge.judged(what, what.fitting(rows), sight, 1):
                raise TooCostly("_has", f"more than {TO_ONE} resources point to one, the newest {FEW} do not match")
            return True

        async def check(rows: list[Row]) -> list[Row]:
            nonlocal asked, all_of_them
            if asked <= PATIENCE < asked + len(rows):
                all_of_them = await self._pointed_to(one, what, sight, MANY)
            asked += len(rows)
            if all_of_them is not None:
                return [row for row in rows if row.fh in all_of_them]
            return [row for row in rows if await somebody(row)]

        return check
