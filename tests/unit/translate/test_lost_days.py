"""A day where R4 wants an instant: no time is made up for it, and it is told at its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.model.message import Draft, RawMessage
from gateway.model.outcome import Finding
from gateway.translate.engine import Mappings
from tests.unit.translate.test_row_maps import TOWN, case, sent
from tests.unit.translate.v2_messages import IDS, NOW, PID, draft, mappings, message, oru, resources, segment

K, NA = "OBX|1|NM|K^钾||4.2|mmol/L|||||F", "OBX|2|NM|NA^钠||140|mmol/L|||||F"
OBR = {1: "1", 2: "S1", 3: "R1", 4: "SH^生化^L", 7: "20260309073000"}


def told(found: Draft) -> list[str]:
    return [one.place for one in found.findings if one.code == "GW-MAP-011"]


def report(issued: str) -> str:
    return oru(K, NA, obr=segment("OBR", OBR | {22: issued}))


def document(*, written: str = "", edited: str = "", event: str = "") -> str:
    txa = segment("TXA", {1: "1", 2: "CN", 6: written, 8: edited, 12: "D1"})
    return message(f"EVN|T02|{event}", PID, txa, "OBX|1|TX|a||b||||||F", kind="MDM^T02")


def booking(sch_11: str = "", start: str = "") -> str:
    return message(
        PID, segment("SCH", {1: "P1", 2: "F1", 11: sch_11}), f"AIS|1||X^彩超|{start}|||30|min", kind="SIU^S12"
    )


@pytest.mark.parametrize("issued", ["20260309", "202603", "2026-3-9", "2026年3月"])
def test_a_day_of_issue_is_told_once_however_many_resources_wanted_it(issued: str) -> None:
    found = draft(report(issued))
    assert found.findings == (
        Finding(
            "GW-MAP-011", "warning", "OBR[1]-22",
            "只有日期，没有钟点：此处须有时刻（FHIR R4 instant），网关不补造，该时间未写入。",
            "Only a date, without a time of day: R4 wants an instant here, none is made up and this time is left out.",
        ),
    )  # fmt: skip
    assert [one.type for one in found.resources if "issued" in one.json] == []


def test_every_report_of_a_message_is_told_each_time_it_comes() -> None:
    second = segment("OBR", OBR | {1: "2", 2: "S2", 3: "R2", 22: "20260309"})
    text = oru(K, second, NA, obr=segment("OBR", OBR | {22: "20260309"}))
    assert [told(draft(text)) for _ in range(2)] == [["OBR[1]-22", "OBR[2]-22"]] * 2


@pytest.mark.parametrize("issued", ["", '""', "202603090805", "20260309080500+0800", "2026年3月9日 8时5分"])
def test_nothing_is_told_of_a_time_or_of_an_empty_field(issued: str) -> None:
    assert draft(report(issued)).findings == ()


def test_a_trace_tells_the_same() -> None:
    raw = RawMessage("k1", "sandbox", "v2", report("20260309").encode(), NOW)
    traced, _ = mappings().trace(raw, mappings().directory.sources["sandbox"], IDS, NOW)
    assert told(traced) == ["OBR[1]-22"]


def test_a_day_is_not_lost_where_a_later_alternative_gives_a_value() -> None:
    text = document(edited="20260309", written="202603090805")
    assert resources(text, "DocumentReference")[0]["date"] == "2026-03-09T08:05:00+08:00"
    assert told(draft(text)) == []


def test_where_no_alternative_gives_a_value_each_day_is_told() -> None:
    text = document(edited="20260309", written="20260308")
    assert "date" not in resources(text, "DocumentReference")[0]
    assert told(draft(text)) == ["TXA[1]-8", "TXA[1]-6"]


def test_the_day_of_an_appointment_is_kept_as_its_first_moment() -> None:
    found = draft(booking(start="20260401"))
    (booked,) = [one.json for one in found.resources if one.type == "Appointment"]
    assert (told(found), booked["start"], booked["minutesDuration"]) == ([], "2026-04-01T00:00:00+08:00", 30)


def test_an_end_that_can_be_reckoned_is_not_lost() -> None:
    found = draft(booking(start="202604010900", sch_11="^^^^20260401"))
    assert [one.json["end"] for one in found.resources if one.type == "Appointment"] == ["2026-04-01T09:30:00+08:00"]
    assert told(found) == []


def test_a_row_with_a_day_is_told_by_its_row_and_column() -> None:
    header, *rows = case(f"{TOWN}/labs/urine_and_glucose").body.decode("gb18030").splitlines()
    at, cells = header.split(",").index("报告时间"), rows[0].split(",")
    day = ",".join([*cells[:at], "2026/3/19", *cells[at + 1 :]])
    found = sent(TOWN, "csv", "\n".join([header, day, *rows[1:], ""]))
    assert told(found) == ["row 2, column 报告时间"]
    assert sum("issued" not in one.json for one in found.resources if one.type == "Observation") == 1


def test_a_row_left_out_does_not_keep_the_day_of_another_from_being_told() -> None:
    header, *rows = case(f"{TOWN}/labs/urine_and_glucose").body.decode("gb18030").splitlines()
    at, cells = header.split(",").index("报告时间"), rows[0].split(",")
    day = ",".join([*cells[:at], "2026/3/19", *cells[at + 1 :]])
    bad = rows[2].replace("2026", "2026-99", 1)
    found = sent(TOWN, "csv", "\n".join([header, day, rows[1], bad, rows[3], ""]))
    assert "GW-TRN-004" in {one.code for one in found.findings}
    assert told(found) == ["row 2, column 报告时间"]


def test_a_json_report_with_a_day_is_told_once() -> None:
    body = {
        "type": "lab_report",
        "patient": {"number": "9", "name": "甲"},
        "report": {"number": "R1", "issued_at": "2026-03-09", "name": "生化"},
        "results": [{"code": "K", "name": "钾", "value": 4, "unit": "mmol/L"}],
    }
    assert told(sent("sandbox", "json", json.dumps(body))) == ["report.issued_at"]


KEPT = """format: v2
serves: [ORU^R01]
rules:
  - rule: order
    each: OBR
    keep: {issued: {from: OBR-22, by: instant}}
  - rule: planned
    each: OBR
    to: Appointment
    id: [OBR-3]
    set: {status: booked, start: {from: OBR-27, by: planned_instant}, comment: {from: $issued}}
"""


def test_a_kept_instant_and_an_element_of_one_field_are_told_alike(tmp_path: Path) -> None:
    for name, text in {
        "_base/v2/oru.yaml": KEPT,
        "_base/codes/units.csv": "from,to,item\n",
        "jia/source.yaml": "name: 甲\nlevel: secondary\nsources:\n  jia:\n    format: v2\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    known = Mappings.load([tmp_path])
    body = oru(obr=segment("OBR", OBR | {22: "20260309", 27: "20260401"})).encode()
    found = known.translate(RawMessage("k1", "jia", "v2", body, NOW), known.directory.sources["jia"], IDS, NOW)
    assert told(found) == ["OBR[1]-22", "OBR[1]-27"]
