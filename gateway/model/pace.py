"""Long work in short slices, so that the event loop serves others meanwhile, and who is being answered goes first."""

from __future__ import annotations

import asyncio
import threading
import time
from contextvars import ContextVar

SLICE_S = 0.002
_FRESH_S = 0.1
"""How long somebody who asked goes first; a long answer is itself work among others."""
_CREDIT_S, _PIECE_S = 0.05, 0.005
"""How long work waits at a stretch at most; how much of the time since it last did counts as work."""
_LOOK_S = 0.001
"""How often work looks whether they are answered."""
_answering: ContextVar[float] = ContextVar("answering", default=0.0)
"""Until when the work at hand is itself a fresh answer, which waits for no other."""


class Askers(threading.local):
    """Those who wait for an answer of this loop. Work between two slices lets them go first, as long as it has worked.

    So a doctor beside ten thousand messages waits for what is begun, and ten thousand questions leave messages half
    the time.
    """

    def __init__(self) -> None:
        self._waiting, self._fresh_until, self._credit = 0, 0.0, 0.0

    def __enter__(self) -> None:
        """Inside, an answer is made."""
        self._waiting += 1
        self._fresh_until = time.perf_counter() + _FRESH_S
        _answering.set(self._fresh_until)

    def __exit__(self, *fault: object) -> None:
        self._waiting -= 1
        _answering.set(0.0)

    async def first(self, worked_s: float) -> None:
        """They are answered, or have been let go first long enough; others get their turn in any case."""
        self._credit = min(_CREDIT_S, self._credit + min(worked_s, _PIECE_S))
        began = now = time.perf_counter()
        fresh = now < _answering.get()
        while self._waiting and not fresh and now < self._fresh_until and now - began < self._credit:
            await asyncio.sleep(_LOOK_S)
            now = time.perf_counter()
        if now == began:
            await asyncio.sleep(0)
        self._credit -= min(self._credit, now - began)


askers = Askers()
"""Of whatever loop runs in this thread."""


class Pace:
    """`await pace()` between pieces of long work: others get their turn every few milliseconds."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def __call__(self) -> None:
        """Returns at once while the slice lasts."""
        worked_s = time.perf_counter() - self._since
        if worked_s > SLICE_S:
            await askers.first(worked_s)
            self._since = time.perf_counter()


class OneByOne:
    """`await turn()` before each of many pieces that may become possible at once, as when one commit answers them all.

    Together they use a slice of a turn of the loop; then each waits for a turn of its own, in the order they came.
    """

    def __init__(self) -> None:
        self._next, self._pace = asyncio.Lock(), Pace()

    async def __call__(self) -> None:
        """Returns at once while nobody waits and the slice lasts."""
        async with self._next:
            await self._pace()
