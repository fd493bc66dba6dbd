"""Requests and prescriptions through their life: changed, replaced, stopped for a reason; doses and durations."""

from __future__ import annotations

import pytest

from gateway.model.resource import Json
from tests.unit.translate.v2_messages import PID, draft, message, resources, segment

METOPROLOL, BISOPROLOL = "RXE||MET^美托洛尔|25||mg", "RXE||BIS^比索洛尔|5||mg"


def drug(*segments: str, kind: str = "RDE^O11") -> Json:
    (made,) = resources(message(PID, *segments, kind=kind), "MedicationRequest")
    return made


@pytest.mark.parametrize(
    ("kind", "order", "type_"),
    [("ORM^O01", "OBR|1|||CT^胸部CT", "ServiceRequest"), ("RDE^O11", METOPROLOL, "MedicationRequest")],
)
def test_a_stop_tells_its_reason_and_leaves_what_the_order_said(kind: str, order: str, type_: str) -> None:
    stop = segment("ORC", {1: "DC", 2: "P1", 16: "ADE^水肿^L"})
    (made,) = [one for one in draft(message(PID, stop, order, kind=kind)).resources if one.type == type_]
    assert (made.gone, made.left) == ((), ("authoredOn",)), "an update: the doctor, the time and the dose stay"
    assert made.json["status"] in ("revoked", "stopped")
    assert "水肿" in str(made.json.get("statusReason") or made.json["extension"])


def test_of_an_order_and_its_replacement_only_the_new_one_is_active() -> None:
    new = segment("ORC", {1: "RO", 2: "P2", 8: "P1"})
    text = message(PID, "ORC|RP|P1", METOPROLOL, new, BISOPROLOL, kind="RDE^O11")
    old, other = resources(text, "MedicationRequest")
    assert (old["status"], other["status"]) == ("stopped", "active")
    assert other["priorPrescription"]["identifier"]["value"] == "P1"
    assert drug("ORC|RP|P1", METOPROLOL)["status"] == "active", "the order itself in new words"
    text = message(PID, "ORC|RP|P1", "OBR|1|P1||CT^CT", new, "OBR|2|P2||MR^MR", kind="ORM^O01")
    before, after = resources(text, "ServiceRequest")
    assert (before["status"], after["status"]) == ("revoked", "active")
    assert after["replaces"] == [{"reference": f"ServiceRequest/{before['id']}"}]


@pytest.mark.parametrize(("control", "status"), [("UA", "revoked"), ("UC", "active"), ("RU", "revoked")])
def test_what_the_filler_answers_decides(control: str, status: str) -> None:
    (made,) = resources(message(PID, f"ORC|{control}|P1", "OBR|1|P1||CT^CT", kind="ORM^O01"), "ServiceRequest")
    assert made["status"] == status


def test_an_old_order_tells_frequency_and_time_in_orc_7() -> None:
    orc = segment("ORC", {1: "NW", 2: "P1", 7: "^TID^D7^20260316080000^20260323^S"})
    made = drug(orc, "RXO|AMX^阿莫西林|0.5||g", kind="ORM^O01")
    (dosage,) = made["dosageInstruction"]
    assert (dosage["text"], dosage["timing"]["repeat"]["frequency"]) == ("0.5 g TID", 3)
    assert made["priority"] == "stat"
    assert made["dispenseRequest"]["validityPeriod"]["end"] == "2026-03-23"
    assert made["dispenseRequest"]["expectedSupplyDuration"]["value"] == 7


def test_a_dose_from_to_is_no_single_dose() -> None:
    (dosage,) = drug("ORC|NW|P1", "RXE||AML^氨氯地平|5|10|mg")["dosageInstruction"]
    assert dosage["text"] == "5-10 mg"
    assert [dosage["doseAndRate"][0]["doseRange"][end]["value"] for end in ("low", "high")] == [5, 10]
    (dosage,) = drug("ORC|NW|P1", "RXE||AML^氨氯地平|5|5|mg")["dosageInstruction"]
    assert (dosage["text"], dosage["doseAndRate"][0]["doseQuantity"]["value"]) == ("5 mg", 5)


@pytest.mark.parametrize(
    ("sent", "told"),
    [("7", (7, "d")), ("2^周", (2, "wk")), ("W2", (2, "wk")), ("1个月", (1, "mo")), ("L1", (1, "mo")), ("X3", None)],
)
def test_a_duration_has_its_unit(sent: str, told: tuple[int, str] | None) -> None:
    made = drug("ORC|NW|P1", f"TQ1||||||{sent}", METOPROLOL)
    found = made.get("dispenseRequest", {}).get("expectedSupplyDuration")
    assert (found and (found["value"], found["code"])) == told


