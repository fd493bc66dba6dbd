"""A whole gateway on real sockets for the tests: clock at the anchor, every fixture through its own door."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvloop

from fixtures.cases import cases
from fixtures.pacs import serve as serve_pacs
from fixtures.times import ANCHOR
from gateway.app import Gateway
from gateway.inbound.mllp import send
from gateway.model.context import Role
from gateway.model.resource import Json, loads
from gateway.model.times import Clock
from gateway.security.tokens import Credential, demo_credentials
from gateway.settings import Dicom, General, Http, Limits, Mllp, Settings
from gateway.shipped import shipped

T = TypeVar("T")
TOKENS = {role: f"{role}-test-token-0123456789abcdef" for role in ("doctor", "vendor", "platform", "admin")}
LIS = Credential("lis", "县中医院检验系统厂商", Role.VENDOR, member="county_tcm_hospital")
"""A vendor who sees one member alone; signed in by the test itself."""
PACS = "city_first_pacs"
CARD = "urn:oid:2.16.156.10011.1.3"


def clock_from(start: datetime) -> Clock:
    """A clock that stood at `start` when it was made and runs on."""
    begun = time.monotonic()

    def now() -> datetime:
        return start + timedelta(seconds=time.monotonic() - begun)

    return now


class Alliance:
    """The gateway in a thread of its own; everything a test wants to do to it."""

    def __init__(
        self,
        home: Path,
        *,
        start: datetime = ANCHOR,
        sources: dict[str, dict[str, str]] | None = None,
        mappings: Path | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._loop = uvloop.new_event_loop()  # the loop the gateway runs on for real
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        given = sources or {}
        self.settings = Settings(
            gateway=General(home=str(home), mappings=str(mappings or "")),
            http=Http(port=0),
            limits=limits or Limits(),
            mllp=Mllp(port=0),
            dicom=Dicom(port=0),
            source={**given, PACS: {"calling_ae": "CITYPACS", **given.get(PACS, {})}},
        )
        members = [*demo_credentials(TOKENS, doctor_member="township_health_centre"), LIS]
        self.gateway: Gateway = self.run(Gateway.open(self.settings, clock=clock_from(start), credentials=members))
        self.run(self.gateway.start())
        self.url = f"http://127.0.0.1:{self.gateway.http_port}"
        self.client = httpx.Client(base_url=self.url, timeout=30)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the gateway's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def call(self, work: Callable[[], T]) -> T:
        """Run a plain function on the gateway's loop."""

        async def once() -> T:
            return work()

        return self.run(once())

    def load_fixtures(self) -> None:
        """Every member's cases in their order, each through the door its format uses; then wait."""
        for case in cases(shipped("fixtures"), ANCHOR):
            if case.format == "v2":
                self.mllp(case.body)
            else:
                answer = self.push(case.source, case.body, case.file_name)
                assert answer.status_code == 202, (case.name, answer.text)
            self.drain()

    def drain(self) -> None:
        """Until everything kept has its outcome."""
        self.run(self.gateway.worker.drained())

    def mllp(self, message: bytes) -> bytes:
        """One message over a socket of its own; the acknowledgement."""
        return asyncio.run(send("127.0.0.1", self.gateway.mllp_port, [message]))[0]

    def push(self, source: str, body: bytes, name: str = "", *, wait: float = 0) -> httpx.Response:
        """`POST /push/{source}` as the vendor."""
        headers = self.bearer("vendor") | ({"X-File-Name": name} if name.isascii() else {})
        return self.client.post(f"/push/{source}", content=body, headers=headers, params={"wait": wait} if wait else {})

    @staticmethod
    def bearer(role: str) -> dict[str, str]:
        """Authorization header of a role."""
        return {"Authorization": f"Bearer {TOKENS[role]}"}

    def fhir(self, path: str, *, role: str = "platform", **params: str) -> Json:
        """GET below /fhir; decimals as Decimal."""
        answer = self.client.get(f"/fhir/{path}", params=params or None, headers=self.bearer(role))
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return loads(answer.content)

    def found(self, type_: str, **params: str) -> list[Json]:
        """Matches of a search, all in one page."""
        bundle = self.fhir(type_, _count="500", **{key.replace("__", ":"): value for key, value in params.items()})
        return [one["resource"] for one in bundle.get("entry", ()) if one["search"]["mode"] == "match"]

    def person(self, card: str) -> Json:
        """The one Patient with this card."""
        people = self.found("Patient", identifier=f"{CARD}|{card}")
        assert len(people) == 1, f"{len(people)} persons"
        return people[0]

    def of(self, card: str, type_: str, **params: str) -> list[Json]:
        """Resources of a type about the person with this card."""
        return self.found(type_, patient=f"Patient/{self.person(card)['id']}", **params)

    def close(self) -> None:
        """Stop everything."""
        self.client.close()
        self.run(self.gateway.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


def start_alliance(home: Path) -> tuple[Alliance, asyncio.AbstractEventLoop]:
    """The alliance with its stand-in PACS on a loop of its own, fixtures loaded."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    files = [case.body for case in cases(shipped("fixtures"), ANCHOR) if case.format == "dicom"]
    pacs = asyncio.run_coroutine_threadsafe(serve_pacs("127.0.0.1", 0, files), loop).result(60)
    address = f"http://127.0.0.1:{pacs.sockets[0].getsockname()[1]}"
    alliance = Alliance(home, sources={"city_first_pacs": {"address": address}})
    alliance.load_fixtures()
    return alliance, loop
