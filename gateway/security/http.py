"""The outermost ring of every HTTP door, as pure ASGI: request id, limits, headers, error answers.

Inside it a GatewayError is answered as OperationOutcome wherever it comes from, and nothing else ever
leaves as a bare 500.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from time import perf_counter
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..errors import GatewayError, TooLarge
from ..model.pace import askers
from ..model.resource import dumps
from ..model.rest import FHIR_JSON, Answer
from .access import request_id_of
from .pressure import Pressure, Share
from .times import RequestTimes

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = "gateway.request_id"
"""Key of the request id in the ASGI scope."""

INTERACTION = "gateway.interaction"
"""Key of what the FHIR door found a request to be about, in the ASGI scope."""

_HEADERS = "gateway.headers"
_WEIGHT_0 = re.compile(r"q\s*=\s*0(\.0*)?")

log = logging.getLogger("gateway.http")


@dataclass(frozen=True, slots=True)
class Limits:
    """body_bytes: the default limit of a body; larger: limits of single paths."""

    body_bytes: int = 16 * 2**20
    larger: Mapping[str, int] = field(default_factory=dict)


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

_OVER_TLS = (*SECURITY_HEADERS, (b"strict-transport-security", b"max-age=31536000"))


class Guard:
    """Wraps the whole application.

    ahead: endpoints by first path step (`fhir`) that are reached without the framework's own layers, which
    cost more than a read. They must answer everything below their step. times: where every request is counted.
    proxies: addresses whose word counts that a request came to them over TLS.
    """

    def __init__(
        self,
        app: App,
        limits: Limits | None = None,
        pressure: Pressure | None = None,
        *,
        proxies: Iterable[str] = (),
        ahead: Mapping[str, App] | None = None,
        times: RequestTimes | None = None,
    ) -> None:
        self._app = app
        self._ahead = ahead or {}
        self._limits = limits or Limits()
        self._pressure = pressure or Pressure()
        self._times = times or RequestTimes()
        self._proxies = frozenset(proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _asks(scope):
            with askers:
                await self._answer(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        headers = headers_of(scope)
        request_id = scope[REQUEST_ID] = headers["x-request-id"] = request_id_of(headers)
        scope[_HEADERS] = headers
        if self._proxies and headers.get("x-forwarded-proto") == "https" and _peer(scope) in self._proxies:
            scope["scheme"] = "https"
        if ";" in (accepted := headers.get("accept-encoding", "")):
            plain = headers["accept-encoding"] = "gzip" if takes_gzip(accepted) else "identity"
            others = [one for one in scope["headers"] if one[0] != b"accept-encoding"]
            scope["headers"] = [*others, (b"accept-encoding", plain.encode())]  # the word alone is looked for
        reply = _Reply(send, _OVER_TLS if scope["scheme"] == "https" else SECURITY_HEADERS, request_id)
        share: Share | None = None
        step = scope["path"][1:].partition("/")[0]
        try:
            if scope["method"] not in ("GET", "HEAD") or "content-length" in headers:
                share = self._pressure.share(_caller(scope, headers))
                receive = self._limited(scope, headers, receive, share)
            app = self._ahead.get(step)
            if app is None:  # whoever reads the header inside the framework finds the same id
                others = [one for one in scope["headers"] if one[0] != b"x-request-id"]
                scope["headers"] = [*others, (b"x-request-id", request_id.encode())]
                app = self._app
            await app(scope, receive, reply)
        except GatewayError as error:
            await reply.fail(error)
        except Exception as fault:
            note_fault(fault, request_id)
            await reply.fail(GatewayError())
        finally:
            if share is not None:
                share.release()
            self._times.add(step, scope.get(INTERACTION, ""), reply.status, perf_counter() - began)

    def _limited(self, scope: Scope, headers: Mapping[str, str], receive: Receive, share: Share) -> Receive:
        path = scope["path"]
        limit = self._limits.larger.get(path, self._limits.body_bytes)
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limit:
            raise TooLarge(detail=f"> {limit} bytes")
        asks = _asks(scope)
        if not asks and declared == "0" and "transfer-encoding" not in headers:
            share.work()  # no body comes
            asks = True
        return _Body(receive, limit, share, asks)


class _Body:
    """`receive` with a size limit; when the body is whole, the request takes its place among those at work."""

    __slots__ = ("_free", "_left", "_limit", "_receive", "_share")

    def __init__(self, receive: Receive, limit: int, share: Share, free: bool) -> None:
        """free: it needs no place (any more)."""
        self._receive, self._share, self._free = receive, share, free
        self._limit = self._left = limit

    async def __call__(self) -> Message:
        message = await self._receive()
        size = len(message.get("body", b""))
        self._left -= size
        if self._left < 0:
            raise TooLarge(detail=f"> {self._limit} bytes")
        self._share.hold(size)
        if not self._free and not message.get("more_body", False):
            self._free = True
            self._share.work()
        return message


class _Reply:
    """`send` that adds the headers every answer carries. status: of the answer, 0 before it begins."""

    __slots__ = ("_headers", "_request_id", "_send", "status")

    def __init__(self, send: Send, headers: tuple[tuple[bytes, bytes], ...], request_id: str) -> None:
        self._send = send
        self._headers = headers
        self._request_id = request_id.encode()
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = message.get("headers", ())
            lacking = _lacking(self._headers, tuple([name for name, _ in own]))
            message["headers"] = [*own, *lacking, (b"x-request-id", self._request_id)]
        await self._send(message)

    async def fail(self, error: GatewayError) -> None:
        """The error's answer, when it is not too late for one."""
        if not self.status:
            await send_answer(self, error_answer(error))


