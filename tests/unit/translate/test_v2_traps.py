"""Traps of real HL7 v2 feeds, one test each, that no other file of this folder springs already.

Others: separators, line ends, order of segments, names, cards, addresses (test_v2_reading.py); values, units, flags
(test_v2_values.py); charsets (test_charset.py); answers (test_v2_ack.py); late and corrected reports (unit/revise).
"""

from __future__ import annotations

import pytest

from gateway.errors import BadValue
from gateway.model.resource import Json
from gateway.model.systems import V2_0490, V2_0493
from tests.unit.translate.v2_messages import MSH, PID, draft, item, lost, message, oru, patient, resources, segment

K = "OBX|1|NM|K^钾||4.2|mmol/L|3.5-5.3||||F"


def value(kind: str, printed: str) -> Json:
    made = item(f"OBX|1|{kind}|X^项目||{printed}|||||F")
    return {key: made[key] for key in made if key.startswith(("value", "dataAbsent"))}


# ---- bytes --------------------------------------------------------------------------------------
def test_no_byte_that_frames_a_message_occurs_inside_a_chinese_character() -> None:
    han = "".join(map(chr, range(0x4E00, 0x9FA6)))
    assert not {0x0B, 0x1C, 0x0D} & set(han.encode("gb18030"))


def test_a_charset_is_never_guessed_by_one_field() -> None:
    name = next(c for c in map(chr, range(0x4E00, 0x9FA6)) if _valid_utf8(c.encode("gb18030")))
    body = oru(K, pid=f"PID|1||A1||{name}||19800101|M").replace("UNICODE UTF-8", "").encode("gb18030")
    assert draft(body).records[0].patient["name"] == [{"text": name}]


def _valid_utf8(data: bytes) -> bool:
    try:
        return len(data.decode("utf-8")) == 1
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize(
    "declared", ["UNICODE UTF-8", "UNICODE", "GB 18030-2000", "GB2312", "ASCII", "", "ASCII~GB 18030-2000"]
)
@pytest.mark.parametrize("codec", ["utf-8", "gb18030"])
def test_whatever_msh_18_says_the_bytes_decide(declared: str, codec: str) -> None:
    body = oru(K).replace("UNICODE UTF-8", declared).encode(codec)
    assert draft(body).records[0].patient["name"] == [{"text": "张三"}]


def test_escapes_are_undone_in_texts() -> None:
    printed = "a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f\\X41\\\\.br\\\\H\\粗\\N\\体\\M2442\\\\C2842\\"
    assert value("FT", printed) == {"valueString": "a|b^c&d~e\\fA\n粗体"}


# ---- times --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("2026", "2026"), ("202603", "2026-03"), ("20260310", "2026-03-10"),
        ("202603101112", "2026-03-10T11:12:00+08:00"),
        ("20260310111213.1234", "2026-03-10T11:12:13.1234+08:00"), ("20260310111213-0500", "2026-03-10T11:12:13-05:00"),
        ("1977-01-01", "1977-01-01"), ("2026/3/9 8:05", "2026-03-09T08:05:00+08:00"),
        ("2026年3月", "2026-03"), ("2026年3月9日", "2026-03-09"), ("2026年3月9日 8时5分", "2026-03-09T08:05:00+08:00"),
        ("２０２６年３月９日８时20分7秒", "2026-03-09T08:20:07+08:00"),
        ("2026年3月9日8:05", "2026-03-09T08:05:00+08:00"),
    ],
)  # fmt: skip
def test_a_time_is_as_precise_as_it_was_sent_and_gets_a_zone_only_with_a_time_of_day(sent: str, told: str) -> None:
    (made,) = resources(message(PID, f"AL1|1|DA|PEN^青霉素|||{sent}", kind="ADT^A31"), "AllergyIntolerance")
    assert made["recordedDate"] == told


