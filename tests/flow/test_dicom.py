"""The DICOM door, spoken to by a PACS that is not ours (pynetdicom) and by sockets that misbehave."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)
from pynetdicom import AE
from pynetdicom.association import Association

from gateway.errors import InboxFull, StorageFull, StoreError
from gateway.inbound.dicom import DicomDoor
from gateway.settings import Dicom
from gateway.store.inbox_base import Arrival, Entry, Kept
from tests.flow.alliance import Alliance
from tests.flow.keys import shows

ECHO = "1.2.840.10008.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"
PRIVATE = "1.2.840.113619.4.30"
STUDY = "2.25.111111111111111111111111111111111111"
Open = Callable[..., int]


def image(
    number: int = 1, *, study: str = STUDY, pixels: int = 2048, transfer: str = ExplicitVRLittleEndian
) -> Dataset:
    """One CT slice of a synthetic resident."""
    made = Dataset()
    made.SpecificCharacterSet = "GB18030"
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, f"{study}.1.{number}"
    made.StudyDate, made.StudyTime, made.Modality = "20260319", "101500", "CT"
    made.AccessionNumber, made.StudyDescription = "CT2603190007", "胸部CT平扫"
    made.PatientName, made.PatientID, made.PatientBirthDate, made.PatientSex = "测试^患", "P7701", "19600101", "M"
    made.StudyInstanceUID, made.SeriesInstanceUID = study, f"{study}.1"
    made.SeriesNumber, made.InstanceNumber = "1", str(number)
    made.add_new(0x7FE00010, "OW", bytes(pixels))
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = transfer
    if transfer == JPEG2000Lossless:
        made.PixelData = pydicom.encaps.encapsulate([bytes(pixels)])
        made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    return made


@pytest.fixture
def door() -> Iterator[Open]:
    opened: list[tuple[Alliance, DicomDoor]] = []

    def open_(alliance: Alliance, settings: Dicom) -> int:
        gateway = alliance.gateway
        one = DicomDoor(gateway.intake, gateway.directory, settings, gateway.shared.associations)
        opened.append((alliance, one))
        return alliance.run(one.start("127.0.0.1", 0))

    yield open_
    for alliance, one in opened:
        alliance.run(one.stop())


def associate(
    port: int, *, calling: str = "CITYPACS", called: str = "GATEWAY", transfer: str = ExplicitVRLittleEndian,
    classes: tuple[str, ...] = (ECHO, CTImageStorage), **more: Any,
) -> Association:  # fmt: skip
    peer = AE(ae_title=calling)
    peer.acse_timeout = peer.dimse_timeout = peer.network_timeout = 30
    for one in classes:
        peer.add_requested_context(one, transfer)
    for _ in range(5):  # where the answer is a rejection and comes at once, this peer may take it for no connection
        line = peer.associate("127.0.0.1", port, ae_title=called, **more)
        if line.is_established or line.is_rejected:
            break
    return line


def store(port: int, *images: Dataset, **more: Any) -> list[Dataset]:
    line = associate(port, transfer=str(images[0].file_meta.TransferSyntaxUID), **more)
    assert line.is_established
    answers = [line.send_c_store(one) for one in images]
    line.release()
    return answers


def entries(alliance: Alliance) -> list[Entry]:
    return alliance.run(alliance.gateway.inbox.messages.entries())


def body(alliance: Alliance, key: str) -> bytes:
    raw = alliance.run(alliance.gateway.inbox.messages.raw(key))
    assert raw is not None
    return raw.body


# ---- what a PACS sends ----------------------------------------------------------------------------
def test_a_pacs_checks_the_line_and_sends_a_study(empty: Alliance) -> None:
    line = associate(empty.gateway.dicom_port)
    assert line.send_c_echo().Status == 0
    answers = [line.send_c_store(image(number)) for number in (1, 2, 3)]
    line.release()
    assert [one.Status for one in answers] == [0, 0, 0]
    empty.drain()
    (study,) = empty.found("ImagingStudy")
    assert study["numberOfInstances"] == 3 and study["description"] == "胸部CT平扫"
    assert {one.source for one in entries(empty)} == {"city_first_pacs"}


def test_a_study_sent_slice_by_slice_makes_few_versions(empty: Alliance) -> None:
    store(empty.gateway.dicom_port, *(image(number) for number in range(1, 61)))

    def studies() -> list[Any]:
        return empty.found("ImagingStudy")

    wait_until(lambda: [one["numberOfInstances"] for one in studies()] == [60])
    assert int(studies()[0]["meta"]["versionId"]) <= 3
    assert len(empty.found("Provenance")) == 60, "each image is accounted for"


def test_a_slice_of_another_patient_takes_none_of_its_study_along(empty: Alliance) -> None:
    stranger = image(2)
    stranger.PatientName, stranger.PatientBirthDate = "别人^名", "19990909"
    store(empty.gateway.dicom_port, image(1), stranger, image(3))
    wait_until(lambda: sorted(one.state for one in entries(empty)) == ["processed", "processed", "quarantined"])
    assert [one.reason for one in entries(empty) if one.reason] == ["GW-IDN-003"]
    (study,) = empty.found("ImagingStudy")
    assert [one["number"] for one in study["series"][0]["instance"]] == [1, 3]


@pytest.mark.parametrize(
    "transfer",
    [
        ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
        JPEG2000Lossless,
    ],
)  # fmt: skip
def test_any_transfer_syntax_is_kept_without_its_pixels(empty: Alliance, transfer: str) -> None:
    assert [one.Status for one in store(empty.gateway.dicom_port, image(pixels=100_000, transfer=transfer))] == [0]
    empty.drain()
    (study,) = empty.found("ImagingStudy")
    assert study["series"][0]["instance"][0]["uid"] == f"{STUDY}.1.1"
    (entry,) = entries(empty)
    kept = body(empty, entry.key)
    assert len(kept) < 2048 and kept[128:132] == b"DICM"
    found = pydicom.dcmread(pydicom.filebase.DicomBytesIO(kept), stop_before_pixels=True)
    assert (found.file_meta.TransferSyntaxUID, str(found.PatientName)) == (transfer, "测试^患")
    assert found.file_meta.SourceApplicationEntityTitle == "CITYPACS"


def test_a_deflated_image_leaves_its_pixels_behind_too(empty: Alliance) -> None:
    noise = image(transfer=DeflatedExplicitVRLittleEndian)
    noise[0x7FE00010].value = random.Random(7).randbytes(400_000)
    assert store(empty.gateway.dicom_port, noise)[0].Status == 0
    empty.drain()
    (entry,) = entries(empty)
    assert entry.size < 4096
    assert empty.found("ImagingStudy")[0]["numberOfInstances"] == 1


def test_the_same_image_twice_is_kept_once(empty: Alliance) -> None:
    assert [one.Status for one in store(empty.gateway.dicom_port, image(), image())] == [0, 0]
    assert len(entries(empty)) == 1


def test_a_large_object_does_not_sit_in_memory(empty: Alliance) -> None:
    peak, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            for one in empty.gateway.dicom._open:
                peak[0] = max(peak[0], len(one._head.body) if one._head else 0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    answers = store(empty.gateway.dicom_port, image(pixels=40_000_000))
    stop.set()
    watcher.join()
    assert answers[0].Status == 0
    assert peak[0] < 512 * 1024


# ---- who may send ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("calling", "called", "reason"), [("CITYPAC", "GATEWAY", 3), ("citypacs", "GATEWAY", 3), ("CITYPACS", "GATWAY", 7)]
)
def test_a_title_nobody_knows_is_rejected_with_its_reason_and_shown(
    empty: Alliance, calling: str, called: str, reason: int
) -> None:
    line = associate(empty.gateway.dicom_port, calling=calling, called=called)
    assert line.is_rejected
    said = line.acceptor.primitive
    assert said is not None and (said.result, said.result_source, said.diagnostic) == (1, 1, reason)
    page = empty.client.get("/console/dicom", headers=empty.bearer("admin")).text
    assert f"<code>{calling}</code>" in page and f"<code>{called}</code>" in page
    assert ("GW-INB-041" if reason == 3 else "GW-INB-040") in page
    figures = empty.client.get("/metrics", headers=empty.bearer("admin")).text
    assert 'gateway_dicom_associations_total{source="",error="GW-INB-04' in figures


def test_titles_lead_to_their_sources(tmp_path: Path) -> None:
    given = {"city_first_pacs": {"called_ae": "GW_CITY", "calling_ae": "CITYPACS, CT01"}}
    made = Alliance(tmp_path / "home", sources=given)
    try:
        port = made.gateway.dicom_port
        assert associate(port, calling="CT01", called="GW_CITY").is_established
        assert associate(port, calling="CITYPACS", called="GATEWAY").is_rejected
        assert associate(port, calling="MR01", called="GW_CITY").is_rejected
    finally:
        made.close()


def test_a_source_may_be_held_to_its_addresses(tmp_path: Path) -> None:
    made = Alliance(tmp_path / "home", sources={"city_first_pacs": {"calling_hosts": "10.1.0.0/16"}})
    try:
        assert associate(made.gateway.dicom_port).is_rejected
        page = made.client.get("/console/dicom", headers=made.bearer("admin")).text
        assert "GW-INB-042" in page and "市第一人民医院影像归档" in page
    finally:
        made.close()


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Alliance]:
    """The archive is bound to the certificate `city-esb`."""
    made = Alliance(tmp_path / "home", sources={"city_first_pacs": {"certificate": "city-esb"}})
    yield made
    made.close()


def test_tls_asks_for_the_certificate_of_the_source(secured: Alliance, keys: Path, door: Open) -> None:
    pem, key, ca = (str(keys / name) for name in ("server.pem", "server.key", "ca.pem"))
    port = door(secured, Dicom(tls_cert=pem, tls_key=key, tls_client_ca=ca))

    def over_tls(name: str) -> Association:
        return associate(port, tls_args=(shows(keys, name), "127.0.0.1"))

    line = over_tls("city-esb")
    assert line.is_established and line.send_c_store(image()).Status == 0
    line.release()
    assert over_tls("county-lis").is_rejected
    assert not over_tls("stranger").is_established
    assert not associate(port).is_established
    assert not over_tls("").is_established
    told = {one.fault.place for one in secured.gateway.shared.associations.newest() if one.fault}
    assert {"CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", "PEER_DID_NOT_RETURN_A_CERTIFICATE"} <= told
    assert associate(secured.gateway.dicom_port).is_rejected, "without TLS there is no certificate to show"


def test_more_connections_than_allowed_are_told_to_come_again(empty: Alliance, door: Open) -> None:
    port = door(empty, Dicom(connections_per_address=1))
    first = associate(port)
    second = associate(port)
    said = second.acceptor.primitive
    assert second.is_rejected and said is not None
    assert (said.result, said.result_source, said.diagnostic) == (2, 3, 2)
    first.release()
    wait_until(lambda: associate(port).is_established)


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


# ---- what is refused ------------------------------------------------------------------------------
def test_storage_commitment_is_not_promised(empty: Alliance) -> None:
    line = associate(empty.gateway.dicom_port, classes=(CTImageStorage, COMMITMENT))
    assert line.is_established
    assert [str(one.abstract_syntax) for one in line.accepted_contexts] == [CTImageStorage]
    (refused,) = line.rejected_contexts
    assert (refused.abstract_syntax, refused.result) == (COMMITMENT, 3)
    line.release()


def test_an_operation_nobody_offers_is_answered_as_such(empty: Alliance) -> None:
    line = associate(empty.gateway.dicom_port)
    line.accepted_contexts[1].abstract_syntax = COMMITMENT
    asked = Dataset()
    asked.TransactionUID = generate_uid()
    status, _ = line.send_n_action(asked, 1, COMMITMENT, "1.2.840.10008.1.20.1.1", meta_uid=None)
    assert status.Status == 0x0211
    assert line.send_c_echo().Status == 0, "the association goes on"
    line.release()


def test_a_private_class_is_taken_where_it_is_listed(empty: Alliance, door: Open) -> None:
    assert not associate(empty.gateway.dicom_port, classes=(PRIVATE,)).accepted_contexts
    line = associate(door(empty, Dicom(sop_classes=(PRIVATE,))), classes=(PRIVATE,))
    private = image()
    private.SOPClassUID = PRIVATE
    assert line.send_c_store(private).Status == 0
    line.release()


class Failing:
    """The inbox of a gateway while it cannot keep anything."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    async def keep(self, arrival: Arrival) -> Kept:
        raise self.fault


