"""`$everything` of a Patient and of an Encounter through the FHIR door, on every engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.model.resource import Json
from gateway.outbound.operations import everything as operation
from tests.unit.fhir_site import Site, a_patient, a_site, an_observation, code_of, link, matches

LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


@pytest_asyncio.fixture
async def door(url: str) -> AsyncIterator[Site]:
    async with a_site(url) as made:
        yield made


def an_encounter(id_: str = "e1", patient: str = "p1", **more: object) -> Json:
    return {
        "resourceType": "Encounter", "id": id_, "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": f"Patient/{patient}"},
    } | more  # fmt: skip


async def walked(door: Site, path: str, between: list[Json] | None = None, role: str = "platform") -> list[str]:
    """Every entry of all pages; after each page one more of `between` is written."""
    seen: list[str] = []
    while path:
        answer = await door.get(path, role=role)
        assert answer.status_code == 200, answer.text
        seen += matches(answer.json())
        path = link(answer.json(), "next").removeprefix("http://gateway/fhir/")
        if between:
            await door.keep(between.pop())
    return seen


async def test_pages_hold_the_moment_of_the_first_while_others_write(door: Site) -> None:
    await door.keep(a_patient())
    for n in range(5):
        await door.keep(an_observation(f"o{n}"))
    # Lies in the record by its subject though another's row: found by postings alone.
    await door.keep(an_observation("away"), patient="p2")
    late = [an_observation("o1", value="9.9"), an_observation("late1"), an_observation("o3", value="9.9")]
    seen = await walked(door, "Patient/p1/$everything?_count=2", late)
    assert seen[0] == "Patient/p1"
    assert sorted(seen) == sorted(["Patient/p1", "Observation/away", *(f"Observation/o{n}" for n in range(5))])
    after = await walked(door, "Patient/p1/$everything?_count=1")
    assert sorted(after) == sorted([*seen, "Observation/late1"])


async def test_a_page_link_serves_its_user_and_its_record_alone_and_for_its_life(door: Site) -> None:
    await door.keep(a_patient(), a_patient("p2"), an_observation(), an_observation("o2"))
    following = link((await door.get("Patient/p1/$everything?_count=1")).json(), "next")
    token = following.partition("?")[2]
    for path, role in ((f"Patient/p2/$everything?{token}", "platform"), (f"Patient/p1/$everything?{token}", "doctor"),
                       (f"Patient/p1/$everything?{token}x", "platform")):  # fmt: skip
        assert (await door.get(path, role=role)).status_code == 400
    door.clock.now = door.clock.now.replace(hour=23)
    answer = await door.get(f"Patient/p1/$everything?{token}")
    assert (answer.status_code, code_of(answer)) == (410, "GW-FHR-006")


async def test_it_narrows_by_type_by_change_and_by_the_time_of_care(door: Site) -> None:
    await door.keep(a_patient(), an_observation("old", effectiveDateTime="2020-05-01"), an_encounter())
    since = (await door.get("Patient/p1/$everything")).json()["meta"]["lastUpdated"]
    await door.keep(an_observation("new", effectiveDateTime="2026-03-01"))
    base = "Patient/p1/$everything?"
    assert await walked(door, f"{base}_type=Observation") == ["Observation/new", "Observation/old"]
    assert await walked(door, f"{base}_type=Observation&_type=Encounter&_count=1") == [
        "Observation/new", "Encounter/e1", "Observation/old",
    ]  # fmt: skip
    assert "Observation/new" in await walked(door, f"{base}_since={since}".replace("+", "%2B"))
    assert "Observation/old" in await walked(door, f"{base}end=2020")
    # No date of care: it belongs to every time, as the Patient does, born in 1958.
    assert await walked(door, f"{base}start=2026&end=2026-12") == ["Patient/p1", "Observation/new", "Encounter/e1"]
    assert await walked(door, f"{base}start=2020-05-01&end=2020-05-01&_count=1") == [
        "Patient/p1", "Encounter/e1", "Observation/old",
    ]  # fmt: skip
    for wrong in ("start=soon", "_since=x", "_count=0", "_type=Nonsense", "colour=red"):
        assert (await door.get(base + wrong)).status_code == 400, wrong


async def test_a_superseded_patient_leads_to_the_survivor_on_every_page(door: Site) -> None:
    merged = a_patient("old", active=False, link=[{"type": "replaced-by", "other": {"reference": "Patient/p1"}}])
    await door.keep(a_patient(), an_observation(), an_observation("o2"), merged)
    path, seen = "Patient/old/$everything?_count=2", list[str]()
    while path:
        bundle = (await door.get(path)).json()
        remark = next(one["resource"] for one in bundle["entry"] if one["search"]["mode"] == "outcome")
        assert "Patient/p1" in remark["issue"][0]["diagnostics"]
        seen += matches(bundle)
        path = link(bundle, "next").removeprefix("http://gateway/fhir/")
    assert seen[0] == "Patient/p1" and sorted(seen[1:]) == ["Observation/o1", "Observation/o2"]


async def test_an_encounter_gives_itself_and_what_was_done_in_it(door: Site) -> None:
    inside = {"encounter": {"reference": "Encounter/e1"}}
    await door.keep(a_patient(), an_encounter(), an_encounter("e2"), an_observation("other"))
    await door.keep(an_observation("o1", **inside), an_observation("o2", **inside))
    whole = await walked(door, "Encounter/e1/$everything")
    assert whole[0] == "Encounter/e1" and sorted(whole[1:]) == ["Observation/o1", "Observation/o2"]
    assert await walked(door, "Encounter/e1/$everything?_count=1") == whole
    assert await walked(door, "Encounter/e2/$everything") == ["Encounter/e2"]
    assert (await door.get("Encounter/none/$everything")).status_code == 404
    assert (await door.get("Encounter/e1/$everything?start=2020")).status_code == 400
    row = (await door.audits(subtype="operation"))[-1]
    assert row.patients == ("p1",) and row.entities == ("Encounter/e1",)


async def test_a_long_record_leaves_in_parts_each_audited_before_it_goes(
    door: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "_AT_ONCE", 3)
    await door.keep(a_patient(), *(an_observation(f"o{n}") for n in range(7)))
    answer = await door.get("Patient/p1/$everything", **{"Accept-Encoding": "gzip"})
    assert len(matches(answer.json())) == len(set(matches(answer.json()))) == 8
    assert [row.detail for row in await door.audits(subtype="operation")] == [
        "2 resources", "3 resources", "3 resources",
    ]  # fmt: skip
    batch: Json = {
        "resourceType": "Bundle", "type": "batch",
        "entry": [{"request": {"method": "GET", "url": "Patient/p1/$everything"}}],
    }  # fmt: skip
    inner = (await door.post("", batch)).json()["entry"][0]["resource"]
    assert matches(inner) == matches(answer.json())


async def test_parameters_may_come_in_a_body(door: Site) -> None:
    await door.keep(a_patient(), an_observation())
    sent: Json = {"resourceType": "Parameters", "parameter": [{"name": "_type", "valueCode": "Observation"}]}
    answer = await door.post("Patient/p1/$everything", sent)
    assert matches(answer.json()) == ["Observation/o1"]
    wrong = await door.post("Patient/p1/$everything", {"resourceType": "Parameters", "parameter": [{"name": "x"}]})
    assert wrong.status_code == 400


async def test_of_all_patients_at_once_it_is_refused_and_says_where_it_belongs(door: Site) -> None:
    answer = await door.get("Patient/$everything")
    assert answer.status_code == 405 and "one resource" in answer.text


async def test_what_the_caller_may_not_see_is_in_no_page(door: Site) -> None:
    await door.keep(a_patient(), an_observation())
    answer = await door.put("Observation/secret", an_observation("secret", meta={"security": [LABEL]}))
    assert answer.status_code == 201, answer.text
    assert "Observation/secret" in await walked(door, "Patient/p1/$everything?_count=1")
    seen = await walked(door, "Patient/p1/$everything?_count=1", role="doctor")
    assert seen == ["Patient/p1", "Observation/o1"]
