"""`Observation/$lastn` as R4 describes it, edge by edge, on every engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.model.resource import Json
from tests.unit.fhir_site import Site, a_patient, a_site, an_observation, link, matches

LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
BASE = "Observation/$lastn?patient=p1"


@pytest_asyncio.fixture
async def door(url: str) -> AsyncIterator[Site]:
    async with a_site(url) as made:
        await made.keep(a_patient(), a_patient("p2"))
        yield made


def coded(id_: str, day: str, *codes: str, text: str = "", **more: object) -> Json:
    """A result of a day; codes are of one system, none for words alone."""
    code: Json = {"coding": [{"system": "urn:test", "code": one} for one in codes]} if codes else {}
    return an_observation(id_, code=code | ({"text": text} if text else {}), effectiveDateTime=day, **more)


async def last(door: Site, more: str = "", role: str = "platform") -> list[str]:
    answer = await door.get(BASE + more, role=role)
    assert answer.status_code == 200, answer.text
    return [one.removeprefix("Observation/") for one in matches(answer.json())]


async def test_results_of_one_moment_belong_together(door: Site) -> None:
    await door.keep(
        coded("old", "2026-03-01", "K"), coded("a", "2026-03-02T08:00:00+08:00", "K"),
        coded("b", "2026-03-02T00:00:00Z", "K"), coded("new", "2026-03-03", "K"),
    )  # fmt: skip
    assert await last(door) == ["new"]
    assert sorted(await last(door, "&max=2")) == ["a", "b", "new"]
    assert await last(door, "&max=2") == await last(door, "&max=3")
    assert (await last(door, "&max=4"))[-1] == "old"


async def test_results_without_a_time_come_last_and_are_of_no_one_moment(door: Site) -> None:
    timeless = [coded(id_, "", "K") for id_ in ("x", "y")]
    for one in timeless:
        del one["effectiveDateTime"]
    await door.keep(*timeless, coded("dated", "2019", "K"))
    assert await last(door) == ["dated"]
    assert len(await last(door, "&max=2")) == 2


async def test_codes_that_share_a_coding_are_one_group_also_by_way_of_a_third(door: Site) -> None:
    await door.keep(coded("both", "2026-03-01", "local", "loinc"), coded("l", "2026-03-02", "local"))
    await door.keep(coded("n", "2026-03-03", "loinc"), coded("other", "2026-03-04", "else"))
    assert await last(door) == ["other", "n"]
    assert await last(door, "&max=2") == ["other", "n", "l"]
    assert await last(door, "&max=3") == ["other", "n", "l", "both"]


async def test_codes_with_nothing_in_common_stay_apart(door: Site) -> None:
    await door.keep(coded("a", "2026-03-01", "A"), coded("b", "2026-03-02", "B"), coded("x", "2026-03-03", "C"))
    other = an_observation("y", code={"coding": [{"system": "urn:other", "code": "C"}]}, effectiveDateTime="2026-03-04")
    await door.keep(other)
    assert await last(door) == ["y", "x", "b", "a"]


async def test_words_alone_are_grouped_as_written_and_are_no_code(door: Site) -> None:
    await door.keep(coded("w1", "2026-03-01", text="血钾"), coded("w2", "2026-03-02", text="血钾"))
    await door.keep(coded("w3", "2026-03-03", text="血 钾"))
    bare = an_observation("code", code={"coding": [{"code": "血钾"}]}, effectiveDateTime="2026-03-04")
    await door.keep(bare)
    assert await last(door) == ["code", "w3", "w2"]


async def test_a_period_stands_where_it_begins(door: Site) -> None:
    long = coded("long", "", "K") | {"effectivePeriod": {"start": "2026-03-02", "end": "2026-12-31"}}
    del long["effectiveDateTime"]
    await door.keep(long, coded("late", "2026-03-03", "K"), coded("same", "2026-03-02", "K"))
    assert await last(door) == ["late"]
    assert sorted(await last(door, "&max=2")) == ["late", "long", "same"]


async def test_other_parameters_narrow_before_the_newest_are_taken(door: Site) -> None:
    lab = [{"coding": [{"system": "urn:category", "code": "laboratory"}]}]
    await door.keep(coded("lab", "2026-03-01", "K", category=lab), coded("other", "2026-03-02", "K"))
    await door.keep(coded("wrong", "2026-03-03", "NA", status="entered-in-error"))
    assert await last(door, "&category=laboratory") == ["lab"]
    assert await last(door, "&code=urn:test|K") == ["other"]
    assert await last(door, "&date=lt2026-03-02") == ["lab"]
    assert await last(door) == ["wrong", "other"]  # unless filtered by status, what was wrong comes too
    assert await last(door, "&status:not=entered-in-error") == ["other"]
    assert await last(door, "&code=nobody") == []


async def test_it_is_about_one_resident_however_named(door: Site) -> None:
    await door.keep(coded("mine", "2026-03-01", "K"))
    await door.keep(an_observation("theirs", patient="p2"), patient="p2")
    for named in ("subject=Patient/p1", "subject:Patient=p1", "patient=Patient/p1"):
        answer = await door.get(f"Observation/$lastn?{named}")
        assert matches(answer.json()) == ["Observation/mine"], named
    for wrong in ("", "patient=p1,p2", "code=K", "patient.name=x", "patient:missing=true", "patient=p1&max=0",
                  "patient=p1&max=101", "patient=p1&max=x", "patient=p1&colour=x"):  # fmt: skip
        assert (await door.get(f"Observation/$lastn?{wrong}")).status_code == 400, wrong


async def test_what_makes_no_sense_here_is_said_to_be_ignored(door: Site) -> None:
    await door.keep(coded("a", "2026-03-01", "A"), coded("b", "2026-03-02", "B"))
    bundle = (await door.get(f"{BASE}&_sort=date&_count=1&_include=Observation:subject")).json()
    assert matches(bundle) == ["Observation/b", "Observation/a"]
    remarks = [one["resource"] for one in bundle["entry"] if one["search"]["mode"] == "outcome"]
    assert [issue["expression"] for issue in remarks[0]["issue"]] == [["_sort"], ["_count"], ["_include"]]
    assert link(bundle, "self").endswith("Observation/$lastn?patient=p1")


async def test_what_the_caller_may_not_see_is_not_the_newest(door: Site) -> None:
    await door.keep(coded("open", "2026-03-01", "K"))
    secret = coded("secret", "2026-03-02", "K", meta={"security": [LABEL]})
    assert (await door.put("Observation/secret", secret)).status_code == 201
    assert await last(door) == ["secret"]
    assert await last(door, role="doctor") == ["open"]


@pytest.mark.parametrize("role", ["platform", "doctor"])
async def test_of_a_superseded_resident_it_is_the_survivors(door: Site, role: str) -> None:
    merged = a_patient("old", active=False, link=[{"type": "replaced-by", "other": {"reference": "Patient/p1"}}])
    await door.keep(merged, coded("mine", "2026-03-01", "K"))
    answer = await door.get("Observation/$lastn?patient=old", role=role)
    assert matches(answer.json()) == ["Observation/mine"]
