"""A FHIR door over a real SQLite store, for the tests of reading and writing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from gateway.identity.index import PersonIndex
from gateway.inbound.fhir_write import FhirWrite, WriteParts
from gateway.inbound.preparer import Preparer
from gateway.model.context import AccessContext, Role
from gateway.model.directory import Alliance, Directory, Member
from gateway.model.ids import Ids
from gateway.model.resource import Json, dumps, loads
from gateway.model.times import Clock
from gateway.outbound.fhir_parts import FhirParts, Original
from gateway.outbound.fhir_routes import FhirDoor, smart_routes
from gateway.outbound.fhir_search import finder
from gateway.outbound.operations.everything import EVERYTHING
from gateway.outbound.operations.lastn import LASTN
from gateway.outbound.operations.meta import META
from gateway.outbound.operations.validate import VALIDATE
from gateway.outbound.readers import Readers
from gateway.security.access import Access
from gateway.security.http import Guard
from gateway.security.tokens import Credential, TokenBook, token_digest
from gateway.store.base import AuditQuery, AuditRow, Plan, Store
from gateway.store.bodies import prepare
from gateway.store.index import params
from gateway.store.resources import open_store
from gateway.validate.definitions import resource_types

CARD_SYSTEM = "urn:oid:2.16.156.10011.1.3"
LI = "990101195803120115"
TOKENS = {name: f"{name}-token-{'0' * 20}" for name in ("doctor", "vendor", "platform", "admin", "auditor", "m1", "m2")}


class Time:
    """A clock that moves by a millisecond a call, and further when the test says so."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 20, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


DIRECTORY = Directory(
    {key: Member(key, key, "primary") for key in ("m1", "m2")},
    {},
    {"county": Alliance("county", "县", "m1", frozenset({"m1", "m2"}))},
)


def people() -> list[Credential]:
    """The four roles, and an administrator at each of two members."""
    roles = [("doctor", Role.DOCTOR, "m1"), ("vendor", Role.VENDOR, "m1"), ("platform", Role.PLATFORM, "")]
    roles += [
        ("admin", Role.ADMIN, ""),
        ("auditor", Role.ADMIN, ""),
        ("m1", Role.ADMIN, "m1"),
        ("m2", Role.ADMIN, "m2"),
    ]
    return [Credential(n, n, role, member, digest=token_digest(TOKENS[n])) for n, role, member in roles]


@dataclass
class Site:
    """One running door. `as_` gives a client with a role's token."""

    store: Store
    clock: Time
    app: Guard
    parts: FhirParts
    originals: dict[str, Original]

    def as_(self, role: str, **headers: str) -> httpx.AsyncClient:
        """A client of this role; "" = nobody."""
        given = {"Authorization": f"Bearer {TOKENS[role]}"} if role else {}
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=given | headers)

    async def get(self, path: str, role: str = "platform", **headers: str) -> httpx.Response:
        """GET below /fhir."""
        async with self.as_(role, **headers) as http:
            return await http.get(f"/fhir/{path}")

    async def post(self, path: str, body: Json, role: str = "admin", **headers: str) -> httpx.Response:
        """POST of a resource below /fhir."""
        async with self.as_(role, **({"Content-Type": "application/fhir+json"} | headers)) as http:
            return await http.post(f"/fhir/{path}".rstrip("/"), content=dumps(body))

    async def put(self, path: str, body: Json, role: str = "admin", **headers: str) -> httpx.Response:
        """PUT of a resource."""
        async with self.as_(role, **({"Content-Type": "application/fhir+json"} | headers)) as http:
            return await http.put(f"/fhir/{path}", content=dumps(body))

    async def patch(self, path: str, body: Any, role: str = "admin", **headers: str) -> httpx.Response:
        """PATCH with a JSON Patch."""
        async with self.as_(role, **({"Content-Type": "application/json-patch+json"} | headers)) as http:
            return await http.patch(f"/fhir/{path}", content=dumps(body))

    async def delete(self, path: str, role: str = "admin", **headers: str) -> httpx.Response:
        """DELETE."""
        async with self.as_(role, **headers) as http:
            return await http.delete(f"/fhir/{path}")

    async def keep(self, *bodies: Json, member: str = "m1", patient: str = "") -> None:
        """Store resources as a message of a member would."""
        puts = tuple(
            prepare(
                body["resourceType"], body["id"], dumps(body), patient=patient or _subject(body), src=0,
                member=member, meta={},
            )
            for body in bodies
        )  # fmt: skip
        await self.store.commit(Plan(puts=puts))

    async def audits(self, **wanted: Any) -> list[AuditRow]:
        """Audit rows, newest first."""
        return [row for _, row in await self.store.audits(AuditQuery(**wanted))]