def test_a_duration_nobody_can_read_is_told() -> None:
    found = draft(message(PID, "ORC|NW|P1", "TQ1||||||看情况", METOPROLOL, kind="RDE^O11")).findings
    assert [(one.code, one.place) for one in found] == [("GW-MAP-003", "TQ1[1]-6")]


def test_the_parts_of_a_mixture_have_their_amounts() -> None:
    made = drug("ORC|NW|P1", METOPROLOL, "RXC|B|NS^生理盐水|100|ml", "RXC|A|KCL^氯化钾|10|ml")
    assert [one["text"] for one in made["note"]] == ["生理盐水 100 ml", "氯化钾 10 ml"]


def test_a_drug_ordered_and_encoded_in_one_message_is_one() -> None:
    assert drug("ORC|NW|P1", "RXO|ATEN^通用名|25||mg", METOPROLOL)["medicationCodeableConcept"]["text"] == "美托洛尔"


def test_an_old_order_tells_its_start_in_orc_7_or_obr_27() -> None:
    for orc, obr in (("^^^20260317^^R", ""), ("", "^^^20260317^^R")):
        order = segment("OBR", {2: "P1", 4: "CT^CT", 27: obr})
        (made,) = resources(message(PID, f"ORC|NW|P1|||||{orc}", order, kind="ORM^O01"), "ServiceRequest")
        assert (made["occurrenceDateTime"], made["priority"]) == ("2026-03-17", "routine")


def test_a_request_may_have_two_reasons_and_a_specimen_of_a_day() -> None:
    spm = segment("SPM", {2: "P1", 4: "UR^尿", 17: "20260316080000^20260317080000"})
    text = message(PID, "ORC|NW|P1", segment("OBR", {4: "SH^生化", 31: "R50^发热~R05^咳嗽"}), spm, kind="OML^O21")
    (made,), (urine,) = resources(text, "ServiceRequest"), resources(text, "Specimen")
    assert [one["text"] for one in made["reasonCode"]] == ["发热", "咳嗽"]
    assert urine["collection"]["collectedPeriod"]["end"] == "2026-03-17T08:00:00+08:00"


def status_of(*segments: str, kind: str = "ORM^O01") -> str:
    (found,) = resources(message(PID, *segments, kind=kind), "ServiceRequest")
    return str(found["status"])


@pytest.mark.parametrize("rest", [(), ("OBR|1|Y1",)])
@pytest.mark.parametrize(
    ("control", "status"), [("CA", "revoked"), ("OC", "revoked"), ("作废", "revoked"), ("HD", "on-hold")]
)
def test_a_cancellation_that_does_not_repeat_the_order_cancels_it(
    control: str, status: str, rest: tuple[str, ...]
) -> None:
    got = draft(message(PID, f"ORC|{control}|Y1|||||||20260320||||||^退费", *rest, kind="ORM^O01"))
    (one,) = [one for one in got.resources if one.type == "ServiceRequest"]
    assert one.json["status"] == status
    assert one.gone is not None  # an update: what was ordered stays
    assert [other.ref for other in got.awaits] == [f"ServiceRequest/{one.id}"]


def test_a_filler_that_knows_its_own_number_alone_waits_for_the_order_of_that_number() -> None:
    assert draft(message(PID, "ORC|OC||L1", "OBR|1||L1|GG^肝功能", kind="ORM^O01")).awaits
    assert not draft(message(PID, "ORC|OC|Y1|L1", "OBR|1|Y1|L1|GG^肝功能", kind="ORM^O01")).awaits
    assert not draft(message(PID, "ORC|NW||L1", "OBR|1||L1|GG^肝功能", kind="ORM^O01")).awaits


@pytest.mark.parametrize(
    ("orc", "status"),
    [
        ("ORC|SC|Y1|||RP", "revoked"),
        ("ORC|SC|Y1|||HD", "on-hold"),
        ("ORC|SC|Y1|||已采集", "active"),
        ("ORC|SC|Y1|||已退费", "revoked"),
        ("ORC|SC|Y1|||重排", "unknown"),
        ("ORC||Y1|||CA", "revoked"),
        ("ORC|XO|Y1|||CA", "revoked"),
        ("ORC|NW|Y1|||IP", "active"),
        ("ORC|ZZ|Y1", "unknown"),
        ("ORC||Y1", "active"),
    ],
)
def test_how_an_order_stands(orc: str, status: str) -> None:
    assert status_of(orc, "OBR|1|Y1||GG^肝功能") == status


@pytest.mark.parametrize(("control", "status"), [("停嘱", "stopped"), ("取消", "cancelled"), ("ZZ", "unknown")])
def test_how_a_drug_order_stands(control: str, status: str) -> None:
    text = message(PID, f"ORC|{control}|Y1", "RXO|AMX^阿莫西林|0.5||g", kind="ORM^O01")
    assert [one["status"] for one in resources(text, "MedicationRequest")] == [status]
