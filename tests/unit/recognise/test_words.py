"""The sentences for the record, and decisions as FHIR Parameters."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.model.resource import Json
from gateway.model.systems import RECOGNITION_REASON, RECOGNITION_VERDICT
from gateway.recognise.decide import citation, copy_text, patient_parameters, to_parameters
from gateway.recognise.reasons import BY_CODE, FOR_REPEATING, WHY, WHY_NOT, Verdict
from tests.builders import NOW, a_report, a_study, an_observation
from tests.unit.recognise.cases import chemistry, decided

HOSPITAL = "市第一人民医院"
PROFILES = Path(__file__).parents[3] / "profiles/codesystem"


def parts(parameters: Json, name: str) -> list[Any]:
    return [p for p in parameters["parameter"] if p["name"] == name]


def test_recognised_items_stand_in_one_sentence_and_refused_ones_by_reason() -> None:
    items = chemistry()
    report = a_report(results=items)
    text = copy_text(report, items, decided(report, items), HOSPITAL)
    assert text.yes.startswith("引用市第一人民医院2026-03-08总蛋白 72.1 g/L、白蛋白 43.6 g/L、")
    assert text.yes.endswith(
        "甘油三酯 2.10 mmol/L、高密度脂蛋白胆固醇 1.18 mmol/L、低密度脂蛋白胆固醇 3.31 mmol/L，予以互认。"
    )
    assert text.no.splitlines() == [
        "引用市第一人民医院2026-03-08γ-谷氨酰转移酶 61 U/L，不予互认，理由：质评未通过。",
        "引用市第一人民医院2026-03-08钾 4.3 mmol/L、钠 140 mmol/L、氯 103 mmol/L、钙 2.31 mmol/L，"
        "不予互认，理由：已过时效。",
    ]


def test_a_titre_is_cited_with_both_its_numbers() -> None:
    titre = {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 320}}}
    said = citation(a_report(), [an_observation("a", "抗核抗体", None) | titre], HOSPITAL)
    assert "抗核抗体 1:320，" in said


def test_with_nothing_to_say_there_is_no_sentence() -> None:
    items = [an_observation("x", "某新项目", "1")]
    report = a_report(results=items)
    text = copy_text(report, items, decided(report, items), HOSPITAL)
    assert (text.yes, text.no) == ("", "")


def test_an_examination_is_cited_by_its_name_never_by_its_conclusion() -> None:
    report = a_report("ct", "胸部CT平扫", category="CT", issued="2026-03-10T11:20:00+08:00", conclusion="双肺炎症")
    text = copy_text(report, [], decided(report, [], [a_study()]), HOSPITAL)
    assert text.yes == "引用市第一人民医院2026-03-10胸部CT平扫，予以互认。"


def test_a_doctors_own_choice_becomes_a_sentence_with_its_reason() -> None:
    item = an_observation("p", "降钙素原", "<0.05", "ng/mL")
    assert citation(a_report(), [item], HOSPITAL, "主诊医师认为确有必要") == (
        "引用市第一人民医院2026-03-08降钙素原 <0.05 ng/mL，不予互认，理由：主诊医师认为确有必要。"
    )


def test_the_day_is_the_day_in_china() -> None:
    report = a_report(issued="2026-03-07T18:30:00Z")
    assert citation(report, [], HOSPITAL).startswith("引用市第一人民医院2026-03-08")


def test_parameters_carry_verdict_count_end_and_every_item() -> None:
    items = chemistry()
    found = to_parameters(decided(a_report(results=items), items))
    assert parts(found, "verdict")[0]["valueCoding"]["code"] == "yes"
    assert parts(found, "recognisable")[0]["valueUnsignedInt"] == 15
    assert parts(found, "validUntil")[0]["valueDateTime"] == "2026-04-07T10:00:00+08:00"
    first = {p["name"]: p for p in parts(found, "item")[0]["part"]}
    assert first["observation"]["valueReference"] == {"reference": "Observation/o0"}
    rule = {p["name"]: p for p in first["rule"]["part"]}
    assert (rule["window"]["valueString"], rule["scope"]["valueCode"]) == ("生化 30 天", "city")
    expired = next(p for p in parts(found, "item")[16]["part"] if p["name"] == "reason")["valueCodeableConcept"]
    assert (expired["coding"][0]["code"], expired["text"]) == ("expired", "已过时效（电解质 7 天）")


def test_parameters_of_a_resident_hold_one_decision_a_report() -> None:
    items = chemistry()
    one = decided(a_report(results=items), items)
    two = decided(a_report("ct", "胸部CT平扫", category="CT"), at=NOW + timedelta(days=1))
    found = patient_parameters([one, two])
    assert [p["part"][0]["valueReference"]["reference"] for p in found["parameter"]] == [
        "DiagnosticReport/r1",
        "DiagnosticReport/ct",
    ]
    assert patient_parameters([]) == {"resourceType": "Parameters"}  # R4 knows no empty array


def test_the_published_code_systems_say_what_the_rules_use() -> None:
    reasons = json.loads((PROFILES / "recognition-reason.json").read_text("utf-8"))
    assert reasons["url"] == RECOGNITION_REASON
    assert {c["code"]: c["display"] for c in reasons["concept"]} == {r.code: r.zh for r in BY_CODE.values()}
    english = {c["code"]: c["designation"][0]["value"] for c in reasons["concept"]}
    assert english == {r.code: r.en for r in BY_CODE.values()}
    verdicts = json.loads((PROFILES / "recognition-verdict.json").read_text("utf-8"))
    assert verdicts["url"] == RECOGNITION_VERDICT
    assert {c["code"]: c["display"] for c in verdicts["concept"]} == {v.value: v.zh for v in Verdict}


def test_reason_codes_are_unique_and_only_98_and_99_do_not_count() -> None:
    assert len(BY_CODE) == len(FOR_REPEATING) + len(WHY_NOT) + len(WHY)
    assert [reason.code for reason in FOR_REPEATING if not reason.counts] == ["98", "99"]


def test_the_instant_of_the_decision_is_part_of_it() -> None:
    found = to_parameters(decided(a_report("ct", "胸部CT平扫", category="CT")))
    assert datetime.fromisoformat(parts(found, "at")[0]["valueDateTime"]) == NOW
