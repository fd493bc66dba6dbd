"""Searches that come together are shared with processes that read beside this one (`reading.py`).

Who comes alone is answered here, and so is who asks what was asked lately: it is likely remembered here. Of the others
that come in one turn of the event loop one is answered here a turn, and the processes are kept busy with the rest. They
are started when there are many for the first time. What one does not answer is answered here.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from ..errors import TooCostly
from ..model.child import Child, Lost, NotStarted
from ..model.rest import Answer, Call
from . import fhir_search, reading
from .fhir_parts import On, SearchParts
from .reading import ASK, Asked, Told, encode, told_in

_MANY = 4
"""So many that wait in one turn are worth the processes."""
_AHEAD = 4
"""Questions given to a process before it answered: so many that it never waits for the next."""
_LATELY = 2_000
"""Questions of which it is known that they were asked."""
_SAID = ("accept", "accept-encoding", "content-type", "prefer")
"""Headers a search rests on."""
_LOG = logging.getLogger("gateway.fhir")


class Readers:
    """processes: how many read beside this one. directory: of the store. moment: the last commit somebody has heard
    of, and its instant. folders: profiles whose search parameters are in force."""

    def __init__(
        self,
        processes: int,
        directory: Path,
        moment: Callable[[], tuple[int, datetime]],
        folders: Iterable[Path] = (),
        page_life_s: int = 3600,
    ) -> None:
        arguments = (str(directory), str(page_life_s), *(str(one) for one in folders))
        self._readers = [_Reader(arguments, self._give) for _ in range(processes)]
        self._moment = moment
        self._waiting: deque[asyncio.Future[_Reader | None]] = deque()
        self._one_here = False  # in this turn of the loop
        self._lately: set[int] = set()

    async def search(self, parts: SearchParts, call: Call, on: On) -> Answer:
        """As `fhir_search.search`."""
        reader = None if self._before(call, on) or "_pretty=" in call.query else await self._reader()
        told = await reader.ask(_asked(call, on, *self._moment())) if reader is not None else None
        return await fhir_search.search(parts, call, on) if told is None else _answer(told)

    def _before(self, call: Call, on: On) -> bool:
        """Whether the same was asked lately."""
        key = hash((on.place, call.query, call.body))
        if key in self._lately:
            return True
        if len(self._lately) >= _LATELY:
            self._lately.clear()
        self._lately.add(key)
        return False

    async def _reader(self) -> _Reader | None:
        """Who is to answer; None for this process."""
        loop = asyncio.get_running_loop()
        if not self._one_here and not self._waiting:
            self._one_here = True
            loop.call_soon(self._deal)
            return None
        waiting: asyncio.Future[_Reader | None] = loop.create_future()
        self._waiting.append(waiting)
        return await waiting

    def _deal(self) -> None:
        """One turn of the loop."""
        self._one_here = False
        if len(self._waiting) >= _MANY:
            for one in self._readers:
                one.begin()
        self._give()
        if self._waiting:
            self._one_here = True
            self._next(None)
            asyncio.get_running_loop().call_soon(self._deal)

    def _give(self) -> None:
        """To each process as many as keep it busy."""
        for one in self._readers:
            for _ in range(min(one.room, len(self._waiting))):
                one.promised += 1
                self._next(one)

    def _next(self, reader: _Reader | None) -> None:
        waiting = self._waiting.popleft()
        if not waiting.done():
            waiting.set_result(reader)
        elif reader is not None:  # whoever asked went away
            reader.promised -= 1

    async def close(self) -> None:
        """End the processes."""
        for one in self._readers:
            await one.close()


class _Reader:
    """One process, running or not. promised: questions that are on their way to it."""

    def __init__(self, arguments: Iterable[str], free: Callable[[], None]) -> None:
        self._child = Child(reading.__name__, arguments, self._heard, self._lost)
        self._free = free
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._beginning: asyncio.Task[None] | None = None
        self.promised = 0
        self.close = self._child.close

    @property
    def room(self) -> int:
        """How many more questions it may be given."""
        return _AHEAD - self.promised - len(self._asked) if self._child.running else 0

    def begin(self) -> None:
        """Start it, once at a time, when it does not run."""
        if not self._child.running and self._beginning is None:
            self._beginning = asyncio.create_task(self._begin())

    async def _begin(self) -> None:
        try:
            await self._child.begin()
        except NotStarted:
            _LOG.error("no reading process can be started; searches are answered in the event loop")
        else:
            self._beginning = None

    async def ask(self, asked: Asked) -> Told | None:
        """Its answer; None where it gives none. One that was promised."""
        self.promised -= 1
        number = next(self._numbers)
        told = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._child.say(ASK, number, encode(asked))
        except Lost:
            del self._asked[number]
            return None
        data = await told  # whoever asked may go away: the process works on it all the same
        return told_in(data) if data else None

    def _heard(self, _: int, number: int, data: bytes) -> None:
        told = self._asked.pop(number)
        if not told.done():
            told.set_result(data)
        self._free()

    def _lost(self) -> None:
        asked, self._asked = self._asked, {}
        if asked:
            _LOG.error("the reading process was lost; what it was asked is answered in the event loop")
        for told in asked.values():
            if not told.done():
                told.set_result(b"")


def _asked(call: Call, on: On, tx: int, at: datetime) -> Asked:
    headers = {name: value for name in _SAID if (value := call.header(name))}
    ms = int(at.timestamp() * 1000)
    return Asked(tx, ms, on.name, on.type, on.within, call.method, call.query, headers, call.body, call.who, call.base)


def _answer(told: Told) -> Answer:
    if told.costly is not None:
        place, detail, detail_zh = told.costly
        raise TooCostly(place, detail, detail_zh=detail_zh)
    return Answer(told.status, told.body, told.headers, told.media, told.seen)
