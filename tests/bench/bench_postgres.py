"""The store on PostgreSQL: bundles, single creates and reads by id, by one and by two processes at once.

    python -m tests.bench.bench_postgres [--stored N] [--seconds S] [--workers N]

A server of its own is started; its durability settings are the defaults. Every write carries its audit row, every read
is disclosed before it counts. Puts are prepared (decoded, extracted) before the clock runs. Ceilings of the same run:
COPY of the same packed bodies into a table with one key, 300 rows a commit; an insert of one of them a commit in 64
connections' worth of lanes; a lookup by key.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import resource
import time
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing.connection import Connection

import msgspec
import psycopg
import uvloop

from gateway.model.context import SYSTEM
from gateway.model.times import system_clock
from gateway.store.base import AuditRow, Plan, Put
from gateway.store.resources import ResourceStore, open_store
from tests.bench.bench_store import Feed
from tests.bench.machine import machine, row
from tests.contract.postgres import TestServer

BUNDLE, CLIENTS = 300, 64
_CONTEXT = multiprocessing.get_context("fork")
Unit = Callable[[ResourceStore, int], Awaitable[int]]
"""One piece of work of a lane; how many it counts for."""


def _audit(action: str) -> AuditRow:
    return AuditRow(system_clock(), action, "rest", "x", "0", "u", "u", "admin", "m", "TREAT")


def _main(url: str, kind: str, number: int, seconds: float, pipe: Connection) -> None:
    pipe.send(uvloop.run(_measured(url, kind, number, seconds, pipe)))


async def _measured(url: str, kind: str, number: int, seconds: float, pipe: Connection) -> tuple[int, float, float]:
    """(pieces, seconds, CPU seconds) of one process; it waits for the word to begin."""
    store = await open_store(url, clock=system_clock)
    unit, lanes = await _unit(store, kind, number)
    pipe.send("ready")
    await asyncio.to_thread(pipe.recv)
    began, cpu = time.perf_counter(), time.process_time()
    counts = await asyncio.gather(*(_lane(store, unit, lane, began + seconds) for lane in range(lanes)))
    took, used = time.perf_counter() - began, time.process_time() - cpu
    await store.close()
    return sum(counts), took, used


async def _lane(store: ResourceStore, unit: Unit, lane: int, end: float) -> int:
    done = 0
    while time.perf_counter() < end:
        got = await unit(store, lane)
        if not got:
            break
        done += got
    return done


async def _unit(store: ResourceStore, kind: str, number: int) -> tuple[Unit, int]:
    feed = Feed(400, seed=number)
    if kind == "reads":
        known = [(put.type, put.id) for put in Feed(400, seed=10).rows(4_000)]
        turn = itertools.count(number * 997)

        async def read(store: ResourceStore, lane: int) -> int:
            type_, id_ = known[next(turn) % len(known)]
            assert await store.read(type_, id_, SYSTEM) is not None
            await store.disclose(_audit("R"))
            return 1

        return read, CLIENTS
    size, lanes = (BUNDLE, 3) if kind == "bundles" else (1, CLIENTS)
    ready = _plans(feed, size)

    async def write(store: ResourceStore, lane: int) -> int:
        plan = next(ready, None)
        return len((await store.commit(plan)).written) if plan else 0

    return write, lanes


def _plans(feed: Feed, size: int) -> Iterator[Plan]:
    puts: list[Put] = list(feed.rows(24_000 if size > 1 else 12_000))
    audits = (_audit("C"),)
    return iter([Plan(puts=tuple(puts[at : at + size]), audits=audits) for at in range(0, len(puts), size)])


def _run(url: str, kind: str, workers: int, seconds: float) -> tuple[float, float]:
    """(pieces a second of all, CPU µs a piece in the gateway's processes)."""
    pipes, processes = [], []
    for number in range(workers):
        here, there = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_main, args=(url, kind, 20 + number + next(_SEEDS) * 10, seconds, there))
        process.start()
        pipes.append(here)
        processes.append(process)
    assert [pipe.recv() for pipe in pipes] == ["ready"] * workers
    for pipe in pipes:
        pipe.send("begin")
    found: list[tuple[int, float, float]] = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    total = sum(count for count, _, _ in found)
    return sum(count / took for count, took, _ in found), sum(used for _, _, used in found) / max(total, 1) * 1e6


_SEEDS = itertools.count(1)


def _bare_copy(url: str, rows: int) -> float:
    """Rows a second of bodies of about the stored size, 300 a commit, by COPY."""
    body = bytes(range(256)) * 2
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE TABLE bare(id int8 PRIMARY KEY, body bytea)")
        began = time.perf_counter()
        for at in range(0, rows, BUNDLE):
            with db.transaction(), db.cursor().copy("COPY bare FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int8", "bytea"])
                for n in range(at, at + BUNDLE):
                    copy.write_row((n * 7919 % 100_000_007, body))
        return rows / (time.perf_counter() - began)


async def _bare_singles(url: str, seconds: float) -> float:
    """Single inserts a second, each its own commit, in 16 connections."""
    numbers = itertools.count(1 << 40)

    async def lane(end: float) -> int:
        done = 0
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
            while time.perf_counter() < end:
                await db.execute("INSERT INTO bare VALUES(%s, %s)", (next(numbers), b"x" * 512))
                done += 1
        return done

    began = time.perf_counter()
    counts = await asyncio.gather(*(lane(began + seconds) for _ in range(16)))
    return sum(counts) / (time.perf_counter() - began)


async def _bare_reads(url: str, times: int) -> float:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        began = time.perf_counter()
        for n in range(times):
            await (await db.execute("SELECT body FROM bare WHERE id = %s", (n * 7919 % 100_000_007,))).fetchall()
        return times / (time.perf_counter() - began)


async def _fill(url: str, rows: int) -> None:
    store = await open_store(url, clock=system_clock)
    feeds = [Feed(400, seed=10)]
    feeds += [Feed(2_000, seed=1_000 + n) for n in range(rows // 20_000)]
    for feed in feeds:
        for _ in range(4 if feed is feeds[0] else 20):
            await store.commit(Plan(puts=tuple(msgspec.structs.replace(put, expect=None) for put in feed.rows(1_000))))
    await store.close()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stored", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="bundles, singles or reads")
    args = parser.parse_args()
    server = TestServer()
    try:
        url = server.schema()
        with psycopg.connect(url) as db:
            version = db.info.server_version
        print(machine() + f", PostgreSQL {version // 10_000}.{version % 10_000}, {args.stored:,} stored")
        uvloop.run(_fill(url, args.stored))
        ceilings = {
            "bundles": _bare_copy(url, 30_000), "singles": uvloop.run(_bare_singles(url, 3)),
            "reads": uvloop.run(_bare_reads(url, 3_000)),
        }  # fmt: skip
        for kind, unit in (("bundles", "resources/s"), ("singles", "creates/s"), ("reads", "reads/s")):
            for workers in sorted({1, args.workers}) if args.only in ("", kind) else ():
                rate, cpu = _run(url, kind, workers, args.seconds)
                row(f"{kind}, {workers} process(es), {cpu:,.0f} µs CPU each", rate, unit, ceilings[kind])
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"  largest child {peak:,.0f} MB")
    finally:
        server.close()


if __name__ == "__main__":
    main()