@pytest.mark.parametrize(
    ("fault", "status"),
    [(InboxFull(), 0xA700), (StorageFull(), 0xA700), (StoreError(), 0x0110), (RuntimeError("slip"), 0x0110)],
)
def test_what_cannot_be_kept_is_refused_with_its_status(
    empty: Alliance, monkeypatch: pytest.MonkeyPatch, fault: Exception, status: int
) -> None:
    monkeypatch.setattr(empty.gateway.intake, "_inbox", Failing(fault))
    (answer,) = store(empty.gateway.dicom_port, image())
    assert answer.Status == status
    assert answer.ErrorComment.startswith("GW-") and answer.ErrorComment.isascii()
    monkeypatch.undo()
    assert [one.Status for one in store(empty.gateway.dicom_port, image())] == [0], "sent again it is kept"


def test_another_instance_than_the_command_names_is_kept_apart(empty: Alliance) -> None:
    port = empty.gateway.dicom_port
    said = _dataset_bytes(image(2))
    status, comment = asyncio.run(_raw_store(port, f"{STUDY}.1.1", said))
    assert status == 0xA900 and comment.startswith("GW-INB-044")
    (entry,) = entries(empty)
    assert entry.reason == "GW-INB-044"


def test_what_cannot_be_read_is_kept_apart_and_said(empty: Alliance) -> None:
    status, comment = asyncio.run(_raw_store(empty.gateway.dicom_port, f"{STUDY}.1.1", b"\x08\x00\x05\x00CS\xff\x00A"))
    assert status == 0xC000 and comment.startswith("GW-TRN-008")
    (entry,) = entries(empty)
    assert entry.reason == "GW-TRN-008"


