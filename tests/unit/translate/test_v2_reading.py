"""HL7 v2 as it is really sent: separators, line ends, charsets, order of segments, groups."""

from __future__ import annotations

import pytest

from gateway.errors import BadValue, FutureDate, MissingField, TranslateError, UnknownTrigger
from gateway.translate.read_v2 import peek_v2, split_batch
from tests.unit.translate.v2_messages import MSH, PID, draft, lost, message, oru, patient, resources, segment

K = "OBX|1|NM|K^钾||4.2|mmol/L|3.5-5.3||||F"


def values(text: str | bytes) -> list[str]:
    return [str(one["valueQuantity"]["value"]) for one in resources(text, "Observation")]


@pytest.mark.parametrize("ending", ["\r", "\n", "\r\n", "\r\r\n"])
def test_any_line_end_separates_segments(ending: str) -> None:
    assert values(oru(K).replace("\r", ending)) == ["4.2"]


def test_framing_bytes_and_nuls_inside_the_body_do_no_harm() -> None:
    assert values("\x0b" + oru(K) + "\0\x1c\r") == ["4.2"]


def test_other_separators_are_read_and_data_that_looks_like_the_usual_ones_is_kept() -> None:
    text = oru("OBX|1|ST|A^项目||x|||||F").replace("|", "*").replace("^", "!").replace("~", "@").replace("\\", "%")
    text = text.replace("*x*", "*a|b^c*")
    (made,) = resources(text.replace("&", "$"), "Observation")
    assert made["valueString"] == "a|b^c"


def test_a_fifth_separator_in_msh_2_is_accepted() -> None:
    assert values(oru(K).replace("^~\\&", "^~\\&#", 1)) == ["4.2"]


def test_a_name_whose_second_byte_looks_like_a_bar_survives() -> None:
    body = oru(K, pid="PID|1||A1||张珅||19550620|1").replace("UNICODE UTF-8", "").encode("gb18030")
    assert b"\xabC" not in body and body.count(b"|") != body.decode("gb18030").count("|")
    got = draft(body)
    assert got.records[0].patient["name"] == [{"text": "张珅"}]
    assert got.facts["charset"] == "gb18030"


def test_a_wrongly_declared_charset_is_remarked_and_the_bytes_decide() -> None:
    got = draft(oru(K).encode("gb18030"))
    assert [one.code for one in got.findings] == ["GW-MAP-006"]


def test_a_result_behind_the_specimen_is_still_a_result() -> None:
    assert values(oru("SPM|1|SP1||SER^血清", K)) == ["4.2"]
    (specimen,) = resources(oru("SPM|1|SP1||SER^血清", K), "Specimen")
    assert specimen["type"] == {"text": "血清"}
    assert specimen["accessionIdentifier"]["value"] == "SP1"


def test_a_note_belongs_to_the_segment_above_it() -> None:
    text = oru("NTE|1||报告备注", K, "NTE|1||第一行", "NTE|2||第二行", K.replace("|1|NM|K", "|2|NM|Na"))
    first, second = resources(text, "Observation")
    (report,) = resources(text, "DiagnosticReport")
    assert first["note"] == [{"text": "第一行\n第二行"}]
    assert "note" not in second
    assert report["conclusion"] == "报告备注"


def test_text_rows_of_one_item_are_one_text() -> None:
    text = oru("OBX|1|TX|XT^形态||第一行||||||F", "OBX|2|TX|XT^形态||第二行||||||F")
    (made,) = resources(text, "Observation")
    assert made["valueString"] == "第一行\n第二行"
    assert lost(text) == []


def test_the_same_item_twice_in_a_report_stays_two_results() -> None:
    assert values(oru(K, K.replace("4.2", "4.9"))) == ["4.2", "4.9"]


def test_two_orders_are_two_reports_with_their_own_results() -> None:
    text = oru(K, "OBR|2|S2|R2|XCG^血常规^L|||20260320073500", "OBX|1|NM|WBC^白细胞计数||6.5|10^9/L|||||F")
    reports = resources(text, "DiagnosticReport")
    observations = resources(text, "Observation")
    assert [len(one["result"]) for one in reports] == [1, 1]
    assert reports[1]["result"][0]["reference"] == f"Observation/{observations[1]['id']}"
    assert observations[1]["effectiveDateTime"] == "2026-03-20T07:35:00+08:00"


