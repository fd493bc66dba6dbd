"""What keeps the SQLite index true to its rows: closed versions leave it, current ones are indexed again."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from .base import NO_TILL
from .engine import Indexed
from .index_text import sortable
from .packing import short_words, unpack_keys
from .sqlite_sql import LONG_MS, Names, fts_words, insert

FEW = 4
"""Pieces of postings in which one word is found at the cost of a few rows."""
_PAGES = 64


def purge(db: apsw.Connection, before: int, limit: int) -> int:
    """Drop what versions closed before an instant were found by; how many, at most `limit`."""
    old = list(db.execute("SELECT at, rid FROM closed WHERE at < ? ORDER BY at, rid LIMIT ?", (before, limit)))
    for at, rid in old:
        found = next(iter(db.execute("SELECT typ, keys FROM row WHERE rid = ?", (rid,))))
        db.execute("DELETE FROM post WHERE rowid = ?", (rid,))
        _unordered(db, found[0], rid, found[1])
        db.execute("DELETE FROM closed WHERE at = ? AND rid = ?", (at, rid))
    return len(old)


def pieces(db: apsw.Connection) -> int:
    """In how many pieces the postings lie: each is looked into for each word."""
    sql = (
        "WITH RECURSIVE piece(n) AS (SELECT min(segid) FROM post_idx UNION ALL"
        " SELECT (SELECT min(segid) FROM post_idx WHERE segid > n) FROM piece WHERE n IS NOT NULL)"
        " SELECT count(n) FROM piece"
    )
    return int(next(iter(db.execute(sql)))[0])


def together(db: apsw.Connection) -> bool:
    """Bring a little of the postings together, about 10 ms of work; False when they lie in few pieces already.

    Pieces of about the same size, so that each row is moved a few times only; all of them where many sizes are left.
    """
    found = pieces(db)
    if found <= FEW:
        return False
    merge, before = "INSERT INTO post(post, rank) VALUES('merge', ?)", db.total_changes()
    db.execute(merge, (_PAGES,))
    if db.total_changes() - before >= 2:  # FTS5 says so when it did something
        return True
    if found <= 2 * FEW:
        return False
    db.execute(merge, (-_PAGES,))
    return True


def indexed(db: apsw.Connection, names: Names, fresh: Sequence[Indexed]) -> None:
    """Replace what current versions are found by; zones made of their old keys are void."""
    db.execute("DELETE FROM zone")
    for one in fresh:
        rid, typ = one.rid, names.number[one.type]
        if not list(db.execute("SELECT 1 FROM row WHERE rid = ? AND till_tx = ?", (rid, NO_TILL))):
            continue
        _unordered(db, typ, rid, one.before)
        db.execute("DELETE FROM post WHERE rowid = ?", (rid,))
        db.execute("UPDATE row SET words = ?, keys = ? WHERE rid = ?", (short_words(one.words), one.keys, rid))
        db.execute("INSERT INTO post(rowid, words) VALUES(?, ?)", (rid, fts_words(one.words)))
        dates = [(typ, param, int(hi - lo > LONG_MS), lo, rid, hi) for param, lo, hi in one.dates]
        insert(db, "INSERT OR IGNORE INTO date_order VALUES", dates)
        insert(db, "INSERT OR IGNORE INTO text_order VALUES", [(typ, param, text, rid) for param, text in one.texts])
        insert(db, "INSERT OR IGNORE INTO wording VALUES", [(typ, *wording) for wording in one.wordings])
        insert(db, "INSERT OR IGNORE INTO away VALUES", [(fh, rid) for fh in one.away])


def _unordered(db: apsw.Connection, typ: int, rid: int, packed: bytes) -> None:
    """Take a row out of the ordered tables, and from beside Patients it refers to."""
    keys = unpack_keys(packed)
    db.executemany("DELETE FROM away WHERE fh=? AND rid=?", [(fh, rid) for fh in {fh for _, fh in keys.refs}])
    dates = [(typ, param, int(hi - lo > LONG_MS), lo, rid) for param, lo, hi in keys.dates]
    db.executemany("DELETE FROM date_order WHERE typ=? AND param=? AND long=? AND lo=? AND rid=?", dates)
    texts = [(typ, param, sortable(text), rid) for param, text in keys.texts]
    db.executemany("DELETE FROM text_order WHERE typ=? AND param=? AND text=? AND rid=?", texts)
