"""SQL pieces of the PostgreSQL engine: the columns of a row, a caller's sight, a match.

Only numbers this engine made itself are written into a statement; everything else is bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from ..errors import StoreError
from ..model.context import EVERY_LABEL
from .base import param_number
from .engine import DELETED, RETIRED, SEQ_BITS, Match, Row, Sight

SEQ_MASK = (1 << SEQ_BITS) - 1
LONG_MS = 32 * 86_400_000
"""Date ranges wider than this stand in a part of `date_order` of their own."""
RID = f"(r.person << {SEQ_BITS} | r.seq)"
_COLUMNS = f"{RID}, r.from_tx, r.typ, r.flags, r.member, r.acl, r.ver, r.at, r.fh, r.src, r.prev, r.id, r.keys, "
WITH_BODY = _COLUMNS + "r.body"
WITHOUT_BODY = _COLUMNS + "''::bytea"
BY_RID = f"JOIN version r ON r.person = a.rid >> {SEQ_BITS} AND r.seq = (a.rid & {SEQ_MASK})::int4"
"""Joins the rows of `a(rid)`."""
_DENSE = {"Patient": "patient"}
"""Types whose versions stand one beside the other in a table of their own as well (migration 0005)."""
NEWEST = "ORDER BY r.from_tx DESC, r.person DESC, r.seq DESC"
OLDEST = "ORDER BY r.from_tx, r.person, r.seq"
_row = Row._make

Bound = tuple[Any, ...]


@lru_cache(4096)
def number_of(text: str) -> int:
    """The number rows carry for a resource type or a member key."""
    return param_number(text)


def split(rid: int) -> tuple[int, int]:
    """(person, seq) of a row key."""
    return rid >> SEQ_BITS, rid & SEQ_MASK


class Names:
    """Types and member keys by the number rows carry. Other processes add some: on an unknown number, load again."""

    __slots__ = ("text",)

    def __init__(self) -> None:
        self.text: dict[int, str] = {}

    def load(self, rows: Iterable[tuple[int, str]]) -> None:
        """Take over what the database knows."""
        self.text = dict(rows)

    def missing(self, texts: Iterable[str]) -> list[str]:
        """Those the database has no number for yet. Raises StoreError when two texts share one."""
        new = sorted({text for text in texts if self.text.get(number_of(text)) != text})
        taken = next((text for text in new if number_of(text) in self.text), None)
        if taken is not None:
            raise StoreError(taken, "another type or member has the same number")
        return new

    def rows(self, found: Iterable[Bound]) -> list[Row]:
        """Rows from the columns above. Raises KeyError for a number not known yet."""
        text = self.text
        return [_row((rid, tx, text[typ], flags, text[member], *rest)) for rid, tx, typ, flags, member, *rest in found]


def sight_sql(sight: Sight) -> tuple[str, Bound]:
    """(condition on `r`, values): what design-store §9 demands at every row access.

    A row without member belongs to everybody.
    """
    parts = ["r.from_tx <= %s", "r.till_tx > %s"]
    hidden = (0 if sight.retired else RETIRED) | (0 if sight.deleted else DELETED)
    if hidden:
        # Listed, not masked: of an expression the server guesses that one row in 200 has it, and sorts, not walks.
        parts.append(f"r.flags IN ({','.join(str(flags) for flags in range(4) if not flags & hidden)})")
    if sight.types is not None:
        parts.append(_among("r.typ", sight.types))
    return " AND ".join([*parts, *_policy(sight, "r")]), (sight.as_of, sight.as_of)


def head_sql(sight: Sight) -> str:
    """ " AND …" of `h`, the current version by which all versions of a resource are judged."""
    return "".join(f" AND {part}" for part in _policy(sight, "h"))


def _policy(sight: Sight, row: str) -> list[str]:
    parts = []
    if sight.members is not None:
        parts.append(_of_members(sight.members, row))
    if sight.labels != EVERY_LABEL:
        parts.append(f"({row}.acl = 0 OR {row}.acl & ({~sight.labels}) = 0)")
    return parts


def _of_members(members: frozenset[str], row: str) -> str:
    """Rows of these members, rows of nobody, and every Patient one of them knows by a number of its own."""
    known = (
        "EXISTS (SELECT 1 FROM record JOIN name ON name.text = record.member"
        f" WHERE record.patient = {row}.id AND {_among('name.no', members)})"
    )
    return f"({_among(f'{row}.member', members | {''})} OR {_among(f'{row}.typ', ('Patient',))} AND {known})"


TYPES = "(SELECT DISTINCT typ FROM size) AS size"
"""Every type stored."""


def sizes_sql(types: Sequence[str], sight: Sight) -> str:
    """Condition on `size`, which has a row for every type stored: those asked for, or all the sight allows."""
    if types:
        return _among("size.typ", types)
    return "true" if sight.types is None else _among("size.typ", sight.types)


def types_sql(types: Sequence[str], *, found: bool = False) -> str:
    """ " AND …" for rows of these types; "" for all. found: by postings, so not to be looked for along the type."""
    return f" AND {_among('r.typ + 0' if found else 'r.typ', types)}" if types else ""


def table_of(types: Sequence[str]) -> str:
    """Where rows of these types are looked for when it is not known whose they are."""
    return _DENSE.get(types[0], "version") if len(types) == 1 else "version"


def _among(column: str, texts: Iterable[str]) -> str:
    listed = ",".join(str(number_of(text)) for text in sorted(texts))
    return f"{column} IN ({listed})" if listed else "false"


def _has(bit: int) -> str:
    """Whether a row's keys have a bit of `present`: three bytes of head, the last one a length, then the bits."""
    byte, place = divmod(bit.bit_length() - 1, 8)
    return (
        f"(CASE WHEN length(r.keys) > {byte + 3} AND substring(r.keys FROM 1 FOR 2) = '\\x95c4'::bytea"
        f" THEN get_byte(r.keys, 2) > {byte} AND get_byte(r.keys, {byte + 3}) & {1 << place} <> 0 ELSE false END)"
    )


def match_sql(match: Match, *, by_postings: bool = False) -> tuple[str, Bound]:
    """(" AND …", values): of every group one posting, of `none` no posting.

    by_postings: the index of postings finds the rows. Else they are walked and each is asked. The server is not to plan
    by that: it would lay all rows with a frequent posting over those of one home or stretch, or take for rare what half
    of a type has, since few of the table have it, and sort the type.
    """
    parts: list[str] = []
    values: list[list[int]] = []
    single = [group[0] for group in match.all if len(group) == 1]
    if single:
        parts.append("r.tk @> %s::int8[]")
        values.append(single)
    for group in match.all:
        if len(group) != 1:
            parts.append("r.tk && %s::int8[]")
            values.append(list(group))
    if not by_postings:
        parts = [f"CASE WHEN {part} THEN true ELSE false END" for part in parts]
    if match.none:
        parts.append("NOT r.tk && %s::int8[]")
        values.append(list(match.none))
    parts += [f"NOT {_has(bit)}" if off else _has(bit) for bit, off in match.bits]
    return "".join(" AND " + part for part in parts), tuple(values)
