"""The FHIR door: one ASGI endpoint that knows who asks and what about, runs it, audits it, answers it.

Every interaction leaves exactly one audit row: writes in their own transaction, everything else in the
disclosure log, durable before the first byte leaves (D20). A refusal is audited like an answer.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from io import BytesIO

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import (
    Forbidden,
    GatewayError,
    NotAcceptable,
    NotFound,
    NotSupported,
    StoreError,
    UnsupportedMedia,
)
from ..model.context import AccessContext, Role
from ..model.rest import FHIR_JSON, PATCH_FORMATS, Answer, Call, Part, Seen, accepts_json
from ..security.access import request_id_of
from ..security.audit import anonymous_row, audit_row, refused_row
from ..security.http import (
    INTERACTION,
    REQUEST_ID,
    Receive,
    Scope,
    Send,
    error_answer,
    headers_of,
    note_fault,
    send_answer,
)
from ..security.scopes import Door
from ..store.base import AuditRow
from . import fhir_audit, fhir_history, fhir_metadata, fhir_read, fhir_search
from .fhir_answers import compressed
from .fhir_parts import FhirParts, Handler, On
from .fhir_query import pairs

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9.\-\[\]:]{1,255}")

_NOTE_S = 1.0
log = logging.getLogger("gateway.fhir")
_LONGEST = 256
"""Of a path: what strangers ask for is remembered too."""

ACTIONS = {
    "read": "R",
    "vread": "R",
    "history-instance": "R",
    "history-type": "R",
    "history-system": "R",
    "search-type": "E",
    "search-system": "E",
    "operation": "E",
    "create": "C",
    "update": "U",
    "patch": "U",
    "delete": "D",
    "batch": "E",
    "transaction": "E",
    "capabilities": "R",
}
"""Restful-interaction code → AuditEvent.action."""


async def _search(parts: FhirParts, call: Call, on: On) -> Answer:
    return await (parts.search or fhir_search.search)(parts, call, on)


_READS: dict[str, Handler] = {
    "read": fhir_read.read,
    "vread": fhir_read.vread,
    "history-instance": fhir_history.history,
    "history-type": fhir_history.history,
    "history-system": fhir_history.history,
    "search-type": _search,
    "search-system": _search,
}
_LEVELS = {
    "instance": ("one resource", "单个资源"),
    "type": ("the type", "类型"),
    "system": ("the whole system", "整个系统"),
}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_WRITES = frozenset({"create", "update", "patch", "delete", "batch"})


def smart_routes() -> list[Route]:
    """Where clients look for SMART outside `/fhir`, which is `FhirDoor`'s: an honest no."""
    return [Route("/.well-known/smart-configuration", _no_smart)]


async def _no_smart(_: Request) -> Response:
    """Clients probe here first; no authorisation server runs in this gateway, and saying otherwise would be a lie."""
    answer = error_answer(NotFound("smart-configuration", "tokens are issued by the administrator"))
    return Response(answer.body, answer.status, media_type=FHIR_JSON)


