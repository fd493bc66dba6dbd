"""Reads by id of one event-loop turn share one question to the server: a round trip costs more than a row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_AT_ONCE = 4
"""Questions under way; what is asked meanwhile waits and goes together."""
_MOST = 500


class SharedReads(Generic[K, V]):
    """`ask` in fewer questions; callers of one question have the same `how` (a caller's sight)."""

    def __init__(self, ask: Callable[[Sequence[int], K], Awaitable[dict[int, V]]]) -> None:
        self._ask = ask
        self._waiting: dict[K, list[tuple[Sequence[int], asyncio.Future[dict[int, V]]]]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._soon = False

    async def get(self, fhs: Sequence[int], how: K) -> dict[int, V]:
        """Rows by fh, as `ask` gives them."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[dict[int, V]] = loop.create_future()
        self._waiting.setdefault(how, []).append((fhs, told))
        if not self._soon:
            self._soon = True
            loop.call_soon(self._begin)
        return await told

    def _begin(self) -> None:
        self._soon = False
        while self._waiting and len(self._running) < _AT_ONCE:
            how = next(iter(self._waiting))
            asked = self._waiting.pop(how)
            if len(asked) > _MOST:
                self._waiting[how], asked = asked[_MOST:], asked[:_MOST]
            task = asyncio.create_task(self._one(asked, how))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._begin()

    async def _one(self, asked: list[tuple[Sequence[int], asyncio.Future[dict[int, V]]]], how: K) -> None:
        try:
            rows = await self._ask(list({fh for fhs, _ in asked for fh in fhs}), how)
        except Exception as fault:  # told to everybody who waits
            for _, told in asked:
                if not told.done():
                    told.set_exception(fault)
            return
        for fhs, told in asked:
            if not told.done():
                told.set_result({fh: rows[fh] for fh in fhs if fh in rows})
