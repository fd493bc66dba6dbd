"""How a search runs, for every engine: one person's rows, postings, or a walk, whichever is bounded.

    person      the query names one Patient, or leads to a few: their homes, newest first, and what lies elsewhere
    gathered    postings or a date range give at most GATHER rows: all are sorted, a page is cut out
    walked      more than that: along (type, transaction) or an ordered table, testing row by row

All pages of a search see the rows of one transaction number; a page goes on after the last row given.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from ..errors import TooCostly
from ..model.context import AccessContext
from ..model.query import Filter, Query
from ..model.times import Clock
from .base import NO_TILL, Page, param_number
from .bodies import instant_of, json_of
from .compiled import Compiled, compiled
from .cursor import Cursor, Cursors
from .engine import SEQ_BITS, Engine, Row, Sight, Span
from .includes import includes
from .index import ORDERED, sort_key
from .job import Job, between, in_time
from .judge import Judge
from .links import Follow, StoreLinks
from .opened import Opened
from .order import Order
from .packing import unpack_keys
from .pages import Kept
from .terms import Terms
from .totals import GATHER, Overtaken, Totals
from .zones import Windows

SORTED = 10_000
"""Rows that may be sorted by a value (design-store §11)."""
WALKED = 200_000
"""Rows a walk may look at for one page."""
ALONG_S = 3.0
"""How long what goes along with it is looked for, from the beginning of the page."""
NOW = NO_TILL - 1
"""As a moment: above every commit, so that only current rows are seen."""
_TOP = 1 << 62
_LAST = (-_TOP, -_TOP)
_NEWEST, _ORDER, _MISSING, _CUT = "n", "o", "m", "c"
_WALKS = (_ORDER, _MISSING)
_CHUNK = 200
_STEP = 2_000
_TRIES = 3
_REMEMBERED, _LATELY_S = 2_000, 60.0
"""How many questions are known to have many answers, and how long each."""
_EVERYTHING = Sight(NOW, None, None, -1, retired=False)


def sight_of(who: AccessContext, as_of: int, *, retired: bool = True, deleted: bool = False) -> Sight:
    """What a caller sees at a moment."""
    return Sight(as_of, who.types, who.members, who.labels, retired, deleted)


class Searcher:
    """Runs queries on an engine."""

    def __init__(self, engine: Engine, opened: Opened, clock: Clock, follow: Follow, page_life_s: int) -> None:
        self._engine, self._opened, self._clock = engine, opened, clock
        self._cursors = Cursors(engine.store_key, page_life_s)
        self._many: dict[Hashable, tuple[int, float]] = {}
        self._judge = Judge(engine, opened)
        self._order = Order(self._judge)
        self._totals = Totals(engine, self._judge, self._gathered, self._walk)
        self._links = StoreLinks(engine, self._judge, self._all_of, follow, Terms(self._canonical))

    async def run(self, query: Query, who: AccessContext) -> Page:
        """One page. Raises BadParameter, UnknownParameter, TooCostly, ExpiredPage."""
        for _ in range(_TRIES):
            try:
                return await self._run(query, who)
            except Overtaken:
                await asyncio.sleep(0)
        return await self._run(query, who, walking=True)

    async def _run(self, query: Query, who: AccessContext, *, walking: bool = False) -> Page:
        """walking: count along the rows rather than be overtaken by commits once more."""
        now, began = int(self._clock().timestamp() * 1000), time.monotonic()
        cursor = self._cursors.read(query, now) if query.cursor else None
        top, at = await self._engine.moment()
        pages, turn = self._engine.pages, self._engine.pages.turn
        as_of, at = (cursor.as_of, instant_of(cursor.at)) if cursor else (top, at)
        sight = sight_of(who, as_of, retired=query.retired)
        asked = [replace(query, type=type_) for type_ in query.types] or [query]
        jobs = [job for one in asked if (job := await self._job(one, sight, cursor))]
        lasting = _lasting(query, jobs, who)
        key = (query, who.types, who.members, who.labels)
        kept = pages.get(key, jobs[0].what) if lasting and pages.turn == turn else None
        if kept is not None:
            link = self._link(query, Cursor(as_of, int(at.timestamp() * 1000), now, kept.place))
            return Page(kept.matches, (), link, None, as_of, at)
        total = await self._totals.of(jobs, query, walking=walking) if cursor is None else None
        for job in jobs if query.count > 0 else ():
            await self._fill(job)
        rows, place = _merged(jobs, query)
        page = rows[: query.count]
        place = place if len(rows) > query.count and page else ()
        link = self._link(query, Cursor(as_of, int(at.timestamp() * 1000), cursor.born if cursor else now, place))
        late = began + ALONG_S
        included, cut = await includes(self._engine, query, page, sight, late) if query.includes else ([], False)
        matches, along = tuple(self._opened.all(page)), tuple(self._opened.all(included))
        if lasting and pages.turn == turn:
            pages.keep(key, Kept(jobs[0].what, matches, place, _marks(jobs[0])))
        return Page(matches, along, link, total, as_of, at, cut)

    def _link(self, query: Query, cursor: Cursor) -> str:
        return self._cursors.write(query, cursor) if cursor.place else ""

    async def _job(self, query: Query, sight: Sight, cursor: Cursor | None) -> Job | None:
        """None when nothing can match."""
        if sight.types is not None and query.type not in sight.types:
            return None
        if query.types and not await self._engine.size(query.type):
            return None
        what = await compiled(query.type, query.filters, self._links, sight, within=query.within)
        if what.impossible:
            return None
        person = await self._engine.person(what.patient) if what.patient and not query.types else None
        return Job(query, what, sight, cursor, person)

    async def _all_of(self, type_: str, what: Compiled, sight: Sight, limit: int) -> list[Row] | None:
        """For the far side of a chain: all rows that match and fit, not yet judged."""
        job = Job(Query(type_, count=limit), what, sight)
        job.person = await self._engine.person(what.patient) if what.patient else None
        return await self._gathered(job, limit)

    async def _canonical(self, type_: str, url: str) -> dict[str, Any] | None:
        """A stored ValueSet or CodeSystem: the one at `ValueSet/id`, or the newest of its url and version."""
        literal = url.removeprefix(f"{type_}/")
        filters = (Filter("url", "uri", (url,)) if literal == url else Filter("_id", "token", (literal,)),)
        what = await compiled(type_, filters, self._links, _EVERYTHING)
        job = Job(Query(type_, filters, count=1), what, _EVERYTHING)
        await self._fill(job)
        return json_of(self._opened.one(job.rows[0]).body) if job.rows else None

    async def _fill(self, job: Job) -> None:
        if job.person is not None and job.newest_first:
            await self._person_page(job)
            return
        if job.what.homes and job.newest_first and not job.query.types:
            await self._homes_page(job)
            return
        way = job.cursor.place[0] if job.cursor else ""
        walking = way in _WALKS or (way == _NEWEST and not job.newest_first)
        gathered = None if walking else await self._gathered_soon(job, await self._worth(job, way))
        if gathered is not None and job.newest_first:
            await self._cut_newest(job, gathered)
        elif gathered is not None and (len(gathered) <= SORTED or way == _CUT):
            await self._cut(job, gathered)
        elif way == _CUT:
            raise TooCostly(job.query.type)
        else:
            await self._walked_page(job)

    async def _worth(self, job: Job, way: str) -> int:
        """How many rows to gather at most: where walking to a page of this size begins to cost less.

        Gathering takes about 2 µs a hit; walking 0.5 µs a row, and meets (size / hits) rows for each it wants.
        """
        if not job.newest_first:
            return GATHER if way != _CUT else 2 * GATHER  # others may have written since the first page
        size = await self._engine.size(job.query.type)
        return min(GATHER, max(200, int((0.25 * job.wanted * size) ** 0.5)))

    # ---- one person, a few persons -----------------------------------------------------------
    async def _person_page(self, job: Job) -> None:
        """Home and elsewhere, merged by age. Place: "p", (tx, rid) of the last row given, last home row given."""
        _, tx, rid, below = job.cursor.place if job.cursor else ("p", _TOP, _TOP, _TOP)

        async def home(size: int) -> list[Row]:
            nonlocal below
            rows = await self._home(job, below, size, bodies=True)
            below = rows[-1].rid if rows else below
            return rows

        await self._at_home(job, home, (tx, rid))
        self._place_person(job)

    async def _homes_page(self, job: Job) -> None:
        """Their homes and elsewhere, merged by age. Place as that of a walk."""
        place = (job.cursor.place[1], job.cursor.place[2]) if job.cursor else (_TOP, _TOP)
        persons, below = [person for _, person in job.what.homes], place

        async def homes(size: int) -> list[Row]:
            nonlocal below
            rows = await self._engine.homes(
                persons, job.sight, types=(job.query.type,), match=job.what.match, below=below, limit=size
            )
            below = (rows[-1].tx, rows[-1].rid) if rows else below
            return rows

        await self._at_home(job, homes, place)
        self._place_newest(job, _NEWEST)

    async def _at_home(self, job: Job, more: Callable[[int], Awaitable[list[Row]]], place: tuple[int, int]) -> None:
        """more: so many further rows of the homes, newest first."""
        away = [row for row in await self._elsewhere(job) if (row.tx, row.rid) < place and job.what.fits(row)]
        away.sort(key=lambda row: (row.tx, row.rid), reverse=True)
        while len(job.rows) < job.wanted:
            size = max(job.wanted - len(job.rows), 8)
            home = await more(size)
            fitting = job.what.fitting(home)
            floor = (home[-1].tx, home[-1].rid) if len(home) == size else _LAST
            near = [row for row in away if (row.tx, row.rid) > floor]
            away = away[len(near) :]
            merged = fitting
            if near:
                merged = sorted(fitting + near, key=lambda row: (row.tx, row.rid), reverse=True)
            job.rows += await self._judged(job, merged)
            if len(home) < size:
                break
            in_time(job)

    def _place_person(self, job: Job) -> None:
        given = job.rows[: job.query.count]
        if given:
            kept = job.cursor.place[3] if job.cursor else _TOP
            below = next((row.rid for row in reversed(given) if row.rid >> SEQ_BITS == job.person), kept)
            job.place = ("p", given[-1].tx, given[-1].rid, below)

    async def _home(self, job: Job, below: int, limit: int, *, bodies: bool) -> list[Row]:
        assert job.person is not None
        types = (job.query.type,)
        return await self._engine.home(
            job.person, job.sight, types=types, match=job.what.match, below=below, limit=limit, bodies=bodies
        )

    async def _elsewhere(self, job: Job) -> list[Row]:
        homes = job.what.homes if job.person is None else ((job.what.patient, job.person),)
        return await self._engine.away(homes, job.sight, types=(job.query.type,), match=job.what.match)

    async def _gathered_soon(self, job: Job, limit: int) -> list[Row] | None:
        """As `_gathered`; where there were more than half as many lately, none is looked at just to find that out.

        For a page of the newest none is tested yet: most need not be.
        """
        if not job.newest_first:
            return await self._gathered(job, limit)
        if job.what.among is not None:
            return await self._candidates(job, limit)
        key, now = (job.query.type, job.what.match, tuple(job.what.spans)), time.monotonic()
        many, until = self._many.get(key, (-1, now))
        if 2 * many >= limit and now < until:
            return None
        found = await self._candidates(job, limit)
        if found is None:
            if len(self._many) >= _REMEMBERED:
                self._many.clear()
            self._many[key] = limit, now + _LATELY_S
        return found

    # ---- gathered ----------------------------------------------------------------------------
    async def _gathered(self, job: Job, limit: int) -> list[Row] | None:
        """All rows that fit, not judged, in no order; None when there are more than `limit` to look at."""
        found = await self._candidates(job, limit)
        return None if found is None else job.what.fitting(found)

    async def _candidates(self, job: Job, limit: int) -> list[Row] | None:
        """The same, not tested."""
        types = (job.query.type,)
        if job.what.among is not None:
            return await self._among(job, limit)
        if job.person is not None:
            home = await self._home(job, _TOP, limit + 1, bodies=False)
            return None if len(home) > limit else home + await self._elsewhere(job)
        if job.what.all:
            return await self._engine.hits(job.what.match, job.sight, types=types, limit=limit)
        if self._span(job) is not None:
            return await self._in_span(job, limit)
        return await self._whole_type(job, limit)

    async def _among(self, job: Job, limit: int) -> list[Row] | None:
        """Rows of resources known by their fh."""
        fhs = list(job.what.among or ())
        if len(fhs) > limit:
            return None
        met = (await self._engine.current(fhs, job.sight)).values() if fhs else ()
        mine = [row for row in met if row.type == job.query.type]
        match = job.what.match
        return list((await self._engine.rows([row.rid for row in mine], job.sight, match)).values()) if match else mine

    async def _whole_type(self, job: Job, limit: int) -> list[Row] | None:
        """Every row of a small type that matches; None where walking an ordered table serves better."""
        walks = len(job.query.sort) == 1 and (job.query.type, job.query.sort[0][0]) in ORDERED
        if walks or await self._engine.size(job.query.type) > 2 * limit:
            return None
        rows = await self._engine.newest(
            job.query.type, job.sight, match=job.what.match, between=(0, _TOP), after=None, limit=limit + 1,
            ascending=False,
        )  # fmt: skip
        return None if len(rows) > limit else rows

    def _span(self, job: Job) -> Span | None:
        known = {param_number(code) for type_, code in ORDERED if type_ == job.query.type}
        return next((span for span in job.what.spans if span.param in known), None)

    async def _in_span(self, job: Job, limit: int) -> list[Row] | None:
        span = self._span(job)
        assert span is not None
        placed = await self._engine.ordered(
            job.query.type, job.sight, span, match=job.what.match, after=None, limit=limit + 1, descending=True
        )
        return None if len(placed) > limit else list({one.row.rid: one.row for one in placed}.values())

    async def _cut_newest(self, job: Job, rows: list[Row]) -> None:
        """The newest, going on after the last row given. Place as that of a walk, which may take over."""
        after = job.cursor.place[1:] if job.cursor else (_TOP, _TOP)
        ordered = [row for row in rows if (row.tx, row.rid) < tuple(after)]
        ordered.sort(key=lambda row: (row.tx, row.rid), reverse=True)
        await self._take(job, ordered, 0)
        self._place_newest(job, _NEWEST)

    async def _cut(self, job: Job, rows: list[Row]) -> None:
        """Sort all, go on after the last row given. Place: "c", rid."""
        ordered = await self._order.sorted(job.query, rows, job.sight)
        start = 0
        if job.cursor:
            last = job.cursor.place[1]
            start = next((n + 1 for n, row in enumerate(ordered) if row.rid == last), len(ordered))
        await self._take(job, ordered, start)
        given = job.rows[: job.query.count]
        job.place = (_CUT, given[-1].rid) if given else ()

    async def _take(self, job: Job, ordered: list[Row], start: int) -> None:
        while len(job.rows) < job.wanted and start < len(ordered):
            part = ordered[start : start + max(job.wanted - len(job.rows), _CHUNK if job.what.late else 8)]
            start += len(part)
            job.rows += await self._judged(job, job.what.fitting(part))
            in_time(job)

    def _place_newest(self, job: Job, way: str) -> None:
        given = job.rows[: job.query.count]
        if given:
            job.place = (way, given[-1].tx, given[-1].rid)

    async def _judged(self, job: Job, rows: list[Row]) -> list[Row]:
        """As many as the page still wants."""
        return await self._judge.judged(job.what, rows, job.sight, job.wanted - len(job.rows))

    # ---- walked ------------------------------------------------------------------------------
    async def _walked_page(self, job: Job) -> None:
        if job.newest_first or job.query.sort == (("_lastUpdated", False),):
            await self._newest_page(job, not job.newest_first)
        else:
            await self._ordered_page(job)

    async def _newest_page(
        self, job: Job, ascending: bool, but: Callable[[Row], bool] = lambda row: True, mark: str = _NEWEST
    ) -> None:
        """Along transactions. Place: "n", tx, rid."""
        place = job.cursor.place if job.cursor else ()
        after = (place[1], place[2]) if place and place[0] == mark else None
        # What the engine alone decides is asked for exactly, and whole.
        tested = mark == _MISSING or not job.what.matched
        steps = self._walk(job, 2 * job.wanted if tested else job.wanted, after, ascending=ascending, bodies=not tested)
        async with aclosing(steps):
            async for rows in steps:
                fitting = [row for row in rows if but(row) and job.what.fits(row)] if tested else rows
                job.rows += await self._judged(job, fitting)
                if len(job.rows) >= job.wanted:
                    break
        self._place_newest(job, mark)

    async def _walk(
        self,
        job: Job,
        size: int,
        after: tuple[int, int] | None = None,
        *,
        ascending: bool = False,
        bodies: bool = False,
    ) -> AsyncGenerator[list[Row]]:
        """Rows that match along transactions, `size` and then more a step; stretches without any are passed over."""
        seen, most = 0, _CHUNK if job.what.late else _STEP  # bodies looked at hold up everybody else
        for low, high in await self._windows(job, ascending):
            if after is not None and (high < after[0] if ascending else low > after[0]):
                continue
            inside = after if after is not None and low <= after[0] <= high else None
            while True:
                rows = await self._engine.newest(
                    job.query.type, job.sight, match=job.what.match, between=(low, high), after=inside,
                    limit=size, ascending=ascending, bodies=bodies,
                )  # fmt: skip
                yield rows
                seen = await self._bounded(job, seen + len(rows))
                if len(rows) < size:
                    break
                inside, size = (rows[-1].tx, rows[-1].rid), min(_next_step(job, seen, size), max(size, most))

    async def _windows(self, job: Job, ascending: bool) -> list[tuple[int, int]]:
        bounds, windows = await between(self._engine, job), Windows(job.what)
        if not windows.tell:
            return [bounds]
        found = windows.among(await self._engine.zones.of(job.query.type), bounds)
        return found if ascending else found[::-1]

    async def _ordered_page(self, job: Job) -> None:
        """Along an ordered table, then the rows that have no value there. Place: "o", value, rid, then "m", …"""
        code, descending = job.query.sort[0]
        by_keys = sort_key(job.query.type, code, descending)
        if len(job.query.sort) > 1 or (job.query.type, code) not in ORDERED or by_keys is None:
            raise TooCostly("_sort", f"more than {SORTED} resources to sort by {code}")
        span = self._table(job, code)
        place = job.cursor.place if job.cursor else ()
        after = (place[1], place[2]) if place and place[0] == _ORDER else None
        seen = 0
        while len(job.rows) < job.wanted and (not place or place[0] == _ORDER):
            placed = await self._engine.ordered(
                job.query.type, job.sight, span, match=job.what.match, after=after,
                limit=_CHUNK + job.wanted, descending=descending,
            )  # fmt: skip
            # A row stands once for each of its values; it is given at the one it sorts by.
            fitting = [p for p in placed if by_keys(unpack_keys(p.row.keys)) == (1, p.value) and job.what.fits(p.row)]
            job.rows += await self._judged(job, [p.row for p in fitting])
            if len(placed) < _CHUNK + job.wanted:
                break
            after = (placed[-1].value, placed[-1].row.rid)
            seen = await self._bounded(job, seen + len(placed))
        with_value = len(job.rows)
        self._place_ordered(job, by_keys, with_value)
        if len(job.rows) < job.wanted and not any(one.param == span.param for one in job.what.spans):
            await self._newest_page(job, False, lambda row: by_keys(unpack_keys(row.keys))[0] == 0, _MISSING)
            self._place_ordered(job, by_keys, with_value)

    def _place_ordered(self, job: Job, by_keys: Callable[[Any], tuple[int, Any]], with_value: int) -> None:
        given = job.rows[: job.query.count]
        if given and len(given) <= with_value:
            job.place = (_ORDER, by_keys(unpack_keys(given[-1].keys))[1], given[-1].rid)

    def _table(self, job: Job, code: str) -> Span:
        number = param_number(code)
        known = next((span for span in job.what.spans if span.param == number), None)
        return known or Span("text" if code == "name" else "date", number)

    async def _bounded(self, job: Job, seen: int) -> int:
        if seen > WALKED:
            raise TooCostly(job.query.type, f"more than {WALKED} resources to look at for one page")
        in_time(job)
        await asyncio.sleep(0)
        return seen


def _next_step(job: Job, seen: int, size: int) -> int:
    """How many rows are likely to fill the page: some more than those seen so far promise, or three times as many."""
    have = len(job.rows)
    return max(job.wanted, (job.wanted - have) * seen * 5 // (have * 4)) if have > 3 else 3 * size


def _lasting(query: Query, jobs: list[Job], who: AccessContext) -> bool:
    """Whether a page can only change by rows that carry its postings, and by its own (and not by source records)."""
    if len(jobs) != 1 or query.cursor or query.types or query.includes or query.total != "none" or not query.count:
        return False
    what = jobs[0].what
    told = query.type == "Patient" and who.members is not None
    return bool(what.all and not (what.checks or what.among or what.instants or told))


def _marks(job: Job) -> tuple[int, ...]:
    """Words one of which every match carries, and the resources on the page and next to it."""
    return (*(job.what.person_words or min(job.what.all, key=len)), *(row.fh for row in job.rows))


def _merged(jobs: list[Job], query: Query) -> tuple[list[Row], tuple[Any, ...]]:
    """Rows of all jobs in one order, and the place after the last one given."""
    if len(jobs) == 1 and not query.types:
        return jobs[0].rows, jobs[0].place
    rows = sorted((row for job in jobs for row in job.rows), key=lambda row: (row.tx, row.rid), reverse=True)
    last = rows[: query.count][-1:]
    return rows, (_NEWEST, last[0].tx, last[0].rid) if last else ()
