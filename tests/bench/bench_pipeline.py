"""ORU in the inbox → committed, indexed, searchable: one process, validation and audit on, residents in random order.

`--stored N` preloads N resources first (default 20,000; the promise is made at 1,000,000). The ceiling of
the same run is the same store committing the same puts already prepared: no translation, identity,
validation or extraction.

`--postgres --workers N`: N gateways, each a process, on one inbox and one store of a PostgreSQL of its own; this one
only keeps the messages. What is stored is copied in the server (`postgres_stored.py`). The ceiling is left out.

    python -m tests.bench.bench_pipeline [--stored N] [--messages N] [--postgres [--workers N]]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import random
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import uvloop

from gateway.app import Gateway
from gateway.inbox.queue import Arrival, Inbox, open_inbox
from gateway.model.context import SYSTEM
from gateway.model.message import RawMessage
from gateway.model.query import Filter, Query
from gateway.model.times import system_clock
from gateway.pipeline import Work
from gateway.settings import General, Http, Mllp, Settings, StoreUrl
from gateway.store.base import Plan
from tests.bench.machine import machine, row
from tests.bench.postgres_stored import fill
from tests.contract.postgres import TestServer
from tests.flow.messages import oru

_AT_ONCE = 48


def _rss_mb() -> tuple[float, float]:
    """(all resident memory, of it what is not file pages), in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("VmRSS", "RssAnon"))}
    return found["VmRSS"], found["RssAnon"]


async def _keep(inbox: Inbox, first: int, count: int, residents: int, chance: random.Random) -> None:
    now = system_clock()
    for start in range(first, first + count, 500):
        batch = range(start, min(start + 500, first + count))
        arrivals = [
            Arrival("city_first_hospital", "v2", oru(n, chance.randrange(residents)), now, control=f"T{n:08d}")
            for n in batch
        ]
        await asyncio.gather(*[inbox.keep(one) for one in arrivals])


async def _feed(gateway: Gateway, first: int, count: int, residents: int, chance: random.Random) -> None:
    """Keep `count` messages in the inbox and wait until the last is settled."""
    await _keep(gateway.inbox, first, count, residents, chance)
    await gateway.worker.drained()


async def _ceiling(gateway: Gateway, first: int, count: int, residents: int, chance: random.Random) -> float:
    """Puts a second when everything but the commit is done beforehand."""
    plans: list[Plan] = []
    pipeline = gateway.pipeline
    for n in range(first, first + count):
        body = oru(n, chance.randrange(residents))
        works, _ = pipeline.prepare([RawMessage(f"b{n}", "city_first_hospital", "v2", body, system_clock())])
        plans.append(await _plan(pipeline, works[0]))
    puts = sum(len(plan.puts) for plan in plans)
    begun = time.perf_counter()
    gate = asyncio.Semaphore(_AT_ONCE)

    async def commit(plan: Plan) -> None:
        async with gate:
            await gateway.store.commit(msgspec.structs.replace(plan, unclaimed=()))

    await asyncio.gather(*[commit(plan) for plan in plans])
    return puts / (time.perf_counter() - begun)


async def _plan(pipeline: object, work: Work) -> Plan:
    plan, _ = await pipeline._plan(work)  # type: ignore[attr-defined]
    return plan


async def _run(home: Path, stored: int, messages: int) -> None:
    settings = Settings(gateway=General(home=str(home)), http=Http(port=0), mllp=Mllp(port=-1))
    gateway = await Gateway.open(settings)
    await gateway.start()
    chance = random.Random(7)
    residents = max(200, stored // 300)
    preload = max(1, stored // 23)
    begun = time.perf_counter()
    await _feed(gateway, 0, preload, residents, chance)
    took = time.perf_counter() - begun
    print(
        f"preloaded {preload * 23:,} resources of {residents:,} residents at {preload * 23 / took:,.0f}/s", flush=True
    )
    gc.collect()
    before, begun = _rss_mb(), time.perf_counter()
    await _feed(gateway, 10_000_000, messages, residents, chance)
    took = time.perf_counter() - begun
    growth = [now - then for now, then in zip(_rss_mb(), before, strict=True)]
    page = await gateway.store.search(
        Query("DiagnosticReport", (Filter("identifier", "token", (f"R{10_000_000 + messages - 1:08d}",)),)), SYSTEM
    )
    assert len(page.matches) == 1, "the last report must be searchable"
    made = await _made(gateway, messages)
    ceiling = await _ceiling(gateway, 20_000_000, min(messages, 300), residents, chance)
    row("pipeline, ORU of 20 items", made / took, "resources/s", ceiling)
    row("  messages", messages / took, "msg/s")
    print(f"  growth over {messages:,} messages: {growth[0]:.1f} MB, without file pages {growth[1]:.1f} MB")
    await gateway.close()


async def _made(gateway: Gateway, messages: int) -> int:
    entries = await gateway.inbox.messages.entries(limit=1)
    outcome = (await gateway.store.done([entries[0].key]))[entries[0].key]
    return len(msgspec.json.decode(outcome)["resources"]) * messages


# ---- several processes on PostgreSQL --------------------------------------------------------------
def _worker(pipe: Connection, home: str, url: str) -> None:
    async def run() -> None:
        settings = Settings(gateway=General(home=home), http=Http(port=0), mllp=Mllp(port=-1), store=StoreUrl(url))
        gateway = await Gateway.open(settings)
        await gateway.start()
        pipe.send(None)
        while await asyncio.to_thread(pipe.recv):
            pipe.send(time.process_time())
        await gateway.close()

    uvloop.run(run())


async def _beside(url: str, pipes: list[Connection], stored: int, messages: int) -> None:
    inbox, chance, residents = await open_inbox(Path("."), url), random.Random(7), max(200, stored // 300)

    async def done(first: int, count: int) -> float:
        begun = time.perf_counter()
        await _keep(inbox, first, count, residents, chance)
        while await inbox.messages.open_count():
            await asyncio.sleep(0.05)
        return time.perf_counter() - begun

    await done(0, max(messages // 4, 200))
    before = [_cpu_s(pipe) for pipe in pipes]
    took = await done(10_000_000, messages)
    used = [_cpu_s(pipe) - then for pipe, then in zip(pipes, before, strict=True)]
    row(f"pipeline, ORU of 20 items, {len(pipes)} processes", messages / took, "msg/s")
    print(f"  CPU of the gateways a message: {sum(used) / messages * 1e3:.2f} ms")
    await inbox.close()


def _cpu_s(pipe: Connection) -> float:
    pipe.send(True)
    return float(pipe.recv())


def _on_postgres(home: str, stored: int, messages: int, workers: int) -> None:
    server, context = TestServer(), multiprocessing.get_context("spawn")
    try:
        url = server.schema()
        uvloop.run(fill(url, stored))
        pipes, processes = [], []
        for number in range(workers):
            here, there = context.Pipe()
            process = context.Process(target=_worker, args=(there, f"{home}/{number}", url), daemon=True)
            process.start()
            here.recv()
            pipes.append(here)
            processes.append(process)
        uvloop.run(_beside(url, pipes, stored, messages))
        for pipe, process in zip(pipes, processes, strict=True):
            pipe.send(False)
            process.join(30)
    finally:
        server.close()


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stored", type=int, default=20_000)
    parser.add_argument("--messages", type=int, default=1_000)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(dir=".") as name:
        if args.postgres:
            _on_postgres(name, args.stored, args.messages, args.workers)
            return
        uvloop.run(_run(Path(name), args.stored, args.messages))


if __name__ == "__main__":
    main()