# ---- sockets that misbehave -----------------------------------------------------------------------
def _dataset_bytes(one: Dataset) -> bytes:
    out = pydicom.filebase.DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    pydicom.filewriter.write_dataset(out, one)
    return bytes(out.getvalue())


def _pdu(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(content)) + content


def _request(abstract: str = CTImageStorage) -> bytes:
    def item(kind: int, content: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(content)) + content

    context = b"\1\0\0\0" + item(0x30, abstract.encode()) + item(0x40, ExplicitVRLittleEndian.encode())
    items = item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, context) + item(0x50, item(0x51, b"\0\0\x40\0"))
    return _pdu(1, b"\0\1\0\0" + b"GATEWAY".ljust(16) + b"CITYPACS".ljust(16) + bytes(32) + items)


def _command(instance: str) -> bytes:
    def element(number: int, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HHI", 0, number, len(value)) + value

    return b"".join((
        element(0x0002, CTImageStorage.encode()), element(0x0100, b"\1\0"), element(0x0110, b"\7\0"),
        element(0x0700, b"\0\0"), element(0x0800, b"\1\0"), element(0x1000, instance.encode()),
    ))  # fmt: skip


def _data(content: bytes, control: int) -> bytes:
    return _pdu(4, struct.pack(">IBB", len(content) + 2, 1, control) + content)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind, size = struct.unpack(">BxI", await asyncio.wait_for(reader.readexactly(6), 30))
    return kind, await asyncio.wait_for(reader.readexactly(size), 30)


async def _opened(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_request())
    assert (await _answer(reader))[0] == 2
    return reader, writer


async def _raw_store(port: int, instance: str, data_set: bytes, piece: int = 700) -> tuple[int, str]:
    """A C-STORE in many small PDUs; its status and comment."""
    reader, writer = await _opened(port)
    writer.write(_data(_command(instance), 3))
    for at in range(0, len(data_set), piece):
        writer.write(_data(data_set[at : at + piece], 0 if at + piece < len(data_set) else 2))
    kind, answer = await _answer(reader)
    assert kind == 4
    said = pydicom.dcmread(pydicom.filebase.DicomBytesIO(answer[6:]), force=True)
    writer.write(_pdu(5, bytes(4)))
    assert (await _answer(reader))[0] == 6
    writer.close()
    return int(said[0x00000900].value), str(said.get((0x0000, 0x0902), "") and said[0x00000902].value)


async def _until_closed(port: int, content: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(content)
    got = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return got


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n",
        _pdu(1, b"\0\1" + bytes(80)),
        _pdu(1, b""),
        _pdu(4, bytes(12)),
        struct.pack(">BxI", 1, 1 << 31),
        _request() + _request(),
        _request() + _data(b"\0\0\0\0", 0),
        _request() + _data(b"no command at all", 3),
        _request() + _pdu(4, b"\0\0\0\xff\1\3"),
        _request() + _data(bytes(70_000), 1),
        _request() + struct.pack(">BxI", 9, 4) + bytes(4),
    ],
    ids=["http", "empty request", "no request", "data first", "two gigabytes", "twice", "no command", "garbage",
         "false length", "endless command", "unknown"],
)  # fmt: skip
def test_what_breaks_the_protocol_is_aborted(empty: Alliance, content: bytes) -> None:
    got = asyncio.run(_until_closed(empty.gateway.dicom_port, content))
    assert got[-10:-4] == struct.pack(">BxI", 7, 4), "an A-ABORT is the last we say"
    assert associate(empty.gateway.dicom_port).is_established


