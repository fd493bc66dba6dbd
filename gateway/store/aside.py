"""Work that would hold up the event loop, done in a thread when there is much of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def aside(much: bool, work: Callable[P, T], *values: P.args, **named: P.kwargs) -> T:
    """The work done: in a thread, so that others are served meanwhile, or at once where that costs less."""
    return await asyncio.to_thread(work, *values, **named) if much else work(*values, **named)
