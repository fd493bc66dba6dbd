"""How a search runs, for every engine: one person's rows, postings, or a walk, whichever is bounded.

    person      the query names one Patient, or leads to a few: their homes, newest first, and what lies elsewhere
    gathered    postings or a date range give at most GATHER rows: all are sorted, a page is cut out
    walked      more than that: along (type, transaction) or an ordered table, testing row by row

All pages of a search see the rows of one transaction number; a page goes on after the last row given.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from ..errors import TooCostly
from ..model.context import AccessContext
from ..model.query import Filter, Query
from ..model.times import Clock
from .at_home import AtHome
from .base import NO_TILL, Page, param_number
from .bodies import instant_of, json_of
from .compiled import Compiled, compiled
from .cursor import Cursor, Cursors
from .engine import Reads, Row, Sight, Span
from .includes import includes
from .index import ORDERED, sort_key
from .job import Job, between, in_time
from .judge import Judge
from .lately import Lately
from .links import Follow, StoreLinks
from .opened import NOWHERE, Opened
from .order import Order
from .packing import unpack_keys
from .pages import Kept
from .terms import Terms
from .totals import GATHER, Overtaken, Totals
from .zone import whole_of
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
_NEWEST, _ORDER, _MISSING, _CUT = "n", "o", "m", "c"
_WALKS = (_ORDER, _MISSING)
_CHUNK = 200
_STEP = 2_000
_TRIES = 3
_EVERYTHING = Sight(NOW, None, None, -1, retired=False)


def sight_of(who: AccessContext, as_of: int, *, retired: bool = True, deleted: bool = False) -> Sight:
    """What a caller sees at a moment."""
    return Sight(as_of, who.types, who.members, who.labels, retired, deleted)


class Searcher:
    """Runs queries on an engine."""

    def __init__(self, engine: Reads, opened: Opened, clock: Clock, follow: Follow, page_life_s: int) -> None:
        self._engine, self._opened, self._clock = engine, opened, clock
        self._cursors = Cursors(engine.store_key, page_life_s)
        self._lately = Lately()
        self._judge = Judge(engine, opened)
        self._order = Order(self._judge)
        self._at_home = AtHome(engine, self._judge)
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
        home = jobs[0].home if jobs else NOWHERE
        matches, along = tuple(self._opened.all(page, home)), tuple(self._opened.all(included, home))
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
        key = None if what.among is not None else _question(job)
        if key and self._lately.many(key, limit):
            return None
        found = await self._gathered(job, limit)
        if key and found is None:
            self._lately.note(key, limit)
        return found

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
            await self._at_home.person(job)
            return
        if job.what.homes and job.newest_first and not job.query.types:
            await self._at_home.persons(job)
            return
        await (self._newest_first(job) if job.newest_first else self._sorted(job))

    async def _newest_first(self, job: Job) -> None:
        """Out of the few that postings or a date range give, or along a walk."""
        limit = await self._worth(job)
        key, among = _question(job), job.what.among is not None
        if among or not self._lately.many(key, limit):
            page = self._latest_page if job.what.all and not among else self._gathered_page
            if await page(job, limit):
                return
            if not among:
                self._lately.note(key, limit)
        await self._walked_page(job)

    async def _sorted(self, job: Job) -> None:
        """All gathered and sorted, or along an ordered table."""
        way = job.cursor.place[0] if job.cursor else ""
        cut = way == _CUT  # others may have written since the first page
        found = None if way and not cut else await self._gathered(job, 2 * GATHER if cut else GATHER)
        if found is not None and (cut or len(found) <= SORTED):
            await self._cut(job, found)
        elif cut:
            raise TooCostly(job.query.type)
        else:
            await self._walked_page(job)

    async def _worth(self, job: Job) -> int:
        """How many rows to gather at most: where walking to a page of this size begins to cost less.

        Gathering takes about 1 µs a hit; walking 1 µs a row, and meets (size / hits) rows for each it wants.
        """
        size = await self._engine.size(job.query.type)
        return min(GATHER, max(200, int((job.wanted * size) ** 0.5)))

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
            home = await self._at_home.rows(job, _TOP, limit + 1, bodies=False)
            return None if len(home) > limit else home + await self._at_home.elsewhere(job)
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

    async def _latest_page(self, job: Job, limit: int) -> bool:
        """The newest that postings find, more of them while the page needs more; False when they find too many."""
        below = (job.cursor.place[1], job.cursor.place[2]) if job.cursor else (_TOP, _TOP)
        size = job.wanted if job.what.matched else job.wanted + 8
        while True:
            rows = await self._engine.latest(
                job.query.type, job.sight, match=job.what.match, below=below, first=size, limit=limit
            )
            if rows is None:
                job.rows.clear()
                return False
            job.rows += await self._judge.wanted(job, job.what.fitting(rows))
            if len(rows) < size or len(job.rows) >= job.wanted:
                break
            below, size = (rows[-1].tx, rows[-1].rid), 4 * size
            in_time(job)
        job.place_newest(_NEWEST)
        return True

    async def _gathered_page(self, job: Job, limit: int) -> bool:
        """The newest of few; False when there are many."""
        rows = await self._candidates(job, limit)
        if rows is not None:
            await self._cut_newest(job, rows)
        return rows is not None

    async def _cut_newest(self, job: Job, rows: list[Row]) -> None:
        """The newest, going on after the last row given. Place as that of a walk, which may take over."""
        after = job.cursor.place[1:] if job.cursor else (_TOP, _TOP)
        ordered = [row for row in rows if (row.tx, row.rid) < tuple(after)]
        ordered.sort(key=lambda row: (row.tx, row.rid), reverse=True)
        await self._take(job, ordered, 0)
        job.place_newest(_NEWEST)

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
            job.rows += await self._judge.wanted(job, job.what.fitting(part))
            in_time(job)

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
        key, seen, fitted = (job.query.type, job.query.filters, job.query.within), 0, 0
        size = int(job.wanted / self._lately.share(key)) if tested else job.wanted
        steps = self._walk(job, size, after, ascending=ascending, bodies=not tested)
        async with aclosing(steps):
            async for rows in steps:
                fitting = [row for row in rows if but(row) and job.what.fits(row)] if tested else rows
                seen, fitted = seen + len(rows), fitted + len(fitting)
                job.rows += await self._judge.wanted(job, fitting)
                if len(job.rows) >= job.wanted:
                    break
        if tested and seen:
            self._lately.shared(key, fitted / seen)
        job.place_newest(mark)

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

    async def _windows(self, job: Job, ascending: bool) -> Iterable[tuple[int, int]]:
        (low, high), windows = await between(self._engine, job), Windows(job.what)
        bounds = low, min(high, job.sight.as_of)
        if not windows.tell:
            return [bounds]
        type_, zones = job.query.type, await self._engine.zones.of(job.query.type)
        last = whole_of(zones[-1]).last if zones else -1
        young = await self._engine.zones.young.of(type_, last, job.sight.as_of)
        found = windows.newest_first([*zones, *([young] if young is not None else ())], bounds)
        return list(found)[::-1] if ascending else found

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
            job.rows += await self._judge.wanted(job, [p.row for p in fitting])
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


def _question(job: Job) -> Hashable:
    """What decides how many rows there are to gather."""
    return job.query.type, job.what.match, tuple(job.what.spans), job.sight.members, job.sight.labels


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
