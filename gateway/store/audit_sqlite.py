"""The audit log on files of its own: fresh disclosures, and `<directory>/audit.db` with all that is chained."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator, Sequence
from importlib import resources as package_files
from pathlib import Path

import apsw

from ..errors import NewerRelease
from .audit_fresh import FreshRows
from .audit_log import DISCLOSURE, EFFECT, START, End, Sealed, Told, Wanted
from .sqlite_sql import fts_words, insert, numbers
from .writer import GroupWriter, connect

BLOCK_BITS = 6
BLOCK = 1 << BLOCK_BITS
"""Links that share their words in the index: most rows of a moment differ in little but the patient."""
_TOP = 1 << 62


class SqliteAudit:
    """Implements `AuditBook`: links with the rows they chain; before that a disclosure is in `audit_fresh`.

    Its writer shares nothing with the store's.
    """

    def __init__(self, directory: Path) -> None:
        path = str(directory / "audit.db")
        self._writer = GroupWriter(path, keep_free=0)
        _prepare(self._writer.connection)
        self._reader = connect(path, writer=False)
        self._fresh = FreshRows(directory, _end(self._reader).last[DISCLOSURE])
        self._chaining: asyncio.Future[None] | None = None

    def append(self, rows: list[bytes], told: Told) -> None:
        """One write through to the disk."""
        self._fresh.append(rows, told)

    async def end(self) -> End:
        """The end of the chain."""
        return _end(self._reader)

    async def chain(self, make: Callable[[End], list[Sealed]]) -> None:
        """Nobody else does: one process, and in it one sealer."""
        if self._chaining is not None:  # of a sealing that was cancelled
            await asyncio.wait((self._chaining,))
        links = make(_end(self._reader))
        self._chaining = self._writer.submit(lambda db: _chain(db, links))
        await asyncio.shield(self._chaining)

    async def links(self, after: int, limit: int) -> list[tuple[int, int, int, bytes]]:
        """(n, log, seq, mac) in order."""
        sql = "SELECT n, log, seq, mac FROM seal WHERE n > ? ORDER BY n LIMIT ?"
        return [(row[0], row[1], row[2], row[3]) for row in self._reader.execute(sql, (after, limit))]

    async def disclosures(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Those not chained yet."""
        return self._fresh.after(after, limit)

    async def disclosures_after(self, number: int) -> int:
        """By the number of the newest."""
        return max(0, self._fresh.newest - number)

    async def disclosures_by_number(self, wanted: Sequence[int]) -> dict[int, bytes]:
        """Chained ones."""
        sql = (
            f"SELECT seq, CAST(row AS BLOB) FROM seal WHERE log = {DISCLOSURE} AND row IS NOT NULL"
            " AND seq IN (SELECT value FROM carray(?))"
        )
        return {int(row[0]): bytes(row[1]) for row in self._reader.execute(sql, (numbers(wanted),))}

    async def find(self, wanted: Wanted) -> list[tuple[int, int]]:
        """Places of links, newest first: block by block, until there are enough."""
        top = _TOP if wanted.before is None else self._number(*wanted.before)
        tests: list[tuple[str, int | bytes | None]] = [("at >= ?", wanted.since), ("at < ?", wanted.until)]
        tests += [("instr(words, ?) > 0", _packed((word,))) for word in wanted.words]
        given = [(test, value) for test, value in tests if value is not None]
        also = "".join(f" AND {test}" for test, _ in given)
        sql = f"SELECT log, seq FROM seal WHERE n BETWEEN ? AND ? AND n < ?{also} ORDER BY n DESC LIMIT ?"
        found: list[tuple[int, int]] = []
        for first, last in self._blocks(wanted.words, top):
            bound = (first, last, top, *[value for _, value in given], wanted.limit - len(found))
            found += [(row[0], row[1]) for row in self._reader.execute(sql, bound)]
            if len(found) >= wanted.limit:
                break
        return found

    def _number(self, log: int, seq: int) -> int:
        """The place of a row in the chain, 0 when it is not there."""
        found = self._reader.execute("SELECT n FROM seal WHERE log = ? AND seq = ?", (log, seq))
        return int(next(iter(found), (0,))[0])

    def _blocks(self, words: Sequence[int], top: int) -> Iterator[tuple[int, int]]:
        """First and last number of stretches of the chain, below `top`, in which all the words occur, newest first."""
        if not words:
            yield 0, _TOP
            return
        sql = "SELECT rowid FROM seal_post WHERE seal_post MATCH ? AND rowid < ? ORDER BY rowid DESC"
        query = " AND ".join(f'"{word}"' for word in fts_words(words).split())
        for (block,) in self._reader.execute(sql, (query, min(top << BLOCK_BITS, _TOP))):
            first, more = block >> BLOCK_BITS, block & (BLOCK - 1)
            yield first, first + more

    async def close(self) -> None:
        """Finish what is queued, close the file."""
        await asyncio.to_thread(self._fresh.close)
        self._reader.close()
        await asyncio.to_thread(self._writer.close)


def _end(db: apsw.Connection) -> End:
    n, mac = next(iter(db.execute("SELECT n, mac FROM seal ORDER BY n DESC LIMIT 1")), (0, START))
    # One step each in the index, however long the chain is.
    sql = "SELECT max(seq) FROM seal WHERE log = ?"
    return End(n, mac, {log: int(next(iter(db.execute(sql, (log,))))[0] or 0) for log in (DISCLOSURE, EFFECT)})


def _chain(db: apsw.Connection, links: list[Sealed]) -> None:
    rows = [(*link[:5], _packed(link.words), link.row if link.log == DISCLOSURE else None) for link in links]
    insert(db, "INSERT INTO seal VALUES", rows)
    blocks = [links[at : at + BLOCK] for at in range(0, len(links), BLOCK)]
    insert(db, "INSERT INTO seal_post(rowid, words) VALUES", [_block(block) for block in blocks])


def _packed(words: Sequence[int]) -> bytes:
    return struct.pack(f">{len(words)}q", *words)


def _block(links: list[Sealed]) -> tuple[int, str]:
    words = {word for link in links for word in link.words}
    return links[0].n << BLOCK_BITS | (len(links) - 1), fts_words(tuple(words))


AUDIT_SCHEMA = 2


def _prepare(db: apsw.Connection) -> None:
    found = next(iter(db.execute("PRAGMA user_version")))[0]
    if found not in (0, AUDIT_SCHEMA):
        raise NewerRelease("audit.db", f"schema {found}, this release has {AUDIT_SCHEMA}")
    if found == 0:
        script = package_files.files(__package__) / "migrations" / "sqlite" / "0001_audit.sql"
        with db:
            db.execute(script.read_text("utf-8"))
            db.execute(f"PRAGMA user_version = {AUDIT_SCHEMA}")
