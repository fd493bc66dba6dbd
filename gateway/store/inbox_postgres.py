"""The inbox on PostgreSQL: a schema beside the store's, connections and a writer of its own, several processes at work.

A worker is alive while a connection of it holds the advisory lock of its number; claims of one that is not go to the
next who looks. Needs the extra `postgres` (psycopg 3).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import zstandard
from psycopg.sql import SQL, Identifier

from ..model.message import RawMessage
from ..model.outcome import State
from .base import hash64
from .inbox_base import (
    NEVER_CAME,
    NUMBER,
    REPLAY,
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
from .inbox_keeper import Keeper
from .inbox_turns import Turns
from .positions import Positions, PostgresPositions
from .postgres_database import (
    LEADERS,
    LEADERS_MOST,
    MIGRATE,
    Connection,
    connected,
    not_made,
    opened,
    pool,
    refuse_unsafe,
    run,
    schema_of,
    space_of,
    transaction,
    translated,
)
from .postgres_migrate import migrate
from .postgres_sql import Bound

_LOG = logging.getLogger(__name__)
_RAW = "m.seq, m.source, m.format, b.bytes, m.at, m.name"
_HELD = "EXISTS (SELECT FROM body WHERE body.seq = message.seq)"
_ROW = f"seq, source, format, name, control, at, state, reason, outcome, size, {_HELD}"
_LOOK_S = 1.0
"""How often a worker looks for claims of dead ones."""
_GRACE_S = 5.0
"""How long after a lost connection others get to show that they live: the server may have dropped them all."""
_CLAIM = (
    f"WITH mine AS (UPDATE message SET owner = %s WHERE seq IN (SELECT seq FROM message WHERE {{}}"
    f" ORDER BY seq LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING *)"
    f" SELECT {_RAW}, m.reason FROM mine m JOIN body b ON b.seq = m.seq ORDER BY m.seq"
)
_FREE = _CLAIM.format("state = 0 AND owner IS NULL")
_ORPHANED = _CLAIM.format(
    "state = 0 AND owner <> %s AND owner NOT IN (SELECT objid::int8 FROM pg_locks WHERE locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND classid::int8 = %s AND objsubid = 2 AND granted)"
)
_LANES = (
    "UPDATE message m SET lanes = (%s::int8[])[a.low:a.high]"
    " FROM unnest(%s::int8[], %s::int4[], %s::int4[]) AS a(seq, low, high) WHERE m.seq = a.seq AND m.owner = %s"
)
_SETTLE = (
    "UPDATE message m SET state = a.state, reason = a.reason, outcome = a.outcome, owner = NULL, lanes = NULL"
    " FROM unnest(%s::int8[], %s::int4[], %s::text[], %s::text[]) AS a(seq, state, reason, outcome)"
    " WHERE m.seq = a.seq"
)
_SENT_BY = "UPDATE message SET source = %s WHERE seq = %s AND source = ''"
_REOPEN = (
    "UPDATE message SET state = 0, reason = %s, outcome = '' WHERE seq IN"
    f" (SELECT seq FROM message WHERE seq = ANY(%s::int8[]) AND {_HELD} ORDER BY seq FOR UPDATE)"
)
_WAKE = (
    "UPDATE message SET state = 0, reason = %s, outcome = '' WHERE seq IN (SELECT seq FROM message WHERE seq IN"
    " (SELECT seq FROM awaited WHERE {}) AND (state = 3 OR (state = 2 AND reason = %s)) ORDER BY seq FOR UPDATE)"
)
_FORGET = "DELETE FROM attempt WHERE seq = ANY(%s::int8[])"
_ATTEMPT = "INSERT INTO attempt AS a VALUES(%s, 1) ON CONFLICT (seq) DO UPDATE SET tries = a.tries + 1 RETURNING tries"
_LET_GO = "UPDATE message SET owner = NULL, lanes = NULL WHERE state = 0 AND owner = %s AND seq <> ALL(%s::int8[])"


class PostgresInbox:
    """Implements `Messages`; made by `open_postgres_inbox`."""

    def __init__(self, url: str, schema: str) -> None:
        self._url, self._schema = url, schema
        self._class = space_of(schema) >> 33  # 31 bits: the first half of a two-part advisory lock
        self._reading = pool(url, 4, "inbox-reading", 20_000, schema)
        self._writing = pool(url, 3, "inbox-writing", 0, schema)
        self._keeper = Keeper(self._writing, space_of(schema))
        self._turns = Turns(self._select)
        self.positions: Positions = PostgresPositions(self._select, self._change, self._lead)
        self._held: set[int] = set()
        self._unsure = False
        self._me = 0
        self._looked = 0.0
        self._alive: psycopg.AsyncConnection[Any] | None = None
        self._living = asyncio.Lock()
        self._leads: dict[int, psycopg.AsyncConnection[Any]] = {}
        self._unpack = zstandard.ZstdDecompressor()

    async def start(self) -> None:
        """Connect, take a worker number."""
        await opened(self._reading)
        await opened(self._writing)
        with translated():
            self._me = (await self._select("SELECT nextval('worker')::int8", ()))[0][0]
            self._turns.me = self._me
            await self._live()

    async def _live(self) -> None:
        """Hold the lock that says this worker is alive, again after the server dropped it."""
        async with self._living:
            await self._hold()

    async def _hold(self) -> None:
        if self._alive is not None and not self._alive.closed:
            try:
                await self._alive.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                self._looked = asyncio.get_running_loop().time() + _GRACE_S
                await self._alive.close()
        self._alive = await psycopg.AsyncConnection.connect(self._url, autocommit=True, connect_timeout=10)
        await self._alive.execute("SELECT pg_advisory_lock(%s::int4, %s::int4)", (self._class, self._me))

    async def _lead(self, number: int) -> bool:
        """A lock of this number, held by the connection that says this worker is alive."""
        with translated():
            await self._live()
            assert self._alive is not None
            if self._leads.get(number) is not self._alive:
                lock = space_of(self._schema) | (LEADERS + number % LEADERS_MOST)
                found = await (await self._alive.execute("SELECT pg_try_advisory_lock(%s)", (lock,))).fetchone()
                if not (found and found[0]):
                    return False
                self._leads[number] = self._alive
            return True

    async def _select(self, sql: str, values: Bound) -> list[Any]:
        with translated():
            async with self._reading.connection() as connection:
                return await (await run(connection, sql, values)).fetchall()

    async def _change(self, sql: str, values: Bound) -> psycopg.AsyncCursor[Any]:
        """One statement, which is its own transaction."""
        with translated():
            async with self._writing.connection() as connection:
                return await run(connection, sql, values)

    # ---- keeping -----------------------------------------------------------------------------
    async def keep(self, arrival: Arrival) -> Kept:
        """Together with whoever else waits: one transaction."""
        return await self._keeper.keep(arrival)

    def waiting(self) -> int:
        """Arrivals queued for the disk."""
        return self._keeper.waiting()

    # ---- working on them ---------------------------------------------------------------------
    async def claim(self, limit: int) -> list[Claimed]:
        """Those of dead workers, then free ones."""
        try:
            orphaned = await self._orphaned()
            rows = orphaned or await self._free(limit)  # suspects alone: none waits for what is claimed with it
        except Exception:
            self._unsure = True  # the claim may have been made and its answer lost
            raise
        self._held.update(row[0] for row in rows)
        return [Claimed(self._raw(*row[:-1]), row[-1] == REPLAY, suspect=bool(orphaned)) for row in rows]

    async def attempt(self, key: str) -> int:
        """Counted in a table of its own: only what a crash left pays for it."""
        return int((await (await self._change(_ATTEMPT, (seq_of(key),))).fetchall())[0][0])

    async def _free(self, limit: int) -> list[Any]:
        if self._unsure:
            await self._change(_LET_GO, (self._me, list(self._held)))
            self._unsure = False
        return await (await self._change(_FREE, (self._me, limit))).fetchall() if limit else []

    async def _orphaned(self) -> list[Any]:
        now = asyncio.get_running_loop().time()
        if now < self._looked + _LOOK_S:
            return []
        with translated():
            await self._live()
        if now < self._looked:
            return []
        self._looked = now
        return await (await self._change(_ORPHANED, (self._me, self._me, self._class, 1 << 31))).fetchall()

    async def say_lanes(self, lanes: Mapping[str, Sequence[str]]) -> None:
        """One statement for all."""
        said = {seq_of(key): [hash64(lane) for lane in theirs] for key, theirs in lanes.items()}
        words: list[int] = []
        rows: list[tuple[int, int, int]] = []
        for seq, hashes in said.items():
            rows.append((seq, len(words) + 1, len(words) + len(hashes)))
            words += hashes
        if rows:
            await self._change(_LANES, (words, *(list(column) for column in zip(*rows, strict=True)), self._me))
            self._turns.said(said)

    async def turn(self, keys: Sequence[str]) -> None:
        """Asked of the database together with whoever else waits."""
        await self._turns.wait(min(map(seq_of, keys)))

    async def settle(self, settled: Sequence[Settled]) -> int:
        """Record new states, all in one commit; what waits for what they made known is set back."""
        rows = sorted((seq_of(one.key), NUMBER[one.state], one.reason, one.outcome) for one in settled)
        woken = 0
        if rows:
            with translated():
                async with transaction(self._writing) as connection:
                    await run(connection, _SETTLE, tuple(list(column) for column in zip(*rows, strict=True)))
                    for sender, seq in [(one.sender, seq_of(one.key)) for one in settled if one.sender]:
                        await run(connection, _SENT_BY, (sender, seq))
                    woken = await _told(connection, settled)
        done = {row[0] for row in rows}
        self._held -= done
        self._turns.forget(done)
        return woken

    async def overdue(self, now: datetime) -> int:
        """By the index of deadlines."""
        late = int(now.timestamp() * 1000)
        if not await self._select("SELECT 1 FROM awaited WHERE due <= %s LIMIT 1", (late,)):
            return 0
        return (await self._change(_WAKE.format("due <= %s"), (REPLAY, late, NEVER_CAME))).rowcount

    async def reopen(self, keys: Iterable[str]) -> int:
        """Set messages back to received (replay); one that is being worked on ends with this work."""
        seqs = [seq_of(key) for key in keys]
        await self._change(_FORGET, (seqs,))
        return (await self._change(_REOPEN, (REPLAY, seqs))).rowcount

    async def old(self, before: datetime, after: str, limit: int) -> list[Entry]:
        """By number, which is about the order of arrival."""
        sql = f"SELECT {_ROW} FROM message WHERE seq > %s AND state = 1 AND at < %s AND {_HELD} ORDER BY seq LIMIT %s"
        low, late = seq_of(after) if after else 0, int(before.timestamp() * 1000)
        return [_entry(row) for row in await self._select(sql, (low, late, limit))]

    async def forget(self, keys: Iterable[str]) -> int:
        """In one commit; a message set back meanwhile keeps its bytes."""
        sql = (
            "DELETE FROM body WHERE seq IN (SELECT seq FROM message WHERE seq = ANY(%s::int8[]) AND state = 1"
            " ORDER BY seq FOR UPDATE)"
        )
        return (await self._change(sql, ([seq_of(key) for key in keys],))).rowcount

    async def open_count(self) -> int:
        """By the index of open messages."""
        return int((await self._select("SELECT count(*) FROM message WHERE state = 0", ()))[0][0])

    async def backlog(self) -> tuple[int, datetime | None]:
        """By the index of open messages."""
        sql = "SELECT coalesce(sum(size), 0)::int8, min(at) FILTER (WHERE reason = '') FROM message WHERE state = 0"
        size, oldest = (await self._select(sql, ()))[0]
        return int(size), datetime.fromtimestamp(oldest / 1000, UTC) if oldest is not None else None

    # ---- looking at them ---------------------------------------------------------------------
    async def raw(self, key: str) -> RawMessage | None:
        """One message with its bytes, exactly as received."""
        sql = f"SELECT {_RAW} FROM message m JOIN body b ON b.seq = m.seq WHERE m.seq = %s"
        rows = await self._select(sql, (seq_of(key),))
        return self._raw(*rows[0]) if rows else None

    async def entry(self, key: str) -> Entry | None:
        """One message without its bytes."""
        rows = await self._select(f"SELECT {_ROW} FROM message WHERE seq = %s", (seq_of(key),))
        return _entry(rows[0]) if rows else None

    async def entries(
        self, *, state: State | None = None, source: str = "", reason: str = "", before: str = "", limit: int = 50
    ) -> list[Entry]:
        """Newest first; `before` is a key to go on from."""
        where, values = ["true"], []  # type: tuple[list[str], list[object]]
        if state is not None:
            where.append(f"state = {NUMBER[state]}")
        for column, value in (("source", source), ("reason", reason)):
            if value:
                where.append(f"{column} = %s")
                values.append(value)
        if before:
            where.append("seq < %s")
            values.append(seq_of(before))
        sql = f"SELECT {_ROW} FROM message WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT %s"
        return [_entry(row) for row in await self._select(sql, (*values, limit))]

    async def counts(self) -> dict[tuple[str, str], int]:
        """How many messages by (source, state); only indexes are read, never the messages that are done."""
        done = dict(await self._select("SELECT source, count(*) FROM message GROUP BY source", ()))
        sql = "SELECT source, state, count(*) FROM message WHERE state = {} GROUP BY source, state"
        out: dict[tuple[str, str], int] = {}
        for source, state, count in await self._select(" UNION ALL ".join(map(sql.format, (0, 2, 3))), ()):
            out[source, STATES[state].value] = count
            done[source] = done.get(source, 0) - count
        return out | {(source, State.PROCESSED.value): count for source, count in done.items() if count > 0}

    async def reasons(self) -> list[str]:
        """Codes for which messages are quarantined now."""
        return [row[0] for row in await self._select("SELECT DISTINCT reason FROM message WHERE state = 2", ())]

    async def close(self) -> None:
        """Keep what is queued, give claims back."""
        await self._keeper.close()
        self._turns.close()
        try:
            await self._change(_LET_GO, (self._me, []))
        finally:
            if self._alive is not None:
                await self._alive.close()
            await self._reading.close()
            await self._writing.close()

    def _raw(self, seq: int, source: str, format_: str, body: bytes, at: int, name: str) -> RawMessage:
        received = datetime.fromtimestamp(at / 1000, UTC)
        return RawMessage(key_of(seq), source, format_, self._unpack.decompress(body), received, name)


def _entry(row: Bound) -> Entry:
    seq, source, format_, name, control, at, state, reason, outcome, size, held = row
    received = datetime.fromtimestamp(at / 1000, UTC)
    return Entry(key_of(seq), source, format_, name, control, received, STATES[state], reason, outcome, size, held)


async def _told(connection: Connection, settled: Sequence[Settled]) -> int:
    """Remember who waits for what, and set back who waited for what came; returns how many."""
    waiting = [row for one in settled for row in waits_of(one)]
    if not waiting and not await (await run(connection, "SELECT 1 FROM awaited LIMIT 1", ())).fetchall():
        return 0
    await run(connection, "DELETE FROM awaited WHERE seq = ANY(%s::int8[])", ([seq_of(one.key) for one in settled],))
    if waiting:
        columns = tuple(list(column) for column in zip(*waiting, strict=True))
        await run(connection, "INSERT INTO awaited SELECT * FROM unnest(%s::int8[], %s::int8[], %s::int8[])", columns)
    made = made_by(settled)
    if made is None:
        return (await run(connection, _WAKE.format("true"), (REPLAY, NEVER_CAME))).rowcount
    return (await run(connection, _WAKE.format("what = ANY(%s::int8[])"), (REPLAY, made, NEVER_CAME))).rowcount


async def open_postgres_inbox(url: str) -> PostgresInbox:
    """The inbox beside the store's schema, `<schema>_inbox`, made when missing. Raises ConfigError, UnsafeStore."""
    connection = await connected(url)
    try:
        await refuse_unsafe(connection)
        schema = f"{await schema_of(connection)}_inbox"
        name = Identifier(schema)
        lock = space_of(schema) | MIGRATE
        await connection.execute("SELECT pg_advisory_lock(%s)", (lock,))
        await connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
        await connection.execute(SQL("SET search_path = {}").format(name))
        await migrate(connection, lock, "postgres_inbox")
    except psycopg.Error as fault:
        raise not_made(fault) from None
    finally:
        await connection.close()
    inbox = PostgresInbox(url, schema)
    await inbox.start()
    return inbox
