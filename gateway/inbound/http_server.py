"""The HTTP server's lines: uvicorn's protocol with deadlines and limits, which it has none of.

A sender that is slow with its head, its body, its next request or with reading the answer is hung up on; where a
limit of connections is reached, whoever keeps the gateway waiting longest makes room for who comes new. What the
parser refuses is answered as OperationOutcome. One sweep every half second looks at all lines, so that a request
pays for no timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from ..errors import BadRequest, GatewayError, HeadTooLarge, SlowRequest, TooManyConnections
from ..model.resource import dumps
from ..model.rest import FHIR_JSON
from ..settings import Http, Limits
from .http_cycle import HttpCycle

log = logging.getLogger("gateway.http")

HEAD_BYTES, HEAD_LINES = 32 * 1024, 100
CHUNK_BYTES = 8
"""What may come around each byte of a body in chunks; beyond it a body's end may hold as much as a head."""
BODY_BYTES_S = 256 * 1024
"""A body that comes at least this fast may take longer than its deadline."""
ANSWER_BYTES = 64 * 1024
"""What a client must take of its answer within `read_s`."""
UNREAD_BYTES = 256 * 1024 * 1024
"""Answers nobody fetches: above this in all, the largest are dropped."""
_HANDSHAKE_S = 10.0
_LINGER_S = 2.0  # to read an answer that came before the whole request was sent
_FILES = 512  # for everything that is no HTTP connection

_IDLE, _HEAD, _BODY = 0, 1, 2  # what is awaited from the sender


class HttpLine(HttpToolsProtocol):
    """One connection. `_since` is when the present wait for the sender began."""

    def __init__(self, config: uvicorn.Config, state: ServerState, lines: Lines) -> None:
        super().__init__(config, state, {})
        self._lines = lines
        self._phase, self._since, self._got = _IDLE, self.loop.time(), 0
        self._number, self._around = 0, 0  # of requests begun; of the present one what came beside its body
        self._first = True
        self._fault: GatewayError | None = None
        self._unread, self._unread_since = 0, 0.0

    # ---- the connection
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self._lines.admit(self):
            self._refuse(TooManyConnections())

    def connection_lost(self, exc: Exception | None) -> None:
        self._lines.leave(self)
        super().connection_lost(exc)

    @property
    def address(self) -> str:
        """Who sends."""
        return self.client[0] if self.client else ""

    def data_received(self, data: bytes) -> None:
        phase, number, got = self._phase, self._number, self._got
        try:
            self.parser.feed_data(data)
            if self._number == number and self._phase == phase != _IDLE:
                self._around += len(data) - (self._got - got)
                if self._around > HEAD_BYTES + CHUNK_BYTES * self._got:
                    self._swollen()
        except httptools.HttpParserUpgrade:
            return  # answered as the plain request it also is
        except httptools.HttpParserError:
            self._refuse(self._fault or BadRequest())

    # ---- what the parser reports
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._first = False
        self._phase, self._since, self._got = _HEAD, self.loop.time(), 0
        self._number, self._around = self._number + 1, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase == _HEAD:  # what follows a body in chunks must not pass for a head (RFC 9110 §6.5.1)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
        if size > HEAD_BYTES or len(self.headers) > HEAD_LINES:
            self._fault = HeadTooLarge()
            raise self._fault
        self._phase, self._got, self._around = _BODY, 0, 0
        self._address_scope()
        before, self.cycle = self.cycle, self._cycle()
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:  # sent ahead of the answer to what came before
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _address_scope(self) -> None:
        """What was asked for, in the words of ASGI."""
        url, scope = httptools.parse_url(self.url), self.scope
        path = url.path.decode("ascii")
        scope["method"], scope["http_version"] = (
            self.parser.get_method().decode("ascii"),
            self.parser.get_http_version(),
        )
        scope["path"], scope["raw_path"] = unquote(path) if "%" in path else path, url.path
        scope["query_string"] = url.query or b""

    def _cycle(self) -> HttpCycle:
        return HttpCycle(
            scope=self.scope, transport=self.transport, flow=self.flow, logger=self.logger,
            access_logger=self.access_logger, access_log=False, default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(), expect_100_continue=self.expect_100_continue,
            keep_alive=self.scope["http_version"] != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )  # fmt: skip

    def on_body(self, body: bytes) -> None:
        self._got += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._phase = _IDLE
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's, but without a timer of its own for the next request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._since = self.loop.time()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def pause_writing(self) -> None:
        self._unread, self._unread_since = self.unread, self.loop.time()
        super().pause_writing()

    # ---- limits
    @property
    def unread(self) -> int:
        """Bytes of answers the client has not taken."""
        return int(self.transport.get_write_buffer_size())

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def waiting(self, now: float) -> bool:
        """True when the gateway waits for the sender, or the sender is slower than it may be."""
        if self._phase == _BODY and self._answering():
            return now - self._since > 1.0 + self._got / BODY_BYTES_S
        return self._phase == _HEAD or not self._answering()

    def check(self, now: float, limits: Limits) -> None:
        """Hang up when a deadline has passed."""
        if self.transport.is_closing():
            if not self._answering() and now - self._since > _LINGER_S:
                self.transport.abort()
        elif self._overdue(now, limits):
            self._give_up(now)
        elif self.flow.write_paused and self._unfetched(now, limits.read_s):
            self.transport.abort()

    def _overdue(self, now: float, limits: Limits) -> bool:
        if self.flow.read_paused:  # it is us who keep the sender waiting
            self._since = now
            return False
        waited = now - self._since
        if self._phase == _HEAD:
            return waited > limits.header_s
        if self._phase == _BODY:
            given = limits.body_s + self._got / BODY_BYTES_S if self._answering() else _LINGER_S
            return waited > given
        return not self._answering() and waited > (limits.header_s if self._first else limits.idle_s)

    def _give_up(self, now: float) -> None:
        phase, self._since = self._phase, now
        if phase == _BODY and self._answering() and not self.cycle.response_started:
            self._break_off(SlowRequest())
        elif phase == _HEAD:
            self._refuse(SlowRequest())
        else:
            self.transport.close()

    def _break_off(self, error: GatewayError) -> None:
        self.cycle.disconnected = True  # whatever waits for the body hears that nothing more comes
        self.cycle.message_event.set()
        self._say(error)

    def _swollen(self) -> None:
        """More came than a head may hold: in the head, or around a body, where it would be kept as well."""
        if self._phase == _HEAD or (self._answering() and self.cycle.response_started):
            self._refuse(HeadTooLarge())
        elif self._answering():
            self._break_off(HeadTooLarge())
        else:
            self.transport.close()

    def _unfetched(self, now: float, read_s: float) -> bool:
        left = self.unread
        if self._unread - left >= ANSWER_BYTES:
            self._unread, self._unread_since = left, now
        return now - self._unread_since > read_s

    def _refuse(self, error: GatewayError) -> None:
        if self.transport.is_closing():
            return
        if self._answering():  # the answer to what came before goes out, then the line is closed
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        self._say(error)

    def _say(self, error: GatewayError) -> None:
        body = dumps(error.operation_outcome())
        again = b"retry-after: 5\r\n" if error.http in (429, 503) else b""
        self.transport.write(
            STATUS_LINE[error.http] + f"content-type: {FHIR_JSON}\r\ncontent-length: {len(body)}\r\n".encode()
            + b"x-content-type-options: nosniff\r\ncache-control: no-store\r\n" + again
            + b"connection: close\r\n\r\n" + body
        )  # fmt: skip
        self._since = self.loop.time()
        self.transport.close()


