"""An administrator of no member corrects anybody's Patient, and nothing else (design-store §8), on every engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest_asyncio

from gateway.identity.index import PersonIndex
from gateway.identity.workspace import puts_of
from gateway.model.ids import Ids
from gateway.model.message import MergeRequest, SourceRecord
from gateway.model.resource import Json
from gateway.store.base import Plan
from tests.unit.fhir_site import CARD_SYSTEM, DIRECTORY, Site, a_site, an_observation, code_of, matches

SYSTEM_M1 = "urn:oid:1.2.3.1"
CARD = "990101197109020332"


@pytest_asyncio.fixture
async def door(url: str) -> AsyncIterator[Site]:
    async with a_site(url) as made:
        yield made


async def fed(
    door: Site, name: str, phone: str, hours: int = 0, number: str = "1", retired: str = "", **more: Any
) -> str:
    """The Patient after member m1's system said this; retired: a number that is one with it from now on."""
    index = PersonIndex(door.store, Ids(door.store.store_key), door.clock, DIRECTORY)
    patient: Json = {
        "identifier": [{"system": SYSTEM_M1, "value": "1"}],
        "name": [{"text": name}],
        "gender": "male",
        "birthDate": "1971-09-02",
        "telecom": [{"system": "phone", "value": phone}],
    } | more
    said_at = door.clock() + timedelta(hours=hours)
    merges = [MergeRequest(0, "m1", retired)] if retired else []
    made = await index.resolve([SourceRecord("m1", number, patient, said_at)], merges)
    plan = Plan(tuple(puts_of(made)), records=made.records, moves=made.moves, unclaimed=made.unclaimed)
    await door.store.commit(plan)
    return made.patients[0]


async def read(door: Site, person: str) -> Any:
    return (await door.get(f"Patient/{person}")).json()


async def test_what_a_steward_set_reads_back_and_feeds_change_only_the_rest(door: Site) -> None:
    person = await fed(door, "陈明", "13800000001")
    written = {"resourceType": "Patient", "id": person, "name": [{"text": "陈鸣"}], "gender": "female"}
    assert (await door.put(f"Patient/{person}", written)).status_code == 200
    stored = await read(door, person)
    assert (stored["name"], stored["gender"]) == (written["name"], "female")
    await fed(door, "陈明", "13800000002", hours=1)
    stored = await read(door, person)
    assert (stored["name"][0]["text"], stored["gender"]) == ("陈鸣", "female")
    assert stored["telecom"][0]["value"] == "13800000002"


async def test_a_steward_may_patch_a_patient_but_neither_delete_it_nor_change_other_resources(door: Site) -> None:
    person = await fed(door, "陈明", "13800000001")
    patched = await door.patch(
        f"Patient/{person}", [{"op": "add", "path": "/maritalStatus", "value": {"text": "未婚"}}]
    )
    assert patched.status_code == 200 and (await read(door, person))["maritalStatus"] == {"text": "未婚"}
    assert (await door.delete(f"Patient/{person}")).status_code == 403
    result = an_observation(patient=person)
    await door.keep(result, patient=person)
    refused = await door.put(f"Observation/{result['id']}", result)
    assert (refused.status_code, code_of(refused)) == (403, "GW-SEC-002")


async def test_a_patch_sets_what_it_changed_and_feeds_change_the_rest(door: Site) -> None:
    person = await fed(door, "陈明", "13800000001")
    for path, value in (("/name", [{"text": "陈鸣"}]), ("/maritalStatus", {"text": "未婚"})):
        answer = await door.patch(f"Patient/{person}", [{"op": "add", "path": path, "value": value}])
        assert answer.status_code == 200
    stored = await read(door, person)
    assert stored["name"] == [{"text": "陈鸣"}] and stored["telecom"][0]["value"] == "13800000001"
    await fed(door, "陈明", "13800000002", hours=1)
    stored = await read(door, person)
    assert stored["telecom"][0]["value"] == "13800000002"  # no patch spoke of it
    assert (stored["name"], stored["maritalStatus"]) == ([{"text": "陈鸣"}], {"text": "未婚"})


async def test_what_a_patch_removed_no_feed_brings_back_until_it_is_set_again(door: Site) -> None:
    person = await fed(door, "陈明", "13800000001")
    gone = [{"op": "remove", "path": "/telecom"}, {"op": "remove", "path": "/birthDate"}]
    assert (await door.patch(f"Patient/{person}", gone)).status_code == 200
    await fed(door, "陈明", "13800000002", hours=1)
    stored = await read(door, person)
    assert "telecom" not in stored
    assert stored["birthDate"] == "1971-09-02"  # a card is proven by it
    assert (await door.put(f"Patient/{person}", {**stored, "name": [{"text": "陈鸣"}]})).status_code == 200
    await fed(door, "陈明", "13800000003", hours=2)
    assert "telecom" not in await read(door, person)
    phone = [{"system": "phone", "value": "13800000009"}]
    await door.patch(f"Patient/{person}", [{"op": "add", "path": "/telecom", "value": phone}])
    await fed(door, "陈明", "13800000004", hours=3)
    assert (await read(door, person))["telecom"] == phone


