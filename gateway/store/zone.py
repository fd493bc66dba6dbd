"""A stretch of versions of one type summed up, so that a walk passes over it where nothing can match (`zones.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct

K = TypeVar("K")
V = TypeVar("V", int, float)
_GROUP = 16
"""Zones looked at as one first."""


class Stretch(NamedTuple):
    """What a zone is made from: a version's transaction, its keys, packed, and its words cut short."""

    tx: int
    keys: bytes
    words: bytes


class Zone(Struct, frozen=True, array_like=True, dict=True):
    """What versions of one type in transactions first … last have in common.

    present: bits of `Keys.present` that all have; some: that any has. shared: words all carry, cut short.
    dates: (param, first ms, last ms), numbers: (param, unit, least, greatest): how far any value reaches.
    rows: how many versions.
    """

    first: int
    last: int
    present: bytes
    some: bytes
    shared: tuple[bytes, ...]
    dates: tuple[tuple[int, int, int], ...]
    numbers: tuple[tuple[int, int, float, float], ...]
    rows: int = 4_096

    @cached_property
    def shared_by_all(self) -> frozenset[bytes]:
        """`shared` as a set."""
        return frozenset(self.shared)

    @cached_property
    def all_have(self) -> int:
        """`present` as a number."""
        return int.from_bytes(self.present, "little")

    @cached_property
    def some_have(self) -> int:
        """`some` as a number."""
        return int.from_bytes(self.some, "little")

    def dated(self, param: int, low: int, high: int) -> bool:
        """Whether a date may overlap this time."""
        return any(low <= last and first <= high for number, first, last in self.dates if number == param)

    def reached(self, param: int, unit: int, low: float, high: float) -> bool:
        """Whether a number may lie there."""
        return any(
            low <= most and least <= high
            for number, in_unit, least, most in self.numbers
            if number == param and in_unit == unit
        )


encode_zone = msgspec.msgpack.Encoder().encode
decode_zone = msgspec.msgpack.Decoder(Zone).decode


def united(zones: Sequence[Zone]) -> Zone:
    """One zone of several that follow one another; it says what they say of all of them."""
    shared = set(zones[0].shared).intersection(*[one.shared for one in zones[1:]])
    present, some = -1, 0
    for one in zones:
        present &= one.all_have
        some |= one.some_have
    dates = _reaches((param, low, high) for one in zones for param, low, high in one.dates)
    numbers = _reaches(((param, unit), low, high) for one in zones for param, unit, low, high in one.numbers)
    return Zone(
        zones[0].first, zones[-1].last, bits_of(max(present, 0)), bits_of(some), tuple(sorted(shared)),
        tuple((param, *reach) for param, reach in dates.items()),
        tuple((*key, *reach) for key, reach in numbers.items()),
        sum([one.rows for one in zones]),
    )  # fmt: skip


def _reaches(parts: Iterable[tuple[K, V, V]]) -> dict[K, tuple[V, V]]:
    """From where to where all parts of a key go."""
    out: dict[K, tuple[V, V]] = {}
    for key, low, high in parts:
        least, most = out.get(key, (low, high))
        out[key] = min(least, low), max(most, high)
    return out


def bits_of(number: int) -> bytes:
    """A number as bytes, the lowest first."""
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


class Group(NamedTuple):
    """Zones that follow one another, and what they say together."""

    whole: Zone
    parts: tuple[Zone, ...]


def grouped(zones: Sequence[Zone], before: Iterable[Group] = ()) -> list[Group]:
    """Zones in groups; those that were groups before are so again."""
    known = {(one.whole.first, len(one.parts), one.whole.last): one for one in before}
    out = []
    for at in range(0, len(zones), _GROUP):
        parts = tuple(zones[at : at + _GROUP])
        same = known.get((parts[0].first, len(parts), parts[-1].last))
        out.append(same or Group(united(parts), parts))
    return out
