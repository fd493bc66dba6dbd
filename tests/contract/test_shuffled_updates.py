"""Shuffled updates end as a sequential replay of the same arrivals: 48 at once on SQLite, four workers on PostgreSQL.

RESIDENTS, EACH and SEED in the environment choose others:
`RESIDENTS=1000 EACH=100 pytest -m slow tests/contract/test_shuffled_updates.py -s`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from fixtures.times import ANCHOR
from gateway.app import Gateway
from gateway.model.resource import Json
from gateway.model.times import system_clock
from gateway.settings import General, Http, Mllp, Settings, StoreUrl
from gateway.store.resources import open_store
from tests.contract.postgres import TestServer
from tests.contract.shuffled import end_of, shuffled
from tests.flow.alliance import clock_from

Where = tuple[str, Path]
"""The URL of a store ("": in the home) and the home."""


@pytest_asyncio.fixture(params=["sqlite", "postgres"])
async def alike(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Where, Where, int]:
    """Two empty stores that give the same ids to the same things, and how many workers the second gets at most."""
    if request.param == "sqlite":
        (only,) = await workers(("", tmp_path / "a"), 1)
        await only.shared.close()
        return ("", tmp_path / "a"), ("", shutil.copytree(tmp_path / "a", tmp_path / "b")), 1
    server: TestServer = request.getfixturevalue("server")
    urls = [server.schema(), server.schema()]
    for url in urls:
        await (await open_store(url, clock=system_clock)).close()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("UPDATE meta SET value = %s WHERE name = 'key'", (b"shuffled" * 4,))
    return (urls[0], tmp_path), (urls[1], tmp_path), 4


async def workers(where: Where, count: int) -> list[Gateway]:
    """So many gateways on one inbox, as processes of their own would be; their workers have not begun."""
    url, home = where
    settings = Settings(gateway=General(home=str(home)), http=Http(port=0), mllp=Mllp(port=-1), store=StoreUrl(url))
    return [await Gateway.open(settings, clock=clock_from(ANCHOR)) for _ in range(count)]


async def replayed(gateways: Sequence[Gateway], arrivals: Sequence[bytes], *, sequential: bool) -> dict[str, Json]:
    """The end of the store. sequential: each message is done with before the next is kept."""
    running = [asyncio.create_task(one.worker.run()) for one in gateways] if sequential else []
    for body in arrivals:
        assert b"MSA|AA|" in (await gateways[0].intake.v2(body)).ack
        if sequential:
            await gateways[0].worker.drained()
    running = running or [asyncio.create_task(one.worker.run()) for one in gateways]
    await asyncio.gather(*(one.worker.drained() for one in gateways))
    counts = await gateways[0].inbox.messages.counts()
    assert {state for _, state in counts} == {"processed"}, counts
    end = await end_of(gateways[0].store)
    await asyncio.gather(*(one.worker.stop() for one in gateways))
    await asyncio.gather(*running)
    for one in gateways:
        await one.shared.close()
    return end


async def both(alike: tuple[Where, Where, int], residents: int, each: int, seed: int, most: int) -> None:
    first, second, count = alike
    arrivals = shuffled(residents, each, seed)
    alone = await replayed(await workers(first, 1), arrivals, sequential=True)
    together = await replayed(await workers(second, min(count, most)), arrivals, sequential=False)
    differing = [ref for ref in alone.keys() | together.keys() if alone.get(ref) != together.get(ref)]
    assert not differing, (len(differing), differing[0], alone.get(differing[0]), together.get(differing[0]))
    assert len(alone) > 10 * residents


async def test_some_shuffled_updates(alike: tuple[Where, Where, int]) -> None:
    await both(alike, 3, 24, 1, 2)


@pytest.mark.slow
async def test_many_shuffled_updates(alike: tuple[Where, Where, int]) -> None:
    residents, each = int(os.environ.get("RESIDENTS", "100")), int(os.environ.get("EACH", "40"))
    await both(alike, residents, each, int(os.environ.get("SEED", "2")), 4)
