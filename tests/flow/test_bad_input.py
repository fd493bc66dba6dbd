"""Bad input of every kind: the answer the sender gets, the message kept apart, the next good one passes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from fixtures.cases import cases
from fixtures.times import ANCHOR
from gateway.inbox.queue import Entry
from gateway.model.directory import Directory
from gateway.model.outcome import State
from gateway.shipped import shipped
from tests.flow.alliance import Alliance
from tests.flow.messages import card, oru


def _quarantined(gateway: Alliance) -> list[Entry]:
    gateway.drain()
    return gateway.run(gateway.gateway.inbox.messages.entries(state=State.QUARANTINED))


def _good_passes(gateway: Alliance, number: int = 900) -> None:
    assert b"MSA|AA|" in gateway.mllp(oru(number, 3, items=2))
    gateway.drain()
    assert len(gateway.found("DiagnosticReport", identifier=f"R{number:08d}")) == 1


def _reasons(gateway: Alliance) -> list[str]:
    return [one.reason for one in _quarantined(gateway)]


def _raw(gateway: Alliance, payload: bytes, *, answer: bool) -> bytes:
    with socket.create_connection(("127.0.0.1", gateway.gateway.mllp_port), 10) as line:
        line.sendall(payload)
        return line.recv(65536) if answer else b""


def _fixture(source: str, name: str) -> bytes:
    return next(one.body for one in cases(shipped("fixtures"), ANCHOR) if one.source == source and name in one.name)


def test_a_frame_that_never_ends_is_kept_apart_when_the_line_breaks(empty: Alliance) -> None:
    _raw(empty, b"\x0b" + oru(1, 1)[:300], answer=False)
    _good_passes(empty)
    assert _reasons(empty) == ["GW-INB-002"]


def test_bytes_without_a_start_byte_are_refused_and_the_line_goes_on(empty: Alliance) -> None:
    answer = _raw(empty, oru(1, 1) + b"\x1c\r", answer=True)
    assert b"MSA|AR|" in answer
    assert _reasons(empty) == ["GW-INB-002"]
    _good_passes(empty)


def test_a_sender_that_closes_its_half_after_the_frame_still_gets_its_answer(empty: Alliance) -> None:
    with socket.create_connection(("127.0.0.1", empty.gateway.mllp_port), 10) as line:
        line.sendall(b"\x0b" + oru(901, 3, items=2) + b"\x1c\r")
        line.shutdown(socket.SHUT_WR)
        assert b"MSA|AA|" in line.recv(65536)
        assert line.recv(65536) == b"", "the gateway closes its half too"


def _without_control_id(message: bytes) -> bytes:
    return message.replace(b"|T00000001|", b"||", 1)


def _unknown_trigger(message: bytes) -> bytes:
    return message.replace(b"ORU^R01^ORU_R01", b"ZZZ^Z99", 1)


def _unknown_sender(message: bytes) -> bytes:
    return message.replace(b"|CITY1|", b"|NOBODY|", 1)


@pytest.mark.parametrize(
    ("spoil", "code", "msa", "err"),
    [
        (_without_control_id, "GW-TRN-002", b"MSA|AE|", b"101"),
        (_unknown_trigger, "GW-TRN-003", b"MSA|AR|", b"201"),
        (_unknown_sender, "GW-INB-004", b"MSA|AR|", b"207"),
    ],
)
def test_an_envelope_fault_is_answered_with_its_place_and_kept(
    empty: Alliance, spoil: Callable[[bytes], bytes], code: str, msa: bytes, err: bytes
) -> None:
    answer = empty.mllp(spoil(oru(1, 1)))
    assert msa in answer and b"ERR|" in answer and err in answer and code.encode() in answer
    assert _reasons(empty) == [code]
    _good_passes(empty)


def test_an_unknown_sender_is_told_what_it_sent_without_what_is_nobodys_business(empty: Alliance) -> None:
    answer = empty.mllp(_unknown_sender(oru(1, 1))).decode()
    assert "收到的 MSH-3 是“ESB”，MSH-4 是“NOBODY”。" in answer
    shifted = oru(1, 2).replace(b"|CITY1|", b"|110101194910015432|", 1)
    assert "110101********5432" in empty.mllp(shifted).decode().partition("MSA|")[2]


def test_a_message_of_nobody_is_processed_again_once_somebody_sends_under_its_names(empty: Alliance) -> None:
    empty.mllp(_unknown_sender(oru(1, 1)))
    (one,) = _quarantined(empty)
    assert empty.run(empty.gateway.inbox.replay([one.key])) == 1
    empty.drain()
    (again,) = _quarantined(empty)
    assert "登记并启用后再重新处理" in again.outcome and "MSH-3, MSH-4" in again.outcome

    with _late_source(empty, certificate="esb.example"):
        assert empty.run(empty.gateway.inbox.replay([one.key])) == 1
        empty.drain()
        assert "须出示证书" in _quarantined(empty)[0].outcome
    with _late_source(empty):
        assert empty.run(empty.gateway.inbox.replay([one.key])) == 1
        empty.drain()
        assert not _quarantined(empty)
    assert len(empty.found("DiagnosticReport", identifier="R00000001")) == 1


@contextmanager
def _late_source(alliance: Alliance, **settings: str) -> Iterator[None]:
    """For as long as it lasts somebody sends as NOBODY."""
    known = alliance.gateway.directory
    before = Directory(known.members, known.sources, known.alliances)
    names = {"msh3": "ESB", "msh4": "NOBODY"}
    late = replace(known.sources["city_first_hospital"], name="late", settings=names | settings)
    known.become(Directory(known.members, {**known.sources, "late": late}, known.alliances))
    try:
        yield
    finally:
        known.become(before)


def test_the_same_message_again_gets_the_same_answer_and_changes_nothing(empty: Alliance) -> None:
    first, again = empty.mllp(oru(1, 1)), empty.mllp(oru(1, 1).replace(b"\r", b"\n").strip())
    assert b"MSA|AA|T00000001" in first and b"MSA|AA|T00000001" in again
    empty.drain()
    assert len(empty.run(empty.gateway.inbox.messages.entries())) == 1


@pytest.mark.parametrize("body", [b"FHS|^~\\&|A\rBTS|0\r", "FHS|^~\\&|A\rMSH|^~\\&|".encode("utf-16-le")])
def test_a_batch_without_a_message_is_refused_and_kept(empty: Alliance, body: bytes) -> None:
    assert b"MSA|AE|" in empty.mllp(body) or b"MSA|AR|" in empty.mllp(body)
    assert _reasons(empty) == ["GW-TRN-001"]
    _good_passes(empty)


def test_a_control_id_reused_for_other_content_is_kept_apart(empty: Alliance) -> None:
    empty.mllp(oru(1, 1))
    answer = empty.mllp(oru(2, 2, control="T00000001"))
    assert b"MSA|AE|" in answer and b"GW-INB-005" in answer
    assert b"MSA|AE|" in empty.mllp(oru(2, 2, control="T00000001")), "the first answer again"
    assert _reasons(empty) == ["GW-INB-005"]
    _good_passes(empty)


def test_bytes_of_no_charset_are_flagged_and_kept(empty: Alliance) -> None:
    spoiled = oru(1, 1).replace("测试1".encode(), b"\xff\xfe\xff")
    answer = empty.mllp(spoiled)
    assert b"MSA|A" in answer
    empty.drain()
    entry = empty.run(empty.gateway.inbox.messages.entries())[0]
    outcome = empty.run(empty.gateway._outcome(entry.key)) or b""
    assert b"GW-MAP-005" in outcome
    _good_passes(empty)


def test_half_a_cda_is_quarantined_with_its_line(empty: Alliance) -> None:
    whole = _fixture("county_people_hospital", "c0007")
    answer = empty.push("county_people_hospital", whole[: len(whole) // 2], wait=10)
    assert answer.status_code == 202
    assert _reasons(empty) == ["GW-TRN-006"]
    assert empty.push("county_people_hospital", whole, wait=10).json()["outcome"]["state"] == "processed"


def test_a_doctype_is_refused_before_anything_is_expanded(empty: Alliance) -> None:
    bomb = (
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "y">]>'
        b'<ClinicalDocument xmlns="urn:hl7-org:v3">&x;</ClinicalDocument>'
    )
    outcome = empty.push("county_people_hospital", bomb, wait=10).json()["outcome"]
    assert outcome["state"] == "quarantined"
    assert outcome["findings"][0]["code"] == "GW-TRN-006"
    _good_passes(empty)


def test_a_csv_row_with_shifted_columns_or_anothers_number_is_named_and_the_others_pass(empty: Alliance) -> None:
    body = _fixture("township_health_centre", "prescriptions")
    lines = body.splitlines(keepends=True)
    shifted = lines[1].replace(b",", b",,", 1)
    outcome = empty.push("township_health_centre", lines[0] + shifted + b"".join(lines[1:]), wait=10).json()["outcome"]
    found = [one for one in outcome["findings"] if one["code"] == "GW-TRN-007"]
    assert found and "2" in found[0]["place"]
    assert any(one.startswith("MedicationRequest/") for one in outcome["resources"])
    header = "就诊流水号,就诊日期,病人编号,姓名,性别,出生日期,身份证号\n"
    first = "R1,2026-03-18 08:05,P1,李建国,男,1958-03-12,990101195803120115\n"
    other = "R2,2026-03-18 09:05,P1,赵丽,女,1986-02-14,990101198602140666\n"  # the number is another resident's
    outcome = empty.push("township_health_centre", f"{header}{first}{other}".encode(), wait=10).json()["outcome"]
    assert [(one["code"], one["place"]) for one in outcome["findings"]] == [("GW-IDN-003", "row 3, column 病人编号")]
    assert [one["identifier"][0]["value"] for one in empty.found("Encounter")] == ["R1"]
    made = next(one for one in empty.found("Provenance") if f"Provenance/{one['id']}" in outcome["resources"])
    assert {one["reference"] for one in made["target"]} <= set(outcome["resources"])


def test_a_truncated_dicom_file_is_quarantined(empty: Alliance) -> None:
    whole = next(one for one in cases(shipped("fixtures"), ANCHOR) if one.format == "dicom").body
    assert empty.push("city_first_pacs", whole[:140], wait=10).status_code == 202
    assert _reasons(empty) == ["GW-TRN-008"]
    assert empty.push("city_first_pacs", whole, wait=10).json()["outcome"]["state"] == "processed"


def test_of_an_image_only_the_header_is_kept(empty: Alliance) -> None:
    whole = next(one for one in cases(shipped("fixtures"), ANCHOR) if one.format == "dicom").body
    answer = empty.push("city_first_pacs", whole, wait=10).json()
    header = whole[: whole.rindex(b"\xe0\x7f\x10\x00OB")]
    again = empty.push("city_first_pacs", header).json()
    assert (again["key"], again["duplicate"]) == (answer["key"], True)


def test_a_wrong_check_digit_is_kept_unverified_and_never_a_link(empty: Alliance) -> None:
    right = card(5)
    wrong = right[:17] + ("1" if right[17] != "1" else "2")
    empty.mllp(oru(1, 5).replace(right.encode(), wrong.encode()))
    empty.drain()
    patient = empty.found("Patient")[0]
    number = next(one for one in patient["identifier"] if one["value"] == wrong)
    assert any(one["url"].endswith("unverified") for one in number["extension"])


def test_a_date_in_the_future_is_refused_with_its_field(empty: Alliance) -> None:
    empty.mllp(oru(1, 1, at="20310101083000"))
    assert _reasons(empty) == ["GW-TRN-009"]
    _good_passes(empty)


def test_a_body_above_16_mb_is_refused_at_both_doors(empty: Alliance) -> None:
    huge = oru(1, 1) + b"NTE|1||" + b"x" * (16 * 1024 * 1024) + b"\r"
    answer = empty.push("city_first_hospital", huge)
    assert answer.status_code == 413 and "GW-INB-003" in answer.text
    assert b"GW-INB-003" in empty.mllp(huge)
    assert _reasons(empty) == ["GW-INB-003"]
    _good_passes(empty)


def test_json_a_thousand_levels_deep_is_an_answer_not_a_crash(empty: Alliance) -> None:
    deep = b'{"resourceType":"Basic","extension":' + b"[" * 1000 + b"]" * 1000 + b"}"
    answer = empty.client.post(
        "/fhir/Basic", content=deep, headers=empty.bearer("admin") | {"Content-Type": "application/fhir+json"}
    )
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"
    _good_passes(empty)


def test_what_no_member_sends_is_filed_under_none(empty: Alliance) -> None:
    """The source that texts are tried with takes everything; one that pushes its messages has no MSH-3 and no MSH-4."""
    assert empty.push("sandbox", oru(1, 3)).status_code == 404
    directory = empty.gateway.directory
    pushing = replace(directory.sources["county_tcm_hospital"], name="pushing", settings={})
    directory.become(Directory(directory.members, {**directory.sources, "pushing": pushing}, directory.alliances))
    assert b"MSA|AR|" in empty.mllp(oru(1, 3).replace(b"|ESB|CITY1|", b"|||", 1))


def test_an_unknown_source_is_named(empty: Alliance) -> None:
    answer = empty.push("nobody", b"x")
    assert answer.status_code == 404 and "GW-INB-004" in answer.text


def test_a_door_without_token_says_so(empty: Alliance) -> None:
    answer = empty.client.post("/push/city_first_hospital", content=b"x")
    assert answer.status_code == 401 and "GW-SEC-001" in answer.text