def test_two_patients_in_a_message_keep_their_results_apart() -> None:
    other = PID.replace("A1", "A2").replace("张三", "李四")
    got = draft(message(PID, "OBR|1||R1|A^甲", K, other, "OBR|1||R2|A^甲", K))
    assert [one.local_number for one in got.records] == ["A1", "A2"]
    subjects = [one.json["subject"]["reference"] for one in got.resources if one.type == "Observation"]
    assert subjects == ["Patient/@0", "Patient/@1"]
    assert [one.record for one in got.resources if one.type == "DiagnosticReport"] == [0, 1]


def test_susceptibilities_hang_below_their_isolate() -> None:
    text = message(
        PID,
        segment("OBR", {1: "1", 3: "R", 4: "XPY^血培养^L", 7: "20260314211000", 24: "MB", 25: "F"}),
        "OBX|1|CE|XPY^血培养|1|ECO^大肠埃希菌||||||F",
        "OBX|2|CE|XPY^血培养|2|KPN^肺炎克雷伯菌||||||F",
        segment("OBR", {1: "2", 3: "RA", 4: "YM^药敏^L", 24: "MB", 25: "F", 26: "XPY&血培养^2^肺炎克雷伯菌"}),
        "OBX|1|SN|CRO^头孢曲松|1|>=^64|mg/L||R|||F",
    )
    by_id = {one["id"]: one for one in resources(text, "Observation")}
    (report,) = resources(text, "DiagnosticReport")
    assert [one["coding"][0]["code"] for one in report["category"]] == ["LAB", "MB"]

    def below(parent: dict[str, object]) -> list[dict[str, object]]:
        members = parent.get("hasMember", [])
        assert isinstance(members, list)
        return [by_id[one["reference"].removeprefix("Observation/")] for one in members]

    (culture,) = [by_id[one["reference"].removeprefix("Observation/")] for one in report["result"]]
    coli, klebsiella = below(culture)
    assert below(coli) == []
    (drug,) = below(klebsiella)
    assert drug["code"]["text"] == "头孢曲松"  # type: ignore[index]
    assert drug["valueQuantity"]["comparator"] == ">="  # type: ignore[index]


def test_an_empty_message_and_one_without_msh_are_refused() -> None:
    for body in (b"", b"PID|1||A1\r", b"MSH"):
        with pytest.raises(TranslateError):
            draft(body)


def test_a_message_nobody_maps_is_refused_by_name() -> None:
    with pytest.raises(UnknownTrigger, match="ZZZ"):
        draft(message(PID, kind="ZZZ^Z12"))


def test_a_missing_number_is_refused_with_its_place() -> None:
    with pytest.raises(MissingField) as patientless:
        draft(oru(K, pid="PID|1||||张三"))
    assert patientless.value.place == "PID[1]-3"
    with pytest.raises(MissingField) as reportless:
        draft(oru(K, obr="OBR|1|||SH^生化"))
    assert reportless.value.place == "OBR[1]-3"


def test_a_date_that_does_not_exist_is_refused_with_its_place_and_without_its_value() -> None:
    with pytest.raises(BadValue) as refused:
        draft(oru(K, pid="PID|1||A1||张三||20100229|M"))
    assert refused.value.place == "PID[1]-7"
    assert "20100229" not in str(refused.value)
    with pytest.raises(BadValue) as unsaid:
        draft(message(PID, kind="ADT^A08", msh=MSH.replace("20260320083000", "20261345")))
    assert unsaid.value.place == "MSH[1]-7"


def test_a_clinical_time_far_in_the_future_is_refused() -> None:
    with pytest.raises(FutureDate) as refused:
        draft(oru(K, obr="OBR|1|S1|R1|SH^生化^L|||20260322073000"))
    assert refused.value.place == "OBR[1]-7"
    assert draft(oru(K, obr="OBR|1|S1|R1|SH^生化^L|||20260320235900")).resources


def test_every_populated_field_is_read_ignored_with_a_reason_or_reported() -> None:
    text = oru(K + "||||||||||||||X&Y^Z", "ZLB|1|院内字段")
    got = {one.place: one.because for one in draft(text).unused}
    assert got["ZLB[1]-2"] == ""
    assert got["OBX[1]-1"] != ""
    assert "OBX[1]-5" not in got


