"""How many HTTP requests were answered, how, and how fast: counted in passing, added up when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

_LEAST, _MOST = 7, 24
"""Bounds told are 2^7 µs (0.128 ms) to 2^24 µs (16.8 s), each twice the one before."""
_BITS = 64


@dataclass(slots=True)
class _Cell:
    """counts: by the number of binary digits of the microseconds an answer took."""

    counts: list[int] = field(default_factory=lambda: [0] * _BITS)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Timed:
    """Requests of one kind. status: `2xx`; `none` when no answer could begin. within: (bound in seconds, how many)."""

    door: str
    interaction: str
    status: str
    within: tuple[tuple[float, int], ...]
    count: int
    seconds: float


class RequestTimes:
    """Of one process, on its event loop. doors: first steps of paths that are told apart, all others are `other`."""

    __slots__ = ("_cells", "_doors")

    def __init__(self, doors: frozenset[str] = frozenset()) -> None:
        self._doors = doors
        self._cells: dict[tuple[str, str, int], _Cell] = {}

    def add(self, door: str, interaction: str, status: int, seconds: float) -> None:
        """One more request. The fewest steps there can be: it is on the way of every answer."""
        cell = self._cells.get((door, interaction, status // 100)) or self._cell(door, interaction, status // 100)
        cell.counts[int(seconds * 1e6).bit_length()] += 1
        cell.seconds += seconds

    def _cell(self, door: str, interaction: str, status: int) -> _Cell:
        known = door if door in self._doors else "other"
        return self._cells.setdefault((known, interaction, status), _Cell())

    def told(self) -> Iterator[Timed]:
        """Everything since the process began, in a steady order."""
        for (door, interaction, status), cell in sorted(self._cells.items()):
            within, so_far = [], sum(cell.counts[:_LEAST])
            for bits in range(_LEAST, _MOST + 1):
                so_far += cell.counts[bits]
                within.append((2**bits / 1e6, so_far))
            said = f"{status}xx" if status else "none"
            yield Timed(door, interaction, said, tuple(within), sum(cell.counts), cell.seconds)
