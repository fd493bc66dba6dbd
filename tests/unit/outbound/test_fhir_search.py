"""Search over HTTP against the real store."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import uvicorn
from fhirpy import AsyncFHIRClient

from gateway.model.resource import Json
from tests.unit.fhir_site import (
    CARD_SYSTEM,
    LI,
    TOKENS,
    Site,
    a_patient,
    a_site,
    an_observation,
    code_of,
    link,
    matches,
)


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as made:
        card = [{"system": CARD_SYSTEM, "value": LI}]
        await made.keep(a_patient(identifier=card), a_patient("p2", name=[{"text": "王秀英"}], gender="female"))
        await made.keep(
            *(an_observation(f"o{n}", effectiveDateTime=f"2026-03-{10 + n}T08:00:00+08:00") for n in range(5))
        )
        yield made


async def found(site: Site, path: str) -> Json:
    answer = await site.get(path)
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


async def test_a_search_gives_matches_with_full_urls_and_a_self_link(site: Site) -> None:
    bundle = await found(site, "Observation?patient=Patient/p1&_count=2&_total=accurate")
    assert bundle["type"] == "searchset" and bundle["total"] == 5 and len(bundle["entry"]) == 2
    first = bundle["entry"][0]
    assert first["fullUrl"] == f"http://gateway/fhir/Observation/{first['resource']['id']}"
    assert link(bundle, "self") == "http://gateway/fhir/Observation?patient=Patient/p1&_count=2&_total=accurate"
    assert "lastUpdated" in bundle["meta"]


async def test_pages_give_each_match_once_also_while_others_write(site: Site) -> None:
    seen, path, number = [], "Observation?patient=p1&_count=2&_sort=-date", 0
    while path:
        bundle = await found(site, path)
        seen += matches(bundle)
        path = link(bundle, "next").removeprefix("http://gateway/fhir/")
        await site.keep(an_observation(f"late{number}", effectiveDateTime="2026-03-19T09:00:00+08:00"))
        number += 1
    assert seen == [f"Observation/o{n}" for n in (4, 3, 2, 1, 0)]


async def test_no_card_number_stands_in_a_link_made_by_the_server(site: Site) -> None:
    await site.keep(*(a_patient(f"t{n}", identifier=[{"system": CARD_SYSTEM, "value": LI}]) for n in range(3)))
    bundle = await found(site, f"Patient?identifier={CARD_SYSTEM}|{LI}&_count=1")
    assert LI in link(bundle, "self") and LI not in link(bundle, "next")
    following = await found(site, link(bundle, "next").removeprefix("http://gateway/fhir/"))
    assert all(LI not in one["url"] for one in following["link"]) and matches(following) != matches(bundle)


async def test_a_search_by_post_keeps_the_card_out_of_every_link(site: Site) -> None:
    async with site.as_("platform") as http:
        answer = await http.post("/fhir/Patient/_search", data={"identifier": f"{CARD_SYSTEM}|{LI}"})
    bundle = answer.json()
    assert matches(bundle) == ["Patient/p1"] and all(LI not in one["url"] for one in bundle["link"])
    again = link(bundle, "self").removeprefix("http://gateway/fhir/")
    assert matches(await found(site, again)) == ["Patient/p1"]
    assert (await site.get(again, role="doctor")).status_code == 400, "the link stays its owner's"
    async with site.as_("platform") as http:
        wrong = await http.post("/fhir/Patient/_search", content=b"{}", headers={"Content-Type": "application/json"})
    assert wrong.status_code == 415


async def test_a_paging_link_is_worth_nothing_when_changed_lent_or_put_to_another_type(site: Site) -> None:
    path = link(await found(site, "Observation?_count=2"), "next").removeprefix("http://gateway/fhir/")
    assert (await site.get(path, role="doctor")).status_code == 400
    assert (await site.get(path.replace("Observation", "Patient"))).status_code == 400
    assert (await site.get(path[:-4] + "AAAA")).status_code == 400
    assert (await site.get(path + "&code=1")).status_code == 400


async def test_an_old_paging_link_is_gone_and_names_a_fresh_one(site: Site) -> None:
    path = link(await found(site, "Observation?_count=2"), "next").removeprefix("http://gateway/fhir/")
    site.clock.now += timedelta(hours=2)
    answer = await site.get(path)
    assert answer.status_code == 410 and "Observation?_page=" in answer.json()["issue"][0]["diagnostics"]


async def test_includes_and_reverse_includes_come_marked(site: Site) -> None:
    bundle = await found(site, "Observation?_id=o1&_include=Observation:subject")
    assert [(e["resource"]["resourceType"], e["search"]["mode"]) for e in bundle["entry"]] == [
        ("Observation", "match"),
        ("Patient", "include"),
    ]
    back = await found(site, "Patient?_id=p1&_revinclude=Observation:subject")
    assert len(back["entry"]) == 6


@pytest.mark.parametrize("query", ["_summary=count", "_count=0", "_count=0&_totalMethod=count"])
async def test_counting_gives_a_total_and_no_matches(site: Site, query: str) -> None:
    bundle = await found(site, f"Observation?patient=p1&{query}")
    assert bundle["total"] == 5 and matches(bundle) == []


async def test_unknown_parameters_are_refused_naming_the_nearest_unless_lenient(site: Site) -> None:
    answer = await site.get("Patient?nmae=x")
    assert answer.status_code == 400 and code_of(answer) == "GW-FHR-003" and "name" in answer.text
    lenient = await site.get("Patient?nmae=x&gender=female", Prefer="handling=lenient")
    assert matches(lenient.json()) == ["Patient/p2"] and link(lenient.json(), "self").endswith("?gender=female")
    assert any(e["search"]["mode"] == "outcome" for e in lenient.json()["entry"])


async def test_elements_cut_each_match(site: Site) -> None:
    bundle = await found(site, "Observation?_id=o1&_elements=status")
    assert set(bundle["entry"][0]["resource"]) == {"resourceType", "id", "meta", "status", "code"}


async def test_elements_leave_whole_what_goes_along(site: Site) -> None:
    asked = "Observation?_id=o1&_include=Observation:subject"
    whole = (await found(site, asked))["entry"][1]["resource"]
    assert (await found(site, f"{asked}&_elements=status"))["entry"][1]["resource"] == whole
    assert "SUBSETTED" in str((await found(site, f"{asked}&_summary=true"))["entry"][1]["resource"])


async def test_a_summary_of_texts_includes_nothing(site: Site) -> None:
    for way in ("_include=Observation:subject", "_revinclude=Observation:derived-from"):
        assert (await site.get(f"Observation?_id=o1&{way}&_summary=text")).status_code == 400


async def test_a_search_for_a_merged_person_gives_the_survivors_and_says_so(site: Site) -> None:
    merged = a_patient("old", active=False, link=[{"type": "replaced-by", "other": {"reference": "Patient/p1"}}])
    await site.keep(merged)
    bundle = await found(site, "Observation?patient=Patient/old")
    assert len(matches(bundle)) == 5
    outcome = next(e["resource"] for e in bundle["entry"] if e["search"]["mode"] == "outcome")
    assert "Patient/p1" in outcome["issue"][0]["diagnostics"]
    assert "Patient/old" not in matches(await found(site, "Patient?gender=male"))
    assert matches(await found(site, "Patient?_id=old")) == ["Patient/old"]
    assert len(matches(await found(site, "Patient/old/$everything"))) == 6


async def test_hostile_searches_are_refused_politely(site: Site) -> None:
    hostile = ["_id=" + ",".join("a" * 500), "name=" + "%E6%9D%8E" * 2000, "date=ge99999", "_sort=" + "-" * 500,
               "value-quantity=x", "_lastUpdated=yesterday", "date=2026-03-20T23",
               "_lastUpdated=ge2026-03-20T2330", "code=|||||", "patient=Patient/", "_count=" + "9" * 400,
               "date=" + "ge2020," * 99, "_include=*", "subject:Patient=1/2/3", "code:in=http://x"]  # fmt: skip
    for query in hostile:
        answer = await site.get(f"Observation?{query}")
        assert answer.status_code < 500, (query, answer.text)
        if answer.status_code >= 400:
            code_of(answer)


# ---- a client of somebody else's --------------------------------------------------------------
@pytest_asyncio.fixture
async def url(site: Site) -> AsyncIterator[str]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(site.app, log_level="warning", lifespan="off", access_log=False))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    assert threading.current_thread() is threading.main_thread()
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/fhir"
    server.should_exit = True
    await task


async def test_fhirpy_searches_counts_follows_pages_and_writes(url: str) -> None:
    client = AsyncFHIRClient(url, authorization=f"Bearer {TOKENS['admin']}")
    everybody = await client.resources("Patient").search(name="李建国").fetch_all()
    assert [one["id"] for one in everybody] == ["p1"]
    assert await client.resources("Observation").search(patient="p1").count() == 5
    assert len(await client.resources("Observation").limit(2).fetch_all()) == 5
    observation = await client.reference("Observation", "o1").to_resource()
    assert (await observation["subject"].to_resource())["id"] == "p1"
    made = client.resource("Basic", code={"text": "转诊单"})
    await made.save()
    made["code"] = {"text": "转诊单 2"}
    await made.save()
    again = await client.reference("Basic", made["id"]).to_resource()
    assert again["code"]["text"] == "转诊单 2" and again["meta"]["versionId"] == "2"
    await made.delete()


async def test_a_search_across_types_and_within_a_compartment(site: Site) -> None:
    await site.keep(an_observation("far", "p2"))
    bundle = await found(site, "?_type=Patient,Observation&_count=3")
    assert (
        len(bundle["entry"]) == 3 and link(bundle, "self") == "http://gateway/fhir?_type=Patient,Observation&_count=3"
    )
    following = await found(site, link(bundle, "next").removeprefix("http://gateway/fhir"))
    assert not set(matches(following)) & set(matches(bundle))
    inside = await found(site, "Patient/p2/Observation")
    assert [one["resource"]["id"] for one in inside["entry"]] == ["far"]
    whole = await found(site, "Patient/p2/*?_total=accurate")
    assert whole["total"] == 2 and {one["resource"]["resourceType"] for one in whole["entry"]} == {
        "Patient",
        "Observation",
    }


@pytest.mark.parametrize("path", ["", "?_count=3", "?_type=Nothing", "?_type=Patient,Observation&name=x"])
async def test_a_search_across_types_names_them_and_what_they_share(site: Site, path: str) -> None:
    assert (await site.get(path)).status_code == 400


async def test_a_compartment_shows_no_audit(site: Site) -> None:
    assert (await site.get("Patient/p1/AuditEvent", "admin")).status_code in (404, 405)


async def test_a_summary_keeps_what_the_standard_marks(site: Site) -> None:
    bundle = await found(site, "Observation?_id=o1&_summary=true")
    kept = bundle["entry"][0]["resource"]
    assert {"status", "code", "subject", "effectiveDateTime"} <= kept.keys() and kept["meta"]["tag"]
    assert "performer" in kept or "note" not in kept


async def test_a_chain_over_http(site: Site) -> None:
    bundle = await found(site, "Observation?patient.gender=female")
    assert not bundle.get("entry")
    bundle = await found(site, "Patient?_has:Observation:patient:date=2026-03-12")
    assert [one["resource"]["id"] for one in bundle["entry"]] == ["p1"]


async def test_lastn_gives_the_newest_of_each_code(site: Site) -> None:
    bundle = await found(site, "Observation/$lastn?patient=p1")
    assert [one["resource"]["id"] for one in bundle["entry"]] == ["o4"]
    bundle = await found(site, "Observation/$lastn?patient=Patient/p1&max=2")
    assert [one["resource"]["id"] for one in bundle["entry"]] == ["o4", "o3"]
    for wrong in (
        "Observation/$lastn",
        "Observation/$lastn?patient=p1&max=0",
        "Observation/$lastn?patient=p1&colour=x",
    ):
        assert (await site.get(wrong)).status_code == 400
