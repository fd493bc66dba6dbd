"""Backup of the store's and the inbox's schemas: every table by binary COPY, all within one snapshot.

No tool of the server is needed. A restored table is copied out again and must give the same bytes. Needs the extra
`postgres` (psycopg 3).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from .. import __version__
from ..errors import BrokenArchive, ConfigError, NewerRelease
from ..model.times import instant_text, system_clock
from .archive import FORMAT, Manifest, Part, Progress, Reader, Writer, writing
from .postgres_database import MIGRATE, no_schema, not_connected, refuse_unsafe, space_of
from .postgres_migrate import migrate, steps_of

Connection = psycopg.Connection[Any]
STORE, INBOX = "store", "inbox"
_FOLDERS = {STORE: "postgres", INBOX: "postgres_inbox"}
_TABLES = (
    "SELECT c.relname, array_agg(a.attname ORDER BY a.attnum) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
    " WHERE c.relkind = 'r' AND c.relnamespace = %s::regnamespace AND a.attnum > 0 AND NOT a.attisdropped"
    " AND c.relname <> 'migration' GROUP BY c.relname ORDER BY c.relname"
)
_SEQUENCES = "SELECT sequencename, coalesce(last_value, start_value - 1) + 1 FROM pg_sequences WHERE schemaname = %s"


def backup(url: str, path: Path, progress: Progress) -> Manifest:
    """Write the archive; the gateway may run. Raises ConfigError for a schema without a store."""
    with connected(url) as (connection, names), writing(path), Writer(path, progress) as archive:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        schemas = {name: _version(connection, schema) for name, schema in names.items()}
        counts: dict[str, int] = {}
        sequences: dict[str, int] = {}
        for name, schema in names.items():
            for table, columns in tables_of(connection, schema).items():
                where = Identifier(schema, table)
                counts[f"{name}/{table}"] = rows = _count(connection, where)
                archive.add(f"{name}/{table}.copy", _out(connection, where, columns), rows, columns)
            found = connection.execute(_SEQUENCES, (schema,)).fetchall()
            sequences |= {f"{name}/{sequence}": number for sequence, number in found}
        connection.execute("COMMIT")
        manifest = Manifest(
            FORMAT,
            "postgres",
            __version__,
            instant_text(system_clock()),
            schemas,
            counts,
            tuple(archive.parts),
            sequences,
        )
        archive.finish(manifest)
    return manifest


def figures_of(url: str) -> dict[str, int]:
    """Rows, current rows, persons, commits, parked messages, originals let go, bytes by table with its indexes."""
    with connected(url) as (connection, names):
        _version(connection, names[STORE])
        found = connection.execute(
            "SELECT (SELECT count(*) FROM version), (SELECT count(*) FROM version WHERE till_tx = 1::int8 << 62),"
            " (SELECT last_value FROM people), (SELECT coalesce(max(tx), 0) FROM tx)"
        ).fetchone()
        figures = dict(zip(("versions", "current", "persons", "commits"), found or (), strict=True))
        inbox = Identifier(names[INBOX])
        asked = SQL(
            "SELECT (SELECT count(*) FROM {0}.message WHERE state = 3),"
            " (SELECT count(*) FROM {0}.message) - (SELECT count(*) FROM {0}.body)"
        ).format(inbox)
        parked = connection.execute(asked).fetchone()
        figures |= dict(zip(("parked messages", "originals let go"), parked or (), strict=True))
        for name, schema in names.items():
            for table in tables_of(connection, schema):
                sql = "SELECT pg_total_relation_size(%s::regclass)"
                size = connection.execute(sql, (Identifier(schema, table).as_string(connection),)).fetchone()
                figures[f"bytes {name}/{table}"] = size[0] if size else 0
    return figures


def restore(path: Path, url: str, progress: Progress) -> Manifest:
    """Fill empty schemas, in one transaction. Raises BrokenArchive, ConfigError; then they are empty as before."""
    with Reader(path, progress) as archive, connected(url) as (connection, names):
        manifest = archive.manifest
        if manifest.engine != "postgres":
            raise BrokenArchive(str(path), f"a backup of {manifest.engine}")
        make_empty(connection, url, names, manifest.schemas)
        with connection.transaction():
            connection.execute("SET LOCAL synchronize_seqscans = off")
            for part in manifest.parts:
                _fill(connection, names, part, archive)
            go_on_from(connection, names, manifest.sequences)
        analyze(connection, names)
    return manifest


def make_empty(connection: Connection, url: str, names: dict[str, str], versions: Mapping[str, int] | None) -> None:
    """The tables of these versions, or of this release, all empty. Raises ConfigError where one has rows."""
    for name, schema in names.items():
        connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(schema)))
        if any(_count(connection, Identifier(schema, table)) for table in tables_of(connection, schema)):
            raise ConfigError(f"schema {schema}", "is not empty", detail_zh="不是空的，请用空的 schema。")
        folder = _FOLDERS[name]
        _made(url, schema, folder, len(steps_of(folder)) if versions is None else versions[name])


def go_on_from(connection: Connection, names: dict[str, str], sequences: Mapping[str, int]) -> None:
    """Next numbers by schema and name."""
    for name, number in sequences.items():
        where, _, sequence = name.partition("/")
        target = Identifier(names[where], sequence).as_string(connection)
        connection.execute("SELECT setval(%s::regclass, %s, false)", (target, number))


def analyze(connection: Connection, names: dict[str, str]) -> None:
    """Tell the server what the tables have now, for its plans."""
    for schema in names.values():
        for table in tables_of(connection, schema):
            connection.execute(SQL("ANALYZE {}").format(Identifier(schema, table)))


def _fill(connection: Connection, names: dict[str, str], part: Part, archive: Reader) -> None:
    name, _, file = part.name.partition("/")
    where = Identifier(names[name], file.removesuffix(".copy"))
    # Emptied in this transaction, a table takes row after row at its end; else rows fill gaps of earlier pages, and it
    # reads back in another order.
    connection.execute(SQL("TRUNCATE {}").format(where))
    try:
        with connection.cursor().copy(copy_sql("COPY {} ({}) FROM STDIN (FORMAT binary)", where, part.columns)) as into:
            for block in archive.blocks(part):
                into.write(block)
    except psycopg.DataError as fault:
        raise BrokenArchive(part.name, f"no rows of this table: {fault.sqlstate}") from None
    digest = hashlib.sha256()
    for read in _out(connection, where, part.columns):
        digest.update(read)
    if digest.hexdigest() != part.sha256 or _count(connection, where) != part.rows:
        raise BrokenArchive(part.name, "the table is not what was backed up")


def _out(connection: Connection, where: Identifier, columns: tuple[str, ...]) -> Iterator[bytes]:
    with connection.cursor().copy(copy_sql("COPY {} ({}) TO STDOUT (FORMAT binary)", where, columns)) as out:
        for block in out:
            yield bytes(block)


def copy_sql(text: Any, where: Identifier, columns: tuple[str, ...]) -> Composed:
    """A COPY of a table's columns."""
    return SQL(text).format(where, SQL(", ").join(map(Identifier, columns)))


