"""Writes that touch each other, over HTTP: If-Match loses none, overlapping transactions serialise or answer 409."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest_asyncio

from fixtures.times import ANCHOR
from gateway.app import Gateway
from gateway.model.context import Role
from gateway.model.resource import Json
from gateway.security.tokens import Credential, token_digest
from gateway.settings import General, Http, Mllp, Settings, StoreUrl
from tests.flow.alliance import clock_from

TOKEN = "overlap-test-token-0123456789abcdef"
PLACES = [f"Basic/b{number}" for number in range(6)]


@asynccontextmanager
async def serving(url: str, home: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway on loopback and an administrator's client; every answer below 500."""
    settings = Settings(
        gateway=General(home=str(home)), http=Http(port=0), mllp=Mllp(port=-1),
        store=StoreUrl("" if url.startswith("sqlite") else url),
    )  # fmt: skip
    admin = Credential("a", "a", Role.ADMIN, "", digest=token_digest(TOKEN))
    gateway = await Gateway.open(settings, clock=clock_from(ANCHOR), credentials=[admin])
    await gateway.start()

    async def refuse_faults(answer: httpx.Response) -> None:
        assert answer.status_code < 500, await answer.aread()

    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/fhir+json"}
    base, hooks = f"http://127.0.0.1:{gateway.http_port}", {"response": [refuse_faults]}
    try:
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60, event_hooks=hooks) as client:
            yield client
    finally:
        await gateway.close()


@pytest_asyncio.fixture
async def client(url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(url, tmp_path) as made:
        for place in PLACES:
            assert (await made.put(f"/fhir/{place}", json=counted(place, 0))).status_code == 201
        yield made


def counted(place: str, count: int) -> Json:
    """A resource that says how often it was counted up."""
    return {"resourceType": "Basic", "id": place.partition("/")[2], "code": {"text": str(count)}}


async def read(client: httpx.AsyncClient, place: str) -> tuple[int, str]:
    """(count, ETag)."""
    answer = await client.get(f"/fhir/{place}")
    return int(answer.json()["code"]["text"]), answer.headers["etag"]


async def test_parallel_updates_under_if_match_lose_none(client: httpx.AsyncClient) -> None:
    """Everybody counts the same resource up until told that it was done."""

    async def count_up(times: int) -> None:
        done = 0
        while done < times:
            count, etag = await read(client, PLACES[0])
            answer = await client.put(
                f"/fhir/{PLACES[0]}", json=counted(PLACES[0], count + 1), headers={"If-Match": etag}
            )
            assert answer.status_code in (200, 409, 412), answer.text
            done += answer.status_code == 200

    await asyncio.gather(*(count_up(3) for _ in range(6)))
    assert await read(client, PLACES[0]) == (18, 'W/"19"')


async def test_transactions_over_random_overlapping_sets_serialise_or_say_409(client: httpx.AsyncClient) -> None:
    """Each counts several resources up at once, or none: the counts are those of the transactions acknowledged."""
    acknowledged: Counter[str] = Counter()
    statuses: Counter[int] = Counter()

    async def transact(luck: random.Random) -> None:
        places = luck.sample(PLACES, luck.randint(2, 4))
        held = {place: await read(client, place) for place in places}
        entries = [
            {"resource": counted(place, held[place][0] + 1),
             "request": {"method": "PUT", "url": place, "ifMatch": held[place][1]}}
            for place in places
        ]  # fmt: skip
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        answer = await client.post("/fhir", json=bundle)
        statuses[answer.status_code] += 1
        assert answer.status_code in (200, 409, 412), answer.text
        if answer.status_code == 200:
            acknowledged.update(places)
            versions = {one["response"]["lastModified"] for one in answer.json()["entry"]}
            assert len(versions) == 1

    async def worker(seed: int) -> None:
        luck = random.Random(seed)
        for _ in range(4):
            await transact(luck)

    await asyncio.gather(*map(worker, range(6)))
    assert statuses[200] >= 4 and statuses.keys() <= {200, 409, 412}
    for place in PLACES:
        count, etag = await read(client, place)
        assert (count, etag) == (acknowledged[place], f'W/"{acknowledged[place] + 1}"'), place
    await _nothing_is_bricked(client)


async def test_unguarded_transactions_in_any_order_of_entries_all_come_through(client: httpx.AsyncClient) -> None:
    """Without If-Match the later wins as a whole: no mixture of two transactions that wrote the same set."""

    async def write(number: int) -> int:
        places = random.Random(number).sample(PLACES, len(PLACES))
        entries = [
            {"resource": counted(place, 1000 + number), "request": {"method": "PUT", "url": place}} for place in places
        ]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        return (await client.post("/fhir", json=bundle)).status_code

    statuses = Counter(await asyncio.gather(*map(write, range(8))))
    assert statuses.keys() <= {200, 409} and statuses[200] >= 4
    assert len({(await read(client, place))[0] for place in PLACES}) == 1
    await _nothing_is_bricked(client)


async def _nothing_is_bricked(client: httpx.AsyncClient) -> None:
    for place in PLACES:
        count, etag = await read(client, place)
        done = await client.put(f"/fhir/{place}", json=counted(place, count + 1), headers={"If-Match": etag})
        assert done.status_code == 200
