"""Events: which map serves a message, what an update says and leaves alone, cancellations, merges."""

from __future__ import annotations

import pytest

from gateway.errors import UnknownTrigger
from gateway.translate.read_v2 import peek_v2
from tests.unit.translate.v2_messages import PID, draft, mappings, message, resources, segment

PV1 = segment("PV1", {1: "1", 2: "I", 3: "N1^2^3", 19: "V1", 44: "20260310080000"})


def remarks(text: str) -> list[str]:
    return [one.code for one in draft(text).findings]


def visit(event: str, pv1: str = PV1) -> dict[str, object]:
    (found,) = resources(message(PID, pv1, kind=f"ADT^{event}"), "Encounter")
    return found


def test_an_event_without_a_map_is_served_by_its_structure_and_the_outcome_says_so() -> None:
    text = message(PID, PV1, kind="ADT^Z91^ADT_A01")
    assert remarks(text) == ["GW-MAP-008"]
    assert resources(text, "Encounter")[0]["period"] == {"start": "2026-03-10T08:00:00+08:00"}


def test_the_structure_of_an_event_is_known_when_the_sender_does_not_name_it() -> None:
    assert remarks(message(PID, PV1, kind="ADT^A32")) == ["GW-MAP-008"]


@pytest.mark.parametrize("kind", ["ADT^Z91", "ADT^A24^ADT_A24"])
def test_an_event_whose_structure_nobody_maps_is_read_segment_by_segment(kind: str) -> None:
    text = message(PID, PV1, "AL1|1|DA|PEN^青霉素", kind=kind)
    assert remarks(text) == ["GW-MAP-009"]
    assert [one["code"]["text"] for one in resources(text, "AllergyIntolerance")] == ["青霉素"]


@pytest.mark.parametrize("event", ["A42", "A43", "A44", "A50", "A51"])
def test_a_merge_nobody_mapped_never_counts_as_another_merge(event: str) -> None:
    for kind in (f"ADT^{event}", f"ADT^{event}^ADT_A39"):
        assert draft(message(PID, "MRG|A9", kind=kind)).merges == ()


def test_an_empty_trigger_is_read_from_evn_1() -> None:
    text = message("EVN|A11|20260310", PID, PV1, kind="ADT")
    assert peek_v2(text.encode()).kind == "ADT^A11"
    assert resources(text, "Encounter")[0]["status"] == "cancelled"


def test_an_empty_trigger_without_evn_is_served_by_the_only_structure_of_its_type() -> None:
    text = message(PID, "OBR|1|S1|R1|SH^生化", "OBX|1|NM|K^钾||4.2|mmol/L|||||F", kind="ORU")
    assert remarks(text) == ["GW-MAP-008"]
    assert len(resources(text, "Observation")) == 1


def test_a_type_hl7_does_not_know_is_served_by_nothing() -> None:
    with pytest.raises(UnknownTrigger):
        draft(message(PID, kind="ZZZ^Z01"))
    assert not mappings().serves(mappings().directory.sources["sandbox"], "ZZZ^Z01")


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("A01", "in-progress"), ("A02", "in-progress"), ("A03", "finished"), ("A04", "in-progress"), ("A05", "planned"),
        ("A11", "cancelled"), ("A12", "in-progress"), ("A13", "in-progress"), ("A14", "planned"), ("A27", "cancelled"),
    ],
)  # fmt: skip
def test_the_event_says_how_the_visit_stands(event: str, status: str) -> None:
    assert visit(event)["status"] == status


def test_a_cancelled_discharge_takes_end_and_disposition_back() -> None:
    (one,) = [r for r in draft(message(PID, PV1, kind="ADT^A13")).resources if r.type == "Encounter"]
    assert one.gone == ("period.end", "hospitalization.dischargeDisposition")


def test_an_update_of_demographics_leaves_the_state_of_the_visit_as_it_is() -> None:
    (one,) = [
        r
        for r in draft(message(PID, segment("PV1", {1: "1", 19: "V1"}), kind="ADT^A08")).resources
        if r.type == "Encounter"
    ]
    assert (one.gone, one.left) == ((), ("status", "class"))