def _asks(scope: Scope) -> bool:
    """True for a request that writes nothing."""
    return scope["method"] in ("GET", "HEAD", "OPTIONS") or scope["path"].endswith("/_search")


def _caller(scope: Scope, headers: Mapping[str, str]) -> str:
    """Whose share of the places a request takes: its account's, else its address's."""
    return headers.get("authorization") or _peer(scope)


def _peer(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])


@lru_cache(1024)
def _lacking(wanted: tuple[tuple[bytes, bytes], ...], names: tuple[bytes, ...]) -> tuple[tuple[bytes, bytes], ...]:
    """Of the headers every answer carries those it has not set itself; answers come in few kinds."""
    return tuple(header for header in wanted if header[0] not in names)


def headers_of(scope: Scope) -> dict[str, str]:
    """Request headers, names lower case; of a repeated one the values joined by a comma."""
    known: dict[str, str] | None = scope.get(_HEADERS)
    if known is not None:
        return known
    sent = scope["headers"]
    found = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent}
    return found if len(found) == len(sent) else _joined(sent)


def _joined(sent: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in sent:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding names gzip, and not with a weight of 0. Source: RFC 9110 §12.5.3."""
    for one in accepted.lower().split(","):
        coding, _, weight = one.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return not _WEIGHT_0.fullmatch(weight.strip())
    return False


def error_answer(error: GatewayError) -> Answer:
    """Any error as OperationOutcome with the headers HTTP asks for."""
    headers: tuple[tuple[str, str], ...] = ()
    if error.http == 401:
        headers = (("www-authenticate", 'Bearer realm="alliance-gateway"'),)
    if error.http in (429, 503, 507):
        headers = (("retry-after", "5"),)
    return Answer(error.http, dumps(error.operation_outcome()), headers)


@lru_cache(8192)
def _raw(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple([(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers])


async def send_answer(send: Send, answer: Answer, *, head: bool = False) -> None:
    """The answer on the wire; for HEAD the headers alone, with the length the body has.

    One with `more` has no length ahead. When it breaks off, so does the connection: nobody takes a part for the whole.
    """
    if answer.status in (204, 304):
        headers = _raw(answer.headers)
    else:
        headers = _raw((*answer.headers, ("content-type", answer.media)))
        if answer.more is None:
            headers = (*headers, (b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.more is None or head:
        await send({"type": "http.response.body", "body": b"" if head else answer.body})
        return
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    async for part in answer.more:
        await send({"type": "http.response.body", "body": part.body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


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
