"""Other people's clients: what they send arrives, what they ask is answered."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import hl7.client
import pytest
from fhirclient.models.bundle import Bundle
from fhirclient.models.observation import Observation
from fhirclient.models.operationoutcome import OperationOutcome
from fhirclient.models.organization import Organization
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException, FHIRServer
from fhirpy import SyncFHIRClient
from requests import HTTPError

from fixtures.cases import cases
from fixtures.times import ANCHOR
from gateway.inbound.files import FolderDoor
from gateway.shipped import shipped
from tests.flow.alliance import TOKENS, Alliance
from tests.flow.messages import card, oru


def test_the_hl7_packages_client_is_acknowledged(empty: Alliance) -> None:
    with hl7.client.MLLPClient("127.0.0.1", empty.gateway.mllp_port) as client:
        answer = client.send_message(oru(1, 1))
    assert b"MSA|AA|T00000001" in answer


def test_mllp_send_sends_a_file(empty: Alliance, tmp_path: Path) -> None:
    path = tmp_path / "report.hl7"
    path.write_bytes(b"\x0b" + oru(7, 1) + b"\x1c\r")
    script = Path(sys.executable).with_name("mllp_send")
    port = str(empty.gateway.mllp_port)
    done = subprocess.run(
        [str(script), "--file", str(path), "--port", port, "127.0.0.1"], capture_output=True, timeout=30, check=False
    )
    assert b"MSA|AA|T00000007" in done.stdout, done.stderr
    empty.drain()
    assert empty.person(card(1))["gender"] in ("male", "female")


def test_fhirpy_reads_counts_and_pages(alliance: Alliance) -> None:
    client = SyncFHIRClient(f"{alliance.url}/fhir", authorization=f"Bearer {TOKENS['platform']}")
    people = client.resources("Patient").search(name="zhangshen").fetch_all()
    assert [one["name"][0]["text"] for one in people] == ["张珅"]
    everything = client.resources("Observation").limit(20).fetch_all()
    assert len(everything) == client.resources("Observation").count()
    assert len({one["id"] for one in everything}) == len(everything)


def fhirclient_server(alliance: Alliance, role: str) -> FHIRServer:
    """SMART's Python client, unmodified, with a token given to its session."""
    server = FHIRServer(None, f"{alliance.url}/fhir")
    server.session.headers["Authorization"] = f"Bearer {TOKENS[role]}"
    server.prepare()
    return server


def test_fhirclient_reads_searches_and_pages(alliance: Alliance) -> None:
    server = fhirclient_server(alliance, "platform")
    assert server.capabilityStatement.fhirVersion == "4.0.1"
    (person,) = Patient.where({"name": "zhangshen"}).perform_resources_iter(server)
    read = Patient.read(person.id, server)
    assert read.name[0].text == "张珅" and read.birthDate.isostring == person.birthDate.isostring
    theirs = list(Observation.where({"patient": f"Patient/{person.id}"}).perform_resources_iter(server))
    assert {one.id for one in theirs} == {
        one["id"] for one in alliance.found("Observation", patient=f"Patient/{person.id}")
    }
    asked = Observation.where({"status": "final", "_count": "20"})
    pages = list(asked.perform_iter(server))
    found = [entry.resource.id for page in pages for entry in page.entry]
    assert len(pages) > 1 and len(found) == len(set(found)) == len(alliance.found("Observation", status="final"))
    whole = Bundle.read_from(f"Patient/{person.id}/$everything", server)
    assert whole.entry[0].resource.id == person.id and len(whole.entry) > len(theirs)
    with pytest.raises(FHIRNotFoundException):
        Patient.read("nobody", server)
    with pytest.raises(HTTPError) as fault:
        list(Patient.where({"nmae": "x"}).perform_resources_iter(server))
    assert OperationOutcome(fault.value.response.json()).issue[0].details.text


def test_fhirclient_writes_updates_under_if_match_and_deletes(empty: Alliance) -> None:
    server, body = (
        fhirclient_server(empty, "admin"),
        {"name": "一院", "identifier": [{"system": "urn:smart", "value": "1"}]},
    )
    once = {"If-None-Exist": "identifier=urn:smart|1"}
    server.session.headers.update(once)
    made, again = Organization(body).create(server), Organization(body).create(server)
    del server.session.headers["If-None-Exist"]
    assert made["id"] == again["id"]
    organization = Organization.read(made["id"], server)
    organization.name = "二院"
    server.session.headers["If-Match"] = 'W/"1"'
    assert organization.update(server)["meta"]["versionId"] == "2"
    with pytest.raises(HTTPError) as fault:
        organization.update(server)
    assert fault.value.response.status_code == 412
    del server.session.headers["If-Match"]
    past = Bundle.read_from(f"{organization.relativePath()}/_history", server)
    assert [entry.resource.name for entry in past.entry] == ["二院", "一院"]
    first = Organization.read_from(f"{organization.relativePath()}/_history/1", server)
    assert first.name == "一院"
    urn = "urn:uuid:0b1d3d2a-0f0e-4e55-a1c7-54a0a3f7d002"
    entries = [
        {"fullUrl": urn, "resource": {"resourceType": "Patient", "name": [{"text": "李四"}]},
         "request": {"method": "POST", "url": "Patient"}},
        {"resource": {"resourceType": "Observation", "status": "final", "code": {"text": "钾"},
                      "subject": {"reference": urn}, "valueQuantity": {"value": 4.2, "unit": "mmol/L"}},
         "request": {"method": "POST", "url": "Observation"}},
    ]  # fmt: skip
    bundle = Bundle({"type": "transaction", "entry": entries})
    done = Bundle(server.post_json("", bundle.as_json()).json())
    assert [entry.response.status for entry in done.entry] == ["201", "201"]
    seen = Observation.read(done.entry[1].response.location.split("/")[1], server)
    assert seen.subject.reference == "/".join(done.entry[0].response.location.split("/")[:2])
    organization.delete(server)
    with pytest.raises(HTTPError):
        Organization.read(made["id"], server)


def test_a_folder_of_dicom_files_becomes_one_study(empty: Alliance, tmp_path: Path) -> None:
    files = [
        one for one in cases(shipped("fixtures"), ANCHOR) if one.format == "dicom" and "ct_chest_plain" in one.name
    ]
    for one in files:
        (tmp_path / one.file_name).write_bytes(one.body)
    door = FolderDoor(empty.gateway.intake, empty.gateway.directory.sources["city_first_pacs"], tmp_path)
    for _ in range(2):  # a file is taken when its size stood still between two looks
        empty.run(door.look())
    empty.drain()
    studies = empty.found("ImagingStudy")
    assert [(one["numberOfSeries"], one["numberOfInstances"]) for one in studies] == [(2, 3)]
    assert len(list((tmp_path / "done").iterdir())) == len(files) == 3


def test_sixty_four_connections_are_served_side_by_side(empty: Alliance) -> None:
    async def lane(start: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", empty.gateway.mllp_port)
        good = 0
        for number in range(start, start + 5):
            writer.write(b"\x0b" + oru(number, number % 9, items=3) + b"\x1c\r")
            good += b"MSA|AA|" in await reader.readuntil(b"\x1c\r")
        writer.close()
        return good

    async def all_lanes() -> int:
        return sum(await asyncio.gather(*[lane(1000 + 5 * n) for n in range(64)]))

    begun = time.perf_counter()
    assert asyncio.run(all_lanes()) == 320
    assert time.perf_counter() - begun < 30
    empty.drain()
    assert len(empty.found("DiagnosticReport")) == 320