class FhirDoor:
    """The endpoint. `answer` is also what a batch uses for its reading entries."""

    def __init__(self, parts: FhirParts) -> None:
        self._parts = parts
        self._telling: set[asyncio.Task[None]] = set()
        self._untold = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        head = scope["method"] == "HEAD"
        method = "GET" if head else scope["method"]
        try:
            if method == "OPTIONS":
                answer = self._options(scope)
            else:
                answer = await self._respond(scope, method, receive, head=head)
        except GatewayError as error:
            answer = error_answer(error)
            if answer.status == 405:
                answer = replace(answer, headers=self._allow(scope))
        except Exception as fault:
            note_fault(fault, scope.get(REQUEST_ID, ""))
            answer = error_answer(GatewayError())
        if method != "OPTIONS" and (shared := self._parts.cors.headers(headers_of(scope))):
            answer = replace(answer, headers=(*answer.headers, *shared))
        await send_answer(send, await compressed(answer, headers_of(scope)), head=head)

    def _options(self, scope: Scope) -> Answer:
        """What may be done at an address, open to everybody, and a browser's question ahead of a request (CORS)."""
        return Answer(204, b"", (*self._allow(scope), *self._parts.cors.preflight(headers_of(scope))))

    def _allow(self, scope: Scope) -> tuple[tuple[str, str], ...]:
        path = scope["path"][5:].strip("/")
        allowed = ["OPTIONS", *(method for method in _METHODS if self._served(method, path))]
        patches = (("accept-patch", ", ".join(PATCH_FORMATS)),) if "PATCH" in allowed else ()
        return (("allow", ", ".join(allowed)), *patches)

    def _served(self, method: str, path: str) -> bool:
        try:
            on = classify("GET" if method == "HEAD" else method, path, self._parts.types)
        except GatewayError:
            return False
        return self._parts.write is not None or on.name not in _WRITES

    async def _respond(self, scope: Scope, method: str, receive: Receive, *, head: bool) -> Answer:
        parts, headers = self._parts, headers_of(scope)
        peer = scope["client"][0] if scope.get("client") else ""
        address = parts.access.address(peer, headers)
        request_id = scope.get(REQUEST_ID) or request_id_of(headers)
        path = scope["path"][5:].strip("/")
        on = classify(method, path, parts.types)
        scope[INTERACTION] = on.name
        base = parts.base or _base_of(scope, headers)
        query = scope["query_string"].decode("latin-1")
        if on.name == "capabilities":
            return fhir_metadata.answer(parts, base, headers, dict(pairs(query)).get("_format", ""))
        try:
            who = parts.access.enter(Door.FHIR, method, headers, address, request_id)
        except GatewayError as error:
            await self._note(anonymous_row(parts.clock(), _seen(on), error, address=address, request_id=request_id))
            raise
        body = await _body(receive) if method in ("POST", "PUT", "PATCH") else b""
        call = Call(method, path, query, headers, body, who, base)
        return await self._audited(call, on, head=head)

    async def _audited(self, call: Call, on: On, *, head: bool) -> Answer:
        parts = self._parts
        try:
            answer = await self.answer(call, on)
        except GatewayError as error:
            await self._note(refused_row(parts.clock(), call.who, _seen(on, call), error))
            raise
        except Exception as fault:
            note_fault(fault, call.who.request_id)
            await self._note(refused_row(parts.clock(), call.who, _seen(on, call), GatewayError()))
            raise GatewayError() from fault
        if answer.seen is not None:
            seen = replace(answer.seen, detail=f"HEAD {answer.seen.detail}".strip()) if head else answer.seen
            await parts.store.disclose(audit_row(parts.clock(), call.who, seen))
        return answer if answer.more is None else replace(answer, more=self._noted(call.who, answer.more))

    async def _noted(self, who: AccessContext, more: AsyncIterator[Part]) -> AsyncIterator[Part]:
        """Each further part of a long answer, its audit row written before it leaves."""
        async for part in more:
            await self._parts.store.disclose(audit_row(self._parts.clock(), who, part.seen))
            yield part

    async def run(self, call: Call) -> Answer:
        """A reading entry of a batch: audited like a request of its own, errors as answers."""
        try:
            on = classify("GET", call.path, self._parts.types)
            if on.name == "capabilities":
                return fhir_metadata.answer(self._parts, call.base, {})
            answer = await self._audited(call, on, head=call.method == "HEAD")
            if answer.more is None:
                return answer
            rest = [part.body async for part in answer.more]  # a batch's answer is one body
            return replace(answer, body=b"".join((answer.body, *rest)), more=None)
        except GatewayError as error:
            return error_answer(error)

    async def answer(self, call: Call, on: On) -> Answer:
        """The interaction's answer, not yet audited unless `seen` is None. Raises GatewayError."""
        pretty, format_ = "", ""
        if "_format=" in call.query or "_pretty=" in call.query:
            given = dict(pairs(call.query))
            pretty, format_ = given.get("_pretty", ""), given.get("_format", "")
        if not accepts_json(call.header("accept"), format_) and on.type != "Binary":
            raise NotAcceptable("_format" if format_ else "Accept")
        if call.body and call.header("content-encoding") not in ("", "identity"):
            raise UnsupportedMedia("Content-Encoding", "not compressed", detail_zh="不接受压缩的请求体。")
        answer = await self._handler(call.who, on)(self._parts, call, on)
        if pretty == "true" and answer.body and answer.more is None and "json" in answer.media:
            return replace(answer, body=msgspec.json.format(answer.body, indent=2))
        return answer

    def _handler(self, who: AccessContext, on: On) -> Handler:
        if on.name in _WRITES:
            return _write
        if not (who.may_read(on.type) if on.type else who.types is None or who.types):
            raise _forbidden(on.type, who)
        if on.type == "AuditEvent":
            return fhir_audit.HANDLERS.get(on.name, _not_supported)
        if on.name == "operation":
            return self._operation(on)
        return _READS.get(on.name, _not_supported)

    def _operation(self, on: On) -> Handler:
        named = [one for one in self._parts.operations if one.code == on.operation and one.type in (on.type, "")]
        for one in named:
            if on.level in one.levels:
                return one.handler
        place = f"{on.place}/{on.operation}"[:120]
        if named:
            levels = " or ".join(_LEVELS[one][0] for one in named[0].levels)
            levels_zh = "或".join(_LEVELS[one][1] for one in named[0].levels)
            raise NotSupported(place, f"asked of {levels} only", detail_zh=f"只能对{levels_zh}使用。")
        raise NotSupported(place, "no such operation", detail_zh="没有这个操作。")

    async def _note(self, row: AuditRow) -> None:
        """A refusal discloses nothing, so its answer does not wait long for a log that is out of order."""
        told = asyncio.create_task(self._told(row))
        self._telling.add(told)
        told.add_done_callback(self._telling.discard)
        await asyncio.wait((told,), timeout=_NOTE_S)

    async def _told(self, row: AuditRow) -> None:
        """Said once while the log takes nothing, and how much it lacks when it is back."""
        try:
            await self._parts.store.disclose(row)
        except GatewayError as fault:
            if not self._untold:
                log.error("refusals cannot be audited: %s", fault.code)
            self._untold += 1
        else:
            if self._untold:
                log.warning("refusals are audited again; %d are missing", self._untold)
            self._untold = 0


