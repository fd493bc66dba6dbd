"""Backup of a home: audit log, store and inbox, copied in this order while the gateway runs.

The order makes them one set. Disclosures move from the fresh files into `audit.db`, so those are copied before it: a
row of that moment is in one of the copies or in both, where its number tells. A seal names rows of the store, so the
audit log is copied before that; a settled message has its outcome in the store, so the inbox is copied last, and what
it calls processed without an outcome there is open again after a restore. Each copy of a database is one read
transaction of SQLite (`VACUUM INTO`): no writer waits, none starves it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from pathlib import Path

import apsw

from .. import __version__
from ..errors import BrokenArchive, ConfigError, NewerRelease
from ..model.times import instant_text, system_clock
from .archive import FORMAT, Manifest, Progress, Reader, Writer, file_blocks, writing
from .audit_fresh import NAMES as FRESH
from .audit_sqlite import AUDIT_SCHEMA
from .sqlite_file import store_steps
from .writer import connect

DATABASES = ("audit.db", "store.db", "inbox.db")
FILES = (*FRESH, *DATABASES)
_COUNTED = (
    ("audit.db", "seal"), ("store.db", "row"), ("store.db", "effect"), ("store.db", "done"), ("store.db", "record"),
    ("inbox.db", "message"),
)  # fmt: skip
_REOPEN = "UPDATE message SET state = 0, reason = '' WHERE state = 1 AND 'm' || seq NOT IN (SELECT raw_key FROM done)"


def backup(home: Path, path: Path, progress: Progress) -> Manifest:
    """Write the archive. Raises ConfigError for a home without a store."""
    for name in FILES:
        if not (home / name).is_file():
            raise ConfigError(str(home), f"no {name} there", detail_zh=f"那里没有 {name}。")
    with (
        writing(path),
        Writer(path, progress) as archive,
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".backup-") as folder,
    ):
        for name in FILES:
            _copy(home / name, Path(folder) / name)
            archive.add(name, file_blocks(Path(folder) / name))
        manifest = Manifest(
            FORMAT, "sqlite", __version__, instant_text(system_clock()),
            {name: _one(Path(folder) / name, "PRAGMA user_version") for name in DATABASES},
            _counts(Path(folder)), tuple(archive.parts),
        )  # fmt: skip
        archive.finish(manifest)
    return manifest


def restore(path: Path, home: Path, progress: Progress) -> Manifest:
    """Unpack into a home that has no store. Raises BrokenArchive, ConfigError; then nothing is left there."""
    home.mkdir(parents=True, exist_ok=True)
    if any((home / name).exists() for name in FILES):
        raise ConfigError(str(home), "there is a store already", detail_zh="那里已有数据，请恢复到空目录。")
    with writing(home), Reader(path, progress) as archive:
        manifest = archive.manifest
        if manifest.engine != "sqlite":
            raise BrokenArchive(str(path), f"a backup of {manifest.engine}")
        for name, newest in (("store.db", len(store_steps())), ("audit.db", AUDIT_SCHEMA)):
            if (found := manifest.schemas.get(name, 0)) > newest:
                raise NewerRelease(str(path), f"{name}: schema {found} > {newest}, made by {manifest.release}")
        if sorted(part.name for part in manifest.parts) != sorted(FILES):  # a name may lead out of the home
            raise BrokenArchive(str(path), "not the files of a home")
        try:
            for part in manifest.parts:
                (home / part.name).touch(0o600, exist_ok=False)
                with (home / part.name).open("wb") as out:
                    out.writelines(archive.blocks(part))
            _check(home, manifest)
            _join(home)
        except BaseException:
            for name in FILES:
                (home / name).unlink(missing_ok=True)
            raise
    return manifest


def _copy(source: Path, target: Path) -> None:
    if source.name in FRESH:
        shutil.copyfile(source, target)
        return
    try:
        with contextlib.closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            connection.set_busy_timeout(10_000)
            connection.execute("VACUUM INTO ?", (str(target),))
    except (apsw.FullError, apsw.IOError, apsw.CantOpenError) as fault:
        full = any(isinstance(one, apsw.FullError) for one in (fault, fault.__context__))  # closing may fail after it
        number = errno.ENOSPC if full else errno.EIO
        raise OSError(number, os.strerror(number)) from None


def _one(path: Path, sql: str) -> int:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(str(next(iter(connection.execute(sql)))[0]))
    finally:
        connection.close()


def _counts(folder: Path) -> dict[str, int]:
    return {table: _one(folder / name, f"SELECT count(*) FROM {table}") for name, table in _COUNTED}


def _check(home: Path, manifest: Manifest) -> None:
    found = _counts(home)
    wrong = [table for table, count in manifest.counts.items() if found.get(table) != count]
    for name in DATABASES:
        connection = apsw.Connection(str(home / name), flags=apsw.SQLITE_OPEN_READONLY)
        wrong += [name for row in connection.execute("PRAGMA quick_check") if row[0] != "ok"]
        connection.close()
    if wrong:
        raise BrokenArchive(wrong[0], "not what was backed up")


def _join(home: Path) -> None:
    """Messages whose effect came after the copy of the store are open again."""
    connection = connect(str(home / "inbox.db"), writer=True)
    try:
        connection.execute("ATTACH ? AS store", (str(home / "store.db"),))
        connection.execute(_REOPEN)
    finally:
        connection.close()
