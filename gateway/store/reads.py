"""What is read of a store with a caller in hand, on whichever engine, in the process that writes or beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from ..model.context import EVERY_LABEL, AccessContext
from ..model.query import Query
from ..model.times import Clock
from .base import Page, Past, PastPage, Resource, Whole, WholePage, fh_of
from .bodies import Codec
from .engine import Reads, Row
from .opened import Opened
from .past import Historian
from .search import NOW, Searcher, sight_of
from .whole import Records

_STEPS = 10
"""Merges of merges that are followed."""
_TOP = 1 << 62
Ask = Callable[[Sequence[int]], Awaitable[dict[int, str]]]


class ResourceReads:
    """Implements `base.StoreReads`."""

    def __init__(self, engine: Reads, codec: Codec, clock: Clock, page_life_s: int) -> None:
        self._reads, self._codec, self._clock = engine, codec, clock
        self._opened = Opened(codec)
        self._searcher = Searcher(engine, self._opened, clock, self._led_on, page_life_s)
        self._historian = Historian(engine, codec)
        self._records = Records(engine, self._opened)
        self.store_key = engine.store_key

    def horizon(self) -> tuple[int, datetime]:
        """The newest committed transaction and its instant."""
        return self._reads.horizon()

    async def read(self, type_: str, id_: str, who: AccessContext) -> Resource | None:
        """The current version, also a deleted one; None when absent or not the caller's to know."""
        row = await self._head(fh_of(type_, id_), who)
        return self._opened.one(row) if row is not None else None

    async def _head(self, fh: int, who: AccessContext) -> Row | None:
        sight = sight_of(who, NOW, deleted=True)
        return (await self._reads.current((fh,), sight)).get(fh)

    async def read_many(self, refs: list[tuple[str, str]], who: AccessContext) -> list[Resource]:
        """Current, not deleted versions in the order asked; absent ones left out."""
        fhs = [fh_of(type_, id_) for type_, id_ in refs]
        found = await self._reads.current(fhs, sight_of(who, NOW)) if fhs else {}
        return self._opened.all(found[fh] for fh in fhs if fh in found)

    async def vread(self, type_: str, id_: str, version: int, who: AccessContext) -> Resource | None:
        """One version; whether the caller may see it is judged by the current one."""
        found = await self.history(type_, id_, who, count=1, before=version + 1)
        return found[0] if found and found[0].version == version else None

    async def history(self, type_: str, id_: str, who: AccessContext, *, count: int, before: int = 0) -> list[Resource]:
        """Versions of one resource, newest first."""
        fh = fh_of(type_, id_)
        if await self._head(fh, who) is None:
            return []
        rows = await self._reads.chain(fh, below=before or _TOP, limit=count)
        return self._opened.all(rows)

    async def past(self, asked: Past, who: AccessContext) -> PastPage:
        """Versions of an instance, a type or everything, newest first; all pages see the same moment."""
        return await self._historian.page(asked, who)

    async def merged(self, patient_id: str) -> bool:
        """Whether another Patient reads in place of this one."""
        return bool(await self._reads.survivors((fh_of("Patient", patient_id),)))

    async def search(self, query: Query, who: AccessContext) -> Page:
        """One page; all pages of one search see the same moment."""
        return await self._searcher.run(query, who)

    async def everything(
        self, patient_id: str, who: AccessContext, *, types: frozenset[str] | None = None
    ) -> list[Resource]:
        """The Patient first, then every current resource of the person, newest first."""
        id_ = await self._survivor(fh_of("Patient", patient_id)) or patient_id
        return list((await self.whole(Whole("Patient", id_, _TOP, types or frozenset()), who)).resources)

    async def withheld(self, patient_id: str, who: AccessContext, types: frozenset[str]) -> Mapping[str, int]:
        """Counted without a look at what they say; nothing is asked for who sees every label."""
        if who.labels == EVERY_LABEL:
            return {}
        id_ = await self._survivor(fh_of("Patient", patient_id)) or patient_id
        return await self._records.withheld(Whole("Patient", id_, _TOP, types), who)

    async def whole(self, asked: Whole, who: AccessContext) -> WholePage:
        """A page of the record of a Patient or an Encounter."""
        return await self._records.page(asked, who)

    async def _survivor(self, fh: int) -> str:
        """Id of the Patient that reads in place of this one, "" for itself; merges of merges are followed."""
        way = await self._way(fh, self._reads.survivors)
        return way[-1][1] if way else ""

    async def _led_on(self, fh: int) -> str:
        """The same as of the last moment asked for."""
        way = await self._way(fh, self._reads.led)
        return way[-1][1] if way else ""

    async def _way(self, fh: int, ask: Ask) -> list[tuple[int, str]]:
        """The steps from a superseded Patient to the one that reads in its place: (fh, id of the next)."""
        way: list[tuple[int, str]] = []
        while (further := (await ask((fh,))).get(fh)) is not None and len(way) < _STEPS:
            way.append((fh, further))
            fh = fh_of("Patient", further)
        return way
