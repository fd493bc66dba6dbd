"""SQL pieces of the SQLite engine: the columns of a row, a caller's sight, a match, and chunked inserts.

Only numbers this engine made itself are written into a statement; everything else is bound.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import apsw

from ..model.context import EVERY_LABEL
from .engine import DELETED, RETIRED, Match, Row, Sight
from .packing import short

ROW_COLUMNS = (
    "row.rid, row.from_tx, row.typ, row.flags, row.member, row.acl, row.ver, row.at, row.fh, row.src, row.prev,"
    " row.id, row.keys, "
)
WITH_BODY = ROW_COLUMNS + "row.body"
WITHOUT_BODY = ROW_COLUMNS + "x''"
SEQ_MASK = (1 << 24) - 1
LONG_MS = 32 * 86_400_000
"""Date ranges wider than this stand in a part of `date_order` of their own."""


class Names:
    """Types and member keys as the small numbers rows carry. Grows by `learn`, inside a write of its own."""

    __slots__ = ("number", "sights", "text")

    def __init__(self) -> None:
        self.sights: dict[object, str] = {}
        self.number: dict[str, int] = {}
        self.text: dict[int, str] = {}

    def load(self, db: apsw.Connection) -> None:
        """Take over what the file knows."""
        self.sights.clear()
        for number, text in db.execute("SELECT no, text FROM name"):
            self.number[text] = number
            self.text[number] = text

    def learn(self, db: apsw.Connection, texts: Iterable[str]) -> None:
        """Give new texts a number in the file; `load` after the commit makes them known."""
        db.executemany("INSERT OR IGNORE INTO name(text) VALUES(?)", [(text,) for text in texts])

    def known(self, texts: Iterable[str]) -> list[int]:
        """Numbers of those that have one."""
        return sorted(self.number[text] for text in texts if text in self.number)

    def rows(self, found: Iterable[tuple[Any, ...]]) -> list[Row]:
        """Rows from the columns above. Made as tuples are: a page has many."""
        text, made = self.text, tuple.__new__
        return [
            made(Row, (rid, tx, text[typ], flags, text[member], acl, version, at, fh, src, prev, id_, keys, body))
            for rid, tx, typ, flags, member, acl, version, at, fh, src, prev, id_, keys, body in found
        ]


def numbers(values: Sequence[int]) -> Any:
    """Bound for `carray(?)`: 64-bit integers without a statement of their own length."""
    asked = values or (_NO_KEY,)
    return apsw.carray(struct.pack(f"{len(asked)}q", *asked), flags=apsw.SQLITE_CARRAY_INT64)


_NO_KEY = -(1 << 63)  # carray refuses an empty array


def sight_sql(sight: Sight, names: Names) -> tuple[str, tuple[int, int]]:
    """(condition on `row`, values): what design-store §9 demands at every row access.

    A row without member belongs to everybody. The unary plus keeps the planner on the path we chose.
    """
    key = (sight.types, sight.members, sight.labels, sight.retired, sight.deleted)
    known = names.sights.get(key)
    if known is None:
        if len(names.sights) > 1_000:
            names.sights.clear()
        known = names.sights[key] = _sight_sql(sight, names)
    return known, (sight.as_of, sight.as_of)


def _sight_sql(sight: Sight, names: Names) -> str:
    parts = ["+row.from_tx <= ?", "row.till_tx > ?"]
    hidden = (0 if sight.retired else RETIRED) | (0 if sight.deleted else DELETED)
    if hidden:
        parts.append(f"row.flags & {hidden} = 0")
    if sight.types is not None:
        parts.append(f"+row.typ IN ({_listed(names.known(sight.types))})")
    return " AND ".join([*parts, *_policy(sight, names, "row")])


def _policy(sight: Sight, names: Names, row: str) -> list[str]:
    parts = []
    if sight.members is not None:
        parts.append(_of_members(sight.members, names, row))
    if sight.labels != EVERY_LABEL:
        parts.append(f"{row}.acl & {~sight.labels} = 0")
    return parts


def _of_members(members: frozenset[str], names: Names, row: str) -> str:
    """Rows of these members, rows of nobody, and every Patient one of them knows by a number of its own."""
    own = f"{row}.member IN ({_listed(names.known(members | {''}))})"
    known = (
        f"EXISTS (SELECT 1 FROM record WHERE record.patient = {row}.id AND record.member IN"
        f" (SELECT text FROM name WHERE no IN ({_listed(names.known(members))})))"
    )
    return f"({own} OR {row}.typ = {names.number.get('Patient', 0)} AND {known})"


def head_sql(sight: Sight, names: Names) -> str:
    """ " AND …" of `head`, the current version by which all versions of a resource are judged."""
    return "".join(f" AND {part}" for part in _policy(sight, names, "head"))


def types_sql(types: Sequence[str], names: Names) -> str:
    """ " AND …" for rows of these types; "" for all."""
    return f" AND +row.typ IN ({_listed(names.known(types))})" if types else ""


def _listed(values: Iterable[int]) -> str:
    return ",".join(map(str, values))


def fts(match: Match) -> str:
    """A match as an FTS5 query; `match.all` is not empty."""
    groups = [" OR ".join(_word(word) for word in group) for group in match.all]
    wanted = " AND ".join(f"({group})" for group in groups)
    return wanted if not match.none else f"({wanted}) NOT ({' OR '.join(_word(word) for word in match.none)})"


def _word(word: int) -> str:
    return f'"{struct.pack(">q", word).hex()}"'


def fts_words(words: Sequence[int]) -> str:
    """The postings of a row as the text FTS5 takes in: one 16-digit word each."""
    return struct.pack(f">{len(words)}q", *words).hex(" ", 8)


def match_sql(match: Match) -> tuple[str, list[bytes]]:
    """(" AND …", values): the same match as a test of a row that is already in hand."""
    parts: list[str] = []
    values: list[bytes] = []
    for group in match.all:
        parts.append("(" + " OR ".join(["instr(row.words, ?) > 0"] * len(group)) + ")")
        values += [short(word) for word in group]
    for word in match.none:
        parts.append("instr(row.words, ?) = 0")
        values.append(short(word))
    parts += [f"NOT {_has(bit)}" if off else _has(bit) for bit, off in match.bits]
    return "".join(" AND " + part for part in parts), values


def _has(bit: int) -> str:
    """Whether a row's keys have a bit of `present`: three bytes of head, the last one a length, then the bits."""
    byte, place = divmod(bit.bit_length() - 1, 8)
    holding = bytes(value for value in range(256) if value >> place & 1).hex()
    return (
        f"(substr(row.keys, 1, 2) = x'95c4' AND substr(row.keys, 3, 1) > x'{byte:02x}'"
        f" AND instr(x'{holding}', substr(row.keys, {byte + 4}, 1)) > 0)"
    )


