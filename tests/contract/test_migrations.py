"""A start that dies while it brings a schema to this release: the next one goes on where it ended."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib import resources as package_files
from pathlib import Path

import apsw
import psycopg
import pytest

from gateway.model.context import SYSTEM
from gateway.store.base import Plan
from gateway.store.resources import open_store
from tests.contract.clinic import organization
from tests.contract.conftest import START

# Opens a store, and stands still when it reads the step asked for: before it is taken, or when all of it but the end of
# its transaction has happened.
_START = """
import asyncio, pathlib, sys, time
from gateway.model.times import system_clock
from gateway.store.resources import open_store
url, step, inside, mark = sys.argv[1:]
read = pathlib.Path.read_text
def read_text(self, *how, **more):
    text = read(self, *how, **more)
    if self.name != step:
        return text
    pathlib.Path(mark).touch()
    if not inside:
        time.sleep(60)
    return text + ";" + inside
pathlib.Path.read_text = read_text
asyncio.run(open_store(url, clock=system_clock))
"""
_LONG = {
    "sqlite": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n",
    "postgres": "SELECT pg_sleep(2)",  # the server goes on for so long before it sees that nobody is there any more
}


def _steps(engine: str) -> list[str]:
    folder = package_files.files("gateway.store") / "migrations" / engine
    names = sorted(entry.name for entry in folder.iterdir())
    return [name for name in names if name.endswith("_store.sql" if engine == "sqlite" else ".sql")]


def _version(url: str) -> int:
    if url.startswith("sqlite"):
        return int(next(iter(apsw.Connection(f"{url[9:]}/store.db").execute("PRAGMA user_version")))[0])
    with psycopg.connect(url) as connection:
        (found,) = connection.execute("SELECT count(*) FROM migration").fetchone() or (0,)
        return int(found)


@pytest.mark.parametrize("inside", [False, True], ids=["between", "inside"])
@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
async def test_a_migration_that_was_cut_goes_on_at_the_next_start(
    url: str, tmp_path: Path, first: bool, inside: bool
) -> None:
    engine = "sqlite" if url.startswith("sqlite") else "postgres"
    steps = _steps(engine)
    step, mark = steps[0 if first else -1], tmp_path / "mark"
    command = [sys.executable, "-c", _START, url, step, _LONG[engine] if inside else "", str(mark)]
    starting = subprocess.Popen(command)
    try:
        end = time.monotonic() + 60
        while not mark.exists():
            assert starting.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        time.sleep(0.5 if inside else 0)
    finally:
        starting.kill()
        starting.wait()
    assert _version(url) == steps.index(step)
    store = await open_store(url, clock=lambda: START)
    assert _version(url) == len(steps)
    await store.commit(Plan(puts=(organization("g1", "院"),)))
    assert await store.read("Organization", "g1", SYSTEM) is not None
    await store.close()
