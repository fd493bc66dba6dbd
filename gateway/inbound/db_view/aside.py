"""Blocking work of a driver on a thread of its own, which a driver that never comes back may keep."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def aside(work: Callable[[], T], limit_s: float) -> T:
    """What `work` gives. Raises what it raises, and TimeoutError after `limit_s`; its thread is then left to itself.

    A thread each time: one of a pool would be lost to everybody else, and hold up the end of the process.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, fault: BaseException | None) -> None:
        if told.done():
            return
        if fault is not None:
            told.set_exception(fault)
        else:
            told.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            outcome: tuple[T | None, BaseException | None] = (work(), None)
        except BaseException as fault:
            outcome = (None, fault)
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, *outcome)

    threading.Thread(target=run, name="db-view", daemon=True).start()
    async with asyncio.timeout(limit_s):
        return await told
