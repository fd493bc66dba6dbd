"""`gateway serve --workers 2` for real: two processes on one PostgreSQL, on the same ports."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.inbound.mllp import send
from gateway.inbox.queue import open_inbox
from gateway.model.context import SYSTEM
from gateway.model.query import Query
from gateway.model.resource import Json, loads
from gateway.model.times import system_clock
from gateway.store.resources import open_store
from tests.contract.postgres import TestServer
from tests.flow.messages import oru

TOKEN = "operator-test-token-0123456789abcdef"
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
FORM = "application/x-www-form-urlencoded"
SYSTEM_URI = "urn:oid:2.16.156.10011.1.3.99"


@dataclass
class Served:
    """The parent process and where its workers listen."""

    parent: subprocess.Popen[str]
    url: str
    config: Path
    http: int
    mllp: int

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.parent.pid).children()

    def client(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/fhir+json"}
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=0)
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.http}", headers=headers, limits=limits, timeout=60)


@contextlib.contextmanager
def serving(url: str, home: Path) -> Iterator[Served]:
    """Two workers, ready."""
    config = home / "gateway.toml"
    config.write_text(
        f'[gateway]\nhome = "{home}"\n[http]\nport = 0\n[mllp]\nport = 0\n[store]\nurl = "{url}"\n'
        f'[[token]]\nuser = "operator"\nrole = "admin"\ntoken_sha256 = "{DIGEST}"\n'
    )
    command = [sys.executable, "-m", "gateway", "serve", "--workers", "2", "--config", str(config)]
    parent = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"})
    try:
        ports = [_ports(parent) for _ in range(2)]
        assert ports[0] == ports[1]
        yield Served(parent, url, config, *ports[0])
    finally:
        parent.terminate()
        parent.wait(30)


@pytest.fixture(scope="module")
def served(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One pair for the tests of this module, in their order: the last of them stops it."""
    with serving(server.schema(), tmp_path_factory.mktemp("home")) as made:
        yield made


def _ports(parent: subprocess.Popen[str]) -> tuple[int, int]:
    assert parent.stderr is not None
    seen = ""
    for line in parent.stderr:
        seen += line
        if found := re.search(r"http://127\.0\.0\.1:(\d+)  mllp 127\.0\.0\.1:(\d+)", line):
            return int(found[1]), int(found[2])
    raise AssertionError(seen)


async def test_identical_conditional_creates_make_one_beside_plain_creates_of_the_identifier(served: Served) -> None:
    async def create(client: httpx.AsyncClient, number: int, condition: str) -> int:
        body: Json = {"resourceType": "Organization", "name": f"院 {number}",
                      "identifier": [{"system": SYSTEM_URI, "value": condition}]}  # fmt: skip
        headers = {"if-none-exist": f"identifier={SYSTEM_URI}|{condition}"} if number % 2 or condition == "A" else {}
        return (await client.post("/fhir/Organization", json=body, headers=headers)).status_code

    async def held(client: httpx.AsyncClient, value: str) -> int:
        answer = await client.get("/fhir/Organization", params={"identifier": f"{SYSTEM_URI}|{value}", "_count": "100"})
        return len(answer.json().get("entry", []))

    async with served.client() as client:
        alike = await asyncio.gather(*(create(client, number, "A") for number in range(64)))
        assert sorted(alike) == [200] * 63 + [201] and await held(client, "A") == 1
        mixed = await asyncio.gather(*(create(client, number, "B") for number in range(64)))
        plain = [mixed[number] for number in range(0, 64, 2)]
        conditional = [mixed[number] for number in range(1, 64, 2)]
        assert plain == [201] * 32 and set(conditional) <= {200, 201, 412}
        assert conditional.count(201) <= 1 and await held(client, "B") == 32 + conditional.count(201)


