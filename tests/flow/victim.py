"""A gateway in a process of its own, to be killed: `python -m tests.flow.victim HOME`; prints its MLLP port."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from fixtures.times import ANCHOR
from gateway.app import Gateway
from gateway.settings import General, Http, Mllp, Settings
from tests.flow.alliance import clock_from


async def _run(home: Path) -> None:
    settings = Settings(gateway=General(home=str(home)), http=Http(port=0), mllp=Mllp(port=0))
    gateway = await Gateway.open(settings, clock=clock_from(ANCHOR))
    await gateway.start()
    print(gateway.mllp_port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_run(Path(sys.argv[1])))
