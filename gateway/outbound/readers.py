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
from typing import NamedTuple

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
        self._waiting: deque[_Waiting] = deque()
        self._one_here = False  # in this turn of the loop
        self._lately: set[int] = set()

    async def search(self, parts: SearchParts, call: Call, on: On) -> Answer:
        """As `fhir_search.search`."""
        told = b"" if self._before(call, on) or "_pretty=" in call.query else await self._told(call, on)
        return _answer(told_in(told)) if told else await fhir_search.search(parts, call, on)

    def _before(self, call: Call, on: On) -> bool:
        """Whether the same was asked lately."""
        key = hash((on.place, call.query, call.body))
        if key in self._lately:
            return True
        if len(self._lately) >= _LATELY:
            self._lately.clear()
        self._lately.add(key)
        return False

    async def _told(self, call: Call, on: On) -> bytes:
        """What a process answers; nothing where this one is to."""
        loop = asyncio.get_running_loop()
        if not self._one_here and not self._waiting:
            self._one_here = True
            loop.call_soon(self._deal)
            return b""
        waiting = _Waiting(call, on, loop.create_future())
        self._waiting.append(waiting)
        return await waiting.told

    def _deal(self) -> None:
        """One turn of the loop."""
        self._one_here = False
        if len(self._waiting) >= _MANY:
            for one in self._readers:
                one.begin()
        self._give()
        if self._waiting:
            self._one_here = True
            _tell(self._waiting.popleft().told, b"")
            asyncio.get_running_loop().call_soon(self._deal)

    def _give(self) -> None:
        """To each process as many as keep it busy, without those who went away."""
        for one in self._readers:
            while self._waiting and one.room > 0:
                waiting = self._waiting.popleft()
                if not waiting.told.done():
                    one.ask(_asked(waiting.call, waiting.on, *self._moment()), waiting.told)

    async def close(self) -> None:
        """End the processes."""
        for one in self._readers:
            await one.close()


class _Waiting(NamedTuple):
    """A search, and the future of what a process answers; of nothing, where the gateway is to."""

    call: Call
    on: On
    told: asyncio.Future[bytes]


class _Reader:
    """One process, running or not."""

    def __init__(self, arguments: Iterable[str], free: Callable[[], None]) -> None:
        self._child = Child(reading.__name__, arguments, self._heard, self._lost)
        self._free = free
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._beginning: asyncio.Task[None] | None = None
        self.close = self._child.close

    @property
    def room(self) -> int:
        """How many more questions it may be given."""
        return _AHEAD - len(self._asked) if self._child.running else 0

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

    def ask(self, asked: Asked, told: asyncio.Future[bytes]) -> None:
        """told: of its answer, of nothing where it gives none.

        Whoever asked may go away: it works on it all the same.
        """
        number = next(self._numbers)
        try:
            self._child.say(ASK, number, encode(asked))
        except Lost:
            _tell(told, b"")
        else:
            self._asked[number] = told

    def _heard(self, _: int, number: int, data: bytes) -> None:
        _tell(self._asked.pop(number), data)
        self._free()

    def _lost(self) -> None:
        asked, self._asked = self._asked, {}
        if asked:
            _LOG.error("the reading process was lost; what it was asked is answered in the event loop")
        for told in asked.values():
            _tell(told, b"")


def _tell(told: asyncio.Future[bytes], data: bytes) -> None:
    if not told.done():  # else whoever asked went away
        told.set_result(data)


def _asked(call: Call, on: On, tx: int, at: datetime) -> Asked:
    headers = {name: value for name in _SAID if (value := call.header(name))}
    ms = int(at.timestamp() * 1000)
    return Asked(tx, ms, on.name, on.type, on.within, call.method, call.query, headers, call.body, call.who, call.base)


def _answer(told: Told) -> Answer:
    if told.costly is not None:
        place, detail, detail_zh = told.costly
        raise TooCostly(place, detail, detail_zh=detail_zh)
    return Answer(told.status, told.body, told.headers, told.media, told.seen)
