"""HTTP under load: servers in processes of their own, and a client that costs little (raw keep-alive sockets)."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import uvicorn
import uvloop

from gateway.app import settle_interpreter
from gateway.inbound.http_server import HttpServer
from gateway.settings import Http, Limits


async def serve(app: Any, pipe: Connection) -> None:
    """Serve on the gateway's own HTTP server."""
    await _until_told(HttpServer(app, Http(), Limits(), stop_s=1), pipe)


async def _until_told(server: uvicorn.Server, pipe: Connection) -> None:
    """Run until told None; any other word is answered with the CPU seconds of this process and those it started."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    settle_interpreter()
    pipe.send(listener.getsockname()[1])
    while await asyncio.get_running_loop().run_in_executor(None, pipe.recv) is not None:
        pipe.send(time.process_time() + _of_children())
    server.should_exit = True
    await task


def _of_children() -> float:
    lists = Path("/proc/self/task").glob("*/children")
    children = [number for one in lists for number in one.read_text().split()]
    stats = [Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split() for number in children]
    return sum(int(one[11]) + int(one[12]) for one in stats) / os.sysconf("SC_CLK_TCK")


class _Plain(uvicorn.Server):
    """uvicorn as it comes, without its signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def bare(pipe: Connection, bodies: Mapping[str, bytes]) -> None:
    """The ceiling: an ASGI application on plain uvicorn that does nothing but give the same bytes for an address."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        query = scope["query_string"].decode()
        body = bodies[f"{scope['path']}?{query}" if query else scope["path"]]
        headers = [(b"content-type", b"application/fhir+json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(app, log_level="warning", lifespan="off", access_log=False, server_header=False)
    uvloop.run(_until_told(_Plain(config), pipe))


class Server:
    """A server process. `target` sends over its pipe what it likes, then its port through `serve`."""

    def __init__(self, target: Any, *args: Any) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=target, args=(theirs, *args), daemon=True)
        self.process.start()

    def cpu_s(self) -> float:
        """CPU seconds used so far, all threads, also those of processes it started."""
        self.pipe.send("cpu")
        return float(self.pipe.recv())

    def stop(self) -> None:
        """End it."""
        self.pipe.send(None)
        self.process.join(20)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a load gave: requests a second, latencies in ms, CPU of the server a request in µs."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


_CHUNKED = 1 << 40
_END = b"\r\n0\r\n\r\n"


class _Client(asyncio.Protocol):
    """One connection that asks for one address after another until the time is over."""

    def __init__(self, asked: Iterator[bytes], until: float, took: list[float]) -> None:
        self._asked, self._until, self._took = asked, until, took
        self._head, self._left, self._tail = b"", -1, b""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first."""
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._begun = time.perf_counter()
        request = next(self._asked, None)
        if request is not None:
            self._transport.write(request)
        else:
            self._end()

    def _end(self) -> None:
        self._transport.close()
        self.over.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Count down the body; at its end ask for the next."""
        if self._left < 0:
            self._head += data
            head, found, body = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self.over.set_exception(AssertionError(head))
                return
            at = head.find(b"content-length: ") + 16
            self._left, data = int(head[at : at + 9].partition(b"\r")[0]) if at > 15 else _CHUNKED, body
        if self._left >= _CHUNKED:  # an answer in parts: only its end is looked for
            self._tail = (self._tail + data)[-len(_END) :]
            if self._tail == _END:
                self._answered()
            return
        self._left -= len(data)
        if self._left == 0:
            self._answered()

    def _answered(self) -> None:
        now = time.perf_counter()
        self._took.append(now - self._begun)
        self._head, self._left, self._tail = b"", -1, b""
        if now < self._until:
            self._ask()
        else:
            self._end()

    def connection_lost(self, fault: Exception | None) -> None:
        """A server that goes away ends the bench."""
        if not self.over.done():
            self.over.set_exception(fault or AssertionError("connection lost"))


def load(
    server: Server, port: int, paths: Sequence[str], headers: str, *, seconds: float, at_once: int, once: bool = False
) -> Figures:
    """Ask for the paths in turn over so many connections at once. once: each of them once, then it is over."""
    took: list[float] = []
    requests = [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n".encode() for path in paths]

    async def run() -> None:
        loop, until = asyncio.get_running_loop(), time.perf_counter() + seconds
        turns = [iter(requests)] * at_once if once else [_turn(requests, n) for n in range(at_once)]
        made = [
            await loop.create_connection(lambda turn=turn: _Client(turn, until, took), "127.0.0.1", port)
            for turn in turns
        ]
        await asyncio.gather(*(client.over for _, client in made))

    cpu, began = server.cpu_s(), time.perf_counter()
    uvloop.run(run())
    spent, used = time.perf_counter() - began, server.cpu_s() - cpu
    cuts = statistics.quantiles(took, n=100)
    return Figures(len(took) / spent, cuts[49] * 1e3, cuts[98] * 1e3, used / len(took) * 1e6)


def _turn(requests: list[bytes], start: int) -> Iterator[bytes]:
    at = start * 7919
    while True:
        at += 1
        yield requests[at % len(requests)]
