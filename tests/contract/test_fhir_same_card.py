"""An existing Patient that claims a card while another write brings a Patient who holds it: one person in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway.identity.index import PersonIndex
from gateway.identity.steward import Steward
from gateway.model.ids import Ids
from gateway.model.resource import Json
from gateway.revise import puts_met
from gateway.store.base import AuditRow
from tests.unit.fhir_site import (
    CARD_SYSTEM,
    DIRECTORY,
    LI,
    Site,
    a_carded_patient,
    a_patient,
    a_site,
    code_of,
    matches,
    without_id,
)


@pytest_asyncio.fixture
async def door(url: str) -> AsyncIterator[Site]:
    async with a_site(url) as made:
        yield made


async def made(door: Site, **more: Any) -> str:
    answer = await door.post("Patient", without_id(a_patient(**more)), role="m1")
    return person_of(answer)


def person_of(answer: httpx.Response) -> str:
    return str(answer.headers["location"]).split("/Patient/")[1].split("/")[0]


def entry(method: str, url: str, resource: Json) -> Json:
    return {"fullUrl": f"urn:uuid:{url}", "resource": resource, "request": {"method": method, "url": url}}


def transaction(*entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


async def holders(door: Site) -> list[str]:
    return matches((await door.get(f"Patient?identifier={CARD_SYSTEM}|{LI}")).json())


async def test_a_claim_beside_a_create_of_the_same_card_ends_with_one_living_holder(door: Site) -> None:
    for turn in range(4):
        person = await made(door)
        put = door.put(f"Patient/{person}", a_carded_patient() | {"id": person}, role="m1")
        posts = [door.post("Patient", without_id(a_carded_patient()), role=role) for role in ("m1", "m2", "admin")]
        answers = await asyncio.gather(put, *posts)
        assert {one.status_code for one in answers} <= {200, 201, 409}, [one.text for one in answers]
        assert len(await holders(door)) == 1, turn
        (holder,) = await holders(door)
        for one in answers[1:]:
            if one.status_code == 201:
                assert (await door.get(f"Patient/{person_of(one)}")).status_code == 200
        stored = (await door.get(f"Patient/{person}")).json()
        led = [link["other"]["reference"] for link in stored.get("link", ()) if link["type"] == "replaced-by"]
        assert led == [holder] or holder == f"Patient/{person}"


async def test_in_one_transaction_the_existing_patient_is_who_the_new_one_is(door: Site) -> None:
    person = await made(door)
    observation: Json = {
        "resourceType": "Observation", "status": "final", "code": {"text": "钾"},
        "subject": {"reference": "urn:uuid:Patient"},
    }  # fmt: skip
    bundle = transaction(
        entry("POST", "Patient", without_id(a_carded_patient())),
        entry("PUT", f"Patient/{person}", a_carded_patient() | {"id": person}),
        entry("POST", "Observation", observation),
    )
    answer = await door.post("", bundle, role="m1")
    assert answer.status_code == 200, answer.text
    created, updated, seen = [one["response"] for one in answer.json()["entry"]]
    assert created["location"].startswith(f"Patient/{person}") and updated["location"].startswith(f"Patient/{person}")
    assert await holders(door) == [f"Patient/{person}"]
    place = "/".join(seen["location"].split("/")[:2])
    assert (await door.get(place)).json()["subject"]["reference"] == f"Patient/{person}"


async def test_two_existing_patients_are_not_made_one_by_one_transaction(door: Site) -> None:
    people = [await made(door), await made(door, name=[{"text": "王芳"}])]
    entries = [entry("PUT", f"Patient/{one}", a_carded_patient() | {"id": one}) for one in people]
    answer = await door.post("", transaction(*entries), role="m1")
    assert (answer.status_code, code_of(answer)) == (400, "GW-FHR-004")
    assert "entry[1]" in answer.json()["issue"][0]["expression"][0] and await holders(door) == []


def of(id_: str, patient: str) -> Json:
    return {
        "resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "钾"},
        "subject": {"reference": patient},
    }  # fmt: skip


async def about(door: Site, id_: str) -> str:
    return str((await door.get(f"Observation/{id_}")).json()["subject"]["reference"])


async def test_an_id_a_client_chose_for_somebody_known_leads_to_that_person(door: Site) -> None:
    known = person_of(await door.post("Patient", without_id(a_carded_patient()), role="m2"))
    await door.put("Observation/early", of("early", "Patient/mine"), role="m1")
    answer = await door.put("Patient/mine", a_carded_patient() | {"id": "mine"}, role="m1")
    assert answer.status_code == 201 and person_of(answer) == known
    await door.put("Observation/late", of("late", "Patient/mine"), role="m1")
    mine = (await door.get("Patient/mine")).json()
    assert mine["active"] is False and mine["link"][0]["other"]["reference"] == f"Patient/{known}"
    assert {await about(door, one) for one in ("early", "late")} == {f"Patient/{known}"}
    assert await holders(door) == [f"Patient/{known}"]
    again = await door.put("Patient/mine", a_carded_patient() | {"id": "mine"}, role="m1")
    assert again.status_code == 200 and person_of(again) == known
    act = (await door.get("Task?code=merged-by-card")).json()["entry"][0]["resource"]
    assert act["for"]["reference"] == "Patient/mine" and act["focus"]["reference"] == f"Patient/{known}"
    await undone(door, act["id"])
    assert (await door.get("Patient/mine")).json().get("active") is not False
    assert {await about(door, one) for one in ("early", "late")} == {"Patient/mine"}


async def undone(door: Site, act: str) -> None:
    people = PersonIndex(door.store, Ids(door.store.store_key), door.clock, DIRECTORY)
    row = AuditRow(
        at=door.clock(), action="U", kind="merge", subtype="merge", outcome="0", user="admin", display="赵管理员",
        role="admin", member="", purpose="HOPERAT",
    )  # fmt: skip
    await Steward(people, door.store, partial(puts_met, door.store)).undo(act, row)


@pytest.mark.parametrize(
    "full_url", ["", "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8", "http://his/fhir/Patient/my"]
)
async def test_in_one_transaction_what_names_that_id_is_filed_with_the_person(door: Site, full_url: str) -> None:
    known = person_of(await door.post("Patient", without_id(a_carded_patient()), role="m2"))
    patient = entry("PUT", "Patient/my", a_carded_patient() | {"id": "my"}) | {"fullUrl": full_url}
    named = full_url if full_url.startswith("urn:") else "Patient/my"
    observation = entry("PUT", "Observation/o", of("o", named)) | {"fullUrl": "http://his/fhir/Observation/o"}
    answer = await door.post("", transaction(patient, observation), role="m1")
    assert answer.status_code == 200, answer.text
    assert await about(door, "o") == f"Patient/{known}"


@pytest.mark.parametrize("known", [False, True])
async def test_two_chosen_ids_of_one_card_are_refused_in_one_transaction(door: Site, known: bool) -> None:
    if known:
        await door.post("Patient", without_id(a_carded_patient()), role="m2")
    both = [entry("PUT", f"Patient/{one}", a_carded_patient() | {"id": one}) for one in ("a", "b")]
    answer = await door.post("", transaction(*both), role="m1")
    assert answer.status_code == 400 and "Bundle.entry[1]" in answer.text
