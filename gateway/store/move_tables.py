"""What of an embedded store goes into which table of PostgreSQL: the rows of each, in that table's columns."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from ..errors import StoreError
from .base import NO_TILL
from .bodies import Codec
from .engine import SEQ_BITS, Row
from .packing import WORD, short_words
from .postgres_sql import SEQ_MASK, number_of
from .reindex import fresh

Values = tuple[Any, ...]
_TYPES = {"q": "int8", "i": "int4", "t": "text", "b": "bytea", "w": "int8[]"}
_PLACE = f"rid >> {SEQ_BITS}, rid & {SEQ_MASK}"
_FOUND = (
    f"till_tx = {NO_TILL} OR EXISTS (SELECT 1 FROM closed"
    " WHERE closed.at = (SELECT at FROM tx WHERE tx.tx = row.till_tx) AND closed.rid = row.rid)"
)
"""Whether a version can still be found: it is current, or a page given before it was closed may look at it."""


@dataclass
class Home:
    """An embedded store that nobody writes to, read as it was when this was opened."""

    directory: Path
    files: dict[str, apsw.Connection] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    codec: Codec = field(init=False)

    def __post_init__(self) -> None:
        for name in ("store", "audit", "inbox"):
            opened = apsw.Connection(str(self.directory / f"{name}.db"), flags=apsw.SQLITE_OPEN_READONLY)
            opened.execute("BEGIN")
            self.files[name] = opened
        self.texts = {int(str(no)): str(text) for no, text in self.rows("store", "SELECT no, text FROM name")}
        known = {row[0]: row[1] for row in self.rows("store", "SELECT id, bytes FROM dictionary")}
        self.codec = Codec(next(iter(known)), known)

    def rows(self, file: str, sql: str) -> Iterator[Values]:
        """Of one file."""
        return iter(self.files[file].execute(sql))

    def one(self, file: str, sql: str) -> int:
        """A number."""
        return int(next(self.rows(file, sql))[0] or 0)

    def close(self) -> None:
        """Let go of the files."""
        for one in self.files.values():
            one.close()


class Table(NamedTuple):
    """Rows of `file` for one table, `sql` giving its columns. kinds: of the columns, as in `postgres_records`; `n` is
    the number of a type or member, another one in each engine."""

    file: str
    sql: str
    kinds: str
    made: Callable[[Home, Values], Values] | None = None

    @property
    def types(self) -> list[str]:
        """Of the columns, in PostgreSQL's words."""
        return [_TYPES[kind] for kind in self.kinds.replace("n", "i")]

    def rows(self, home: Home) -> Iterator[Values]:
        """As PostgreSQL is to have them."""
        numbers = [place for place, kind in enumerate(self.kinds) if kind == "n"]
        for row in home.rows(self.file, self.sql):
            values = list(row)
            for place in numbers:
                values[place] = number_of(home.texts[values[place]])
            yield tuple(values) if self.made is None else self.made(home, tuple(values))

    def count(self, home: Home) -> int:
        """How many."""
        return home.one(self.file, f"SELECT count(*) FROM ({self.sql})")


def _version(home: Home, values: Values) -> Values:
    """With its postings by all their bits: the file keeps them where they cannot be read, so they are made again."""
    *columns, short, keys, body, typ, found = values
    person, _, till, at, fh, src, _, _, seq, _, _, _, version, flags, id_ = columns
    words: tuple[int, ...] = ()
    if found and short:
        row = Row(person << SEQ_BITS | seq, 0, home.texts[typ], flags, "", 0, version, at, fh, src, 0, id_, keys, body)
        words = fresh(row, home.codec).words
        if till == NO_TILL and _cut(short_words(words)) != _cut(short):
            raise StoreError(
                f"{row.type}/{id_}",
                "its index is not what its body says: run `gateway store reindex`",
                detail_zh="索引与内容不符，请先运行 gateway store reindex。",
            )
    return (*columns, list(words), keys, body)


def _cut(short: bytes) -> set[bytes]:
    return {short[at : at + WORD] for at in range(0, len(short), WORD)}


def _link(_: Home, values: Values) -> Values:
    *front, words = values
    return (*front, list(struct.unpack(f">{len(words) // 8}q", words)))


def _clean(_: Home, values: Values) -> Values:
    """A sender may have put a NUL into a text, which PostgreSQL's has no place for; Unicode has a sign for it."""
    return tuple([one.replace("\0", "␀") if isinstance(one, str) else one for one in values])