class Lines:
    """All connections of the server, oldest first, and by address."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._all: dict[HttpLine, None] = {}
        self._by_address: dict[str, dict[HttpLine, None]] = {}

    def admit(self, line: HttpLine) -> bool:
        """False when the house is full of connections that are all at work."""
        own = self._by_address.setdefault(line.address, {})
        now = line.loop.time()
        if len(own) >= self._limits.connections_per_address and not self._make_room(own, now):
            return False
        if len(self._all) >= self._limits.connections and not self._make_room(self._all, now):
            return False
        self._all[line] = own[line] = None
        return True

    def leave(self, line: HttpLine) -> None:
        """The connection is gone."""
        self._all.pop(line, None)
        own = self._by_address.get(line.address, {})
        own.pop(line, None)
        if not own:
            self._by_address.pop(line.address, None)

    def sweep(self, now: float) -> None:
        """Enforce every deadline."""
        unfetched: list[tuple[int, HttpLine]] = []
        for line in list(self._all):
            line.check(now, self._limits)
            if line.flow.write_paused and (size := line.unread):
                unfetched.append((size, line))
        total = sum(size for size, _ in unfetched)
        if total > UNREAD_BYTES:
            for size, line in sorted(unfetched, key=lambda one: -one[0]):
                line.transport.abort()
                total -= size
                if total <= UNREAD_BYTES:
                    break

    def _make_room(self, lines: dict[HttpLine, None], now: float) -> bool:
        """Hang up on the oldest connection that does nothing."""
        found = next((line for line in lines if line.waiting(now)), None)
        if found is None:
            return False
        self.leave(found)
        found.transport.abort()
        return True


class HttpServer(uvicorn.Server):
    """uvicorn on `HttpLine`s. It leaves signals alone: the command that runs the gateway decides when to stop."""

    def __init__(self, app: Any, http: Http, limits: Limits, *, stop_s: int) -> None:
        super().__init__(
            uvicorn.Config(
                app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=stop_s, ws="none",
                ssl_certfile=http.tls_cert or None, ssl_keyfile=http.tls_key or None, server_header=False,
            )
        )  # fmt: skip
        self._lines = Lines(_within_files(limits))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, with a deadline for the handshake of TLS."""
        loop, config = asyncio.get_running_loop(), self.config
        wait_s = _HANDSHAKE_S if config.ssl else None
        self.servers = [
            await loop.create_server(
                self._line, sock=one, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=wait_s
            )
            for one in sockets or ()
        ]
        self.started = True

    def _line(self) -> HttpLine:
        return HttpLine(self.config, self.server_state, self._lines)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if counter % 5 == 0:
            self._lines.sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)


def _within_files(limits: Limits) -> Limits:
    """No more connections than this process may have open files; asks the system for as many first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections + _FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < wanted:
            log.warning("only %d open files are allowed: at most %d connections", soft, max(soft - _FILES, 16))
            return replace(limits, connections=max(soft - _FILES, 16))
    return limits
