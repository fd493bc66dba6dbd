"""A stretch of versions of one type summed up, so that a walk passes over it where nothing can match (`zones.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from .packing import WORD, decode_keys

K = TypeVar("K")
V = TypeVar("V", int, float)
_GROUP = 16
"""Zones looked at as one first."""
_NOWHERE = (1 << 62, -(1 << 62))
"""From where to where nothing reaches."""


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

    @cached_property
    def times(self) -> dict[int, tuple[int, int]]:
        """`dates` by parameter."""
        return {param: (first, last) for param, first, last in self.dates}

    @cached_property
    def reaches(self) -> dict[tuple[int, int], tuple[float, float]]:
        """`numbers` by parameter and unit."""
        return {(param, unit): (least, most) for param, unit, least, most in self.numbers}

    def dated(self, param: int, low: int, high: int) -> bool:
        """Whether a date may overlap this time."""
        first, last = self.times.get(param, _NOWHERE)
        return low <= last and first <= high

    def reached(self, param: int, unit: int, low: float, high: float) -> bool:
        """Whether a number may lie there."""
        least, most = self.reaches.get((param, unit), _NOWHERE)
        return low <= most and least <= high


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
    """Zones, or groups of them, that follow one another, and what they say together."""

    whole: Zone
    parts: tuple[Node, ...]


Node: TypeAlias = "Zone | Group"


def whole_of(node: Node) -> Zone:
    """What all of it has in common."""
    return node.whole if isinstance(node, Group) else node


def grouped(zones: Sequence[Zone], before: Iterable[Node] = ()) -> list[Group]:
    """Zones in groups, and these in groups until few are left; those that were groups before are so again."""
    known = {_extent(one.parts): one for one in _groups(before)}
    level: Sequence[Node] = zones
    while True:
        some = [tuple(level[at : at + _GROUP]) for at in range(0, len(level), _GROUP)]
        level = found = [known.get(_extent(parts)) or Group(united([*map(whole_of, parts)]), parts) for parts in some]
        if len(found) <= _GROUP:
            return found


def _extent(parts: Sequence[Node]) -> tuple[int, int, int]:
    return whole_of(parts[0]).first, len(parts), whole_of(parts[-1]).last


def _groups(nodes: Iterable[Node]) -> Iterator[Group]:
    for node in nodes:
        if isinstance(node, Group):
            yield node
            yield from _groups(node.parts)


def leaves(nodes: Iterable[Node]) -> Iterator[Zone]:
    """The zones themselves, oldest first."""
    for node in nodes:
        if isinstance(node, Group):
            yield from leaves(node.parts)
        else:
            yield node


def summed(first: int, rows: Sequence[Stretch]) -> Zone:
    """The zone of rows in order of their transactions; its first transaction is `first`."""
    last, many = rows[-1].tx, len(rows)
    rows = [row for row in rows if row.words] or rows[-1:]  # a deletion carries nothing and is never found
    shared = [rows[0].words[at : at + WORD] for at in range(0, len(rows[0].words), WORD)]
    present, some = -1, 0
    dates: dict[int, tuple[int, int]] = {}
    numbers: dict[tuple[int, int], tuple[float, float]] = {}
    for row in rows:
        shared = [word for word in shared if word in row.words]
        keys = decode_keys(row.keys)
        present &= keys.present
        some |= keys.present
        for param, low, high in keys.dates:
            least, most = dates.get(param, (low, high))
            dates[param] = min(least, low), max(most, high)
        for param, unit, value in keys.numbers:
            down, up = numbers.get((param, unit), (value, value))
            numbers[param, unit] = min(down, value), max(up, value)
    return Zone(
        first, last, bits_of(max(present, 0)), bits_of(some), tuple(shared),
        tuple((param, *reach) for param, reach in dates.items()),
        tuple((*which, *reach) for which, reach in numbers.items()),
        many,
    )  # fmt: skip