async def test_who_signs_in_at_one_worker_is_signed_in_at_all(served: Served) -> None:
    async with served.client() as client:
        del client.headers["authorization"]
        answer = await client.post("/ui/signin", data={"token": TOKEN}, headers={"content-type": FORM})
        assert answer.status_code == 303
        pages = await asyncio.gather(*(client.get("/console/") for _ in range(32)))
        assert {page.status_code for page in pages} == {200}
        await client.post("/ui/signout", headers={"content-type": FORM})
        client.cookies.set("gateway_session", answer.cookies["gateway_session"])
        assert {page.status_code for page in await asyncio.gather(*(client.get("/console/") for _ in range(32)))} == {
            303
        }


async def test_identical_conditional_creates_in_transactions_make_one(served: Served) -> None:
    def bundle(number: int, criteria: str) -> Json:
        named: Json = {"resourceType": "Organization", "name": "同名医院",
                       "identifier": [{"system": SYSTEM_URI, "value": "C"}]}  # fmt: skip
        conditional = {"method": "POST", "url": "Organization", "ifNoneExist": criteria}
        other = {"resourceType": "Basic", "code": {"text": str(number)}}
        entries = [{"resource": named, "request": conditional},
                   {"resource": other, "request": {"method": "POST", "url": "Basic"}}]  # fmt: skip
        return {"resourceType": "Bundle", "type": "transaction", "entry": entries}

    async with served.client() as client:
        for criteria in (f"identifier={SYSTEM_URI}|C", "name:exact=同名医院"):
            found = (await client.get("/fhir/Organization", params={"name:exact": "同名医院"})).json().get("entry", [])
            sent = [client.post("/fhir", json=bundle(number, criteria)) for number in range(64)]
            answers = await asyncio.gather(*sent)
            assert {answer.status_code for answer in answers} == {200}
            said = [[one["response"]["status"][:3] for one in answer.json()["entry"]] for answer in answers]
            assert [two for _, two in said] == ["201"] * 64
            assert sum(one == "201" for one, _ in said) == 1 - len(found)
            places = {answer.json()["entry"][0]["response"]["location"].split("/_history")[0] for answer in answers}
            assert len(places) == 1


async def test_pages_neither_lose_nor_repeat_while_both_processes_write(served: Served) -> None:
    """Every page over a connection of its own, so that another process may answer it than the one before."""
    done, walks = asyncio.Event(), list[tuple[str, dict[str, int]]]()

    async def write(client: httpx.AsyncClient, lane: int) -> None:
        for turn in range(12):
            id_ = f"w{lane}-{turn % 5}"
            body: Json = {"resourceType": "Basic", "id": id_, "code": {"text": f"{lane} {turn}"}}
            answer = await client.put(f"/fhir/Basic/{id_}", json=body)
            assert answer.status_code in (200, 201), answer.text
            if turn % 4 == 3:
                assert (await client.delete(f"/fhir/Basic/w{lane}-{(turn + 2) % 5}")).status_code == 204

    async def walk(client: httpx.AsyncClient) -> None:
        while not done.is_set() or not walks:
            path, moment, found = "/fhir/Basic?_count=4", "", list[tuple[str, int]]()
            while path:
                bundle: Json = (await client.get(path)).json()
                moment = moment or bundle["meta"]["lastUpdated"]
                resources = [one["resource"] for one in bundle.get("entry", [])]
                found += [(one["id"], int(one["meta"]["versionId"])) for one in resources]
                path = next((str(one["url"]) for one in bundle["link"] if one["relation"] == "next"), "")
            assert len(dict(found)) == len(found), "a resource came on two pages"
            walks.append((moment, dict(found)))

    async with served.client() as client:
        pagers = [asyncio.create_task(walk(client)) for _ in range(2)]
        await asyncio.gather(*(write(client, lane) for lane in range(6)))
        done.set()
        await asyncio.gather(*pagers)
        past: Json = (await client.get("/fhir/Basic/_history?_count=1000")).json()
    versions: dict[str, list[tuple[str, int | None]]] = {}
    for one in reversed(past["entry"]):
        said, gone = one["response"], one["request"]["method"] == "DELETE"
        version = None if gone else int(said["etag"].strip('W/"'))
        versions.setdefault(one["fullUrl"].rpartition("/")[2], []).append((said["lastModified"], version))
    assert any(len(found) > 8 for _, found in walks), "no search had pages"
    for moment, found in walks:
        for id_, told in versions.items():
            before = [version for at, version in told if at < moment][-1:] or [None]
            possible = {*before, *(version for at, version in told if at == moment)}
            assert found.get(id_) in possible, (id_, moment)


