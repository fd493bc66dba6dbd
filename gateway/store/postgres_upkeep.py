"""What keeps the PostgreSQL index true to its rows: closed versions leave it, current ones are indexed again."""

from __future__ import annotations

from .base import NO_TILL
from .engine import Indexed
from .index_text import sortable
from .packing import unpack_keys
from .postgres_database import Connection, run
from .postgres_sql import LONG_MS, Bound, split

_OLD = (
    "WITH old AS (SELECT at, person, seq FROM closed WHERE at < %s ORDER BY at, person, seq LIMIT %s"
    " FOR UPDATE SKIP LOCKED), gone AS (DELETE FROM closed c USING old"
    " WHERE c.at = old.at AND c.person = old.person AND c.seq = old.seq)"
    " SELECT r.person, r.seq, r.typ, r.keys FROM old JOIN version r ON r.person = old.person AND r.seq = old.seq"
)


async def indexed(connection: Connection, one: Indexed) -> None:
    """Replace what a current version is found by; nothing where it was closed meanwhile."""
    person, seq = split(one.rid)
    sql = "UPDATE version SET tk = %s::int8[], keys = %s WHERE person = %s AND seq = %s AND till_tx = %s RETURNING typ"
    found = await (await run(connection, sql, (list(one.words), one.keys, person, seq, NO_TILL))).fetchone()
    if found is None:
        return
    await _unordered(connection, [(person, seq, found[0], one.before)])
    for param, lo, hi in one.dates:
        row = (found[0], param, lo, hi, person, seq, int(hi - lo > LONG_MS))
        await run(connection, "INSERT INTO date_order VALUES(%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING", row)
    for param, text in one.texts:
        line = (found[0], param, person, seq, text.encode())
        await run(connection, "INSERT INTO text_order VALUES(%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING", line)
    for param, text, word in one.wordings:
        said = (word, found[0], param, text.encode())
        await run(connection, "INSERT INTO wording VALUES(%s, %s, %s, %s) ON CONFLICT DO NOTHING", said)
    for fh in one.away:
        await run(connection, "INSERT INTO away VALUES(%s, %s, %s) ON CONFLICT DO NOTHING", (fh, person, seq))


async def purge(connection: Connection, before: int, limit: int) -> int:
    """Drop what versions closed before an instant were found by; how many, at most `limit`."""
    old = await (await run(connection, _OLD, (before, limit))).fetchall()
    if old:
        places = tuple(list(column) for column in zip(*[row[:2] for row in old], strict=True))
        await run(connection, _DROP_WORDS, places)
        await _unordered(connection, old)
    return len(old)


async def _unordered(connection: Connection, old: list[Bound]) -> None:
    """Take rows (person, seq, typ, keys) out of the ordered tables, and from beside Patients they refer to."""
    dates: list[Bound] = []
    away: list[Bound] = []
    texts: list[Bound] = []
    for person, seq, typ, packed in old:
        keys = unpack_keys(packed)
        away += [(fh, person, seq) for fh in {fh for _, fh in keys.refs}]
        dates += [(typ, param, int(hi - lo > LONG_MS), lo, person, seq) for param, lo, hi in keys.dates]
        texts += [(typ, param, sortable(text).encode(), person, seq) for param, text in keys.texts]
    for sql, rows in ((_DROP_DATES, dates), (_DROP_TEXTS, texts), (_DROP_AWAY, away)):
        if rows:
            await run(connection, sql, tuple(list(column) for column in zip(*rows, strict=True)))


_DROP_WORDS = (
    "UPDATE version r SET tk = '{}' FROM unnest(%s::int8[], %s::int4[]) AS a(person, seq)"
    " WHERE r.person = a.person AND r.seq = a.seq"
)
_DROP_AWAY = (
    "DELETE FROM away o USING unnest(%s::int8[], %s::int8[], %s::int4[]) AS a(fh, person, seq)"
    " WHERE o.fh = a.fh AND o.person = a.person AND o.seq = a.seq"
)
_DROP_DATES = (
    "DELETE FROM date_order o USING unnest(%s::int4[], %s::int4[], %s::int4[], %s::int8[], %s::int8[], %s::int4[])"
    " AS a(typ, param, long, lo, person, seq) WHERE o.typ = a.typ AND o.param = a.param AND o.long = a.long"
    " AND o.lo = a.lo AND o.person = a.person AND o.seq = a.seq"
)
_DROP_TEXTS = (
    "DELETE FROM text_order o USING unnest(%s::int4[], %s::int4[], %s::bytea[], %s::int8[], %s::int4[])"
    " AS a(typ, param, text, person, seq) WHERE o.typ = a.typ AND o.param = a.param AND o.text = a.text"
    " AND o.person = a.person AND o.seq = a.seq"
)
