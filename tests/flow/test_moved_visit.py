"""What is told of a visit under the wrong patient after the visit was moved (ADT^A45): it ends where the visit is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.model.resource import Json
from tests.flow.alliance import Alliance
from tests.flow.test_wrong_order import MOVE, REGISTER, WRONG_PATIENT, message, order, person, report, visit

WRONG = person("W099", proof="", name="韩梅")
LATE_REPORT = message(30, "20260311101000", "ORU^R01^ORU_R01", WRONG, visit("ZY1"), report())
LATER_REPORT = LATE_REPORT.replace(b"W0000030", b"W0000031").replace(b"20260311101000", b"20260313101000")
CORRECTION = message(32, "20260313121000", "ORU^R01^ORU_R01", WRONG, report("C", "4.2", issued="20260313120000"))
LATE_ORDER = message(33, "20260311081000", "ORM^O01^ORM_O01", WRONG, visit("ZY1"), order())
LATE_ADMISSION = message(34, "20260310130000", "ADT^A08^ADT_A01", WRONG, visit("ZY1"), "DG1|1||I11^高心病|||A")
OTHER_VISIT = message(35, "20260311102000", "ORU^R01^ORU_R01", WRONG, visit("ZY7"), report())


@pytest.fixture
def alliance(tmp_path: Path) -> Iterator[Alliance]:
    fresh = Alliance(tmp_path)
    yield fresh
    fresh.close()


def told(alliance: Alliance, *bodies: bytes) -> None:
    for body in bodies:
        assert b"MSA|AA|" in alliance.mllp(body)
        alliance.drain()


def whose(alliance: Alliance, *types: str) -> set[str]:
    """Subjects of everything of these types, as stored and as found by patient."""
    right = owner(alliance)
    found: list[Json] = [one for type_ in types for one in alliance.found(type_)]
    assert found
    by_patient = [one for type_ in types for one in alliance.found(type_, patient=right)]
    subjects = {one["subject"]["reference"] for one in found}
    assert len(by_patient) == sum(one["subject"]["reference"] == right for one in found), "row and body agree"
    return {"right" if one == right else "wrong" for one in subjects}


def owner(alliance: Alliance) -> str:
    """The Patient the visit has."""
    (one,) = alliance.found("Patient", name="韩雪梅")
    return f"Patient/{one['id']}"


@pytest.mark.parametrize("late", [LATE_REPORT, LATER_REPORT], ids=["written before", "written after"])
def test_a_report_of_the_visit_goes_to_the_patient_the_visit_has(alliance: Alliance, late: bytes) -> None:
    told(alliance, REGISTER, WRONG_PATIENT, MOVE, late)
    assert whose(alliance, "DiagnosticReport", "Observation") == {"right"}
    said = b"".join(alliance.run(alliance.gateway.store.done(["m1", "m2", "m3", "m4"])).values())
    assert said.count(b"GW-REV-005") == 1


def test_its_correction_without_the_visit_stays_with_it(alliance: Alliance) -> None:
    told(alliance, REGISTER, WRONG_PATIENT, LATE_REPORT, MOVE, CORRECTION)
    assert whose(alliance, "DiagnosticReport", "Observation") == {"right"}
    (result,) = [one for one in alliance.found("Observation") if one["code"]["coding"][0]["code"] == "K"]
    assert str(result["valueQuantity"]["value"]) == "4.2"


def test_requests_and_late_tellings_of_the_visit_itself_follow(alliance: Alliance) -> None:
    told(alliance, REGISTER, WRONG_PATIENT, MOVE, LATE_ORDER, LATE_ADMISSION)
    assert whose(alliance, "Encounter", "Condition", "ServiceRequest") == {"right"}


def test_a_report_of_a_visit_that_never_moved_stays_where_it_says(alliance: Alliance) -> None:
    told(alliance, REGISTER, WRONG_PATIENT, MOVE, OTHER_VISIT)
    assert whose(alliance, "DiagnosticReport") == {"wrong"}


def test_moved_back_it_lies_there_again(alliance: Alliance) -> None:
    back = message(36, "20260312180000", "ADT^A45^ADT_A45", WRONG, "MRG|W100^^^CITY1^MR||||ZY1", visit("ZY1"))
    told(alliance, REGISTER, WRONG_PATIENT, MOVE, LATE_REPORT, back, LATER_REPORT)
    assert whose(alliance, "DiagnosticReport", "Observation", "Encounter") == {"wrong"}
    again = LATE_ADMISSION.replace(b"W0000034", b"W0000037").replace(b"20260310130000", b"20260312230000")
    told(alliance, MOVE.replace(b"|W0000", b"|W1000").replace(b"20260311180000", b"20260312200000"), again)
    assert whose(alliance, "DiagnosticReport", "Observation", "Encounter", "Condition") == {"wrong"}, "also by an A08"
