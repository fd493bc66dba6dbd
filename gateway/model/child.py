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
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import cast

import uvloop

HEAD = struct.Struct("!IBI")
HELLO = 255
"""Kind of the greeting."""
Heard = Callable[[int, int, bytes], None]
"""Called with every message: its kind, its number, its bytes."""
Serving = Callable[["Line"], Heard]


class Lost(Exception):
    """The process ended."""


class NotStarted(Exception):
    """There is no process to be had."""


class Line(asyncio.Protocol):
    """One end of the socket; what is said in one turn of the loop is sent together.

    serving: given the line, what hears its messages. lost: called when it is gone.
    """

    def __init__(self, serving: Serving, lost: Callable[[], None]) -> None:
        self._heard, self._lost = serving(self), lost
        self._transport: asyncio.Transport | None = None
        self._left = bytearray()  # the beginning of a message
        self._said: list[bytes | memoryview] = []
        self._room = asyncio.Event()
        self._room.set()

    @property
    def open(self) -> bool:
        """Not gone."""
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio."""
        self._transport = None
        self._room.set()
        self._lost()

    def pause_writing(self) -> None:
        """Of asyncio."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Of asyncio."""
        self._room.set()

    def data_received(self, data: bytes) -> None:
        """Of asyncio."""
        if self._left:
            self._left += data
            used = self._messages(self._left)
            del self._left[:used]
        elif (used := self._messages(data)) < len(data):
            self._left += data[used:]

    def _messages(self, data: bytes | bytearray) -> int:
        """Hand on the whole ones; how many bytes they were."""
        at, end = 0, len(data)
        while at + HEAD.size <= end:
            size, kind, number = HEAD.unpack_from(data, at)
            start = at + HEAD.size
            if start + size > end:
                break
            at = start + size
            self._heard(kind, number, bytes(data[start:at]))
        return at

    def say(self, kind: int, number: int, data: bytes | memoryview = b"") -> None:
        """A message, sent as the line takes it. Raises Lost."""
        if self._transport is None:
            raise Lost
        if not self._said:
            asyncio.get_running_loop().call_soon(self._send)
        self._said += (HEAD.pack(len(data), kind, number), data)

    def _send(self) -> None:
        said, self._said = self._said, []
        if self._transport is not None:
            self._transport.writelines(said)

    async def room(self) -> None:
        """Returns when what was said is on its way, and the line has room for more. Raises Lost."""
        if self._said:
            await asyncio.sleep(0)
        await self._room.wait()
        if self._transport is None:
            raise Lost

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


class Child:
    """One process, running or not. heard: called with every message. lost: called when it is gone."""

    def __init__(self, module: str, arguments: Iterable[str], heard: Heard, lost: Callable[[], None]) -> None:
        self._module, self._arguments = module, tuple(arguments)
        self._heard, self._lost = heard, lost
        self._starting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Line | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Started, and not lost."""
        return self._line is not None and self._line.open

    async def begin(self) -> None:
        """Start it when it does not run. Raises NotStarted."""
        async with self._starting:
            if not self.running:
                try:
                    await self._start()
                except (OSError, Lost):
                    raise NotStarted from None

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", self._module, str(theirs.fileno()), *self._arguments]
            process = await asyncio.to_thread(_begun, command, theirs.fileno())
        self._process = process
        greeted, gone = asyncio.Event(), asyncio.Event()

        def heard(kind: int, number: int, data: bytes) -> None:
            if kind == HELLO:  # whatever becomes of it later, it can be started
                greeted.set()
            else:
                self._heard(kind, number, data)

        def lost() -> None:
            gone.set()
            greeted.set()

        line = Line(lambda _: heard, lost)
        await asyncio.get_running_loop().create_connection(lambda: line, sock=ours)
        try:
            await greeted.wait()
            if gone.is_set():
                raise Lost
        except BaseException:
            line.close()
            process.kill()
            await asyncio.to_thread(process.wait)
            raise
        self._line = line
        self._ending = asyncio.create_task(self._ended(gone, process))

    async def _ended(self, gone: asyncio.Event, process: subprocess.Popen[bytes]) -> None:
        await gone.wait()
        self._line = None
        self._lost()
        process.kill()  # its line is gone: it may only be ending
        await asyncio.shield(asyncio.to_thread(process.wait))

    def say(self, kind: int, number: int, data: bytes | memoryview = b"") -> None:
        """A message, sent as the line takes it. Raises Lost."""
        if self._line is None:
            raise Lost
        self._line.say(kind, number, data)

    async def send(self, kind: int, number: int, data: bytes | memoryview = b"") -> None:
        """The same; returns when the line has room for more. Raises Lost."""
        self.say(kind, number, data)
        if self._line is not None:
            await self._line.room()

    async def close(self) -> None:
        """End it."""
        if self._line is not None:
            self._line.close()
        if self._ending is not None:
            await self._ending


def _begun(command: Sequence[str], fd: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(fd,))


# ---- in the process ---------------------------------------------------------------------------
def serve(fd: int, serving: Serving, collect: Sequence[int]) -> None:
    """Greet and serve until the gateway is gone; what was made before is left out of every collection of garbage.

    serving: given the line to the gateway, hears its messages. collect: thresholds of the collector, as many as it has
    generations.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the gateway, which ends this process in its turn
    gc.freeze()
    gc.set_threshold(*collect)
    with suppress(OSError):
        uvloop.run(_served(fd, serving))
    os._exit(0)


async def _served(fd: int, serving: Serving) -> None:
    gone = asyncio.Event()
    line = Line(serving, gone.set)
    await asyncio.get_running_loop().create_connection(lambda: line, sock=socket.socket(fileno=fd))
    line.say(HELLO, 0)
    await gone.wait()
