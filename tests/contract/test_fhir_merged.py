"""FHIR writes about a merged Patient act on the survivor, and go back with whom they named when it is undone (§8)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.model.resource import Json, dumps
from gateway.store.base import Move, Plan, src_of
from gateway.store.bodies import prepare
from tests.unit.fhir_site import Site, a_patient, a_site, an_observation, without_id

WRITERS = ("", "m1", "m2")


@pytest_asyncio.fixture
async def door(url: str) -> AsyncIterator[Site]:
    async with a_site(url) as made:
        await made.keep(a_patient("p1"), a_patient("p2"))
        yield made


async def merge(door: Site) -> None:
    """p1 is p2."""
    link = [{"other": {"reference": "Patient/p2"}, "type": "replaced-by"}]
    await _moved(door, "p1", "p2", a_patient("p1", active=False, link=link))


async def undo(door: Site) -> None:
    await _moved(door, "p2", "p1", a_patient("p1"))


async def _moved(door: Site, old: str, new: str, body: Json) -> None:
    put = prepare("Patient", "p1", dumps(body), patient="p1", member="m1")
    srcs = tuple(src_of(member, "p1") for member in WRITERS)
    await door.store.commit(Plan(moves=(Move(srcs, old, new),), puts=(put,)))


async def subject(door: Site, place: str) -> str:
    return str((await door.get(place)).json()["subject"]["reference"])


async def made(door: Site, role: str, patient: str = "p1") -> str:
    answer = await door.post("Observation", without_id(an_observation(patient=patient)), role=role)
    assert answer.status_code == 201, answer.text
    return "/".join(answer.headers["location"].split("/")[-4:-2])


@pytest.mark.parametrize("role", ["admin", "m1"])
async def test_what_names_a_merged_patient_lies_with_the_survivor_until_the_merge_is_undone(
    door: Site, role: str
) -> None:
    await merge(door)
    place = await made(door, role)
    entry = {"resource": an_observation("put"), "request": {"method": "PUT", "url": "Observation/put"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert (await door.post("", bundle, role=role)).status_code == 200
    for one in (place, "Observation/put"):
        assert await subject(door, one) == "Patient/p2"
    await undo(door)
    for one in (place, "Observation/put"):
        assert await subject(door, one) == "Patient/p1"


async def test_a_change_of_what_was_moved_leaves_it_with_its_record(door: Site) -> None:
    places = [await made(door, "m1") for _ in range(4)]
    theirs = await made(door, "m1", "p2")
    await merge(door)
    patch = [{"op": "replace", "path": "/status", "value": "amended"}]
    assert (await door.patch(places[0], patch, role="m1")).status_code == 200
    for place, about in ((places[1], "p2"), (places[2], "p1"), (theirs, "p2")):
        body = an_observation(place.partition("/")[2], patient=about, status="amended")
        assert (await door.put(place, body, role="m1")).status_code == 200
    body = an_observation(places[3].partition("/")[2], patient="p2")
    assert (await door.put(places[3], body | {"subject": {"reference": "Patient/p3"}}, role="m1")).status_code == 200
    assert (await door.put(places[3], body, role="m1")).status_code == 200
    await undo(door)
    assert [await subject(door, one) for one in places[:3]] == ["Patient/p1"] * 3
    assert await subject(door, theirs) == "Patient/p2"
    assert await subject(door, places[3]) == "Patient/p2", "it was said to be about another person in between"
