"""What the shipped maps make of CDA, CSV, JSON and DICOM: the facts the stories need, and what must not happen."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest

from fixtures.cases import Case, cases
from gateway.alliance.directory import endpoint
from gateway.commands.maps import GOLDEN_KEY, translated
from gateway.errors import BadValue, MissingField, UnknownTrigger
from gateway.model import systems
from gateway.model.ids import Ids
from gateway.model.message import Draft, RawMessage
from gateway.model.resource import Json
from gateway.model.times import CHINA
from gateway.shipped import shipped
from gateway.translate.engine import Mappings

NOW = datetime(2026, 3, 20, 9, tzinfo=CHINA)
IDS = Ids(b"k" * 32)


@cache
def mappings() -> Mappings:
    return Mappings.load([shipped("mappings")], check=False)


@cache
def case(name: str) -> Case:
    return next(one for one in cases(shipped("fixtures")) if f"{one.source}/{one.name}" == name)


def draft(name: str) -> Draft:
    return translated(case(name), mappings())


def of(found: Draft, type_: str) -> list[Json]:
    return [one.json for one in found.resources if one.type == type_]


def sent(source: str, form: str, body: str | bytes) -> Draft:
    raw = RawMessage("k1", source, form, body if isinstance(body, bytes) else body.encode(), NOW)
    return mappings().translate(raw, mappings().directory.sources[source], IDS, NOW)


COUNTY = "county_people_hospital"
TOWN = "township_health_centre"


# ---- CDA ----------------------------------------------------------------------------------------
def test_critical_platelets_carry_who_was_told_and_when() -> None:
    items = of(draft(f"{COUNTY}/c0007/critical_platelets"), "Observation")
    platelets = next(one for one in items if one["code"]["text"] == "血小板计数")
    assert platelets["interpretation"][0]["coding"][0]["code"] == "LL"
    assert platelets["referenceRange"][0]["text"] == "125-350"
    notice = platelets["extension"][0]["extension"]
    assert notice[0] == {"url": "told", "valueString": "周医生"}
    assert notice[1] == {"url": "at", "valueDateTime": "2026-03-19T15:32:00+08:00"}
    crp = next(one for one in items if one["code"]["text"] == "C反应蛋白")
    assert (crp["valueQuantity"]["comparator"], "interpretation" in crp) == ("<", False)


def test_the_standard_shape_gets_no_range_and_no_flag_that_was_not_sent() -> None:
    found = draft(f"{COUNTY}/c0007/lipids_without_ranges")
    items = of(found, "Observation")
    assert len(items) == 4
    assert all("referenceRange" not in one for one in items)
    assert [one["code"]["text"] for one in items][:2] == ["总胆固醇", "甘油三酯"]
    assert found.facts["charset"] == "gb18030"
    assert of(found, "DiagnosticReport")[0]["specimen"]


def test_a_reissue_under_the_same_number_is_the_same_report_with_fewer_items() -> None:
    first, second = (draft(f"{COUNTY}/c0007/{name}") for name in ("liver_first_issue", "liver_without_ggt"))
    reports = [of(one, "DiagnosticReport")[0] for one in (first, second)]
    assert reports[0]["id"] == reports[1]["id"]
    assert len(reports[0]["result"]) - len(reports[1]["result"]) == 1
    assert of(first, "DocumentReference")[0]["id"] != of(second, "DocumentReference")[0]["id"]


def test_the_remark_of_a_report_stands_beside_each_of_its_items() -> None:
    items = of(draft("county_people_hospital/c0007/liver_without_ggt"), "Observation")
    assert {item["note"][0]["text"] for item in items} == {"GGT项目溶血干扰，撤回"}


def test_a_new_version_replaces_the_older_document_and_corrects_the_report() -> None:
    first, second = (draft(f"{COUNTY}/c0006/thyroid_nodule_{size}") for size in ("18mm", "8mm"))
    old, new = of(first, "DocumentReference")[0], of(second, "DocumentReference")[0]
    assert new["relatesTo"] == [{"code": "replaces", "target": {"reference": f"DocumentReference/{old['id']}"}}]
    report = of(second, "DiagnosticReport")[0]
    assert (report["id"], report["status"]) == (of(first, "DiagnosticReport")[0]["id"], "corrected")
    assert "8mm" in report["conclusion"]
    seen = next(one for one in report["extension"] if one["url"] == systems.EXT_FINDINGS)
    assert "8mm" in seen["valueString"]
    assert "结论" not in seen["valueString"]


def test_version_minus_one_withdraws_report_items_and_document() -> None:
    found = draft(f"{COUNTY}/c0007/kidney_withdrawn")
    for type_ in ("DiagnosticReport", "Observation", "DocumentReference", "Composition"):
        assert {one["status"] for one in of(found, type_)} == {"entered-in-error"}, type_


def test_days_of_one_drug_are_not_those_of_the_next() -> None:
    aspirin, statin = of(draft(f"{COUNTY}/c0004/discharge_medication"), "MedicationRequest")
    assert aspirin["medicationCodeableConcept"]["text"] == "阿司匹林"
    assert aspirin["dispenseRequest"]["expectedSupplyDuration"]["value"] == 30
    assert "expectedSupplyDuration" not in statin["dispenseRequest"]
    assert statin["dosageInstruction"][0]["timing"]["code"]["text"] == "qn"
    assert {one["category"][0]["coding"][0]["code"] for one in (aspirin, statin)} == {"discharge"}


def test_a_discharge_summary_has_its_stay_and_its_sections() -> None:
    found = draft(f"{COUNTY}/c0053/stroke")
    stay = of(found, "Encounter")[0]
    assert stay["period"] == {"start": "2026-02-20T15:30:00+08:00", "end": "2026-03-06T10:00:00+08:00"}
    assert (stay["class"]["code"], stay["length"]["value"]) == ("IMP", 14)
    assert [one["code"]["coding"][0]["code"] for one in of(found, "Condition")] == ["I63.900"]
    sections = of(found, "Composition")[0]["section"]
    assert any("抗血小板" in one["text"]["div"] for one in sections)


def test_narrative_is_escaped() -> None:
    body = (
        '<ClinicalDocument xmlns="urn:hl7-org:v3"><id root="2.16.156.10011.1.1" extension="D1"/><code code="C0034"/>'
        '<title>入院记录</title><effectiveTime value="20260301"/><recordTarget><patientRole>'
        '<id root="2.16.156.10011.1.13" extension="B1"/></patientRole></recordTarget><component><section>'
        "<text>&lt;script&gt;x&lt;/script&gt; 血压 &lt; 140</text></section></component></ClinicalDocument>"
    )
    div = of(sent(COUNTY, "cda", body), "Composition")[0]["section"][0]["text"]["div"]
    assert "<script" not in div
    assert "血压 &lt; 140" in div


def a_document(kind: str, body: str, ids: str = "", head: str = "") -> str:
    who = '<id root="2.16.156.10011.1.13" extension="B1"/>' + ids
    return (
        f'<ClinicalDocument xmlns="urn:hl7-org:v3"><id root="2.16.156.10011.1.1" extension="D1"/><code code="{kind}"/>'
        f'<effectiveTime value="20260301080000"/><recordTarget><patientRole>{who}</patientRole></recordTarget>{head}'
        f"<component><section>{body}</section></component></ClinicalDocument>"
    )


def facts(*told: tuple[str, str]) -> str:
    inner = (f'<component><observation><code code="{code}"/>{value}</observation></component>' for code, value in told)
    return f"<entry><organizer>{''.join(inner)}</organizer></entry>"


def test_a_cancelled_item_is_not_final_and_a_withdrawn_report_takes_all_with_it() -> None:
    item = facts(("DE04.30.019", "<value>K</value>"), ("DE04.30.015", '<value value="6.8" unit="mmol/L"/>'))
    cancelled = item.replace("<organizer>", '<organizer><statusCode code="cancelled"/>').replace(">K<", ">Na<")
    for version, states in (("0", ["final", "cancelled"]), ("-1", ["entered-in-error"] * 2)):
        body = a_document("C0007", item + cancelled, head=f'<versionNumber value="{version}"/>')
        found = of(sent(COUNTY, "cda", body), "Observation")
        assert [one["status"] for one in found] == states
        assert [one["valueQuantity"]["unit"] for one in found] == ["mmol/L"] * 2


def test_an_order_is_a_drug_by_its_name_and_ends_when_it_says() -> None:
    stay = '<id root="2.16.156.10011.1.12" extension="Z1"/>'
    when = '<effectiveTime><low value="20260218"/><high value="20260220"/></effectiveTime>'
    orders = facts(("DE06.00.289", "<value>药品类医嘱</value>"), ("DE06.00.288", f"<value>氯吡格雷</value>{when}"))
    orders += facts(("DE06.00.289", '<value code="01" displayName="检查"/>'), ("DE06.00.288", "<value>头颅CT</value>"))
    orders += facts(("DE06.00.289", '<value code="01"/>'))  # of nothing
    found = sent(COUNTY, "cda", a_document("C0052", orders, stay))
    drug, test = of(found, "MedicationRequest"), of(found, "ServiceRequest")
    assert [one["medicationCodeableConcept"]["text"] for one in drug] == ["氯吡格雷"]
    assert (drug[0]["status"], drug[0]["authoredOn"]) == ("completed", "2026-02-18")
    assert drug[0]["dosageInstruction"][0]["timing"]["repeat"]["boundsPeriod"]["end"] == "2026-02-20"
    assert [(one["code"]["text"], one["status"]) for one in test] == [("头颅CT", "active")]


def test_a_drug_twice_is_two_one_without_a_name_none_and_findings_in_two_parts_are_one_text() -> None:
    label = (
        "<consumable><manufacturedProduct><manufacturedLabeledDrug>{}</manufacturedLabeledDrug></manufacturedProduct>"
    )
    drugs = "".join(
        f'<entry><substanceAdministration><doseQuantity value="{dose}"/>{label.format(name)}</consumable>'
        "</substanceAdministration></entry>"
        for dose, name in (("1", "<name>胰岛素</name>"), ("2", "<name>胰岛素</name>"), ("3", "<name/>"))
    )
    made = of(sent(COUNTY, "cda", a_document("C0004", drugs)), "MedicationRequest")
    assert [one["dosageInstruction"][0]["text"] for one in made] == ["1", "2"] and made[0]["id"] != made[1]["id"]
    seen = facts(("DE04.50.131", "<value>甲</value>"), ("DE04.50.131", "<value>乙</value>"))
    for ends, told in (("", "甲"), (facts(("DE04.50.132", "<value>丙</value>")), "甲\n乙")):
        (report,) = of(sent(COUNTY, "cda", a_document("C0006", seen + ends)), "DiagnosticReport")
        found = next(one for one in report["extension"] if one["url"] == systems.EXT_FINDINGS)
        assert (found["valueString"], report["conclusion"]) == (told, "丙" if ends else "乙")


def test_an_outpatient_visit_of_one_time_and_a_document_that_appends() -> None:
    head = (
        '<relatedDocument typeCode="APND"><parentDocument><id root="2.16.156.10011.1.1" extension="D0"/>'
        "</parentDocument></relatedDocument><componentOf><encompassingEncounter>"
        '<effectiveTime value="202603010750"/>'
        "</encompassingEncounter></componentOf>"
    )
    found = sent(COUNTY, "cda", a_document("C0006", "", '<id root="2.16.156.10011.1.11" extension="V1"/>', head))
    visit = next(one for one in found.resources if one.type == "Encounter")
    assert (visit.json["status"], visit.json["period"]) == ("finished", {"start": "2026-03-01T07:50:00+08:00"})
    assert visit.gone == () and visit.left == ("participant",), "a report leaves what the visit's own documents said"
    assert of(found, "DocumentReference")[0]["relatesTo"][0]["code"] == "appends"
    assert of(found, "DiagnosticReport")[0]["code"]["coding"][0]["code"] == "C0006", "an examination without a name"


def test_a_document_without_any_number_of_the_patient_is_refused_with_its_place() -> None:
    body = '<ClinicalDocument><id extension="D1"/><code code="C0007"/><title>检验报告</title></ClinicalDocument>'
    with pytest.raises(MissingField) as error:
        sent(COUNTY, "cda", body)
    assert "patientRole" in error.value.place


@pytest.mark.parametrize(("kind", "diagnoses"), [("C0002", ["高血压"]), ("C0034", [])])
def test_the_allergies_of_a_record_are_ones_and_a_visits_diagnoses_are_conditions(
    kind: str, diagnoses: list[str]
) -> None:
    for said, told in (("青霉素过敏", "青霉素"), ("否认药物过敏史", "无已知过敏")):
        body = facts(("DE05.01.025", "<value>高血压</value>"), ("DE02.10.022", f"<value>{said}</value>"))
        found = sent(COUNTY, "cda", a_document(kind, body))
        assert [one["code"]["text"] for one in of(found, "AllergyIntolerance")] == [told]
        assert [one["code"]["text"] for one in of(found, "Condition")] == diagnoses
        assert said in of(found, "Composition")[0]["section"][0]["text"]["div"]
    assert [one.place for one in found.unused if one.lost] == []


def test_a_document_without_a_time_has_that_of_its_author_and_one_of_no_known_kind_is_told_so() -> None:
    wrote = "<author><time value='20260302'/></author>"
    undated = a_document("C0034", "", head=wrote).replace('<effectiveTime value="20260301080000"/>', "<effectiveTime/>")
    assert of(sent(COUNTY, "cda", undated), "Composition")[0]["date"] == "2026-03-02"
    with pytest.raises(UnknownTrigger) as error:
        sent(COUNTY, "cda", undated.replace("C0034", "C0099"))
    assert error.value.place == "code" and "WS/T 500" in error.value.detail_zh


# ---- CSV ----------------------------------------------------------------------------------------
def test_old_numbers_stay_as_sent_and_full_width_digits_are_numbers() -> None:
    found = draft(f"{TOWN}/visits/morning")
    assert found.records[0].patient["identifier"][0]["value"] == "990101580312011"
    pressure = next(one for one in of(found, "Observation") if one["code"]["text"] == "血压")
    assert [one["valueQuantity"]["value"] for one in pressure["component"]] == [146, 88]
    glucose = next(one for one in of(found, "Observation") if one["code"]["text"] == "指尖血糖")
    assert glucose["method"]["text"] == "POCT"


def test_an_empty_allergy_column_says_nothing_and_a_denial_says_none() -> None:
    found = of(draft(f"{TOWN}/visits/morning"), "AllergyIntolerance")
    assert [one["code"]["text"] for one in found] == ["无已知过敏", "磺胺类"]
    assert found[0]["code"]["coding"][0]["code"] == "no-known-allergy"


def test_a_shifted_row_is_reported_and_the_others_are_translated() -> None:
    found = draft(f"{TOWN}/visits/shifted_row")
    assert len(of(found, "Encounter")) == 1
    assert [(one.code, one.place) for one in found.findings] == [("GW-TRN-007", "row 3")]


def test_a_row_with_an_impossible_value_is_named_and_the_others_are_translated() -> None:
    one = case(f"{TOWN}/visits/morning")
    body = one.body.decode("gb18030").replace("2026-03-18 09:05", "2026-02-30 09:05")
    found = sent(TOWN, "csv", body)
    assert len(of(found, "Encounter")) == 2
    assert [(note.code, note.place) for note in found.findings] == [("GW-TRN-004", "row 3, column 就诊日期")]
    assert len(found.records) == 2
    assert [note.place for note in found.unused if note.lost] == []
    source = mappings().directory.sources[TOWN]
    again, traces = mappings().trace(RawMessage("k1", TOWN, "csv", body.encode(), NOW), source, IDS, NOW)
    assert [made.json for made in again.resources] == [made.json for made in found.resources]
    assert {trace.place.partition(",")[0] for trace in traces if trace.place} == {"row 2", "row 4"}


def test_a_row_without_a_visit_number_or_from_the_future_is_left_out_alone() -> None:
    one = case(f"{TOWN}/visits/morning")
    text = one.body.decode("gb18030")
    found = sent(TOWN, "csv", text.replace("MZ2603190001", "").replace("2026-03-18 09:05", "2027-03-18 09:05"))
    assert {note.code for note in found.findings} == {"GW-TRN-002", "GW-TRN-009"}
    assert len(of(found, "Encounter")) == 1


def test_a_file_of_bad_rows_only_is_refused() -> None:
    header, first, *_ = case(f"{TOWN}/visits/morning").body.decode("gb18030").splitlines()
    with pytest.raises(BadValue):
        sent(TOWN, "csv", f"{header}\n{first.replace('2026-03-19', '2026-02-30')}\n")


def test_two_rows_that_are_one_visit_and_differ_are_told_an_allergy_said_twice_is_not() -> None:
    header, row, *_ = case(f"{TOWN}/visits/morning").body.decode("gb18030").splitlines()
    row = row.replace(",急性咽炎,,", ",急性咽炎,青霉素,")
    later = row.replace("2026-03-19", "2026-03-18")
    found = sent(TOWN, "csv", f"{header}\n{row}\n{later}\n")
    told = {note.place.partition("/")[0] for note in found.findings if note.code == "GW-MAP-007"}
    assert {"Encounter", "Condition"} <= told
    assert "AllergyIntolerance" not in told and len(of(found, "AllergyIntolerance")) == 2


REPORT_A_ROW = """format: csv
serves: old
rules:
  - {rule: patient, each: rows, to: Patient, id: [号]}
  - rule: item
    each: rows
    to: Observation
    id: [单, 项目]
    set: {status: final, code: {text: {from: 项目}}, subject: $subject, valueString: {from: 结果}}
  - rule: report
    each: rows
    to: DiagnosticReport
    id: [单]
    set: {status: final, code: {text: 检验}, subject: $subject, conclusion: {from: 结论}, result: {refs: item}}
