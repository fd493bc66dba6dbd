"""A gateway in a process of its own, to be killed. Its modules are imported once, by the server it is forked from."""

from __future__ import annotations

import asyncio
import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import uvloop

from fixtures.times import ANCHOR
from gateway.app import Gateway
from gateway.settings import General, Http, Mllp, Settings
from tests.flow.alliance import clock_from

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.flow.victim"])


def start(home: Path) -> tuple[ForkServerProcess, int]:
    """A running gateway and its MLLP port."""
    here, there = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_main, args=(home, there), daemon=True)
    process.start()
    return process, int(here.recv())


def _main(home: Path, pipe: Connection) -> None:
    uvloop.run(_run(home, pipe))


async def _run(home: Path, pipe: Connection) -> None:
    settings = Settings(gateway=General(home=str(home)), http=Http(port=0), mllp=Mllp(port=0))
    gateway = await Gateway.open(settings, clock=clock_from(ANCHOR))
    await gateway.start()
    pipe.send(gateway.mllp_port)
    await asyncio.Event().wait()