def _forbidden(type_: str, who: AccessContext) -> Forbidden:
    if type_ == "AuditEvent" and who.role is Role.ADMIN:
        zh = "审计涉及所有成员，只对整个联盟的管理员开放（账号不写 member 和 alliance）。"
        return Forbidden(type_, "read by administrators of the whole alliance alone", detail_zh=zh)
    return Forbidden(type_, f"role {who.role.value}", detail_zh=f"角色 {who.role.value}")


async def _write(parts: FhirParts, call: Call, on: On) -> Answer:
    if parts.write is None:
        raise NotSupported(on.place, "this gateway is read-only over FHIR", detail_zh="此网关的 FHIR 接口只读。")
    return await parts.write(call, on)


async def _not_supported(parts: FhirParts, call: Call, on: On) -> Answer:
    raise NotSupported(on.place, on.name)


def _seen(on: On, call: Call | None = None) -> Seen:
    entities = (on.place,) if on.id else ()
    query = f"{on.place}?{call.query}" if call is not None and on.name.startswith("search-") else ""
    return Seen(ACTIONS.get(on.name, "E"), on.name, (), entities, query)


def classify(method: str, path: str, types: frozenset[str]) -> On:
    """What a method and a path below the base mean. Raises NotFound for a path that is no FHIR address."""
    if len(path) > _LONGEST:
        raise NotFound(f"/fhir/{path[:64]}", "no FHIR address is so long", detail_zh="没有这么长的地址。")
    return _classified(method, path, types)


