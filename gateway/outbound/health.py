"""`/health/live` and `/health/ready`: for load balancers and operators; they tell no version and no data."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import GatewayError, StoreError
from ..model.context import SYSTEM
from ..model.resource import Json, dumps
from ..store.base import Store

_SOON_S = 2.0
"""Who asks gives up after a few seconds: a store that takes longer is told as down, not awaited."""


def health_routes(store: Store, failing: Callable[[], Awaitable[int]]) -> list[Route]:
    """live: the process answers. ready: the store reads, else 503 with the code of what failed.

    failing: how many polled sources cannot be read now; that is no reason to send nobody here any more.
    """

    async def live(request: Request) -> Response:
        return _json({"status": "up"}, 200)

    async def ready(request: Request) -> Response:
        try:
            async with asyncio.timeout(_SOON_S):
                await store.read("Patient", "-", SYSTEM)
                lost = await failing()
        except (GatewayError, TimeoutError) as fault:
            code = fault.code if isinstance(fault, GatewayError) else StoreError.code
            return _json({"status": "down", "error": code}, 503)
        return _json({"status": "up"} | ({"views_failing": lost} if lost else {}), 200)

    return [Route("/health/live", live), Route("/health/ready", ready)]


def _json(content: Json, status: int) -> Response:
    return Response(dumps(content), status, media_type="application/json")
