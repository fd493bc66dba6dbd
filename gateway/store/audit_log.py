"""The audit log: disclosures apart from the store's writer, durable before the first byte leaves (D20).

A disclosure is one appended row; all that wait share one write. Behind it a sealer chains committed rows,
disclosures and the store's effects alike, and makes them findable: what was said in the last second may be
unsealed. The chain is keyed: nobody without the store's key can change a row and mend it.

What is the same everywhere is here; where the rows lie is an `AuditBook`: files of its own beside SQLite, tables
written on connections of their own in PostgreSQL.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import NamedTuple, Protocol

import msgspec

from .base import AuditQuery, AuditRow, hash64
from .engine import Engine

DISCLOSURE, EFFECT = 0, 1
_LETTER = {DISCLOSURE: "d", EFFECT: "e"}
_BATCH = 500
_TURN = 64
"""Rows read at a stretch while others wait for the event loop."""
START = bytes(32)
"""What the first link is chained to."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AuditRow).decode


def encode_audit(row: AuditRow) -> bytes:
    """An audit row as it is kept and sealed."""
    return _encode(row)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain, to be anchored outside: number of sealed rows and the last code, hex."""

    n: int
    mac: str

    def __str__(self) -> str:
        return f"{self.n}:{self.mac}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`broken`: number in the chain of the first row that is gone or changed, 0 when all is well."""

    checked: int
    broken: int


class Sealed(NamedTuple):
    """A link of the chain. at: epoch ms of the row; words: what it is found by; row: the row itself."""

    n: int
    log: int
    seq: int
    at: int
    mac: bytes
    words: tuple[int, ...]
    row: bytes


@dataclass(frozen=True, slots=True)
class End:
    """Where the chain ends: its last number and code, and by log the last row in it."""

    n: int
    mac: bytes
    last: dict[int, int]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Links looked for: with all these words, of an instant in [since, until) (epoch ms), before a place (log, seq)."""

    words: tuple[int, ...]
    since: int | None
    until: int | None
    before: tuple[int, int] | None
    limit: int


Told = Callable[[Exception | None], None]
"""Hears what became of a write: None once it is durable."""


class AuditBook(Protocol):
    """Where disclosures and the chain lie."""

    def append(self, rows: list[bytes], told: Told) -> None:
        """Disclosures; `told` is called on the event loop once they are durable, or with what kept them from it.

        One call at a time: the next follows when told. Their numbers become visible in order.
        """

    async def end(self) -> End:
        """The end of the chain."""

    async def chain(self, make: Callable[[End], list[Sealed]]) -> None:
        """Add links to the end of the chain, nobody else in between."""

    async def links(self, after: int, limit: int) -> list[tuple[int, int, int, bytes]]:
        """(n, log, seq, mac) in order."""

    async def disclosures(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Disclosures with their numbers, oldest first."""

    async def disclosures_after(self, number: int) -> int:
        """How many there are behind a number."""

    async def disclosures_by_number(self, wanted: Sequence[int]) -> dict[int, bytes]:
        """Disclosures."""

    async def find(self, wanted: Wanted) -> list[tuple[int, int]]:
        """Places (log, seq) of links, newest first."""

    async def close(self) -> None:
        """Finish and close."""


