"""Admission control for what changes something: how many writes may wait, and how many bytes of them.

A write counts from the last byte of its body to its answer, so that a slow sender holds no place; its bytes count
from their arrival. One caller holds at most half of the places. Reads pass beside it, and so do the other doors,
which have limits of their own: what writes may not take up stays free for them.
"""

from __future__ import annotations

from collections import Counter

from ..errors import Busy


class Pressure:
    """places: writes at work at once. max_bytes: of bodies received or being received."""

    def __init__(self, places: int = 256, max_bytes: int = 512 * 2**20) -> None:
        self._places, self._share, self._max_bytes = places, max(places // 2, 1), max_bytes
        self._by_caller: Counter[str] = Counter()
        self.at_work = self.bytes = 0

    def share(self, caller: str) -> Share:
        """One request's share, still empty."""
        return Share(self, caller)

    def take(self, caller: str) -> None:
        """A place at work. Raises Busy."""
        if self.at_work >= self._places:
            raise Busy(detail=f"> {self._places}")
        if self._by_caller[caller] >= self._share:
            raise Busy(detail=f"> {self._share} of one caller", detail_zh=f"同一调用方超过 {self._share} 个。")
        self.at_work += 1
        self._by_caller[caller] += 1

    def leave(self, caller: str) -> None:
        """The place is free again."""
        self.at_work -= 1
        self._by_caller[caller] -= 1
        if not self._by_caller[caller]:
            del self._by_caller[caller]

    def hold(self, size: int) -> None:
        """Bytes that have come. Raises Busy."""
        if self.bytes + size > self._max_bytes:
            raise Busy(detail=f"> {self._max_bytes} bytes")
        self.bytes += size


class Share:
    """What one request takes up; `release` gives all of it back."""

    __slots__ = ("_bytes", "_caller", "_pressure", "_works")

    def __init__(self, pressure: Pressure, caller: str) -> None:
        self._pressure, self._caller = pressure, caller
        self._bytes, self._works = 0, False

    def hold(self, size: int) -> None:
        """More of the body has come. Raises Busy."""
        self._pressure.hold(size)
        self._bytes += size

    def work(self) -> None:
        """The request is whole and wants to be worked on. Raises Busy."""
        self._pressure.take(self._caller)
        self._works = True

    def release(self) -> None:
        """The request is answered."""
        self._pressure.bytes -= self._bytes
        self._bytes = 0
        if self._works:
            self._works = False
            self._pressure.leave(self._caller)
