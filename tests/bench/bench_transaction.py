"""One huge transaction beside everyday work: acknowledgements and reads while 50,000 entries are written.

    python -m tests.bench.bench_transaction [--entries N] [--stored N]

A whole gateway in a process of its own, the sender of the transaction in another, and in this one four MLLP lines and
four readers who send at a steady pace. What they see without the transaction stands beside it; the longest time the
gateway's event loop was away is measured in the gateway, by a task that wants to run each millisecond.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from gateway.app import Gateway
from gateway.security.tokens import demo_credentials
from gateway.settings import General, Http, Mllp, Settings
from tests.bench.bench_store import Feed
from tests.bench.bench_write import TOKEN, _bundle, _filled, _post
from tests.bench.machine import machine, row
from tests.flow.messages import oru

_LINES, _PACE_S = 4, 0.02
Ask = Callable[[], Awaitable[None]]
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


# ---- the gateway ------------------------------------------------------------------------------
def _gateway(pipe: Connection, home: str) -> None:
    async def run() -> None:
        settings = Settings(gateway=General(home=home), http=Http(port=0), mllp=Mllp(port=0))
        tokens = {"admin": TOKEN, "doctor": TOKEN + "d", "vendor": TOKEN + "v", "platform": TOKEN + "p"}
        gateway = await Gateway.open(settings, credentials=demo_credentials(tokens, doctor_member=""))
        await gateway.start()
        away = _Away()
        watch = asyncio.create_task(away.run())
        pipe.send((gateway.http_port, gateway.mllp_port))
        while await asyncio.get_running_loop().run_in_executor(None, pipe.recv):
            pipe.send(away.taken())
        watch.cancel()
        await gateway.close()

    uvloop.run(run())


class _Away:
    """How long the loop was away, and what the gateway worked in that time: another process may have had its core."""

    def __init__(self) -> None:
        self._all: list[tuple[float, float]] = []

    async def run(self) -> None:
        """For ever."""
        while True:
            wall, cpu = time.perf_counter(), time.process_time()
            await asyncio.sleep(0.001)
            self._all.append((time.perf_counter() - wall - 0.001, time.process_time() - cpu))

    def taken(self) -> tuple[list[float], list[float]]:
        """Since last asked: the five longest times away, and the most CPU of all threads in one of them."""
        found, self._all = self._all, []
        return sorted([wall for wall, _ in found])[-5:], sorted([cpu for _, cpu in found])[-5:]


def _sender(pipe: Connection, entries: int, residents: int) -> None:
    """Makes the Bundle, then waits for a port, sends it there, and tells the seconds it took."""
    feed = Feed(residents, seed=2)
    parts = [_bundle(feed).split(b'"entry":[', 1)[1][:-2] for _ in range(entries // 300 + 1)]
    body = b'{"resourceType":"Bundle","type":"transaction","entry":[' + b",".join(parts) + b"]}"
    pipe.send(len(body))
    port = pipe.recv()
    took: list[float] = []
    uvloop.run(_post(port, "/fhir", [body], took))
    pipe.send(took[0])


# ---- everyday work ----------------------------------------------------------------------------
class _Mllp:
    def __init__(self, port: int, number: int) -> None:
        self._port, self._number = port, number
        self._line: Line | None = None

    async def __call__(self) -> None:
        if self._line is None:
            self._line = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._line
        self._number += 1
        writer.write(b"\x0b" + oru(self._number, self._number % 200, items=5) + b"\x1c\r")
        assert b"MSA|AA" in await reader.readuntil(b"\x1c\r")


class _Reader:
    def __init__(self, port: int, paths: list[str]) -> None:
        self._port, self._paths = port, paths
        self._line: Line | None = None

    async def __call__(self) -> None:
        if self._line is None:
            self._line = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._line
        path = random.choice(self._paths)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r")[0]))


async def _steadily(ask: Ask, until: asyncio.Event, took: list[float]) -> None:
    """Ask at a steady pace; who waits longer than the pace asks again at once."""
    while not until.is_set():
        begun = time.perf_counter()
        await ask()
        spent = time.perf_counter() - begun
        took.append(spent)
        await asyncio.sleep(max(0.0, _PACE_S - spent))


async def _beside(
    work: Awaitable[float], lines: list[Ask], readers: list[Ask]
) -> tuple[float, list[float], list[float]]:
    """What the work gives, and the seconds of every acknowledgement and every read meanwhile."""
    acks: list[float] = []
    gets: list[float] = []
    until = asyncio.Event()
    everyday = [_steadily(one, until, acks) for one in lines] + [_steadily(one, until, gets) for one in readers]
    going = asyncio.gather(*everyday)
    found = await work
    until.set()
    await going
    return found, sorted(acks), sorted(gets)


def _spread(took: list[float]) -> str:
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    return f"p50 {p50 * 1e3:6.1f} ms   p99 {p99 * 1e3:6.1f} ms   longest {took[-1] * 1e3:6.1f} ms   ({len(took)})"


def _longest(times: list[float]) -> str:
    return ", ".join(f"{one * 1e3:.0f}" for one in reversed(times))


async def _measure(gateway: Connection, sender: Connection, paths: list[str], entries: int) -> None:
    http, mllp = await asyncio.to_thread(gateway.recv)
    size = await asyncio.to_thread(sender.recv)
    print(f"{entries:,} entries, {size / 2**20:.0f} MB")
    lines: list[Ask] = [_Mllp(mllp, n * 1_000_000) for n in range(_LINES)]
    readers: list[Ask] = [_Reader(http, paths) for _ in range(_LINES)]

    async def quiet() -> float:
        await asyncio.sleep(5)
        return 0.0

    async def transaction() -> float:
        sender.send(http)
        seconds: float = await asyncio.to_thread(sender.recv)
        return seconds

    await _beside(asyncio.sleep(2, 0.0), lines, readers)
    for name, work in (("without", quiet), ("beside", transaction)):
        gateway.send("away")
        await asyncio.to_thread(gateway.recv)
        took, acks, gets = await _beside(work(), lines, readers)
        gateway.send("away")
        away, worked = await asyncio.to_thread(gateway.recv)
        print(f"{name:8} ACK {_spread(acks)}\n{'':8} GET {_spread(gets)}")
        print(f"{'':8} the loop was away {_longest(away)} ms, and {_longest(worked)} ms of CPU went meanwhile")
        if took:
            row("resources of the transaction", entries / took, "a second")
    gateway.send(None)


def main() -> None:
    """Fill, then everyday work alone, then beside the transaction."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=50_000)
    parser.add_argument("--stored", type=int, default=5_000)
    parser.add_argument("--residents", type=int, default=500)
    asked = parser.parse_args()
    print(machine())
    entries = (asked.entries // 300 + 1) * 300
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=".") as name:
        feed = Feed(asked.residents)
        uvloop.run(_filled(f"sqlite:///{Path(name).resolve()}", feed, asked.stored))
        paths = [f"/fhir/Patient/{one.id}" for one in feed.residents]
        gateway, theirs = multiprocessing.Pipe()
        sender, its = multiprocessing.Pipe()
        server = spawn.Process(target=_gateway, args=(theirs, str(Path(name).resolve())))
        client = spawn.Process(target=_sender, args=(its, asked.entries, asked.residents), daemon=True)
        server.start()
        client.start()
        uvloop.run(_measure(gateway, sender, paths, entries))
        server.join(60)


if __name__ == "__main__":
    main()
