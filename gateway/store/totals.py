"""How many resources match: `_total` and `_summary=count`.

    tallied     nothing, or only a time, is asked for: what commits count along the way, less what lies outside the time
    counted     postings decide: the engine counts them, at a cost for each match
    looked at   anything else: each candidate, within the limits of a page

Source: FHIR R4 search.html §total. An estimate is the last one's share of the newest rows.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

from ..model.query import Query
from .engine import Match, Reads, Row
from .job import Job, between, in_time
from .judge import Judge

GATHER = 20_000
"""Rows that may be gathered and sorted by age; beyond, a search walks."""
_FEW, _STEP = 200, 2_000
"""Rows a step, where each is opened and where none is."""
_SAMPLE = 2_000
_TOP = 1 << 62
Gather = Callable[[Job, int], Awaitable[list[Row] | None]]
Walk = Callable[[Job, int], AsyncGenerator[list[Row]]]


class Overtaken(Exception):
    """Others committed since the moment the search is about: begin it again."""


class Totals:
    """gathered: all rows that fit, None for more than so many. walk: rows that match, so many a step."""

    def __init__(self, engine: Reads, judge: Judge, gathered: Gather, walk: Walk) -> None:
        self._engine, self._judge, self._gathered, self._walk = engine, judge, gathered, walk

    async def of(self, jobs: list[Job], query: Query, *, walking: bool) -> int | None:
        """None where none was asked for. walking: count along the rows rather than be overtaken once more.

        Raises TooCostly, Overtaken.
        """
        if query.total == "none":
            return None
        total = 0
        for job in jobs:
            if job.what.counted and not job.what.match:
                total += await self._tallied(job, walking)
            else:
                total += await (self._total(job) if query.total == "accurate" else self._estimate(job))
            in_time(job)
        return total

    async def _tallied(self, job: Job, walking: bool) -> int:
        """All there are but those outside a time; or those inside, where these must be fewer."""
        (low, high), as_of = await between(self._engine, job), job.sight.as_of
        most = 2 * (min(high, as_of) - low) >= as_of
        found = await self._engine.tally(job.query.type, job.sight) if most and not walking else None
        if found is None:
            return await self._counted(job, (low, high))
        total, tx = found
        if tx != as_of:
            raise Overtaken
        for first, last in ((0, low - 1), (high + 1, _TOP)):
            total -= await self._counted(job, (first, last)) if first <= min(last, as_of) else 0
        return total

    async def _counted(self, job: Job, stretch: tuple[int, int]) -> int:
        return await self._engine.count(job.query.type, job.sight, job.what.match, stretch)

    async def _total(self, job: Job) -> int:
        """The number of matches. Raises TooCostly when only looking at each of too many rows could tell."""
        rows = await self._gathered(job, GATHER)
        if rows is not None:
            return await self._good(job, rows)
        if job.what.counted:
            return await self._counted(job, await between(self._engine, job))
        total = 0
        async for rows in self._walk(job, _FEW if job.what.late else _STEP):
            total += await self._good(job, job.what.fitting(rows))
        return total

    async def _good(self, job: Job, rows: list[Row]) -> int:
        """How many of rows that fit also pass what is asked of other rows or the body."""
        return len(await self._judge.judged(job.what, rows, job.sight, len(rows))) if job.what.late else len(rows)

    async def _estimate(self, job: Job) -> int:
        """Exact where that is cheap; else as many of all rows as of the newest ones, or a bound where none is near."""
        rows = await self._gathered(job, _SAMPLE)
        if rows is not None:
            return await self._good(job, rows)
        newest = await self._engine.newest(
            job.query.type, job.sight, match=Match(), between=(0, _TOP), after=None, limit=_SAMPLE, ascending=False
        )
        fitting = await self._judge.among(job.what, newest, job.sight, len(newest))
        known = await self._engine.tally(job.query.type, job.sight)  # without older versions
        size = known[0] if known else await self._engine.size(job.query.type)
        return max(len(fitting), size * len(fitting) // max(len(newest), 1))
