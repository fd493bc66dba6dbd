"""The audit log's rows in a SQLite file of their own, `<directory>/audit.db`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from importlib import resources as package_files
from pathlib import Path

import apsw

from .audit_log import DISCLOSURE, EFFECT, START, End, Sealed, Wanted
from .packing import short, short_words
from .sqlite_sql import fts_words, insert, numbers
from .writer import GroupWriter, connect

BLOCK_BITS = 6
BLOCK = 1 << BLOCK_BITS
"""Links that share their words in the index: most rows of a moment differ in little but the patient."""
_TOP = 1 << 62


class SqliteAudit:
    """Implements `AuditBook`; its writer shares nothing with the store's."""

    def __init__(self, directory: Path) -> None:
        path = str(directory / "audit.db")
        self._writer = GroupWriter(path, keep_free=0)
        _prepare(self._writer.connection)
        self._reader = connect(path, writer=False)

    async def append(self, rows: list[bytes]) -> None:
        """One statement: it hands the interpreter over once."""
        said = apsw.carray(tuple(rows), flags=apsw.SQLITE_CARRAY_BLOB)
        await self._writer.run(lambda db: db.execute(_APPEND, (said,)), one_statement=True)

    async def end(self) -> End:
        """The end of the chain."""
        return _end(self._reader)

    async def chain(self, make: Callable[[End], list[Sealed]]) -> None:
        """On the writing thread."""
        await self._writer.run(lambda db: _chain(db, make(_end(db))))

    async def links(self, after: int, limit: int) -> list[tuple[int, int, int, bytes]]:
        """(n, log, seq, mac) in order."""
        sql = "SELECT n, log, seq, mac FROM seal WHERE n > ? ORDER BY n LIMIT ?"
        return [(row[0], row[1], row[2], row[3]) for row in self._reader.execute(sql, (after, limit))]

    async def disclosures(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Disclosures with their numbers, oldest first."""
        sql = "SELECT seq, row FROM disclosure WHERE seq > ? ORDER BY seq LIMIT ?"
        return [(int(row[0]), bytes(row[1])) for row in self._reader.execute(sql, (after, limit))]

    async def disclosures_by_number(self, wanted: Sequence[int]) -> dict[int, bytes]:
        """Disclosures."""
        sql = "SELECT seq, CAST(row AS BLOB) FROM disclosure WHERE seq IN (SELECT value FROM carray(?))"
        return {int(row[0]): bytes(row[1]) for row in self._reader.execute(sql, (numbers(wanted),))}

    async def find(self, wanted: Wanted) -> list[tuple[int, int]]:
        """Places of links, newest first: block by block, until there are enough."""
        top = _TOP if wanted.before is None else self._number(*wanted.before)
        tests: list[tuple[str, int | bytes | None]] = [("at >= ?", wanted.since), ("at < ?", wanted.until)]
        tests += [("instr(words, ?) > 0", short(word)) for word in wanted.words]
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
        self._reader.close()
        await asyncio.to_thread(self._writer.close)


_APPEND = "INSERT INTO disclosure(row) SELECT value FROM carray(?)"


def _end(db: apsw.Connection) -> End:
    n, mac = next(iter(db.execute("SELECT n, mac FROM seal ORDER BY n DESC LIMIT 1")), (0, START))
    # One step each in the index, however long the chain is.
    sql = "SELECT max(seq) FROM seal WHERE log = ?"
    return End(n, mac, {log: int(next(iter(db.execute(sql, (log,))))[0] or 0) for log in (DISCLOSURE, EFFECT)})


def _chain(db: apsw.Connection, links: list[Sealed]) -> None:
    insert(db, "INSERT INTO seal VALUES", [(*link[:5], short_words(link.words)) for link in links])
    blocks = [links[at : at + BLOCK] for at in range(0, len(links), BLOCK)]
    insert(db, "INSERT INTO seal_post(rowid, words) VALUES", [_block(block) for block in blocks])


def _block(links: list[Sealed]) -> tuple[int, str]:
    words = {word for link in links for word in link.words}
    return links[0].n << BLOCK_BITS | (len(links) - 1), fts_words(tuple(words))


def _prepare(db: apsw.Connection) -> None:
    if next(iter(db.execute("PRAGMA user_version")))[0] == 0:
        script = package_files.files(__package__) / "migrations" / "sqlite" / "0001_audit.sql"
        with db:
            db.execute(script.read_text("utf-8"))
            db.execute("PRAGMA user_version = 1")
