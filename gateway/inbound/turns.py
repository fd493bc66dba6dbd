"""Taking turns within this process: writers of the same thing one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from ..model.pace import Pace


class Turnstile:
    """Locks by name, taken in one order by everybody, gone when nobody holds or waits for them.

    The store alone decides who was first. Waiting here keeps the retries of a plan for what other processes do.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Inside, nobody else of this process is inside under any of the names."""
        wanted = sorted(set(names))
        async with AsyncExitStack() as held:
            pace = Pace()
            for name in wanted:
                lock = self._locks.get(name)
                if lock is None:
                    lock = self._locks[name] = asyncio.Lock()
                await held.enter_async_context(lock)
                await pace()
            yield
