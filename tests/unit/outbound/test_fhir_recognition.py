"""$recognition and $alerts over HTTP: decided when asked, for the member the caller sits at, audited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest_asyncio

from gateway.model.resource import Json
from gateway.outbound.dicom_web import Pacs, PacsSettings
from gateway.outbound.fhir_routes import FhirDoor
from gateway.outbound.operations.recognition import recognition_operations
from gateway.outbound.recognition import Judge
from gateway.recognise.rules import load
from gateway.security.http import Guard
from gateway.shipped import shipped
from tests.unit.fhir_site import DIRECTORY, Site, a_patient, a_site, an_observation, code_of

SHEET = load(shipped("profiles") / "recognition" / "990101-2026.yaml")


def a_report(*items: str) -> Json:
    """A laboratory report collected and issued the day before."""
    return {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "LAB"}]}],
        "code": {"text": "肾功能"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-03-19T08:00:00+08:00",
        "issued": "2026-03-19T10:00:00+08:00",
        "result": [{"reference": f"Observation/{item}"} for item in items],
    }


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as made, httpx.AsyncClient() as http:
        judge = Judge(made.store, DIRECTORY, SHEET, {}, Pacs(PacsSettings(), http, made.clock))
        parts = replace(made.parts, operations=(*made.parts.operations, *recognition_operations(judge)))
        made.app = Guard(FhirDoor(parts))
        await made.keep(a_patient(), an_observation(), a_report("o1"))
        yield made


def part(parameters: Json, name: str) -> Json:
    found: Json = next(one for one in parameters["parameter"] if one["name"] == name)
    return found


async def test_a_report_is_decided_with_each_of_its_items(site: Site) -> None:
    answer = await site.get("DiagnosticReport/r1/$recognition", role="doctor")
    body = answer.json()
    assert answer.status_code == 200 and body["resourceType"] == "Parameters", answer.text
    assert part(body, "report")["valueReference"] == {"reference": "DiagnosticReport/r1"}
    assert part(body, "total")["valueUnsignedInt"] == 1
    assert part(body, "item")["part"][0]["valueReference"] == {"reference": "Observation/o1"}
    row = (await site.audits())[0]
    assert (row.subtype, row.patients, row.query) == ("operation", ("p1",), "DiagnosticReport/r1/$recognition")


async def test_the_instant_of_the_decision_can_be_named(site: Site) -> None:
    answer = await site.get("DiagnosticReport/r1/$recognition?at=2027-01-01T00:00:00%2B08:00")
    assert part(answer.json(), "at")["valueDateTime"].startswith("2027-01-01")
    wrong = await site.get("DiagnosticReport/r1/$recognition?at=tomorrow")
    assert (wrong.status_code, code_of(wrong)) == (400, "GW-FHR-004")


async def test_a_resident_is_decided_report_by_report(site: Site) -> None:
    body = (await site.get("Patient/p1/$recognition")).json()
    assert len(body["parameter"]) == 1
    assert (await site.get("Patient/none/$recognition")).status_code == 404


def reasons(parameters: Json, report: str) -> set[str]:
    """Reason codes of the items of one report."""
    decisions = [one["part"] for one in parameters["parameter"]]
    (found,) = (d for d in decisions if d[0]["valueReference"]["reference"] == f"DiagnosticReport/{report}")
    items = [part["part"] for part in found if part["name"] == "item"]
    said = [part["valueCodeableConcept"] for item in items for part in item if part["name"] == "reason"]
    return {concept["coding"][0]["code"] for concept in said}


async def test_what_is_said_of_the_specimen_and_a_newer_result_of_the_record_are_heard(site: Site) -> None:
    specimen = {
        "resourceType": "Specimen",
        "id": "s1",
        "type": {"text": "血清"},
        "subject": {"reference": "Patient/p1"},
        "note": [{"text": "中度溶血"}],
    }
    await site.keep(specimen, an_observation(specimen={"reference": "Specimen/s1"}))
    assert "doubtful" in reasons((await site.get("Patient/p1/$recognition")).json(), "r1")
    later = {"effectiveDateTime": "2026-03-19T12:00:00+08:00", "issued": "2026-03-19T13:00:00+08:00"}
    await site.keep(an_observation("o2", value="2.40", **later), {**a_report("o2"), "id": "r2", **later})
    whole = (await site.get("Patient/p1/$recognition")).json()
    assert "newer" in reasons(whole, "r1") and "newer" not in reasons(whole, "r2")


async def test_before_ordering_an_item_again_only_that_item_is_asked_for(site: Site) -> None:
    other = {**an_observation(), "id": "o2", "code": {"text": "尿素"}}
    await site.keep(other, a_report("o1", "o2"))
    whole = (await site.get("Patient/p1/$recognition")).json()["parameter"][0]["part"]
    rule = next(part["part"] for part in whole if part["name"] == "item")[-1]["part"][0]["valueCoding"]
    for asked in (rule["code"], rule["display"], f"no-such-item,{rule['code']}"):
        found = (await site.get(f"Patient/p1/$recognition?code={quote(asked)}")).json()["parameter"]
        items = [part for part in found[0]["part"] if part["name"] == "item"]
        assert [item["part"][0]["valueReference"]["reference"] for item in items] == ["Observation/o1"]
        assert next(part for part in found[0]["part"] if part["name"] == "total")["valueUnsignedInt"] == 1
        assert [one["valueString"] for one in found[1:]] == (["no-such-item"] if "," in asked else [])
    assert (await site.get("Patient/p1/$recognition?codes=K")).status_code == 400


async def test_alerts_are_detected_issues_in_a_bundle(site: Site) -> None:
    critical = {"interpretation": [{"coding": [{"system": "urn:x", "code": "HH"}]}]}
    await site.keep(an_observation(**critical), a_report("o1"))
    body = (await site.get("Patient/p1/$alerts")).json()
    assert body["type"] == "collection"
    assert {entry["resource"]["resourceType"] for entry in body["entry"]} == {"DetectedIssue"}
    addresses = [entry["fullUrl"] for entry in body["entry"]]
    assert len(set(addresses)) == len(addresses) and all(one.startswith("urn:uuid:") for one in addresses)


async def test_operations_stand_in_the_capability_statement(site: Site) -> None:
    statement = (await site.get("metadata", role="")).json()
    report = next(one for one in statement["rest"][0]["resource"] if one["type"] == "DiagnosticReport")
    assert "recognition" in {one["name"] for one in report["operation"]}
    patient = next(one for one in statement["rest"][0]["resource"] if one["type"] == "Patient")
    assert {"recognition", "alerts"} <= {one["name"] for one in patient["operation"]}
    assert "recognition" not in str(next(one for one in statement["rest"][0]["resource"] if one["type"] == "Basic"))
