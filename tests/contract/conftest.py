"""One suite for every engine: a test takes `site` (or `store`) and runs once an engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.model.times import CHINA
from gateway.store.resources import ResourceStore, open_store
from tests.contract.postgres import TestServer

START = datetime(2026, 3, 20, 9, 0, tzinfo=CHINA)


@dataclass
class Site:
    """A store with a clock that stands until it is moved. `again` closes and opens the same files."""

    url: str
    now: datetime = START
    opened: list[ResourceStore] = field(default_factory=list)

    def clock(self) -> datetime:
        return self.now

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)

    @property
    def store(self) -> ResourceStore:
        return self.opened[-1]

    async def open(self) -> ResourceStore:
        self.opened.append(await open_store(self.url, clock=self.clock))
        return self.store

    async def again(self) -> ResourceStore:
        await self.opened.pop().close()
        return await self.open()


@pytest.fixture(scope="session")
def server() -> Iterator[TestServer]:
    """A PostgreSQL of our own, started when the first test wants it."""
    made = TestServer()
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store can be, once an engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store'}"
    server: TestServer = request.getfixturevalue("server")
    return server.schema()


@pytest_asyncio.fixture
async def site(url: str) -> AsyncIterator[Site]:
    made = Site(url)
    await made.open()
    yield made
    for store in made.opened:
        await store.close()


@pytest.fixture
def store(site: Site) -> ResourceStore:
    return site.store


@pytest_asyncio.fixture
async def two(server: TestServer) -> AsyncIterator[tuple[ResourceStore, ResourceStore]]:
    """Two gateways on one schema, as two processes have them."""
    url = server.schema()
    stores = [await open_store(url, clock=lambda: START) for _ in range(2)]
    yield stores[0], stores[1]
    for store in stores:
        await store.close()