async def test_a_patient_a_steward_put_out_of_use_stays_so_and_still_holds_their_card(door: Site) -> None:
    card = {"identifier": [{"system": CARD_SYSTEM, "value": CARD}]}
    person = await fed(door, "陈明", "13800000001", **card)
    answer = await door.patch(f"Patient/{person}", [{"op": "replace", "path": "/active", "value": False}])
    assert answer.status_code == 200
    await fed(door, "陈明", "13800000002", hours=1, **card)
    stored = await read(door, person)
    assert (stored["active"], stored["telecom"][0]["value"]) == (False, "13800000002")
    assert "tag" not in stored["meta"] and matches((await door.get("Patient?name=陈明")).json()) == [
        f"Patient/{person}"
    ]
    assert await fed(door, "陈明", "13800000003", number="2", **card) == person
    assert await fed(door, "陈明", "13800000003", number="3") != person
    await door.patch(f"Patient/{person}", [{"op": "replace", "path": "/active", "value": True}])
    await fed(door, "陈明", "13800000004", hours=2, **card)
    assert (await read(door, person))["active"] is True


async def test_whoever_an_unused_patient_is_merged_into_stays_in_use(door: Site) -> None:
    person, other = await fed(door, "陈明", "13800000001"), await fed(door, "王芳", "13800000002", number="2")
    assert (await door.patch(f"Patient/{person}", [{"op": "replace", "path": "/active", "value": False}])).is_success
    assert await fed(door, "王芳", "13800000003", number="2", hours=1, retired="1") == other
    assert (await read(door, other))["active"] is True and (await read(door, person))["active"] is False


async def test_what_a_steward_contained_and_pointed_to_stays(door: Site) -> None:
    person = await fed(door, "陈明", "13800000001")
    kept: Json = {"contained": [{"resourceType": "Organization", "id": "o", "name": "村卫生室"}],
            "managingOrganization": {"reference": "#o"}}  # fmt: skip
    kept["link"] = [{"other": {"reference": "Patient/brother"}, "type": "seealso"}]
    written = {"resourceType": "Patient", "id": person, "name": [{"text": "陈鸣"}], **kept}
    assert (await door.put(f"Patient/{person}", written)).status_code == 200
    await fed(door, "陈明", "13800000002", hours=1)
    stored = await read(door, person)
    assert {key: stored[key] for key in kept} == kept and stored["telecom"][0]["value"] == "13800000002"


async def test_labels_tags_and_profiles_of_a_patient_survive_feeds_and_merges(door: Site) -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    person = await fed(door, "陈明", "13800000001")
    written = {"resourceType": "Patient", "id": person, "name": [{"text": "陈鸣"}],
               "meta": {"security": [label], "tag": [{"system": "urn:t", "code": "vip"}]}}  # fmt: skip
    assert (await door.put(f"Patient/{person}", written)).status_code == 200
    await fed(door, "陈明", "13800000002", hours=1)
    meta = (await read(door, person))["meta"]
    assert meta["security"] == [label] and meta["tag"] == [{"system": "urn:t", "code": "vip"}]


async def test_a_patch_that_adds_a_proven_card_joins_who_holds_it(door: Site) -> None:
    holder = {"resourceType": "Patient", "gender": "male", "birthDate": "1971-09-02",
              "identifier": [{"system": CARD_SYSTEM, "value": CARD}]}  # fmt: skip
    known = (await door.post("Patient", holder)).headers["location"].split("/")[-3]
    person = await fed(door, "陈明", "13800000001")
    card = {"op": "add", "path": "/identifier/-", "value": holder["identifier"][0]}  # type: ignore[index]
    assert (await door.patch(f"Patient/{person}", [card])).status_code == 200
    links = [one for id_ in (known, person) for one in (await read(door, id_)).get("link", ())]
    assert {one["type"] for one in links} == {"replaces", "replaced-by"}


async def test_an_administrator_of_another_member_changes_no_patient_of_this_one(door: Site) -> None:
    person = await fed(door, "陈明", "13800000001")
    written = {"resourceType": "Patient", "id": person, "name": [{"text": "陈鸣"}]}
    assert (await door.put(f"Patient/{person}", written, role="m2")).status_code == 403
