"""Polls the views of all sources: page by page into the inbox, and only then the position one page on.

What is read again after a fault or a kill is the same message, which the inbox has already; a message made anew of rows
it had before changes nothing. A view that cannot be read is told and tried again, later and later; nothing else waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from ...errors import GatewayError, ViewChanged, ViewError, ViewSlow
from ...model.directory import Directory, Source
from ...model.times import Clock, parse_offset
from ...model.view import Fault, Reading
from ...store.positions import Positions
from ..intake import Intake
from .aside import aside
from .position import Position, Row, Window
from .reader import Secret, ViewReader
from .values import given

T = TypeVar("T")
log = logging.getLogger("gateway.view")
_GRACE_S = 15.0
"""How much longer than its statements' limit a driver may take before its thread is given up."""
_AGAIN_S, _AGAIN_MOST_S = 5.0, 300.0
_REST = 5
"""Times as long as a reading without news took, until the next one: the database has others to serve."""
_LOOK_S = 3600.0
"""How often rows are counted that cannot be read."""


class ViewDoor:
    """Reads the view of one source again and again."""

    def __init__(self, intake: Intake, positions: Positions, source: Source, secret: Secret, clock: Clock) -> None:
        assert source.view is not None
        self.source, self.view = source, source.view
        self._intake, self._positions, self._clock = intake, positions, clock
        self._secret = secret
        self._reader: ViewReader | None = None
        self._window: Window | None = None
        self._reading = Reading(self.view.name)
        self._left: dict[tuple[str, ...], str] = {}
        self._counted_at = -_LOOK_S

    async def run(self) -> None:
        """Until cancelled."""
        again = _AGAIN_S
        while True:
            began = time.monotonic()
            try:
                if await self._positions.lead(self.source.name):
                    await self.read()
                else:
                    self.close()  # another process goes on
                again, pause = _AGAIN_S, max(self.view.every_s, _REST * (time.monotonic() - began))
            except ViewError as fault:
                self.close()
                await self._failed(fault)
                again, pause = min(again * 2, _AGAIN_MOST_S), again
            except GatewayError as fault:  # of our own inbox or store
                self.close()
                await self._failed(fault)
                pause = _AGAIN_S
            except Exception:  # a value nobody thought of must not end the reading for good
                log.critical("%s: reading %s failed", self.source.name, self.view.name, exc_info=True)
                self.close()
                await self._failed(GatewayError(self.view.name))
                again, pause = min(again * 2, _AGAIN_MOST_S), again
            await asyncio.sleep(pause * random.uniform(0.9, 1.1))

    async def read(self) -> int:
        """From the last position to the end of the view; returns how many rows were new. Raises a GatewayError."""
        reader, window = await self._opened()
        since, after = self._beginning(window)
        if since is None and not after:
            since = await self._aside(reader.first)
        window.begin()
        new, left = 0, list[Row]()
        while True:
            rows = await self._aside(partial(reader.page, since=since, after=after, rows=self.view.page_rows))
            if not rows:
                await self._check_nothing(reader, window)
                break
            new += await self._page(reader, window, rows)
            left += await self._claimed(reader, rows) if self.view.claim else []
            if len(rows) < self.view.page_rows:
                break
            after = [given(one) for one in ((rows[-1].changed,) if self.view.changed else ()) + rows[-1].key]
        if self.view.claim:
            self._check_claims(window, left)
        await self._well(reader)
        return new

    def _beginning(self, window: Window) -> tuple[object, list[object]]:
        """(since, after) of the first page; what may be claimed is read from the beginning."""
        if self.view.claim:
            return None, []
        try:
            return window.since, window.after
        except ValueError:
            zh = "这一列是文字，既不像时间（如 20260309080500）也不是数字，不能作 changed。"
            raise ViewChanged(self._changed, "its texts are neither times nor numbers", detail_zh=zh) from None

    async def _opened(self) -> tuple[ViewReader, Window]:
        if self._reader is None or self._window is None:
            position = Position.loaded(await self._positions.load(self.source.name), self.view)
            told = (await self._positions.readings()).get(self.source.name)  # perhaps another process's
            self._reading = told if told and told.view == self.view.name else Reading(self.view.name)
            self._reader = reader = ViewReader(self.source, self._secret)
            await self._aside(partial(reader.open, position.columns))
            position.columns = reader.columns
            self._window = Window(position, self.view.overlap, self._today)
        return self._reader, self._window

    def _today(self) -> datetime:
        return self._clock().astimezone(parse_offset(self.source.timezone))

    async def _page(self, reader: ViewReader, window: Window, rows: list[Row]) -> int:
        """Keep what is new of a page, then save how far it went; returns how many rows were new."""
        self._check_kinds(window, {_kind(row.changed) for row in rows})
        if twins := window.twins(rows):
            await self._aside(partial(reader.check_key, twins[0]))
        new = window.new(rows)
        whole = await self._aside(partial(reader.whole, new)) if new else []
        for one in await self._aside(lambda: list(reader.messages(whole))):
            await self._keep(one.body, one.rows, window.position.generation)
        moved = not self.view.claim and window.ahead(rows[-1])
        window.remember(rows)
        window.remember_others(whole, None if self.view.claim else rows[-1])
        if not self.view.claim:
            window.reach(rows[-1])
        if new or moved:
            self._reading = replace(self._reading, rows=self._reading.rows + len(new))
            body = await self._aside(window.saved)
            await self._positions.save(self.source.name, body, self._reading)
        return len(new)

    async def _keep(self, body: bytes, rows: int, generation: int) -> None:
        """Durably, and once it was worked on: a view with years to tell leaves room for whoever else sends.

        The same page read again after a kill is no second message; a row that came back to an earlier state is one.
        """
        content = b"%s\0%d" % (body, generation)
        receipt = await self._intake.push(self.source, body, f"{self.view.name}（{rows} 行）", content=content)
        if receipt.error is not None and receipt.error.retry:
            raise receipt.error
        await self._intake.settled(receipt.kept.key)

    async def _claimed(self, reader: ViewReader, rows: list[Row]) -> list[Row]:
        """Mark rows that were kept as taken; those left that could not be marked."""
        taken = {row.key for row in await self._aside(partial(reader.take, rows, given))}
        return [row for row in rows if row.key not in taken]

    def _check_claims(self, window: Window, left: list[Row]) -> None:
        """Raises ViewChanged for a row that could not be marked twice, although it is what it was."""
        window.only({row.key for row in left})
        stuck = [row for row in left if self._left.get(row.key) == row.hash]
        self._left = {row.key: row.hash for row in left}
        if stuck:
            assert self.view.claim is not None
            zh = f"{len(stuck)} 行已经收下，但取走标记写不上（UPDATE 没有改到行）：请核对 key 是否唯一、claim 的 open。"
            place = f"{self.view.name}, column {self.view.claim.column}"
            raise ViewChanged(place, f"the claim of {len(stuck)} rows changed no row", detail_zh=zh)

    async def _check_nothing(self, reader: ViewReader, window: Window) -> None:
        """Not even the newest row was read again: it may be gone, or no value is above one of another type."""
        if window.position.newest and not self.view.claim and (found := await self._aside(reader.sample)):
            self._check_kinds(window, {_kind(found)})

    def _check_kinds(self, window: Window, kinds: set[str]) -> None:
        """Raises ViewChanged: times among texts (a `0000-00-00`) are in no order."""
        if len(kinds) > 1:
            zh = "这一列混有不同类型的值（如时间里的 0000-00-00），排不出先后；请在视图里改为空值或补上时间。"
            raise ViewChanged(self._changed, "values of several types", detail_zh=zh)
        if window.position.newest and _kind(window.position.newest) not in kinds:
            zh = "这一列的类型变了，不能接着读；改回原来的类型，或改写 since 从那里重读。"
            raise ViewChanged(self._changed, "the column is of another type now", detail_zh=zh)

    @property
    def _changed(self) -> str:
        return f"{self.view.name}, column {self.view.changed}"

    # ---- how it goes -------------------------------------------------------------------------
    async def _well(self, reader: ViewReader) -> None:
        left_out = self._reading.left_out
        if time.monotonic() - self._counted_at > _LOOK_S:
            found = await self._aside(reader.left_out)
            left_out = _told(found) if found else None
            self._counted_at = time.monotonic()
            if found:
                log.warning("%s: %s", self.source.name, found.sentence_zh())
        if self._reading.fault is not None:
            log.warning("%s: 视图恢复读取 / the view is read again: %s", self.source.name, self.view.name)
        now = self._clock().timestamp()
        self._reading = replace(self._reading, read_at=now, fault=None, failing_at=0.0, left_out=left_out)
        await self._positions.tell(self.source.name, self._reading)

    async def _failed(self, fault: GatewayError) -> None:
        """Told once in the log, however often it happens again."""
        told = _told(fault)
        if self._reading.fault is None or self._reading.fault.code != told.code:
            log.warning("%s: %s %s", self.source.name, fault.code, fault.sentence_zh())
        since = self._reading.failing_at or self._clock().timestamp()
        self._reading = replace(self._reading, fault=told, failing_at=since)
        with contextlib.suppress(GatewayError):  # our own store is away: then this is not what matters
            await self._positions.tell(self.source.name, self._reading)

    async def _aside(self, work: Callable[[], T]) -> T:
        """On a thread of its own. Raises ViewSlow when even the driver does not come back."""
        try:
            return await aside(work, self.view.timeout_s + _GRACE_S)
        except asyncio.CancelledError:
            self._reader = None  # its thread has the connection; nobody else may
            raise
        except TimeoutError:
            self._reader = None
            zh = "驱动没有在时限内返回，已放弃这条连接。"
            raise ViewSlow(self.view.name, "the driver did not come back", detail_zh=zh) from None

    def close(self) -> None:
        """Let the connection go; another reading begins anew, from what is saved."""
        if self._reader is not None:
            self._reader.close()
        self._reader = self._window = None


