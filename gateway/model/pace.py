"""Long work in short slices, so that the event loop serves others meanwhile."""

from __future__ import annotations

import asyncio
import time

SLICE_S = 0.002


class Pace:
    """`await pace()` between pieces of long work: others get their turn every few milliseconds."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def __call__(self) -> None:
        """Returns at once while the slice lasts."""
        if time.perf_counter() - self._since > SLICE_S:
            await asyncio.sleep(0)
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
