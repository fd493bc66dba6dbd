"""Walks of the SQLite engine: along transactions, along dates by their first instant, texts by their letters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apsw

from .engine import Match, Placed, Sight, Span
from .sqlite_sql import LONG_MS, WITHOUT_BODY, Names, keys_of, match_sql, sight_sql


@dataclass(frozen=True, slots=True)
class Newest:
    """Rows of a type in order of (tx, rid), first ≤ tx ≤ last of `between`, from after a place on."""

    names: Names
    type: str
    sight: Sight
    match: Match
    between: tuple[int, int]
    after: tuple[int, int] | None
    limit: int
    ascending: bool

    def keys(self, db: apsw.Connection) -> list[int]:
        """Their keys: first what is left of the transaction at that place."""
        low, high = self.between
        if self.after is None:
            return self._keys(db, "row.from_tx BETWEEN ? AND ?", (low, high), self.limit)
        found = self._keys(
            db, f"row.from_tx = ? AND row.rid {'>' if self.ascending else '<'} ?", self.after, self.limit
        )
        tx = self.after[0]
        rest = (tx + 1, high) if self.ascending else (low, tx - 1)
        return found + self._keys(db, "row.from_tx BETWEEN ? AND ?", rest, self.limit - len(found))

    def _keys(self, db: apsw.Connection, path: str, at: tuple[int, int], limit: int) -> list[int]:
        where, values = sight_sql(self.sight, self.names)
        also, words = match_sql(self.match)
        way = "ASC" if self.ascending else "DESC"
        sql = (
            f"SELECT row.rid FROM row INDEXED BY row_tx WHERE row.typ = ? AND {path} AND {where}{also}"
            f" ORDER BY row.from_tx {way}, row.rid {way} LIMIT ?"
        )
        return keys_of(db, sql, (self.names.number.get(self.type, -1), *at, *values, *words, limit))


@dataclass(frozen=True, slots=True)
class OrderedWalk:
    """One stretch of rows in order of (value, rid), from after a place on, without bodies."""

    names: Names
    type: str
    sight: Sight
    span: Span
    match: Match
    after: tuple[int | str, int] | None
    limit: int
    descending: bool

    def read(self, db: apsw.Connection) -> list[Placed]:
        """Short and long date ranges stand apart in the table; they are merged here."""
        found = [placed for path in self._paths() for placed in self._stretch(db, *path)]
        found.sort(key=lambda placed: (placed.value, placed.row.rid), reverse=self.descending)
        return found[: self.limit]

    def _paths(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        typ = self.names.number.get(self.type, -1)
        if self.span.table == "text":
            yield "text_order AS o WHERE o.typ = ? AND o.param = ?", (typ, self.span.param)
            return
        low, high = self.span.low, self.span.high
        where = "date_order AS o WHERE o.typ = ? AND o.param = ? AND o.long = ? AND o.lo <= ? AND o.hi >= ?"
        yield where + " AND o.lo >= ?", (typ, self.span.param, 0, high, low, low - LONG_MS)
        yield where, (typ, self.span.param, 1, high, low)

    def _stretch(self, db: apsw.Connection, path: str, bound: tuple[Any, ...]) -> list[Placed]:
        column = "o.text" if self.span.table == "text" else "o.lo"
        way, beyond = ("DESC", "<") if self.descending else ("ASC", ">")
        if self.after is None:
            return self._select(db, column, path, bound, "", (), way, self.limit)
        value, rid = self.after
        same = f" AND {column} = ? AND o.rid {beyond} ?"
        found = self._select(db, column, path, bound, same, (value, rid), way, self.limit)
        left = self.limit - len(found)
        return found + self._select(db, column, path, bound, f" AND {column} {beyond} ?", (value,), way, left)

    def _select(
        self,
        db: apsw.Connection,
        column: str,
        path: str,
        bound: tuple[Any, ...],
        place: str,
        at: tuple[Any, ...],
        way: str,
        limit: int,
    ) -> list[Placed]:
        where, values = sight_sql(self.sight, self.names)
        also, words = match_sql(self.match)
        table, _, condition = path.partition(" WHERE ")
        sql = (
            f"SELECT {column}, {WITHOUT_BODY} FROM {table} CROSS JOIN row ON row.rid = o.rid WHERE {condition}{place}"
            f" AND {where}{also} ORDER BY {column} {way}, o.rid {way} LIMIT ?"
        )
        found = list(db.execute(sql, (*bound, *at, *values, *words, limit)))
        return list(map(Placed, [row[0] for row in found], self.names.rows([row[1:] for row in found])))
