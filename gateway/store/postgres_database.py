"""One PostgreSQL database: its pools, its schema, what is refused at the start, and its errors in the gateway's words.

Reads, writes and the audit log have pools of their own: none of them ever waits for a connection of another.
Needs the extra `postgres` (psycopg 3).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Identifier
from psycopg.types.numeric import Int8BinaryDumper
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from ..errors import ConfigError, GatewayError, StorageFull, StoreError, TooCostly, UnsafeStore
from .postgres_arrays import ArrayDumper
from .postgres_migrate import migrate
from .postgres_records import TABLES, Packed, PackedDumper, RowType, row_types
from .postgres_sql import Bound
from .wordings import Wordings

Connection = psycopg.AsyncConnection[Any]

COMMIT, DISCLOSE, SEAL, MIGRATE = range(1 << 15, (1 << 15) + 4)
"""Advisory locks, each guards one thing; the inbox has those below."""
LEADERS, LEADERS_MOST = 3 << 14, 1 << 14
"""First number of the locks of those who poll for all, and how many there are."""
_READERS, _ASKERS, _WRITERS, _AUDITORS = 8, 4, 2, 2
_READ_LIMIT_MS = 20_000
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # who asks in vain says so; a pool would say it every second
_AGAIN_S = 0.8
"""How often a pool without a connection tries to make one."""
_MOMENT_S = 0.5
_OLDEST = 140_000
_NEEDED = ("fsync", "full_page_writes", "synchronous_commit")


_ROW_TYPES = (
    "SELECT relname::text, reltype FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
    " AND relname = ANY(%s::text[])"
)


class Database:
    """Open pools on one schema; made by `open_database`."""

    def __init__(self, url: str, lock_space: int) -> None:
        self._space = lock_space
        self._types: dict[str, RowType] = {}
        self.wordings = Wordings()
        self.reading = pool(url, _READERS, "store-reading", _READ_LIMIT_MS)
        self.asking = pool(url, _ASKERS, "store-asking", _READ_LIMIT_MS, steady=True)
        self.writing = pool(url, _WRITERS, "store-writing", 0)
        self.auditing = pool(url, _AUDITORS, "store-auditing", 0, steady=True)

    @property
    def _pools(self) -> tuple[AsyncConnectionPool[Connection], ...]:
        return self.reading, self.asking, self.writing, self.auditing

    async def start(self) -> None:
        """Connect. Raises ConfigError."""
        for pool in self._pools:
            await opened(pool)
        self._types = row_types(dict(await self.select(_ROW_TYPES, (list(TABLES),))))

    def packed(self, table: str, rows: Iterable[Sequence[object]]) -> Packed:
        """Rows of a table as one value."""
        return self._types[table].array(rows)

    async def close(self) -> None:
        """Let all connections go."""
        for pool in self._pools:
            await pool.close()

    def lock(self, number: int) -> int:
        """Key of an advisory lock; other schemas of the same database have others."""
        return self._space | number

    async def select(self, sql: str, values: Bound = (), *, steady: bool = False) -> list[Any]:
        """Rows of one read. steady: planned once, for it finds a few rows by key whatever the values are.

        Raises StoreError, TooCostly when it takes too long.
        """
        pool = self.asking if steady else self.reading
        with translated():
            try:
                return await _select(pool, sql, values)
            except psycopg.OperationalError as fault:
                if isinstance(fault, (errors.QueryCanceled, PoolTimeout)):
                    raise
                await pool.check()  # the server went away: let go of connections it dropped, ask once more
                return await _select(pool, sql, values)

    async def one(self, sql: str, values: Bound = (), *, steady: bool = False) -> Any:
        """The first row of a read or None."""
        found = await self.select(sql, values, steady=steady)
        return found[0] if found else None


async def _select(pool: AsyncConnectionPool[Connection], sql: str, values: Bound) -> list[Any]:
    async with pool.connection() as connection:
        return await (await run(connection, sql, values)).fetchall()


async def run(connection: Connection, sql: str, values: Bound = ()) -> psycopg.AsyncCursor[Any]:
    """Execute; values come back in binary form."""
    return await connection.execute(sql.encode(), values, binary=True)


@asynccontextmanager
async def transaction(pool: AsyncConnectionPool[Connection]) -> AsyncIterator[Connection]:
    """A connection within a transaction; committed and durable when left without an exception."""
    async with pool.connection() as connection, connection.transaction():
        yield connection


def pool(
    url: str, size: int, name: str, limit_ms: int, schema: str = "", *, steady: bool = False
) -> AsyncConnectionPool[Connection]:
    """Connections to a schema (default: the URL's), not yet open. limit_ms: the longest statement, 0 = any.

    steady: a statement is planned once, not for the values asked.
    """

    async def configured(connection: Connection) -> None:
        await configure(connection, limit_ms, schema)
        if steady:
            await connection.execute(b"SET plan_cache_mode = force_generic_plan")

    return _Pool(
        url, min_size=1, max_size=size, open=False, name=name, kwargs={"autocommit": True}, configure=configured,
        timeout=10, num_workers=1, reconnect_timeout=_AGAIN_S, reconnect_failed=_again,
    )  # fmt: skip


class _Pool(AsyncConnectionPool[Connection]):
    """A pool that keeps nobody waiting for a server that is away.

    Who asks first waits the whole time; once that was in vain, and nobody holds a connection, those who come after wait
    no longer than a moment, until there is one again. The pool itself goes on trying.
    """

    _lent, _in_vain = 0, False

    async def getconn(self, timeout: float | None = None) -> Connection:
        """Raises PoolTimeout."""
        away = self._in_vain and not self._lent
        try:
            found = await super().getconn(_MOMENT_S if away else timeout)
        except PoolTimeout:
            self._in_vain = True
            raise
        self._in_vain = False
        self._lent += 1
        return found

    async def putconn(self, conn: Connection) -> None:
        """Give it back."""
        self._lent -= 1
        await super().putconn(conn)


async def opened(pool: AsyncConnectionPool[Connection]) -> None:
    """The pool with its first connection. Raises ConfigError."""
    try:
        await pool.open(wait=True, timeout=10)
    except PoolTimeout:
        zh = "数据库不再接受新连接：每个进程最多用 24 个，请核对 max_connections 和用户的 CONNECTION LIMIT"
        detail = "no further connection; each process uses up to 24: see max_connections and the role's limit"
        raise ConfigError("store.url", detail, detail_zh=zh) from None


async def _again(pool: AsyncConnectionPool[Connection]) -> None:
    """Left alone, a pool waits twice as long after each failure: minutes, when the server was away for minutes."""
    await pool.check()


async def configure(connection: Connection, limit_ms: int, schema: str) -> None:
    """Settings of every connection of ours."""
    # One width for every number, so that a statement is prepared once; and its plan is made for the values asked:
    # a posting may stand in three rows or in all of them.
    connection.adapters.register_dumper(int, Int8BinaryDumper)
    connection.adapters.register_dumper(list, ArrayDumper)
    connection.adapters.register_dumper(Packed, PackedDumper)
    await connection.execute(
        b"SET plan_cache_mode = force_custom_plan; SET jit = off; SET TimeZone = 'UTC';"
        b" SET statement_timeout = %d" % limit_ms
    )
    await connection.execute(_DURABLE)
    if schema:
        await connection.execute(SQL("SET search_path = {}").format(Identifier(schema)))


_DURABLE = b"SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
"""The start refuses a server where it is off; whoever switches it off later does not reach a new connection."""


@contextmanager
def translated() -> Iterator[None]:
    """PostgreSQL's errors as the gateway's; their texts may quote data and are left out."""
    try:
        yield
    except psycopg.Error as fault:
        raise _gateway_error(fault) from None


def _gateway_error(fault: psycopg.Error) -> GatewayError:
    if isinstance(fault, errors.QueryCanceled):
        return TooCostly()
    if isinstance(fault, errors.DiskFull):
        return StorageFull()
    return StoreError(detail=f"PostgreSQL {fault.sqlstate or type(fault).__name__}")


# ---- start -----------------------------------------------------------------------------------
async def open_database(url: str) -> Database:
    """Check the server, bring the schema to this release, connect. Raises ConfigError, UnsafeStore."""
    connection = await connected(url)
    try:
        await refuse_unsafe(connection)
        database = Database(url, space_of(await schema_of(connection)))
        await migrate(connection, database.lock(MIGRATE), "postgres")
    except psycopg.Error as fault:
        raise not_made(fault) from None
    finally:
        await connection.close()
    await database.start()
    return database


async def connected(url: str) -> Connection:
    """A first connection. Raises ConfigError."""
    try:
        return await psycopg.AsyncConnection.connect(url, connect_timeout=10, autocommit=True)
    except psycopg.Error as fault:
        raise not_connected(fault) from None


def not_connected(fault: psycopg.Error) -> ConfigError:
    """Why there is no connection, in the server's or the client library's words: they name host, database and user."""
    if isinstance(fault, psycopg.ProgrammingError):  # its words quote the address, perhaps with the password
        hint = "the address cannot be read; a special character of the password is written as %40 for @"
        return ConfigError("store.url", hint, detail_zh="地址写法不对；口令里的特殊字符须写成百分号编码，如 @ 写作 %40")
    said = " ".join(str(fault).split()) or type(fault).__name__
    return ConfigError(
        "store.url", f"no connection to PostgreSQL: {said}", detail_zh=f"无法连接 PostgreSQL：{said}"
    )  # fmt: skip


def not_made(fault: psycopg.Error) -> ConfigError:
    """Why a schema is not as it has to be."""
    said = fault.diag.message_primary or fault.sqlstate or type(fault).__name__
    zh = f"无法建立数据结构：{said}"
    if isinstance(fault, errors.InsufficientPrivilege):
        zh += "。用户须能在此数据库和 schema 里 CREATE"
    return ConfigError("store.url", f"the schema could not be made: {said}", detail_zh=zh)


async def schema_of(connection: Connection) -> str:
    """The schema the URL's search path names. Raises ConfigError."""
    schema = (await (await connection.execute("SELECT current_schema()")).fetchone() or (None,))[0]
    if schema is None:
        raise no_schema()
    return str(schema)


def no_schema() -> ConfigError:
    """The error for a search path that leads nowhere."""
    zh = "search_path 所指的 schema 不存在，或用户看不到它；请先 CREATE SCHEMA"
    return ConfigError("store.url", "the search path names no schema that exists", detail_zh=zh)


def space_of(schema: str) -> int:
    """Numbers of advisory locks that are this schema's: 48 high bits."""
    digest = hashlib.blake2b(f"alliance-gateway|{schema}".encode(), digest_size=5).digest()
    return int.from_bytes(digest, "big") << 16


async def refuse_unsafe(connection: Connection) -> None:
    """Raises UnsafeStore unless what PostgreSQL confirms is on disk, ConfigError for a server too old or not UTF-8."""
    for name in _NEEDED:
        found = await (await connection.execute(f"SHOW {name}".encode())).fetchone()
        if found is None or found[0] == "off":
            raise UnsafeStore(f"store.url: {name}", f"{name} is off", detail_zh=f"{name} 已关闭")
    if connection.info.server_version < _OLDEST:
        raise ConfigError("store.url", f"PostgreSQL {_OLDEST // 10_000} or newer is needed")
    encoding = await (await connection.execute("SHOW server_encoding")).fetchone()
    if encoding is None or encoding[0] != "UTF8":
        raise ConfigError("store.url", "the database must be encoded in UTF8")
