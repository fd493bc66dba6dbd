"""The twelve residents over FHIR: what must be seen, read by a platform's client from the real server."""

from __future__ import annotations

from decimal import Decimal

from gateway.model.resource import Json, dumps
from tests.flow.alliance import Alliance

LI, WANG, CHEN, LIU = "990101195803120115", "990101196307250222", "990101197109020332", "990101194911180444"
SHEN, ZHAO, MOTHER = "990101195506200557", "990101198602140666", "99010119910830122X"
RAN_M, RAN_F = "990101201905060772", "990101201905060780"
ZHOU, WU, HUANG = "990101196710010886", "990101194201150996", "990101197812051333"
MA, HE = "990101200101191449", "990101196004081468"


def _codes(resource: Json) -> set[str]:
    return {one["code"] for one in resource.get("code", {}).get("coding", ())}


def _value(resource: Json) -> tuple[Decimal, str]:
    quantity = resource["valueQuantity"]
    return Decimal(str(quantity["value"])), quantity.get("code", quantity.get("unit", ""))


def _part(parameters: Json, name: str) -> Json:
    return next(one for one in parameters["parameter"] if one["name"] == name)


def _issues(alliance: Alliance, card: str) -> dict[str, list[Json]]:
    bundle = alliance.fhir(f"Patient/{alliance.person(card)['id']}/$alerts")
    found: dict[str, list[Json]] = {}
    for entry in bundle.get("entry", ()):
        code = entry["resource"]["code"]["coding"][0]["code"]
        found.setdefault(code, []).append(entry["resource"])
    return found


def test_li_jianguo_is_one_person_with_four_local_numbers_and_his_allergy_conflicts(alliance: Alliance) -> None:
    patient = alliance.person(LI)
    local = {one["system"] for one in patient["identifier"] if one["system"].startswith("urn:alliance-gateway:number:")}
    assert len(local) == 4
    assert any(one["value"] == "A100234" for one in patient["identifier"])
    allergies = alliance.of(LI, "AllergyIntolerance")
    penicillin = [one for one in allergies if "青霉素" in one["code"]["text"]]
    assert penicillin
    assert any(":source:city_first_hospital#" in one["meta"]["source"] for one in penicillin)
    assert any("阿莫西林" in one["medicationCodeableConcept"]["text"] for one in alliance.of(LI, "MedicationRequest"))
    assert "allergy-conflict" in _issues(alliance, LI)


def test_the_old_fifteen_digit_number_finds_him_too(alliance: Alliance) -> None:
    assert alliance.person(LI)["birthDate"] == "1958-03-12"
    assert len(alliance.found("Patient", birthdate="1958-03-12", name="李建国")) == 1


def test_wang_xiuying_has_a_repeated_plain_ct_and_an_enhanced_one_that_is_none(alliance: Alliance) -> None:
    repeats = _issues(alliance, WANG)["repeated-examination"]
    assert len(repeats) == 1
    assert "4 天内重复" in repeats[0]["detail"]
    studies = alliance.of(WANG, "ImagingStudy")
    assert sorted(one["numberOfSeries"] for one in studies) == [1, 2]
    reports = {one["code"]["text"].replace(" ", ""): one for one in alliance.of(WANG, "DiagnosticReport")}
    assert len(alliance.of(WANG, "DiagnosticReport")) == 3
    plain = [one for name, one in reports.items() if "平扫" in name]
    assert plain and "conclusion" in plain[0]


def test_wang_xiuyings_first_ct_is_recognised_until_april_9_when_its_images_are_read(alliance: Alliance) -> None:
    reports = alliance.of(WANG, "DiagnosticReport")
    first = next(one for one in reports if one["issued"].startswith("2026-03-10T11:20"))
    decision = alliance.fhir(f"DiagnosticReport/{first['id']}/$recognition", role="doctor")
    assert _part(decision, "verdict")["valueCoding"]["code"] == "yes-images"
    assert _part(decision, "validUntil")["valueDateTime"].startswith("2026-04-09T11:20")


