"""create, update, delete, batch and transaction: over HTTP against the real store."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.model.resource import Json, dumps
from tests.unit.fhir_site import (
    CARD_SYSTEM,
    LI,
    Site,
    a_carded_patient,
    a_patient,
    a_site,
    an_observation,
    code_of,
    matches,
    without_id,
)


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as made:
        yield made


async def created(site: Site, type_: str, body: Json, **headers: str) -> str:
    """Id of a resource just posted."""
    answer = await site.post(type_, without_id(body), **headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"].split("/fhir/")[1].split("/")[1]


def a_bundle(kind: str, *entries: Any) -> Json:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def an_entry(method: str, url: str, resource: Json | None = None, **more: Any) -> Json:
    entry: Json = {"request": {"method": method, "url": url}}
    if resource is not None:
        entry["resource"] = resource
    return entry | more


# ---- create -----------------------------------------------------------------------------------
async def test_a_create_gives_a_random_id_a_location_and_the_resource(site: Site) -> None:
    answer = await site.post("Basic", {"resourceType": "Basic", "id": "mine", "code": {"text": "一"}})
    body = answer.json()
    assert answer.status_code == 201 and body["id"] != "mine" and len(body["id"]) == 26
    assert answer.headers["location"] == f"http://gateway/fhir/Basic/{body['id']}/_history/1"
    assert answer.headers["etag"] == 'W/"1"' and "last-modified" in answer.headers


async def test_digits_survive_the_way_in_and_out(site: Site) -> None:
    digits = b'"value":0.00000000001234567890'
    body = dumps(without_id(an_observation(value="7"))).replace(b'"value":7', digits)
    async with site.as_("admin", **{"Content-Type": "application/fhir+json"}) as http:
        answer = await http.post("/fhir/Observation", content=body)
    assert digits in answer.content and digits in (await site.get(f"Observation/{answer.json()['id']}")).content


@pytest.mark.parametrize(("wanted", "size"), [("return=minimal", 0), ("return=OperationOutcome", 1)])
async def test_prefer_return_is_honoured(site: Site, wanted: str, size: int) -> None:
    answer = await site.post("Basic", {"resourceType": "Basic", "code": {"text": "一"}}, Prefer=wanted)
    assert answer.status_code == 201 and bool(answer.content) == bool(size)
    if size:
        assert answer.json()["resourceType"] == "OperationOutcome"


async def test_if_none_exist_makes_one_even_under_a_race(site: Site) -> None:
    body = {"resourceType": "Organization", "name": "县医院", "identifier": [{"system": "urn:x", "value": "7"}]}
    answers = await asyncio.gather(
        *(site.post("Organization", body, **{"If-None-Exist": "identifier=urn:x|7"}) for _ in range(20))
    )
    assert sorted({answer.status_code for answer in answers}) == [200, 201]
    assert [answer.status_code for answer in answers].count(201) == 1
    assert len(matches((await site.get("Organization?identifier=urn:x|7")).json())) == 1


async def test_a_condition_may_come_as_clients_write_it(site: Site) -> None:
    """The standard names the parameters alone; HAPI's client sends an address, its bundles begin with the type."""
    body = {"resourceType": "Organization", "name": "县医院", "identifier": [{"system": "urn:x", "value": "a?7"}]}
    criteria = "identifier=urn%3Ax%7Ca?7"
    first = await site.post("Organization", body, **{"If-None-Exist": criteria})
    assert first.status_code == 201
    for start in ("?", "Organization?", "http://gateway/fhir/Organization?"):
        again = await site.post("Organization", body, **{"If-None-Exist": start + criteria})
        assert (again.status_code, again.headers["location"]) == (200, first.headers["location"])
    for start in ("Patient?", "http://elsewhere/fhir/Organization?"):
        refused = await site.post("Organization", body, **{"If-None-Exist": start + criteria})
        assert refused.status_code == 400 and "If-None-Exist" in refused.text


