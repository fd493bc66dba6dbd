"""The inbox as the doors and the worker see it: keep first, process later, nothing lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from ..errors import InboxFull
from ..settings import Inbox as Rules
from ..store.inbox_base import Arrival, Claimed, Entry, Kept, Messages, Settled, newest
from ..store.inbox_sqlite import SqliteInbox

__all__ = ["Arrival", "Claimed", "Entry", "Inbox", "Kept", "Settled", "newest", "open_inbox"]


_LOOK_S = 1.0
"""How often the backlog is looked up at most."""
_REFUSALS_S, _REFUSAL_S = 1_000, 1.0
"""How many are refused a second, and how long one waits for its refusal at most."""


class Inbox:
    """Durable queue of raw messages. `arrived` is set when there may be work for this process."""

    def __init__(self, messages: Messages, rules: Rules | None = None, *, waiting_limit: int = 20_000) -> None:
        self._rules = rules or Rules()
        self._look_at = self._refuse_at = 0.0
        self._backlog: tuple[int, datetime | None] = (0, None)
        self.messages = messages
        self.arrived = asyncio.Event()
        self._waiting_limit = waiting_limit

    async def keep(self, arrival: Arrival) -> Kept:
        """Keep the bytes; returns when they are on disk. Raises InboxFull before that under pressure."""
        try:
            await self._refuse_more(arrival)
        except InboxFull:
            await self._slowly()
            raise
        kept = await self.messages.keep(arrival)
        self.arrived.set()
        return kept

    async def _slowly(self) -> None:
        """Until this refusal may leave: senders that come again at once would leave no time for what waits."""
        now = time.monotonic()
        self._refuse_at = max(now, self._refuse_at) + 1 / _REFUSALS_S
        await asyncio.sleep(min(self._refuse_at - now, _REFUSAL_S))

    async def _refuse_more(self, arrival: Arrival) -> None:
        """Raises InboxFull when too much waits, or for too long. Looked up so rarely that it takes 2 % of the time."""
        if self.messages.waiting() > self._waiting_limit:
            raise InboxFull()
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_S  # the others do not ask meanwhile
            self._backlog = await self.messages.backlog()
            self._look_at = time.monotonic() + max(_LOOK_S, 50 * (time.monotonic() - now))
        size, oldest = self._backlog
        if size > self._rules.waiting_mb * 2**20:
            raise InboxFull(
                detail=f"> {self._rules.waiting_mb} MB wait", detail_zh=f"待处理已超过 {self._rules.waiting_mb} MB。"
            )
        age_s = (arrival.at - oldest).total_seconds() if oldest else 0.0
        if 0 < self._rules.waiting_s < age_s:
            raise InboxFull(
                detail=f"the oldest message waits for {age_s:.0f} s", detail_zh=f"最早的一条已等待 {age_s:.0f} 秒。"
            )

    async def replay(self, keys: Iterable[str]) -> int:
        """Process messages again with today's mappings; returns how many."""
        count = await self.messages.reopen(keys)
        self.arrived.set()
        return count

    async def close(self) -> None:
        """Commit what is queued and close."""
        await self.messages.close()


async def open_inbox(home: Path, url: str = "", rules: Rules | None = None) -> Inbox:
    """The inbox beside the store: a file in the home folder, or a schema of a `postgresql://…` database."""
    if not url.startswith("postgres"):
        return Inbox(SqliteInbox(home), rules)
    from ..store.inbox_postgres import open_postgres_inbox  # psycopg comes with the extra `postgres`

    return Inbox(await open_postgres_inbox(url), rules)
