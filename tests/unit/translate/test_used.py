"""What counts as used (D7): no alternative that was not taken, no element whose condition does not hold."""

from __future__ import annotations

import pytest

from tests.unit.translate.v2_messages import MSH, PID, draft, message, resources, segment

ADMIT = {2: "I", 19: "Z1"}


def unused(text: str) -> dict[str, str]:
    """Place → reason of every field that reached no target."""
    return {one.place: one.because for one in draft(text).unused}


def visit(pv1: dict[int, str], pv2: dict[int, str]) -> dict[str, str]:
    return unused(message(PID, segment("PV1", ADMIT | pv1), segment("PV2", pv2), kind="ADT^A01"))


def test_an_alternative_counts_where_it_is_taken() -> None:
    assert "PV2[1]-8" not in visit({}, {8: "20260318"})
    assert visit({44: "20260310"}, {8: "20260318"})["PV2[1]-8"] == "已有实际的入院时间"


def appointment(event: str) -> dict[str, str]:
    sch = segment("SCH", {2: "HY1", 6: "GQ^改期", 11: "^^^20260323090000"})
    return unused(message(sch, PID, kind=f"SIU^{event}"))


def test_an_element_counts_where_its_condition_holds() -> None:
    assert "SCH[1]-6" not in appointment("S15")
    assert "SCH[1]-6" in appointment("S13")


def test_what_a_condition_merely_finds_there_is_not_used_by_that() -> None:
    both = segment("DG1", {3: "I10^高血压", 4: "高血压病"})
    assert "DG1[1]-4" in unused(message(PID, segment("PV1", ADMIT), both, kind="ADT^A01"))


def test_the_second_of_two_numbers_counts_where_it_makes_the_id() -> None:
    drug = segment("RXE", {2: "AML^氨氯地平", 3: "5", 5: "mg"})
    with_both = unused(message(PID, "ORC|NW|P1|F1", drug, kind="RDE^O11"))
    assert "ORC[1]-3" in with_both and "ORC[1]-2" not in with_both
    assert "ORC[1]-3" not in unused(message(PID, "ORC|NW||F1", drug, kind="RDE^O11"))


@pytest.mark.parametrize("kind", ["RDE^O11", "ORM^O01"])
def test_both_of_two_notes_are_told(kind: str) -> None:
    order = "OBR|1|P1||CT^胸部CT^L|||||||||孕妇" if kind == "ORM^O01" else segment("RXE", {2: "A^药", 21: "孕妇"})
    text = message(PID, "ORC|NW|P1", order, "NTE|1||尽快", kind=kind)
    type_ = "ServiceRequest" if kind == "ORM^O01" else "MedicationRequest"
    (made,) = resources(text, type_)
    assert [one["text"] for one in made["note"]] == ["孕妇", "尽快"]


def test_a_remark_about_a_unit_names_the_place_of_the_unit() -> None:
    found = draft(message(PID, "OBR|1|S1|R1|SH^生化", "OBX|1|NM|K^钾||4.2|怪单位|||||F")).findings
    assert [one.place for one in found if one.code == "GW-MAP-004"] == ["OBX[1]-6"]


def test_the_time_of_day_of_a_period_is_kept() -> None:
    kin = segment("NK1", {2: "罗小琴", 3: "12^妻子", 8: "20260310080000"})
    (made,) = resources(message(PID, kin, segment("PV1", ADMIT), kind="ADT^A01", msh=MSH), "RelatedPerson")
    assert made["period"] == {"start": "2026-03-10T08:00:00+08:00"}
