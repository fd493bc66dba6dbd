"""`/health/live` and `/health/ready`: for load balancers and operators; they tell no version and no data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import GatewayError
from ..model.resource import dumps

Check = Callable[[], Awaitable[None]]
"""Raises GatewayError when its part cannot serve."""


def health_routes(checks: Mapping[str, Check]) -> list[Route]:
    """live: the process answers. ready: every named part serves, else 503 naming the error code of each that does not."""

    async def live(request: Request) -> Response:
        return _json({"status": "up"}, 200)

    async def ready(request: Request) -> Response:
        found = {name: await _state(check) for name, check in checks.items()}
        serving = all(state == "up" for state in found.values())
        return _json({"status": "up" if serving else "down", "parts": found}, 200 if serving else 503)

    return [Route("/health/live", live), Route("/health/ready", ready)]


async def _state(check: Check) -> str:
    try:
        await check()
    except GatewayError as error:
        return error.code
    return "up"


def _json(content: object, status: int) -> Response:
    return Response(dumps(content), status, media_type="application/json")