async def test_a_worker_that_is_killed_is_replaced_and_nothing_acknowledged_is_lost(served: Served) -> None:
    acked: set[int] = set()

    async def sender(lane: int) -> None:
        for number in range(lane * 1000, lane * 1000 + 25):
            while number not in acked:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                    answer = (await send("127.0.0.1", served.mllp, [oru(number, number % 6, items=3)]))[0]
                    assert b"MSA|AA|" in answer
                    acked.add(number)

    senders = [asyncio.create_task(sender(lane)) for lane in range(8)]
    before = {worker.pid for worker in served.workers()}
    while len(acked) < 40:
        await asyncio.sleep(0.02)
    for worker in served.workers():
        worker.send_signal(signal.SIGKILL)
        await asyncio.sleep(1.5)
    await asyncio.wait_for(asyncio.gather(*senders), 60)
    await _drained(served)
    after = {worker.pid for worker in served.workers()}
    assert len(after) == 2 and not after & before
    assert len(acked) == 200
    store = await open_store(served.url, clock=system_clock)
    try:
        page = await store.search(Query("DiagnosticReport", count=1, total="accurate"), SYSTEM)
        assert page.total == 200
        patients = await store.search(Query("Patient", count=50), SYSTEM)
        assert len([one for one in patients.matches if loads(one.body).get("active", True)]) == 6
    finally:
        await store.close()


async def _drained(served: Served) -> None:
    inbox = await open_inbox(Path("/nowhere"), served.url)
    try:
        end = time.monotonic() + 30
        while await inbox.messages.open_count():
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
    finally:
        await inbox.close()


async def test_a_revoked_token_is_refused_by_every_worker_and_by_those_that_start_later(served: Served) -> None:
    async def asked(token: str) -> set[int]:
        headers = {"authorization": f"Bearer {token}"}
        async with served.client() as client:
            found = await asyncio.gather(*(client.get("/fhir/Basic", headers=headers) for _ in range(24)))
        return {answer.status_code for answer in found}

    async def becomes(token: str, status: int) -> None:
        end = time.monotonic() + 15
        while await asked(token) != {status}:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)

    other = TOKEN[::-1]
    text = served.config.read_text()
    served.config.write_text(text.replace(DIGEST, hashlib.sha256(other.encode()).hexdigest()))
    served.parent.send_signal(signal.SIGHUP)
    await becomes(TOKEN, 401)
    await becomes(other, 200)
    served.workers()[0].kill()
    await asyncio.sleep(1.5)
    await becomes(other, 200)
    assert await asked(TOKEN) == {401}
    served.config.write_text(text)
    served.parent.send_signal(signal.SIGHUP)
    await becomes(TOKEN, 200)


async def test_the_parent_told_to_stop_stops_cleanly(served: Served) -> None:
    answers = await send("127.0.0.1", served.mllp, [oru(number, 1, items=2) for number in range(90_000, 90_005)])
    assert all(b"MSA|AA|" in answer for answer in answers)
    children = served.workers()
    served.parent.terminate()
    assert await asyncio.to_thread(served.parent.wait, 20) == 0
    assert not any(child.is_running() for child in children)


async def test_workers_end_with_their_parent(server: TestServer, tmp_path: Path) -> None:
    with serving(server.schema(), tmp_path) as served:
        children = served.workers()
        served.parent.kill()
        gone, alive = await asyncio.to_thread(psutil.wait_procs, children, 20)
        assert len(gone) == 2 and not alive
