"""Rows in hand: their bodies fetched, and what is left to decide about them decided."""

from __future__ import annotations

from collections.abc import Sequence

from .compiled import Compiled
from .engine import Match, Reads, Row, Sight
from .index_filter import Whole
from .job import Job
from .opened import Opened

AT_ONCE = 200
"""Rows judged together at most, unless a page is larger."""
_FIRST = 16


class Judge:
    """Decides about rows of one engine."""

    def __init__(self, engine: Reads, opened: Opened) -> None:
        self._engine, self._opened = engine, opened

    def opened(self, row: Row) -> Whole:
        """The resource of a row that has its body."""
        return Whole(row.type, self._opened.one(row).body)

    async def whole(self, rows: list[Row], sight: Sight) -> list[Row]:
        """The same rows with their bodies."""
        lacking = [row.rid for row in rows if not row.body]
        found = await self._engine.rows(lacking, sight) if lacking else {}
        return [row if row.body else found[row.rid] for row in rows if row.body or row.rid in found]

    async def wanted(self, job: Job, rows: list[Row]) -> list[Row]:
        """Of rows that matched and fit as many as the page still wants."""
        return await self.judged(job.what, rows, job.sight, job.wanted - len(job.rows))

    async def judged(self, what: Compiled, rows: list[Row], sight: Sight, limit: int) -> list[Row]:
        """Of rows that matched and fit, the first `limit` that also pass what asks other rows or the body itself."""
        if not what.late:
            return await self.whole(rows[:limit], sight)
        out: list[Row] = []
        at, step = 0, max(_FIRST, limit)
        while at < len(rows):
            part = rows[at : at + step]
            at, step = at + step, min(2 * step, max(AT_ONCE, limit)) if what.checks else min(step, AT_ONCE)
            for check in what.checks:
                part = await check(part)
            whole = await self.whole(part, sight)
            out += [row for row in whole if not what.verifies or self._verified(what, row)]
            if len(out) >= limit:
                return out[:limit]
        return out

    def _verified(self, what: Compiled, row: Row) -> bool:
        opened = self.opened(row)
        return all(verify(opened) for verify in what.verifies)

    async def among(self, what: Compiled, rows: Sequence[Row], sight: Sight, limit: int) -> list[Row]:
        """Of any rows of the right type those that match, fit and pass."""
        match: Match = what.match
        found = list((await self._engine.rows([r.rid for r in rows], sight, match)).values()) if match else list(rows)
        return await self.judged(what, what.fitting(found), sight, limit)
