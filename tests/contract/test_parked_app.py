"""The whole gateway on both engines: what waits survives a restart, runs by itself, and requests meet their reports."""

from __future__ import annotations

from pathlib import Path

from fixtures.times import ANCHOR
from gateway.app import Gateway
from gateway.model.context import SYSTEM
from gateway.model.query import Query
from gateway.model.resource import Json, loads
from gateway.settings import General, Http, Mllp, Settings, StoreUrl
from tests.flow.alliance import clock_from
from tests.flow.test_wrong_order import ADMIT, CANCEL, MERGE, OLD_NUMBER, ORDER, REGISTER, REPORT


async def opened(url: str, home: Path) -> Gateway:
    settings = Settings(
        gateway=General(home=str(home)), http=Http(port=0), mllp=Mllp(port=0), store=StoreUrl(url)
    )  # fmt: skip
    gateway = await Gateway.open(settings, clock=clock_from(ANCHOR))
    await gateway.start()
    return gateway


async def told(gateway: Gateway, *bodies: bytes) -> dict[str, int]:
    """How many messages stand in which state after these."""
    for body in bodies:
        assert b"MSA|AA|" in (await gateway.intake.v2(body)).ack
        await gateway.worker.drained()
    return {state: count for (_, state), count in (await gateway.inbox.messages.counts()).items()}


async def stored(gateway: Gateway, type_: str) -> list[Json]:
    return [loads(one.body) for one in (await gateway.store.search(Query(type_), SYSTEM)).matches]


async def test_what_waits_survives_a_restart_and_runs_when_what_it_waits_for_comes(url: str, tmp_path: Path) -> None:
    first = await opened(url, tmp_path)
    assert await told(first, MERGE, CANCEL, REPORT) == {"parked": 2, "processed": 1}
    assert "reference" not in (await stored(first, "DiagnosticReport"))[0]["basedOn"][0]
    await first.close()
    second = await opened(url, tmp_path)
    try:
        assert await told(second, REGISTER) == {"parked": 2, "processed": 2}
        assert await told(second, OLD_NUMBER) == {"parked": 1, "processed": 4}
        assert await told(second, ADMIT, ORDER) == {"processed": 7}
        (report,), (request,) = await stored(second, "DiagnosticReport"), await stored(second, "ServiceRequest")
        assert report["basedOn"][0]["reference"] == f"ServiceRequest/{request['id']}"
        visits = await stored(second, "Encounter")
        assert sorted(one["status"] for one in visits) == ["cancelled", "in-progress"]
        assert len({one["subject"]["reference"] for one in visits}) == 1, "both numbers are one resident"
    finally:
        await second.close()