def _told(fault: GatewayError) -> Fault:
    return Fault(fault.code, fault.place, fault.sentence_zh(), fault.sentence_en())


def _kind(kept: str) -> str:
    """What a kept value can be compared with: numbers of any type with each other."""
    return "n" if kept[:1] in ("i", "f") else kept[:1]


class ViewDoors:
    """A door for every source with a view; what the mappings say is followed while it runs."""

    def __init__(self, intake: Intake, positions: Positions, directory: Directory, secret: Secret, clock: Clock):
        self._intake, self._positions, self._clock = intake, positions, clock
        self._directory, self._secret = directory, secret
        self._running: dict[str, tuple[Source, asyncio.Task[None]]] = {}

    async def run(self, every_s: float = 1.0) -> None:
        """Until cancelled."""
        try:
            while True:
                self._follow()
                await asyncio.sleep(every_s)
        finally:
            tasks = [task for _, task in self._running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _follow(self) -> None:
        wanted = {name: one for name, one in self._directory.sources.items() if one.view is not None}
        for name, (source, task) in list(self._running.items()):
            if wanted.get(name) != source or task.done():
                task.cancel()
                del self._running[name]
        for name, source in wanted.items():
            if name not in self._running:
                self._running[name] = (source, asyncio.create_task(self._poll(source)))

    async def _poll(self, source: Source) -> None:
        door = ViewDoor(self._intake, self._positions, source, self._secret, self._clock)
        try:
            await door.run()
        finally:
            door.close()
