"""`/metrics` of a whole gateway on both engines: what it counts is what was done, and who may ask."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from fixtures.times import ANCHOR
from gateway import __version__
from gateway.app import Gateway
from gateway.inbox.queue import Arrival
from gateway.model.context import Role
from gateway.security.tokens import Credential, token_digest
from gateway.settings import General, Http, Mllp, Settings, StoreUrl
from tests.flow.alliance import clock_from
from tests.flow.messages import card, oru

ROLES = [Role.MONITOR, Role.ADMIN, Role.DOCTOR, Role.VENDOR, Role.PLATFORM]
SOURCE = 'source="city_first_hospital",format="v2"'
NOTHING = oru(3, 3).replace(b"\rPID|", b"\rPID|1\rXXX|")  # nobody's report


def token(role: Role) -> str:
    return f"{role.value}-token-0123456789"


def bearer(role: Role) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(role)}"}


@pytest_asyncio.fixture
async def gateway(url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    settings = Settings(gateway=General(home=str(tmp_path)), http=Http(port=0), mllp=Mllp(port=0), store=StoreUrl(url))
    people = [Credential(role.value, role.value, role, digest=token_digest(token(role))) for role in ROLES]
    made = await Gateway.open(settings, clock=clock_from(ANCHOR), credentials=people, worker=3)
    await made.start()
    yield made
    await made.close()


@pytest_asyncio.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as client:
        yield client


async def asked(http: httpx.AsyncClient) -> str:
    answer = await http.get("/metrics", headers=bearer(Role.MONITOR))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.text


def values(text: str) -> dict[str, float]:
    """Every sample by its name and labels, as written."""
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


async def test_messages_resources_and_commits_are_counted(gateway: Gateway, http: httpx.AsyncClient) -> None:
    for body in (oru(1, 1), oru(2, 2), NOTHING):
        await gateway.intake.v2(body)
        await gateway.worker.drained()
    await gateway.store.audit_log.seal()
    text = await asked(http)
    found = values(text)
    assert found[f'gateway_messages{{{SOURCE},state="processed"}}'] == 2
    assert found[f'gateway_messages{{{SOURCE},state="quarantined"}}'] == 1
    assert found[f'gateway_messages{{{SOURCE},state="parked"}}'] == 0
    assert found['gateway_resources{type="Patient"}'] == 2
    assert found['gateway_resources{type="Observation"}'] == 40
    assert found['gateway_member_newest_timestamp_seconds{member="city_first_hospital"}'] >= ANCHOR.timestamp()
    assert found["gateway_backlog_bytes"] == found["gateway_backlog_oldest_seconds"] == 0
    done = gateway.store.figures
    assert found['gateway_commit_seconds_count{worker="3"}'] == (await done()).commits.count >= 2
    assert found['gateway_commit_writes_total{worker="3"}'] >= found['gateway_commit_seconds_count{worker="3"}']
    assert 0 < found['gateway_commit_seconds_sum{worker="3"}'] < 60
    assert not any(token(role) in text for role in ROLES)
    assert card(1) not in text and not re.search(r"\d{17}[\dX]", text)


async def test_what_waits_is_told_with_its_age(gateway: Gateway, http: httpx.AsyncClient) -> None:
    await gateway.worker.stop()
    body = oru(1, 1)
    long_ago = datetime.fromtimestamp(ANCHOR.timestamp() - 600, ANCHOR.tzinfo)
    await gateway.inbox.messages.keep(Arrival("city_first_hospital", "v2", body, long_ago))
    found = values(await asked(http))
    assert found[f'gateway_messages{{{SOURCE},state="received"}}'] == 1
    assert found["gateway_backlog_bytes"] == len(body)
    assert 600 <= found["gateway_backlog_oldest_seconds"] < 700


async def test_requests_are_counted_by_what_they_are_and_how_they_end(http: httpx.AsyncClient) -> None:
    for path, role in (
        ("/fhir/metadata", None),
        ("/fhir/Patient?name=zhang", Role.PLATFORM),
        ("/fhir/Patient?name=li", Role.PLATFORM),
        ("/fhir/Patient/nobody", Role.PLATFORM),
        ("/fhir/Patient/nobody", None),
        ("/fhir/Nonsense", Role.PLATFORM),
        ("/health/live", None),
        ("/990101195803120115/wp-login.php", None),
    ):
        await http.get(path, headers=bearer(role) if role else {})
    found = values(await asked(http))
    counted = {key: value for key, value in found.items() if key.startswith("gateway_http_request_seconds_count")}
    expected = {
        ("fhir", "capabilities", "2xx"): 1, ("fhir", "search-type", "2xx"): 2, ("fhir", "read", "4xx"): 2,
        ("fhir", "", "4xx"): 1, ("health", "", "2xx"): 1, ("other", "", "4xx"): 1,
    }  # fmt: skip
    name = "gateway_http_request_seconds"
    labels = 'door="{}",interaction="{}",status="{}",worker="3"'
    assert counted == {f"{name}_count{{{labels.format(*one)}}}": count for one, count in expected.items()}
    searches = labels.format("fhir", "search-type", "2xx")
    buckets = [value for key, value in found.items() if key.startswith(f"{name}_bucket{{{searches}")]
    assert buckets == sorted(buckets) and buckets[-1] == 2 and len(buckets) == 19
    assert 0 < found[f"{name}_sum{{{searches}}}"] < 60


async def test_a_process_says_its_release_memory_and_time(http: httpx.AsyncClient) -> None:
    found = values(await asked(http))
    assert found[f'gateway_info{{version="{__version__}",worker="3"}}'] == 1
    assert 10 * 2**20 < found['process_resident_memory_bytes{worker="3"}'] < 8 * 2**30
    assert found['process_cpu_seconds_total{worker="3"}'] > 0
    assert found['process_start_time_seconds{worker="3"}'] >= ANCHOR.timestamp()


async def test_rows_not_chained_yet_are_counted(gateway: Gateway, http: httpx.AsyncClient) -> None:
    seals = gateway.store.audit_log.seal
    await seals()
    async with gateway.store.audit_log._sealing:  # as long as a sealing of this process lasts, none begins
        for _ in range(3):
            await http.get("/fhir/Patient/nobody", headers=bearer(Role.PLATFORM))
        await gateway.intake.v2(oru(1, 1))
        await gateway.worker.drained()
        assert values(await asked(http))["gateway_audit_unchained_rows"] >= 4
    await seals()
    assert values(await asked(http))["gateway_audit_unchained_rows"] == 0


@pytest.mark.parametrize(
    ("role", "status"),
    [(Role.ADMIN, 200), (Role.DOCTOR, 403), (Role.VENDOR, 403), (Role.PLATFORM, 403), (None, 401)],
)
async def test_only_a_monitor_or_an_administrator_may_ask(
    http: httpx.AsyncClient, role: Role | None, status: int
) -> None:
    answer = await http.get("/metrics", headers=bearer(role) if role else {})
    assert answer.status_code == status
    assert (SOURCE.partition(",")[0] in answer.text or "gateway_info" in answer.text) == (status == 200)


async def test_a_monitor_may_ask_for_nothing_else(http: httpx.AsyncClient) -> None:
    for path in ("/fhir/Patient", "/ui/", "/console/"):
        assert (await http.get(path, headers=bearer(Role.MONITOR))).status_code == 403, path
    assert (await http.post("/push/city_first_hospital", content=b"x", headers=bearer(Role.MONITOR))).status_code == 403