def test_a_merged_account_is_no_merged_patient() -> None:
    text = message(PID + "|" * 10 + "ZH2", "MRG|A1||ZH1", kind="ADT^A41")
    assert draft(text).merges == ()
    new, old = resources(text, "Account")
    assert (new["status"], old["status"]) == ("active", "inactive")
    assert old["partOf"] == {"reference": f"Account/{new['id']}"}


def test_each_pair_of_a_merge_message_is_its_own_merge() -> None:
    other = PID.replace("A1", "A2")
    got = draft(message(PID, "MRG|A8", other, "MRG|A9", kind="ADT^A40"))
    assert [(one.survivor, one.retired_number) for one in got.merges] == [(0, "A8"), (1, "A9")]


def test_a_changed_card_number_is_no_merge() -> None:
    assert draft(message(PID, "MRG|990150196504170219^^^^NI", kind="ADT^A47")).merges == ()


def test_a_deleted_registration_deletes_nothing_and_tells_somebody() -> None:
    got = draft(message(PID, "PV1|1|N", kind="ADT^A29"))
    assert [one.code for one in got.findings] == ["GW-MAP-010"]
    assert got.resources == ()


def test_a_diagnosis_taken_back_is_an_error_not_a_diagnosis() -> None:
    dg1 = segment("DG1", {1: "1", 3: "I10.x00^高血压病", 6: "F", 15: "1", 21: "D"})
    text = message(PID, PV1, dg1, kind="ADT^A08")
    (condition,) = resources(text, "Condition")
    assert "clinicalStatus" not in condition
    assert condition["verificationStatus"]["coding"][0]["code"] == "entered-in-error"
    assert "diagnosis" not in resources(text, "Encounter")[0]


def test_an_allergy_told_by_al1_is_the_one_iam_takes_back() -> None:
    (told,) = resources(message(PID, "AL1|1|DA|PEN^青霉素", kind="ADT^A01"), "AllergyIntolerance")
    (back,) = resources(message(PID, "IAM|1|DA|PEN^青霉素|||D", kind="ADT^A60"), "AllergyIntolerance")
    assert told["id"] == back["id"]
    assert back["verificationStatus"]["coding"][0]["code"] == "entered-in-error"


def test_a_pathology_report_names_its_specimen() -> None:
    obr, spm = segment("OBR", {2: "S1", 3: "R1", 4: "BL^病理^L", 24: "SP"}), segment("SPM", {2: "P1", 4: "WZ^胃窦组织"})
    text = message(PID, obr, spm, "OBX|1|TX|IMP^诊断||慢性炎症||||||F")
    (tissue,) = resources(text, "Specimen")
    (report,) = resources(text, "DiagnosticReport")
    assert tissue["type"]["text"] == "胃窦组织"
    assert report["specimen"] == [{"reference": f"Specimen/{tissue['id']}"}]


def told(event: str, *segments: str) -> tuple[str, ...]:
    """What an update of the visit deletes."""
    (made,) = [one for one in draft(message(PID, *segments, kind=f"ADT^{event}")).resources if one.type == "Encounter"]
    return made.gone or ()


def test_the_last_diagnosis_taken_back_leaves_the_visit_without_one() -> None:
    back, other = segment("DG1", {3: "I10^高血压", 21: "D"}), segment("DG1", {3: "I11^高心病"})
    assert told("A08", PV1, back) == ("diagnosis", "reasonCode")
    assert told("A08", PV1, back, other) == ()


def test_one_doctor_can_be_taken_off_a_visit() -> None:
    assert told("A08", segment("PV1", {7: '""', 9: "D3^会诊", 19: "V1"})) == ("participant.ATND",)


