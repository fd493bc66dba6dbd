"""A fifth hospital joins with data files alone: its own sources, a Z segment, local codes, a CSV of its own columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.commands.translate import folders_of
from gateway.errors import MappingError
from gateway.model.resource import Json
from gateway.translate.engine import Mappings
from gateway.validate.elements import R4Elements
from tests.flow.alliance import Alliance
from tests.flow.messages import card

_RESIDENT = card(77)
_SOURCE = """
name: 区人民医院
short: 区医院
level: secondary
provides: [visits, labs]
sources:
  district_lis:
    format: v2
    title: 区医院检验系统
    settings: {msh3: QLIS, msh4: QYY}
  district_his:
    format: v2
    title: 区医院业务系统
    charset: gb18030
    queries: own
    settings: {msh3: QHIS, msh4: QYY}
  district_outpatient:
    format: csv
    title: 区医院门诊导出
    settings: {kind.clinic: "门诊号 卡号 看诊时间"}
"""
_ORU = """
extends: _base/v2/oru_r01
serves: [ORU^R01]
source: 区医院检验接口说明 2.0, 第 7 页
rules:
  - rule: patient
    set:
      maritalStatus: {text: {from: ZPI-2}}
ignore:
  - {field: ZPI-3, because: 收费类别，档案不用}
"""
_CLINIC = """
format: csv
serves: clinic
source: 区医院门诊导出表
rules:
  - rule: patient
    each: rows
    to: Patient
    id: [门诊号]
    set:
      identifier: [{system: $ID_CARD, value: {from: 卡号, by: card}}]
      name: [{text: {from: 姓名}}]
      gender: {from: 性别, by: code, table: gender}
      birthDate: {from: 生日, by: date}
  - rule: encounter
    each: rows
    to: Encounter
    id: [门诊号, 看诊时间]
    set:
      status: finished
      class: {system: $ACT_CODE, code: AMB}
      subject: $subject
      period: {start: {from: 看诊时间, by: dateTime}}
      serviceProvider: $member
"""
_SIU = """
extends: _base/v2/siu
serves: [SIU^S12, SIU^S15]
for: district_his
source: 区医院预约接口说明 1.1, 第 3 页
rules:
  - rule: clinic
    each: ZSC
    keep: {window: ZSC-2}
    before: appointment
  - rule: appointment
    set:
      patientInstruction: {from: $window}
ignore:
  - {field: ZSC-1, because: 段序号}
"""
_RDE = """
extends: _base/v2/rx_order
serves: [RDE^O11]
for: district_his
source: 区医院医嘱接口说明 1.0, 第 9 页
ignore:
  - {field: ZRX-1, because: 药房窗口，档案不用}
"""
_CODES = """from,name,unit,specimen,system,code,display
0102,白细胞计数,10*9/L,B,LOINC,6690-2,白细胞计数
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The mapping folder such a hospital's engineer writes."""
    member = tmp_path / "maps" / "district_hospital"
    (member / "codes").mkdir(parents=True)
    for name, text in (("source", _SOURCE), ("oru_r01", _ORU), ("clinic", _CLINIC), ("siu", _SIU), ("rde", _RDE)):
        (member / f"{name}.yaml").write_text(text, encoding="utf-8")
    (member / "codes" / "lab_items.csv").write_text(_CODES, encoding="utf-8")
    return tmp_path / "maps"


@pytest.fixture
def joined(tmp_path: Path, folder: Path) -> Iterator[Alliance]:
    """A gateway with that folder over the shipped one."""
    fresh = Alliance(tmp_path / "home", mappings=folder)
    yield fresh
    fresh.close()


def _report() -> bytes:
    born = f"{_RESIDENT[6:14]}|{'M' if int(_RESIDENT[16]) % 2 else 'F'}"
    lines = [
        "MSH|^~\\&|QLIS|QYY|GATEWAY|ALLIANCE|20260301083000||ORU^R01^ORU_R01|Q0001|P|2.5.1||||||UNICODE UTF-8",
        f"PID|1||Q100^^^QYY^MR~{_RESIDENT}^^^^NI||测试居民||{born}",
        "ZPI||已婚|自费",
        "ORC|RE|SQ1|RQ1",
        "OBR|1|SQ1|RQ1|XCG^血常规^L|||20260301080000|||||||20260301081000|B&全血&L|||||||20260301083000||HM|F",
        "OBX|1|NM|0102^白细胞^L||5.60|10*9/L|3.5-9.5||||F",
    ]
    return ("\r".join(lines) + "\r").encode()


def _visits() -> bytes:
    born = f"{_RESIDENT[6:10]}-{_RESIDENT[10:12]}-{_RESIDENT[12:14]}"
    sex = "男" if int(_RESIDENT[16]) % 2 else "女"
    rows = ("门诊号,卡号,姓名,性别,生日,看诊时间", f"Q100,{_RESIDENT},测试居民,{sex},{born},2026-03-02 09:10")
    return "\n".join(rows).encode("gb18030")


def test_its_lab_report_becomes_fhir_with_its_z_segment_and_its_own_codes(joined: Alliance) -> None:
    assert b"MSA|AA|Q0001" in joined.mllp(_report())
    joined.drain()
    assert joined.person(_RESIDENT)["maritalStatus"]["text"] == "已婚"
    (result,) = joined.of(_RESIDENT, "Observation")
    assert {one["code"] for one in result["code"]["coding"]} == {"0102", "6690-2"}
    assert str(result["valueQuantity"]["value"]) == "5.60"


