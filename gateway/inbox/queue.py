"""The inbox as the doors and the worker see it: keep first, process later, nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from ..errors import InboxFull
from ..model.message import RawMessage
from ..store.inbox_sqlite import Arrival, Entry, InboxFile, Kept, Settled

__all__ = ["Arrival", "Entry", "Inbox", "Kept", "Settled"]


class Inbox:
    """Durable queue of raw messages. One process, one inbox."""

    def __init__(self, directory: Path, *, waiting_limit: int = 20_000) -> None:
        self.file = InboxFile(directory)
        self.arrived = asyncio.Event()
        self._waiting_limit = waiting_limit
        self._rewound = False

    async def keep(self, arrival: Arrival) -> Kept:
        """Keep the bytes; returns when they are on disk. Raises InboxFull before that under pressure."""
        if self.file.waiting() > self._waiting_limit:
            raise InboxFull()
        kept = await self.file.keep(arrival)
        self.arrived.set()
        return kept

    async def replay(self, keys: Iterable[str]) -> int:
        """Process messages again with today's mappings; returns how many."""
        count = await self.file.reopen(keys)
        self._rewound = True
        self.arrived.set()
        return count

    def rewound(self) -> bool:
        """True once after a replay: the worker starts from the oldest open message again."""
        was, self._rewound = self._rewound, False
        return was

    def raw(self, key: str) -> RawMessage | None:
        """The message exactly as received."""
        return self.file.raw(key)

    def close(self) -> None:
        """Commit what is queued and close the file."""
        self.file.close()
