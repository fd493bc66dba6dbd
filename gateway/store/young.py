"""The versions younger than the last zone, summed up in memory as far as somebody looked.

A walk begins with them, so that they alone would keep a page on which nothing stands from ending at once. What came
since the last look is added; a moment nobody looked at costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from .zone import Stretch, Zone, bits_of, summed, united

MOST = 2_000
"""Versions summed up for one search; where there are more it walks."""
_FRESH_S = 60.0
"""How long it is believed: another process may index anew."""
Since = Callable[[str, int, int, int], Awaitable[list[Stretch] | None]]


class Young:
    """since: versions of a type born after one transaction and up to another; None for more than so many."""

    def __init__(self, since: Since) -> None:
        self._since = since
        self._known: dict[str, tuple[float, Zone]] = {}

    async def of(self, type_: str, after: int, upto: int) -> Zone | None:
        """All versions born after the last zone, at least up to a transaction; None where there are too many."""
        made, known = self._known.get(type_, (0.0, _nothing(after)))
        if known.first != after + 1 or time.monotonic() - made > _FRESH_S:
            made, known = time.monotonic(), _nothing(after)
        if known.last >= upto:
            return known
        rows = await self._since(type_, known.last, upto, MOST)
        if rows is None:
            return None
        fresh = [summed(known.last + 1, rows)] if rows else []
        whole = replace(united([known, *fresh] if known.rows else fresh or [known]), first=after + 1, last=upto)
        self._known[type_] = made, whole
        return whole

    def forget(self) -> None:
        """Versions were indexed anew."""
        self._known.clear()


def _nothing(after: int) -> Zone:
    return Zone(after + 1, after, bits_of(0), bits_of(0), (), (), (), 0)
