"""HL7 v2 over MLLP: frames in, acknowledgements out, in order, each only after its bytes are on disk.

Frame: 0x0B, message, 0x1C 0x0D (HL7 v2.5.1 appendix C; MLLP release 1). These bytes never occur
inside GB18030 characters, so framing works on bytes before any decoding.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter, deque
from collections.abc import Awaitable
from typing import cast

from ..errors import BrokenFrame, GatewayError, TlsFailed, TooLarge
from ..security.certificates import Certificates
from ..settings import Mllp
from .intake import BODY_LIMIT, Intake, Receipt
from .lines import Line, allowed, line_of, listen

START, END = 0x0B, 0x1C
_IN_FLIGHT = 64  # frames of one connection waiting for the disk
_FRAME_BYTES_S = 16 * 1024
"""A frame that comes at least this fast may take longer than its deadline."""

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
    def begun(self) -> int:
        """Bytes of a frame that has begun and not ended."""
        return len(self._buffer)

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
        self._frames = Frames(door.settings.frame_mb * 2**20)
        self._line = Line()
        self._second = 0.0  # when the present second of the rate began
        self._count = 0
        self._answers: deque[asyncio.Task[Receipt]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._begun = 0.0  # when the frame that is open began, or we let its sender go on
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports only look like asyncio's
        self.address = str((transport.get_extra_info("peername") or ("",))[0])
        self._line = line_of(transport)
        if not self._door.admit(self, self._line):
            transport.close()
        self._watch()

    def data_received(self, data: bytes) -> None:
        too_large, before = False, len(self._answers)
        whole = self._frames.feed(data)
        for message, fault in whole:
            work = self._door.broken(message, fault) if fault else self._door.keep(message, self._line)
            task: asyncio.Task[Receipt] = asyncio.ensure_future(work)
            self._answers.append(task)
            task.add_done_callback(self._send)
            too_large = too_large or isinstance(fault, TooLarge)
        too_fast = self._too_fast(len(self._answers) - before)
        if len(self._answers) > _IN_FLIGHT or too_large or too_fast:
            self._transport.pause_reading()
        if whole or not self._begun:
            self._begun = asyncio.get_running_loop().time()
        self._watch()

    def _too_fast(self, frames: int) -> bool:
        """True when this second's frames are used up; reading goes on with the next."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._second >= 1:
            self._second, self._count = loop.time(), 0
        self._count += frames
        if self._count < self._door.settings.rate:
            return False
        loop.call_at(self._second + 1, self._next_second)
        return True

    def _next_second(self) -> None:
        self._count = 0
        self._go_on()

    def _go_on(self) -> None:
        if len(self._answers) <= _IN_FLIGHT // 2 and not self._transport.is_closing():
            self._begun = asyncio.get_running_loop().time()  # it was us who kept the sender waiting
            self._transport.resume_reading()

    def _send(self, _: asyncio.Task[Receipt]) -> None:
        while self._answers and self._answers[0].done():
            receipt = _result(self._answers.popleft())
            if self._transport.is_closing():
                continue
            if receipt is None:
                self._transport.close()
                return
            self._say(receipt.ack)
            if receipt.later is not None:
                self._door.later(self._follow(receipt.later))
            if isinstance(receipt.error, TooLarge):
                self._transport.close()
                return
        if self._ended and not self._answers:
            self._transport.close()
        elif self._count < self._door.settings.rate:
            self._go_on()

    def _say(self, answer: bytes) -> None:
        if answer and not self._transport.is_closing():
            self._transport.write(b"\x0b" + answer + b"\x1c\r")

    async def _follow(self, later: Awaitable[bytes]) -> None:
        self._say(await later)

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
        loop, given = asyncio.get_running_loop(), self._door.settings
        if self._frames.begun:  # one deadline for the whole frame, however its bytes drip
            until = self._begun + given.frame_s + self._frames.begun / _FRAME_BYTES_S
        else:
            self._begun, until = 0.0, loop.time() + given.idle_s
        self._timer = loop.call_at(until, self._transport.close)


def _result(task: asyncio.Task[Receipt]) -> Receipt | None:
    if task.cancelled():
        return None
    fault = task.exception()
    if fault is not None:
        # Nothing was kept, so nothing may be acknowledged: hang up and let the sender try again.
        log.error("message not kept: %s", getattr(fault, "code", type(fault).__name__))
        return None
    return task.result()


def _no_line(fault: TlsFailed) -> None:
    log.warning("MLLP line refused: %s %s", fault.code, fault.place)


class MllpDoor:
    """The listening side."""

    def __init__(self, intake: Intake, settings: Mllp | None = None) -> None:
        self._intake = intake
        self.settings = settings or Mllp()
        self._open: set[_Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[object]] = set()
        self._server: asyncio.Server | None = None

    async def start(
        self,
        host: str,
        port: int,
        listener: socket.socket | None = None,
        certificates: Certificates | None = None,
    ) -> int:
        """Listen; returns the port (useful when `port` is 0). Raises ConfigError where it cannot.

        listener: a socket several processes share, bound already.
        """
        self._server = await listen(
            lambda: _Connection(self),
            self.settings,
            (host, port),
            listener=listener,
            refused=_no_line,
            certificates=certificates,
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening, finish what is being kept, hang up."""
        if self._server:
            self._server.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._open):
            connection.close()

    def keep(self, message: bytes, line: Line) -> Awaitable[Receipt]:
        """One whole frame."""
        return self._intake.v2(message, line=line)

    def broken(self, message: bytes, fault: GatewayError) -> Awaitable[Receipt]:
        """Bytes that are no frame."""
        return self._intake.broken(message, fault)

    def later(self, work: Awaitable[object]) -> None:
        """Do something nobody waits for any more."""
        task: asyncio.Task[object] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def admit(self, connection: _Connection, line: Line) -> bool:
        """False when the house is full, or for a plain line from an address that is not allowed."""
        given, address = self.settings, connection.address
        if not line.tls and not allowed(address, given):
            log.warning("plain MLLP refused: the address is not in mllp.allow")
            return False
        if len(self._open) >= given.connections or self._by_address[address] >= given.connections_per_address:
            return False
        self._open.add(connection)
        self._by_address[address] += 1
        return True

    def leave(self, connection: _Connection) -> None:
        """The connection is gone."""
        if connection in self._open:
            self._open.discard(connection)
            self._by_address -= Counter((connection.address,))


async def send(
    host: str, port: int, messages: list[bytes], *, timeout_s: float = 30.0, tls: ssl.SSLContext | None = None
) -> list[bytes]:
    """A sender for simulators and tests: sends frames one by one, returns the answers."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port, ssl=tls), timeout_s)
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
