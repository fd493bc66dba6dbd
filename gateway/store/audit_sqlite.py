"""The audit log's rows in a SQLite file of their own, `<directory>/audit.db`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from importlib import resources as package_files
from pathlib import Path

import apsw

from .audit_log import DISCLOSURE, EFFECT, START, End, Sealed, Wanted
from .sqlite_sql import fts_words, insert, numbers
from .writer import GroupWriter, connect


class SqliteAudit:
    """Implements `AuditBook`; its writer shares nothing with the store's."""

    def __init__(self, directory: Path) -> None:
        path = str(directory / "audit.db")
        self._writer = GroupWriter(path)
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
        """Places of links, newest first."""
        source, values = "seal WHERE 1", []  # type: tuple[str, list[object]]
        if wanted.words:
            source = "seal_post CROSS JOIN seal ON seal.n = seal_post.rowid WHERE seal_post MATCH ?"
            values.append(" AND ".join(f'"{word}"' for word in fts_words(wanted.words).split()))
        number = "seal_post.rowid" if wanted.words else "seal.n"
        for condition, value in (("seal.at >= ?", wanted.since), ("seal.at < ?", wanted.until)):
            if value is not None:
                source += f" AND {condition}"
                values.append(value)
        if wanted.before is not None:
            source += f" AND {number} < ifnull((SELECT n FROM seal WHERE log = ? AND seq = ?), 0)"
            values += wanted.before
        sql = f"SELECT seal.log, seal.seq FROM {source} ORDER BY seal.n DESC LIMIT ?"
        return [(row[0], row[1]) for row in self._reader.execute(sql, (*values, wanted.limit))]

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
    insert(db, "INSERT INTO seal VALUES", [link[:5] for link in links])
    insert(db, "INSERT INTO seal_post(rowid, words) VALUES", [(link.n, fts_words(link.words)) for link in links])


def _prepare(db: apsw.Connection) -> None:
    if next(iter(db.execute("PRAGMA user_version")))[0] == 0:
        script = package_files.files(__package__) / "migrations" / "sqlite" / "0001_audit.sql"
        with db:
            db.execute(script.read_text("utf-8"))
            db.execute("PRAGMA user_version = 1")
