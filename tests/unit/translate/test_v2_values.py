"""OBX to Observation: what laboratories print, read and never guessed."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.model.resource import Json
from tests.unit.translate.v2_messages import draft, item, oru, resources, segment


def codes(concept: Json) -> set[str]:
    return {one["code"] for one in concept["coding"]}


@pytest.mark.parametrize(
    ("printed", "comparator", "value"),
    [
        ("6.80", None, "6.80"),
        ("<0.05", "<", "0.05"),
        ("＜5", "<", "5"),
        ("≥60", ">=", "60"),
        ("5.6↑", None, "5.6"),
        ("１２", None, "12"),
        ("-1.5", None, "-1.5"),
    ],
)
def test_numbers_keep_their_digits_and_comparators(printed: str, comparator: str | None, value: str) -> None:
    quantity = item(f"OBX|1|NM|K^钾||{printed}|mmol/L||||F")["valueQuantity"]
    assert quantity.get("comparator") == comparator
    assert str(quantity["value"]) == value


@pytest.mark.parametrize(
    ("kind", "printed", "expected"),
    [
        ("ST", "阴性(-)", {"valueString": "阴性(-)"}),
        ("ST", "1：80", {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 80}}}),
        ("SN", "^1^:^128", {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 128}}}),
        ("", "12", {"valueQuantity": {"value": 12}}),
        ("XX", "未见异常", {"valueString": "未见异常"}),
        ("TX", "第一行~第二行", {"valueString": "第一行\n第二行"}),
        ("FT", "甲\\.br\\乙", {"valueString": "甲\n乙"}),
        ("DT", "20260310", {"valueDateTime": "2026-03-10"}),
    ],
)
def test_values_of_every_type_find_their_element(kind: str, printed: str, expected: Json) -> None:
    made = item(f"OBX|1|{kind}|K^钾||{printed}|||||F")
    assert {key: made[key] for key in made if key.startswith("value")} == expected


def test_a_spoilt_specimen_gives_no_value_but_its_reason() -> None:
    made = item("OBX|1|NM|K^钾||标本溶血|mmol/L||||F")
    assert made["dataAbsentReason"]["coding"][0]["code"] == "error"
    assert made["dataAbsentReason"]["text"] == "标本溶血"
    assert not [key for key in made if key.startswith("value")]


def test_text_in_a_numeric_field_is_kept_and_remarked() -> None:
    got = draft(oru("OBX|1|NM|K^钾||见备注|mmol/L||||F"))
    assert [(one.code, one.place) for one in got.findings] == [("GW-MAP-003", "OBX[1]-5")]


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("HH", "6.8", "HH"),
        ("↓", "1", "L"),
        ("危急值", "1", "AA"),
        ("", "5.6↑", "H"),
        ("", "阳性(+)", "POS"),
        ("", "阴性", "NEG"),
    ],
)
def test_flags_come_from_the_field_or_else_from_the_value(flag: str, value: str, expected: str) -> None:
    made = item(f"OBX|1|ST|K^钾||{value}|||{flag}|||F")
    assert made["interpretation"][0]["coding"][0]["code"] == expected


def test_an_empty_flag_makes_no_interpretation() -> None:
    assert "interpretation" not in item("OBX|1|NM|K^钾||4.2|mmol/L|||||F")


@pytest.mark.parametrize("printed", ["10^9/L", "10\\S\\9/L", "×10^9/L", "10*9/L", "G/L"])
def test_every_spelling_of_the_cell_count_unit_is_known(printed: str) -> None:
    made = item(f"OBX|1|NM|WBC^白细胞计数||6.5|{printed}|||||F")
    assert made["valueQuantity"]["code"] == "10*9/L"
    assert codes(made["code"]) == {"WBC", "6690-2"}


@pytest.mark.parametrize(
    ("sent", "printed"),
    [
        ("X10^9/L", "X10^9/L"),
        ("10^9个/L", "10^9个/L"),
        ("10^9/L^^UCUM", "10^9/L"),
        ("mL/min/1.73m^2", "mL/min/1.73m^2"),
        ("10*9/L^10的9次方每升^L", "10*9/L"),
        ("g^克^L", "g"),
    ],
)
def test_a_unit_a_caret_cut_in_two_is_whole_and_a_coded_one_is_its_code(sent: str, printed: str) -> None:
    assert item(f"OBX|1|NM|K^钾||251|{sent}|||||F")["valueQuantity"]["unit"] == printed


@pytest.mark.parametrize(
    ("sent", "status", "told"), [("F", "final", []), ("", "final", []), ("Q", "unknown", ["OBX[1]-11"])]
)
def test_a_status_no_table_knows_is_taken_as_the_map_says_and_told(sent: str, status: str, told: list[str]) -> None:
    got = draft(oru(f"OBX|1|NM|K^钾||4.2|mmol/L|||||{sent}"))
    assert [one.json["status"] for one in got.resources if one.type == "Observation"] == [status]
    found = [one for one in got.findings if one.code == "GW-MAP-002"]
    assert [one.place for one in found] == told and all("按 unknown 处理" in one.zh for one in found)


@pytest.mark.parametrize("kind", ["ST", "NM", ""])
def test_a_span_with_a_unit_is_a_range(kind: str) -> None:
    ends = {"unit": "/HP", "system": "http://unitsofmeasure.org", "code": "/[HPF]"}
    made = item(f"OBX|1|{kind}|K^红细胞||0-2|/HP|||||F")
    assert made["valueRange"] == {"low": {"value": 0} | ends, "high": {"value": 2} | ends}


@pytest.mark.parametrize(("value", "unit"), [("1-2", ""), ("5-2", "/HP")])
def test_a_span_that_may_be_something_else_stays_text(value: str, unit: str) -> None:
    assert item(f"OBX|1|ST|K^红细胞||{value}|{unit}|||||F")["valueString"] == value


@pytest.mark.parametrize(
    ("kind", "value"), [("ST", "1+"), ("TX", "少量"), ("SN", "^1^:^320"), ("CE", "P^阳性"), ("SN", "1^+")]
)
def test_a_unit_with_no_place_beside_its_result_is_told(kind: str, value: str) -> None:
    found = [one for one in draft(oru(f"OBX|1|{kind}|K^钾||{value}|/uL|||||F")).findings if one.code == "GW-MAP-013"]
    assert [(one.severity, "“/uL”" in one.zh) for one in found] == [("information", True)]


def test_words_in_a_numeric_field_say_that_their_unit_is_left_out() -> None:
    found = draft(oru("OBX|1|NM|K^钾||偏多|/uL|||||F")).findings
    assert [one.zh for one in found if one.code == "GW-MAP-003"] == ["数值型字段里不是数字，按文本保留，单位没有写入。"]


def test_giga_per_litre_is_grams_for_haemoglobin() -> None:
    assert item("OBX|1|NM|HGB^血红蛋白||132|G/L|||||F")["valueQuantity"] == {
        "value": 132, "unit": "G/L", "system": "http://unitsofmeasure.org", "code": "g/L",
    }  # fmt: skip


def test_an_unknown_unit_stays_as_printed_with_a_remark() -> None:
    got = draft(oru("OBX|1|NM|K^钾||4.2|mval|||||F"))
    assert [one.code for one in got.findings] == ["GW-MAP-001", "GW-MAP-004"]
    assert "“mval”" in got.findings[1].zh
    (made,) = [one.json for one in got.resources if one.type == "Observation"]
    assert made["valueQuantity"] == {"value": Decimal("4.2"), "unit": "mval"}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("WBC^白细胞计数", "有项目 WBC，但没有一行的单位和标本与来文相符（单位“个”）"),
        ("N7^白细胞计数", "有项目 白细胞计数，但没有一行"),
        ("ZZ9^异形", "没有项目代码 ZZ9"),
    ],
)
def test_a_code_whose_rows_are_for_other_units_is_not_said_to_be_missing(code: str, said: str) -> None:
    got = draft(oru(f"OBX|1|NM|{code}||6.5|个|||||F"))
    (zh,) = [one.zh for one in got.findings if one.code == "GW-MAP-001"]
    assert said in zh


@pytest.mark.parametrize(("unit", "loinc"), [("%", "51637-7"), ("ng/mL", "33959-8"), ("μg/L", "33959-8")])
def test_one_abbreviation_is_two_analytes_by_its_unit(unit: str, loinc: str) -> None:
    assert loinc in codes(item(f"OBX|1|NM|PCT^PCT||0.2|{unit}|||||F")["code"])


def test_a_homonym_without_unit_is_left_uncoded() -> None:
    assert codes(item("OBX|1|NM|PCT^PCT||0.2||||||F")["code"]) == {"PCT"}


def test_urine_is_told_from_blood_by_the_specimen() -> None:
    obr = "OBR|1|S1|R1|NCG^尿常规^L|||20260320073000||||||||U&尿液"
    (made,) = resources(oru("OBX|1|NM|GLU^葡萄糖||5.6|mmol/L|||||F", obr=obr), "Observation")
    assert "14749-6" not in codes(made["code"])


def test_an_unknown_item_stays_visible_and_is_counted() -> None:
    got = draft(oru("OBX|1|NM|X-9981^新项目||1.7||||||F"))
    (made,) = [one.json for one in got.resources if one.type == "Observation"]
    assert made["code"] == {
        "coding": [{"system": "urn:alliance-gateway:codes:sandbox:lab", "code": "X-9981", "display": "新项目"}],
        "text": "新项目",
    }
    (finding,) = got.findings
    assert (finding.code, finding.place) == ("GW-MAP-001", "OBX[1]-3")
    assert "X-9981" in finding.en


@pytest.mark.parametrize(
    ("printed", "low", "high"),
    [
        ("3.5-9.5", "3.5", "9.5"),
        ("3.5--9.5", "3.5", "9.5"),
        ("7 ~ 40", "7", "40"),
        ("3.5～9.5", "3.5", "9.5"),
        ("<=6.0", None, "6.0"),
        ("≥1.04", "1.04", None),
        ("阴性", None, None),
        ("M:4.3-5.8 F:3.8-5.1", None, None),
    ],
)
def test_ranges_are_read_where_they_can_be_and_always_kept_as_printed(
    printed: str, low: str | None, high: str | None
) -> None:
    (band,) = item(f"OBX|1|NM|K^钾||4|mmol/L|{printed}||||F")["referenceRange"]
    assert band["text"] == printed
    found = [str(band[side]["value"]) if side in band else None for side in ("low", "high")]
    assert found == [low, high]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("F", "final"),
        ("C", "corrected"),
        ("P", "preliminary"),
        ("X", "cancelled"),
        ("W", "entered-in-error"),
        ("", "final"),
    ],
)
def test_result_status_follows_table_0085(sent: str, status: str) -> None:
    assert item(f"OBX|1|NM|K^钾||4|mmol/L|||||{sent}")["status"] == status


def test_loinc_sent_by_the_laboratory_itself_is_taken_over() -> None:
    made = item("OBX|1|NM|777^血钾项目^L^2823-3^Potassium^LN||4|mmol/L|||||F")
    assert "2823-3" in codes(made["code"])


def test_who_was_told_of_a_critical_value_is_read_from_the_note() -> None:
    obr = "OBR|1|S1|R1|SH^生化^L|||20260320073000|||||||||||||||20260320084000"
    (made,) = resources(
        oru("OBX|1|NM|K^钾||6.8|mmol/L||HH|||F", "NTE|1||危急值已于15:32通知周医生", obr=obr), "Observation"
    )
    parts = {one["url"]: one for one in made["extension"][0]["extension"]}
    assert parts["told"]["valueString"] == "周医生"
    assert parts["at"]["valueDateTime"] == "2026-03-20T15:32:00+08:00"


def test_a_culture_of_which_only_a_part_is_there_is_preliminary_as_r4_has_no_partial_result() -> None:
    report = segment("OBR", {1: "1", 2: "S1", 3: "R1", 4: "XPY^血培养^L", 7: "20260314211000", 24: "MB", 25: "A"})
    growth = "OBX|1|CE|XPY^血培养^L|1|ECO^大肠埃希菌^L|||A|||P"
    drugs = segment(
        "OBR",
        {1: "2", 2: "S1", 3: "R1A", 4: "YM^药敏^L", 24: "MB", 25: "A", 26: "XPY&血培养&L^1^大肠埃希菌", 29: "S1^R1"},
    )
    made = resources(oru(growth, drugs, "OBX|1|SN|CRO^头孢曲松^L|1|>=^64|mg/L||R|||P", obr=report), "Observation")
    assert [one["status"] for one in made] == ["preliminary"] * 3


@pytest.mark.parametrize(
    ("issued", "note", "at"),
    [
        ("20260316235800", "危急值已于00:10通知周医生", "2026-03-17T00:10:00+08:00"),
        ("20260317000500", "危急值已于23:55通知周医生", "2026-03-16T23:55:00+08:00"),
        ("20260316115600", "危急值已于11:57通知周医生", "2026-03-16T11:57:00+08:00"),
        ("20260316115600", "危急值，滴度32:64，已电话通知周医生", None),
        ("", "危急值已于11:57通知周医生", None),
    ],
)
def test_who_was_told_of_a_critical_value_and_when(issued: str, note: str, at: str | None) -> None:
    obr = segment("OBR", {2: "S1", 3: "R1", 4: "SH^生化", 22: issued})
    (made,) = resources(oru("OBX|1|NM|K^钾||7.1|mmol/L||HH|||F", f"NTE|1||{note}", obr=obr), "Observation")
    parts = {one["url"]: one for one in made["extension"][0]["extension"]}
    assert parts["told"]["valueString"] == "周医生"
    assert parts.get("at", {}).get("valueDateTime") == at