class AuditLog:
    """Disclosures, their sealing and their finding."""

    def __init__(self, book: AuditBook, engine: Engine) -> None:
        self._book, self._engine = book, engine
        self._key = hashlib.blake2b(b"audit", key=engine.store_key, digest_size=32).digest()
        self._waiting: list[bytes] = []
        self._callers: list[asyncio.Future[None]] = []
        self._writing = False
        self._sealing = asyncio.Lock()

    # ---- disclosures -------------------------------------------------------------------------
    def disclose(self, row: AuditRow) -> asyncio.Future[None]:
        """Done once the row is on disk. Rows that come while others are written share the next write."""
        loop = asyncio.get_running_loop()
        caller: asyncio.Future[None] = loop.create_future()
        self._waiting.append(_encode(row))
        self._callers.append(caller)
        if not self._writing:
            self._writing = True
            loop.call_soon(self._write)  # behind all who ask in this turn of the loop
        return caller

    def _write(self) -> None:
        rows, callers = self._waiting, self._callers
        self._waiting, self._callers = [], []
        self._book.append(rows, partial(self._told, callers))

    def _told(self, callers: list[asyncio.Future[None]], fault: Exception | None) -> None:
        if self._waiting:
            self._write()
        else:
            self._writing = False
        for caller in callers:
            if caller.done():
                continue
            if fault is None:
                caller.set_result(None)
            else:  # to everybody who waits: no disclosure without its row
                caller.set_exception(fault)

    # ---- sealing -----------------------------------------------------------------------------
    async def seal(self) -> int:
        """Chain and index every row committed by now and not yet sealed; how many."""
        async with self._sealing:
            total, more = 0, True
            while more:
                done, more = await self._seal_some()
                total += done
            return total

    async def _seal_some(self) -> tuple[int, bool]:
        """How many, and whether more were there already."""
        last = (await self._book.end()).last
        said = await self._book.disclosures(last[DISCLOSURE], _BATCH)
        done = await self._engine.effects(last[EFFECT], _BATCH)
        found = [*((DISCLOSURE, *one) for one in said), *((EFFECT, *one) for one in done)]
        if found:
            rows: list[_Said] = []
            for at in range(0, len(found), _TURN):
                rows += [_said(*one) for one in found[at : at + _TURN]]
                await asyncio.sleep(0)
            rows.sort()
            await self._book.chain(lambda end: self._links(end, rows))
        return len(found), max(len(said), len(done)) == _BATCH

    def _links(self, end: End, rows: list[_Said]) -> list[Sealed]:
        # Another process, or a sealing that was cancelled, may have chained some of them meanwhile.
        n, mac = end.n, end.mac
        links: list[Sealed] = []
        for at, log, seq, row, words in rows:
            if seq > end.last[log]:
                n, mac = n + 1, self._mac(mac, log, seq, row)
                links.append(Sealed(n, log, seq, at, mac, words, row))
        return links

    def _mac(self, before: bytes, log: int, seq: int, row: bytes) -> bytes:
        return hashlib.blake2b(b"%b%d|%d|%b" % (before, log, seq, row), key=self._key, digest_size=32).digest()

    async def head(self) -> Head:
        """The end of the chain."""
        end = await self._book.end()
        return Head(end.n, end.mac.hex())

    async def unchained(self) -> int:
        """How many committed rows are not sealed yet: what was said in the last second, unless sealing fails."""
        last = (await self._book.end()).last
        said = await self._book.disclosures_after(last[DISCLOSURE])
        return said + await self._engine.effects_after(last[EFFECT])

    async def verify(self, noted: Head | None = None) -> Verdict:
        """Walk the chain from the start against the rows themselves.

        noted: an end it once had, kept elsewhere. Rows cut off behind the last one leave no other trace.
        """
        mac, checked = START, 0
        while True:
            part = await self._book.links(checked, _BATCH)
            if not part:
                return Verdict(checked, 0 if noted is None else await self._lacks(noted, checked))
            rows = await self._rows([(log, seq) for _, log, seq, _ in part])
            for n, log, seq, said in part:
                row = rows.get((log, seq))
                if n != checked + 1 or row is None or not hmac.compare_digest(self._mac(mac, log, seq, row), said):
                    return Verdict(checked, checked + 1)
                mac, checked = said, n
            await asyncio.sleep(0)

    async def _lacks(self, noted: Head, checked: int) -> int:
        """The first number that is gone or another since that end was noted, 0 for none."""
        found = await self._book.links(noted.n - 1, 1) if 0 < noted.n <= checked else []
        if noted.n == 0 or (found and hmac.compare_digest(found[0][3].hex(), noted.mac)):
            return 0
        return min(noted.n, checked + 1)

    # ---- finding -----------------------------------------------------------------------------
    async def find(self, query: AuditQuery) -> list[tuple[str, AuditRow]]:
        """Rows with their ids (`d7`, `e12`), newest first. Seals first, so that nothing is missing."""
        await self.seal()
        if query.id is not None:
            place = _place(query.id)
            found = await self._rows([place]) if place else {}
            return [(query.id, _decode(row)) for row in found.values()]
        places = await self._book.find(_wanted(query))
        rows = await self._rows(places)
        return [(f"{_LETTER[log]}{seq}", _decode(rows[log, seq])) for log, seq in places]

    async def _rows(self, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        own = await self._book.disclosures_by_number([seq for log, seq in places if log == DISCLOSURE])
        theirs = await self._engine.effects_by_number([seq for log, seq in places if log == EFFECT])
        found = {(DISCLOSURE, seq): row for seq, row in own.items()}
        return found | {(EFFECT, seq): row for seq, row in theirs.items()}

    async def close(self) -> None:
        """Write and seal what waits."""
        while self._writing:
            await asyncio.sleep(0.001)
        await self.seal()
        await self._book.close()


_Said = tuple[int, int, int, bytes, tuple[int, ...]]
"""(epoch ms, log, seq, row, words): in the order in which rows are chained."""


class _Found(msgspec.Struct):
    """What a row is placed and found by, at half the cost of reading it whole."""

    at: datetime
    action: str
    kind: str
    subtype: str
    outcome: str
    user: str
    patients: tuple[str, ...]
    entities: tuple[str, ...]


_decode_found = msgspec.json.Decoder(_Found).decode


def _said(log: int, seq: int, row: bytes) -> _Said:
    found = _decode_found(row)
    return int(found.at.timestamp() * 1000), log, seq, row, _words(found)


def _place(id_: str) -> tuple[int, int] | None:
    log = {letter: log for log, letter in _LETTER.items()}.get(id_[:1])
    return (log, int(id_[1:])) if log is not None and id_[1:].isdigit() and len(id_) < 19 else None


@lru_cache(8192)
def _word(name: str, value: str) -> int:
    """The same few callers and patients come again and again."""
    return hash64("audit", name, value)


def _words(row: _Found) -> tuple[int, ...]:
    words = [_word("patient", one) for one in row.patients]
    for one in row.entities:
        words.append(_word("entity", one))
        whole, version, _ = one.partition("/_history/")
        if version:  # a version of a resource is found under the resource too
            words.append(_word("entity", whole))
    return (*_usual(row.user, row.action, row.kind, row.subtype, row.outcome), *words)


@lru_cache(8192)
def _usual(user: str, action: str, kind: str, subtype: str, outcome: str) -> tuple[int, ...]:
    said = {"user": user, "action": action, "kind": kind, "subtype": subtype, "outcome": outcome}
    return tuple(_word(name, value) for name, value in said.items() if value)


def _asked(query: AuditQuery) -> list[int]:
    asked = {
        "user": query.user, "action": query.action, "kind": query.kind, "subtype": query.subtype,
        "outcome": query.outcome, "patient": query.patient, "entity": query.entity,
    }  # fmt: skip
    return [hash64("audit", name, value) for name, value in asked.items() if value is not None]


def _wanted(query: AuditQuery) -> Wanted:
    since, until = (None if at is None else int(at.timestamp() * 1000) for at in (query.since, query.until))
    before = (_place(query.before) or (-1, -1)) if query.before else None
    return Wanted(tuple(_asked(query)), since, until, before, query.limit)
