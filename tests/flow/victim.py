"""A gateway in a process of its own, to be killed. Its modules are imported once, by the server it is forked from."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from datetime import datetime
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import uvloop

from fixtures.times import ANCHOR
from gateway.app import Gateway
from gateway.model.directory import Source
from gateway.model.ids import Ids
from gateway.model.message import Draft, RawMessage
from gateway.model.view import Reading
from gateway.security.tokens import demo_credentials
from gateway.settings import General, Http, Inbox, Mllp, Settings
from tests.flow.alliance import TOKENS, clock_from

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.flow.victim"])


def start(
    home: Path, *, attempts: int = 1_000, poison: bytes = b"", mappings: Path | None = None, cut: str = ""
) -> tuple[ForkServerProcess, int, int]:
    """A running gateway, its MLLP and its HTTP port.

    attempts: as in the settings; many, where no message is to blame for the kills.
    poison: text of a message whose translation takes the process with it, as a fault in a library would.
    cut: a polled source; the process dies when it is about to save how far that was read, the rows being kept.
    """
    here, there = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_main, args=(home, there, attempts, poison, mappings, cut), daemon=True)
    process.start()
    there.close()
    try:
        mllp, http = here.recv()
    except EOFError:  # dead before its doors were open
        mllp = http = 0
    return process, mllp, http


def _main(home: Path, pipe: Connection, attempts: int, poison: bytes, mappings: Path | None, cut: str) -> None:
    uvloop.run(_run(home, pipe, attempts, poison, mappings, cut))


async def _run(home: Path, pipe: Connection, attempts: int, poison: bytes, mappings: Path | None, cut: str) -> None:
    settings = Settings(
        gateway=General(home=str(home), mappings=str(mappings or "")),
        http=Http(port=0),
        mllp=Mllp(port=0),
        inbox=Inbox(attempts=attempts),
    )
    credentials = demo_credentials(TOKENS, doctor_member="township_health_centre")
    gateway = await Gateway.open(settings, clock=clock_from(ANCHOR), credentials=credentials)
    if poison:
        _poison(gateway, poison)
    if cut:
        _cut(gateway, cut)
    await gateway.start()
    pipe.send((gateway.mllp_port, gateway.http_port))
    await asyncio.Event().wait()


def _poison(gateway: Gateway, poison: bytes) -> None:
    translate = gateway.mappings.translate

    def deadly(raw: RawMessage, source: Source, ids: Ids, at: datetime) -> Draft:
        if poison in raw.body:
            os.kill(os.getpid(), signal.SIGKILL)
        return translate(raw, source, ids, at)

    vars(gateway.mappings)["translate"] = deadly


def _cut(gateway: Gateway, cut: str) -> None:
    positions = gateway.inbox.messages.positions
    save = positions.save

    async def deadly(source: str, position: bytes, reading: Reading) -> None:
        if source == cut:
            os.kill(os.getpid(), signal.SIGKILL)
        await save(source, position, reading)

    vars(positions)["save"] = deadly
