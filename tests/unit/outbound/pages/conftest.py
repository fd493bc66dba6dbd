"""The pages over a real store, a real sign-in and a real image proxy, asked through ASGI."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from gateway.identity.search import PersonSearch
from gateway.model.context import AccessContext, Role
from gateway.model.ranges import DeclaredRanges
from gateway.model.resource import Json, dumps, loads
from gateway.outbound.dicom_web import DicomWebParts, Pacs, PacsSettings, dicom_web_routes
from gateway.outbound.fhir_parts import Original
from gateway.outbound.pages.parts import PageParts
from gateway.outbound.pages.routes import page_routes
from gateway.security.access import Access, request_id_of
from gateway.security.http import headers_of
from gateway.security.scopes import Door
from gateway.security.seal import Seal
from gateway.security.signin import hash_password
from gateway.security.tokens import Credential, TokenBook, token_digest
from gateway.store.base import AuditQuery, AuditRow, Plan, RecordPut, Store
from gateway.store.bodies import prepare
from gateway.store.resources import open_store
from tests.builders import M1, M2, M4, NOW
from tests.unit.outbound.pages import residents

TOKENS = {role: f"{role}-token-for-the-page-tests" for role in ("doctor", "vendor", "other")}
PASSWORD = "right horse battery"


class Standing:
    """A clock the test moves."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at


@dataclass
class Ward:
    """The pages of one small alliance."""

    client: httpx.AsyncClient
    store: Store
    clock: Standing
    originals: dict[str, bytes]

    async def get(self, path: str, role: str = "doctor") -> httpx.Response:
        """One page by bearer token."""
        return await self.client.get(path, headers={"Authorization": f"Bearer {TOKENS[role]}"})

    async def sign_in(self) -> str:
        """By name and password; the CSRF token of the session."""
        form = {"user": "zheng", "password": PASSWORD}
        answer = await self.client.post("/ui/signin", data=form)
        assert answer.status_code == 303
        return await self.csrf()

    async def csrf(self) -> str:
        """The token in the start page's forms."""
        found = re.search(r'name="csrf" value="([^"]+)"', (await self.client.get("/ui/")).text)
        assert found
        return found[1]

    async def audit(self, **wanted: str) -> list[AuditRow]:
        """Page and login rows, newest first."""
        return [row for _, row in await self.store.audits(AuditQuery(limit=500, **wanted))]  # type: ignore[arg-type]

    async def put(self, *resources: Json, patient: str, member: str = M1) -> None:
        """Store resources of one resident in one commit."""
        puts = [
            prepare(r["resourceType"], r["id"], dumps(r), patient=patient, member=member)
            for r in (_owned(r, patient) for r in resources)
        ]
        await self.store.commit(Plan(puts=tuple(puts)))


def _owned(resource: Json, patient: str) -> Json:
    """The builders' resource as this resident's own: ids prefixed, references following."""
    out = {**resource, "id": patient if resource["resourceType"] == "Patient" else f"{patient}-{resource['id']}"}
    text = dumps(out).decode()
    text = re.sub(r'"reference":"(?!Patient/)(\w+)/', rf'"reference":"\1/{patient}-', text)
    return loads(text.replace('"Patient/p1"', f'"Patient/{patient}"'))


def _people() -> Iterable[tuple[str, list[Json]]]:
    yield "wu", residents.wu_defu()
    yield "liu", residents.liu_guilan()
    yield "zhao", residents.zhao_li()
    yield "wang", residents.wang_xiuying()
    yield "zhou", residents.zhou_min()


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[Ward]:
    """Five residents, a doctor, a vendor and a doctor of another alliance."""
    clock = Standing()
    store = await open_store(f"sqlite:///{tmp_path}", clock=clock)
    where = residents.directory()
    outside, word = frozenset({"elsewhere"}), hash_password(PASSWORD)
    people = [
        Credential("zheng", "郑医生", Role.DOCTOR, M4, "city_group", token_digest(TOKENS["doctor"]), word),
        Credential("lis", "厂商", Role.VENDOR, M2, "", token_digest(TOKENS["vendor"])),
        Credential("qian", "钱医生", Role.DOCTOR, "elsewhere", "", token_digest(TOKENS["other"]), members=outside),
    ]
    access = Access(TokenBook(people), where, key=b"k" * 32, clock=clock)
    originals: dict[str, bytes] = {}

    async def original(key: str, who: AccessContext) -> Original | None:
        return Original(originals[key], "application/xml") if key in originals else None

    async def caller(request: httpx.Request) -> AccessContext:
        headers = headers_of(request.scope)  # type: ignore[attr-defined]
        return access.enter(Door.DICOM_OUT, request.method, headers, "", request_id_of(headers))

    pacs = Pacs(PacsSettings(probe_timeout_s=0.2), httpx.AsyncClient(trust_env=False), clock)
    parts = PageParts(
        store, where, access, clock, PersonSearch(store, where, clock).find, residents.sheet(), DeclaredRanges(),
        residents.classes(), pacs, original, Seal(b"s" * 32, "pages"),
    )  # fmt: skip
    routes = [*page_routes(parts), *dicom_web_routes(DicomWebParts(store, pacs, clock, caller))]  # type: ignore[arg-type]
    transport = httpx.ASGITransport(Starlette(routes=routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        here = Ward(client, store, clock, originals)
        for patient, resources in _people():
            await here.put(*resources, patient=patient)
        record = RecordPut(M1, "A1", "wu", b'{"resourceType":"Patient"}', "2026-03-01T00:00:00+08:00")
        await store.commit(Plan(records=(record,)))
        yield here
    await pacs.client.aclose()
    await store.close()
