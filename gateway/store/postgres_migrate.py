"""Numbered SQL files bring a schema to this release: forward only, each in a transaction of its own.

What was cut off goes on at the next start: a step is there whole, with its row in `migration`, or not at all.
"""

from __future__ import annotations

from importlib import resources as package_files
from importlib.resources.abc import Traversable
from typing import Any

import psycopg

from ..errors import NewerRelease


async def migrate(
    connection: psycopg.AsyncConnection[Any], lock: int, folder: str, *, upto: int | None = None
) -> list[str]:
    """Steps of `migrations/<folder>` taken now, one process at a time. Raises NewerRelease.

    lock: key of the advisory lock; upto: go no further than this version. The connection is in autocommit and its
    search path names the schema.
    """
    steps = steps_of(folder)[:upto]
    await connection.execute("SELECT pg_advisory_lock(%s)", (lock,))
    try:
        version = await _version(connection)
        if version > len(steps):
            raise NewerRelease("store.url", f"schema {version} > {len(steps)}")
        for number, step in enumerate(steps[version:], version + 1):
            async with connection.transaction():
                await connection.execute(step.read_text("utf-8").encode())
                await connection.execute("INSERT INTO migration VALUES(%s, %s, now())", (number, step.name))
    finally:
        await connection.execute("SELECT pg_advisory_unlock(%s)", (lock,))
    return [step.name for step in steps[version:]]


def steps_of(folder: str) -> list[Traversable]:
    """The SQL files in their order."""
    found = (package_files.files(__package__) / "migrations" / folder).iterdir()
    return sorted((entry for entry in found if entry.name.endswith(".sql")), key=lambda entry: entry.name)


async def _version(connection: psycopg.AsyncConnection[Any]) -> int:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migration(version int4 PRIMARY KEY, name text NOT NULL, at timestamptz NOT NULL)"
    )
    found = await (await connection.execute("SELECT coalesce(max(version), 0) FROM migration")).fetchone()
    return int(found[0]) if found else 0
