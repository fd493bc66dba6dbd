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
from gateway.security.tokens import demo_credentials
from gateway.settings import General, Http, Mllp, Settings
from tests.flow.alliance import TOKENS, clock_from

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.flow.victim"])


def start(home: Path) -> tuple[ForkServerProcess, int, int]:
    """A running gateway, its MLLP and its HTTP port."""
    here, there = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_main, args=(home, there), daemon=True)
    process.start()
    mllp, http = here.recv()
    return process, mllp, http


def _main(home: Path, pipe: Connection) -> None:
    uvloop.run(_run(home, pipe))


async def _run(home: Path, pipe: Connection) -> None:
    settings = Settings(gateway=General(home=str(home)), http=Http(port=0), mllp=Mllp(port=0))
    credentials = demo_credentials(TOKENS, doctor_member="township_health_centre")
    gateway = await Gateway.open(settings, clock=clock_from(ANCHOR), credentials=credentials)
    await gateway.start()
    pipe.send((gateway.mllp_port, gateway.http_port))
    await asyncio.Event().wait()
