"""A Patient is deleted only while nobody's record lies with them, whenever that record comes (note 0011)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.identity.index import PersonIndex
from gateway.identity.workspace import puts_of
from gateway.model.ids import Ids
from gateway.model.message import SourceRecord
from gateway.model.resource import Json
from gateway.store.base import Committed, Plan
from tests.unit.fhir_site import DIRECTORY, Site, a_patient, a_site, an_observation, code_of, without_id


@pytest_asyncio.fixture
async def door(url: str) -> AsyncIterator[Site]:
    async with a_site(url) as made:
        yield made


async def person(door: Site) -> str:
    answer = await door.post("Patient", without_id(a_patient()), role="m1")
    return str(answer.headers["location"]).split("/Patient/")[1].split("/")[0]


def about(patient: str) -> Json:
    return an_observation("there", patient)


def as_performer(patient: str) -> Json:
    return an_observation("elsewhere", "p9", performer=[{"reference": f"Patient/{patient}"}])


@pytest.mark.parametrize("made", [about, as_performer])
async def test_a_record_committed_between_check_and_deletion_keeps_its_patient(
    door: Site, monkeypatch: pytest.MonkeyPatch, made: object
) -> None:
    id_ = await person(door)
    commit = door.store.commit

    async def overtaken(plan: Plan) -> Committed:
        if plan.deletes:
            monkeypatch.undo()
            await door.keep(made(id_))  # type: ignore[operator]
        return await commit(plan)

    monkeypatch.setattr(door.store, "commit", overtaken)
    refused = await door.delete(f"Patient/{id_}", role="m1")
    assert (refused.status_code, code_of(refused)) == (409, "GW-STO-002"), refused.text
    assert "has records" in refused.text and (await door.get(f"Patient/{id_}")).status_code == 200
    assert (await door.delete(f"Observation/{made(id_)['id']}", role="m1")).status_code == 204  # type: ignore[operator]
    assert (await door.delete(f"Patient/{id_}", role="m1")).status_code == 204


async def test_deletions_beside_creates_never_come_after_them(door: Site) -> None:
    for _ in range(8):
        id_ = await person(door)
        posts = [door.post("Observation", without_id(an_observation(patient=id_)), role="m1") for _ in range(3)]
        answers = await asyncio.gather(posts[0], door.delete(f"Patient/{id_}", role="m1"), *posts[1:])
        assert {one.status_code for one in answers} <= {201, 204, 409}, [one.text for one in answers]
        told = (await door.get("_history?_count=8", role="admin")).json()["entry"]
        places = [one["fullUrl"].split("/fhir/")[1] for one in told]
        later = places[: places.index(f"Patient/{id_}")]
        deleted = answers[1].status_code == 204
        assert (await door.get(f"Patient/{id_}")).status_code == (410 if deleted else 200)
        assert not deleted or sum(place.startswith("Observation/") for place in later) == 3


async def test_one_transaction_takes_a_patient_with_all_their_records_or_leaves_both(door: Site) -> None:
    id_ = await person(door)
    await door.keep(about(id_))
    gone = [{"request": {"method": "DELETE", "url": one}} for one in (f"Patient/{id_}", "Observation/there")]
    new = {"resource": without_id(about(id_)), "request": {"method": "POST", "url": "Observation"}}
    for entries, status in ((gone[:1], 409), ([*gone, new], 409), (gone, 200)):
        answer = await door.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries}, role="m1")
        assert answer.status_code == status, answer.text
    assert (await door.get(f"Patient/{id_}")).status_code == (await door.get("Observation/there")).status_code == 410


async def test_a_patient_sent_again_after_the_deletion_is_there_again(door: Site) -> None:
    index = PersonIndex(door.store, Ids(door.store.store_key), door.clock, DIRECTORY)

    async def fed(phone: str) -> str:
        patient = {"name": [{"text": "陈明"}], "telecom": [{"system": "phone", "value": phone}]}
        made = await index.resolve([SourceRecord("m1", "1", patient, door.clock())])
        await door.store.commit(Plan(tuple(puts_of(made)), records=made.records, rests=made.rests))
        return made.patients[0]

    for phone in ("13800000001", "13800000002"):
        id_ = await fed("13800000001")
        assert (await door.delete(f"Patient/{id_}", role="m1")).status_code == 204
        assert await fed(phone) == id_
        stored = (await door.get(f"Patient/{id_}")).json()
        assert stored["telecom"][0]["value"] == phone and stored["name"] == [{"text": "陈明"}]


async def test_a_patient_of_a_merge_stays(door: Site) -> None:
    for id_, kind, other in (("p1", "replaced-by", "p2"), ("p2", "replaces", "p1")):
        await door.keep(a_patient(id_, link=[{"other": {"reference": f"Patient/{other}"}, "type": kind}]))
    for id_ in ("p1", "p2"):
        refused = await door.delete(f"Patient/{id_}", role="m1")
        assert refused.status_code == 409 and "undo the merge" in refused.text