# ---- patients and visits ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sent", "code"), [("住院", "IMP"), ("门诊", "AMB"), ("急诊", "EMER"), ("I", "IMP"), ("3", "IMP")]
)
def test_every_spelling_of_the_patient_class_is_understood(sent: str, code: str) -> None:
    (visit,) = resources(message(PID, segment("PV1", {2: sent, 19: "V1"}), kind="ADT^A04"), "Encounter")
    assert visit["class"]["code"] == code


def test_a_ward_in_free_text_is_a_place() -> None:
    (visit,) = resources(
        message(PID, segment("PV1", {2: "I", 3: "心内科三病区12床", 19: "V1"}), kind="ADT^A01"), "Encounter"
    )
    assert visit["location"][0]["location"] == {"display": "心内科三病区12床"}


def test_a_national_number_without_a_type_is_still_the_card() -> None:
    found = patient("PID|1||A1|990101195803120115|甲||19580312|M")
    assert "urn:oid:2.16.156.10011.1.3" in {one["system"] for one in found["identifier"]}


def test_a_segment_before_its_patient_belongs_to_it() -> None:
    text = message("SCH|P1|F1", PID, "AIS|1||NFM^内分泌科|20260322090000||||15|MIN", kind="SIU^S12")
    (booked,) = resources(text, "Appointment")
    assert booked["participant"][0]["actor"] == {"reference": "Patient/@0"}
    assert [one.local_number for one in draft(text).records] == ["A1"]


# ---- results ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "printed", "told"),
    [
        ("NUM", "4.2", {"valueQuantity": {"value": "4.2"}}),
        ("TXT", "镜下未见", {"valueString": "镜下未见"}),
        ("HD", "未见异常", {"valueString": "未见异常"}),
        ("", "阳性", {"valueString": "阳性"}),
        ("CWE", "POS^阳性^L", None),
        ("DR", "20260310^20260312", {"valuePeriod": {"start": "2026-03-10", "end": "2026-03-12"}}),
        ("NR", "3^5", {"valueRange": {"low": {"value": "3"}, "high": {"value": "5"}}}),
        ("TM", "0805", {"valueTime": "08:05:00"}),
        ("SN", "<>^5", {"valueString": "<>5"}),
        ("SN", "^2^+", {"valueString": "2+"}),
        ("SN", "^1^-^3", {"valueRange": {"low": {"value": "1"}, "high": {"value": "3"}}}),
        ("SN", ">=^64", {"valueQuantity": {"value": "64", "comparator": ">="}}),
        ("VR", "1-2级", {"valueString": "1-2级"}),
        ("NM", "3-5/HP", {"valueString": "3-5/HP"}),
        ("NM", "+-", {"valueString": "+-"}),
    ],
)  # fmt: skip
def test_a_value_finds_its_element_whatever_its_type_says(kind: str, printed: str, told: Json | None) -> None:
    found = value(kind, printed)
    if told is None:
        assert found["valueCodeableConcept"]["text"] == "阳性"
    else:
        assert _plain(found) == told


def _plain(found: object) -> object:
    if isinstance(found, dict):
        return {key: _plain(inner) for key, inner in found.items()}
    return found if isinstance(found, str) else str(found)


def test_repetitions_inside_a_value_are_lines() -> None:
    assert value("ST", "甲~乙") == {"valueString": "甲\n乙"}


def test_a_time_of_day_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BadValue):
        value("TM", "2561")


def test_a_pdf_is_the_printed_report_and_no_result() -> None:
    text = oru(K, "OBX|2|ED|PDF^报告单||LIS^Application^PDF^Base64^JVBERi0x||||||F")
    (report,) = resources(text, "DiagnosticReport")
    assert report["presentedForm"] == [{"contentType": "application/pdf", "data": "JVBERi0x", "title": "报告单"}]
    assert (len(report["result"]), lost(text)) == (1, [])


def test_a_page_the_laboratory_keeps_is_the_printed_report_and_no_result() -> None:
    text = oru(K, "OBX|2|RP|BGD^报告单||https://lis.h1.example/R1^LIS^Application^PDF||||||F")
    (report,) = resources(text, "DiagnosticReport")
    page = {"contentType": "application/pdf", "url": "https://lis.h1.example/R1", "title": "报告单"}
    assert (report["presentedForm"], len(report["result"]), lost(text)) == ([page], 1, [])


