"""The outermost ring of every HTTP door, as pure ASGI: request id, limits, deadlines, headers, error answers.

Inside it a GatewayError is answered as OperationOutcome wherever it comes from, and nothing else ever
leaves as a bare 500.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..errors import GatewayError, SlowBody, TooLarge
from ..model.resource import dumps
from ..model.rest import FHIR_JSON, Answer
from .access import request_id_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = "gateway.request_id"
"""Key of the request id in the ASGI scope."""

_HEADERS = "gateway.headers"

log = logging.getLogger("gateway.http")


@dataclass(frozen=True, slots=True)
class Limits:
    """body_bytes: the default limit; larger: limits by path prefix. body_s: from the first to the last byte."""

    body_bytes: int = 16 * 1024 * 1024
    body_s: float = 60.0
    larger: Mapping[str, int] = field(default_factory=dict)

    def for_path(self, path: str) -> int:
        """Body limit of a path, in bytes."""
        return next((size for prefix, size in self.larger.items() if path.startswith(prefix)), self.body_bytes)


SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
        b"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
)
"""Added where the answer does not set them itself; records must not stay in a shared browser's cache."""

HSTS = (b"strict-transport-security", b"max-age=31536000")


class Guard:
    """Wraps the whole application.

    ahead: endpoints by first path step (`fhir`) that are reached without the framework's own layers, which
    cost more than a read. They must answer everything below their step.
    """

    def __init__(
        self, app: App, limits: Limits | None = None, *, tls: bool = False, ahead: Mapping[str, App] | None = None
    ) -> None:
        self._app = app
        self._ahead = ahead or {}
        self._limits = limits or Limits()
        self._headers = (*SECURITY_HEADERS, HSTS) if tls else SECURITY_HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        scope[REQUEST_ID] = request_id_of(headers)
        scope[_HEADERS] = headers
        if headers.get("x-request-id") != scope[REQUEST_ID]:  # whoever reads the header further in finds the same id
            headers["x-request-id"] = scope[REQUEST_ID]
            others = [one for one in scope["headers"] if one[0] != b"x-request-id"]
            scope["headers"] = [*others, (b"x-request-id", scope[REQUEST_ID].encode())]
        reply = _Reply(send, self._headers, scope[REQUEST_ID])
        try:
            limited = self._limited(scope, headers, receive)
            app = self._ahead.get(scope["path"].split("/", 2)[1], self._app) if self._ahead else self._app
            await app(scope, limited, reply)
        except GatewayError as error:
            await reply.fail(error)
        except Exception as fault:
            note_fault(fault, scope[REQUEST_ID])
            await reply.fail(GatewayError())

    def _limited(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> Receive:
        if scope["method"] in ("GET", "HEAD") and "content-length" not in headers:
            return receive
        limit = self._limits.for_path(scope["path"])
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limit:
            raise TooLarge(detail=f"> {limit} bytes")
        return _Body(receive, limit, self._limits.body_s)


class _Body:
    """`receive` with a size limit and one deadline for the whole body."""

    __slots__ = ("_deadline", "_left", "_limit", "_over", "_receive", "_seconds")

    def __init__(self, receive: Receive, limit: int, seconds: float) -> None:
        self._receive = receive
        self._limit = self._left = limit
        self._seconds = seconds
        self._deadline: float | None = None
        self._over = False

    async def __call__(self) -> Message:
        if self._over:  # what follows is only "the client went away", which may take as long as it likes
            return await self._receive()
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.time() + self._seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as late:
            raise SlowBody(detail=f"> {self._seconds:g} s") from late
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise TooLarge(detail=f"> {self._limit} bytes")
        self._over = not message.get("more_body", False)
        return message


class _Reply:
    """`send` that adds the headers every answer carries, and knows whether an answer has begun."""

    __slots__ = ("_headers", "_request_id", "_send", "started")

    def __init__(self, send: Send, headers: tuple[tuple[bytes, bytes], ...], request_id: str) -> None:
        self._send = send
        self._headers = headers
        self._request_id = request_id.encode()
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            own = list(message.get("headers", ()))
            names = {name for name, _ in own}
            own += [header for header in self._headers if header[0] not in names]
            own.append((b"x-request-id", self._request_id))
            message["headers"] = own
        await self._send(message)

    async def fail(self, error: GatewayError) -> None:
        """The error's answer, when it is not too late for one."""
        if not self.started:
            await send_answer(self, error_answer(error))


def headers_of(scope: Scope) -> dict[str, str]:
    """Request headers, names lower case; of a repeated one the values joined by a comma."""
    known: dict[str, str] | None = scope.get(_HEADERS)
    if known is not None:
        return known
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def error_answer(error: GatewayError) -> Answer:
    """Any error as OperationOutcome with the headers HTTP asks for."""
    headers: tuple[tuple[str, str], ...] = ()
    if error.http == 401:
        headers = (("www-authenticate", 'Bearer realm="alliance-gateway"'),)
    if error.http in (429, 503):
        headers = (("retry-after", "5"),)
    return Answer(error.http, dumps(error.operation_outcome()), headers)


async def send_answer(send: Send, answer: Answer, *, head: bool = False) -> None:
    """The answer on the wire; for HEAD the headers alone, with the length the body has."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if answer.status not in (204, 304):
        headers.append((b"content-type", answer.media.encode("latin-1")))
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})


async def handle_gateway_error(request: Request, error: Exception) -> Response:
    """For `add_exception_handler(GatewayError, …)` of a Starlette or FastAPI application."""
    found = error if isinstance(error, GatewayError) else GatewayError()
    answer = error_answer(found)
    return Response(answer.body, answer.status, dict(answer.headers), FHIR_JSON)


def note_fault(fault: BaseException, request_id: str) -> None:
    """Log an unexpected fault by its kind and its place in the code; its text may hold a patient's data."""
    frames = traceback.extract_tb(fault.__traceback__)[-6:]
    places = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
    log.error("fault kind=%s request=%s at %s", type(fault).__name__, request_id, places)