def test_a_second_repetition_nobody_reads_is_reported() -> None:
    obx = segment("OBX", {1: "1", 2: "NM", 3: "K^钾", 5: "4.2", 6: "mmol/L", 11: "F", 17: "M1^酶法~M2^电极法"})
    assert lost(oru(obx)) == ["OBX[1]-17[2].1", "OBX[1]-17[2].2"]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("王建国", [{"text": "王建国"}]),
        ("王^建国", [{"text": "王建国", "family": "王", "given": ["建国"]}]),
        ("王建国^男", [{"text": "王建国"}]),
        ("买买提·艾山", [{"text": "买买提·艾山"}]),
        ("Smith^John", [{"text": "Smith John", "family": "Smith", "given": ["John"]}]),
    ],
)
def test_names_are_whole_however_they_are_cut(field: str, expected: object) -> None:
    assert patient(f"PID|1||A1||{field}||1980|M")["name"] == expected


def test_pinyin_is_kept_as_a_second_name() -> None:
    for field in ("王建国^wangjianguo", "王建国^^^^^^L^I~WANG JIANGUO^^^^^^L^A"):
        first, second = patient(f"PID|1||A1||{field}")["name"]
        assert first == {"text": "王建国"}
        assert second["extension"][0]["valueCode"] == "ABC"


@pytest.mark.parametrize(
    "pid",
    [
        "PID|1||A1~990101195803120115^^^^NI||甲",
        "PID|1||A1||甲||||||||||||||990101195803120115",
        "PID|1||A1|990101195803120115|甲",
    ],
)
def test_the_card_is_found_in_pid_3_4_and_19(pid: str) -> None:
    found = {one["system"]: one["value"] for one in patient(pid)["identifier"]}
    assert found["urn:oid:2.16.156.10011.1.3"] == "990101195803120115"
    assert found["urn:alliance-gateway:number:sandbox:patient"] == "A1"


@pytest.mark.parametrize(("kind", "code"), [("PPN", "03"), ("03", "03"), ("台胞证", "07")])
def test_a_passport_is_not_the_members_own_number(kind: str, code: str) -> None:
    found = patient(f"PID|1||E12345678^^^^{kind}~A1||SMITH JOHN")["identifier"]
    told = [(one["system"].rpartition("gateway:")[2], one["value"]) for one in found]
    assert told == [(f"certificate:{code}", "E12345678"), ("number:sandbox:patient", "A1")]


def test_placeholders_are_no_numbers() -> None:
    found = patient("PID|1||A1~000000000000000000^^^^NI~/^^^^NI||甲||||||||||||||无")
    assert [one["value"] for one in found["identifier"]] == ["A1"]


@pytest.mark.parametrize("sent", ["2", "F", "女", "女性"])
def test_every_spelling_of_sex_is_understood(sent: str) -> None:
    assert patient(f"PID|1||A1||甲||1980|{sent}")["gender"] == "female"


@pytest.mark.parametrize("field", ["东河村^^青石镇^青石县", "东河村^青石镇^青石县", "青石县青石镇东河村"])
def test_addresses_are_told_apart_by_their_words(field: str) -> None:
    (address,) = patient(f"PID|1||A1||甲||1980|M|||{field}")["address"]
    assert (address["city"], address["district"], address["line"]) == ("青石县", "青石镇", ["东河村"])
    assert address["text"] == "青石县青石镇东河村"


def test_a_v2_null_deletes_its_element_and_an_empty_field_says_nothing() -> None:
    found = patient('PID|1||A1||甲||""|M|||||""')
    assert found["birthDate"] is None and found["telecom"] is None
    assert "address" not in found


def test_a_batch_falls_into_its_messages() -> None:
    one, two = message(PID, kind="ADT^A08"), message(PID, kind="ADT^A04")
    batch = ("FHS|^~\\&|X\rBHS|^~\\&|X\r" + one + two + "BTS|2\rFTS|1\r").encode()
    found = split_batch(batch)
    assert [peek_v2(body).kind for body in found] == ["ADT^A08", "ADT^A04"]
    assert all(b"BTS" not in body for body in found)
    assert split_batch(one.encode()) == [one.encode()]
    (alone,) = split_batch(("BHS|^~\\&|X\r" + one + "BTS|1\r").encode())
    assert peek_v2(alone).kind == "ADT^A08"


def test_the_envelope_is_read_without_a_mapping() -> None:
    peek = peek_v2(message(PID, kind="ADT^A08", msh=MSH.replace("LIS", "检验")).encode("gb18030"))
    assert (peek.msh3, peek.msh4, peek.control_id, peek.kind, peek.charset) == (
        "检验",
        "H1",
        "C1",
        "ADT^A08",
        "gb18030",
    )


def test_a_text_broken_into_lines_inside_its_field_stays_whole() -> None:
    (made,) = resources(oru("OBX|1|TX|A^所见||第一行\r\n第二行\r\n\r\n末行||||||F", "NTE|1||注"), "Observation")
    assert (made["valueString"], made["status"], made["note"][0]["text"]) == ("第一行\n第二行\n末行", "final", "注")