def test_chen_mings_corrected_potassium_is_one_observation_with_two_versions(alliance: Alliance) -> None:
    potassium = [one for one in alliance.of(CHEN, "Observation") if "2823-3" in _codes(one)]
    assert len(potassium) == 1
    assert potassium[0]["status"] == "corrected"
    assert _value(potassium[0])[0] == Decimal("4.2")
    history = alliance.fhir(f"Observation/{potassium[0]['id']}/_history")
    values = [str(entry["resource"]["valueQuantity"]["value"]) for entry in history["entry"]]
    assert values == ["4.2", "6.8"]
    assert "critical-value" not in _issues(alliance, CHEN)


def test_liu_guilans_values_keep_their_digits_and_units(alliance: Alliance) -> None:
    items = alliance.of(LIU, "Observation")
    creatinine = [one for one in items if "14682-9" in _codes(one) or "肌酐" in one["code"].get("text", "")]
    sent = {(str(one["valueQuantity"]["value"]), one["valueQuantity"]["unit"]) for one in creatinine}
    assert ("1.20", "mg/dL") in sent
    assert any(value == "106" for value, _ in sent)
    by_unit = {one["valueQuantity"]["unit"]: one["valueQuantity"] for one in items if "valueQuantity" in one}
    hgb = next(one for one in items if "718-7" in _codes(one) and str(one["valueQuantity"]["value"]) == "132")
    wbc = next(one for one in items if "6690-2" in _codes(one) and str(one["valueQuantity"]["value"]) == "6.5")
    assert hgb["valueQuantity"]["unit"] == "G/L" and hgb["valueQuantity"]["code"] == "g/L"
    assert wbc["valueQuantity"]["unit"] == "G/L" and wbc["valueQuantity"]["code"] == "10*9/L"
    a1c = {code for one in items for code in _codes(one) & {"4548-4", "59261-8"}}
    assert a1c == {"4548-4", "59261-8"}, by_unit.keys()


def test_zhang_shens_rare_character_survives_and_pinyin_finds_him(alliance: Alliance) -> None:
    patient = alliance.person(SHEN)
    assert patient["name"][0]["text"] == "张珅"
    assert (patient["gender"], patient["birthDate"]) == ("male", "1955-06-20")
    assert [one["id"] for one in alliance.found("Patient", name="zhangshen")] == [patient["id"]]
    assert [one["id"] for one in alliance.found("Patient", name="张珅")] == [patient["id"]]
    assert len(alliance.of(SHEN, "ImagingStudy")) == 2


def test_zhao_lis_critical_platelets_say_who_was_told(alliance: Alliance) -> None:
    platelets = next(one for one in alliance.of(ZHAO, "Observation") if "777-3" in _codes(one))
    assert _value(platelets)[0] == 18
    assert platelets["interpretation"][0]["coding"][0]["code"] == "LL"
    band = platelets["referenceRange"][0]
    assert (band["low"]["value"], band["high"]["value"]) == (125, 350)
    notice = next(one for one in platelets["extension"] if one["url"].endswith("critical-notice"))
    parts = {one["url"]: one for one in notice["extension"]}
    assert parts["told"]["valueString"] == "周医生"
    assert "T15:32" in parts["at"]["valueDateTime"]
    assert "critical-value" in _issues(alliance, ZHAO)
    report = alliance.of(ZHAO, "DiagnosticReport")[0]
    decision = alliance.fhir(f"DiagnosticReport/{report['id']}/$recognition", role="doctor")
    item = next(one for one in decision["parameter"] if one["name"] == "item" and "血小板" in dumps(one).decode())
    verdict = next(one for one in item["part"] if one["name"] == "verdict")
    assert verdict["valueCoding"]["code"] == "no"
    assert "变化较快" in dumps(item).decode()


def test_the_twins_stay_two_persons_and_their_mother_keeps_an_empty_record(alliance: Alliance) -> None:
    boy, girl, mother = alliance.person(RAN_M), alliance.person(RAN_F), alliance.person(MOTHER)
    assert len({boy["id"], girl["id"], mother["id"]}) == 3
    assert len(alliance.found("Patient", name="孙浩")) == 2
    for one in (boy, girl, mother):
        assert "link" not in one
    reviews = [
        one for one in alliance.found("Task") if "证件与出生日期不符" in one.get("reasonCode", {}).get("text", "")
    ]
    assert len(reviews) == 2
    for type_ in ("Observation", "DiagnosticReport", "Encounter", "MedicationRequest", "Condition"):
        assert alliance.of(MOTHER, type_) == []


