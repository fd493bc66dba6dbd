"""`$meta` of a type and of the whole system: which profiles, tags and labels are in use, on every engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.model.resource import Json, dumps
from gateway.outbound.operations import meta as meta_module
from gateway.store.base import Plan
from gateway.store.bodies import prepare
from tests.unit.fhir_site import Site, a_patient, a_site, an_observation, code_of

RESTRICTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
PROFILE = "http://test/fhir/lab|1.0"


@pytest_asyncio.fixture
async def door(url: str) -> AsyncIterator[Site]:
    async with a_site(url) as made:
        yield made


async def keep(door: Site, body: Json, **meta: Any) -> None:
    put = prepare(body["resourceType"], body["id"], dumps(body), patient="p1", member="m1", meta=meta)
    await door.store.commit(Plan(puts=(put,)))


def tag(code: str, **more: str) -> Json:
    return {"system": "urn:t", "code": code} | more


async def told(door: Site, path: str, role: str = "admin") -> Json:
    answer = await door.get(path, role=role)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    if "parameter" not in body:  # R4 knows no empty Meta
        return {}
    (parameter,) = body["parameter"]
    assert parameter["name"] == "return"
    found: Json = parameter["valueMeta"]
    return found


async def test_a_type_and_the_system_tell_every_label_in_use_once(door: Site) -> None:
    assert await told(door, "$meta") == {}
    await keep(door, a_patient(), tag=[tag("vip")])
    for n in range(60):
        await keep(
            door, an_observation(f"o{n}"), tag=[tag("a" if n % 2 else "b,|$", display=f"{n}")], profile=[PROFILE]
        )
    await keep(door, an_observation("bare"))
    await keep(door, an_observation("only"), tag=[{"system": "urn:t"}, {"code": "c"}])
    labels = [{"system": "urn:t"}, tag("a", display="59"), tag("b,|$", display="58"), {"code": "c"}]
    assert await told(door, "Observation/$meta") == {"profile": [PROFILE], "tag": labels}
    assert await told(door, "$meta") == {"profile": [PROFILE], "tag": [*labels[:3], tag("vip"), labels[3]]}
    assert await told(door, "Encounter/$meta") == {}
    posted = await door.post("Patient/$meta", {"resourceType": "Parameters"})
    assert posted.json()["parameter"] == [{"name": "return", "valueMeta": {"tag": [tag("vip")]}}]
    row = (await door.audits(subtype="operation", limit=1))[0]
    assert (row.outcome, row.query) == ("0", "Patient/$meta")


async def test_what_a_caller_may_not_see_or_nobody_uses_any_more_is_not_told(door: Site) -> None:
    await keep(door, an_observation("o1"), security=[RESTRICTED], tag=[tag("secret")])
    await keep(door, an_observation("o2"), tag=[tag("open")])
    assert await told(door, "Observation/$meta") == {"security": [RESTRICTED], "tag": [tag("open"), tag("secret")]}
    assert await told(door, "Observation/$meta", "doctor") == {"tag": [tag("open")]}
    assert (await door.delete("Observation/o2", role="m1")).status_code == 204
    assert await told(door, "Observation/$meta", "doctor") == {}


async def test_more_labels_than_anybody_reads_are_too_costly(door: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta_module, "_MOST", 3)
    for n in range(5):
        await keep(door, an_observation(f"o{n}"), tag=[tag(str(n))])
    answer = await door.get("Observation/$meta", role="admin")
    assert (answer.status_code, code_of(answer)) == (400, "GW-STO-004")
