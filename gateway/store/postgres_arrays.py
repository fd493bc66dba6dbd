"""Lists as PostgreSQL arrays in binary form: numbers as int8[], bytes as bytea[], text as text[].

A whole column of rows goes in one value. psycopg's own dumpers write an array as text, item by item, and take the
narrowest type the numbers allow, so that one statement becomes many.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import repeat
from typing import Any

from psycopg.adapt import Dumper, PyFormat
from psycopg.pq import Format

_HEAD = struct.Struct("!iiiii")
_LONG = struct.Struct("!iq").pack
_LENGTH = struct.Struct("!i").pack


class ArrayDumper(Dumper):
    """Registered for `list`; the kind of its first item decides, an empty one is int8[]."""

    format = Format.BINARY
    item_oid = 20

    def get_key(self, obj: list[Any], format: PyFormat) -> tuple[type, ...]:
        """Lists of each kind have a dumper of their own."""
        return self.cls, type(obj[0]) if obj else int

    def upgrade(self, obj: list[Any], format: PyFormat) -> Dumper:
        """That dumper."""
        return _KINDS[type(obj[0]) if obj else int](self.cls)

    def dump(self, obj: list[Any]) -> bytes:
        """The array in PostgreSQL's binary form."""
        if not obj:
            return _HEAD.pack(0, 0, self.item_oid, 0, 0)[:12]
        return _HEAD.pack(1, 0, self.item_oid, len(obj), 1) + self.items(obj)

    def items(self, obj: list[Any]) -> bytes:
        """Each item behind its length."""
        raise NotImplementedError


class _Longs(ArrayDumper):
    oid = 1016

    def items(self, obj: list[int]) -> bytes:
        return b"".join(map(_LONG, repeat(8), obj))


def longs(numbers: Sequence[int]) -> bytes:
    """Numbers as an int8[] in binary form."""
    if not numbers:
        return _HEAD.pack(0, 0, 20, 0, 0)[:12]
    return b"".join([_HEAD.pack(1, 0, 20, len(numbers), 1), *map(_LONG, repeat(8), numbers)])


class _Blobs(ArrayDumper):
    oid, item_oid = 1001, 17

    def items(self, obj: list[bytes]) -> bytes:
        return b"".join([part for one in obj for part in (_LENGTH(len(one)), one)])


class _Texts(_Blobs):
    oid, item_oid = 1009, 25

    def items(self, obj: list[Any]) -> bytes:
        return super().items([one.encode() for one in obj])


_KINDS: dict[type, type[ArrayDumper]] = {int: _Longs, bytes: _Blobs, str: _Texts}
