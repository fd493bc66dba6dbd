"""Preparing writes (`fhir_draft.py`): little of it here, in slices; much of it in a process of its own.

The process is started when there is much to do for the first time: a large Bundle, several single writes that come in
one turn of the loop, or several messages of several resources at a time. It ends with the gateway. When it is lost at
work, the work is given to a new one; work that costs two of them is refused, and never done here: it may be what they
died of.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from ..errors import GatewayError, NotPrepared
from ..model.child import Child, Lost, NotStarted
from ..model.pace import OneByOne, Pace
from ..store.base import PackedPut, Put
from ..store.bodies import RawPut, made_put
from . import preparing
from .fhir_draft import Draft, Entry, Places, Ready, Wanted, made_ready, ready
from .preparing import BODY, DROP, ENTRIES, PIECE, PLACES, PUTS, WANTED, encode

APART_BYTES = 64 * 1024
"""From here on a Bundle is prepared apart: some 50 entries."""
FEW = 4
"""Fewer single writes than this in one turn of the loop are prepared here; so is a message of fewer resources, and all
messages as long as there were never so many at once."""
_AT_A_TIME = 8
"""Single writes prepared apart in one piece: the first are planned and committed while the next are prepared."""
_CHUNK = 256 * 1024
_Single = tuple[str, str, str, bytes, "asyncio.Future[Ready | None]"]
"""Member, type, id, body, and who waits."""
T = TypeVar("T")
log = logging.getLogger("gateway.fhir")


class Work(Protocol):
    """A Bundle in work."""

    body: bytes

    async def entries(self) -> tuple[str, list[Entry]]:
        """Its type and its entries. Raises Unparseable, BadParameter, NotPrepared."""

    async def ready(self, wanted: Sequence[Wanted], places: Places) -> list[Ready | None]:
        """What becomes of its resources; None where there is a fault. Raises NotPrepared."""


class Preparer:
    """processes: how many prepare beside this one. folders: profiles whose search parameters are in force."""

    def __init__(self, processes: int = 0, folders: Iterable[Path] = ()) -> None:
        self._apart = [_Process(folders) for _ in range(processes)]
        self._group: list[_Single] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn, self._here = OneByOne(), 0

    @asynccontextmanager
    async def work(self, body: bytes) -> AsyncIterator[Work]:
        """A Bundle, for as long as it is worked on."""
        if len(body) < APART_BYTES or not self._apart:
            yield _Here(body)
            return
        work = _Apart(min(self._apart, key=lambda one: one.jobs), body)
        try:
            yield work
        finally:
            work.drop()

    async def one(self, member: str, type_: str, id_: str, body: bytes) -> Ready:
        """A single body as its writer's own. Raises Invalid, Unparseable, ActiveNarrative, NotPrepared."""
        if self._apart:
            loop = asyncio.get_running_loop()
            told: asyncio.Future[Ready | None] = loop.create_future()
            if not self._group:
                loop.call_soon(self._together)
            self._group.append((member, type_, id_, body, told))
            if (found := await told) is not None:
                return found
        return made_ready(member, type_, id_, body)

    def _together(self) -> None:
        """What came in one turn of the loop; nothing made of it (None) is made by who asked."""
        group, self._group = self._group, []
        process = min(self._apart, key=lambda one: one.jobs)
        if len(group) >= FEW and process.running:
            for piece in _pieces(group, _AT_A_TIME):
                self._keep(asyncio.create_task(_grouped(process, piece)))
            return
        for *_, told in group:
            if not told.done():
                told.set_result(None)
        if len(group) >= FEW:
            self._keep(asyncio.create_task(_begun(process)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def puts(self, asked: Sequence[RawPut]) -> list[Put | PackedPut]:
        """What a message makes, as puts; messages take turns here. Raises Invalid, NotPrepared."""
        made: Sequence[Put | PackedPut | None] = [None] * len(asked)
        process = min(self._apart, key=lambda one: one.jobs) if self._apart and len(asked) >= FEW else None
        if process is not None and process.running:
            made = await _packed(process, asked)
        elif process is not None and self._here == FEW - 1:
            self._keep(asyncio.create_task(_begun(process)))
        self._here += 1
        try:
            return [put or await self._made(raw) for put, raw in zip(made, asked, strict=True)]
        finally:
            self._here -= 1

    async def _made(self, raw: RawPut) -> Put:
        await self._turn()
        return made_put(raw)

    async def close(self) -> None:
        """End the processes."""
        for one in self._apart:
            await one.close()


class _Here:
    def __init__(self, body: bytes) -> None:
        self.body = body

    async def entries(self) -> tuple[str, list[Entry]]:
        draft = Draft(self.body)
        return draft.kind, await _slowly(draft.entries())

    async def ready(self, wanted: Sequence[Wanted], places: Places) -> list[Ready | None]:
        return await _slowly(ready(self.body, wanted, places))


async def _slowly(all_: Iterable[T]) -> list[T]:
    found, pace = [], Pace()
    for one in all_:
        found.append(one)
        await pace()
    return found


# ---- apart ------------------------------------------------------------------------------------
class _Apart:
    """The work on one Bundle, done again where the process was lost."""

    def __init__(self, process: _Process, body: bytes) -> None:
        self.body, self._process, self._line = body, process, _Line()

    async def entries(self) -> tuple[str, list[Entry]]:
        return await self._twice(self._entries, _Here(self.body).entries)

    async def ready(self, wanted: Sequence[Wanted], places: Places) -> list[Ready | None]:
        async def ask(line: _Line) -> list[Ready | None]:
            return await self._ready(line, wanted, places)

        async def here() -> list[Ready | None]:
            return await _Here(self.body).ready(wanted, places)

        return await self._twice(ask, here)

    async def _twice(self, ask: Callable[[_Line], Awaitable[T]], here: Callable[[], Awaitable[T]]) -> T:
        for _ in range(2):
            try:
                return await ask(await self._begun())
            except NotStarted:
                log.error("no preparing process can be started; large Bundles are prepared in the event loop")
                return await here()
            except Lost:
                log.error("the preparing process was lost; a new one does its work again")
        raise NotPrepared()

    async def _begun(self) -> _Line:
        """The line to a process that has the Bundle."""
        if self._line.lost:
            self._line = await self._process.line()
            view, pace = memoryview(self.body), Pace()
            for first in range(0, len(view), _CHUNK):
                await self._line.say(BODY, view[first : first + _CHUNK])
                await pace()
        return self._line

    async def _entries(self, line: _Line) -> tuple[str, list[Entry]]:
        await line.say(ENTRIES)
        told = preparing.told_in(await line.heard())
        if told.code:
            kind = type(GatewayError.of(told.code))
            raise kind(told.place, told.detail, detail_zh=told.detail_zh)
        found, pace = list[Entry](), Pace()
        while len(found) < told.count:
            found += preparing.entries_in(await line.heard())
            await pace()
        return told.kind, found

    async def _ready(self, line: _Line, wanted: Sequence[Wanted], places: Places) -> list[Ready | None]:
        for piece in _pieces(list(places.items())):
            await line.say(PLACES, encode(dict(piece)))
        asking = asyncio.create_task(self._ask(line, wanted))
        found, pace = list[Ready | None](), Pace()
        try:
            while len(found) < len(wanted):
                found += preparing.ready_in(await line.heard())
                await pace()
            await asking
        finally:
            asking.cancel()
        return found

    async def _ask(self, line: _Line, wanted: Sequence[Wanted]) -> None:
        with contextlib.suppress(Lost):  # who listens hears of it
            for piece in _pieces(wanted):
                await line.say(WANTED, encode(piece))

    async def puts(self, asked: Sequence[RawPut]) -> list[PackedPut | None]:
        """Of bodies that are no Bundle's; None where there is a fault, or no process. Raises NotPrepared."""

        async def ask(line: _Line) -> list[PackedPut | None]:
            for piece in _pieces(asked):
                await line.say(PUTS, encode(piece))
            found = list[PackedPut | None]()
            while len(found) < len(asked):
                found += preparing.packed_in(await line.heard())
            return found

        async def here() -> list[PackedPut | None]:
            return [None] * len(asked)

        return await self._twice(ask, here)

    def drop(self) -> None:
        """The process may forget the Bundle."""
        self._line.drop()


async def _packed(process: _Process, asked: Sequence[RawPut]) -> list[PackedPut | None]:
    work = _Apart(process, b"")
    try:
        return await work.puts(asked)
    finally:
        work.drop()


async def _begun(process: _Process) -> None:
    with contextlib.suppress(NotStarted):  # who has a large Bundle hears of it
        await process.begin()


async def _grouped(process: _Process, group: Sequence[_Single]) -> None:
    work, at = _Apart(process, b"".join([body for *_, body, _ in group])), 0
    wanted: list[Wanted] = []
    for member, type_, id_, body, _ in group:
        wanted.append(Wanted(at, at + len(body), member, type_, id_))
        at += len(body)
    try:
        made = await work.ready(wanted, {})
    except NotPrepared as fault:
        await _apart_again(process, group, fault)
        return
    finally:
        work.drop()
    for (*_, told), one in zip(group, made, strict=True):
        if not told.done():
            told.set_result(one)


async def _apart_again(process: _Process, group: Sequence[_Single], fault: NotPrepared) -> None:
    """One of a group may be what the process died of; the others are not to suffer for it."""
    half = len(group) // 2
    if half:
        await _grouped(process, group[:half])
        await _grouped(process, group[half:])
    elif not group[0][-1].done():
        group[0][-1].set_exception(fault)


def _pieces(all_: Sequence[T], size: int = PIECE) -> Iterable[Sequence[T]]:
    return (all_[first : first + size] for first in range(0, len(all_), size))


class _Line:
    """One job at a process. Lost from the beginning, until a process gives one."""

    def __init__(self, process: _Process | None = None, number: int = 0) -> None:
        self._process, self._number = process, number
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.lost = process is None

    async def say(self, kind: int, data: bytes | memoryview = b"") -> None:
        """Send a message. Raises Lost."""
        if self.lost or self._process is None:
            raise Lost
        await self._process.send(kind, self._number, data)

    async def heard(self) -> bytes:
        """The next answer. Raises Lost."""
        found = await self._queue.get() if not self.lost or not self._queue.empty() else None
        if found is None:
            raise Lost
        return found

    def take(self, data: bytes | None) -> None:
        """An answer, or None: the process is gone."""
        self.lost = self.lost or data is None
        self._queue.put_nowait(data)

    def drop(self) -> None:
        """Nothing more is asked."""
        if self._process is not None:
            self._process.drop(self._number)


class _Process:
    """One preparing process, running or not."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._lines: dict[int, _Line] = {}
        self._numbers = itertools.count(1)
        self._child = Child(preparing.__name__, [str(one) for one in folders], self._heard, self._lost)
        self.begin, self.send, self.close = self._child.begin, self._child.send, self._child.close

    @property
    def jobs(self) -> int:
        """Bundles at work."""
        return len(self._lines)

    @property
    def running(self) -> bool:
        """Started, and not lost."""
        return self._child.running

    async def line(self) -> _Line:
        """A new job; starts the process when none runs."""
        await self.begin()
        number = next(self._numbers)
        line = self._lines[number] = _Line(self, number)
        return line

    def _heard(self, _: int, number: int, data: bytes) -> None:
        if line := self._lines.get(number):
            line.take(data)

    def _lost(self) -> None:
        lines, self._lines = self._lines, {}
        for line in lines.values():
            line.take(None)

    def drop(self, number: int) -> None:
        """A job is over."""
        if self._lines.pop(number, None) is not None and self._child.running:
            self._child.say(DROP, number)
