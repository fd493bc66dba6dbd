"""What warns a doctor, at 2026-03-20 09:00, and what does not any more."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from gateway.errors import ConfigError
from gateway.model.resource import Json
from gateway.model.systems import ALERT
from gateway.outbound.alerts import Alert, Kind, alerts, to_detected_issues
from gateway.outbound.drug_classes import allergens, load
from gateway.outbound.record import Record
from gateway.recognise import rules
from tests.builders import (
    M1,
    M3,
    M4,
    NOW,
    a_medication,
    a_patient,
    a_report,
    a_study,
    an_allergy,
    an_observation,
    stored,
    the_directory,
)

PROFILES = Path(__file__).parents[3] / "profiles"
SHEET = rules.load(PROFILES / "recognition/990101-2026.yaml")
CLASSES = load(PROFILES / "codesystem/drug-classes.csv")


def found(*resources: Json, at: datetime = NOW) -> list[Alert]:
    record = Record.of([stored(r) for r in (a_patient(), *resources)])
    return alerts(record, the_directory(), CLASSES, SHEET, at=at)


# ---- critical values -----------------------------------------------------------------------------
def potassium(id: str, value: str, at: str, **more: Any) -> Json:
    return an_observation(id, "钾", value, "mmol/L", loinc="2823-3", collected=at, issued=at, **more)


def test_a_critical_value_is_told_with_range_and_who_was_told() -> None:
    item = an_observation(
        "plt",
        "血小板",
        "18",
        "10^9/L",
        loinc="777-3",
        flag="LL",
        band=("125", "350"),
        member=M3,
        issued="2026-03-20T08:30:00+08:00",
        told=("周医生", "2026-03-20T08:32:00+08:00"),
    )
    (alert,) = found(item)
    assert (alert.kind, alert.severity) == ("critical-value", "high")
    assert alert.title_zh == "危急值：血小板 18 10^9/L 危急低"
    assert alert.text_zh == "参考区间 125–350；县人民医院 03-20 08:32 已告知 周医生。"
    assert (alert.told, alert.evidence) == ("周医生", ("Observation/plt",))


def test_when_the_source_does_not_say_who_was_told_it_is_not_made_up() -> None:
    (alert,) = found(potassium("k", "6.8", "2026-03-20T08:40:00+08:00", flag="HH"))
    assert alert.text_zh == "来源未提供参考区间；市第一人民医院 03-20 08:40 发布，告知情况来源未提供。"
    assert (alert.told, alert.told_at) == ("", None)


def test_a_corrected_value_takes_the_alert_away() -> None:
    assert found(potassium("k", "4.2", "2026-03-20T08:40:00+08:00", status="corrected")) == []


def test_a_later_normal_result_answers_a_critical_one() -> None:
    first = potassium("a", "6.8", "2026-03-19T08:00:00+08:00", flag="HH")
    assert found(first, potassium("b", "4.2", "2026-03-19T18:00:00+08:00")) == []
    assert len(found(first, potassium("b", "7.0", "2026-03-19T18:00:00+08:00", flag="HH"))) == 1


@pytest.mark.parametrize("status", ["cancelled", "final"])
def test_a_later_test_without_a_result_answers_nothing(status: str) -> None:
    first = potassium("a", "6.8", "2026-03-19T08:00:00+08:00", flag="HH")
    none = an_observation(
        "b",
        "钾",
        None,
        loinc="2823-3",
        status=status,
        collected="2026-03-19T18:00:00+08:00",
        issued="2026-03-19T18:00:00+08:00",
    )
    (alert,) = found(first, none)
    assert alert.evidence == ("Observation/a",)


def test_a_preliminary_result_answers_nothing_but_may_be_critical_itself() -> None:
    first = potassium("a", "6.8", "2026-03-19T08:00:00+08:00", flag="HH")
    later = potassium("b", "4.2", "2026-03-19T18:00:00+08:00", status="preliminary")
    assert [alert.evidence for alert in found(first, later)] == [("Observation/a",)]
    grave = potassium("b", "7.1", "2026-03-19T18:00:00+08:00", status="preliminary", flag="HH")
    assert [alert.evidence for alert in found(first, grave)] == [("Observation/b",)]


def test_a_critical_component_makes_its_result_critical() -> None:
    part = {"code": {"text": "pH"}, "valueString": "7.01", "interpretation": [{"coding": [{"code": "LL"}]}]}
    (alert,) = found(potassium("k", "4.2", "2026-03-20T08:40:00+08:00", component=[part]))
    assert alert.title_zh == "危急值：钾 4.2 mmol/L 危急"


def test_a_leap_second_is_read() -> None:
    assert len(found(potassium("k", "6.8", "2026-03-19T23:59:60+08:00", flag="HH"))) == 1


def test_the_newest_result_is_newest_by_its_own_time_not_by_its_column() -> None:
    morning = an_observation("na", "钠", "140", "mmol/L", loinc="2951-2", collected="2026-03-19T07:00:00+08:00")
    later = potassium("a", "6.8", "2026-03-19T10:00:00+08:00", flag="HH")
    between = potassium("b", "4.2", "2026-03-19T09:00:00+08:00", member=M3)
    assert [alert.evidence for alert in found(morning, later, between)] == [("Observation/a",)]


def test_a_critical_result_of_an_examination_is_told_too() -> None:
    qtc = an_observation("q", "QTc间期", "560", "ms", flag="HH", issued="2026-03-20T08:40:00+08:00", category=[])
    (alert,) = found(qtc, a_report("e", "心电图", [qtc], category="EC"))
    assert alert.title_zh == "危急值：QTc间期 560 ms 危急高"
    assert alert.text_zh == "市第一人民医院 03-20 08:40 发布，告知情况来源未提供。"


def test_high_and_critical_said_apart_are_critically_high() -> None:
    words = [{"coding": [{"code": code}]} for code in ("H", "AA")]
    (alert,) = found(potassium("k", "6.8", "2026-03-20T08:40:00+08:00", interpretation=words))
    assert alert.title_zh == "危急值：钾 6.8 mmol/L 危急高"


def test_an_old_critical_value_is_history() -> None:
    item = potassium("k", "6.8", "2026-03-01T08:00:00+08:00", flag="HH")
    assert len(found(item)) == 1
    assert found(item, at=NOW + timedelta(days=60)) == []


# ---- allergies -----------------------------------------------------------------------------------
def amoxicillin(name: str = "阿莫西林") -> Json:
    return a_medication("amox", name, member=M4, authored="2026-03-19T09:00:00+08:00")


def test_amoxicillin_conflicts_with_an_allergy_to_penicillin() -> None:
    (alert,) = found(an_allergy(), amoxicillin())
    assert alert.title_zh == "阿莫西林与过敏史冲突：青霉素"
    assert alert.text_zh == "镇卫生院 03-19 门诊处方；过敏史来源 市第一人民医院。"
    assert alert.evidence == ("MedicationRequest/amox", "AllergyIntolerance/a1")


@pytest.mark.parametrize("name", ["阿莫西林胶囊 0.25g", "阿莫西林克拉维酸钾片", "注射用青霉素钠"])
def test_every_penicillin_conflicts_whatever_its_form(name: str) -> None:
    assert len(found(an_allergy(), amoxicillin(name))) == 1


@pytest.mark.parametrize("name", ["头孢克洛", "阿奇霉素片", "青霉胺"])
def test_another_class_does_not_conflict(name: str) -> None:
    assert found(an_allergy(), amoxicillin(name)) == []


def test_free_text_allergies_are_read_word_by_word() -> None:
    (alert,) = found(an_allergy(allergen="磺胺、青霉素类药物过敏"), amoxicillin())
    assert alert.title_zh.endswith("冲突：青霉素")
    assert allergens("对碘造影剂过敏") == ("碘造影剂",)


@pytest.mark.parametrize(
    ("allergen", "drug"),
    [
        ("对乙酰氨基酚过敏", "对乙酰氨基酚片"),
        ("对对乙酰氨基酚过敏", "布洛芬缓释胶囊"),
        ("对比剂过敏", "碘海醇注射液"),
        ("磺胺药过敏", "复方磺胺甲噁唑片"),
    ],
)
def test_an_allergen_is_known_by_the_name_it_is_written_under(allergen: str, drug: str) -> None:
    (alert,) = found(an_allergy(allergen=allergen), amoxicillin(drug))
    assert alert.kind == "allergy-conflict"


def test_a_drug_outside_the_table_conflicts_with_itself() -> None:
    assert len(found(an_allergy(allergen="板蓝根"), amoxicillin("板蓝根颗粒"))) == 1


def test_no_known_allergy_resolved_allergies_and_past_drugs_do_not_alert() -> None:
    none = an_allergy(allergen="无已知过敏", code={"coding": [{"code": "no-known-allergy"}], "text": "无已知过敏"})
    resolved = an_allergy(clinicalStatus={"coding": [{"code": "resolved"}]})
    assert found(none, amoxicillin()) == [] == found(resolved, amoxicillin())
    assert found(an_allergy(), amoxicillin() | {"status": "stopped"}) == []


# ---- duplicate drugs -----------------------------------------------------------------------------
def test_the_same_drug_prescribed_again_while_days_are_left() -> None:
    hospital = a_medication("h", days=30, category="discharge", member=M3)
    township = a_medication("t", member=M4, authored="2026-03-18T09:00:00+08:00")
    (alert,) = found(hospital, township)
    assert alert.title_zh == "同药重复 ×2：阿司匹林"
    assert alert.text_zh == "县人民医院出院带药尚余 16 天，镇卫生院 03-18 又开出。续方前请核对。"
    assert alert.evidence == ("MedicationRequest/t", "MedicationRequest/h")


def test_a_used_up_supply_is_no_duplicate() -> None:
    hospital = a_medication("h", days=7, member=M3)
    assert found(hospital, a_medication("t", member=M4, authored="2026-03-18T09:00:00+08:00")) == []


# ---- repeated examinations -----------------------------------------------------------------------
def ct(id: str, day: str, member: str, name: str = "胸部CT平扫", studies: list[Json] | None = None) -> Json:
    moment = f"2026-{day}T10:00:00+08:00"
    return a_report(id, name, category="CT", member=member, collected=moment, issued=moment, studies=studies or [])


def test_the_same_examination_four_days_later_is_a_repeat() -> None:
    (alert,) = found(ct("a", "03-10", M1), ct("b", "03-14", M3))
    assert alert.title_zh == "4 天内重复：胸部CT平扫"
    assert alert.text_zh == "县人民医院 03-14 与 市第一人民医院 03-10 同部位、同方法。"
    assert (alert.severity, alert.evidence) == ("low", ("DiagnosticReport/b", "DiagnosticReport/a"))


def test_an_enhanced_scan_is_no_repeat_of_a_plain_one() -> None:
    assert found(ct("a", "03-10", M1), ct("b", "03-15", M1, "胸部CT增强")) == []


def test_an_examination_after_the_window_is_no_repeat() -> None:
    assert found(ct("a", "01-10", M1), ct("b", "03-14", M3)) == []


def test_two_reports_on_the_same_images_are_one_examination() -> None:
    study = a_study()
    assert found(study, ct("a", "03-10", M1, studies=[study]), ct("b", "03-11", M1, studies=[study])) == []


def test_images_without_a_report_count_once() -> None:
    lone = a_study("lone", started="2026-03-14T09:00:00+08:00", member=M3)
    assert len(found(ct("a", "03-10", M1), lone)) == 1
    assert found(ct("b", "03-14", M3), lone) == []


# ---- together ------------------------------------------------------------------------------------
def test_the_gravest_alert_stands_first_and_becomes_a_detected_issue() -> None:
    got = found(
        ct("a", "03-10", M1),
        ct("b", "03-14", M3),
        an_allergy(),
        amoxicillin(),
        potassium("k", "6.8", "2026-03-20T08:40:00+08:00", flag="HH"),
    )
    assert [alert.kind for alert in got] == ["critical-value", "allergy-conflict", "repeated-examination"]
    issues = to_detected_issues(got, "p1", at=NOW)
    assert [issue["severity"] for issue in issues] == ["high", "high", "low"]
    assert issues[1]["code"]["coding"][1]["code"] == "ALGY"
    assert issues[0]["patient"] == {"reference": "Patient/p1"}
    assert issues[0]["identifiedDateTime"] == "2026-03-20T08:40:00+08:00"


def test_a_drug_table_with_a_fault_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text("name,class\n阿莫西林,青霉素类\n阿莫西林,青霉素类\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"classes\.csv:3"):
        load(path)


def test_the_published_code_system_lists_every_kind_of_alert() -> None:
    published = json.loads((PROFILES / "codesystem/alert.json").read_text("utf-8"))
    assert published["url"] == ALERT
    assert [concept["code"] for concept in published["concept"]] == list(get_args(Kind))
