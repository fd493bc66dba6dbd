"""Events one after another through the MLLP door: what an update leaves, deletes and takes back in the store."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import cache

from fixtures.cases import cases
from gateway.model.outcome import State
from gateway.model.resource import Json
from gateway.shipped import shipped
from tests.flow.alliance import Alliance

EVENTS = {case.name: case.body for case in cases(shipped("fixtures") / "events")}


def tell(alliance: Alliance, *names: str) -> None:
    """The events whose names begin so, in order, each worked off before the next."""
    for name in names:
        whole = next(one for one in EVENTS if one.startswith(name))
        assert b"MSA|AA|" in alliance.mllp(EVENTS[whole]), name
        alliance.drain()


@cache
def number(kind: str) -> str:
    return f"urn:alliance-gateway:number:city_first_hospital:{kind}"


def one(alliance: Alliance, type_: str, kind: str, value: str) -> Json:
    (found,) = alliance.found(type_, identifier=f"{number(kind)}|{value}")
    return found


def test_a_stay_is_told_event_by_event(empty: Alliance) -> None:
    tell(empty, "adt_a01/admission_in_full", "adt_a02/transfer")
    stay = one(empty, "Encounter", "visit", "ZY260310011")
    assert [entry["location"]["display"] for entry in stay["location"]] == ["N2 03 1", "N5 08 2"]
    assert stay["reasonCode"][0]["text"] == "急性心肌梗死", "what the transfer does not repeat stays"
    tell(empty, "adt_a08/update_with_null")
    stay = one(empty, "Encounter", "visit", "ZY260310011")
    assert (stay["status"], stay["class"]["code"], "serviceType" in stay) == ("in-progress", "IMP", False)
    assert "telecom" not in empty.found("Patient", identifier="B200101")[0]
    tell(empty, "adt_a03/discharge")
    stay = one(empty, "Encounter", "visit", "ZY260310011")
    assert stay["status"] == "finished"
    assert stay["period"] == {"start": "2026-03-10T09:30:00+08:00", "end": "2026-03-18T08:30:00+08:00"}
    tell(empty, "adt_a13/discharge_cancelled")
    stay = one(empty, "Encounter", "visit", "ZY260310011")
    assert (stay["status"], stay["period"]) == ("in-progress", {"start": "2026-03-10T09:30:00+08:00"})
    assert "dischargeDisposition" not in stay["hospitalization"]
    tell(empty, "adt_a11/admission_cancelled")
    assert one(empty, "Encounter", "visit", "ZY260310011")["status"] == "in-progress", "an older message wins nothing"


def test_a_document_keeps_its_content_until_it_is_replaced(empty: Alliance) -> None:
    tell(empty, "mdm_t02/with_content", "mdm_t03/status_changed")
    document = one(empty, "DocumentReference", "document", "WD001")
    assert (document["docStatus"], "data" in document["content"][0]["attachment"]) == ("final", True)
    tell(empty, "mdm_t10/replaced_by_pdf")
    assert one(empty, "DocumentReference", "document", "WD001")["status"] == "superseded"
    assert one(empty, "DocumentReference", "document", "WD003")["status"] == "current"


def test_a_cancelled_appointment_still_says_when_and_with_whom(empty: Alliance) -> None:
    tell(empty, "siu_s12/booked", "siu_s13/rescheduled", "siu_s15/cancelled")
    booked = one(empty, "Appointment", "appointment", "HY26032201")
    assert (booked["status"], booked["start"]) == ("cancelled", "2026-03-23T14:30:00+08:00")
    assert len(booked["participant"]) == 3


def test_a_visit_moves_to_the_patient_it_belongs_to_with_all_that_was_filed_with_it(empty: Alliance) -> None:
    tell(empty, "adt_a01/admission_in_full")
    admitted = EVENTS["adt_a01/admission_in_full"].split(b"\r")
    visit = next(line for line in EVENTS["adt_a45/visit_moved"].split(b"\r") if line.startswith(b"PV1"))
    head = admitted[0].replace(b"|E00000", b"|F00000").replace(b"ADT^A01^ADT_A01", b"ADT^A04^ADT_A01")
    diagnosis = "DG1|1||I10^高血压|||A".encode()
    report = [
        head.replace(b"ADT^A04^ADT_A01", b"ORU^R01^ORU_R01").replace(b"|F00000", b"|F10000"), admitted[2], visit,
        b"OBR|1|A77|R77|BIO^X^L|||20260311080000|||||||||||||||20260311090000||LAB|F",
        b"OBX|1|NM|K^K^L||5.1|mmol/L|3.5-5.3||||F",
    ]  # fmt: skip
    for lines in ([head, admitted[2], visit, diagnosis], report):
        assert b"MSA|AA|" in empty.mllp(b"\r".join(lines))
        empty.drain()
    mine = one(empty, "Encounter", "visit", "MZ260311020")["subject"]["reference"]
    tell(empty, "adt_a45/visit_moved")
    moved = one(empty, "Encounter", "visit", "MZ260311020")
    theirs = f"Patient/{empty.person('990150198809260427')['id']}"
    assert mine != theirs == moved["subject"]["reference"]
    for type_ in ("Condition", "DiagnosticReport"):
        (found,) = empty.found(type_, encounter=f"Encounter/{moved['id']}")
        assert found["subject"]["reference"] == theirs, type_
    (result,) = empty.found("Observation", code="K", patient=theirs)
    assert result["valueQuantity"]["value"] == Decimal("5.1")
    assert empty.found("Observation", code="K", patient=mine) == []
    assert empty.found("Condition", patient=mine), "what was filed with another visit stays"


def test_two_numbers_merge_and_later_messages_for_the_old_one_find_the_survivor(empty: Alliance) -> None:
    old = EVENTS["adt_a04/outpatient"].replace(b"B200102", b"B100888").replace(b"990150198809260427", b"")
    empty.mllp(old.replace(b"|E00000", b"|G00000"))
    empty.drain()
    tell(empty, "adt_a40/merge")
    visit = one(empty, "Encounter", "visit", "MZ260316055")
    assert visit["subject"]["reference"] == f"Patient/{empty.person('990150198809260427')['id']}"


def test_a_patient_given_another_number_keeps_what_came_under_the_old_one(empty: Alliance) -> None:
    old = EVENTS["adt_a04/outpatient"].replace(b"B200102", b"B100999").replace(b"990150198809260427", b"")
    empty.mllp(old.replace(b"|E00000", b"|G00000").replace(b"19880926", b"20240311"))
    empty.drain()
    tell(empty, "adt_a47/")
    visit = one(empty, "Encounter", "visit", "MZ260316055")
    assert visit["subject"]["reference"] == f"Patient/{empty.person('990150202403110153')['id']}"


def test_allergies_told_anew_stand_and_a_late_message_brings_none_back(empty: Alliance) -> None:
    tell(empty, "adt_a01/admission_in_full", "adt_a60/")

    def states() -> dict[str, str]:
        found = empty.of("990150196504170210", "AllergyIntolerance")
        return {one["code"]["coding"][0]["code"]: one["verificationStatus"]["coding"][0]["code"] for one in found}

    told = states()
    assert (told["LXLS"], told["PEN"]) == ("entered-in-error", "confirmed")
    lines = EVENTS["adt_a01/admission_in_full"].replace(b"|E00000", b"|J00000").split(b"\r")
    lines[0] = lines[0].replace(b"ADT^A01^ADT_A01", b"ADT^A08^ADT_A01")
    late = [lines[0], lines[1], lines[2], "AL1|1|DA|LXLS^链霉素^L|SV|皮疹".encode()]
    empty.mllp(b"\r".join(late))
    empty.drain()
    assert states() == told


def test_a_resident_whose_birth_date_was_deleted_gets_it_back(empty: Alliance) -> None:
    tell(empty, "adt_a28/person_added", "adt_a31/person_updated", "vxu_v04/dose_and_history")
    child = empty.person("990150202403110153")
    assert (child["birthDate"], child["identifier"][0]["use"]) == ("2024-03-11", "official")


def test_events_of_every_kind_kept_at_once_all_come_to_their_outcome(empty: Alliance) -> None:
    merges = ("adt_a34/", "adt_a40/", "adt_a41/", "adt_a45/", "adt_a47/")
    bodies = [body for name, body in EVENTS.items() if not name.startswith((*merges, "qbp_"))]

    async def all_at_once() -> None:
        await asyncio.gather(*(empty.gateway.intake.v2(body) for body in bodies))
        await asyncio.wait_for(empty.gateway.worker.drained(), 60)

    empty.run(all_at_once())
    counts = empty.run(empty.gateway.shared.inbox.messages.counts())
    assert {state for _, state in counts} == {State.PROCESSED.value}, counts
    assert sum(counts.values()) == len(bodies)
