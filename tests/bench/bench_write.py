"""The FHIR door under writers: transactions of 300 entries, single creates, and what they leave on disk.

    python -m tests.bench.bench_write [--postgres [--workers 2]] [--stored N] [--residents N]

A whole gateway in a process of its own (validation, identity, audit, fsync: all on), clients with raw sockets in this
one. Residents come in random order. `--stored` resources are there before the clock runs. The ceiling of each figure is
the store alone, in one process: the same resources as puts already prepared, committed as many at a time.

--postgres: the store on a server of its own, started for the run. --workers: so many gateways on it, each in a process
of its own, and the clients spread over them.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from gateway.app import Gateway
from gateway.model.times import system_clock
from gateway.security.tokens import demo_credentials
from gateway.settings import General, Http, Mllp, Settings, StoreUrl
from gateway.store.base import Plan, Put
from gateway.store.resources import open_store
from tests.bench.bench_store import Feed
from tests.bench.machine import machine, row
from tests.contract.postgres import TestServer

TOKEN = "bench-admin-token-0123456789abcdef"
ENTRIES = 300
_PRELOAD = 500


# ---- the gateway ------------------------------------------------------------------------------
def _gateway(pipe: Connection, home: str, url: str) -> None:
    async def run() -> None:
        settings = Settings(gateway=General(home=home), http=Http(port=0), mllp=Mllp(port=-1), store=StoreUrl(url=url))
        tokens = {"admin": TOKEN, "doctor": TOKEN + "d", "vendor": TOKEN + "v", "platform": TOKEN + "p"}
        gateway = await Gateway.open(settings, credentials=demo_credentials(tokens, doctor_member=""))
        await gateway.start()
        pipe.send(gateway.http_port)
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        await gateway.close()

    uvloop.run(run())


class Running:
    """A gateway process."""

    def __init__(self, home: Path, url: str) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=_gateway, args=(theirs, str(home), url))
        self.process.start()
        self.port: int = self.pipe.recv()

    def written(self) -> int:
        """Bytes written to block devices by this process."""
        lines = Path(f"/proc/{self.process.pid}/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far: of the event loop, of all other threads, of the preparing process."""
        own = str(self.process.pid)
        tasks = {path.parent.name: _ticks(path) for path in Path(f"/proc/{own}/task").glob("*/stat")}
        loop = tasks.pop(own)[1]
        children = [_ticks(path) for path in Path("/proc").glob("[0-9]*/stat")]
        apart = sum(cpu for parent, cpu in children if parent == own)
        return {"loop": loop, "its threads": sum(cpu for _, cpu in tasks.values()), "preparing": apart}

    def stop(self) -> None:
        """End it."""
        self.pipe.send(None)
        self.process.join(60)


@dataclass(frozen=True)
class House:
    """All gateways of a run."""

    gateways: list[Running]

    def written(self) -> int:
        """Bytes written to block devices by the gateways."""
        return sum(one.written() for one in self.gateways)

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds of all, by part."""
        each = [one.cpu_s() for one in self.gateways]
        return {part: sum(one[part] for one in each) for part in each[0]}

    def stop(self) -> None:
        """End them."""
        for one in self.gateways:
            one.stop()


def _ticks(stat: Path) -> tuple[str, float]:
    """(parent, CPU seconds) of a process or thread; of one that is gone, nothing."""
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0.0
    return fields[1], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _each(before: dict[str, float], after: dict[str, float], count: int) -> str:
    return ", ".join(f"{name} {(after[name] - before[name]) / count * 1e6:.0f} µs" for name in after)


# ---- what is sent -----------------------------------------------------------------------------
def resource(feed: Feed) -> bytes:
    """One laboratory item of a random resident, as a client would post it."""
    put = feed.item(feed.chance.randrange(len(feed.residents)), feed.count)
    feed.count += 1
    return put.body


def bundle(feed: Feed) -> bytes:
    """300 results of one random resident in a transaction."""
    who = feed.chance.randrange(len(feed.residents))
    entries = []
    for _ in range(ENTRIES):
        put = feed.item(who, feed.count)
        feed.count += 1
        entries.append(b'{"resource":' + put.body + b',"request":{"method":"POST","url":"Observation"}}')
    return b'{"resourceType":"Bundle","type":"transaction","entry":[' + b",".join(entries) + b"]}"


async def _post(port: int, path: str, bodies: list[bytes], took: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for body in bodies:
        begun = time.perf_counter()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/fhir+json\r\n"
            f"Authorization: Bearer {TOKEN}\r\nPrefer: return=minimal\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        size = next(
            (int(one.split(b":")[1]) for one in answer.lower().split(b"\r\n") if one[:15] == b"content-length:"), 0
        )
        text = await reader.readexactly(size)
        assert answer[9:12] in (b"200", b"201"), (answer, text[:500])
        took.append(time.perf_counter() - begun)
    writer.close()


def send(ports: list[int], path: str, lanes: list[list[bytes]]) -> tuple[float, list[float]]:
    """Seconds for all, and each request's. Each lane is a client, of one of the gateways."""
    took: list[float] = []

    async def run() -> None:
        await asyncio.gather(*(_post(ports[n % len(ports)], path, lane, took) for n, lane in enumerate(lanes)))

    begun = time.perf_counter()
    uvloop.run(run())
    return time.perf_counter() - begun, sorted(took)