def keys_of(db: apsw.Connection, sql: str, values: Sequence[Any]) -> list[int]:
    """Row keys, the first column of a query that has an order and a limit, in one step.

    Each step hands the interpreter over once, and a busy event loop takes it for a while.
    """
    found = next(iter(db.execute(f"SELECT group_concat(rid) FROM ({sql})", tuple(values))))[0]
    return [int(key) for key in found.split(",")] if found else []


def insert(db: apsw.Connection, head: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert many rows in few steps: each step hands the interpreter over once (a busy event loop takes it for 5 ms).

    head: `INSERT INTO t(…) VALUES`.
    """
    at = 0
    while at < len(rows):
        size = 32 if len(rows) - at >= 32 else 8 if len(rows) - at >= 8 else 1
        part = rows[at : at + size]
        places = "(" + ",".join("?" * len(part[0])) + ")"
        db.execute(head + ",".join([places] * size), [value for row in part for value in row])
        at += size


# ---- whole reads that several processes make -----------------------------------------------------
def heads(db: apsw.Connection, names: Names, fhs: Sequence[int], sight: Sight) -> list[Row]:
    """Current rows by the directory, with bodies, where the sight allows."""
    where, values = sight_sql(sight, names)
    sql = (
        f"SELECT {WITH_BODY} FROM carray(?) AS asked CROSS JOIN dir ON dir.fh = asked.value"
        f" CROSS JOIN row ON row.rid = dir.rid WHERE dir.ver > 0 AND {where}"
    )
    return names.rows(db.execute(sql, (numbers(fhs), *values)))


def dictionaries(db: apsw.Connection) -> dict[int, bytes]:
    """Every dictionary bodies were ever packed with, by its zstd id."""
    return dict(db.execute("SELECT id, bytes FROM dictionary"))
