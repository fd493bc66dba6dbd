"""History: every version of one resource, of a type or of everything, newest first, as of one moment.

Whether the caller may see a version is judged by the current version of its resource (design-store §9). Rows are
never dropped, so a page can be asked for at any later time and still shows the same moment.
"""

from __future__ import annotations

from msgspec.structs import replace

from ..model.context import AccessContext
from .base import Past, PastPage, Resource, fh_of
from .bodies import Codec, instant_of, to_resource
from .engine import DELETED, Reads, Row, Sight
from .search import NOW, sight_of

_TOP = 1 << 62
_CHUNK = 100


class Historian:
    """Pages of versions."""

    def __init__(self, engine: Reads, codec: Codec) -> None:
        self._engine, self._codec = engine, codec

    async def page(self, asked: Past, who: AccessContext) -> PastPage:
        """At most `asked.count` versions; `next` when there are more."""
        top, at = await self._engine.moment()
        as_of, at = (asked.as_of, instant_of(asked.at)) if asked.as_of else (top, at)
        between, alive = await self._stretch(asked, as_of)
        sight = sight_of(who, NOW, deleted=True)
        if asked.id:
            rows = await self._instance(asked, sight, between, alive)
        else:
            types = (asked.type,) if asked.type else ()
            rows = await self._engine.versions(
                types, sight, between=between, alive=alive, below=asked.below or (_TOP, _TOP), limit=asked.count + 1
            )
        shown = rows[: asked.count]
        more = len(rows) > asked.count
        last = shown[-1] if shown else None
        place = ((last.version, 0) if asked.id else (last.tx, last.rid)) if more and last else None
        return PastPage(await self._told(shown), place, as_of, at)

    async def _told(self, rows: list[Row]) -> tuple[Resource, ...]:
        """Each with whether it followed a deletion."""
        before = [row.prev for row in rows if row.prev and not row.flags & DELETED]
        gone = await self._engine.deletions(before) if before else set[int]()
        told = [to_resource(row, self._codec) for row in rows]
        return tuple(
            replace(one, revived=True) if row.prev in gone and not one.deleted else one
            for one, row in zip(told, rows, strict=True)
        )

    async def _stretch(self, asked: Past, as_of: int) -> tuple[tuple[int, int], int]:
        """(first and last transaction of a version's birth, first transaction it must have lived to see)."""
        first = 0 if asked.since is None else await self._engine.first_tx(asked.since)
        if asked.during is None:
            return (first, as_of), 0
        low, high = asked.during
        last = min(as_of, await self._engine.first_tx(high + 1) - 1)
        return (first, last), await self._engine.first_tx(low + 1)

    async def _instance(self, asked: Past, sight: Sight, between: tuple[int, int], alive: int) -> list[Row]:
        fh = fh_of(asked.type, asked.id)
        if fh not in await self._engine.current((fh,), sight):
            return []
        first, last = between
        start = asked.below[0] if asked.below else _TOP
        found: list[Row] = []
        till, below = _TOP, start + 1  # the version after the first of this page tells until when that one was current
        while len(found) <= asked.count:
            rows = await self._engine.chain(fh, below=below, limit=_CHUNK)
            for row in rows:
                if row.version < start and first <= row.tx <= last and till >= alive:
                    found.append(row)
                till = row.tx
            if len(rows) < _CHUNK or rows[-1].tx < first:
                break
            below = rows[-1].version
        return found