# ---- the store alone --------------------------------------------------------------------------
async def _filled(url: str, feed: Feed, stored: int) -> None:
    """Every resident's Patient, then `stored` resources."""
    store = await open_store(url, clock=system_clock)
    people = [feed._put(n, one.patient()) for n, one in enumerate(feed.residents)]
    await _commits(store.commit, [Plan(puts=tuple(people[n : n + _PRELOAD])) for n in range(0, len(people), _PRELOAD)])
    begun = time.perf_counter()
    for first in range(0, stored, 20 * _PRELOAD):
        plans = [Plan(puts=tuple(feed.rows(_PRELOAD))) for _ in range(20)]
        await _commits(store.commit, plans)
        if first % 200_000 == 0 and first:
            print(f"    {first:,} stored after {time.perf_counter() - begun:.0f} s", flush=True)
    await store.close()


async def _ceiling(url: str, feed: Feed, size: int, at_once: int, count: int) -> float:
    """Puts a second, committed `size` at a time."""
    store = await open_store(url, clock=system_clock)
    puts: list[Put] = []
    for _ in range(size * count):
        puts.append(feed.item(feed.chance.randrange(len(feed.residents)), feed.count))
        feed.count += 1
    plans = [Plan(puts=tuple(puts[n : n + size])) for n in range(0, len(puts), size)]
    begun = time.perf_counter()
    await _commits(store.commit, plans, at_once)
    took = time.perf_counter() - begun
    await store.close()
    return len(puts) / took


async def _commits(commit: Callable[[Plan], Awaitable[object]], plans: list[Plan], at_once: int = 4) -> None:
    gate = asyncio.Semaphore(at_once)

    async def one(plan: Plan) -> None:
        async with gate:
            await commit(plan)

    await asyncio.gather(*(one(plan) for plan in plans))


def _spread(took: list[float]) -> str:
    return f"p50 {took[len(took) // 2] * 1e3:.1f} ms, p99 {took[int(len(took) * 0.99)] * 1e3:.1f} ms"


def _size(home: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(home.glob("*.db*"))}


def main() -> None:
    """Fill, write, weigh."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--stored", type=int, default=20_000)
    parser.add_argument("--residents", type=int, default=1_000)
    parser.add_argument("--bundles", type=int, default=40)
    parser.add_argument("--creates", type=int, default=4_000)
    asked = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(dir=".") as name:
        home = Path(name).resolve()
        url = TestServer().schema() if asked.postgres else f"sqlite:///{home}"
        feed = Feed(asked.residents)
        uvloop.run(_filled(url, feed, asked.stored))
        _measure(home, url, feed, asked)


def _measure(home: Path, url: str, feed: Feed, asked: argparse.Namespace) -> None:
    places = [home / str(n) if n else home for n in range(asked.workers)]
    server = House([Running(place, url if asked.postgres else "") for place in places])
    ports = [one.port for one in server.gateways]
    bundles = [[bundle(feed) for _ in range(asked.bundles // 4)] for _ in range(4)]
    send(ports, "/fhir", [lane[:1] for lane in bundles])
    before, cpu = server.written(), server.cpu_s()
    took, each = send(ports, "/fhir", [lane[1:] for lane in bundles])
    resources = ENTRIES * sum(len(lane) - 1 for lane in bundles)
    physical = (server.written() - before) / resources / 1024
    bundled = _each(cpu, server.cpu_s(), resources)
    creates = [[resource(feed) for _ in range(asked.creates // 64)] for _ in range(64)]
    send(ports, "/fhir/Observation", [[resource(feed) for _ in range(4)] for _ in range(64)])
    cpu = server.cpu_s()
    alone, single = send(ports, "/fhir/Observation", creates)
    made = sum(map(len, creates))
    created = _each(cpu, server.cpu_s(), made)
    server.stop()
    print(f"{asked.stored:,} stored, {asked.workers} gateway process(es)")
    row(
        f"transactions of {ENTRIES}, 4 clients", resources / took, "resources/s",
        uvloop.run(_ceiling(url, feed, ENTRIES, 4, 20)),
    )  # fmt: skip
    print(f"    a transaction: {_spread(each)}; CPU a resource: {bundled}")
    row("single creates, 64 clients", made / alone, "a second", uvloop.run(_ceiling(url, feed, 1, 64, 2_000)))
    print(f"    a create: {_spread(single)}; CPU: {created}")
    row("KB written to disk a resource (transactions)", physical, "KB")
    total = asked.stored + resources + made
    for file, size in _size(home).items() if not asked.postgres else ():
        row(f"bytes a resource in {file}", size / total, "bytes")


if __name__ == "__main__":
    random.seed(1)
    main()