@pytest.mark.parametrize(
    ("event", "places"),
    [
        ("A05", [("N5", "planned"), ("N4", "completed"), ("N9", "planned")]),
        ("A12", [("N5", "active"), ("N9", "planned")]),
        ("A26", [("N5", "active"), ("N4", "completed")]),
    ],
)
def test_nobody_lay_where_a_transfer_was_cancelled_or_is_still_planned(
    event: str, places: list[tuple[str, str]]
) -> None:
    made = visit(event, segment("PV1", {2: "I", 3: "N5", 6: "N4", 19: "V1", 42: "N9"}))
    assert [(one["location"]["display"], one["status"]) for one in made["location"]] == places  # type: ignore[attr-defined]


@pytest.mark.parametrize(("event", "end"), [("A01", "start"), ("A03", "end")])
def test_when_it_happened_stands_in_for_the_time_pv1_leaves_out(event: str, end: str) -> None:
    text = message(
        f"EVN|{event}|20260310120000||||20260310113000", PID, "PV1||I" + "|" * 17 + "V1", kind=f"ADT^{event}"
    )
    assert resources(text, "Encounter")[0]["period"] == {end: "2026-03-10T11:30:00+08:00"}


def test_a_deleted_problem_or_allergy_is_an_update_without_a_clinical_state() -> None:
    for text in (
        message(PID, segment("PRB", {1: "DE", 3: "I10^高血压", 4: "P1"}), kind="PPR^PC3"),
        message(PID, segment("IAM", {3: "PCN^青霉素", 6: "D"}), kind="ADT^A60"),
    ):
        (made,) = [one for one in draft(text).resources if one.type in ("Condition", "AllergyIntolerance")]
        assert made.gone[0] == "clinicalStatus" and "clinicalStatus" not in made.json


def test_an_update_of_a_problem_without_its_state_leaves_that_as_it_is() -> None:
    text = message(PID, segment("PRB", {1: "UP", 3: "I10^高血压", 4: "P1"}), kind="PPR^PC2")
    (made,) = [one for one in draft(text).resources if one.type == "Condition"]
    assert (made.gone, made.left) == ((), ("clinicalStatus",))


def test_a_no_show_nobody_booked_waits_for_its_booking() -> None:
    assert len(draft(message("SCH||A1", PID, kind="SIU^S26")).awaits) == 1
    assert draft(message("SCH||A1|||||||||^^^20260322090000", PID, kind="SIU^S26")).awaits == ()


def test_a_status_told_later_is_not_the_date_of_the_document() -> None:
    for event, dated in (("T02", True), ("T03", False)):
        (made,) = resources(message(PID, "TXA|1|OP^小结||||||||||W1", kind=f"MDM^{event}"), "DocumentReference")
        assert ("date" in made) is dated, event


@pytest.mark.parametrize(
    ("item", "loinc"), [("BT^血型", ""), ("P^磷", ""), ("BT^体温", "8310-5"), ("T^体温", "8310-5")]
)
def test_a_letter_that_means_two_things_is_no_vital_sign(item: str, loinc: str) -> None:
    (sign,) = resources(message(PID, PV1, f"OBX|1|NM|{item}||37||||||F", kind="ADT^A08"), "Observation")
    codes = {one["system"]: one["code"] for one in sign["code"]["coding"]}
    assert codes.get("http://loinc.org", "") == loinc


def test_an_operation_with_a_number_of_its_own_is_one_when_its_time_changes_or_it_is_taken_back() -> None:
    told = [
        resources(message(PID, PV1, segment("PR1", {3: "36.06^支架"} | more), kind="ADT^A08"), "Procedure")[0]
        for more in ({5: "20260316100000", 19: "OP1"}, {5: "20260316103000", 19: "OP1"}, {19: "OP1", 20: "D"})
    ]
    assert len({one["id"] for one in told}) == 1
    assert [one["status"] for one in told] == ["completed", "completed", "entered-in-error"]
    other = resources(message(PID, PV1, segment("PR1", {3: "36.06^支架", 5: "20260317"}), kind="ADT^A08"), "Procedure")
    assert other[0]["id"] != told[0]["id"]
