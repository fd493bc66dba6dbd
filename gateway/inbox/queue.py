"""The inbox as the doors and the worker see it: keep first, process later, nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from ..errors import InboxFull
from ..store.inbox_base import Arrival, Claimed, Entry, Kept, Messages, Settled
from ..store.inbox_sqlite import SqliteInbox

__all__ = ["Arrival", "Claimed", "Entry", "Inbox", "Kept", "Settled", "open_inbox"]


class Inbox:
    """Durable queue of raw messages. `arrived` is set when there may be work for this process."""

    def __init__(self, messages: Messages, *, waiting_limit: int = 20_000) -> None:
        self.messages = messages
        self.arrived = asyncio.Event()
        self._waiting_limit = waiting_limit

    async def keep(self, arrival: Arrival) -> Kept:
        """Keep the bytes; returns when they are on disk. Raises InboxFull before that under pressure."""
        if self.messages.waiting() > self._waiting_limit:
            raise InboxFull()
        kept = await self.messages.keep(arrival)
        self.arrived.set()
        return kept

    async def replay(self, keys: Iterable[str]) -> int:
        """Process messages again with today's mappings; returns how many."""
        count = await self.messages.reopen(keys)
        self.arrived.set()
        return count

    async def close(self) -> None:
        """Commit what is queued and close."""
        await self.messages.close()


async def open_inbox(home: Path, url: str = "") -> Inbox:
    """The inbox beside the store: a file in the home folder, or a schema of a `postgresql://…` database."""
    if not url.startswith("postgres"):
        return Inbox(SqliteInbox(home))
    from ..store.inbox_postgres import open_postgres_inbox  # psycopg comes with the extra `postgres`

    return Inbox(await open_postgres_inbox(url))
