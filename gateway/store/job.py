"""One page of a search while it is made."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ..errors import TooCostly
from ..model.query import Query
from .compiled import Compiled
from .cursor import Cursor
from .engine import Reads, Row, Sight
from .opened import NOWHERE, Home

SECONDS = 4.8
"""How long a page may take, so that also a refusal is there within five."""
_TOP = 1 << 62


@dataclass(slots=True)
class Job:
    """A question of one type, what it was compiled to, and the rows found for its page so far."""

    query: Query
    what: Compiled
    sight: Sight
    cursor: Cursor | None = None
    person: int | None = None
    rows: list[Row] = field(default_factory=list)
    place: tuple[Any, ...] = ()
    until: float = field(default_factory=lambda: time.monotonic() + SECONDS)

    @property
    def wanted(self) -> int:
        """The rows of a page, and one that says whether there are more."""
        return self.query.count + 1

    @property
    def home(self) -> Home:
        """That of the one Patient it is about."""
        return NOWHERE if self.person is None else Home(self.person, self.what.subject)

    @property
    def newest_first(self) -> bool:
        """Whether rows are given in the order they were written, the last ones first."""
        return not self.query.sort or self.query.sort == (("_lastUpdated", True),)

    def place_newest(self, way: str) -> None:
        """The next page goes on after the last row given, in the order they were written."""
        given = self.rows[: self.query.count]
        if given:
            self.place = (way, given[-1].tx, given[-1].rid)


async def between(engine: Reads, job: Job) -> tuple[int, int]:
    """Transactions outside which no row matches."""
    low, high = job.what.updated
    first = await engine.first_tx(low) if low > -_TOP else 0
    return first, await engine.first_tx(high + 1) - 1 if high < _TOP else _TOP


def in_time(job: Job) -> None:
    """Raises TooCostly when the time of a page is over."""
    if time.monotonic() > job.until:
        raise TooCostly(job.query.type, f"more than {SECONDS:.0f} s")
