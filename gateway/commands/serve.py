"""`gateway serve`: the gateway for real members, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import os
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
    _check_home(Path(settings.gateway.home))
    run_loop(_serve(settings))
    return Exit.OK


def _check_home(home: Path) -> None:
    """Raises ConfigError when the gateway could not keep anything there."""
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise ConfigError(f"gateway.home {home}", f"{fault.strerror}") from fault
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(f"gateway.home {home}", "no right to write there", detail_zh="没有写入权限。")


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
