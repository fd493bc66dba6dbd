"""Keys of rows in the SQLite engine: a person's home from its end, and what postings find."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from .engine import SEQ_BITS, Match, Sight
from .sqlite_sql import SEQ_MASK, Names, fts, match_sql, sight_sql, types_sql

_LONG_HOME = 800
"""Rows of a home that are tested one by one sooner than two words are looked up in the postings of everybody."""


def at_home(
    db: apsw.Connection,
    names: Names,
    person: int,
    sight: Sight,
    types: Sequence[str],
    match: Match,
    below: int,
    limit: int,
) -> list[int]:
    """Of the rows of a home below a key those that match, newest first."""
    first = person << SEQ_BITS
    top = min(below, first + SEQ_MASK + 1)
    source, key = "row WHERE", "row.rid"
    asked: tuple[str, ...] = ()
    if len(match.all) > 1 and _last(db, top) - first > _LONG_HOME:
        source, key = "post CROSS JOIN row ON row.rid = post.rowid WHERE post MATCH ? AND", "post.rowid"
        asked, match = (fts(Match(match.all)),), Match((), match.none, match.bits)
    where, values = sight_sql(sight, names)
    also, words = match_sql(match)
    sql = (
        f"SELECT row.rid FROM {source} {key} >= ? AND {key} < ? AND {where}{types_sql(types, names)}{also}"
        f" ORDER BY {key} DESC LIMIT ?"
    )
    return [row[0] for row in db.execute(sql, (*asked, first, top, *values, *words, limit))]


def _last(db: apsw.Connection, below: int) -> int:
    return next(iter(db.execute("SELECT max(rid) FROM row WHERE rid < ?", (below,))))[0] or 0


def posted(db: apsw.Connection, match: Match, limit: int) -> list[int]:
    """By postings; one more than `limit` when there are more."""
    found = db.execute("SELECT rowid FROM post WHERE post MATCH ? LIMIT ?", (fts(match), limit + 1))
    return [row[0] for row in found]


def posted_outside(db: apsw.Connection, match: Match, person: int, limit: int) -> list[int]:
    """By postings, those of one home left out."""
    sql = "SELECT rowid FROM post WHERE post MATCH ? AND rowid"
    query, first = fts(match), person << SEQ_BITS
    found = [row[0] for row in db.execute(f"{sql} < ? LIMIT ?", (query, first, limit + 1))]
    return found + [row[0] for row in db.execute(f"{sql} > ? LIMIT ?", (query, first | SEQ_MASK, limit + 1))]