def test_a_field_of_ten_thousand_repetitions_is_a_few_lines_of_the_account() -> None:
    many = "~".join(["13900000000"] * 10_000)
    places = [one.place for one in draft(oru(K, pid=f"PID|1||A1||张三||19800101|M|||||||||{many}|{many}")).unused]
    assert len([place for place in places if place.startswith("PID")]) <= 3
    lost = [one.place for one in draft(oru(K, f"ZAB|{'|'.join('x' * 1_000)}")).unused if one.lost]
    assert (lost[0], lost[-1], len(lost)) == ("ZAB[1]-1", "ZAB[1]-201", 201)


def test_a_reflex_test_is_a_report_of_its_own() -> None:
    text = message(
        PID,
        segment("OBR", {1: "1", 3: "R1", 4: "TFT^甲功", 7: "20260314211000", 25: "F"}),
        "OBX|1|NM|TSH^促甲状腺激素||12.5|mIU/L|||||F",
        segment("OBR", {1: "2", 3: "R2", 4: "FT4R^游离T4", 7: "20260314211000", 25: "F", 26: "TSH&促甲状腺激素^^12.5"}),
        "OBX|1|NM|FT4^游离甲状腺素||8.1|pmol/L|||||F",
    )
    assert [len(one["result"]) for one in resources(text, "DiagnosticReport")] == [1, 1]
    assert [one["code"]["coding"][0]["system"][-4:] for one in resources(text, "Observation")] == [":lab", ":lab"]


def test_several_answers_to_one_item_are_all_told() -> None:
    (made,) = resources(oru("OBX|1|CWE|X^项目||POS^阳性~WK^弱||||||F"), "Observation")
    assert made["valueCodeableConcept"] == {"text": "阳性；弱"}


def test_an_order_may_have_its_numbers_in_orc_alone() -> None:
    (made,) = resources(message(PID, "ORC|RE|S2|R2", "OBR|1|||SH^生化", K), "DiagnosticReport")
    assert [one["value"] for one in made["identifier"]] == ["R2"]


def test_notes_stand_with_the_text_they_are_about_and_withdrawn_text_is_not_told() -> None:
    text = message(
        PID,
        segment("OBR", {3: "R1", 4: "CT^胸部CT", 24: "CT"}), "NTE|1||与去年比较",
        "OBX|1|TX|FIND^所见||肺野清||||||F", "NTE|1||有伪影",
        "OBX|2|TX|IMP^印象||结节||||||D", "OBX|3|TX|IMP^诊断||无异常||||||F",
    )  # fmt: skip
    (made,) = resources(text, "DiagnosticReport")
    assert made["conclusion"] == "无异常\n与去年比较"
    assert made["extension"][0]["valueString"] == "肺野清\n有伪影"


def test_where_and_how_long_a_specimen_was_taken_is_told() -> None:
    spm = segment("SPM", {2: "P1", 4: "BLD^静脉血", 8: "LA^左臂", 11: "P^混合", 17: "20260314210000^20260314210500"})
    (made,) = resources(oru(spm, K), "Specimen")
    assert made["collection"]["bodySite"]["text"] == "左臂"
    assert made["collection"]["collectedPeriod"]["end"] == "2026-03-14T21:05:00+08:00"
    assert made["note"] == [{"text": "混合"}]
    (result,) = resources(oru(spm, K, obr="OBR|1|S1|R1|SH^生化"), "Observation")
    assert result["effectiveDateTime"] == "2026-03-14T21:00:00+08:00", "else nobody would know when"


def test_an_e_mail_address_is_no_telephone_number() -> None:
    found = patient("PID|1||A1||张三||||||||13900000000^PRN^PH~^NET^Internet^zhang@example.cn")
    assert [(one["system"], one["value"]) for one in found["telecom"]] == [
        ("phone", "13900000000"),
        ("email", "zhang@example.cn"),
    ]


@pytest.mark.parametrize(
    ("report", "item", "status"), [("", "P", "preliminary"), ("", "F", "final"), ("F", "P", "final")]
)
def test_a_report_that_does_not_say_how_it_stands_is_as_its_results_are(report: str, item: str, status: str) -> None:
    obr = segment("OBR", {2: "S1", 3: "R1", 4: "SH^生化", 25: report})
    (made,) = resources(message(PID, obr, K, f"OBX|2|NM|NA^钠||140|mmol/L|||||{item}"), "DiagnosticReport")
    assert made["status"] == status
