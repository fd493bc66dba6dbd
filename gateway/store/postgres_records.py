"""Rows of a table as one value in PostgreSQL's binary form: an array of the table's own row type.

A whole group of rows goes in one parameter, and the server spreads it out again with `unnest`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg.adapt import Dumper
from psycopg.pq import Format

from .postgres_arrays import longs

TABLES = {
    "version": "qqqqqqqqiiiiiitwbb", "closed": "qqi", "dir": "qqii", "date_order": "iiqqqii", "text_order": "iiqib",
    "away": "qqi", "wording": "qiib",
    "ident": "qqq", "survivor": "qt", "size": "qqiiii", "fresh": "iq", "source_record": "qtbtbtt", "done": "tqb",
    "effect": "qqb", "record_stand": "qt",
    "criteria": "qqq", "answer": "qqqbbb",
}  # fmt: skip
"""The columns a commit writes, in the table's order: q int8, i int4, t text, b bytea, w int8[]."""
_OIDS = {"q": 20, "i": 23, "t": 25, "b": 17, "w": 1016}
_SIZES = {"q": 8, "i": 4}
_TWO = struct.Struct("!ii").pack
_ARRAY = struct.Struct("!iiiii").pack


class Packed(bytes):
    """A value in binary form already; the statement it stands in says its type."""


class PackedDumper(Dumper):
    """Registered for `Packed`."""

    format = Format.BINARY
    oid = 0

    def dump(self, obj: Packed) -> Packed:
        """Itself."""
        return obj


class RowType:
    """Encodes rows of one table. Numbers come first in its columns as far as one `struct` takes them."""

    def __init__(self, oid: int, columns: str) -> None:
        wide = len(columns) - len(columns.lstrip("qi"))
        self._oid, self._numbers = oid, wide
        self._rest = columns[wide:]
        self._frame: list[int] = [len(columns)]
        for kind in columns[:wide]:
            self._frame += (_OIDS[kind], _SIZES[kind], 0)
        self._pack = struct.Struct("!i" + "".join("ii" + kind for kind in columns[:wide])).pack

    def array(self, rows: Iterable[Sequence[Any]]) -> Packed:
        """All rows as one value."""
        encoded = [self._row(row) for row in rows]
        if not encoded:
            return Packed(_ARRAY(0, 0, self._oid, 0, 0)[:12])
        parts = [_ARRAY(1, 0, self._oid, len(encoded), 1)]
        for one in encoded:
            parts += (len(one).to_bytes(4, "big"), one)
        return Packed(b"".join(parts))

    def _row(self, row: Sequence[Any]) -> bytes:
        frame = self._frame.copy()
        frame[3::3] = row[: self._numbers]
        if not self._rest:
            return self._pack(*frame)
        parts = [self._pack(*frame)]
        for kind, value in zip(self._rest, row[self._numbers :], strict=True):
            data = _plain(kind, value)
            parts += (_TWO(_OIDS[kind], len(data)), data)
        return b"".join(parts)


def _plain(kind: str, value: Any) -> bytes:
    if kind == "b":
        return bytes(value)
    if kind == "t":
        return str(value).encode()
    return longs(value) if kind == "w" else int(value).to_bytes(_SIZES[kind], "big", signed=True)


def row_types(oids: Mapping[str, int]) -> dict[str, RowType]:
    """Encoders by table. oids: of the tables' row types."""
    return {table: RowType(oids[table], columns) for table, columns in TABLES.items()}
