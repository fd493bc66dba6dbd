"""A walk along an ordered table of the PostgreSQL engine: dates by their first instant, texts by their bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .engine import Match, Placed, Sight, Span
from .postgres_sql import LONG_MS, WITHOUT_BODY, Bound, match_sql, number_of, sight_sql, split, table_of


@dataclass(frozen=True, slots=True)
class OrderedWalk:
    """One stretch of rows in order of (value, rid), from after a place on, without bodies."""

    type: str
    sight: Sight
    span: Span
    match: Match
    after: tuple[int | str, int] | None
    limit: int
    descending: bool

    def statements(self) -> Iterator[tuple[str, Bound]]:
        """Reads whose rows begin with the value; short and long date ranges stand apart in the table."""
        typ, param, low, high = number_of(self.type), self.span.param, self.span.low, self.span.high
        if self.span.table == "text":
            yield self._statement("text_order", "o.text", "o.typ = %s AND o.param = %s", (typ, param))
            return
        where = "o.typ = %s AND o.param = %s AND o.long = %s AND o.lo <= %s AND o.hi >= %s"
        yield self._statement(
            "date_order", "o.lo", where + " AND o.lo >= %s", (typ, param, 0, high, low, low - LONG_MS)
        )
        yield self._statement("date_order", "o.lo", where, (typ, param, 1, high, low))

    def _statement(self, table: str, column: str, path: str, bound: Bound) -> tuple[str, Bound]:
        seen, moments = sight_sql(self.sight)
        also, words = match_sql(self.match)
        way, beyond = (" DESC", "<") if self.descending else ("", ">")
        place, at = "", ()  # type: tuple[str, Bound]
        if self.after is not None:
            value, rid = self.after
            place = f" AND ({column}, o.person, o.seq) {beyond} (%s, %s, %s)"
            at = (value.encode() if isinstance(value, str) else value, *split(rid))
        sql = (
            f"SELECT {column}, {WITHOUT_BODY} FROM {table} o JOIN {table_of((self.type,))} r"
            " ON r.person = o.person AND r.seq = o.seq"
            f" WHERE {path}{place} AND {seen}{also} ORDER BY {column}{way}, o.person{way}, o.seq{way} LIMIT %s"
        )
        return sql, (*bound, *at, *moments, *words, self.limit)

    def merged(self, found: Iterable[Placed]) -> list[Placed]:
        """The rows of all statements in one order."""
        ordered = sorted(found, key=lambda placed: (placed.value, placed.row.rid), reverse=self.descending)
        return ordered[: self.limit]
