"""The store on PostgreSQL: bundles, single creates and reads by id, by one and by two processes at once.

    python -m tests.bench.bench_postgres [--stored N] [--seconds S] [--workers N]

A server of its own is started; its settings are the defaults. Every write carries its audit row, every read is
disclosed before it counts. Puts are prepared (decoded, extracted) before the clock runs. Ceilings of the same run, all
with rows the store itself wrote, in a table with the one key (person, seq) and nothing else: COPY of 300 of them a
commit; an insert of one a commit, in 16 connections; lookups of 16 keys a question, in 4 connections.
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
from typing import Any

import psycopg
import uvloop

from gateway.model.context import SYSTEM
from gateway.model.times import system_clock
from gateway.store.base import AuditRow, Plan, Put
from gateway.store.resources import ResourceStore, open_store
from tests.bench.bench_store import Feed
from tests.bench.machine import machine, row
from tests.bench.postgres_stored import fill, weigh
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


def _run(url: str, kind: str, workers: int, seconds: float) -> tuple[float, float, int]:
    """(pieces a second of all, CPU µs a piece in the gateway's processes, pieces)."""
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
    total = max(sum(count for count, _, _ in found), 1)
    return sum(count / took for count, took, _ in found), sum(used for _, _, used in found) / total * 1e6, total


_SEEDS = itertools.count(1)


_COPY_HEAD = 19
"""Bytes before the first row of a binary COPY."""


def _bare_copy(url: str) -> float:
    """Rows a second by COPY, 300 a commit, in the order of their hashes."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE TABLE bare(LIKE version, PRIMARY KEY(person, seq))")
        real = "SELECT * FROM version WHERE from_tx < 200 ORDER BY fh LIMIT 18000"
        with db.cursor().copy(f"COPY ({real}) TO STDOUT (FORMAT binary)".encode()) as copy:
            first, *rows, end = [bytes(row) for row in copy]
        head, rows = first[:_COPY_HEAD], [first[_COPY_HEAD:], *rows]
        began = time.perf_counter()
        for at in range(0, len(rows), BUNDLE):
            with db.cursor().copy("COPY bare FROM STDIN (FORMAT binary)") as copy:
                copy.write(b"".join((head, *rows[at : at + BUNDLE], end)))
        return len(rows) / (time.perf_counter() - began)


async def _each(url: str, connections: int, seconds: float, ask: Callable[[Any, int], Awaitable[int]]) -> float:
    """What `ask(connection, n)` counts, a second, n = 0, 1, 2 …"""
    numbers = itertools.count()

    async def lane(end: float) -> int:
        done = 0
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
            while time.perf_counter() < end:
                done += await ask(db, next(numbers))
        return done

    began = time.perf_counter()
    counts = await asyncio.gather(*(lane(began + seconds) for _ in range(connections)))
    return sum(counts) / (time.perf_counter() - began)


async def _bare_single(db: Any, number: int) -> int:
    sql = (
        "INSERT INTO bare SELECT person + 1000000000, from_tx, till_tx, at, fh, src, same, prev, %s, typ, member, acl,"
        " ver, flags, id, tk, keys, body FROM bare WHERE (person, seq) > (%s, 0) ORDER BY person, seq LIMIT 1"
    )
    await db.execute(sql, (number, 4096 + number % 400), binary=True)
    return 1


async def _bare_read(db: Any, number: int) -> int:
    sql = (
        "SELECT b.* FROM generate_series(%s::int, %s::int) AS a(n)"
        " JOIN bare b ON b.person = 4097 + a.n %% 400 AND b.seq = 1"
    )
    return len(await (await db.execute(sql, (number * 16, number * 16 + 15), binary=True)).fetchall())


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
        print(machine() + f", PostgreSQL {version // 10_000}.{version % 10_000}, {args.stored:,} stored", flush=True)
        uvloop.run(fill(url, args.stored))
        ceilings = {
            "bundles": _bare_copy(url), "singles": uvloop.run(_each(url, 16, 3, _bare_single)),
            "reads": uvloop.run(_each(url, 4, 3, _bare_read)),
        }  # fmt: skip
        for kind, unit in (("bundles", "resources/s"), ("singles", "creates/s"), ("reads", "reads/s")):
            for workers in sorted({1, args.workers}) if args.only in ("", kind) else ():
                before = server.cpu_seconds()
                rate, cpu, pieces = _run(url, kind, workers, args.seconds)
                used = (server.cpu_seconds() - before) / pieces * 1e6
                row(f"{kind}, {workers} process(es)", rate, unit, ceilings[kind])
                print(f"    CPU each: {cpu:,.0f} µs in the gateway, {used:,.0f} in the server", flush=True)
        for what, size in weigh(url):
            row(what, size, "bytes")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"  largest child {peak:,.0f} MB")
    finally:
        server.close()


if __name__ == "__main__":
    main()
