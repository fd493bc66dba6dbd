"""Other people's clients: what they send arrives, what they ask is answered."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import hl7.client
from fhirpy import SyncFHIRClient

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
