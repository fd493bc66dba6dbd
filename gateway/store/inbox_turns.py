"""Whose turn it is in a lane when several processes work on one inbox: all waiters of a process share one question."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from ..errors import GatewayError
from .postgres_sql import Bound

_EVERY_S = 0.05
"""From an answer to the next question: under load all who came meanwhile share it, and who comes alone asks at once."""
_REST = 4
"""Times as long as an answer took until the next question: with a thousand rows asking would be half of the work."""
_MOST = 5_000
_OTHERS = (
    "SELECT seq, lanes FROM message WHERE state = 0 AND seq < %s AND owner IS DISTINCT FROM %s ORDER BY seq LIMIT %s"
)
"""Earlier messages other workers hold, and those nobody has claimed yet."""


class Turns:
    """Lanes of the messages this worker holds, and who waits for the lanes of others."""

    def __init__(self, select: Callable[[str, Bound], Awaitable[list[Any]]]) -> None:
        self.me = 0
        self._select = select
        self._lanes: dict[int, list[int]] = {}
        self._waiters: dict[asyncio.Future[None], int] = {}
        self._work: asyncio.Task[None] | None = None
        self._again = 0.0  # on the loop's clock, when the next question may be put

    def said(self, lanes: Mapping[int, list[int]]) -> None:
        """Lanes of claimed messages, as hashes."""
        self._lanes.update(lanes)

    def forget(self, seqs: Iterable[int]) -> None:
        """They are settled."""
        for seq in seqs:
            self._lanes.pop(seq, None)

    async def wait(self, seq: int) -> None:
        """Returns when nothing earlier that somebody else holds shares a lane with this one."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[told] = seq
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._ask())
        try:
            await told
        finally:
            self._waiters.pop(told, None)

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiters:
            await asyncio.sleep(max(0.0, self._again - loop.time()))
            waiters, began = dict(self._waiters), loop.time()
            if not waiters:
                return
            top = max(waiters.values())
            try:
                others = await self._select(_OTHERS, (top, self.me, _MOST))
            except GatewayError:  # the server is away; so is everybody's work
                others = [(0, None)]
            self._tell(waiters, others)
            self._again = loop.time() + max(_EVERY_S, _REST * (loop.time() - began))

    def _tell(self, waiters: Mapping[asyncio.Future[None], int], others: list[Any]) -> None:
        barrier = others[-1][0] if len(others) == _MOST else 1 << 62
        first: dict[int, int] = {}  # lane -> the earliest message of others in it
        for seq, lanes in others:
            if lanes is None:
                barrier = min(barrier, seq)
                break
            for lane in lanes:
                first.setdefault(lane, seq)
        for told, seq in waiters.items():
            if not told.done() and self._free(seq, barrier, first):
                told.set_result(None)
                self._waiters.pop(told, None)

    def _free(self, seq: int, barrier: int, first: Mapping[int, int]) -> bool:
        return seq < barrier and all(first.get(lane, seq) >= seq for lane in self._lanes.get(seq, ()))

    def close(self) -> None:
        """Nobody waits any more."""
        if self._work is not None:
            self._work.cancel()
