"""Durable MLLP: 64 connections, fsync on, against a bare group-commit writer fed from the same sockets.

The ceiling is a server that reads the same frames, appends them to a table with the same group commit
and answers a constant: no peeking, no duplicate check, no real acknowledgement. Senders run in a
process of their own, so server and senders have a core each.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from gateway.inbound.intake import Intake
from gateway.inbound.mllp import Frames, MllpDoor
from gateway.inbox.queue import open_inbox
from gateway.model.times import system_clock
from gateway.shipped import shipped
from gateway.store.writer import GroupWriter
from gateway.translate.engine import Mappings
from tests.bench.machine import machine, row
from tests.flow.messages import oru

CONNECTIONS = 64


async def _sender(port: int, messages: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for message in messages:
        writer.write(message)
        await reader.readuntil(b"\x1c\r")
    writer.close()


def _senders(pipe: Connection, count: int, items: int) -> None:
    """Child process: waits for a port, sends, reports seconds; a port of 0 ends it."""
    number = 0
    while port := pipe.recv():
        lanes = []
        for _ in range(CONNECTIONS):
            lanes.append([b"\x0b" + oru(number + k, k % 500, items=items) + b"\x1c\r" for k in range(count)])
            number += count

        async def run(port: int = port, lanes: list[list[bytes]] = lanes) -> float:
            begun = time.perf_counter()
            await asyncio.gather(*[_sender(port, lane) for lane in lanes])
            return time.perf_counter() - begun

        pipe.send(uvloop.run(run()))


class _Bare(asyncio.Protocol):
    def __init__(self, writer: GroupWriter) -> None:
        self._writer, self._frames = writer, Frames()
        self._tasks: set[asyncio.Future[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for message, _ in self._frames.feed(data):
            task = asyncio.ensure_future(self._keep(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _keep(self, message: bytes) -> None:
        await self._writer.run(lambda db: db.execute("INSERT INTO m(b) VALUES(?)", (message,)))
        self._transport.write(b"\x0bMSH|^~\\&|||||||ACK|1|P|2.5.1\rMSA|AA|1\r\x1c\r")  # type: ignore[attr-defined]


async def _bare(folder: Path, pipe: Connection) -> float:
    writer = GroupWriter(str(folder / "bare.db"))
    writer.connection.execute("CREATE TABLE m(i INTEGER PRIMARY KEY, b BLOB)")
    server = await asyncio.get_running_loop().create_server(lambda: _Bare(writer), "127.0.0.1", 0, backlog=256)
    pipe.send(server.sockets[0].getsockname()[1])
    seconds: float = await asyncio.to_thread(pipe.recv)
    server.close()
    writer.close()
    return seconds


async def _durable(folder: Path, pipe: Connection, mappings: Mappings) -> float:
    inbox = await open_inbox(folder)
    door = MllpDoor(Intake(inbox, mappings, system_clock))
    pipe.send(await door.start("127.0.0.1", 0))
    seconds: float = await asyncio.to_thread(pipe.recv)
    await door.stop()
    await inbox.close()
    return seconds


def main() -> None:
    """Three rounds of both, in turn; the best of each is printed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=150, help="messages a connection and round")
    parser.add_argument("--items", type=int, default=20)
    args = parser.parse_args()
    here, there = multiprocessing.Pipe()
    child = multiprocessing.Process(target=_senders, args=(there, args.count, args.items), daemon=True)
    child.start()
    mappings = Mappings.load([shipped("mappings")])
    total = args.count * CONNECTIONS
    best = {"bare": 0.0, "durable": 0.0}
    for _ in range(3):
        with tempfile.TemporaryDirectory(dir=".") as name:
            best["bare"] = max(best["bare"], total / uvloop.run(_bare(Path(name), here)))
            best["durable"] = max(best["durable"], total / uvloop.run(_durable(Path(name), here, mappings)))
    here.send(0)
    print(machine())
    row(f"MLLP durable ACK, {CONNECTIONS} connections", best["durable"], "msg/s", best["bare"])


if __name__ == "__main__":
    main()
