"""`gateway serve`: the gateway for real members, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path

import uvloop

from ..app import Gateway
from ..config import load
from ..errors import ConfigError
from ..settings import Settings
from .talk import Exit, say


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    settings = load(Path(args.config) if args.config else None)
    if args.workers > 1 and not settings.store.url.startswith("postgresql"):
        raise ConfigError("--workers", "SQLite has exactly one writing process; more workers need PostgreSQL")
    if args.workers > 1:
        raise ConfigError("--workers", "one process only in this release")
    run_loop(_serve(settings))
    return Exit.OK


async def _serve(settings: Settings) -> None:
    gateway = await Gateway.open(settings)
    try:
        await gateway.start()
        say(f"http://{settings.http.host}:{gateway.http_port}  mllp {settings.mllp.host}:{gateway.mllp_port}")
        await stopped()
    finally:
        await gateway.close()


async def stopped() -> None:
    """Returns at the first SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    await stop.wait()


def run_loop(work: Coroutine[object, object, None]) -> None:
    """Run on uvloop, which doubles what one process serves."""
    uvloop.run(work)
