"""Keys of rows in the SQLite engine: a person's home from its end, what lies outside it, and what postings find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from .engine import SEQ_BITS, Match, Sight
from .sqlite_sql import SEQ_MASK, Names, fts, keys_of, match_sql, sight_sql, types_sql

_LAST_LETTER = "\U0010ffff"
_FEW = 4
"""Rows of each of several homes that are looked at first."""
_LONG_HOME, _WORDS = 800, 4
"""Rows of a home that are tested one by one sooner than words are looked up in the postings of everybody, and how many
words are looked up at most."""


def at_home(
    db: apsw.Connection,
    names: Names,
    person: int,
    sight: Sight,
    types: Sequence[str],
    match: Match,
    below: int,
    limit: int,
    columns: str,
) -> tuple[str, tuple[Any, ...]]:
    """Statement and values that give of the rows of a home below a key those that match, newest first."""
    first = person << SEQ_BITS
    top = min(below, first + SEQ_MASK + 1)
    source, key = "row WHERE", "row.rid"
    asked: tuple[str, ...] = ()
    if len(match.all) > 1 and len(match.all[0]) <= _WORDS and _last(db, top) - first > _LONG_HOME:
        # What is asked of the rows beside the person tells most; of those found by it the rest is tested.
        source, key = "post CROSS JOIN row ON row.rid = post.rowid WHERE post MATCH ? AND", "post.rowid"
        asked, match = (fts(Match(match.all[:1])),), Match(match.all[1:], match.none, match.bits)
    where, values = sight_sql(sight, names)
    also, words = match_sql(match)
    sql = (
        f"SELECT {columns} FROM {source} {key} >= ? AND {key} < ?{types_sql(types, names)}{also} AND {where}"
        f" ORDER BY {key} DESC LIMIT ?"
    )
    return sql, (*asked, first, top, *words, *values, limit)


def newest_of(
    db: apsw.Connection,
    names: Names,
    persons: Sequence[int],
    sight: Sight,
    types: Sequence[str],
    match: Match,
    below: tuple[int, int],
    limit: int,
) -> list[int]:
    """Of rows of several homes the newest before a place that match: few of each, then more where some may be newer."""
    size = limit if len(persons) == 1 else max(_FEW, 2 * limit // len(persons))
    found: list[tuple[int, int]] = []
    more = [(person, below) for person in persons]
    while more:
        further = []
        for person, place in more:
            some = _aged(db, names, person, sight, types, match, place, size)
            found += some
            if len(some) == size:
                further.append((person, some[-1]))
        found = sorted(found, reverse=True)[:limit]
        more = [one for one in further if len(found) < limit or one[1] > found[-1]]
    return [rid for _, rid in found]


def _aged(
    db: apsw.Connection,
    names: Names,
    person: int,
    sight: Sight,
    types: Sequence[str],
    match: Match,
    below: tuple[int, int],
    limit: int,
) -> list[tuple[int, int]]:
    """(tx, rid) of the newest rows of a home before a place that match."""
    where, values = sight_sql(sight, names)
    also, words = match_sql(match)
    sql = (
        "SELECT row.from_tx, row.rid FROM row WHERE row.rid BETWEEN ? AND ? AND (row.from_tx, row.rid) < (?, ?)"
        f" AND {where}{types_sql(types, names)}{also} ORDER BY row.rid DESC LIMIT ?"
    )
    first = person << SEQ_BITS
    return list(db.execute(sql, (first, first | SEQ_MASK, *below, *values, *words, limit)))


def _last(db: apsw.Connection, below: int) -> int:
    return next(iter(db.execute("SELECT max(rid) FROM row WHERE rid < ?", (below,))))[0] or 0


def posted(db: apsw.Connection, match: Match, limit: int) -> list[int]:
    """By postings; one more than `limit` when there are more."""
    return keys_of(db, "SELECT rowid AS rid FROM post WHERE post MATCH ? LIMIT ?", (fts(match), limit + 1))


def latest(
    db: apsw.Connection,
    names: Names,
    type_: str,
    sight: Sight,
    match: Match,
    below: tuple[int, int],
    first: int,
    limit: int,
) -> list[int] | None:
    """Of rows found by postings the newest before a place; None for more than `limit`. Bodies are not gone near."""
    where, values = sight_sql(sight, names)
    dense = "INDEXED BY row_patient " if type_ == "Patient" else ""
    sql = (
        "WITH hit AS MATERIALIZED (SELECT rowid AS rid FROM post WHERE post MATCH ? LIMIT ?)"
        " SELECT (SELECT count(*) FROM hit), (SELECT group_concat(rid) FROM ("
        f"SELECT row.rid FROM hit CROSS JOIN row {dense}ON row.rid = hit.rid"
        f" WHERE (SELECT count(*) FROM hit) <= ? AND row.typ = {names.number.get(type_, -1)}"
        f" AND (row.from_tx, row.rid) < (?, ?) AND {where}"
        " ORDER BY row.from_tx DESC, row.rid DESC LIMIT ?))"
    )
    met, found = next(iter(db.execute(sql, (fts(match), limit + 1, limit, *below, *values, first))))
    return None if met > limit else [int(key) for key in (found or "").split(",") if key]


def counted(db: apsw.Connection, names: Names, type_: str, sight: Sight, match: Match, between: tuple[int, int]) -> int:
    """How many rows match, by postings where there are some, else along the rows of the type."""
    where, values = sight_sql(sight, names)
    if match.all:
        source = "post CROSS JOIN row ON row.rid = post.rowid WHERE post MATCH ? AND row.from_tx BETWEEN ? AND ?"
        bound: tuple[Any, ...] = (fts(match), *between, *values)
    else:
        test, words = match_sql(match)
        where += test
        source = "row INDEXED BY row_tx WHERE row.typ = ? AND row.from_tx BETWEEN ? AND ?"
        bound = (names.number.get(type_, -1), *between, *values, *words)
    sql = f"SELECT count(*) FROM {source} AND {where}{types_sql((type_,), names)}"
    return int(next(iter(db.execute(sql, bound)))[0])


def away(db: apsw.Connection, fh: int, person: int) -> list[int]:
    """Of rows that refer to a Patient those outside a home."""
    return [row[0] for row in db.execute("SELECT rid FROM away WHERE fh = ?", (fh,)) if row[0] >> SEQ_BITS != person]


def worded(db: apsw.Connection, typ: int, param: int, start: str, limit: int) -> list[int] | None:
    """Postings of rows with a code in words beginning so; None for more than `limit`."""
    sql = "SELECT DISTINCT word FROM wording WHERE typ = ? AND param = ? AND text >= ? AND text < ? LIMIT ?"
    found = [row[0] for row in db.execute(sql, (typ, param, start, start + _LAST_LETTER, limit + 1))]
    return found if len(found) <= limit else None
