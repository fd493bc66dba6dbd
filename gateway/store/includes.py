"""`_include` and `_revinclude`: resources the matches point to, or that point to them (at most 1,000, in some time)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from ..model.query import Include, Query
from ..validate.definitions import resource_types
from .base import param_number
from .engine import Match, Reads, Row, Sight
from .index import params
from .index_shared import pointing
from .packing import unpack_keys

LIMIT = 1_000
ROUNDS = 3
"""How far `:iterate` goes."""
_WORDS_AT_ONCE = 200


async def includes(
    engine: Reads, query: Query, page: Sequence[Row], sight: Sight, until: float
) -> tuple[list[Row], bool]:
    """Rows to go along with a page, each once, none of the page itself; True when there may have been more.

    until: `time.monotonic()` at which no more is looked for.
    """
    along = _Along(engine, replace(sight, retired=True), {row.fh for row in page}, until)
    await along.add(query.includes, list(page))
    again = tuple(one for one in query.includes if one.iterate)
    fresh = list(along.found.values())
    for turn in range(ROUNDS if again else 0):
        # what the first round left out of reach of a plain include is asked from the page as well
        fresh = await along.add(again, fresh if turn else [*page, *fresh])
    return list(along.found.values())[:LIMIT], along.cut


class _Along:
    """What goes along, as it is found."""

    def __init__(self, engine: Reads, sight: Sight, page: set[int], until: float) -> None:
        self._engine, self._sight, self._page, self._until = engine, sight, page, until
        self.found: dict[int, Row] = {}
        self.cut = False

    async def add(self, rules: tuple[Include, ...], rows: list[Row]) -> list[Row]:
        """One round; what is new."""
        new: dict[int, Row] = {}
        for one in rules:
            if not rows or self.cut or self._late():
                break
            for row in await (self._pointing(one, rows) if one.reverse else self._pointed(one, rows)):
                if row.fh not in self._page and row.fh not in self.found:
                    new[row.fh] = self.found[row.fh] = row
            self.cut = self.cut or len(self.found) > LIMIT
        return list(new.values())

    def _late(self) -> bool:
        self.cut = self.cut or time.monotonic() > self._until
        return self.cut

    async def _pointed(self, one: Include, rows: list[Row]) -> list[Row]:
        number = None if one.code == "*" else param_number(one.code)
        targets: dict[int, None] = {}
        for row in rows:
            if one.source in ("", row.type):
                refs = unpack_keys(row.keys).refs
                targets.update({fh: None for param, fh in refs if number is None or param == number})
        wanted = [fh for fh in targets if fh not in self.found][: LIMIT + 1]
        met = await self._engine.current(wanted, self._sight) if wanted else {}
        return [row for row in met.values() if one.target in ("", row.type)]

    async def _pointing(self, one: Include, rows: list[Row]) -> list[Row]:
        names = [(row.type, row.id) for row in rows if one.target in ("", row.type)]
        out: list[Row] = []
        for source in [one.source] if one.source else sorted(resource_types()):
            if one.source or await self._engine.size(source):
                out += await self._from(source, one.code, names)
        whole = await self._engine.rows([row.rid for row in out], self._sight) if out else {}
        return list(whole.values())

    async def _from(self, source: str, code: str, names: list[tuple[str, str]]) -> list[Row]:
        words = sorted(set(_words(source, code, names)))
        out: list[Row] = []
        for at in range(0, len(words), _WORDS_AT_ONCE):
            if self._late():
                break
            match = Match((tuple(words[at : at + _WORDS_AT_ONCE]),))
            rows = await self._engine.hits(match, self._sight, types=(source,), limit=20 * LIMIT)
            if rows is None or len(rows) > LIMIT:
                self.cut = True
            # of too many the newest, so that two engines give the same
            out += sorted(rows or (), key=lambda row: (row.tx, row.rid), reverse=True)[: LIMIT + 1]
        return out


def _words(source: str, code: str, names: list[tuple[str, str]]) -> Iterator[int]:
    """Postings of rows of a type that point to one of these."""
    for own, param in params(source).items():
        if param.kind != "reference" or code not in ("*", own):
            continue
        for type_, id_ in names:
            if not param.targets or type_ in param.targets:
                yield from pointing(param, type_, id_)
