"""The inbox file: raw messages, durable before anybody says thank you. All its SQL is here.

It is a file of its own with its own writer, so that no large transaction in the store holds up an
acknowledgement (design-store §4).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import apsw
import zstandard

from ..model.message import RawMessage
from ..model.outcome import State
from .base import hash64
from .writer import GroupWriter, connect

_SCHEMA = """
CREATE TABLE IF NOT EXISTS message(
  seq INTEGER PRIMARY KEY,
  source TEXT NOT NULL, format TEXT NOT NULL, name TEXT NOT NULL, control TEXT NOT NULL,
  at INTEGER NOT NULL,            -- received, epoch ms UTC
  state INTEGER NOT NULL,         -- 0 received, 1 processed, 2 quarantined
  reason TEXT NOT NULL DEFAULT '',-- GW code of the quarantine
  outcome TEXT NOT NULL DEFAULT '',-- JSON, quarantined messages only; others have theirs in the store
  twin INTEGER NOT NULL,          -- what makes two messages the same: control id, or content
  hash BLOB NOT NULL,             -- of the content
  size INTEGER NOT NULL,
  body BLOB NOT NULL              -- zstd
);
CREATE INDEX IF NOT EXISTS message_twin ON message(twin);
CREATE INDEX IF NOT EXISTS message_open ON message(seq) WHERE state = 0;
CREATE INDEX IF NOT EXISTS message_stuck ON message(reason, seq) WHERE state = 2;
CREATE INDEX IF NOT EXISTS message_source ON message(source);
"""
_STATES = (State.RECEIVED, State.PROCESSED, State.QUARANTINED)
_NUMBER = {state: number for number, state in enumerate(_STATES)}
_FEW: dict[State | None, str] = {
    State.RECEIVED: "INDEXED BY message_open",
    State.QUARANTINED: "INDEXED BY message_stuck",
}  # messages in these states are few among all, which the planner cannot know
_ROW = "seq, source, format, name, control, at, state, reason, outcome, size"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a door hands in. `twin_text` empty: the content itself decides what is a duplicate.

    refused: GW code when the door already knows the message cannot be processed (kept all the same).
    """

    source: str
    format: str
    body: bytes
    at: datetime
    control: str = ""
    name: str = ""
    content: bytes | None = None  # what counts as content (v2: without MSH-7); None = body
    refused: str = ""
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """key: the inbox key, of the first arrival for a duplicate. clash: same control id, other content."""

    key: str
    duplicate: bool = False
    clash: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept message without its body."""

    key: str
    source: str
    format: str
    name: str
    control: str
    at: datetime
    state: State
    reason: str
    outcome: str
    size: int


@dataclass(frozen=True, slots=True)
class Settled:
    """A new state of a message; `outcome` is JSON, kept here for quarantined ones only."""

    key: str
    state: State
    reason: str = ""
    outcome: str = ""


class InboxFile:
    """`<directory>/inbox.db`."""

    def __init__(self, directory: Path) -> None:
        path = str(directory / "inbox.db")
        self._writer = GroupWriter(path)
        self._writer.connection.execute(_SCHEMA)
        self._reader = connect(path, writer=False)
        newest = self._reader.execute("SELECT max(seq) FROM message").fetchone()
        self._last = int(newest[0] or 0) if newest else 0
        self._pack = zstandard.ZstdCompressor(level=1)
        self._unpack = zstandard.ZstdDecompressor()

    async def keep(self, arrival: Arrival) -> Kept:
        """Returns once the bytes are on disk."""
        digest = hashlib.blake2b(arrival.content or arrival.body, digest_size=16).digest()
        twin = hash64(arrival.source, arrival.control or digest.hex())
        packed = self._pack.compress(arrival.body)
        return await self._writer.run(lambda db: self._insert(db, arrival, digest, twin, packed))

    def _insert(self, db: apsw.Connection, new: Arrival, digest: bytes, twin: int, packed: bytes) -> Kept:
        clash = False
        sql = "SELECT seq, hash, state, reason FROM message WHERE twin = ? ORDER BY seq"
        for seq, known, state, reason in db.execute(sql, (twin,)):
            if known == digest:
                return Kept(_key(seq), duplicate=True, clash=reason == "GW-INB-005")
            # What was quarantined made nothing, so its id is free for a whole message (a file cut off on its way).
            clash = clash or (bool(new.control) and state != _NUMBER[State.QUARANTINED])
        self._last += 1
        reason = "GW-INB-005" if clash else new.refused
        row = (
            self._last, new.source, new.format, new.name, new.control, int(new.at.timestamp() * 1000),
            2 if reason else 0, reason, new.outcome, twin, digest, len(new.body), packed,
        )  # fmt: skip
        db.execute(
            "INSERT INTO message(seq,source,format,name,control,at,state,reason,outcome,twin,hash,size,body)"
            " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
            row,
        )
        return Kept(_key(self._last), clash=clash)

    async def settle(self, settled: list[Settled]) -> None:
        """Record new states, all in one commit."""
        await self._writer.run(lambda db: _update(db, settled))

    async def reopen(self, keys: Iterable[str]) -> int:
        """Set messages back to received (replay); returns how many there were."""
        wanted = json.dumps([_seq(key) for key in keys])
        sql = "UPDATE message SET state=0, reason='replay', outcome='' WHERE seq IN (SELECT value FROM json_each(?))"
        return await self._writer.run(lambda db: _changes(db, sql, wanted))

    def open_after(self, seq: int, limit: int) -> list[tuple[int, RawMessage]]:
        """Messages still to process, oldest first, above `seq`."""
        rows = self._reader.execute(
            "SELECT seq, source, format, body, at, name FROM message WHERE state = 0 AND seq > ? ORDER BY seq LIMIT ?",
            (seq, limit),
        )
        return [(row[0], self._raw(*row)) for row in rows]

    def replays(self, keys: Iterable[str]) -> set[str]:
        """Those of `keys` that were set back on purpose and must run again, done or not."""
        wanted = json.dumps([_seq(key) for key in keys])
        rows = self._reader.execute(
            "SELECT seq FROM message WHERE reason = 'replay' AND seq IN (SELECT value FROM json_each(?))", (wanted,)
        )
        return {_key(row[0]) for row in rows}

    def replay_waiting(self) -> bool:
        """True when a message was set back and waits for its turn."""
        rows = self._reader.execute("SELECT 1 FROM message WHERE state = 0 AND reason = 'replay' LIMIT 1")
        return rows.fetchone() is not None

    def raw(self, key: str) -> RawMessage | None:
        """One message with its bytes, exactly as received."""
        rows = list(
            self._reader.execute("SELECT seq, source, format, body, at, name FROM message WHERE seq = ?", (_seq(key),))
        )
        return self._raw(*rows[0]) if rows else None

    def entry(self, key: str) -> Entry | None:
        """One message without its bytes."""
        rows = list(self._reader.execute(f"SELECT {_ROW} FROM message WHERE seq = ?", (_seq(key),)))
        return _entry(rows[0]) if rows else None

    def newest(
        self,
        sources: Collection[str],
        *,
        state: State | None = None,
        reason: str = "",
        before: str = "",
        limit: int = 50,
    ) -> list[Entry]:
        """As `entries`, of several sources; each is read by its own index, however rarely it sends."""
        found = [
            entry
            for source in sources
            for entry in self.entries(state=state, source=source, reason=reason, before=before, limit=limit)
        ]
        return sorted(found, key=lambda entry: -_seq(entry.key))[:limit]

    def entries(
        self, *, state: State | None = None, source: str = "", reason: str = "", before: str = "", limit: int = 50
    ) -> list[Entry]:
        """Newest first; `before` is a key to go on from."""
        where, values = ["1"], []  # type: tuple[list[str], list[object]]
        if state is not None:
            where.append(f"state = {_NUMBER[state]}")  # as text: a bound value would not match a partial index
        for column, value in (("source", source), ("reason", reason)):
            if value:
                where.append(f"{column} = ?")
                values.append(value)
        if before:
            where.append("seq < ?")
            values.append(_seq(before))
        table = f"message {_FEW.get(state, '')}"
        sql = f"SELECT {_ROW} FROM {table} WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?"
        return [_entry(row) for row in self._reader.execute(sql, (*values, limit))]

    def counts(self) -> dict[tuple[str, str], int]:
        """How many messages by (source, state); only indexes are read, never the messages that are done."""
        out: dict[tuple[str, str], int] = {}
        done = dict(self._reader.execute("SELECT source, count(*) FROM message GROUP BY source"))
        for number, index in ((0, "message_open"), (2, "message_stuck")):
            sql = f"SELECT source, count(*) FROM message INDEXED BY {index} WHERE state = {number} GROUP BY source"
            for source, count in self._reader.execute(sql):
                out[source, _STATES[number].value] = count
                done[source] = done.get(source, 0) - count
        return out | {(source, State.PROCESSED.value): count for source, count in done.items() if count > 0}

    def reasons(self) -> list[str]:
        """Codes for which messages are quarantined now."""
        return [str(row[0]) for row in self._reader.execute("SELECT DISTINCT reason FROM message WHERE state = 2")]

    def waiting(self) -> int:
        """Writes queued for the disk: the door's measure of back-pressure."""
        return self._writer.waiting()

    def close(self) -> None:
        """Commit what is queued and close."""
        self._reader.close()
        self._writer.close()

    def _raw(self, seq: int, source: str, format_: str, body: bytes, at: int, name: str) -> RawMessage:
        received = datetime.fromtimestamp(at / 1000, UTC)
        return RawMessage(_key(seq), source, format_, self._unpack.decompress(body), received, name)


def _update(db: apsw.Connection, settled: list[Settled]) -> None:
    db.executemany(
        "UPDATE message SET state = ?, reason = ?, outcome = ? WHERE seq = ?",
        [(_NUMBER[one.state], one.reason, one.outcome, _seq(one.key)) for one in settled],
    )


def _changes(db: apsw.Connection, sql: str, wanted: str) -> int:
    db.execute(sql, (wanted,))
    return int(db.changes())


def _key(seq: int) -> str:
    return f"m{seq}"


def _seq(key: str) -> int:
    return int(key[1:]) if key[:1] == "m" and key[1:].isdigit() and len(key) < 20 else -1


def _entry(row: tuple[apsw.SQLiteValue, ...]) -> Entry:
    seq, source, format_, name, control, at, state, reason, outcome, size = row
    received = datetime.fromtimestamp(int(str(at)) / 1000, UTC)
    return Entry(
        _key(int(str(seq))), str(source), str(format_), str(name), str(control), received,
        _STATES[int(str(state))], str(reason), str(outcome), int(str(size)),
    )  # fmt: skip