def _subject(body: Json) -> str:
    if body["resourceType"] == "Patient":
        return str(body["id"])
    return str(body.get("subject", {}).get("reference", "")).removeprefix("Patient/")


@asynccontextmanager
async def a_site(
    home: Path | str, real_clock: Clock | None = None, *, deletes: int = 1, preparing: int = 0, reading: int = 0
) -> AsyncIterator[Site]:
    """A door over a fresh store: in a folder, or at the address of one."""
    time = Time()
    clock = real_clock or time
    store = await open_store(home if isinstance(home, str) else f"sqlite:///{home}", clock=clock)
    access = Access(TokenBook(people()), DIRECTORY, key=store.store_key, clock=clock)
    originals: dict[str, Original] = {}

    async def original(key: str, who: AccessContext) -> Original | None:
        return originals.get(key)

    sqlite = not str(home).startswith("postgres")
    readers = Readers(reading if sqlite else 0, Path(str(home).removeprefix("sqlite:///")), store.horizon)
    reading_parts = FhirParts(
        store=store,
        access=access,
        clock=clock,
        lookup=params,
        types=resource_types(),
        version="1.0",
        operations=(*EVERYTHING, LASTN, *META, VALIDATE),
        originals=original,
        search=readers.search,
    )
    index = PersonIndex(store, Ids(store.store_key), clock, DIRECTORY)
    run = FhirDoor(reading_parts).run
    preparer = Preparer(preparing)
    written = WriteParts(store, index, clock, resource_types(), finder(reading_parts), run, preparer, deletes=deletes)
    write = FhirWrite(written)
    parts = replace(reading_parts, write=write)
    try:
        app = Guard(Starlette(routes=smart_routes()), ahead={"fhir": FhirDoor(parts)})
        yield Site(store, time, app, parts, originals)
    finally:
        await preparer.close()
        await readers.close()
        await store.close()


def a_patient(id_: str = "p1", **more: Any) -> Json:
    """A Patient."""
    return {
        "resourceType": "Patient",
        "id": id_,
        "name": [{"text": "李建国"}],
        "gender": "male",
        "birthDate": "1958-03-12",
    } | more


def a_carded_patient(card: str = LI, **more: Any) -> Json:
    """A Patient with a verified card."""
    return a_patient("", **({"identifier": [{"system": CARD_SYSTEM, "value": card}]} | more))


def an_observation(id_: str = "o1", patient: str = "p1", value: str = "1.20", **more: Any) -> Json:
    """A lab item whose digits must stay."""
    quantity = loads(f'{{"value": {value}, "unit": "mg/dL"}}')
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "2160-0"}], "text": "肌酐"},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": "2026-03-19T08:00:00+08:00",
        "valueQuantity": quantity,
    } | more


def without_id(body: Json) -> Json:
    """The body as a client posts it."""
    return {key: value for key, value in body.items() if key != "id"}


def matches(bundle: Json) -> list[str]:
    """`Type/id` of the matches of a searchset."""
    entries = [one for one in bundle.get("entry", ()) if one["search"]["mode"] == "match"]
    return [f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in entries]


def link(bundle: Json, relation: str) -> str:
    """The url of a link, "" when there is none."""
    return next((str(one["url"]) for one in bundle["link"] if one["relation"] == relation), "")


def code_of(answer: httpx.Response) -> str:
    """The GW code of an OperationOutcome."""
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome", body
    issue = body["issue"][0]
    assert issue["details"]["text"] and issue["diagnostics"]
    return str(issue["details"]["coding"][0]["code"])