@lru_cache(8192)
def _classified(method: str, path: str, types: frozenset[str]) -> On:
    steps = path.split("/") if path else []
    if steps == ["metadata"] and method == "GET":
        return On("capabilities")
    if steps == ["_history"] and method == "GET":
        return On("history-system")
    if not steps:
        if method == "POST":
            return On("batch")
        if method == "GET":
            return On("search-system")
        raise NotSupported("/fhir", method)
    if steps == ["_search"] and method in ("GET", "POST"):
        return On("search-system")
    if len(steps) == 1 and steps[0].startswith("$") and method in ("GET", "POST"):
        return On("operation", operation=steps[0])
    if steps[0] not in types:
        raise NotFound(f"/fhir/{steps[0][:64]}", "no such resource type", detail_zh="没有这种资源类型。")
    found = _compartment(method, steps, types) or _typed(method, steps)
    if found is None:
        raise NotSupported(f"{method} /fhir/{path[:120]}")
    return found


_COMPARTMENTS = ("Patient", "Encounter")


def _compartment(method: str, steps: list[str], types: frozenset[str]) -> On | None:
    """`Patient/1/Observation`, `Patient/1/*`, with `_search` behind it for a POST."""
    asked = steps[:-1] if steps[-1] == "_search" and len(steps) == 4 else steps
    if len(asked) != 3 or asked[0] not in _COMPARTMENTS or method not in ("GET", "POST"):
        return None
    if (method == "POST") == (asked is steps) or not _ID.fullmatch(asked[1]):
        return None
    within = f"{asked[0]}/{asked[1]}"
    if asked[2] == "*":
        return On("search-system", within=within)
    served = asked[2] in types and asked[2] != "AuditEvent"
    return On("search-type", asked[2], within=within) if served else None


_ON_TYPE = {"GET": "search-type", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def _typed(method: str, steps: list[str]) -> On | None:
    type_, rest = steps[0], steps[1:]
    if not rest:
        return On(_ON_TYPE[method], type_) if method in _ON_TYPE else None
    if rest == ["_search"]:
        return On("search-type", type_) if method in ("POST", "GET") else None
    if rest == ["_history"] and method == "GET":
        return On("history-type", type_)
    if rest[0].startswith("$") and len(rest) == 1 and method in ("GET", "POST"):
        return On("operation", type_, operation=rest[0])
    if rest[0].startswith(("$", "_")):
        return None
    if not _ID.fullmatch(rest[0]):
        raise NotFound(type_, "not a FHIR id", detail_zh="不是 FHIR 的资源号。")
    if len(rest) == 1:
        name = {"GET": "read", "PUT": "update", "DELETE": "delete", "PATCH": "patch"}.get(method)
        return On(name, type_, rest[0]) if name else None
    return _below_instance(method, type_, rest)


def _below_instance(method: str, type_: str, rest: list[str]) -> On | None:
    if rest[1].startswith("$") and len(rest) == 2 and method in ("GET", "POST"):
        return On("operation", type_, rest[0], operation=rest[1])
    if rest[1] != "_history" or method != "GET" or len(rest) > 3:
        return None
    if len(rest) == 2:
        return On("history-instance", type_, rest[0])
    if not rest[2].isascii() or not rest[2].isdigit() or len(rest[2]) > 9:
        raise NotFound(f"{type_}/{rest[0]}", "no such version", detail_zh="没有这个版本。")
    return On("vread", type_, rest[0], version=int(rest[2]))


def _base_of(scope: Scope, headers: Mapping[str, str]) -> str:
    found = _base_at(scope["scheme"], headers.get("host", ""))
    if not found:
        server = scope.get("server") or ("localhost", None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
        return f"{scope['scheme']}://{host}/fhir"
    return found


@lru_cache(256)
def _base_at(scheme: str, host: str) -> str:
    return f"{scheme}://{host}/fhir" if _HOST.fullmatch(host) else ""


async def _body(receive: Receive) -> bytes:
    """The whole body; its size and its time are limited further out."""
    whole: BytesIO | None = None  # grows where it lies: to join 60 MB in one piece would hold up everybody
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise StoreError("body", "the client went away")
        piece: bytes = message.get("body", b"")
        if whole is None and not message.get("more_body", False):
            return piece
        whole = whole or BytesIO()
        whole.write(piece)
        if not message.get("more_body", False):
            return whole.getvalue()
