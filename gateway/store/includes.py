"""`_include` and `_revinclude`: resources the matches point to, or that point to them (at most 1,000)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from ..errors import TooCostly
from ..model.query import Filter, Include, Query
from .base import param_number
from .engine import Engine, Match, Row, Sight
from .index import compile_filter, params
from .packing import unpack_keys

LIMIT = 1_000
_WORDS_AT_ONCE = 200


async def includes(engine: Engine, query: Query, page: Sequence[Row], sight: Sight) -> list[Row]:
    """Rows to go along with a page, each once, none of the page itself. Raises TooCostly beyond LIMIT."""
    everywhere = replace(sight, retired=True)
    found: dict[int, Row] = {}
    for one in query.includes:
        rows = await (
            _pointing(engine, one, page, everywhere) if one.reverse else _pointed(engine, one, page, everywhere)
        )
        found.update({row.fh: row for row in rows})
        if len(found) > LIMIT:
            raise TooCostly("_include", f"more than {LIMIT} resources")
    for row in page:
        found.pop(row.fh, None)
    return list(found.values())


async def _pointed(engine: Engine, one: Include, page: Sequence[Row], sight: Sight) -> list[Row]:
    number = None if one.code == "*" else param_number(one.code)
    targets: dict[int, None] = {}
    for row in page:
        if row.type == one.source:
            refs = unpack_keys(row.keys).refs
            targets.update({fh: None for param, fh in refs if number is None or param == number})
    if len(targets) > LIMIT:
        raise TooCostly("_include", f"more than {LIMIT} resources")
    found = await engine.current(list(targets), sight) if targets else {}
    return [row for row in found.values() if not one.target or row.type == one.target]


async def _pointing(engine: Engine, one: Include, page: Sequence[Row], sight: Sight) -> list[Row]:
    codes = [one.code] if one.code != "*" else [code for code, p in params(one.source).items() if p.kind == "reference"]
    values = tuple(f"{row.type}/{row.id}" for row in page)
    if one.target:
        values = tuple(value for value in values if value.startswith(one.target + "/"))
    words = {word for code in codes for word in _words(one.source, code, values)}
    ordered = sorted(words)
    out: list[Row] = []
    for at in range(0, len(ordered), _WORDS_AT_ONCE):
        match = Match((tuple(ordered[at : at + _WORDS_AT_ONCE]),))
        rows = await engine.hits(match, sight, types=(one.source,), limit=LIMIT * 2)
        if rows is None or len(out) + len(rows) > LIMIT:
            raise TooCostly("_revinclude", f"more than {LIMIT} resources")
        out += rows
    whole = await engine.rows([row.rid for row in out], sight) if out else {}
    return list(whole.values())


def _words(type_: str, code: str, values: tuple[str, ...]) -> tuple[int, ...]:
    if not values:
        return ()
    return compile_filter(type_, Filter(code, "reference", values)).postings or ()
