"""The inbox as a SQLite file with a writer of its own. All its SQL is here."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import zstandard

from ..errors import StorageFull
from ..model.message import RawMessage
from ..model.outcome import State
from .base import hash64
from .inbox_base import (
    HELD_MOST,
    NEVER_CAME,
    NUMBER,
    REPLAY,
    REUSED,
    STATES,
    Arrival,
    Claimed,
    Entry,
    Kept,
    Settled,
    key_of,
    made_by,
    seq_of,
    waits_of,
)
from .positions import SCHEMA as POSITIONS
from .positions import Positions, SqlitePositions
from .sqlite_sql import insert, numbers
from .writer import GroupWriter, Together, connect

_SCHEMA = """
CREATE TABLE IF NOT EXISTS message(
  seq INTEGER PRIMARY KEY,
  source TEXT NOT NULL, format TEXT NOT NULL, name TEXT NOT NULL, control TEXT NOT NULL,
  at INTEGER NOT NULL,            -- received, epoch ms UTC
  state INTEGER NOT NULL,         -- 0 received, 1 processed, 2 quarantined, 3 parked
  reason TEXT NOT NULL DEFAULT '',-- GW code of the quarantine or the parking
  outcome TEXT NOT NULL DEFAULT '',-- JSON, quarantined and parked messages only; others have theirs in the store
  twin INTEGER NOT NULL,          -- what makes two messages the same: control id, or content
  hash BLOB NOT NULL,             -- of the content
  size INTEGER NOT NULL,
  body BLOB NOT NULL              -- zstd; empty once it was let go
);
CREATE INDEX IF NOT EXISTS message_twin ON message(twin);
DROP INDEX IF EXISTS message_open;
CREATE INDEX IF NOT EXISTS message_backlog ON message(seq, at, size, reason) WHERE state = 0;
CREATE INDEX IF NOT EXISTS message_replay ON message(seq) WHERE state = 0 AND reason = 'replay';
CREATE INDEX IF NOT EXISTS message_stuck ON message(reason, seq) WHERE state = 2;
CREATE INDEX IF NOT EXISTS message_parked ON message(reason, seq) WHERE state = 3;
CREATE INDEX IF NOT EXISTS message_let_go ON message(seq) WHERE body = x'';
CREATE INDEX IF NOT EXISTS message_source ON message(source);
CREATE TABLE IF NOT EXISTS attempt(seq INTEGER PRIMARY KEY, tries INTEGER NOT NULL); -- suspects worked on
CREATE TABLE IF NOT EXISTS awaited(
  what INTEGER, seq INTEGER,      -- message seq waits for this (hash)
  due INTEGER NOT NULL,           -- until when, epoch ms
  PRIMARY KEY(what, seq)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS awaited_by ON awaited(seq);
CREATE INDEX IF NOT EXISTS awaited_due ON awaited(due);
CREATE TABLE IF NOT EXISTS at_work(one INTEGER PRIMARY KEY); -- a row while a process works on messages
"""
_FEW: dict[State | None, str] = {
    State.RECEIVED: "INDEXED BY message_backlog",
    State.QUARANTINED: "INDEXED BY message_stuck",
    State.PARKED: "INDEXED BY message_parked",
}  # messages in these states are few among all, which the planner cannot know
_RAW = "seq, source, format, body, at, name"
_ROW = "seq, source, format, name, control, at, state, reason, outcome, size, body <> x''"


_COLUMNS = "seq,source,format,name,control,at,state,reason,outcome,twin,hash,size,body"
_Twin = tuple[int, bytes, int, str]  # seq, hash, state, reason of a kept message


class _New(NamedTuple):
    """An arrival ready for the file."""

    arrival: Arrival
    digest: bytes
    twin: int


class SqliteInbox:
    """`<directory>/inbox.db`; implements `Messages` for the one process that works on it."""

    def __init__(self, directory: Path) -> None:
        self._path = str(directory / "inbox.db")
        self._writer = GroupWriter(self._path)
        self._writer.connection.execute(_SCHEMA + POSITIONS)
        self._reader = connect(self._path, writer=False)
        self.positions: Positions = SqlitePositions(self._writer, self._reader)
        newest = self._reader.execute("SELECT max(seq) FROM message").fetchone()
        self._last = int(newest[0] or 0) if newest else 0
        self._held: set[int] = set()
        self._suspects: set[int] | None = None
        self._cursor = 0
        self._pack = zstandard.ZstdCompressor(level=1)
        self._unpack = zstandard.ZstdDecompressor()

    async def keep(self, arrival: Arrival) -> Kept:
        """Returns once the bytes are on disk."""
        digest = hashlib.blake2b(arrival.content or arrival.body, digest_size=16).digest()
        twin = hash64(arrival.source, arrival.control or digest.hex())
        kept: Kept = await self._writer.run(Together(self._insert, _New(arrival, digest, twin)))
        return kept

    def _insert(self, db: apsw.Connection, works: Sequence[_New]) -> list[Kept]:
        """One look for twins and one insert for all who wait; later ones among them see the earlier."""
        twins: dict[int, list[_Twin]] = {}
        sql = (
            "SELECT twin, seq, hash, state, reason FROM carray(?) AS asked"
            " CROSS JOIN message ON twin = asked.value ORDER BY seq"
        )
        for twin, *known in db.execute(sql, (numbers(list({one.twin for one in works})),)):
            twins.setdefault(twin, []).append(tuple(known))
        rows: list[tuple[Any, ...]] = []
        answers = [self._placed(one, twins.setdefault(one.twin, []), rows) for one in works]
        insert(db, f"INSERT INTO message({_COLUMNS}) VALUES", rows)
        return answers

    def _placed(self, one: _New, twins: list[_Twin], rows: list[tuple[Any, ...]]) -> Kept:
        new, clash = one.arrival, False
        for seq, known, state, reason in twins:
            if known == one.digest:
                return Kept(key_of(seq), duplicate=True, clash=reason == REUSED)
            # What was quarantined made nothing, so its id is free for a whole message (a file cut off on its way).
            clash = clash or (bool(new.control) and state != NUMBER[State.QUARANTINED])
        self._last += 1
        reason = REUSED if clash else new.refused
        state = NUMBER[State.QUARANTINED if reason else State.RECEIVED]
        rows.append((
            self._last, new.source, new.format, new.name, new.control, int(new.at.timestamp() * 1000),
            state, reason, new.outcome, one.twin, one.digest, len(new.body), self._pack.compress(new.body),
        ))  # fmt: skip
        twins.append((self._last, one.digest, state, reason))
        return Kept(key_of(self._last), clash=clash)

    # ---- working on them ---------------------------------------------------------------------
    async def claim(self, limit: int) -> list[Claimed]:
        """What came since the last one, then what was set back, perhaps by another process."""
        if self._suspects is None:
            self._suspects = await self._begin()
        rows = self._open("WHERE seq > ?", limit, self._cursor)
        if rows:
            self._cursor = rows[-1][0]
        else:
            rows = self._open(f"INDEXED BY message_replay WHERE reason = '{REPLAY}'", limit + len(self._held))
        fresh = [row for row in rows if row[0] not in self._held][:limit]
        self._held.update(row[0] for row in fresh)
        return [Claimed(self._raw(*row[:-1]), row[-1] == REPLAY, row[0] in self._suspects) for row in fresh]

    async def _begin(self) -> set[int]:
        """Say that this process is at work; what an earlier one that never said its end may have worked on."""
        if await self._writer.run(lambda db: _changes(db, "INSERT OR IGNORE INTO at_work VALUES(1)")):
            return set()
        return {row[0] for row in self._open("WHERE seq > ?", HELD_MOST, 0)}

    async def attempt(self, key: str) -> int:
        """Counted in a table of its own: only what a crash left pays for it."""
        sql = "INSERT INTO attempt VALUES(?, 1) ON CONFLICT DO UPDATE SET tries = tries + 1 RETURNING tries"

        def count(db: apsw.Connection) -> int:
            ((tries,),) = db.execute(sql, (seq_of(key),))  # read to its end: a statement left open holds the commit up
            return int(str(tries))

        return await self._writer.run(count)

    def _open(self, which: str, limit: int, *values: int) -> list[tuple[Any, ...]]:
        sql = f"SELECT {_RAW}, reason FROM message {which} AND state = 0 ORDER BY seq LIMIT ?"
        return list(self._reader.execute(sql, (*values, limit)))

    async def say_lanes(self, lanes: Mapping[str, Sequence[str]]) -> None:
        """There is no other process to tell."""

    async def turn(self, keys: Sequence[str]) -> None:
        """Nor one to wait for."""

    async def settle(self, settled: Sequence[Settled]) -> int:
        """Record new states, all in one commit; what waits for what they made known is set back."""
        woken = await self._writer.run(lambda db: _update(db, settled))
        done = {seq_of(one.key) for one in settled}
        self._held -= done
        if self._suspects:
            self._suspects -= done
        return woken

    async def overdue(self, now: datetime) -> int:
        """By the index of deadlines."""
        sql = "SELECT DISTINCT seq FROM awaited WHERE due <= ?"
        seqs = [row[0] for row in self._reader.execute(sql, (int(now.timestamp() * 1000),))]
        return await self._writer.run(lambda db: _wake(db, seqs)) if seqs else 0

    async def reopen(self, keys: Iterable[str]) -> int:
        """Set messages back to received (replay); returns how many there were."""
        wanted = json.dumps([seq_of(key) for key in keys])
        return await self._writer.run(lambda db: _reopen(db, wanted))

    async def old(self, before: datetime, after: str, limit: int) -> list[Entry]:
        """By number, which is the order of arrival."""
        sql = f"SELECT {_ROW} FROM message WHERE seq > ? AND state = 1 AND at < ? AND body <> x'' ORDER BY seq LIMIT ?"
        rows = self._reader.execute(sql, (seq_of(after) if after else 0, int(before.timestamp() * 1000), limit))
        return [_entry(row) for row in rows]

    async def forget(self, keys: Iterable[str]) -> int:
        """In one commit."""
        seqs = numbers([seq_of(key) for key in keys])
        sql = "UPDATE message SET body = x'' WHERE state = 1 AND body <> x'' AND seq IN carray(?)"
        return await self._writer.run(lambda db: _changes(db, sql, seqs))

    async def open_count(self) -> int:
        """By the index of open messages."""
        sql = "SELECT count(*) FROM message INDEXED BY message_backlog WHERE state = 0"
        return int(next(self._reader.execute(sql))[0])

    async def backlog(self) -> tuple[int, datetime | None]:
        """By the index of open messages, which has what is asked."""
        sql = (
            "SELECT coalesce(sum(size), 0), min(iif(reason = '', at, NULL))"
            " FROM message INDEXED BY message_backlog WHERE state = 0"
        )
        size, oldest = next(self._reader.execute(sql))
        return int(size), datetime.fromtimestamp(oldest / 1000, UTC) if oldest is not None else None

    # ---- looking at them ---------------------------------------------------------------------
    async def raw(self, key: str) -> RawMessage | None:
        """One message with its bytes, exactly as received."""
        rows = list(self._reader.execute(f"SELECT {_RAW} FROM message WHERE seq = ? AND body <> x''", (seq_of(key),)))
        return self._raw(*rows[0]) if rows else None

    async def entry(self, key: str) -> Entry | None:
        """One message without its bytes."""
        rows = list(self._reader.execute(f"SELECT {_ROW} FROM message WHERE seq = ?", (seq_of(key),)))
        return _entry(rows[0]) if rows else None

    async def entries(
        self, *, state: State | None = None, source: str = "", reason: str = "", before: str = "", limit: int = 50
    ) -> list[Entry]:
        """Newest first; `before` is a key to go on from."""
        where, values = ["1"], []  # type: tuple[list[str], list[object]]
        if state is not None:
            where.append(f"state = {NUMBER[state]}")  # as text: a bound value would not match a partial index
        for column, value in (("source", source), ("reason", reason)):
            if value:
                where.append(f"{column} = ?")
                values.append(value)
        if before:
            where.append("seq < ?")
            values.append(seq_of(before))
        table = f"message {_FEW.get(state, '')}"
        sql = f"SELECT {_ROW} FROM {table} WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?"
        return [_entry(row) for row in self._reader.execute(sql, (*values, limit))]

    async def counts(self) -> dict[tuple[str, str], int]:
        """How many messages by (source, state), counted beside the loop: one of the indexes has every message."""
        return await asyncio.to_thread(_counts, self._path)

    async def reasons(self) -> list[str]:
        """Codes for which messages are quarantined now."""
        return [str(row[0]) for row in self._reader.execute("SELECT DISTINCT reason FROM message WHERE state = 2")]

    def waiting(self) -> int:
        """Writes queued for the disk: the door's measure of back-pressure."""
        return self._writer.waiting()

    async def close(self) -> None:
        """Commit what is queued and close."""
        if self._suspects is not None:
            with contextlib.suppress(StorageFull):
                await self._writer.run(lambda db: _changes(db, "DELETE FROM at_work"))
        self._reader.close()
        self._writer.close()

    def _raw(self, seq: int, source: str, format_: str, body: bytes, at: int, name: str) -> RawMessage:
        received = datetime.fromtimestamp(at / 1000, UTC)
        return RawMessage(key_of(seq), source, format_, self._unpack.decompress(body), received, name)


def _update(db: apsw.Connection, settled: Sequence[Settled]) -> int:
    db.executemany(
        "UPDATE message SET state = ?, reason = ?, outcome = ? WHERE seq = ?",
        [(NUMBER[one.state], one.reason, one.outcome, seq_of(one.key)) for one in settled],
    )
    late = [(one.sender, seq_of(one.key)) for one in settled if one.sender]
    db.executemany("UPDATE message SET source = ? WHERE seq = ? AND source = ''", late)
    waiting = [row for one in settled for row in waits_of(one)]
    if not waiting and not list(db.execute("SELECT 1 FROM awaited LIMIT 1")):
        return 0
    db.execute("DELETE FROM awaited WHERE seq IN carray(?)", (numbers([seq_of(one.key) for one in settled]),))
    db.executemany("INSERT INTO awaited VALUES(?, ?, ?)", waiting)
    made = made_by(settled)
    if made is None:
        return _wake(db, [int(str(row[0])) for row in db.execute("SELECT DISTINCT seq FROM awaited")])
    sql = "SELECT DISTINCT seq FROM awaited WHERE what IN carray(?)"
    return _wake(db, [int(str(row[0])) for row in db.execute(sql, (numbers(made),))])


def _wake(db: apsw.Connection, seqs: Sequence[int]) -> int:
    sql = (
        "UPDATE message SET state = 0, reason = ?, outcome = ''"
        " WHERE seq IN carray(?) AND (state = 3 OR (state = 2 AND reason = ?))"
    )
    db.execute(sql, (REPLAY, numbers(seqs), NEVER_CAME))
    return int(db.changes())


def _reopen(db: apsw.Connection, wanted: str) -> int:
    db.execute("DELETE FROM attempt WHERE seq IN (SELECT value FROM json_each(?))", (wanted,))
    sql = (
        "UPDATE message SET state=0, reason=?, outcome='' WHERE body <> x'' AND seq IN (SELECT value FROM json_each(?))"
    )
    return _changes(db, sql, REPLAY, wanted)


def _counts(path: str) -> dict[tuple[str, str], int]:
    """All of one moment; only indexes are read, never the messages that are done."""
    out: dict[tuple[str, str], int] = {}
    with contextlib.closing(connect(path, writer=False)) as db, db:
        done = dict(db.execute("SELECT source, count(*) FROM message GROUP BY source"))
        for number, index in ((0, "message_backlog"), (2, "message_stuck"), (3, "message_parked")):
            sql = f"SELECT source, count(*) FROM message INDEXED BY {index} WHERE state = {number} GROUP BY source"
            for source, count in db.execute(sql):
                out[source, STATES[number].value] = count
                done[source] = done.get(source, 0) - count
    return out | {(source, State.PROCESSED.value): count for source, count in done.items() if count > 0}


def _changes(db: apsw.Connection, sql: str, *values: Any) -> int:
    db.execute(sql, values)
    return int(db.changes())


def _entry(row: tuple[apsw.SQLiteValue, ...]) -> Entry:
    seq, source, format_, name, control, at, state, reason, outcome, size, held = row
    received = datetime.fromtimestamp(int(str(at)) / 1000, UTC)
    return Entry(
        key_of(int(str(seq))), str(source), str(format_), str(name), str(control), received,
        STATES[int(str(state))], str(reason), str(outcome), int(str(size)), bool(held),
    )  # fmt: skip
