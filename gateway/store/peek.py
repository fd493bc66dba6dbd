"""The size of a SQLite home another process works on, read beside it."""

from __future__ import annotations

from pathlib import Path

import apsw

from .audit_fresh import NAMES as FRESH


def stats(directory: Path) -> dict[str, int]:
    """Rows, current rows, persons, commits, parked messages, originals let go, and bytes of the files."""
    counted = _rows(
        directory,
        "SELECT count(*), sum(till_tx = 1 << 62), (SELECT max(people) FROM tx), (SELECT max(tx) FROM tx) FROM row",
        (),
    )
    names = ("versions", "current", "persons", "commits")
    figures = {name: int(value or 0) for name, value in zip(names, counted[0], strict=True)}
    for name, condition in (("parked messages", "state = 3"), ("originals let go", "body = x''")):
        sql = f"SELECT count(*) FROM message WHERE {condition}"
        figures[name] = int(str(_rows(directory, sql, (), "inbox.db")[0][0]))
    for name in ("store.db", "inbox.db", "audit.db"):
        parts = [directory / one for one in (name, f"{name}-wal", *(FRESH if name == "audit.db" else ()))]
        figures[f"bytes {name}"] = sum(part.stat().st_size for part in parts if part.exists())
    return figures


def _rows(
    directory: Path, sql: str, values: tuple[str, ...], name: str = "store.db"
) -> list[tuple[apsw.SQLiteValue, ...]]:
    connection = apsw.Connection(str(directory / name), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(5_000)
        return list(connection.execute(sql, values))
    finally:
        connection.close()
