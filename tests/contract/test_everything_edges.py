"""Edges of `$everything` as R4 describes it: what goes along, changed, is hidden, or is written meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.model.resource import Json
from gateway.outbound.operations import everything as operation
from gateway.store.base import Delete, Plan
from tests.unit.fhir_site import Site, a_patient, a_site, an_observation, link, matches

LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
EVERYTHING = "Patient/p1/$everything"


@pytest_asyncio.fixture
async def door(url: str) -> AsyncIterator[Site]:
    async with a_site(url) as made:
        await made.keep({"resourceType": "Organization", "id": "org", "name": "县医院"})
        await made.keep({"resourceType": "Practitioner", "id": "dr", "name": [{"text": "李医生"}]})
        await made.keep({"resourceType": "Practitioner", "id": "nobody", "name": [{"text": "无关"}]})
        await made.keep(a_patient(managingOrganization={"reference": "Organization/org"}), a_patient("p2"))
        yield made


def done_by(id_: str, **more: Any) -> Json:
    return an_observation(id_, performer=[{"reference": "Practitioner/dr"}, {"reference": "Organization/org"}], **more)


def along(bundle: Json) -> list[str]:
    """What goes along, sorted."""
    found = [one["resource"] for one in bundle["entry"] if one["search"]["mode"] == "include"]
    return sorted(f"{one['resourceType']}/{one['id']}" for one in found)


async def asked(door: Site, path: str, role: str = "platform") -> Json:
    answer = await door.get(path, role=role)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


# ---- what supports a record -------------------------------------------------------------------
async def test_who_and_what_a_record_refers_to_goes_along_once(door: Site) -> None:
    await door.keep(done_by("o1"), done_by("o2"))
    bundle = await asked(door, EVERYTHING)
    assert along(bundle) == ["Organization/org", "Practitioner/dr"]
    assert bundle["total"] == 3 and matches(bundle)[0] == "Patient/p1"


async def test_each_page_has_what_its_own_resources_refer_to(door: Site) -> None:
    await door.keep(done_by("o1"), an_observation("o2"))
    first = await asked(door, f"{EVERYTHING}?_count=2")
    assert (matches(first), along(first)) == (["Patient/p1", "Observation/o2"], ["Organization/org"])
    second = await asked(door, link(first, "next").removeprefix("http://gateway/fhir/"))
    assert (matches(second), along(second)) == (["Observation/o1"], ["Organization/org", "Practitioner/dr"])


async def test_nothing_of_another_residents_record_goes_along(door: Site) -> None:
    await door.keep(an_observation("theirs", patient="p2"), patient="p2")
    await door.keep(done_by("o1", focus=[{"reference": "Patient/p2"}], hasMember=[{"reference": "Observation/theirs"}]))
    assert along(await asked(door, EVERYTHING)) == ["Organization/org", "Practitioner/dr"]


async def test_types_and_changes_narrow_what_goes_along_too(door: Site) -> None:
    await door.keep(done_by("o1"))
    assert along(await asked(door, f"{EVERYTHING}?_type=Observation")) == []
    only = await asked(door, f"{EVERYTHING}?_type=Observation,Practitioner")
    assert (matches(only), along(only)) == (["Observation/o1"], ["Practitioner/dr"])
    since = (await asked(door, EVERYTHING))["meta"]["lastUpdated"].replace("+", "%2B")
    await door.keep(done_by("o2"))
    changed = await asked(door, f"{EVERYTHING}?_since={since}")
    assert "Observation/o2" in matches(changed) and "Practitioner/dr" not in along(changed)


async def test_an_encounter_brings_its_staff_and_place(door: Site) -> None:
    encounter: Json = {
        "resourceType": "Encounter", "id": "e1", "status": "finished", "subject": {"reference": "Patient/p1"},
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "serviceProvider": {"reference": "Organization/org"},
    }  # fmt: skip
    await door.keep(encounter, done_by("in", encounter={"reference": "Encounter/e1"}), done_by("out"))
    bundle = await asked(door, "Encounter/e1/$everything")
    assert (matches(bundle), along(bundle)) == (
        ["Encounter/e1", "Observation/in"], ["Organization/org", "Practitioner/dr"],
    )  # fmt: skip
    assert matches(await asked(door, "Encounter/e1/$everything?_type=Observation")) == ["Observation/in"]


# ---- time and presence ------------------------------------------------------------------------
async def test_a_record_without_changes_is_empty_and_one_of_nobody_is_not_found(door: Site) -> None:
    await door.keep(an_observation("o1"))
    empty = await asked(door, f"{EVERYTHING}?_since=2030-01-01")
    assert (matches(empty), empty["total"]) == ([], 0)
    assert (await door.get("Patient/none/$everything")).status_code == 404
    assert (await door.get("Patient/none/$everything?_count=5")).status_code == 404
    await door.keep(an_observation("gone"))
    await door.store.commit(Plan(deletes=(Delete("Observation", "gone"),)))
    assert "Observation/gone" not in matches(await asked(door, EVERYTHING))


async def test_a_deleted_patient_is_gone(door: Site) -> None:
    await door.store.commit(Plan(deletes=(Delete("Patient", "p2"),)))
    assert (await door.get("Patient/p2/$everything")).status_code == 410


@pytest.mark.parametrize(
    ("care", "expected"),
    [
        ("start=2026-02-01", {"feb", "long", "no date"}), ("end=2026-01-31", {"jan", "long", "no date"}),
        ("start=2026-01&end=2026-01", {"jan", "long", "no date"}),
        ("start=2026-02-03T08:00:00%2B08:00", {"feb", "long", "no date"}),
        ("start=2026-02-03T08:00:01%2B08:00", {"long", "no date"}), ("start=2027", {"no date"}),
    ],
)  # fmt: skip
async def test_care_dates_are_taken_with_both_ends(door: Site, care: str, expected: set[str]) -> None:
    names = {"jan": "j", "feb": "f", "long": "l", "no date": "n"}
    long = an_observation("l") | {"effectivePeriod": {"start": "2026-01-20", "end": "2026-03-01"}}
    dateless = an_observation("n")
    del long["effectiveDateTime"], dateless["effectiveDateTime"]
    await door.keep(an_observation("j", effectiveDateTime="2026-01-31"), long, dateless)
    await door.keep(an_observation("f", effectiveDateTime="2026-02-03T08:00:00+08:00"))
    found = matches(await asked(door, f"{EVERYTHING}?{care}&_type=Observation"))
    assert sorted(found) == sorted(f"Observation/{names[one]}" for one in expected)


async def test_a_time_that_ends_before_it_begins_is_refused(door: Site) -> None:
    assert (await door.get(f"{EVERYTHING}?start=2026-02&end=2026-01")).status_code == 400


# ---- policy and streaming ---------------------------------------------------------------------
async def test_neither_parts_nor_pages_give_or_count_what_is_hidden(
    door: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "_AT_ONCE", 2)
    secret = {"security": [LABEL]}
    for n in range(5):
        await door.keep(an_observation(f"o{n}"))
        hidden = an_observation(f"secret{n}", meta=secret, performer=[{"reference": "Practitioner/dr"}])
        assert (await door.put(f"Observation/secret{n}", hidden)).status_code == 201
    shown = ["Patient/p1", *(f"Observation/o{n}" for n in (4, 3, 2, 1, 0))]
    streamed = await asked(door, EVERYTHING, role="doctor")
    assert (matches(streamed), along(streamed)) == (shown, ["Organization/org"])
    assert len(matches(await asked(door, EVERYTHING))) == 11
    one_page = await asked(door, f"{EVERYTHING}?_count=50", role="doctor")
    assert (one_page["total"], along(one_page)) == (6, ["Organization/org"])


async def test_parts_hold_the_moment_of_the_first_and_give_what_goes_along_once(
    door: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "_AT_ONCE", 2)
    await door.keep(*(done_by(f"o{n}") for n in range(6)))
    whole, writing = door.store.whole, iter(range(99))

    async def busy(*args: Any) -> Any:
        found = await whole(*args)
        await door.keep(done_by(f"late{next(writing)}"), done_by("o0", value="9.9"))
        return found

    monkeypatch.setattr(door.store, "whole", busy)
    bundle = await asked(door, EVERYTHING)
    assert sorted(matches(bundle)) == sorted(["Patient/p1", *(f"Observation/o{n}" for n in range(6))])
    assert along(bundle) == ["Organization/org", "Practitioner/dr"]
    assert next(writing) > 3
