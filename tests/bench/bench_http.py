"""GET of one resource, disclosure durable before the first byte, against a bare ASGI app giving the same bytes.

Both under uvicorn (uvloop, httptools) in a process of their own; the client runs in this one, raw asyncio
sockets with keep-alive. Then the p99 of a GET while somebody else holds the store's write lock for 5 s.
Run: python -m tests.bench.bench_http [--seconds 3] [--connections 64]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import socket
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import apsw
import uvicorn
import uvloop

from tests.bench.machine import machine, row
from tests.unit.fhir_site import TOKENS, a_patient, a_site, an_observation

HOLD_S = 5.0


# ---- servers ----------------------------------------------------------------------------------
async def _serve(app: Any, pipe: Connection) -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="warning", lifespan="off", access_log=False, loop="uvloop", http="httptools")
    server = uvicorn.Server(config)
    server.capture_signals = contextless  # type: ignore[method-assign]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    pipe.send(listener.getsockname()[1])
    await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
    server.should_exit = True
    await task


class contextless:
    """uvicorn without signal handlers."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _bare(pipe: Connection, body: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/fhir+json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    uvloop.run(_serve(app, pipe))


def _gateway(pipe: Connection, home: str) -> None:
    async def run() -> None:
        async with a_site(Path(home)) as site:
            await site.keep(a_patient(), an_observation(note=[{"text": "标本轻度溶血，结果仅供参考。" * 12}]))
            pipe.send((await site.get("Observation/o1")).content)
            await _serve(site.app, pipe)

    uvloop.run(run())


# ---- client -----------------------------------------------------------------------------------
async def _client(port: int, until: float, latencies: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = (
        f"GET /fhir/Observation/o1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/fhir+json\r\n"
        f"Authorization: Bearer {TOKENS['doctor']}\r\nUser-Agent: bench\r\n\r\n"
    ).encode()
    while time.perf_counter() < until:
        begun = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(size)
        latencies.append(time.perf_counter() - begun)
    writer.close()


def _load(port: int, seconds: float, connections: int) -> list[float]:
    latencies: list[float] = []

    async def run() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(_client(port, until, latencies) for _ in range(connections)))

    uvloop.run(run())
    return latencies


def _p99_ms(latencies: list[float]) -> float:
    return statistics.quantiles(latencies, n=100)[98] * 1000


class _Server:
    """A server process; a port while it runs."""

    def __init__(self, target: Any, *args: Any) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=target, args=(theirs, *args))
        self.process.start()

    def stop(self) -> None:
        """End it."""
        self.pipe.send(None)
        self.process.join(20)


def _store_file(home: Path) -> Path:
    """The store's own file: the one that holds the rows, not the audit log."""
    for path in sorted(home.glob("*.db")):
        tables = {
            name
            for (name,) in apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY).execute(
                "SELECT name FROM sqlite_master"
            )
        }
        if "dir" in tables:
            return path
    raise SystemExit(f"no store file in {home}")


def _while_locked(home: Path, port: int, connections: int) -> tuple[float, int]:
    """p99 in ms and the number of GETs while a foreign connection holds the write lock."""
    blocker = apsw.Connection(str(_store_file(home)))
    blocker.set_busy_timeout(5000)
    blocker.execute("BEGIN IMMEDIATE")
    latencies = _load(port, HOLD_S, connections)
    blocker.execute("ROLLBACK")
    return _p99_ms(latencies), len(latencies)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seconds", type=float, default=3.0)
    arguments.add_argument("--connections", type=int, default=64)
    chosen = arguments.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        gateway = _Server(_gateway, folder)
        body = gateway.pipe.recv()
        port = gateway.pipe.recv()
        _load(port, 0.5, chosen.connections)
        ours = _load(port, chosen.seconds, chosen.connections)
        p99, count = _while_locked(Path(folder), port, 4)
        gateway.stop()
    bare = _Server(_bare, body)
    port = bare.pipe.recv()
    _load(port, 0.5, chosen.connections)
    ceiling = _load(port, chosen.seconds, chosen.connections)
    bare.stop()
    ours_rate, bare_rate = len(ours) / chosen.seconds, len(ceiling) / chosen.seconds
    row("GET one resource, audited durably, ceiling bare ASGI", ours_rate, "requests/s", bare_rate)
    row("  p99 of it", _p99_ms(ours), "ms")
    row(f"GET p99 while a write transaction is held {HOLD_S:g} s", p99, f"ms ({count} requests)")


if __name__ == "__main__":
    main()
