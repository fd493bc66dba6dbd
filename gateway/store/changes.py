"""The store as a stream: what changed after a transaction, in the order it happened.

For subscriptions, incremental export and derived views. Nothing is skipped: rows are read up to the
horizon, below which nothing can still commit (design-store §5).
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from ..model.context import AccessContext
from .base import Resource
from .bodies import Codec, to_resource
from .engine import Engine
from .search import sight_of


@dataclass(frozen=True, slots=True)
class Changed:
    """Versions, deletions among them, in commit order; `next` is where to go on (a transaction number)."""

    resources: tuple[Resource, ...]
    next: int


class Changes:
    """Reads the stream; `told` is called by every commit of this process."""

    def __init__(self, engine: Engine, codec: Codec) -> None:
        self._engine, self._codec = engine, codec
        self._news = asyncio.Event()

    async def after(self, tx: int, who: AccessContext, *, limit: int = 1_000) -> Changed:
        """Versions committed after `tx` that the caller may see, whole transactions only.

        A transaction larger than `limit` is given whole all the same.
        """
        top, _ = await self._engine.moment()
        sight = sight_of(who, top, deleted=True)
        # A version replaced since is history, not news; the row that replaced it comes later in the same stream.
        rows = await self._engine.changes(tx, top, sight, limit + 1)
        if len(rows) > limit:
            cut = rows[-1].tx
            whole = [row for row in rows if row.tx < cut]
            rows, top = (whole, cut - 1) if whole else (await self._engine.changes(tx, cut, sight, 1 << 31), cut)
        return Changed(tuple(to_resource(row, self._codec) for row in rows), top)

    async def wait(self, tx: int, timeout_s: float) -> bool:
        """True as soon as something is committed after `tx`; False when the time is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while True:
            self._news.clear()  # before looking, so that a commit in between is not missed
            if (await self._engine.moment())[0] > tx:
                return True
            left = end - loop.time()
            if left <= 0:
                return False
            # A commit of another process, or one whose caller was cancelled, tells nobody: look again every second.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), min(left, 1.0))

    def told(self) -> None:
        """Something was committed."""
        self._news.set()
