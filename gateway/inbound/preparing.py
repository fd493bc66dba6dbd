"""The preparing process: what of writes needs no store, done beside the event loop (`fhir_draft.py`).

    python -m gateway.inbound.preparing <socket> [profile folder …]

It serves the gateway that started it (`model/child.py`; numbers are those of jobs). Jobs go on in turns, a few
resources at a time, so that a small one does not wait for a large one.

| to it | | from it | |
|---|---|---|---|
| BODY | a piece of the job's bytes | | |
| ENTRIES | read them as a Bundle | BUNDLE, ENTRIES … | its kind and number of entries, or its fault; then those |
| PLACES | `fhir_draft.Places`, added to those before | | |
| WANTED | up to `PIECE` resources | READY | as many, in the same order |
| PUTS | up to `PIECE` bodies with all they need | PACKED | as many puts, in the same order; null for a fault |
| DROP | the job is over | | |
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Struct

from ..errors import GatewayError
from ..model.child import Heard, Line, serve
from ..store.base import PackedPut
from ..store.bodies import RawPut, made_put, pack_put, shipped_codec
from ..store.index import keep_parameters
from ..validate.structure import decode
from .fhir_draft import Draft, Entry, Ready, Wanted, ready

BODY, ENTRIES, PLACES, WANTED, PUTS, DROP, BUNDLE, READY, PACKED = range(9)
PIECE = 32
"""Entries or resources in one message: some milliseconds of work."""
encode = msgspec.msgpack.Encoder().encode
entries_in = msgspec.msgpack.Decoder(list[Entry]).decode
ready_in = msgspec.msgpack.Decoder(list[Ready | None]).decode
packed_in = msgspec.msgpack.Decoder(list[PackedPut | None]).decode
_puts_in = msgspec.msgpack.Decoder(list[RawPut]).decode
_wanted_in = msgspec.msgpack.Decoder(list[Wanted]).decode
_places_in = msgspec.msgpack.Decoder(dict[str, str]).decode
_WARM = b'{"resourceType":"Observation","status":"final","code":{"text":"x"}}'


class Told(Struct, array_like=True):
    """What a Bundle is, or why it is none: the code of the error, and what it was made of."""

    kind: str = ""
    count: int = 0
    code: str = ""
    place: str = ""
    detail: str = ""
    detail_zh: str = ""


told_in = msgspec.msgpack.Decoder(Told).decode


class _Job:
    def __init__(self, number: int, line: Line) -> None:
        self._number, self._line = number, line
        self._body = bytearray()
        self._places: dict[str, str] = {}
        self._asked: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self.task = asyncio.create_task(self._work())
        self.task.add_done_callback(_ended)

    def take(self, kind: int, data: bytes) -> None:
        """What the gateway says about this job."""
        if kind == BODY:
            self._body += data
        else:
            self._asked.put_nowait((kind, data))

    async def _work(self) -> None:
        while True:
            kind, data = await self._asked.get()
            if kind == PLACES:
                self._places |= _places_in(data)
            elif kind == PUTS:
                await self._say(PACKED, [_packed(one) for one in _puts_in(data)])
            elif kind == WANTED:
                await self._say(READY, list(ready(self._body, _wanted_in(data), self._places)))
            else:
                await self._bundle()

    async def _bundle(self) -> None:
        try:
            draft = Draft(self._body)
        except GatewayError as fault:
            await self._say(BUNDLE, Told("", 0, fault.code, fault.place, fault.detail, fault.detail_zh))
            return
        await self._say(BUNDLE, Told(draft.kind, draft.count))
        entries = draft.entries()
        while piece := list(islice(entries, PIECE)):
            await self._say(ENTRIES, piece)

    async def _say(self, kind: int, what: object) -> None:
        self._line.say(kind, self._number, encode(what))
        await self._line.room()


def _packed(raw: RawPut) -> PackedPut | None:
    """None where there is a fault: whoever asked does it again and meets it."""
    try:
        return pack_put(made_put(raw), shipped_codec())
    except Exception:
        return None


def _ended(task: asyncio.Task[None]) -> None:
    """A job that ends by itself must not leave the gateway waiting for it."""
    if not task.cancelled():
        os._exit(1)


def _serving(line: Line) -> Heard:
    jobs: dict[int, _Job] = {}

    def heard(kind: int, number: int, data: bytes) -> None:
        if kind == DROP:
            if job := jobs.pop(number, None):
                job.task.cancel()
            return
        if number not in jobs:
            jobs[number] = _Job(number, line)
        jobs[number].take(kind, data)

    return heard


def main(fd: int, folders: list[str]) -> None:
    """Serve until the gateway is gone."""
    keep_parameters(Path(one) for one in folders)
    decode("Observation", _WARM)
    serve(fd, _serving, (50_000, 20, 50))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