def _count(connection: Connection, where: Identifier) -> int:
    found = connection.execute(SQL("SELECT count(*) FROM {}").format(where)).fetchone()
    return int(found[0]) if found else 0


def _version(connection: Connection, schema: str) -> int:
    try:
        found = connection.execute(
            SQL("SELECT max(version) FROM {}").format(Identifier(schema, "migration"))
        ).fetchone()
    except psycopg.errors.UndefinedTable:
        raise ConfigError(f"schema {schema}", "holds no store", detail_zh="里没有网关的数据。") from None
    return int(found[0]) if found else 0


def _made(url: str, schema: str, folder: str, version: int) -> None:
    """The empty tables as the archive knows them; the next start takes them on to this release."""
    if version > len(steps_of(folder)):
        raise NewerRelease(folder, f"schema {version} > {len(steps_of(folder))}")

    async def make() -> None:
        connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
        try:
            await refuse_unsafe(connection)
            await connection.execute(SQL("SET search_path = {}").format(Identifier(schema)))
            await migrate(connection, space_of(schema) | MIGRATE, folder, upto=version)
        finally:
            await connection.close()

    asyncio.run(make())


def tables_of(connection: Connection, schema: str) -> dict[str, tuple[str, ...]]:
    """Columns by table, without the record of migrations."""
    name = Identifier(schema).as_string(connection)
    return {table: tuple(columns) for table, columns in connection.execute(_TABLES, (name,)).fetchall()}


@contextmanager
def connected(url: str) -> Iterator[tuple[Connection, dict[str, str]]]:
    """A connection, and the schemas of store and inbox. Raises ConfigError."""
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=10)
    except psycopg.Error as fault:
        raise not_connected(fault) from None
    try:
        found = connection.execute("SELECT current_schema()").fetchone()
        if found is None or found[0] is None:
            raise no_schema()
        yield connection, {STORE: str(found[0]), INBOX: f"{found[0]}_inbox"}
    finally:
        connection.close()
