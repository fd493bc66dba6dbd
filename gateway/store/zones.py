"""What long stretches of versions have in common, so that a walk passes over those where nothing can match.

A zone sums up some thousand versions of one type that follow one another: which words all of them carry, which
parameters all or any of them have a value for, and how far their dates and numbers reach. Versions closed since are
summed up too, so what it says holds for every moment; rows are never re-keyed, so it holds for good. Only other search
keys (a reindex) make it void. What is younger than the last zone is summed up in memory (`young.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence

from ..validate.definitions import resource_types
from .compiled import Compiled
from .engine import Engine
from .packing import short
from .zone import Group, Node, Zone, leaves, summed, united, whole_of

ROWS, MANY = 256, 4_096
"""Versions a zone sums up at least, so that few are left over; and what small ones are united to: fewer make more zones
to look at, more make fewer that can be passed over."""
_PART = 16
"""Zones of a stretch that are walked as one."""
_TURN = 40
"""Zones made before others are let in."""


class Windows:
    """Of one question: the stretches of transactions where it may have matches."""

    def __init__(self, what: Compiled) -> None:
        self._none = [short(word) for word in what.none]
        self._off = _mask(bit for bit, off in what.absent if off)
        self._on = [bit for bit, off in what.absent if not off]
        self._spans = [(span.param, span.low, span.high) for span in what.spans if span.table == "date"]
        self._reaches = what.reaches
        self.tell = bool(self._none or what.absent or self._spans or self._reaches)

    def newest_first(self, nodes: Sequence[Node], between: tuple[int, int]) -> Iterator[tuple[int, int]]:
        """Made as they are asked for: a page is mostly full before the second. None of them outside `between`.

        What no zone sums up may match. A long stretch comes in parts.
        """
        (low, top), met = between, 0
        for zone, may in self._looked_at(nodes, between):
            met = met + 1 if may else 0
            if met == _PART and low < zone.first <= top:
                yield zone.first, top
                top, met = zone.first - 1, 0
            elif not may:
                if zone.last < top:
                    yield zone.last + 1, top
                top = min(top, zone.first - 1)
        if low <= top:
            yield low, top

    def _looked_at(self, nodes: Sequence[Node], between: tuple[int, int]) -> Iterator[tuple[Zone, bool]]:
        """Zones, and groups nothing in which can match, from the newest; and whether anything in them may."""
        low, top = between
        for node in reversed(nodes):
            whole = whole_of(node)
            if whole.last < low:
                return
            may = whole.first <= top and self._may_match(whole)
            if may and isinstance(node, Group):
                yield from self._looked_at(node.parts, between)
            elif whole.first <= top:
                yield whole, may

    def _may_match(self, zone: Zone) -> bool:
        if not zone.rows or not zone.shared_by_all.isdisjoint(self._none) or zone.all_have & self._off:
            return False
        return (
            all(zone.some_have & bit for bit in self._on)
            and all(zone.dated(*span) for span in self._spans)
            and all(any(zone.reached(*one) for one in group) for group in self._reaches)
        )


def _mask(bits: Iterable[int]) -> int:
    mask = 0
    for bit in bits:
        mask |= bit
    return mask


async def survey(engine: Engine) -> int:
    """Sum up what is old enough and not summed up yet; how many zones were made, at most some."""
    made = 0
    for type_ in sorted(resource_types()):
        while made < _TURN and await engine.size(type_) >= ROWS:
            zones = list(leaves(await engine.zones.of(type_)))
            after = zones[-1].last if zones else -1
            rows = await engine.zones.stretch(type_, after, MANY) or await engine.zones.stretch(type_, after, ROWS)
            if not rows:
                break
            await engine.zones.keep(type_, _grown(zones, await asyncio.to_thread(summed, after + 1, rows)))
            made += 1
    return made


def _grown(zones: Sequence[Zone], new: Zone) -> Zone:
    """A new zone, or one of it and the small ones right before it, when together they are large enough."""
    together = [new]
    for zone in reversed(zones):
        if zone.rows >= MANY or sum([one.rows for one in together]) >= MANY:
            break
        together.insert(0, zone)
    return united(together) if sum([one.rows for one in together]) >= MANY and len(together) > 1 else new
