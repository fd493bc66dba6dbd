"""The audit log: disclosures in a file of their own, durable before the first byte leaves (D20, design-store §10).

A disclosure is one appended row; all that wait share one fsync. Behind it a sealer chains committed rows,
disclosures and the store's effects alike, and makes them findable: what was said in the last second may be
unsealed. The chain is keyed: nobody without the store's key can change a row and mend it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources as package_files
from pathlib import Path

import apsw
import msgspec

from .base import AuditQuery, AuditRow, hash64
from .engine import Engine
from .sqlite_sql import fts_words, insert, numbers
from .writer import GroupWriter, connect

DISCLOSURE, EFFECT = 0, 1
_LETTER = {DISCLOSURE: "d", EFFECT: "e"}
_BATCH = 500
_START = bytes(32)
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """`broken`: number in the chain of the first row that is gone or changed, 0 when all is well."""

    checked: int
    broken: int


class AuditLog:
    """`<directory>/audit.db`."""

    def __init__(self, directory: Path, engine: Engine) -> None:
        path = str(directory / "audit.db")
        self._engine = engine
        self._key = hashlib.blake2b(b"audit", key=engine.store_key, digest_size=32).digest()
        self._writer = GroupWriter(path)
        _prepare(self._writer.connection)
        self._reader = connect(path, writer=False)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flush: asyncio.Task[None] | None = None
        self._sealing = asyncio.Lock()

    # ---- disclosures -------------------------------------------------------------------------
    async def disclose(self, row: AuditRow) -> None:
        """Returns once the row is on disk. Rows that come while others are written share the next write."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((_encode(row), told))
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._write())
        await told

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            fault: Exception | None = None
            try:
                await self._writer.run(_append([one for one, _ in group]))
            except Exception as error:  # told to everybody who waits: no disclosure without its row
                fault = error
            for _, told in group:
                if told.done():
                    continue
                if fault is None:
                    told.set_result(None)
                else:
                    told.set_exception(fault)

    # ---- sealing -----------------------------------------------------------------------------
    async def seal(self) -> int:
        """Chain and index every committed row not yet sealed; how many."""
        async with self._sealing:
            total = 0
            while True:
                done = await self._seal_some()
                total += done
                if done == 0:
                    return total

    async def _seal_some(self) -> int:
        last = _sealed(self._reader)
        sql = "SELECT seq, row FROM disclosure WHERE seq > ? ORDER BY seq LIMIT ?"
        said = list(self._reader.execute(sql, (last[DISCLOSURE], _BATCH)))
        found = [(DISCLOSURE, int(seq), bytes(row)) for seq, row in said]
        found += [(EFFECT, seq, row) for seq, row in await self._engine.effects(last[EFFECT], _BATCH)]
        if found:
            rows = sorted(((_decode(row).at, log, seq, row) for log, seq, row in found), key=lambda one: one[:3])
            await self._writer.run(lambda db: self._chain(db, [(log, seq, row) for _, log, seq, row in rows]))
        return len(found)

    def _chain(self, db: apsw.Connection, rows: list[tuple[int, int, bytes]]) -> None:
        n, mac = next(iter(db.execute("SELECT n, mac FROM seal ORDER BY n DESC LIMIT 1")), (0, _START))
        # A sealing that was cancelled may have reached the file all the same.
        last = _sealed(db)
        seals: list[tuple[int, int, int, int, bytes]] = []
        posts: list[tuple[int, str]] = []
        for log, seq, row in rows:
            if seq <= last[log]:
                continue
            n, mac = n + 1, self._mac(mac, log, seq, row)
            said = _decode(row)
            seals.append((n, log, seq, int(said.at.timestamp() * 1000), mac))
            posts.append((n, fts_words(_words(said))))
            last[log] = seq
        insert(db, "INSERT INTO seal VALUES", seals)
        insert(db, "INSERT INTO seal_post(rowid, words) VALUES", posts)

    def _mac(self, before: bytes, log: int, seq: int, row: bytes) -> bytes:
        data = b"%b%d|%d|%b" % (before, log, seq, row)
        return hmac.new(self._key, data, hashlib.sha256).digest()

    def head(self) -> Head:
        """The end of the chain."""
        n, mac = next(iter(self._reader.execute("SELECT n, mac FROM seal ORDER BY n DESC LIMIT 1")), (0, _START))
        return Head(n, mac.hex())

    async def verify(self) -> Verdict:
        """Walk the chain from the start against the rows themselves."""
        mac, checked = _START, 0
        while True:
            sql = "SELECT n, log, seq, mac FROM seal WHERE n > ? ORDER BY n LIMIT ?"
            part = list(self._reader.execute(sql, (checked, _BATCH)))
            if not part:
                return Verdict(checked, 0)
            rows = await self._rows([(log, seq) for _, log, seq, _ in part])
            for n, log, seq, said in part:
                row = rows.get((log, seq))
                if n != checked + 1 or row is None or not hmac.compare_digest(self._mac(mac, log, seq, row), said):
                    return Verdict(checked, checked + 1)
                mac, checked = said, n
            await asyncio.sleep(0)

    # ---- finding -----------------------------------------------------------------------------
    async def find(self, query: AuditQuery) -> list[tuple[str, AuditRow]]:
        """Rows with their ids (`d7`, `e12`), newest first. Seals first, so that nothing is missing."""
        await self.seal()
        if query.id is not None:
            place = _place(query.id)
            found = await self._rows([place]) if place else {}
            return [(query.id, _decode(row)) for row in found.values()]
        where, values = self._where(query)
        sql = f"SELECT seal.log, seal.seq FROM {where} ORDER BY seal.n DESC LIMIT ?"
        places = [(log, seq) for log, seq in self._reader.execute(sql, (*values, query.limit))]
        rows = await self._rows(places)
        return [(f"{_LETTER[log]}{seq}", _decode(rows[log, seq])) for log, seq in places]

    def _where(self, query: AuditQuery) -> tuple[str, list[object]]:
        words = _asked(query)
        source, values = "seal WHERE 1", []  # type: tuple[str, list[object]]
        if words:
            source = "seal_post CROSS JOIN seal ON seal.n = seal_post.rowid WHERE seal_post MATCH ?"
            values.append(" AND ".join(f'"{word}"' for word in fts_words(words).split()))
        number = "seal_post.rowid" if words else "seal.n"
        if query.since is not None:
            source += " AND seal.at >= ?"
            values.append(int(query.since.timestamp() * 1000))
        if query.until is not None:
            source += " AND seal.at < ?"
            values.append(int(query.until.timestamp() * 1000))
        if query.before:
            place = _place(query.before) or (-1, -1)
            n = next(iter(self._reader.execute("SELECT n FROM seal WHERE log = ? AND seq = ?", place)), (0,))[0]
            source += f" AND {number} < ?"
            values.append(n)
        return source, values

    async def _rows(self, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        own = [seq for log, seq in places if log == DISCLOSURE]
        sql = "SELECT seq, CAST(row AS BLOB) FROM disclosure WHERE seq IN (SELECT value FROM carray(?))"
        found = {(DISCLOSURE, int(seq)): bytes(row) for seq, row in self._reader.execute(sql, (numbers(own),))}
        theirs = await self._engine.effects_by_number([seq for log, seq in places if log == EFFECT])
        return found | {(EFFECT, seq): row for seq, row in theirs.items()}

    async def close(self) -> None:
        """Write and seal what waits."""
        if self._flush is not None:
            await self._flush
        await self.seal()
        self._reader.close()
        await asyncio.to_thread(self._writer.close)


def _sealed(db: apsw.Connection) -> dict[int, int]:
    """By log, the last row sealed; one step each in the index, however long the chain is."""
    sql = "SELECT max(seq) FROM seal WHERE log = ?"
    return {log: int(next(iter(db.execute(sql, (log,))))[0] or 0) for log in (DISCLOSURE, EFFECT)}


def _append(rows: list[bytes]) -> Callable[[apsw.Connection], None]:
    def job(db: apsw.Connection) -> None:
        insert(db, "INSERT INTO disclosure(row) VALUES", [(row,) for row in rows])

    return job


def _place(id_: str) -> tuple[int, int] | None:
    log = {letter: log for log, letter in _LETTER.items()}.get(id_[:1])
    return (log, int(id_[1:])) if log is not None and id_[1:].isdigit() and len(id_) < 19 else None


@lru_cache(8192)
def _word(name: str, value: str) -> int:
    """The same few callers and patients come again and again."""
    return hash64("audit", name, value)


def _words(row: AuditRow) -> list[int]:
    said = {"user": row.user, "action": row.action, "kind": row.kind, "subtype": row.subtype, "outcome": row.outcome}
    words = [_word(name, value) for name, value in said.items() if value]
    words += [_word("patient", one) for one in dict.fromkeys(row.patients)]
    # A version of a resource is found under the resource too.
    entities = dict.fromkeys(part for one in row.entities for part in (one, one.partition("/_history/")[0]))
    return words + [hash64("audit", "entity", one) for one in entities]


def _asked(query: AuditQuery) -> list[int]:
    asked = {
        "user": query.user, "action": query.action, "kind": query.kind, "subtype": query.subtype,
        "outcome": query.outcome, "patient": query.patient, "entity": query.entity,
    }  # fmt: skip
    return [hash64("audit", name, value) for name, value in asked.items() if value is not None]


def _prepare(db: apsw.Connection) -> None:
    if next(iter(db.execute("PRAGMA user_version")))[0] == 0:
        script = package_files.files(__package__) / "migrations" / "sqlite" / "0001_audit.sql"
        with db:
            db.execute(script.read_text("utf-8"))
            db.execute("PRAGMA user_version = 1")
