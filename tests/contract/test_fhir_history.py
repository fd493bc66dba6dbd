"""History of an instance, a type and the whole system through the FHIR door, on every engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio

from gateway.model.resource import Json
from gateway.model.times import instant_text
from tests.unit.fhir_site import Site, a_patient, a_site, an_observation, code_of, link

LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


@pytest_asyncio.fixture
async def door(url: str) -> AsyncIterator[Site]:
    async with a_site(url) as made:
        yield made


def basic(id_: str, text: str, **more: object) -> Json:
    return {"resourceType": "Basic", "id": id_, "code": {"text": text}, **more}


def told(bundle: Json) -> list[str]:
    """`PUT Basic/a 1` for each entry."""
    made = []
    for one in bundle.get("entry", ()):
        place = one["fullUrl"].split("/fhir/")[1]
        version = one["response"]["etag"].strip('W/"')
        made.append(f"{one['request']['method']} {place} {version}")
    return made


async def a_busy_day(door: Site) -> None:
    """Three versions of one resource, one of another type, a deletion; an hour between."""
    for body in (basic("a", "1"), basic("a", "2"), a_patient(), basic("b", "1"), basic("a", "3")):
        await door.put(f"{body['resourceType']}/{body['id']}", body)
        door.clock.now += timedelta(hours=1)
    await door.delete("Basic/b")


ALL = ["DELETE Basic/b 2", "PUT Basic/a 3", "PUT Basic/b 1", "PUT Patient/p1 1", "PUT Basic/a 2", "PUT Basic/a 1"]


async def test_what_the_server_named_began_with_a_post(door: Site) -> None:
    id_ = (await door.post("Basic", {"resourceType": "Basic", "code": {"text": "1"}})).json()["id"]
    await door.put("Basic/mine", basic("mine", "1"))
    mine, its = (await door.get("Basic/_history")).json()["entry"]
    assert mine["request"] == {"method": "PUT", "url": "Basic/mine"} and mine["response"]["status"] == "201"
    assert its["request"] == {"method": "POST", "url": "Basic"} and its["fullUrl"].endswith(id_)


async def test_what_is_put_after_its_deletion_was_created_anew_on_every_page(door: Site) -> None:
    for value in ("1", "2"):
        assert (await door.put("Basic/b", basic("b", value))).status_code in (200, 201)
    await door.delete("Basic/b")
    assert (await door.put("Basic/b", basic("b", "3"))).status_code == 201
    assert (await door.put("Basic/b", basic("b", "4"))).status_code == 200
    for place in ("Basic/b/_history", "Basic/_history", "_history"):
        for count in (1, 2, 50):
            said, path = list[str](), f"{place}?_count={count}"
            while path:
                bundle = (await door.get(path)).json()
                said += [one["response"]["status"] for one in bundle["entry"]]
                path = link(bundle, "next").partition("/fhir/")[2]
            assert said == ["200", "201", "204", "200", "201"], (place, count)


async def test_every_level_tells_its_versions_newest_first(door: Site) -> None:
    await a_busy_day(door)
    basics = [one for one in ALL if "Basic" in one]
    for path, wanted in (
        ("_history", ALL),
        ("Basic/_history", basics),
        ("Basic/a/_history", [one for one in basics if "/a" in one]),
        ("Basic/b/_history", ["DELETE Basic/b 2", "PUT Basic/b 1"]),
        ("Device/_history", []),
    ):
        answer = await door.get(path)
        assert answer.status_code == 200 and told(answer.json()) == wanted, path
    assert (await door.get("Basic/none/_history")).status_code == 404


async def test_pages_hold_one_moment_while_others_write(door: Site) -> None:
    await a_busy_day(door)
    for path in ("_history", "Basic/_history", "Basic/a/_history"):
        whole = told((await door.get(path)).json())
        page = (await door.get(f"{path}?_count=1")).json()
        moment, found = page["meta"]["lastUpdated"], told(page)
        while following := link(page, "next"):
            await door.put("Basic/a", basic("a", f"later {len(found)} {path}"))
            page = (await door.get(following.split("/fhir/")[1])).json()
            assert page["meta"]["lastUpdated"] == moment
            found += told(page)
        assert found == whole, path


async def test_since_the_horizon_of_the_last_pull_nothing_is_missed(door: Site) -> None:
    await a_busy_day(door)
    seen = (await door.get("_history")).json()["meta"]["lastUpdated"]
    door.clock.now += timedelta(hours=1)
    await door.put("Basic/c", basic("c", "1"))
    for path in ("_history", "Basic/_history"):
        async with door.as_("platform") as http:
            answer = await http.get(f"/fhir/{path}", params={"_since": seen})
        assert told(answer.json())[0] == "PUT Basic/c 1" and len(told(answer.json())) == 2
    async with door.as_("platform") as http:
        one = await http.get("/fhir/Basic/a/_history", params={"_since": seen})
    assert told(one.json()) == []


async def test_at_gives_what_was_current_in_a_period(door: Site) -> None:
    start = door.clock.now
    await a_busy_day(door)
    async with door.as_("platform") as http:
        for hours, wanted in (
            (0.5, ["PUT Basic/a 1"]),
            (1.5, ["PUT Basic/a 2"]),
            (3.5, ["PUT Basic/b 1", "PUT Patient/p1 1", "PUT Basic/a 2"]),
        ):
            at = instant_text(start + timedelta(hours=hours))
            answer = await http.get("/fhir/_history", params={"_at": at})
            assert told(answer.json()) == wanted, hours
            of_a = await http.get("/fhir/Basic/a/_history", params={"_at": at})
            assert told(of_a.json()) == [one for one in wanted if "Basic/a" in one]
        whole = await http.get("/fhir/_history", params={"_at": "2026"})
    assert told(whole.json()) == ALL


async def test_versions_are_judged_by_the_label_the_resource_has_now(door: Site) -> None:
    await door.put("Observation/o1", an_observation())
    await door.put("Observation/o2", an_observation("o2"))
    await door.put("Observation/o1", an_observation(value="2", meta={"security": [LABEL]}))
    await door.put(
        "AllergyIntolerance/x",
        {"resourceType": "AllergyIntolerance", "id": "x", "patient": {"reference": "Patient/p1"}},
    )
    for path in ("_history", "Observation/_history"):
        shown = told((await door.get(path, role="doctor")).json())
        assert [one for one in shown if "Observation" in one] == ["PUT Observation/o2 1"]
    assert (await door.get("Observation/o1/_history", role="doctor")).status_code == 404
    assert (await door.get("_history", role="vendor")).status_code == 403
    await door.put("AuditEvent/none", {})
    assert (await door.get("AuditEvent/_history", role="admin")).status_code == 405


async def test_a_page_token_is_signed_and_serves_one_question_of_one_user(door: Site) -> None:
    await a_busy_day(door)
    following = link((await door.get("Basic/_history?_count=1")).json(), "next").split("/fhir/")[1]
    token = following.partition("_page=")[2]
    forged = ("B" if token[0] == "A" else "A") + token[1:]
    for path in (f"Basic/_history?_page={forged}", f"_history?_page={token}", f"Basic?_page={token}"):
        assert code_of(await door.get(path)) == "GW-FHR-004", path
    assert code_of(await door.get(following, role="admin")) == "GW-FHR-004"
    for bad in ("_count=0", "_since=yesterday", "_at=2026-13"):
        assert code_of(await door.get(f"_history?{bad}")) == "GW-FHR-004"
