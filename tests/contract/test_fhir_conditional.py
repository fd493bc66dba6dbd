"""Conditional interactions, patches and repeated requests through the FHIR door, on every engine."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest_asyncio
from msgspec import structs

from gateway.model.context import SYSTEM
from gateway.model.resource import Json, dumps
from gateway.outbound.fhir_search import finder
from gateway.store.base import Plan
from gateway.store.bodies import prepare
from tests.unit.fhir_site import Site, a_carded_patient, a_patient, a_site, an_observation, code_of, matches, without_id

ORG = {"resourceType": "Organization", "name": "县医院", "identifier": [{"system": "urn:x", "value": "7"}]}
BY_NUMBER = "identifier=urn:x|7"
LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


@pytest_asyncio.fixture
async def door(url: str) -> AsyncIterator[Site]:
    async with a_site(url) as made:
        yield made


def place_of(answer: Any) -> str:
    return "/".join(answer.headers["location"].split("/fhir/")[1].split("/")[:2])


def transaction(*entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def entry(method: str, url: str, resource: Json | None = None, full_url: str = "", **conditions: str) -> Json:
    made: Json = {"request": {"method": method, "url": url, **conditions}}
    if resource is not None:
        made["resource"] = resource
    return made | ({"fullUrl": full_url} if full_url else {})


# ---- none, one, several -----------------------------------------------------------------------
async def test_a_conditional_update_creates_updates_or_refuses_by_the_number_of_matches(door: Site) -> None:
    made = await door.put(f"Organization?{BY_NUMBER}", ORG)
    assert made.status_code == 201 and made.headers["etag"] == 'W/"1"'
    again = await door.put(f"Organization?{BY_NUMBER}", ORG | {"name": "县人民医院"})
    assert again.status_code == 200 and place_of(again) == place_of(made) and again.headers["etag"] == 'W/"2"'
    same = await door.put(f"Organization?{BY_NUMBER}", ORG | {"name": "县人民医院"})
    assert same.headers["etag"] == 'W/"2"'
    await door.post("Organization", ORG)
    several = await door.put(f"Organization?{BY_NUMBER}", ORG)
    assert (several.status_code, code_of(several)) == (412, "GW-STO-003")


async def test_a_conditional_update_minds_the_id_in_the_body(door: Site) -> None:
    named = await door.put(f"Organization?{BY_NUMBER}", ORG | {"id": "mine"})
    assert named.status_code == 201 and place_of(named) == "Organization/mine"
    other = await door.put(f"Organization?{BY_NUMBER}", ORG | {"id": "other"})
    assert (other.status_code, code_of(other)) == (400, "GW-FHR-004")
    taken = await door.put("Organization?identifier=urn:x|8", ORG | {"id": "mine"})
    assert (taken.status_code, code_of(taken)) == (409, "GW-STO-002")


async def test_a_conditional_delete_deletes_one_and_refuses_several(door: Site) -> None:
    assert (await door.delete(f"Organization?{BY_NUMBER}")).status_code == 204
    one = place_of(await door.post("Organization", ORG))
    assert (await door.delete(f"Organization?{BY_NUMBER}")).status_code == 204
    assert (await door.get(one)).status_code == 410
    for _ in range(2):
        await door.post("Organization", ORG)
    assert (await door.delete(f"Organization?{BY_NUMBER}")).status_code == 412
    assert (await door.delete("Organization")).status_code == 400
    assert len(matches((await door.get(f"Organization?{BY_NUMBER}")).json())) == 2


async def test_a_conditional_delete_meets_as_many_as_the_settings_allow(url: str) -> None:
    async with a_site(url, deletes=2) as door:
        made = [place_of(await door.post("Organization", ORG)) for _ in range(2)]
        assert (await door.delete(f"Organization?{BY_NUMBER}")).status_code == 204
        assert [(await door.get(one)).status_code for one in made] == [410, 410]
        for _ in range(3):
            await door.post("Organization", ORG)
        assert (await door.delete(f"Organization?{BY_NUMBER}")).status_code == 412
        assert len(matches((await door.get(f"Organization?{BY_NUMBER}")).json())) == 3


async def test_a_conditional_patch_needs_exactly_one_match(door: Site) -> None:
    rename = [{"op": "replace", "path": "/name", "value": "新名"}]
    assert (await door.patch(f"Organization?{BY_NUMBER}", rename)).status_code == 404
    one = place_of(await door.post("Organization", ORG))
    done = await door.patch(f"Organization?{BY_NUMBER}", rename)
    assert done.status_code == 200 and done.json()["name"] == "新名" and place_of(done) == one
    await door.post("Organization", ORG)
    assert (await door.patch(f"Organization?{BY_NUMBER}", rename)).status_code == 412


async def test_a_condition_tells_nothing_of_what_its_caller_may_not_see(door: Site) -> None:
    await door.post("Organization", ORG | {"meta": {"security": [LABEL]}})
    blind = structs.replace(SYSTEM, labels=0)
    found, condition = await finder(door.parts)("Organization", BY_NUMBER, blind, 2)
    assert found == []
    put = prepare("Organization", "own", dumps(ORG), expect=0)
    done = await door.store.commit(Plan(puts=(put,), conditions=(condition,)))
    assert done.written[0].version == 1


# ---- patch ------------------------------------------------------------------------------------
async def test_a_patch_changes_what_it_names_and_keeps_every_digit(door: Site) -> None:
    one = place_of(await door.post("Observation", without_id(an_observation(value="1.20"))))
    done = await door.patch(one, [{"op": "replace", "path": "/status", "value": "amended"}])
    assert done.status_code == 200 and b'"value":1.20' in done.content and done.headers["etag"] == 'W/"2"'
    assert (await door.get(one)).json()["status"] == "amended"
    assert ("U", "patch") in {(row.action, row.subtype) for row in await door.audits(entity=one)}


async def test_a_patch_that_does_not_fit_changes_nothing(door: Site) -> None:
    one = place_of(await door.post("Observation", without_id(an_observation())))
    cases: list[tuple[list[Json], int, str]] = [
        ([{"op": "test", "path": "/status", "value": "amended"}], 422, "GW-FHR-010"),
        ([{"op": "remove", "path": "/none"}], 422, "GW-FHR-010"),
        ([{"op": "replace", "path": "/id", "value": "other"}], 422, "GW-FHR-010"),
        ([{"op": "replace", "path": "/resourceType", "value": "Basic"}], 422, "GW-FHR-010"),
        ([{"op": "remove", "path": "/status"}], 422, "GW-VAL-001"),
        ([{"op": "add", "path": "/nonsense", "value": 1}], 422, "GW-VAL-001"),
        ([{"op": "nonsense", "path": "/status"}], 400, "GW-VAL-002"),
    ]
    for patch, status, code in cases:
        answer = await door.patch(one, patch)
        assert (answer.status_code, code_of(answer)) == (status, code), patch
    assert (await door.get(one)).headers["etag"] == 'W/"1"'
    wrong = await door.patch(one, [], **{"Content-Type": "text/plain"})
    assert (wrong.status_code, (await door.patch("Observation/none", cases[0][0])).status_code) == (415, 404)


async def test_a_fhirpath_patch_is_parameters_alone_in_a_bundle_and_by_criteria(door: Site) -> None:
    parts = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Organization.name"}]
    fhir = {"Content-Type": "application/fhir+json"}

    def renamed(name: str) -> Json:
        operation = {"name": "operation", "part": [*parts, {"name": "value", "valueString": name}]}
        return {"resourceType": "Parameters", "parameter": [operation]}

    one = place_of(await door.post("Organization", ORG))
    done = await door.patch(one, renamed("一"), **fhir, **{"If-Match": 'W/"1"'})
    assert (done.status_code, done.headers["etag"], done.json()["name"]) == (200, 'W/"2"', "一")
    assert (await door.patch(f"Organization?{BY_NUMBER}", renamed("二"), **fhir)).json()["name"] == "二"
    bundle = transaction(
        entry("PATCH", one, renamed("三")), entry("PATCH", f"Organization?{BY_NUMBER}x", renamed("四"))
    )
    assert (await door.post("", bundle | {"type": "batch"})).json()["entry"][1]["response"]["status"] == "404"
    assert (await door.get(one)).json()["name"] == "三"
    assert (await door.post("", bundle)).status_code == 404 and (await door.get(one)).headers["etag"] == 'W/"4"'
    wrong = renamed("五")
    wrong["parameter"][0]["part"][1]["valueString"] = "Organization.nonsense"
    refused = await door.patch(one, wrong, **fhir)
    assert (refused.status_code, code_of(refused)) == (422, "GW-FHR-010")
    assert "operation[0]" in refused.json()["issue"][0]["expression"][0]
    formats = (await door.get("metadata")).json()["patchFormat"]
    assert formats == ["application/json-patch+json", "application/fhir+json"]


async def test_a_patch_of_versions_and_labels_leaves_them_to_the_server(door: Site) -> None:
    body = {"resourceType": "Basic", "code": {"text": "一"}, "meta": {"security": [LABEL]}}
    one = place_of(await door.post("Basic", body))
    patch = [{"op": "replace", "path": "/meta", "value": {"versionId": "9", "tag": [{"code": "t"}]}}]
    meta = (await door.patch(one, patch)).json()["meta"]
    assert meta["versionId"] == "2" and meta["security"] == [LABEL] and meta["tag"] == [{"code": "t"}]


async def test_if_match_guards_patch_and_delete_too(door: Site) -> None:
    one = place_of(await door.post("Basic", {"resourceType": "Basic", "code": {"text": "一"}}))
    rename = [{"op": "replace", "path": "/code/text", "value": "二"}]
    assert (await door.patch(one, rename, **{"If-Match": 'W/"2"'})).status_code == 412
    assert (await door.patch(one, rename, **{"If-Match": 'W/"1"'})).status_code == 200
    assert (await door.delete(one, **{"If-Match": 'W/"1"'})).status_code == 412
    assert (await door.delete(one, **{"If-Match": 'W/"2"'})).status_code == 204
    body = {"resourceType": "Basic", "id": one[6:], "code": {"text": "三"}}
    answers = [await door.put(one, body, **{"If-None-Match": "*"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 412]


# ---- labels -----------------------------------------------------------------------------------
async def test_labels_come_and_go_by_meta_operations_alone(door: Site) -> None:
    one = place_of(await door.post("Observation", without_id(an_observation(value="1.20"))))
    label = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": [LABEL]}}]}
    added = await door.post(f"{one}/$meta-add", label)
    assert added.status_code == 200 and added.json()["parameter"][0]["valueMeta"]["security"] == [LABEL]
    assert (await door.get(one, role="doctor")).status_code == 404
    await door.put(one, an_observation(one[12:], value="1.30"))
    assert (await door.get(one, role="doctor")).status_code == 404
    gone = await door.post(f"{one}/$meta-delete", label)
    assert gone.status_code == 200, gone.text
    assert "security" not in gone.json()["parameter"][0]["valueMeta"]
    assert b'"value":1.30' in (await door.get(one, role="doctor")).content
    meta = (await door.get(f"{one}/$meta")).json()["parameter"][0]["valueMeta"]
    assert meta["versionId"] == "4"
    assert (await door.post(f"{one}/$meta-add", {"resourceType": "Parameters"})).status_code == 400
    assert (await door.post(f"{one}/$meta-add", label, role="doctor")).status_code == 403


# ---- Idempotency-Key --------------------------------------------------------------------------
async def test_a_repeated_request_gets_the_first_answer_and_writes_nothing(door: Site) -> None:
    body = {"resourceType": "Basic", "code": {"text": "一"}}
    first = await door.post("Basic", body, **{"Idempotency-Key": "k1"})
    again = await door.post("Basic", body, **{"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.headers["location"] == again.headers["location"] and again.headers["idempotency-replayed"] == "true"
    assert first.content == again.content
    other = await door.post("Basic", body | {"code": {"text": "二"}}, **{"Idempotency-Key": "k1"})
    assert (other.status_code, code_of(other)) == (422, "GW-FHR-011")
    elsewhere = await door.post("Basic", body, role="m1", **{"Idempotency-Key": "k1"})
    assert elsewhere.headers["location"] != first.headers["location"]
    assert len(matches((await door.get("Basic")).json())) == 2


async def test_racing_repeats_make_one_and_a_day_later_the_key_is_free(door: Site) -> None:
    body = {"resourceType": "Basic", "code": {"text": "一"}}
    answers = await asyncio.gather(*(door.post("Basic", body, **{"Idempotency-Key": "k"}) for _ in range(16)))
    assert {one.status_code for one in answers} == {201} and len({one.headers["location"] for one in answers}) == 1
    door.clock.now += timedelta(hours=25)
    later = await door.post("Basic", body, **{"Idempotency-Key": "k"})
    assert later.headers["location"] != answers[0].headers["location"]


async def test_a_repeated_transaction_gets_the_same_statuses_and_locations(door: Site) -> None:
    bundle = transaction(
        entry("POST", "Patient", without_id(a_patient()), "urn:uuid:a"),
        entry("POST", "Observation", without_id(an_observation()) | {"subject": {"reference": "urn:uuid:a"}}),
        entry("PUT", f"Organization?{BY_NUMBER}", ORG),
        entry("DELETE", "Basic/none"),
    )
    first, again = [(await door.post("", bundle, **{"Idempotency-Key": "t"})) for _ in range(2)]
    assert first.status_code == 200, first.text
    assert first.json() == again.json() and "idempotency-replayed" in again.headers
    assert len(matches((await door.get("Observation")).json())) == 1


# ---- transactions -----------------------------------------------------------------------------
async def test_entries_may_be_conditional_and_name_one_another_whatever_their_order(door: Site) -> None:
    known = place_of(await door.post("Organization", ORG))
    performers = [{"reference": "urn:uuid:o"}, {"reference": "urn:uuid:n"}]
    observation = without_id(an_observation()) | {"subject": {"reference": "urn:uuid:p"}, "performer": performers}
    patient = without_id(a_patient()) | {"managingOrganization": {"reference": "urn:uuid:o"}}
    new = ORG | {"name": "新", "identifier": [{"system": "urn:x", "value": "8"}]}
    bundle = transaction(
        entry("POST", "Observation", observation),
        entry("POST", "Patient", patient, "urn:uuid:p"),
        entry("PUT", f"Organization?{BY_NUMBER}", ORG | {"name": "改名"}, "urn:uuid:o"),
        entry("POST", "Organization", new, "urn:uuid:n", ifNoneExist="identifier=urn:x|8"),
    )
    body = (await door.post("", bundle)).json()
    statuses = [one["response"]["status"] for one in body["entry"]]
    assert statuses == ["201", "201", "200", "201"], body
    places = [one["response"]["location"].split("/_history")[0] for one in body["entry"]]
    stored = (await door.get(places[0])).json()
    assert stored["subject"]["reference"] == places[1] and places[2] == known
    assert [one["reference"] for one in stored["performer"]] == [known, places[3]]
    assert (await door.get(places[1])).json()["managingOrganization"]["reference"] == known
    assert (await door.get(known)).json()["name"] == "改名"


async def test_a_transaction_patches_and_deletes_by_condition(door: Site) -> None:
    one = place_of(await door.post("Organization", ORG))
    numbered = {"resourceType": "Basic", "code": {"text": "x"}, "identifier": [{"system": "urn:y", "value": "1"}]}
    gone = place_of(await door.post("Basic", numbered))
    patch = base64.b64encode(dumps([{"op": "replace", "path": "/name", "value": "改"}])).decode()
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": patch}
    bundle = transaction(
        entry("PATCH", one, binary, ifMatch='W/"1"'), entry("DELETE", "Basic?identifier=urn:y|1"), entry("GET", one)
    )
    body = (await door.post("", bundle)).json()
    assert [item["response"]["status"] for item in body["entry"]] == ["200", "204", "200"], body
    assert body["entry"][2]["resource"]["name"] == "改" and (await door.get(gone)).status_code == 410


async def test_a_refused_transaction_names_its_entry_and_leaves_nothing(door: Site) -> None:
    good = entry("PUT", "Basic/a", {"resourceType": "Basic", "id": "a", "code": {"text": "一"}})
    other = {"resourceType": "Basic", "id": "b", "code": {"text": "二"}}
    lost = an_observation() | {"subject": {"reference": "urn:uuid:none"}}
    cases = [
        (entry("POST", "Basic", {"resourceType": "Basic"}), 422, "Bundle.entry[1].resource.code"),
        (entry("PUT", "Basic/b", other, ifMatch='W/"3"'), 412, "Bundle.entry[1].If-Match"),
        (entry("POST", "Observation", lost), 422, "Bundle.entry[1].resource"),
        (entry("DELETE", "Basic/a"), 400, "Bundle.entry[0]"),
        (entry("FETCH", "Basic/a"), 400, "Bundle.entry[1].request"),
    ]
    for bad, status, place in cases:
        answer = await door.post("", transaction(good, bad))
        assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (status, [place]), answer.text
        assert (await door.get("Basic/a")).status_code == 404


async def test_two_entries_that_mean_one_resource_by_different_names_are_refused(door: Site) -> None:
    one = place_of(await door.post("Organization", ORG))
    twice = transaction(entry("PUT", f"Organization?{BY_NUMBER}", ORG | {"name": "a"}), entry("DELETE", one))
    assert (await door.post("", twice)).status_code == 400
    new = ORG | {"identifier": [{"system": "u", "value": "v"}]}
    twins = [entry("POST", "Organization", new, ifNoneExist="identifier=u|v")] * 2
    body = (await door.post("", transaction(*twins))).json()
    assert [item["response"]["status"] for item in body["entry"]] == ["201", "200"]
    assert len({item["response"]["location"] for item in body["entry"]}) == 1


# ---- races ------------------------------------------------------------------------------------
async def test_64_equal_conditional_creates_make_one_also_beside_plain_ones_and_in_bundles(door: Site) -> None:
    conditional = {"If-None-Exist": BY_NUMBER}
    bundle = transaction(entry("POST", "Organization", ORG, ifNoneExist=BY_NUMBER))
    work = [door.post("Organization", ORG, **conditional) for _ in range(48)]
    work += [door.post("", bundle) for _ in range(16)]
    answers = await asyncio.gather(*work)
    codes = Counter(one.status_code for one in answers[:48])
    made = codes[201] + sum(one.json()["entry"][0]["response"]["status"] == "201" for one in answers[48:])
    assert made == 1 and set(codes) <= {200, 201} and all(one.status_code == 200 for one in answers[48:])
    assert len(matches((await door.get(f"Organization?{BY_NUMBER}")).json())) == 1


async def test_equal_criteria_without_identifier_make_one(door: Site) -> None:
    body = {"resourceType": "Organization", "name": "唯一的医院"}
    bundle = transaction(entry("POST", "Organization", body, ifNoneExist="name:exact=唯一的医院"))
    encoded = {"If-None-Exist": f"name:exact={quote('唯一的医院')}"}
    work = [door.post("Organization", body, **encoded) for _ in range(48)]
    answers = await asyncio.gather(*work, *(door.post("", bundle) for _ in range(16)))
    assert {one.status_code for one in answers} <= {200, 201}
    assert len(matches((await door.get("Organization?name:exact=唯一的医院")).json())) == 1


async def test_a_conditional_create_among_plain_creates_adds_at_most_one(door: Site) -> None:
    plain = [door.post("Organization", ORG) for _ in range(8)]
    conditional = [door.post("Organization", ORG, **{"If-None-Exist": BY_NUMBER}) for _ in range(8)]
    answers = await asyncio.gather(*(one for pair in zip(conditional, plain, strict=True) for one in pair))
    made = [one.status_code for one in answers].count(201)
    assert {one.status_code for one in answers} <= {200, 201, 412} and made in (8, 9)
    assert len(matches((await door.get(f"Organization?{BY_NUMBER}")).json())) == made


async def test_parallel_updates_under_if_match_lose_none(door: Site) -> None:
    one = place_of(await door.post("Basic", {"resourceType": "Basic", "code": {"text": "0"}}))

    async def count_up() -> None:
        while True:
            now = await door.get(one)
            body = now.json() | {"code": {"text": str(int(now.json()["code"]["text"]) + 1)}}
            answer = await door.put(one, body, **{"If-Match": now.headers["etag"]})
            assert answer.status_code in (200, 412)
            if answer.status_code == 200:
                return

    await asyncio.gather(*(count_up() for _ in range(16)))
    assert (await door.get(one)).json()["code"]["text"] == "16"


async def test_parallel_conditional_updates_and_patches_of_one_resource_all_go_through(door: Site) -> None:
    one = place_of(await door.post("Organization", ORG | {"alias": ["0"]}))
    adding = [[{"op": "add", "path": "/alias/-", "value": str(n)}] for n in range(1, 33)]
    answers = await asyncio.gather(*(door.patch(f"Organization?{BY_NUMBER}", patch) for patch in adding))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(map(int, (await door.get(one)).json()["alias"])) == list(range(33))


# ---- persons in a transaction -----------------------------------------------------------------
def pointing(to: str, **more: Any) -> Json:
    return without_id(a_patient(link=[{"type": "seealso", "other": {"reference": to}}], **more))


async def test_patients_of_a_transaction_point_to_each_other_in_any_order(door: Site) -> None:
    one, other = "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c1", "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c2"
    answer = await door.post(
        "",
        transaction(
            entry("POST", "Patient", pointing(other), one),
            entry("POST", "Patient", pointing(one, birthDate="1960-01-01"), other),
        ),
    )
    assert answer.status_code == 200
    first, second = ("/".join(e["response"]["location"].split("/")[:2]) for e in answer.json()["entry"])
    linked = [(await door.get(place)).json()["link"][0]["other"]["reference"] for place in (first, second)]
    assert linked == [second, first]


async def test_a_put_and_a_post_of_one_card_in_a_transaction_are_one_person(door: Site) -> None:
    card = a_carded_patient()
    body = transaction(entry("PUT", "Patient/mine", card | {"id": "mine"}), entry("POST", "Patient", without_id(card)))
    answer = await door.post("", body)
    assert answer.status_code == 200
    places = {"/".join(e["response"]["location"].split("/")[:2]) for e in answer.json()["entry"]}
    assert len(places) == 1 and len(matches((await door.get("Patient?active:missing=true")).json())) == 1


async def test_criteria_that_name_a_merged_patient_mean_the_survivor(door: Site) -> None:
    old = a_patient("old", active=False, link=[{"type": "replaced-by", "other": {"reference": "Patient/p1"}}])
    await door.keep(a_patient(), old)
    result = without_id(an_observation(patient="p1")) | {"identifier": [{"system": "urn:x", "value": "9"}]}
    made = await door.post("Observation", result)
    again = await door.post("Observation", result, **{"If-None-Exist": "patient=Patient/old&identifier=urn:x|9"})
    assert (again.status_code, place_of(again)) == (200, place_of(made))