_MESSAGE = (
    "SELECT seq, at, twin, state, size, iif(state = 0 AND EXISTS (SELECT 1 FROM at_work), 0, NULL), source, format,"
    " name, control, reason, hash, outcome, NULL FROM message ORDER BY seq"
)
"""Of a gateway that never said its end any open message may have been at work: it is held by worker 0, who is dead."""
STORE_TABLES = {
    "meta": Table("store", "SELECT name, value FROM meta", "tb"),
    "name": Table("store", "SELECT no, text FROM name", "nt"),
    "dictionary": Table("store", "SELECT id, hash, bytes FROM dictionary", "qtb"),
    "tx": Table("store", "SELECT tx, at FROM tx WHERE tx > 0", "qq"),
    "version": Table(
        "store",
        f"SELECT rid >> {SEQ_BITS}, from_tx, till_tx, at, fh, src, same, prev, rid & {SEQ_MASK}, typ, member, acl, ver,"
        f" flags, id, words, keys, body, typ, {_FOUND} FROM row ORDER BY rid",
        "qqqqqqqqinniiitwbb",
        _version,
    ),
    "dir": Table("store", f"SELECT fh, {_PLACE}, ver FROM dir", "qqii"),
    "ident": Table(
        "store",
        f"SELECT h, ident.fh, coalesce(dir.rid >> {SEQ_BITS}, 0) FROM ident LEFT JOIN dir ON dir.fh = ident.fh",
        "qqq",
    ),
    "date_order": Table("store", f"SELECT typ, param, lo, hi, {_PLACE}, long FROM date_order", "niqqqii"),
    "text_order": Table("store", f"SELECT typ, param, {_PLACE}, CAST(text AS BLOB) FROM text_order", "niqib"),
    "away": Table("store", f"SELECT fh, {_PLACE} FROM away", "qqi"),
    "wording": Table("store", "SELECT word, typ, param, CAST(text AS BLOB) FROM wording", "qnib"),
    "closed": Table("store", f"SELECT at, {_PLACE} FROM closed", "qqi"),
    "record": Table(
        "store",
        "SELECT src, member, CAST(local_number AS BLOB), patient, CAST(content AS BLOB), said_at, state FROM record",
        "qtbtbtt",
    ),
    "survivor": Table("store", "SELECT fh, id FROM survivor", "qt"),
    "done": Table("store", "SELECT raw_key, tx, CAST(outcome AS BLOB) FROM done", "tqb"),
    "size": Table("store", "SELECT n, live, typ, member, acl, flags FROM size", "qqnnii"),
    "fresh": Table("store", "SELECT member, at FROM fresh", "nq"),
    "effect": Table("store", "SELECT seq, tx, CAST(row AS BLOB) FROM effect", "qqb"),
    "criteria": Table("store", "SELECT h, tx, at FROM criteria", "qqq"),
    "answer": Table("store", "SELECT h, tx, at, digest, said, written FROM answer", "qqqbbb"),
    "zone": Table("store", "SELECT typ, last, said FROM zone", "nqb"),
    "disclosure": Table("audit", "SELECT seq, CAST(row AS BLOB) FROM seal WHERE log = 0 ORDER BY seq", "qb"),
    "seal": Table("audit", "SELECT n, seq, at, log, mac, words FROM seal", "qqqibw", _link),
}
INBOX_TABLES = {
    "message": Table("inbox", _MESSAGE, "qqqiiitttttbtw", _clean),
    "body": Table("inbox", "SELECT seq, body FROM message WHERE body <> x''", "qb"),
    "attempt": Table("inbox", "SELECT seq, tries FROM attempt", "qi"),
    "awaited": Table("inbox", "SELECT what, seq, due FROM awaited", "qqq"),
    "position": Table("inbox", "SELECT source, body, reading FROM position", "tbt"),
}
SEQUENCES = {
    "store/people": ("store", "SELECT max(people) FROM tx"),
    "store/effect_seq_seq": ("store", "SELECT max(seq) FROM effect"),
    "store/disclosure_seq_seq": ("audit", "SELECT max(seq) FROM seal WHERE log = 0"),
    "inbox/message_seq_seq": ("inbox", "SELECT max(seq) FROM message"),
}
"""The last number given out of each, by schema and name."""