def test_zhou_mins_final_culture_stays_and_the_late_preliminary_is_history(alliance: Alliance) -> None:
    report = next(one for one in alliance.of(ZHOU, "DiagnosticReport") if "培养" in one["code"]["text"])
    assert report["status"] == "final"
    history = alliance.fhir(f"DiagnosticReport/{report['id']}/_history")
    assert [entry["resource"]["status"] for entry in history["entry"]] == ["final", "preliminary", "final"]
    drugs = {
        one["code"]["text"]: one["interpretation"][0]["coding"][0]["code"]
        for one in alliance.of(ZHOU, "Observation")
        if one.get("interpretation") and one["interpretation"][0]["coding"][0]["code"] in ("S", "I", "R")
    }
    assert drugs["头孢曲松"] == "R"
    assert drugs["阿米卡星"] == "S"
    organisms = [one.get("valueCodeableConcept", {}).get("text", "") for one in alliance.of(ZHOU, "Observation")]
    assert any("大肠" in text for text in organisms)


def test_wu_defu_takes_aspirin_twice_and_stayed_fourteen_days(alliance: Alliance) -> None:
    orders = alliance.of(WU, "MedicationRequest")
    aspirin = [one for one in orders if "阿司匹林" in one["medicationCodeableConcept"]["text"]]
    assert len(aspirin) == 2
    discharge = next(one for one in aspirin if one["authoredOn"].startswith("2026-03-06"))
    assert discharge["dispenseRequest"]["expectedSupplyDuration"]["value"] == 30
    assert any("阿托伐他汀" in one["medicationCodeableConcept"]["text"] for one in orders)
    assert "duplicate-medication" in _issues(alliance, WU)
    stay = next(one for one in alliance.of(WU, "Encounter") if one["class"]["code"] == "IMP")
    assert stay["period"]["start"].startswith("2026-02-20") and stay["period"]["end"].startswith("2026-03-06")
    assert any("I63.900" in _codes(one) for one in alliance.of(WU, "Condition"))


def test_huang_zhiqiang_shows_only_the_replaced_nodule_and_loses_ggt(alliance: Alliance) -> None:
    reports = alliance.of(HUANG, "DiagnosticReport")
    ultrasound = [one for one in reports if "8" in one.get("conclusion", "") and "mm" in one.get("conclusion", "")]
    assert len(ultrasound) == 1
    assert "18" not in ultrasound[0]["conclusion"]
    papers = [one for one in alliance.of(HUANG, "DocumentReference") if one["status"] == "superseded"]
    assert papers
    ggt = [one for one in alliance.of(HUANG, "Observation") if "2324-2" in _codes(one)]
    assert [one["status"] for one in ggt] == ["entered-in-error"]
    history = alliance.fhir(f"Observation/{ggt[0]['id']}/_history")
    assert len(history["entry"]) == 2
    listed = {one["reference"] for report in reports for one in report.get("result", ())}
    assert f"Observation/{ggt[0]['id']}" not in listed


def test_ma_xiaomeis_two_pct_are_two_analytes_and_the_unknown_item_stays_visible(alliance: Alliance) -> None:
    items = alliance.of(MA, "Observation")
    values = {code: _value(one) for one in items for code in _codes(one) & {"51637-7", "33959-8"}}
    assert values["51637-7"] == (Decimal("0.21"), "%")
    assert values["33959-8"][0] == Decimal("0.08")
    unknown = next(one for one in items if "X-9981" in _codes(one))
    assert all(one["system"] != "http://loinc.org" for one in unknown["code"]["coding"])


def test_he_chunhuas_chemistry_is_recognised_for_fifteen_of_twenty(alliance: Alliance) -> None:
    report = next(one for one in alliance.of(HE, "DiagnosticReport") if len(one.get("result", ())) == 20)
    decision = alliance.fhir(f"DiagnosticReport/{report['id']}/$recognition", role="doctor")
    assert _part(decision, "recognisable")["valueUnsignedInt"] == 15
    assert _part(decision, "total")["valueUnsignedInt"] == 20
    assert _part(decision, "validUntil")["valueDateTime"].startswith("2026-04-07T10:00")
