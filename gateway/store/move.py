"""A whole embedded store carried into PostgreSQL: every version, message and audit row, under the same numbers.

All of it is one transaction of PostgreSQL: there is everything or nothing, whenever it was broken off. Rows go through
one by one, whatever their number. Before the end every table is read back; how many rows it has and the sum of their
hashes must be those of the rows that came out of the files. Needs the extra `postgres` (psycopg 3).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
from psycopg.sql import Identifier

from ..errors import StoreError
from .backup_postgres import INBOX, STORE, Connection, analyze, connected, copy_sql, go_on_from, make_empty, tables_of
from .move_tables import INBOX_TABLES, SEQUENCES, STORE_TABLES, Home, Table, Values
from .postgres_arrays import ArrayDumper
from .postgres_database import translated
from .sqlite_file import only_one

Progress = Callable[[str, int], None]
"""Told the name of the table at hand and how many of its rows were just done; each is done going and coming back."""
_TABLES = {STORE: STORE_TABLES, INBOX: INBOX_TABLES}
_FOUND_BY = (
    "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i"
    " JOIN pg_class c ON c.oid = i.indexrelid WHERE NOT i.indisunique AND c.relnamespace = %s::regnamespace"
)
_AT_ONCE = 500
_encode = msgspec.msgpack.Encoder().encode


class Content(NamedTuple):
    """What a table has: how many rows, and the sum of the hashes of each, which no order changes."""

    rows: int
    hash: str

    def __str__(self) -> str:
        return f"{self.rows} {self.hash}"


class _Sum:
    """A content being added up."""

    def __init__(self, told: Callable[[int], None]) -> None:
        self._told, self._rows, self._sum = told, 0, 0

    def add(self, row: Values) -> None:
        """One row more."""
        digest = hashlib.blake2b(_encode(row), digest_size=16).digest()
        self._sum = (self._sum + int.from_bytes(digest, "big")) % (1 << 128)
        self._rows += 1
        if self._rows % _AT_ONCE == 0:
            self._told(_AT_ONCE)

    def content(self) -> Content:
        """Of all of them."""
        self._told(self._rows % _AT_ONCE)
        return Content(self._rows, f"{self._sum:032x}")


class Moved(NamedTuple):
    """where: the database in words, without its password. tables: what each has now, by `schema/table`."""

    where: str
    tables: dict[str, Content]


@contextmanager
def at_rest(directory: Path) -> Iterator[Home]:
    """A home nobody else opens meanwhile; its files are of this release. Raises StoreInUse."""
    lock = only_one(directory / "store.lock")
    home = Home(directory)
    try:
        yield home
    finally:
        home.close()
        os.close(lock)


def rows_of(home: Home) -> int:
    """How many rows there are to carry."""
    return sum(table.count(home) for tables in _TABLES.values() for table in tables.values())


def move(home: Home, url: str, progress: Progress) -> Moved:
    """Fill the schemas of `url`, which must be empty; when it raises ConfigError, StoreError, StorageFull, they are."""
    with translated(), connected(url) as (connection, names):
        make_empty(connection, url, names, None)
        with connection.transaction():
            _unhurried(connection)
            with _without_indexes(connection, names):
                carried = {
                    f"{name}/{table}": _carry(connection, home, one, names[name], table, progress)
                    for name, tables in _TABLES.items()
                    for table, one in tables.items()
                }
            go_on_from(connection, names, {name: home.one(*said) + 1 for name, said in SEQUENCES.items()})
        analyze(connection, names)
        return Moved(f"PostgreSQL {connection.info.host} {connection.info.dbname} {names[STORE]}", carried)


def _unhurried(connection: Connection) -> None:
    """For this transaction: no limit on its length, numbers and lists in binary form."""
    connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
    connection.adapters.register_dumper(list, ArrayDumper)


@contextmanager
def _without_indexes(connection: Connection, names: dict[str, str]) -> Iterator[None]:
    """Those that keep nothing apart are made when all rows are there: one sort instead of a search for each row."""
    dropped = [
        found
        for schema in names.values()
        for found in connection.execute(_FOUND_BY, (Identifier(schema).as_string(connection),)).fetchall()
    ]
    for name, _ in dropped:
        connection.execute(f"DROP INDEX {name}".encode())
    yield
    for _, made in dropped:
        connection.execute(made.encode())


def _carry(connection: Connection, home: Home, table: Table, schema: str, name: str, progress: Progress) -> Content:
    """Raises StoreError unless what the server has afterwards is what was read."""
    where, columns = Identifier(schema, name), tables_of(connection, schema)[name]
    going, back = _Sum(partial(progress, f"→ {name}")), _Sum(partial(progress, f"= {name}"))
    with connection.cursor().copy(copy_sql("COPY {} ({}) FROM STDIN (FORMAT binary)", where, columns)) as into:
        into.set_types(table.types)
        for row in table.rows(home):
            into.write_row(row)
            going.add(row)
    with connection.cursor().copy(copy_sql("COPY {} ({}) TO STDOUT (FORMAT binary)", where, columns)) as out:
        out.set_types(table.types)
        for row in out.rows():
            back.add(row)
    if going.content() != back.content():
        raise StoreError(
            f"{schema}.{name}",
            f"read {going.content()}, found {back.content()}",
            detail_zh=f"读出 {going.content()}，目标里却是 {back.content()}；没有移动任何数据。",
        )
    return going.content()
