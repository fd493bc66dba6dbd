"""A PostgreSQL store with many resources in it, and what they take on disk.

Filling a million through the gateway takes longer than the bench. So some thousands are committed, and the server
copies them: other persons, other ids, other hashes wherever a posting is of one person or one resource, in random
order through all indexes. Copies are found by everything but their id, whose hash is not theirs.
"""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg

from gateway.model.times import system_clock
from gateway.store.base import NO_TILL, AuditRow, Plan
from gateway.store.engine import SEQ_BITS, SHARED_HOMES
from gateway.store.resources import open_store
from tests.bench.bench_store import Feed

_REAL = 50_000
"""The most that is committed; the rest is copied from it."""
_COMMIT = 500


async def fill(url: str, rows: int) -> None:
    """Commit them, copy them until there are so many. The first 4,000 are of `Feed(400, seed=10)`."""
    real = min(rows, _REAL)
    store = await open_store(url, clock=system_clock)
    feed, done = Feed(400, seed=10), 0
    while done < real:
        if done == 4_000:
            feed = Feed(2_000, seed=1_000)
        puts = [msgspec.structs.replace(put, expect=None) for put in feed.rows(_COMMIT)]
        audits = (AuditRow(system_clock(), "C", "rest", "x", "0", "u", "u", "admin", "m", "TREAT"),)
        await store.commit(Plan(puts=tuple(puts), audits=audits))
        done += _COMMIT
    await store.close()
    if rows > real:
        _copy(url, (rows - 1) // real)


def _copy(url: str, times: int) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(_COMMON)
        span, seqs, txs = db.execute(_SPANS).fetchone() or (0, 0, 0)
        for number in range(1, times + 1):
            values: dict[str, Any] = {
                "n": number, "person": number * span, "seq": number * seqs, "tx": number * txs,
                "shared": SHARED_HOMES, "bits": SEQ_BITS, "open": NO_TILL, "last": txs,
            }  # fmt: skip
            with db.transaction():
                for sql in (_TX, _VERSION, _DIR, _IDENT, _DATES, _TEXTS):
                    db.execute(sql, values)
        db.execute("UPDATE size SET n = n * %s", (times + 1,))
        db.execute("SELECT setval('people', nextval('people') + %s)", ((times + 1) * span,))
        db.execute("ANALYZE")


_COMMON = (
    "CREATE TABLE common AS SELECT w FROM (SELECT unnest(tk) AS w FROM version) AS a GROUP BY w"
    " HAVING count(*) > (SELECT count(*) / 500 FROM version)"
)
_SPANS = "SELECT max(person) + 1, max(seq) + 1, max(from_tx) FROM version"
_PERSON = "CASE WHEN {0}person < %(shared)s THEN {0}person ELSE {0}person + %(person)s END"
_SEQ = "CASE WHEN {0}person < %(shared)s THEN {0}seq + %(seq)s ELSE {0}seq END"
_ORIGINAL = "r.from_tx <= %(last)s"
_TX = "INSERT INTO tx SELECT tx + %(tx)s, at FROM tx WHERE tx <= %(last)s"
_VERSION = (
    f"INSERT INTO version SELECT {_PERSON.format('r.')}, from_tx + %(tx)s,"
    " CASE till_tx WHEN %(open)s THEN till_tx ELSE till_tx + %(tx)s END, at, hashint8extended(fh, %(n)s), src, same,"
    " CASE WHEN prev >> %(bits)s < %(shared)s THEN sign(prev)::int8 * (prev + %(seq)s)"
    " ELSE prev + (%(person)s << %(bits)s) END,"
    f" {_SEQ.format('r.')}, typ, member, acl, ver, flags, id || '-' || %(n)s,"
    " coalesce((SELECT array_agg(CASE WHEN c.w IS NULL THEN hashint8extended(a.w, %(n)s) ELSE a.w END)"
    " FROM unnest(tk) AS a(w) LEFT JOIN common c ON c.w = a.w), '{}'), keys, body"
    f" FROM version r WHERE {_ORIGINAL} ORDER BY hashint8extended(fh, %(n)s)"
)
_DIR = (
    f"INSERT INTO dir SELECT hashint8extended(d.fh, %(n)s), {_PERSON.format('d.')}, {_SEQ.format('d.')}, d.ver"
    f" FROM dir d JOIN version r ON r.person = d.person AND r.seq = d.seq WHERE {_ORIGINAL}"
    " ORDER BY hashint8extended(d.fh, %(n)s)"
)
_IDENT = (
    f"INSERT INTO ident SELECT hashint8extended(i.h, %(n)s), hashint8extended(i.fh, %(n)s), {_PERSON.format('i.')}"
    f" FROM ident i JOIN dir d ON d.fh = i.fh JOIN version r ON r.person = d.person AND r.seq = d.seq WHERE {_ORIGINAL}"
)
_DATES = (
    f"INSERT INTO date_order SELECT o.typ, param, lo, hi, {_PERSON.format('o.')}, {_SEQ.format('o.')}, long"
    f" FROM date_order o JOIN version r ON r.person = o.person AND r.seq = o.seq WHERE {_ORIGINAL}"
    " ORDER BY hashint8extended(r.fh, %(n)s)"
)
_TEXTS = (
    f"INSERT INTO text_order SELECT o.typ, param, {_PERSON.format('o.')}, {_SEQ.format('o.')}, text"
    f" FROM text_order o JOIN version r ON r.person = o.person AND r.seq = o.seq WHERE {_ORIGINAL}"
)


def weigh(url: str) -> list[tuple[str, float]]:
    """Bytes on disk: of a current resource with all indexes, then of what lies beside, then table by table."""
    with psycopg.connect(url) as db:
        sizes = dict(db.execute(_BYTES).fetchall())
        current, closed = db.execute(_COUNTS, (NO_TILL, NO_TILL)).fetchone() or (1, 0)
        effects, told = db.execute(
            "SELECT (SELECT count(*) FROM effect), (SELECT count(*) FROM disclosure)"
        ).fetchone() or (0, 0)
        parts = db.execute(_INDEXES).fetchall()
    version = sizes.pop("version") / (current + closed)
    audit = sum(sizes.pop(name) for name in ("effect", "disclosure", "seal"))
    rest = sum(sizes.pop(name) for name in ("dir", "ident", "date_order", "text_order"))
    return [
        (f"bytes a current resource, {current:,} with all indexes", version + rest / current),
        (f"    an older version ({closed:,}), until its postings are dropped", version),
        ("    an audit row, its link of the chain with it", audit / max(effects + told, 1)),
        *((f"    {name}, a version", size / (current + closed)) for name, size in parts),
    ]


_BYTES = (
    "SELECT relname::text, pg_total_relation_size(oid) FROM pg_class"
    " WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
)
_COUNTS = "SELECT count(*) FILTER (WHERE till_tx = %s), count(*) FILTER (WHERE till_tx <> %s) FROM version"
_INDEXES = (
    "SELECT relname::text, pg_relation_size(oid) FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
    " AND relkind IN ('r', 'i') AND pg_relation_size(oid) > 1000000"
    " AND relname !~ '^(effect|disclosure|seal|common|bare)' ORDER BY 2 DESC"
)