def test_an_image_cut_off_on_its_way_is_not_kept_and_said(empty: Alliance) -> None:
    async def cut() -> None:
        _, writer = await _opened(empty.gateway.dicom_port)
        writer.write(_data(_command(f"{STUDY}.1.1"), 3) + _data(_dataset_bytes(image())[:300], 0))
        await writer.drain()
        writer.close()

    asyncio.run(cut())
    wait_until(lambda: "没有传完" in empty.client.get("/console/dicom", headers=empty.bearer("admin")).text)
    assert entries(empty) == []


def test_who_asks_for_nothing_or_stops_half_way_is_hung_up_on(empty: Alliance, door: Open) -> None:
    port = door(empty, Dicom(idle_s=0.3, message_s=0.3))

    async def waits(content: bytes) -> bytes:
        reader, writer = await _opened(port)
        writer.write(content)
        got = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return got

    assert asyncio.run(waits(b""))[:1] == b"\7"
    assert asyncio.run(waits(_data(_command(f"{STUDY}.1.1"), 3)))[:1] == b"\7"


def test_a_sender_with_nagle_is_not_kept_waiting(empty: Alliance) -> None:
    """Its second packet waits for our acknowledgement, which the system would delay by 40 ms."""
    line = associate(empty.gateway.dicom_port)
    assert not line.dul.socket.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    line.send_c_echo()
    begun = time.monotonic()
    for _ in range(50):
        line.send_c_echo()
    assert time.monotonic() - begun < 50 * 0.04
    line.release()


def test_the_console_shows_a_vendor_its_own_and_nobodys_associations(empty: Alliance) -> None:
    associate(empty.gateway.dicom_port).release()
    associate(empty.gateway.dicom_port, calling="WHO").release()
    lis = httpx.Client(base_url=empty.url)
    assert "CITYPACS" in empty.client.get("/console/dicom", headers=empty.bearer("vendor")).text
    assert lis.get("/console/dicom").status_code in (302, 303, 401)
    lis.close()