async def test_a_condition_with_an_unknown_parameter_is_refused(site: Site) -> None:
    body = {"resourceType": "Basic", "code": {"text": "一"}}
    assert (await site.post("Basic", body, **{"If-None-Exist": "_anything-else-at-all=1"})).status_code == 400


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "GW-VAL-002"),
        (b"{", 400, "GW-VAL-002"),
        (b"\xff\xfe", 400, "GW-VAL-002"),
        (b"[]", 400, "GW-VAL-002"),
        (b'{"resourceType":"Basic"}', 422, "GW-VAL-001"),
        (
            b'{"resourceType":"Basic","code":{"text":"a"},"extension":[{"url":"urn:x","valueDecimal":%b}]}'
            % (b"1" * 5000),
            400,
            "GW-VAL-002",
        ),
        *(
            (
                b'{"resourceType":"Basic","code":{"text":"a"},"extension":[{"url":"urn:x","valueDecimal":%b}]}'
                % digits,
                400,
                "GW-VAL-002",
            )
            for digits in (b"1E+309", b"-1e9999999", b"1e-999999", b"0e99999999")
        ),
        (b'{"resourceType":"Patient"}', 400, "GW-FHR-004"),
        (b'{"resourceType":"Basic","code":{"text":"a"},"nonsense":1}', 422, "GW-VAL-001"),
        (b'{"resourceType":"Basic","code":{"text":"a"},"code":{"text":"b"}}', 400, "GW-VAL-002"),
        (b'{"resourceType":"Basic","code":' + b'{"a":' * 1000 + b"1" + b"}" * 1001, 400, "GW-VAL-002"),
        (b'{"resourceType":"Basic","code":{"text":"\\u0000"}}', 400, "GW-VAL-002"),
        (b'{"resourceType":"Basic","code":{"text":"\\ud800"}}', 400, "GW-VAL-002"),
        (b'{"resourceType":"Basic","code":{"text":NaN}}', 400, "GW-VAL-002"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_broken_bodies_are_refused_with_a_reason_and_never_a_500(
    site: Site, body: bytes, status: int, code: str
) -> None:
    async with site.as_("admin", **{"Content-Type": "application/fhir+json"}) as http:
        answer = await http.post("/fhir/Basic", content=body)
    assert (answer.status_code, code_of(answer)) == (status, code)


async def test_the_place_of_a_syntax_error_is_named(site: Site) -> None:
    async with site.as_("admin", **{"Content-Type": "application/fhir+json"}) as http:
        answer = await http.post("/fhir/Basic", content=b'{"resourceType":"Basic",\n "code": nothing}')
    assert answer.json()["issue"][0]["expression"] == ["line 2, column 11"]


async def test_a_compressed_body_is_refused_for_what_it_is(site: Site) -> None:
    body = gzip.compress(b'{"resourceType":"Basic","code":{"text":"a"}}')
    async with site.as_("admin", **{"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"}) as http:
        answer = await http.post("/fhir/Basic", content=body)
    assert answer.status_code == 415 and answer.json()["issue"][0]["expression"] == ["Content-Encoding"]


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_patient_with_a_key_twice_is_refused_not_halved(site: Site, method: str) -> None:
    known = await created(site, "Patient", a_carded_patient())
    path, id_ = ("Patient", "") if method == "POST" else (f"Patient/{known}", f'"id":"{known}",')
    body = f'{{"resourceType":"Patient",{id_}"gender":"male","gender":"female"}}'
    async with site.as_("admin", **{"Content-Type": "application/fhir+json"}) as http:
        answer = await http.request(method, f"/fhir/{path}", content=body)
    assert (answer.status_code, code_of(answer)) == (400, "GW-VAL-002")


async def test_a_body_above_16_mb_and_a_body_that_is_not_json_are_refused(site: Site) -> None:
    async with site.as_("admin") as http:
        large = await http.post("/fhir/Basic", content=b" " * (16 * 1024 * 1024 + 1))
        xml = await http.post("/fhir/Basic", content=b"<a/>", headers={"Content-Type": "application/fhir+xml"})
    assert (large.status_code, xml.status_code) == (413, 415)


async def test_active_narrative_is_refused(site: Site) -> None:
    text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><script>1</script></div>'}
    answer = await site.post("Basic", {"resourceType": "Basic", "code": {"text": "a"}, "text": text})
    assert code_of(answer) == "GW-SEC-003"


async def test_only_who_may_write_writes_and_refusals_are_audited(site: Site) -> None:
    for role in ("doctor", "platform", "vendor"):
        assert (await site.post("Basic", {"resourceType": "Basic", "code": {}}, role=role)).status_code == 403
        assert (await site.audits())[0].outcome == "4"
    assert (await site.post("AuditEvent", {"resourceType": "AuditEvent"})).status_code == 405


async def test_effect_and_audit_are_one(site: Site) -> None:
    one = await created(site, "Basic", {"resourceType": "Basic", "code": {"text": "一"}})
    rows = await site.audits(entity=f"Basic/{one}")
    assert [(row.action, row.subtype, row.outcome, row.user) for row in rows] == [("C", "create", "0", "admin")]


# ---- Patient ----------------------------------------------------------------------------------
async def test_a_known_verified_card_answers_201_with_the_existing_person(site: Site) -> None:
    first = await created(site, "Patient", a_carded_patient())
    again = await site.post("Patient", without_id(a_carded_patient(telecom=[{"system": "phone", "value": "1"}])))
    assert again.status_code == 201 and f"/Patient/{first}" in again.headers["location"]
    assert len(matches((await site.get(f"Patient?identifier={CARD_SYSTEM}|{LI}")).json())) == 1
    assert len(await site.store.records_of(first)) == 2


async def test_twenty_racing_creates_of_one_card_make_one_person(site: Site) -> None:
    answers = await asyncio.gather(*(site.post("Patient", without_id(a_carded_patient())) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.headers["location"].split("/")[5] for answer in answers}) == 1


async def test_patients_without_a_card_are_each_a_new_person(site: Site) -> None:
    assert await created(site, "Patient", a_patient()) != await created(
        site, "Patient", a_patient(birthDate="1960-01-01")
    )


async def test_a_new_patient_keeps_the_tags_its_client_gave(site: Site) -> None:
    tag = {"system": "urn:x", "code": "trial"}
    patient = await created(site, "Patient", a_carded_patient(meta={"tag": [tag]}))
    assert (await site.get(f"Patient/{patient}")).json()["meta"]["tag"] == [tag]


async def test_what_is_written_about_a_merged_person_goes_to_the_survivor(site: Site) -> None:
    old = a_patient("old", active=False, link=[{"type": "replaced-by", "other": {"reference": "Patient/p1"}}])
    await site.keep(a_patient(), old)
    one = await created(site, "Observation", an_observation(patient="old"))
    assert (await site.get(f"Observation/{one}")).json()["subject"]["reference"] == "Patient/p1"


# ---- update and delete ------------------------------------------------------------------------
async def test_an_update_makes_the_next_version_and_an_equal_one_none(site: Site) -> None:
    one = await created(site, "Basic", {"resourceType": "Basic", "code": {"text": "一"}})
    for text, version in (("二", '"2"'), ("二", '"2"'), ("三", '"3"')):
        answer = await site.put(f"Basic/{one}", {"resourceType": "Basic", "id": one, "code": {"text": text}})
        assert answer.status_code == 200 and answer.headers["etag"] == f"W/{version}"


async def test_an_update_of_an_absent_id_creates_it(site: Site) -> None:
    answer = await site.put("Basic/mine", {"resourceType": "Basic", "id": "mine", "code": {"text": "一"}})
    assert answer.status_code == 201 and answer.headers["location"].endswith("/Basic/mine/_history/1")


async def test_if_match_guards_against_a_lost_update(site: Site) -> None:
    one = await created(site, "Basic", {"resourceType": "Basic", "code": {"text": "一"}})
    body = {"resourceType": "Basic", "id": one, "code": {"text": "二"}}
    assert (await site.put(f"Basic/{one}", body, **{"If-Match": 'W/"1"'})).status_code == 200
    stale = await site.put(f"Basic/{one}", body | {"code": {"text": "三"}}, **{"If-Match": 'W/"1"'})
    assert (stale.status_code, code_of(stale)) == (412, "GW-STO-003")


async def test_only_one_of_many_racing_updates_with_the_same_version_wins(site: Site) -> None:
    one = await created(site, "Basic", {"resourceType": "Basic", "code": {"text": "0"}})
    answers = await asyncio.gather(
        *(
            site.put(
                f"Basic/{one}", {"resourceType": "Basic", "id": one, "code": {"text": f"n{n}"}}, **{"If-Match": '"1"'}
            )
            for n in range(10)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 9


async def test_the_id_of_body_and_address_must_agree(site: Site) -> None:
    answer = await site.put("Basic/a", {"resourceType": "Basic", "id": "b", "code": {"text": "一"}})
    assert (answer.status_code, code_of(answer)) == (400, "GW-FHR-004")


async def test_a_resource_of_another_member_is_neither_changed_nor_deleted(site: Site) -> None:
    await site.keep(a_patient(), an_observation(), member="m1")
    for role, status in (("m2", 403), ("m1", 200)):
        assert (await site.put("Observation/o1", an_observation(value="9"), role=role)).status_code == status
    assert (await site.delete("Observation/o1", role="m2")).status_code == 403
    assert (await site.delete("Observation/o1", role="m1")).status_code == 204


async def test_security_labels_survive_an_update_that_omits_them(site: Site) -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    body = {"resourceType": "Basic", "code": {"text": "一"}, "meta": {"security": [label]}}
    one = await created(site, "Basic", body)
    await site.put(f"Basic/{one}", {"resourceType": "Basic", "id": one, "code": {"text": "二"}})
    assert (await site.get(f"Basic/{one}")).json()["meta"]["security"] == [label]
    assert (await site.get(f"Basic/{one}", role="doctor")).status_code == 404


async def test_a_deleted_resource_is_gone_and_can_be_deleted_again(site: Site) -> None:
    one = await created(site, "Basic", {"resourceType": "Basic", "code": {"text": "一"}})
    assert [(await site.delete(f"Basic/{one}")).status_code for _ in range(2)] == [204, 204]
    assert (await site.get(f"Basic/{one}")).status_code == 410


async def test_a_patient_with_records_is_not_deleted(site: Site) -> None:
    patient = await created(site, "Patient", a_patient())
    one = await created(site, "Observation", an_observation(patient=patient))
    assert (await site.delete(f"Patient/{patient}")).status_code == 409
    await site.delete(f"Observation/{one}")
    assert (await site.delete(f"Patient/{patient}")).status_code == 204


async def test_a_patient_update_reads_back_as_written(site: Site) -> None:
    patient = await created(site, "Patient", a_patient())
    body = a_patient(patient, maritalStatus={"text": "已婚"}, birthDate="1958-03-13")
    assert (await site.put(f"Patient/{patient}", body)).status_code == 200
    found = (await site.get(f"Patient/{patient}")).json()
    assert found["birthDate"] == "1958-03-13" and found["maritalStatus"] == {"text": "已婚"}
    assert found["meta"]["versionId"] == "2"


# ---- Bundles ----------------------------------------------------------------------------------
UUID = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"


async def test_a_transaction_links_its_entries_by_their_temporary_addresses(site: Site) -> None:
    bundle = a_bundle(
        "transaction",
        an_entry("POST", "Observation", an_observation("x") | {"subject": {"reference": UUID}}),
        an_entry("POST", "Patient", a_carded_patient() | {"id": "y"}, fullUrl=UUID),
        an_entry("GET", f"Patient?identifier={CARD_SYSTEM}|{LI}"),
    )
    answer = await site.post("", bundle)
    body = answer.json()
    assert answer.status_code == 200 and body["type"] == "transaction-response", answer.text
    statuses = [entry["response"]["status"] for entry in body["entry"]]
    assert statuses == ["201", "201", "200"]
    observation, patient = (entry["response"]["location"].split("/_history")[0] for entry in body["entry"][:2])
    assert (await site.get(observation)).json()["subject"]["reference"] == patient
    assert matches(body["entry"][2]["resource"]) == [patient]


async def test_two_entries_under_one_address_are_refused_before_a_reference_goes_to_either(site: Site) -> None:
    bundle = a_bundle(
        "transaction",
        an_entry("POST", "Patient", a_patient("y"), fullUrl=UUID),
        an_entry("POST", "Patient", a_patient("z"), fullUrl=UUID),
        an_entry("POST", "Observation", an_observation("x") | {"subject": {"reference": UUID}}),
    )
    answer = await site.post("", bundle)
    assert answer.status_code == 400 and "Bundle.entry[1].fullUrl" in answer.text
    assert matches((await site.get("Observation")).json()) == []


async def test_a_transaction_about_a_known_person_uses_that_person(site: Site) -> None:
    known = await created(site, "Patient", a_carded_patient())
    bundle = a_bundle(
        "transaction",
        an_entry("POST", "Patient", a_carded_patient() | {"id": "y"}, fullUrl=UUID),
        an_entry("POST", "Patient", a_carded_patient() | {"id": "z"}, fullUrl=UUID[:-1] + "b"),
        an_entry("POST", "Observation", an_observation("x") | {"subject": {"reference": UUID[:-1] + "b"}}),
    )
    body = (await site.post("", bundle)).json()
    observation = body["entry"][2]["response"]["location"].split("/_history")[0]
    assert (await site.get(observation)).json()["subject"]["reference"] == f"Patient/{known}"


async def test_two_patients_of_one_card_in_one_transaction_are_one_person(site: Site) -> None:
    bundle = a_bundle(
        "transaction",
        an_entry("POST", "Patient", a_carded_patient() | {"id": "y"}, fullUrl=UUID),
        an_entry("POST", "Patient", a_carded_patient() | {"id": "z"}, fullUrl=UUID[:-1] + "b"),
    )
    answer = await site.post("", bundle)
    assert answer.status_code == 200, answer.text
    assert len(matches((await site.get(f"Patient?identifier={CARD_SYSTEM}|{LI}")).json())) == 1


async def test_a_transaction_is_all_or_nothing(site: Site) -> None:
    bundle = a_bundle(
        "transaction",
        an_entry("PUT", "Basic/a", {"resourceType": "Basic", "id": "a", "code": {"text": "一"}}),
        an_entry("POST", "Basic", {"resourceType": "Basic"}),
    )
    answer = await site.post("", bundle)
    assert answer.status_code == 422 and code_of(answer) == "GW-VAL-001"
    assert (await site.get("Basic/a")).status_code == 404


@pytest.mark.parametrize(
    ("entry", "status"),
    [
        (an_entry("POST", "Observation", an_observation("x") | {"subject": {"reference": "urn:uuid:nobody"}}), 422),
        (
            an_entry("POST", "Observation", an_observation("x") | {"subject": {"reference": "Patient?identifier=a|b"}}),
            422,
        ),
        (an_entry("POST", "Nonsense", {"resourceType": "Nonsense"}), 405),
        (an_entry("FETCH", "Basic"), 400),
        ({"resource": {"resourceType": "Basic"}}, 400),
    ],
)
async def test_a_transaction_that_cannot_be_understood_is_refused(site: Site, entry: Json, status: int) -> None:
    answer = await site.post("", a_bundle("transaction", entry))
    assert answer.status_code == status, answer.text
    code_of(answer)


async def test_one_resource_twice_in_a_transaction_is_refused(site: Site) -> None:
    body = {"resourceType": "Basic", "id": "a", "code": {"text": "一"}}
    twice = a_bundle("transaction", an_entry("PUT", "Basic/a", body), an_entry("DELETE", "Basic/a"))
    assert (await site.post("", twice)).status_code == 400


async def test_conditional_references_find_what_is_stored(site: Site) -> None:
    patient = await created(site, "Patient", a_carded_patient())
    reference = {"reference": f"Patient?identifier={CARD_SYSTEM}|{LI}"}
    body = (
        await site.post(
            "", a_bundle("transaction", an_entry("POST", "Observation", an_observation("x") | {"subject": reference}))
        )
    ).json()
    observation = body["entry"][0]["response"]["location"].split("/_history")[0]
    assert (await site.get(observation)).json()["subject"]["reference"] == f"Patient/{patient}"


async def test_a_batch_serves_each_entry_for_itself(site: Site) -> None:
    bundle = a_bundle(
        "batch",
        an_entry("POST", "Basic", {"resourceType": "Basic", "code": {"text": "一"}}),
        an_entry("POST", "Basic", {"resourceType": "Basic"}),
        an_entry("GET", "Basic/none"),
        an_entry("DELETE", "Basic/none"),
        an_entry("PATCH", "Basic/none"),
    )
    body = (await site.post("", bundle)).json()
    assert body["type"] == "batch-response"
    assert [entry["response"]["status"] for entry in body["entry"]] == ["201", "422", "404", "204", "400"]
    assert body["entry"][1]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    refused = [row for row in await site.audits() if row.outcome == "4"]
    assert sorted(row.subtype for row in refused) == ["create", "read"]


async def test_another_bundle_and_a_broken_one_are_refused(site: Site) -> None:
    assert (await site.post("", a_bundle("collection"))).status_code == 400
    async with site.as_("admin", **{"Content-Type": "application/json"}) as http:
        for body in (b"", b"{", dumps(a_bundle("transaction", 1)), b"[" * 2000):
            assert (await http.post("/fhir", content=body)).status_code == 400
    assert (await site.post("", a_bundle("batch"))).json() == {"resourceType": "Bundle", "type": "batch-response"}


async def test_a_doctor_writes_nothing_through_a_bundle_either(site: Site) -> None:
    entry = an_entry("PUT", "Basic/a", {"resourceType": "Basic", "id": "a", "code": {"text": "一"}})
    assert (await site.post("", a_bundle("transaction", entry), role="doctor")).status_code == 403
    body = (await site.post("", a_bundle("batch", entry), role="doctor")).json()
    assert body["entry"][0]["response"]["status"] == "403"