"""


@pytest.mark.parametrize(("second", "told"), [("正常", []), ("偏高", ["DiagnosticReport"])])
def test_rows_of_one_report_may_name_each_its_result_but_not_say_otherwise(
    tmp_path: Path, second: str, told: list[str]
) -> None:
    own = tmp_path / "qu"
    own.mkdir()
    source = "name: 区医院\nlevel: secondary\nsources:\n  qu:\n    format: csv\n    settings: {kind.old: 号 单}\n"
    (own / "source.yaml").write_text(source, encoding="utf-8")
    (own / "old.yaml").write_text(REPORT_A_ROW, encoding="utf-8")
    mine = Mappings.load([tmp_path, shipped("mappings")], check=False)
    body = f"号,单,项目,结果,结论\n1,L1,钾,4.2,正常\n1,L1,钠,140,{second}\n".encode()
    found = mine.translate(RawMessage("k1", "qu", "csv", body, NOW), mine.directory.sources["qu"], IDS, NOW)
    assert [one.place.partition("/")[0] for one in found.findings] == told


VISITS = "就诊流水号,就诊日期,病人编号,身份证号,姓名,性别,出生日期,联系电话,过敏史\n"


@pytest.mark.parametrize(
    ("rows", "numbers"),
    [
        (("V1,,9.90101E+17,李建国,男,1958-03-12,", "V2,,9.90101E+17,赵丽,女,1986-02-14,"), ["V1", "V2"]),
        (("V1,,990101198602140666,赵丽,女,1986-02-14,", "V2,,990101198602140666,赵小宝,男,2026-01-02,"),
         ["990101198602140666", "V2"]),
        (("V1,P1,,赵丽,女,1986-02-14,", "V2,P1,,赵丽,女,1986-02-14,13900000002"), ["P1", "P1"]),
        (("V1,P1,,赵丽,女,1986-02-14,", "V2,P1,,赵丽,女,1986-02-14,"), ["P1"]),
    ],
)  # fmt: skip
def test_rows_are_one_patient_only_where_one_number_says_so(rows: tuple[str, str], numbers: list[str]) -> None:
    lines = (row.replace(",", ",2026-03-19,", 1) + ",青霉素" for row in rows)
    found = sent(TOWN, "csv", VISITS + "\n".join(lines) + "\n")
    assert [one.local_number for one in found.records] == numbers
    subjects = [one["subject"]["reference"] for one in of(found, "Encounter")]
    assert subjects == [f"Patient/@{min(number, len(numbers) - 1)}" for number in (0, 1)]
    assert len({one["id"] for one in of(found, "AllergyIntolerance")}) == len(set(numbers))


def test_a_vital_sign_or_a_dose_in_words_is_kept_as_such_and_costs_nobody_the_row() -> None:
    rows = "就诊流水号,就诊日期,病人编号,收缩压,舒张压,体温,体重,过敏史\nV1,2026-03-19,P1,测不出,,拒测,66,不详\n"
    found = sent(TOWN, "csv", rows)
    pressure, weight, heat = of(found, "Observation")
    assert of(found, "AllergyIntolerance") == []
    assert [one["valueString"] for one in (*pressure["component"], heat)] == ["测不出", "拒测"]
    assert weight["valueQuantity"]["value"] == 66
    drug = "处方号,处方日期,病人编号,药品名称,单次剂量,频次,总量,天数\nR1,2026-03-19,P1,炉甘石洗剂,适量,tid,1瓶,长期\n"
    (made,) = of(sent(TOWN, "csv", drug), "MedicationRequest")
    assert made["dosageInstruction"][0]["text"] == "适量 tid" and "dispenseRequest" not in made
    assert [one["text"] for one in made["note"]] == ["1瓶", "长期"]


def test_each_row_is_its_own_patient() -> None:
    found = draft(f"{TOWN}/visits/twins_with_the_mothers_number")
    assert [one.local_number for one in found.records] == ["T00171", "T00172"]
    subjects = [one["subject"]["reference"] for one in of(found, "Encounter")]
    assert subjects == ["Patient/@0", "Patient/@1"]


def test_lines_of_one_report_are_gathered_also_when_they_are_mixed() -> None:
    found = draft(f"{TOWN}/labs/urine_and_glucose")
    assert [len(one["result"]) for one in of(found, "DiagnosticReport")] == [2, 2]
    one = case(f"{TOWN}/labs/urine_and_glucose")
    header, *lines = one.body.decode("gb18030").splitlines()
    mixed = "\n".join([header, lines[0], lines[2], lines[1], lines[3]])
    again = sent(TOWN, "csv", mixed)
    assert [len(report["result"]) for report in of(again, "DiagnosticReport")] == [2, 2]


def test_the_same_file_makes_the_same_ids_and_two_members_never_share_one() -> None:
    first, second = draft(f"{TOWN}/visits/morning"), draft(f"{TOWN}/visits/morning")
    assert [one.id for one in first.resources] == [one.id for one in second.resources]
    other = {one.id for one in draft(f"{COUNTY}/c0053/stroke").resources}
    assert not other & {one.id for one in first.resources}


# ---- DICOM --------------------------------------------------------------------------------------
def test_instances_of_one_study_make_one_id_and_name_the_pacs() -> None:
    found = [draft(f"city_first_pacs/instance/ct_chest_plain_{part}") for part in ("1_1", "1_2", "2_1")]
    studies = [of(one, "ImagingStudy")[0] for one in found]
    assert len({one["id"] for one in studies}) == 1
    assert len({one["series"][0]["uid"] for one in studies}) == 2
    assert len({one["series"][0]["instance"][0]["uid"] for one in studies}) == 3
    directory = mappings().directory
    pacs = endpoint(directory.sources["city_first_pacs"], directory, Ids(GOLDEN_KEY))
    assert studies[0]["endpoint"] == [{"reference": f"Endpoint/{pacs['id']}"}]
    assert not of(found[0], "Endpoint")  # it is written down with its member, not by every image
    assert found[0].records[0].in_passing


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ct_head_gb18030", "张珅"),
        ("dx_chest_utf8", "张珅"),
        ("dx_chest_ir58", "李建国"),
        ("us_abdomen_undeclared", "刘桂兰"),
    ],
)
def test_names_come_through_every_dicom_charset(name: str, text: str) -> None:
    found = draft(f"city_first_pacs/instance/{name}")
    assert found.records[0].patient["name"][0]["text"] == text
    assert "\x1b" not in str(found.records[0].patient)


def test_a_pacs_without_an_address_has_no_endpoint() -> None:
    one = case("city_first_pacs/instance/dx_knee")
    source = dataclasses.replace(mappings().directory.sources["city_first_pacs"], settings={})
    found = mappings().translate(RawMessage("k1", source.name, "dicom", one.body, NOW), source, IDS, NOW)
    assert "endpoint" not in of(found, "ImagingStudy")[0]


# ---- JSON ---------------------------------------------------------------------------------------
def test_a_json_report_becomes_a_report_without_loss() -> None:
    item = {"code": "CREA", "name": "肌酐", "value": 9, "unit": "mg/dL", "range": "0.5-1.1", "flag": "↑"}
    body = {
        "type": "lab_report",
        "sent_at": "2026-03-20 08:00",
        "patient": {"number": "J1", "name": "赵丽", "sex": "女", "birth_date": "1986-02-14", "phone": "13899010006"},
        "report": {"number": "R1", "order": "O1", "name": "肾功能", "issued_at": "2026-03-20 07:50", "status": "正式"},
        "specimen": {"type": "血清", "collected_at": "2026-03-20 06:30"},
        "results": [item],
    }
    # A number with a trailing zero, which json.dumps cannot write.
    found = sent("sandbox", "json", json.dumps(body, ensure_ascii=False).replace('"value": 9', '"value": 1.20'))
    made = of(found, "Observation")[0]
    assert str(made["valueQuantity"]["value"]) == "1.20"
    assert made["interpretation"][0]["coding"][0]["code"] == "H"
    assert of(found, "DiagnosticReport")[0]["result"] == [{"reference": f"Observation/{made['id']}"}]
    found = sent("sandbox", "json", json.dumps(body | {"results": [item | {"code": "X-9981", "name": "新项目"}]}))
    assert [(one.code, one.place) for one in found.findings] == [("GW-MAP-001", "results[1]/code")]
    assert [one.place for one in found.unused if one.lost] == []


# ---- declared ranges ----------------------------------------------------------------------------
def test_the_county_hospitals_own_intervals_are_found_by_sex_and_age() -> None:
    ranges = mappings().ranges()
    found = ranges.find(COUNTY, "14682-9", "female", 58)
    assert found is not None
    assert (found.text, found.unit) == ("41–73", "umol/L")
    assert ranges.find(COUNTY, "14682-9", "female", None) is None
    assert ranges.find(TOWN, "14682-9", "female", 58) is None


def test_no_story_file_is_missing_its_reason() -> None:
    root = Path(shipped("fixtures"))
    lacking = [str(one.parent) for one in root.glob("*/*/*/case.yaml") if not (one.parent / "why.md").exists()]
    assert lacking == []
