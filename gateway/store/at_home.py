"""A page about one person or a few: the rows of their homes, newest first, and what refers to them from elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .engine import SEQ_BITS, Reads, Row
from .job import Job, in_time
from .judge import Judge

_TOP = 1 << 62
_LAST = (-_TOP, -_TOP)


class AtHome:
    """Pages of one engine."""

    def __init__(self, engine: Reads, judge: Judge) -> None:
        self._engine, self._judge = engine, judge

    async def person(self, job: Job) -> None:
        """Home and elsewhere, merged by age. Place: "p", (tx, rid) of the last row given, last home row given."""
        _, tx, rid, below = job.cursor.place if job.cursor else ("p", _TOP, _TOP, _TOP)

        async def home(size: int) -> list[Row]:
            nonlocal below
            rows = await self.rows(job, below, size, bodies=True)
            below = rows[-1].rid if rows else below
            return rows

        await self._at_home(job, home, (tx, rid))
        self._place_person(job)

    async def persons(self, job: Job) -> None:
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
        job.place_newest("n")

    async def _at_home(self, job: Job, more: Callable[[int], Awaitable[list[Row]]], place: tuple[int, int]) -> None:
        """more: so many further rows of the homes, newest first."""
        away = [row for row in await self.elsewhere(job) if (row.tx, row.rid) < place and job.what.fits(row)]
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
            job.rows += await self._judge.wanted(job, merged)
            if len(home) < size:
                break
            in_time(job)

    def _place_person(self, job: Job) -> None:
        given = job.rows[: job.query.count]
        if given:
            kept = job.cursor.place[3] if job.cursor else _TOP
            below = next((row.rid for row in reversed(given) if row.rid >> SEQ_BITS == job.person), kept)
            job.place = ("p", given[-1].tx, given[-1].rid, below)

    async def rows(self, job: Job, below: int, limit: int, *, bodies: bool) -> list[Row]:
        """Of the person's home the newest before a row key."""
        assert job.person is not None
        types = (job.query.type,)
        return await self._engine.home(
            job.person, job.sight, types=types, match=job.what.match, below=below, limit=limit, bodies=bodies
        )

    async def elsewhere(self, job: Job) -> list[Row]:
        """What refers to the person, or to each of a few, and lies outside their homes."""
        homes = job.what.homes if job.person is None else ((job.what.patient, job.person),)
        return await self._engine.away(homes, job.sight, types=(job.query.type,), match=job.what.match)
