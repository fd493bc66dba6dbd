"""`POST /push/{source}`: any body, kept before it is answered (202), translated afterwards.

`?wait=5` waits up to so many seconds for the outcome and answers it: what a vendor's engineer wants to see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import Forbidden, TooLarge, UnknownSource
from ..model.context import AccessContext, Role
from ..model.directory import Directory, Source
from ..model.resource import Json, dumps
from .intake import BODY_LIMIT, Intake, Receipt

Outcome = Callable[[str], Awaitable[bytes | None]]
"""The outcome of a message as JSON, None while it is open."""


@dataclass(frozen=True, slots=True)
class PushParts:
    """What the push door needs."""

    intake: Intake
    directory: Directory
    outcome: Outcome
    caller: Callable[[Request], Awaitable[AccessContext]]


def push_routes(parts: PushParts) -> list[Route]:
    """The one route."""

    async def push(request: Request) -> Response:
        source = await _source(request, parts)
        body = await _body(request)
        receipt = await parts.intake.push(source, body, request.headers.get("x-file-name", ""))
        if receipt.ack and not request.query_params.get("wait"):
            return Response(receipt.ack, _status(receipt), _again(receipt), "application/hl7-v2")
        return Response(await _answer(request, parts, receipt), _status(receipt), _again(receipt), "application/json")

    return [Route("/push/{source}", push, methods=["POST"])]


async def _source(request: Request, parts: PushParts) -> Source:
    who = await parts.caller(request)
    source = parts.directory.sending(request.path_params["source"])
    if who.role not in (Role.VENDOR, Role.ADMIN):
        raise Forbidden("/push")
    if source is None:
        raise UnknownSource(request.path_params["source"][:64])
    if who.member and who.member != source.member:
        raise Forbidden("/push", source.name)
    return source


async def _body(request: Request) -> bytes:
    """The whole body, never more than the limit in memory."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_LIMIT:
            raise TooLarge(detail=f"> {BODY_LIMIT}")
        chunks.append(chunk)
    return b"".join(chunks)


def _status(receipt: Receipt) -> int:
    """A query is answered, everything else is kept first."""
    done = 202 if receipt.kept.key else 200
    return receipt.error.http if receipt.error else done


def _again(receipt: Receipt) -> dict[str, str]:
    return {"retry-after": "30"} if receipt.error and receipt.error.retry else {}


async def _answer(request: Request, parts: PushParts, receipt: Receipt) -> bytes:
    answer: Json = {"key": receipt.kept.key, "duplicate": receipt.kept.duplicate}
    if receipt.error:
        answer |= {"error": receipt.error.code, "zh": receipt.error.sentence_zh(), "en": receipt.error.sentence_en()}
        return dumps(answer)
    if receipt.ack:
        answer["ack"] = receipt.ack.decode("utf-8", "replace")
    outcome = await _wait(parts.outcome, receipt.kept.key, request.query_params.get("wait", "0"))
    if outcome is not None:
        answer["outcome"] = msgspec.Raw(outcome)
    return dumps(answer)


async def _wait(outcome: Outcome, key: str, seconds: str) -> bytes | None:
    limit = min(float(seconds), 30.0) if seconds.replace(".", "", 1).isdigit() else 0.0
    loop = asyncio.get_running_loop()
    until = loop.time() + limit
    while loop.time() < until:
        found = await outcome(key)
        if found is not None:
            return found
        await asyncio.sleep(0.02)
    return None
