"""The cumulative grid: what stands in its cells and what was made of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from gateway.model.ranges import DeclaredRange, DeclaredRanges
from gateway.model.resource import Json
from gateway.outbound.labs import LabGrid, Reading, Row, grid
from gateway.outbound.record import Record
from tests.builders import (
    M1,
    M2,
    M3,
    M4,
    NOW,
    a_patient,
    a_report,
    a_specimen,
    an_observation,
    stored,
    the_directory,
)

CREATININE = "14682-9"
DECLARED = DeclaredRanges.of(
    [
        DeclaredRange(M3, CREATININE, "female", 60, 79, "μmol/L", Decimal(41), Decimal(81), "41-81"),
        DeclaredRange(M3, CREATININE, "male", 60, 79, "μmol/L", Decimal(57), Decimal(111), "57-111"),
        DeclaredRange(M3, "14647-2", "", None, None, "mmol/L", None, Decimal("5.18"), "<5.18"),
    ]
)


def the_grid(
    *resources: Json, previous: Mapping[str, Json] | None = None, at: datetime = NOW, patient: Json | None = None
) -> LabGrid:
    everything = [patient or a_patient(gender="female", birth="1949-11-18"), *resources]
    return grid(Record.of([stored(r) for r in everything]), the_directory(), DECLARED, at=at, previous=previous)


def row_of(found: LabGrid, key: str) -> Row:
    return next(row for row in found.rows if row.key == key)


def cell(*resources: Json, key: str = CREATININE, **how: Any) -> Reading:
    return next(c for c in row_of(the_grid(*resources, **how), key).cells if c)


def creatinine(id: str, value: str, day: str, member: str = M1, **more: Any) -> Json:
    unit = more.pop("unit", "μmol/L")
    return an_observation(
        id, "肌酐", value, unit, loinc=CREATININE, member=member, collected=f"{day}T08:00:00+08:00", **more
    )


# ---- times ---------------------------------------------------------------------------------------
def test_a_result_stands_at_the_time_its_source_gives_in_any_form() -> None:
    def at(**effective: object) -> datetime:
        old = an_observation("o") | effective
        del old["effectiveDateTime"], old["issued"]
        return the_grid(old).columns[0].at

    moment = "2020-01-01T08:00:00+08:00"
    forms: list[Json] = [{"effectiveInstant": moment}, {"effectiveTiming": {"event": [moment]}}]
    forms.append({"effectivePeriod": {"start": moment, "end": "2020-01-02"}})
    assert {at(**form) for form in forms} == {datetime.fromisoformat(moment)}


# ---- values of more than one number -------------------------------------------------------------
def test_components_and_waves_are_not_told_as_not_measured() -> None:
    parts = [
        {"code": {"text": "pH"}, "valueQuantity": {"value": Decimal("7.10")}},
        {"code": {"text": "pCO2"}, "valueQuantity": {"value": 60, "unit": "mmHg"}},
        {"code": {"text": "pO2"}, "dataAbsentReason": {"text": "标本不足"}},
    ]
    gas = an_observation("g", "血气", None, loinc="24336-0", component=parts)
    del gas["dataAbsentReason"]
    wave = an_observation("w", "心电", None, loinc="11524-6", valueSampledData={"data": "1 2 3", "dimensions": 1})
    assert cell(gas, key="24336-0").value == "pH 7.10；pCO2 60 mmHg"
    assert cell(wave, key="11524-6").value == "波形数据"
    beside = an_observation("a", "Apgar", "9", "", loinc="9274-2", component=parts[:1])
    assert (cell(beside, key="9274-2").value, cell(beside, key="9274-2").note) == ("9", "pH 7.10")


def test_a_unit_given_as_a_code_alone_is_shown() -> None:
    coded = creatinine("c", "900", "2026-03-08")
    coded["valueQuantity"] = {"value": 900, "system": "http://unitsofmeasure.org", "code": "umol/L"}
    assert cell(coded).unit == "umol/L"


def test_a_titre_and_a_span_stand_in_their_cells_as_sent() -> None:
    titre = {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 320}}}
    ends = {side: {"value": value, "unit": "/HP"} for side, value in (("low", 0), ("high", 2))}
    found = the_grid(
        an_observation("a", "抗核抗体", None, loinc="5048-4") | titre,
        an_observation("b", "红细胞", None, loinc="13945-1") | {"valueRange": ends},
    )
    cells = {row.key: (c.value, c.unit) for row in found.rows for c in row.cells if c}
    assert cells == {"5048-4": ("1:320", ""), "13945-1": ("0-2", "/HP")}


# ---- units (刘桂兰) ------------------------------------------------------------------------------
def test_mg_dl_and_umol_stand_on_one_trend_with_the_arithmetic() -> None:
    found = the_grid(
        creatinine("b", "1.20", "2026-03-12", M2, unit="mg/dL", flag="H", band=("0.50", "1.10")),
        creatinine("a", "106", "2026-03-18", flag="H", band=("41", "81")),
    )
    row = row_of(found, CREATININE)
    first, second = row.cells
    assert first and second and first.shown
    assert (first.value, first.unit, first.number) == ("1.20", "mg/dL", Decimal("106"))
    assert first.shown.text == "≈106 μmol/L (×88.4)"
    assert first.shown.arithmetic == "1.20 × 88.4 = 106.080"
    assert first.band.text == "0.50–1.10 mg/dL"
    assert (first.band.low, first.band.high) == (Decimal("44.2000"), Decimal("97.2400"))
    assert second.shown is None and second.band.text == "41–81"
    assert (row.unit, [p.converted for p in row.points]) == ("μmol/L", [True, False])
    assert row.label == "肌酐，旧到新 2 次：≈106 偏高、106 偏高 μmol/L"


def test_a_unit_that_is_only_spelled_otherwise_keeps_its_original_words() -> None:
    found = the_grid(
        an_observation("w", "白细胞", "6.5", "G/L", loinc="6690-2", member=M2),
        an_observation("h", "血红蛋白", "132", "G/L", loinc="718-7", member=M2),
    )
    white, red = row_of(found, "6690-2"), row_of(found, "718-7")
    assert (white.unit, red.unit) == ("10⁹/L", "g/L")
    assert white.cells[0] and white.cells[0].shown and white.cells[0].shown.text == "原文 6.5 G/L"
    assert red.cells[0] and red.cells[0].shown and red.cells[0].shown.renamed
    assert not red.points[0].converted


def test_typography_of_a_unit_is_not_worth_a_word() -> None:
    item = an_observation("w", "白细胞", "6.5", "×10^9/L", loinc="6690-2")
    assert cell(item, key="6690-2").shown is None


def test_hba1c_stays_on_two_rows_even_under_one_code() -> None:
    found = the_grid(
        an_observation("p", "糖化血红蛋白", "6.8", "%", loinc="4548-4"),
        an_observation("m", "糖化血红蛋白", "51", "mmol/mol", loinc="59261-8", member=M2),
        an_observation("x", "糖化血红蛋白", "50", "mmol/mol", loinc="4548-4", member=M4),
    )
    assert {(row.key, row.unit) for row in found.rows} == {
        ("4548-4", "%"),
        ("59261-8", "mmol/mol"),
        ("4548-4@mmol/mol", "mmol/mol"),
    }


def test_the_two_pct_stay_apart_and_an_unmapped_item_is_visible() -> None:
    found = the_grid(
        an_observation("a", "PCT", "0.21", "%", loinc="51637-7", member=M2),
        an_observation("b", "PCT", "0.08", "ng/mL", loinc="33959-8", member=M2),
        an_observation("c", "某新项目", "3.1", "", local="X-9981", member=M2),
    )
    assert {row.name for row in found.rows} == {"血小板压积", "降钙素原", "某新项目"}
    unmapped = row_of(found, f"{M2}:X-9981")
    assert (unmapped.coded, unmapped.short, unmapped.group) == (False, "X-9981", "未编码")
    assert found.rows[-1] is unmapped


def test_a_number_without_unit_does_not_join_the_trend() -> None:
    found = the_grid(creatinine("a", "106", "2026-03-18"), creatinine("b", "95", "2025-12-15", M4, unit=""))
    assert {row.key for row in found.rows} == {CREATININE, f"{CREATININE}@单位未提供"}


# ---- flags and bands -----------------------------------------------------------------------------
def test_a_declared_range_judges_only_where_the_report_prints_none() -> None:
    found = cell(creatinine("a", "92", "2025-09-08", M3))
    assert found.flag and (found.flag.code, found.flag.zh, found.flag.origin) == ("H", "偏高", "declared")
    assert (found.band.origin, found.band.text) == ("declared", "41–81")
    printed = cell(creatinine("a", "92", "2025-09-08", M3, band=("40", "100")))
    assert (printed.band.origin, printed.flag) == ("report", None)


def test_a_declared_range_fits_sex_and_age_at_collection() -> None:
    man = a_patient(gender="male", birth="1949-11-18")
    assert cell(creatinine("a", "92", "2025-09-08", M3), patient=man).band.text == "57–111"
    assert cell(creatinine("a", "92", "2000-09-08", M3)).band.origin == "none"


def test_without_any_range_nothing_is_flagged_and_it_says_so() -> None:
    found = cell(creatinine("a", "950", "2025-12-15", M4))
    assert (found.flag, found.band.text, found.band.origin) == (None, "来源未提供参考区间", "none")


def test_a_flag_without_direction_takes_it_from_the_range() -> None:
    high = cell(creatinine("a", "92", "2025-09-08", M3, flag="A"))
    assert high.flag and (high.flag.symbol, high.flag.origin) == ("↑H", "declared")
    inside = cell(creatinine("a", "60", "2025-09-08", M3, flag="A"))
    assert inside.flag and (inside.flag.zh, inside.flag.origin) == ("异常", "source")


def test_the_laboratorys_own_flag_is_never_overruled() -> None:
    high = cell(creatinine("a", "92", "2026-03-18", flag="H", band=("41", "111")))
    assert high.flag and high.flag.origin == "source"
    assert cell(creatinine("a", "92", "2026-03-18", flag="N", band=("41", "81"))).flag is None


def test_a_value_outside_the_printed_range_without_a_letter_is_flagged_as_ours() -> None:
    found = cell(creatinine("a", "92", "2026-03-18", band=("41", "81")))
    assert found.flag and (found.flag.code, found.flag.origin) == ("H", "report")


def test_less_than_a_limit_is_not_high_and_keeps_its_sign() -> None:
    item = an_observation("p", "降钙素原", "<0.05", "ng/mL", loinc="33959-8", band_text="<0.05")
    found = cell(item, key="33959-8")
    assert (found.value, found.number, found.flag, found.band.text) == ("<0.05", Decimal("0.05"), None, "<0.05")


def test_a_qualitative_result_is_text_and_makes_no_point() -> None:
    item = an_observation("h", "乙肝表面抗原", "阳性(+)", loinc="5195-3", flag="POS")
    row = row_of(the_grid(item), "5195-3")
    assert row.cells[0] and row.cells[0].value == "阳性(+)" and row.abnormal
    assert row.points == ()
    assert row.label == "乙肝表面抗原，旧到新 1 次：阳性(+) 阳性"


def test_a_critical_value_says_who_was_told_and_when() -> None:
    item = an_observation(
        "p", "血小板", "18", "10^9/L", loinc="777-3", flag="LL", told=("周医生", "2026-03-20T15:32:00+08:00")
    )
    found = cell(item, key="777-3")
    assert found.critical and found.flag and found.flag.symbol == "↓↓LL"
    assert (found.notice_told, str(found.notice_at)) == ("周医生", "2026-03-20 15:32:00+08:00")


# ---- states and times ----------------------------------------------------------------------------
def test_a_corrected_value_shows_the_one_before() -> None:
    now = an_observation("k", "钾", "4.2", "mmol/L", loinc="2823-3", status="corrected")
    before = an_observation("k", "钾", "6.8", "mmol/L", loinc="2823-3", flag="HH")
    found = cell(now, key="2823-3", previous={"k": before})
    assert (found.corrected, found.status_zh, found.previous, found.critical) == (True, "已更正", "6.8 mmol/L", False)


def test_a_final_value_changed_in_silence_counts_as_corrected_but_a_finished_preliminary_does_not() -> None:
    now = creatinine("a", "92", "2026-03-18")
    assert cell(now, previous={"a": creatinine("a", "95", "2026-03-18")}).corrected
    assert not cell(now, previous={"a": creatinine("a", "95", "2026-03-18", status="preliminary")}).corrected


def test_all_five_times_specimen_and_method_are_told() -> None:
    specimen = a_specimen(received="2026-03-12T08:05:00+08:00")
    item = creatinine("a", "106", "2026-03-12", method={"text": "苦味酸法"}, specimen={"reference": "Specimen/sp1"})
    report = a_report(results=[item], verified="2026-03-12T10:20:00+08:00")
    found = cell(item, report, specimen)
    moments = (found.times.collected, found.times.received, found.times.verified)
    assert [f"{m:%H:%M}" for m in moments if m] == ["08:00", "08:05", "10:20"]
    assert found.times.arrived and found.times.issued and found.times.arrived > found.times.issued
    assert (found.specimen, found.method, found.report_id) == ("血清", "苦味酸法", "r1")


def test_another_method_breaks_the_trend() -> None:
    first = creatinine("a", "92", "2026-03-10", method={"text": "苦味酸法"})
    second = creatinine("b", "95", "2026-03-12", method={"text": "酶法"})
    points = row_of(the_grid(first, second), CREATININE).points
    assert [p.method_changed for p in points] == [False, True]


# ---- columns -------------------------------------------------------------------------------------
def test_columns_run_old_to_new_and_the_newest_is_marked() -> None:
    found = the_grid(
        creatinine("c", "106", "2026-03-18"),
        creatinine("a", "92", "2025-09-08", M3),
        creatinine("b", "95", "2025-12-15", M4),
    )
    assert [(c.member_name, c.latest) for c in found.columns] == [
        ("县人民医院", False),
        ("镇卫生院", False),
        ("市第一人民医院", True),
    ]
    assert [c and c.value for c in found.rows[0].cells] == ["92", "95", "106"]


def test_panels_of_one_day_share_a_column_and_a_repeat_opens_another() -> None:
    morning = creatinine("a", "92", "2026-03-18")
    count = an_observation("w", "白细胞", "6.5", "10^9/L", loinc="6690-2", collected="2026-03-18T08:10:00+08:00")
    evening = creatinine("b", "99", "2026-03-18") | {"effectiveDateTime": "2026-03-18T18:00:00+08:00"}
    reports = a_report("r1", results=[morning]), a_report("r2", results=[count]), a_report("r3", results=[evening])
    found = the_grid(morning, count, evening, *reports)
    assert [column.reports for column in found.columns] == [("r1", "r2"), ("r3",)]


def test_a_date_in_the_future_is_shown_but_never_the_latest() -> None:
    found = the_grid(creatinine("a", "92", "2026-03-18"), creatinine("b", "95", "2062-03-18"))
    assert [column.latest for column in found.columns] == [True, False]


def test_cultures_vital_signs_and_withdrawn_items_are_not_in_the_grid() -> None:
    drug = an_observation("d", "头孢曲松", "≥64", flag="R")
    isolate = an_observation("i", "大肠埃希菌", "大肠埃希菌", hasMember=[{"reference": "Observation/d"}])
    culture = an_observation("c", "血培养", "生长", hasMember=[{"reference": "Observation/i"}])
    vital = an_observation("v", "体重", "66", "kg", category=[{"coding": [{"code": "vital-signs"}]}])
    gone = creatinine("g", "92", "2026-03-18", status="entered-in-error")
    assert the_grid(drug, isolate, culture, vital, gone).rows == ()


# ---- limits ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(("value", "flag"), [("8.5", ""), ("10.5", ""), ("8.4", "L"), ("10.6", "H")])
def test_a_converted_value_at_its_limit_is_inside(value: str, flag: str) -> None:
    found = cell(an_observation("c", "钙", value, "mg/dL", loinc="2000-8", band=("8.5", "10.5")), key="2000-8")
    assert (found.flag.code if found.flag else "") == flag


@pytest.mark.parametrize(
    ("text", "value", "flag"),
    [
        ("<5.18", "5.18", "H"),
        ("＜5.18", "5.17", ""),
        ("≤5.18", "5.18", ""),
        ("<=5.18", "5.18", ""),
        ("<5.18", "<5.18", ""),
    ],
)
def test_a_limit_printed_with_less_than_is_outside_itself(text: str, value: str, flag: str) -> None:
    high = {"text": text, "high": {"value": Decimal("5.18")}}
    item = an_observation("t", "总胆固醇", value, "mmol/L", loinc="14647-2", referenceRange=[high])
    found = cell(item, key="14647-2")
    assert (found.flag.code if found.flag else "") == flag


@pytest.mark.parametrize("unit", ["", "mg%"])
def test_a_value_of_an_unknown_unit_is_not_judged_by_limits_of_a_known_one(unit: str) -> None:
    item = creatinine("a", "1.2", "2025-09-08", M3, unit=unit)
    found = cell(item, key=f"{CREATININE}@{unit or '单位未提供'}")
    assert (found.flag, found.band.low, found.band.text) == (None, None, "41–81 μmol/L")


def haemoglobin(*ranges: Json) -> Reading:
    return cell(an_observation("h", "血红蛋白", "128", "g/L", loinc="718-7", referenceRange=[*ranges]), key="718-7")


def limits(low: int, high: int, **more: Any) -> Json:
    return {"low": {"value": low, "unit": "g/L"}, "high": {"value": high, "unit": "g/L"}, **more}


def test_of_several_ranges_the_one_for_this_person_counts() -> None:
    men, women = limits(130, 175, appliesTo=[{"text": "男"}]), limits(115, 150, appliesTo=[{"coding": [{"code": "F"}]}])
    found = haemoglobin(men, women)
    assert (found.flag, found.band.text) == (None, "115–150")
    old, young = (
        limits(*ends, age={"low": {"value": age, "code": "a"}}) for ends, age in (((120, 150), 60), ((0, 9), 90))
    )
    assert haemoglobin(young, old).band.low == 120


@pytest.mark.parametrize(
    "unclear",
    [
        [limits(130, 175), limits(115, 120)],
        [limits(130, 175, appliesTo=[{"text": "孕晚期"}])],
        [limits(130, 150, type={"coding": [{"code": "treatment"}]})],
        [limits(130, 150, age={"low": {"value": 1, "code": "mo"}})],
    ],
)
def test_ranges_that_are_not_known_to_be_this_persons_are_shown_and_judge_nothing(unclear: list[Json]) -> None:
    found = haemoglobin(*unclear)
    assert (found.flag, found.band.low) == (None, None)
    assert found.band.text.endswith(f"{unclear[-1]['low']['value']}–{unclear[-1]['high']['value']}")


def test_a_far_instant_can_be_asked_for() -> None:
    assert the_grid(at=datetime.fromisoformat("9999-12-31T23:59:59+08:00")).rows == ()


def test_the_items_of_a_panel_are_rows_and_its_heading_is_none() -> None:
    item = creatinine("a", "92", "2026-03-18")
    panel = an_observation("p", "肾功能", None, hasMember=[{"reference": "Observation/a"}])
    assert [row.key for row in the_grid(panel, item).rows] == [CREATININE]


def test_groups_follow_the_analyte_table_and_abnormal_rows_are_known() -> None:
    found = the_grid(
        creatinine("a", "92", "2026-03-18", flag="H"),
        an_observation("w", "白细胞", "6.5", "10^9/L", loinc="6690-2"),
    )
    assert [name for name, _ in found.groups] == ["血常规", "肾功能"]
    assert [row.abnormal for row in found.rows] == [False, True]
