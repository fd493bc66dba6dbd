"""Whose turn it is within this process: in every lane the earliest message, one at a time.

Each waits for earlier messages, or for such as are at work, and for nothing else, here and between processes
(`Messages.turn`); so however many wait for each other, the earliest of all can go on.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Iterable


class Place:
    """Where a message stands. seq: its number in the order of arrival."""

    __slots__ = ("lanes", "seq", "told")

    def __init__(self, seq: int, lanes: frozenset[str]) -> None:
        self.seq, self.lanes = seq, lanes
        self.told: asyncio.Future[None] | None = None


class Lanes:
    """The messages this process holds that have not begun, and the lanes of those at work."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[tuple[int, int, Place]]] = {}  # heaps
        self._at_work: set[str] = set()
        self._barriers: set[int] = set()
        self._asleep: set[Place] = set()
        self._entered = itertools.count()

    def enter(self, seq: int, lanes: Iterable[str]) -> Place:
        """Stand in lanes, before whatever arrived later and has not begun."""
        place, number = Place(seq, frozenset(lanes)), next(self._entered)
        for lane in place.lanes:
            heapq.heappush(self._waiting.setdefault(lane, []), (seq, number, place))
        return place

    async def first(self, place: Place) -> None:
        """Returns when the message may begin; somebody earlier may come before it does."""
        while not self._may(place):
            place.told = asyncio.get_running_loop().create_future()
            self._asleep.add(place)
            try:
                await place.told
            finally:
                self._asleep.discard(place)

    def begin(self, place: Place) -> bool:
        """Take the lanes, unless somebody earlier has come."""
        if not self._may(place):
            return False
        for lane in place.lanes:
            heapq.heappop(self._waiting[lane])
            if not self._waiting[lane]:
                del self._waiting[lane]
        self._at_work |= place.lanes
        return True

    def leave(self, place: Place) -> None:
        """The work is done: the next in its lanes may begin."""
        self._at_work -= place.lanes
        heads = {self._waiting[lane][0][2] for lane in place.lanes if lane in self._waiting}
        self._tell(heads & self._asleep)

    def bar(self, seq: int) -> None:
        """Nothing later begins until `lift`: what this message is about is not known, or it must run alone."""
        self._barriers.add(seq)

    def lift(self, seq: int) -> None:
        """The message is done with."""
        self._barriers.discard(seq)
        self._tell(self._asleep)

    def _tell(self, places: Iterable[Place]) -> None:
        for place in places:
            if place.told is not None and not place.told.done() and self._may(place):
                place.told.set_result(None)

    def _may(self, place: Place) -> bool:
        return (
            place.seq <= min(self._barriers, default=place.seq)
            and self._at_work.isdisjoint(place.lanes)
            and all(self._waiting[lane][0][2] is place for lane in place.lanes)
        )
