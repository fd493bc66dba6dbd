"""What a result's words, arrows, flags and escapes mean, and what they do not."""

from __future__ import annotations

import pytest

from gateway.translate.functions_v2 import unescape
from gateway.translate.result_values import meaning
from gateway.validate.structure import check_draft
from tests.unit.translate.v2_messages import PID, draft, item, message, oru, resources, segment


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("革兰阴性杆菌", ""),
        ("革兰氏染色阳性球菌", ""),
        ("凝固酶阴性葡萄球菌", ""),
        ("HPV16阳性，HPV18阴性", ""),
        ("检出HPV16，未检出HPV18", ""),
        ("低于检出限", ""),
        ("未检出抗酸杆菌", "NEG"),
        ("抗酸染色阳性", "POS"),
        ("阴性(-)", "NEG"),
        ("弱阳性（±）", "WR"),
        ("阳性反应", "POS"),
        ("↑60.2", "H"),
        ("*60.2", ""),
    ],
)
def test_only_a_text_all_of_which_says_so_is_negative_or_positive(text: str, code: str) -> None:
    assert meaning(text) == code


@pytest.mark.parametrize(
    ("flag", "code"),
    [("H*", "H"), ("↑↑↑", "HH"), ("HH^危急高^HL70078", "HH"), ("^偏低", "L"), ("高值", "H"), ("危", "AA"), (">", ">")],
)
def test_flags_as_laboratories_spell_them(flag: str, code: str) -> None:
    (found,) = item(f"OBX|1|NM|K^钾||6.2|mmol/L||{flag}|||F")["interpretation"]
    assert found["coding"][0]["code"] == code


def test_a_flag_no_table_knows_stands_as_printed_and_is_told() -> None:
    text = oru("OBX|1|NM|K^钾||6.2|mmol/L||复查|||F")
    (found,) = resources(text, "Observation")
    assert found["interpretation"] == [{"text": "复查"}]
    assert [one.place for one in draft(text).findings if one.code == "GW-MAP-002"] == ["OBX[1]-8"]
    assert "interpretation" not in item("OBX|1|NM|K^钾||4.2|mmol/L||--|||F")


def test_a_coded_answer_may_stand_in_the_alternate_triplet_or_in_the_original_text() -> None:
    assert item("OBX|1|CWE|X^项||^^^^^^^^其它：见备注||||||F")["valueCodeableConcept"] == {"text": "其它：见备注"}
    alternate = item("OBX|1|CWE|X^项||^^^A01^甲型^L||||||F")["valueCodeableConcept"]
    assert (alternate["coding"][0]["code"], alternate["text"]) == ("A01", "甲型")
    assert item("OBX|1|CWE|X^项||^||||||F")["dataAbsentReason"]["coding"][0]["code"] == "unknown"


def test_escapes_of_single_bytes_and_of_layout() -> None:
    assert unescape(r"\XD6\\XD0\\XCEC4\\.in+4\缩进\.sp+1\末\X0D0A\行") == "中文缩进\n末\n行"


def loinc(obx3: str, unit: str = "", source: str = "sandbox") -> list[str]:
    """LOINC codes of an item printed so, in serum."""
    text = oru(f"OBX|1|ST|{obx3}||阴性|{unit}|||||F")
    (found,) = resources(text, "Observation", source)
    return [one["code"] for one in found["code"]["coding"] if one["system"] == "http://loinc.org"]


def test_an_abbreviation_is_no_other_item_than_its_printed_name() -> None:
    assert loinc("TP^总蛋白", "g/L") == loinc("TP^血清总蛋白测定", "g/L") == loinc("TP", "g/L") == ["2885-2"]
    assert loinc("TP^梅毒螺旋体抗体") == ["22587-0"], "its name is another item of the table"
    assert loinc("TP^涂片革兰染色") == loinc("LA^狼疮抗凝物") == loinc("LEU^亮氨酸") == []
    (told,) = [one for one in draft(oru("OBX|1|ST|TP^涂片||x||||||F")).findings if one.code == "GW-MAP-001"]
    assert "总蛋白" in told.zh and told.place == "OBX[1]-3"


def test_other_words_for_the_same_item_are_the_same_item() -> None:
    for obx3, unit, code in [("ALT^谷丙转氨酶", "U/L", "1742-6"), ("WBC^白血球", "10^9/L", "6690-2")]:
        assert loinc(obx3, unit) == [code]
    assert loinc("RPR^快速血浆反应素") == ["20507-0"]


def test_what_a_member_wrote_of_its_own_code_is_never_doubted() -> None:
    assert loinc("JY0107^转氨", "U/L", "county_tcm_hospital") == loinc("JY0107^肝酶一项", "U/L", "county_tcm_hospital")


