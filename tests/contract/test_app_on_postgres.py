"""The gateway itself on PostgreSQL: inbox, store and audit are in the database."""

from __future__ import annotations

from pathlib import Path

from fixtures.times import ANCHOR
from gateway.app import Gateway
from gateway.inbound.mllp import send
from gateway.model.context import SYSTEM
from gateway.model.query import Filter, Query
from gateway.model.resource import loads
from gateway.settings import General, Http, Mllp, Settings, StoreUrl
from tests.contract.postgres import TestServer
from tests.flow.alliance import CARD, clock_from
from tests.flow.messages import card, oru


async def test_a_report_becomes_one_history_on_postgres(server: TestServer, tmp_path: Path) -> None:
    settings = Settings(
        gateway=General(home=str(tmp_path)), http=Http(port=0), mllp=Mllp(port=0),
        store=StoreUrl(server.schema()),
    )  # fmt: skip
    gateway = await Gateway.open(settings, clock=clock_from(ANCHOR))
    try:
        await gateway.start()
        answer = (await send("127.0.0.1", gateway.mllp_port, [oru(1, 1)]))[0]
        assert b"MSA|AA|" in answer
        await gateway.worker.drained()
        who = Filter("identifier", "token", (f"{CARD}|{card(1)}",))
        people = await gateway.store.search(Query("Patient", (who,)), SYSTEM)
        assert len(people.matches) == 1
        theirs = (Filter("patient", "reference", (f"Patient/{people.matches[0].id}",)),)
        results = await gateway.store.search(Query("Observation", theirs, count=50, total="accurate"), SYSTEM)
        assert results.total == 20
        codings = [coding for one in results.matches for coding in loads(one.body)["code"]["coding"]]
        assert {"ALT", "Ca"} <= {coding["code"] for coding in codings}
    finally:
        await gateway.close()
    assert [file.name for file in tmp_path.iterdir()] == ["sessions.db"]
