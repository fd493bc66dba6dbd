"""Opening the store's file: one process alone, the newest schema, settings nothing acknowledged is lost under."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
from datetime import UTC, datetime
from importlib import resources as package_files
from importlib.resources.abc import Traversable
from pathlib import Path

import apsw

from ..errors import ConfigError, NewerRelease, StoreInUse, UnsafeStore
from ..model.times import instant_text, system_clock

MOVED = "store.moved"
_PRIVATE = re.compile(r"\.(db(-wal|-shm)?|fresh|lock)$|^(tokens|demo)\.json$")
_LOG = logging.getLogger("gateway.store")


def only_one(path: Path) -> int:
    """The handle of a lock held until it is closed. Raises StoreInUse while another process holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StoreInUse(str(path)) from None
    return handle


def make_private(directory: Path) -> None:
    """Take from everybody but the owner what earlier releases let them do with the files of a home, and say so."""
    for path in sorted(directory.glob("*")):
        if path.is_file() and _PRIVATE.search(path.name) and (mode := path.stat().st_mode) & 0o077:
            try:
                path.chmod(0o600)
            except OSError as fault:
                _LOG.warning(
                    "%s can be read by others (%o) and its mode cannot be changed: %s", path, mode, fault.strerror
                )
            else:
                _LOG.warning("%s could be read by others (%o); now only its owner can", path, mode & 0o777)


def say_moved(directory: Path, where: str) -> None:
    """From now on nobody opens this home: what is written there would be missing from where its data went."""
    with (directory / MOVED).open("w", encoding="utf-8") as file:
        file.write(f"{instant_text(system_clock())} {where}\n")
        file.flush()
        os.fsync(file.fileno())


def refuse_moved(directory: Path) -> None:
    """Raises ConfigError for a home whose data was moved."""
    if (directory / MOVED).is_file():
        said = (directory / MOVED).read_text("utf-8").strip()
        raise ConfigError(
            str(directory),
            f"its data was moved: {said}. Set store.url; to give up what was moved, remove {MOVED} there",
            detail_zh=f"数据已移走：{said}。请设置 store.url；若放弃已移走的数据、仍用本目录，删除其中的 {MOVED}。",
        )


def prepared(db: apsw.Connection) -> None:
    """Bring the file to the newest schema. Raises NewerRelease."""
    steps = store_steps()
    version = int(next(iter(db.execute("PRAGMA user_version")))[0])
    if version > len(steps):
        raise NewerRelease("store.db", f"schema {version} > {len(steps)}")
    for number, entry in enumerate(steps[version:], version + 1):
        with db:
            db.execute(entry.read_text("utf-8"))
            if number == 1:
                _begin(db)
            db.execute(f"PRAGMA user_version = {number}")


def store_steps() -> list[Traversable]:
    """The SQL files of the store in their order."""
    found = (package_files.files(__package__) / "migrations" / "sqlite").iterdir()
    return sorted((one for one in found if one.name.endswith("_store.sql")), key=lambda one: one.name)


def _begin(db: apsw.Connection) -> None:
    db.execute("INSERT INTO meta VALUES('key', ?)", (secrets.token_bytes(32),))
    db.execute("INSERT INTO tx VALUES(0, ?, 0)", (int(datetime(1970, 1, 1, tzinfo=UTC).timestamp()),))
    db.execute("INSERT INTO name(no, text) VALUES(1, ''), (2, 'Patient')")  # an index says 2


def refuse_unsafe(db: apsw.Connection) -> None:
    """Raises UnsafeStore unless the file is in WAL mode with synchronous FULL or stricter."""
    mode = next(iter(db.execute("PRAGMA journal_mode")))[0]
    level = int(next(iter(db.execute("PRAGMA synchronous")))[0])
    if mode != "wal" or level < 2:
        raise UnsafeStore("store.db", f"journal_mode {mode}, synchronous {level}; wal and 2 are needed")
