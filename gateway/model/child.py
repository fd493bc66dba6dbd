"""A process of the gateway's own that works beside it: started when it is needed, talked to over one socket.

A message is a head (length, kind, number) and bytes. The process greets when it has begun to serve, ends when its
socket does, and may be started again when it was lost.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence

import uvloop

HEAD = struct.Struct("!IBI")
HELLO = 255
"""Kind of the greeting."""
_BUFFER = 2**20


class Lost(Exception):
    """The process ended."""


class NotStarted(Exception):
    """There is no process to be had."""


async def received(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    """(kind, number, bytes). Raises IncompleteReadError at the end of the line."""
    size, kind, number = HEAD.unpack(await reader.readexactly(HEAD.size))
    return kind, number, await reader.readexactly(size)


class Child:
    """One process, running or not. heard: called with every message. lost: called when it is gone."""

    def __init__(
        self, module: str, arguments: Iterable[str], heard: Callable[[int, int, bytes], None], lost: Callable[[], None]
    ) -> None:
        self._module, self._arguments = module, tuple(arguments)
        self._heard, self._lost = heard, lost
        self._starting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Started, and not lost."""
        return self._writer is not None

    async def begin(self) -> None:
        """Start it when it does not run. Raises NotStarted."""
        async with self._starting:
            if self._writer is None:
                try:
                    await self._start()
                except (OSError, asyncio.IncompleteReadError):
                    raise NotStarted from None

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", self._module, str(theirs.fileno()), *self._arguments]
            fds = (theirs.fileno(),)
            self._process = await asyncio.to_thread(
                lambda: subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=fds)
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=_BUFFER)
        try:
            await received(reader)  # its greeting: whatever becomes of it later, it can be started
        except BaseException:
            writer.close()
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            raise
        self._writer = writer
        self._reading = asyncio.create_task(self._read(reader, writer, self._process))

    async def _read(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, process: subprocess.Popen[bytes]
    ) -> None:
        try:
            while True:
                self._heard(*await received(reader))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writer = None
            writer.close()
            self._lost()
            process.kill()  # its line is gone: it may only be ending
            await asyncio.shield(asyncio.to_thread(process.wait))

    def say(self, kind: int, number: int, data: bytes | memoryview = b"") -> None:
        """A message, sent as the line takes it. Raises Lost."""
        if self._writer is None:
            raise Lost
        self._writer.writelines((HEAD.pack(len(data), kind, number), data))

    async def send(self, kind: int, number: int, data: bytes | memoryview = b"") -> None:
        """The same; returns when the line has room for more. Raises Lost."""
        self.say(kind, number, data)
        try:
            if self._writer is not None:
                await self._writer.drain()
        except OSError:
            raise Lost from None

    async def close(self) -> None:
        """End it."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)


# ---- in the process ---------------------------------------------------------------------------
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def serve(line: int, work: Serve, collect: Sequence[int]) -> None:
    """Greet and serve until the gateway is gone; what was made before is left out of every collection of garbage.

    collect: thresholds of the collector, as many as it has generations.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the gateway, which ends this process in its turn
    gc.freeze()
    gc.set_threshold(*collect)
    try:
        uvloop.run(_greeted(line, work))
    except (asyncio.IncompleteReadError, OSError):
        os._exit(0)


async def _greeted(line: int, work: Serve) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=line), limit=_BUFFER)
    writer.write(HEAD.pack(0, HELLO, 0))
    await work(reader, writer)