def test_data_that_is_not_base64_is_refused_with_its_place() -> None:
    with pytest.raises(BadValue) as refused:
        draft(oru("OBX|1|ED|PDF^报告单||LIS^Application^PDF^Base64^@@@@||||||F"))
    assert refused.value.place == "OBX[1]-5"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("C", "corrected"),
        ("X", "cancelled"),
        ("D", "entered-in-error"),
        ("W", "entered-in-error"),
        ("I", "registered"),
        ("P", "preliminary"),
    ],
)
def test_a_corrected_item_is_the_same_observation(sent: str, status: str) -> None:
    before, after = item(K), item(K.replace("||||F", f"||||{sent}"))
    assert (before["id"], after["status"]) == (after["id"], status)


def test_specimens_above_their_orders_stay_with_them() -> None:
    text = message(
        PID, "SPM|1|B1||SER^血清", "OBR|1||R1|A^甲", "ORC|RE|S1|R1", K, "OBR|2||R2|B^乙", "ORC|RE|S2|R2", K,
        "SPM|2|B2||U^尿液", "OBR|3||R3|C^丙", "ORC|RE|S3|R3", K, kind="OUL^R22",
    )  # fmt: skip
    assert [one["accessionIdentifier"]["value"] for one in resources(text, "Specimen")] == ["B1", "B2"]
    asked = [one["basedOn"][0]["identifier"]["value"] for one in resources(text, "DiagnosticReport")]
    assert asked == ["S1", "S2", "S3"]
    urine = resources(text, "Observation")[2]["specimen"]["reference"]
    assert urine == f"Specimen/{resources(text, 'Specimen')[1]['id']}"


def test_several_doses_without_an_orc_are_several_vaccinations() -> None:
    rxa = segment("RXA", {3: "20260310", 5: "MMR^麻腮风疫苗", 20: "CP"})
    text = message(PID, rxa, "RXR|SC^皮下", rxa.replace("MMR^麻腮风", "FLU^流感"), "RXR|IM^肌肉", kind="VXU^V04")
    assert [one["route"]["text"] for one in resources(text, "Immunization")] == ["皮下", "肌肉"]


def test_a_z_segment_is_in_the_account_of_unused_fields() -> None:
    assert lost(message(PID, "ZPV|1||院内字段", kind="ADT^A08")) == ["ZPV[1]-1", "ZPV[1]-3"]


def test_an_unknown_version_is_read_like_any_other() -> None:
    assert len(resources(oru(K).replace("|2.5.1|", "|2.9.9|"), "Observation")) == 1
    assert MSH.count("2.5.1") == 1


@pytest.mark.parametrize("kind", ["脑脊液", "胸水", "腹水", "指尖血", "尿液"])
def test_what_was_measured_in_another_fluid_gets_no_code_of_serum(kind: str) -> None:
    obr = segment("OBR", {1: "1", 3: "R1", 4: "SH^生化^L", 7: "20260320073000", 15: f"X&{kind}&L"})
    sent = oru("OBX|1|NM|GLU^葡萄糖^L||3.10|mmol/L", obr=obr)
    codings = resources(sent, "Observation")[0]["code"]["coding"]
    assert [coding["code"] for coding in codings] == ["GLU"]


def test_the_state_of_a_specimen_and_why_it_was_refused_are_kept() -> None:
    spm = segment("SPM", {1: "1", 2: "S9", 4: "SER^血清^L", 21: "RH^标本溶血^HL70490", 24: "HEM^溶血^HL70493"})
    specimen = resources(oru("OBX|1|NM|K^钾^L||6.10|mmol/L", spm), "Specimen")[0]
    assert [one["coding"][0] for one in specimen["condition"]] == [
        {"system": V2_0493, "code": "HEM", "display": "溶血"},
        {"system": V2_0490, "code": "RH", "display": "标本溶血"},
    ]
