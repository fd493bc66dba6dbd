"""HL7 v2 over MLLP: frames in, acknowledgements out, in order, each only after its bytes are on disk.

Frame: 0x0B, message, 0x1C 0x0D (HL7 v2.5.1 appendix C; MLLP release 1). These bytes never occur
inside GB18030 characters, so framing works on bytes before any decoding.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Awaitable
from typing import cast

from ..errors import BrokenFrame, ConfigError, GatewayError, TooLarge
from .intake import BODY_LIMIT, Intake, Receipt

START, END = 0x0B, 0x1C
_IDLE_S, _FRAME_S = 300.0, 30.0
_IN_FLIGHT = 64  # frames of one connection waiting for the disk

log = logging.getLogger("gateway.mllp")


class Frames:
    """Cuts a byte stream into frames; constant memory whatever arrives.

    `feed` gives (message, None) for a whole frame and (bytes, fault) for what is none.
    """

    def __init__(self, limit: int = BODY_LIMIT) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._scanned = 0  # bytes already searched for an end, so that a long frame is searched once

    @property
    def open(self) -> bool:
        """True while a frame has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[tuple[bytes, GatewayError | None]]:
        """Add bytes; returns what became complete."""
        self._buffer += data
        out: list[tuple[bytes, GatewayError | None]] = []
        while (end := self._buffer.find(END, self._scanned)) >= 0:
            out += _frames(bytes(self._buffer[:end]), self._limit)
            rest = bytes(self._buffer[end + 1 :]).lstrip(b"\r\n")
            self._buffer[:] = rest
            self._scanned = 0
        self._scanned = len(self._buffer)
        if len(self._buffer) > self._limit:
            out.append((bytes(self._buffer), TooLarge(detail=f"> {self._limit}")))
            self._buffer.clear()
            self._scanned = 0
        return out

    def rest(self) -> list[tuple[bytes, GatewayError | None]]:
        """What was cut off when the connection ended."""
        left = bytes(self._buffer).strip(b"\x0b\r\n\x00 ")
        self._buffer.clear()
        self._scanned = 0
        return [(left, BrokenFrame("MLLP"))] if left else []


def _frames(chunk: bytes, limit: int) -> list[tuple[bytes, GatewayError | None]]:
    """The frame that ends here; whatever stood before its start byte was never finished."""
    before, start, message = chunk.rpartition(bytes([START]))
    out: list[tuple[bytes, GatewayError | None]] = []
    junk = (before if start else chunk).strip(b"\x0b\r\n\x00 ")
    if junk:
        out.append((junk, BrokenFrame("MLLP")))
    if start and message.strip():
        out.append((message, TooLarge(detail=f"> {limit}") if len(message) > limit else None))
    return out


class _Connection(asyncio.Protocol):
    """One sender. Frames are kept side by side; answers leave in the order of the frames."""

    def __init__(self, door: MllpDoor) -> None:
        self._door = door
        self._frames = Frames()
        self._answers: deque[asyncio.Task[Receipt]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports only look like asyncio's
        if not self._door.admit(self):
            transport.close()
        self._watch()

    def data_received(self, data: bytes) -> None:
        too_large = False
        for message, fault in self._frames.feed(data):
            work = self._door.broken(message, fault) if fault else self._door.keep(message)
            task: asyncio.Task[Receipt] = asyncio.ensure_future(work)
            self._answers.append(task)
            task.add_done_callback(self._send)
            too_large = too_large or isinstance(fault, TooLarge)
        if len(self._answers) > _IN_FLIGHT or too_large:
            self._transport.pause_reading()
        self._watch()

    def _send(self, _: asyncio.Task[Receipt]) -> None:
        while self._answers and self._answers[0].done():
            receipt = _result(self._answers.popleft())
            if self._transport.is_closing():
                continue
            if receipt is None:
                self._transport.close()
                return
            self._transport.write(b"\x0b" + receipt.ack + b"\x1c\r")
            if isinstance(receipt.error, TooLarge):
                self._transport.close()
                return
        if self._ended and not self._answers:
            self._transport.close()
        elif len(self._answers) <= _IN_FLIGHT // 2 and not self._transport.is_closing():
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        """A sender that has only finished sending still gets its answers; True keeps the line open."""
        self._ended = True
        return bool(self._answers)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._door.leave(self)
        for message, fault in self._frames.rest():
            if fault is not None:
                self._door.later(self._door.broken(message, fault))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def _watch(self) -> None:
        if self._timer:
            self._timer.cancel()
        wait = _FRAME_S if self._frames.open else _IDLE_S
        self._timer = asyncio.get_running_loop().call_later(wait, self._transport.close)


def _result(task: asyncio.Task[Receipt]) -> Receipt | None:
    if task.cancelled():
        return None
    fault = task.exception()
    if fault is not None:
        # Nothing was kept, so nothing may be acknowledged: hang up and let the sender try again.
        log.error("message not kept: %s", getattr(fault, "code", type(fault).__name__))
        return None
    return task.result()


class MllpDoor:
    """The listening side."""

    def __init__(self, intake: Intake, *, connections: int = 1024) -> None:
        self._intake = intake
        self._limit = connections
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[Receipt]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int, listener: socket.socket | None = None) -> int:
        """Listen; returns the port (useful when `port` is 0). Raises ConfigError where it cannot.

        listener: a socket several processes share, bound already.
        """
        loop = asyncio.get_running_loop()
        try:
            if listener is not None:
                self._server = await loop.create_server(lambda: _Connection(self), sock=listener, backlog=1024)
            else:
                self._server = await loop.create_server(lambda: _Connection(self), host, port, backlog=1024)
        except OSError as fault:
            raise ConfigError(f"mllp.port {port}", f"{host}:{port}: {fault.strerror}") from fault
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening, finish what is being kept, hang up."""
        if self._server:
            self._server.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._open):
            connection.close()

    def keep(self, message: bytes) -> Awaitable[Receipt]:
        """One whole frame."""
        return self._intake.v2(message)

    def broken(self, message: bytes, fault: GatewayError) -> Awaitable[Receipt]:
        """Bytes that are no frame."""
        return self._intake.broken(message, fault)

    def later(self, work: Awaitable[Receipt]) -> None:
        """Keep something nobody waits for any more."""
        task: asyncio.Task[Receipt] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def admit(self, connection: _Connection) -> bool:
        """False when the house is full."""
        if len(self._open) >= self._limit:
            return False
        self._open.add(connection)
        return True

    def leave(self, connection: _Connection) -> None:
        """The connection is gone."""
        self._open.discard(connection)


async def send(host: str, port: int, messages: list[bytes], *, timeout_s: float = 30.0) -> list[bytes]:
    """A sender for simulators and tests: sends frames one by one, returns the answers."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), timeout_s)
    answers = []
    try:
        for message in messages:
            writer.write(b"\x0b" + message + b"\x1c\r")
            await writer.drain()
            frame = await asyncio.wait_for(reader.readuntil(b"\x1c\r"), timeout_s)
            answers.append(frame[1:-2])
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return answers