@pytest.mark.parametrize("printed", ["3.5^5.3", "3.5-5.3 mmol/L", "3.5-5.3"])
def test_a_range_in_two_components_or_with_its_unit_has_its_limits(printed: str) -> None:
    (found,) = item(f"OBX|1|NM|K^钾||4.2|mmol/L|{printed}||||F")["referenceRange"]
    assert (str(found["low"]["value"]), str(found["high"]["value"])) == ("3.5", "5.3")


def test_a_delete_marker_is_no_range_no_unit_and_no_note() -> None:
    got = resources(oru('OBX|1|NM|ALT^谷丙||41|""|""|""|||F', 'NTE|1||""'), "Observation")[0]
    assert not {"referenceRange", "note", "interpretation"} & set(got)
    assert "unit" not in got["valueQuantity"]


def test_units_in_chinese_words() -> None:
    assert item("OBX|1|NM|Na^钠||145|毫摩尔/升|||||F")["valueQuantity"]["code"] == "mmol/L"


@pytest.mark.parametrize("time", ["20260320 073000", "20260320 07:30:00", "20260320T0730"])
def test_a_compact_date_with_a_clock_beside_it(time: str) -> None:
    (found,) = resources(oru("OBX|1|NM|K^钾||4.2|mmol/L|||||F", obr=f"OBR|1|S1|R1|SH^生化|||{time}"), "Observation")
    assert found["effectiveDateTime"] == "2026-03-20T07:30:00+08:00"


def test_a_result_of_nobody_knows_what_is_told() -> None:
    assert [(one.code, one.place) for one in draft(oru("OBX|1|NM|||4.2|mmol/L|||||F")).findings] == [
        ("GW-MAP-010", "OBX[1]-3")
    ]


def test_a_pathologists_words_are_findings_and_conclusion() -> None:
    obr = "OBR|1|S1|P1|HJ^活检|||20260320073000|||||||||||||||||SP|F"
    rows = ["OBX|1|TX|GROSS^肉眼所见||灰白组织||||||F", "OBX|2|TX|BLZD^病理诊断||腺癌||||||F"]
    (report,) = resources(oru(*rows, obr=obr), "DiagnosticReport")
    assert report["conclusion"] == "腺癌"
    assert [one["valueString"] for one in report["extension"]] == ["灰白组织"]


def test_a_colony_count_is_a_number_with_its_unit_and_a_power_is_no_range() -> None:
    found = item(r"OBX|1|ST|COL^菌落计数||>10\S\5|CFU/mL|<10^4||||F")
    assert (found["valueQuantity"]["comparator"], str(found["valueQuantity"]["value"])) == (">", "100000")
    assert found["referenceRange"] == [{"text": "<10^4"}]
    assert str(item("OBX|1|ST|COL^菌落计数||1.2×10^4|CFU/mL|||||F")["valueQuantity"]["value"]) == "12000"
    assert item("OBX|1|ST|COL^菌落计数||10^5|||||F")["valueString"] == "10^5"
    assert item("OBX|1|ST|COL^菌落计数||5|CFU/mL|10^4||||F")["referenceRange"] == [{"text": "10^4"}]


def test_a_charge_is_taken_back_under_its_own_number() -> None:
    def charge(day: str, kind: str) -> str:
        row = segment("FT1", {1: "1", 2: "SF1", 4: day, 6: kind, 7: "C1^血常规", 10: "1"})
        return str(resources(message(PID, row, kind="DFT^P03"), "ChargeItem")[0]["id"])

    assert charge("20260320", "CG") == charge("20260321", "退费")


def test_what_presupposes_a_stored_resource_is_checked_with_it() -> None:
    got = draft(message("SCH|Y1", PID, kind="SIU^S26"))
    assert got.awaits
    check_draft(got)  # no time: R4 wants one of the whole


@pytest.mark.parametrize(
    ("kind", "sent", "shown"),
    [
        ("XCN", "D11^陈^医生", "陈医生"),
        ("PN", "王^护士", "王护士"),
        ("CX", "012345^^^血站", "012345"),
        ("EI", "A1^LIS", "A1"),
    ],
)
def test_people_and_numbers_are_shown_without_their_components(kind: str, sent: str, shown: str) -> None:
    assert item(f"OBX|1|{kind}|X^项||{sent}||||||F")["valueString"] == shown


def test_a_quantity_with_a_unit_of_its_own() -> None:
    quantity = item("OBX|1|CQ|X^剂量||5^mg||||||F")["valueQuantity"]
    assert (str(quantity["value"]), quantity["code"]) == ("5", "mg")