def test_its_csv_export_of_own_columns_becomes_a_visit_of_the_same_resident(joined: Alliance) -> None:
    joined.mllp(_report())
    answer = joined.push("district_outpatient", _visits(), "clinic.csv", wait=10).json()
    assert answer["outcome"]["state"] == "processed", answer["outcome"]["findings"]
    (visit,) = joined.of(_RESIDENT, "Encounter")
    assert visit["period"]["start"].startswith("2026-03-02T09:10")
    assert visit["serviceProvider"]["display"] == "区人民医院"


def test_every_field_of_its_messages_has_a_place_or_a_reason(joined: Alliance) -> None:
    outcome: Json = joined.push("district_lis", _report(), wait=10).json()["outcome"]
    assert [one["place"] for one in outcome["unused"] if not one["because"]] == []
    assert "收费类别，档案不用" in {one["because"] for one in outcome["unused"]}


def _his(kind: str, number: int, *segments: str) -> bytes:
    """A message of the business system, in GB18030 without saying so, its trigger and structure as it likes."""
    head = f"MSH|^~\\&|QHIS|QYY|GATEWAY|ALLIANCE|20260303083000||{kind}|H{number:04d}|P|2.4"
    person = f"PID|1||Q100^^^QYY^MR~{_RESIDENT}^^^^NI||测试居民||{_RESIDENT[6:14]}|"
    return "\r".join([head, *([] if kind.startswith("QBP") else [person]), *segments, ""]).encode("gb18030")


def test_later_events_are_its_own_with_a_z_segment_and_an_ignored_field(joined: Alliance) -> None:
    booked = _his("SIU^S12", 1, "SCH|Y1", "AIS|1||NFM^内科门诊|20260322090000|||15|MIN", "ZSC|1|请到三楼 5 号窗")
    drug = _his("RDE^O11", 2, "ORC|NW|YZ1|||||||20260303080000", "RXE||AMLD^氨氯地平片|5||mg", "ZRX|2 号窗")
    for message in (_report(), booked, drug):
        assert b"MSA|AA|" in joined.mllp(message)
        joined.drain()
    (appointment,) = joined.found("Appointment")
    assert (appointment["status"], appointment["patientInstruction"]) == ("booked", "请到三楼 5 号窗")
    (request,) = joined.of(_RESIDENT, "MedicationRequest")
    assert request["medicationCodeableConcept"]["text"] == "氨氯地平片"
    assert b"MSA|AA|" in joined.mllp(booked.replace(b"SIU^S12", b"SIU^S15").replace(b"H0001", b"H0003"))
    joined.drain()
    (cancelled,) = joined.found("Appointment")
    assert (cancelled["status"], cancelled["start"]) == ("cancelled", appointment["start"])


def test_it_may_look_up_its_own_residents_where_its_source_says_so(joined: Alliance) -> None:
    joined.mllp(_report())
    joined.drain()
    query = _his("QBP^Q22^QBP_Q21", 4, f"QPD|IHE PDQ Query|T1|@PID.19^{_RESIDENT}", "RCP|I")
    answer = joined.mllp(query).decode("gb18030")
    assert "QAK|T1|OK|" in answer and "Q100^^^QYY" in answer and "测试居民" in answer
    lis = joined.mllp(query.replace(b"QHIS", b"QLIS").replace(b"H0004", b"H0005")).decode()
    assert "QAK|T1|AR|" in lis, "its laboratory was given no right to ask"


@pytest.mark.parametrize(
    ("file", "right", "wrong", "place"),
    [
        ("oru_r01.yaml", "from: ZPI-2", "from: ZPI_2", "district_hospital/oru_r01.yaml:8"),
        ("oru_r01.yaml", "rule: patient", "rule: pateint", "district_hospital/oru_r01.yaml:6"),
        ("clinic.yaml", "table: gender", "table: gendre", "district_hospital/clinic.yaml:13"),
        ("source.yaml", "msh3: QLIS, msh4: QYY", "msh3: ESB, msh4: CITY1", "district_hospital/source.yaml:10"),
        ("codes/lab_items.csv", ",LOINC,", ",LOINK,", "district_hospital/codes/lab_items.csv:2"),
    ],
)
def test_a_slip_in_its_files_is_refused_with_file_and_line(
    folder: Path, file: str, right: str, wrong: str, place: str
) -> None:
    path = folder / "district_hospital" / file
    path.write_text(path.read_text(encoding="utf-8").replace(right, wrong, 1), encoding="utf-8")
    with pytest.raises(MappingError) as caught:
        Mappings.load(folders_of(str(folder)), elements=R4Elements())
    assert caught.value.place == place


def test_a_file_not_saved_as_utf8_is_refused_with_its_line(folder: Path) -> None:
    path = folder / "district_hospital" / "clinic.yaml"
    path.write_bytes(_CLINIC.encode("gb18030"))
    with pytest.raises(MappingError) as caught:
        Mappings.load(folders_of(str(folder)), elements=R4Elements())
    assert caught.value.place == "district_hospital/clinic.yaml:4"
