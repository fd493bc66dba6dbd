"""The reading process: searches of a store on SQLite, run beside the event loop (`readers.py`).

    python -m gateway.outbound.reading <socket> <store directory> <seconds a page lives> [profile folder …]

It serves the gateway that started it (`model/child.py`; numbers are those of questions) and remembers nothing that a
commit could change: with each question it is told as of which commit it reads.

| to it | | from it | |
|---|---|---|---|
| ASK | `Asked` | TOLD | `Told`; nothing for a fault, which whoever asked then meets itself |
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from ..errors import TooCostly
from ..model.child import Line, Lost, serve
from ..model.context import AccessContext
from ..model.rest import Answer, Call, Seen
from ..model.times import system_clock
from ..store.index import keep_parameters, params
from ..store.sqlite_following import Following, open_following
from ..validate.definitions import resource_types
from . import fhir_search
from .fhir_answers import compressed
from .fhir_parts import On, SearchParts

ASK, TOLD = range(2)


class Asked(Struct, array_like=True):
    """A search of the FHIR door, and the moment it is about: the number of a commit and its instant (epoch ms)."""

    tx: int
    at: int
    name: str
    type: str
    within: str
    method: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    who: AccessContext
    base: str


class Told(Struct, array_like=True):
    """The answer. costly: in its place, what of the search costs too much."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]
    media: str
    seen: Seen | None
    costly: tuple[str, str, str] | None = None


encode = msgspec.msgpack.Encoder().encode
told_in = msgspec.msgpack.Decoder(Told).decode
_asked_in = msgspec.msgpack.Decoder(Asked).decode


class _Reading:
    def __init__(self, engine: Following, parts: SearchParts, line: Line) -> None:
        self._engine, self._parts, self._line = engine, parts, line
        self._tasks: set[asyncio.Task[None]] = set()

    def heard(self, _: int, number: int, data: bytes) -> None:
        asked = _asked_in(data)
        self._engine.told(asked.tx, asked.at)
        task = asyncio.create_task(self._answer(asked, number))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, asked: Asked, number: int) -> None:
        try:
            data = encode(await self._told(asked))
        except Exception:
            data = b""
        with suppress(Lost):
            self._line.say(TOLD, number, data)

    async def _told(self, asked: Asked) -> Told:
        call = Call(asked.method, "", asked.query, asked.headers, asked.body, asked.who, asked.base)
        try:
            made = await fhir_search.search(self._parts, call, On(asked.name, asked.type, within=asked.within))
        except TooCostly as fault:
            return Told(0, b"", (), "", None, (fault.place, fault.detail, fault.detail_zh))
        answer: Answer = await compressed(made, asked.headers)
        return Told(answer.status, answer.body, answer.headers, answer.media, answer.seen)


def main(fd: int, directory: str, page_life_s: int, folders: list[str]) -> None:
    """Serve until the gateway is gone."""
    keep_parameters(Path(one) for one in folders)
    engine, store = open_following(Path(directory), system_clock, page_life_s)
    parts = SearchParts(store=store, clock=system_clock, lookup=params, types=resource_types(), page_life_s=page_life_s)
    serve(fd, lambda line: _Reading(engine, parts, line).heard, (50_000, 20, 50))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
