"""How results and reports stand: OBX-11, OBR-25, ORC-1, and what is true when a sender leaves them out or invents."""

from __future__ import annotations

import pytest

from gateway.model.resource import Json
from tests.unit.translate.v2_messages import PID, draft, message, oru, resources, segment

ALT = {1: "1", 2: "NM", 3: "ALT^丙氨酸氨基转移酶", 5: "41", 6: "U/L"}


def report(obr25: str, *obx11: str, orc: str = "", section: str = "LAB", **more: str) -> tuple[Json, list[Json]]:
    """The report of an order with this OBR-25 whose items have these OBX-11; and the items."""
    obr = segment("OBR", {1: "1", 2: "S1", 3: "R1", 4: "GG^肝功能", 7: "20260320073000", 24: section, 25: obr25})
    rows = [segment("OBX", ALT | {3: f"I{n}^项{n}", 11: one}) for n, one in enumerate(obx11)]
    text = message(PID, *filter(None, [orc]), obr, *rows)
    (found,) = resources(text, "DiagnosticReport")
    return found, resources(text, "Observation")


def standing(obr25: str, *obx11: str, orc: str = "") -> tuple[str, list[str]]:
    found, items = report(obr25, *obx11, orc=orc)
    return found["status"], [one["status"] for one in items]


def test_an_item_that_does_not_say_how_it_stands_stands_as_its_report() -> None:
    assert standing("P", "") == ("preliminary", ["preliminary"])
    assert standing("X", "") == ("cancelled", ["cancelled"])
    assert standing("P", "F") == ("preliminary", ["final"])
    assert standing("", "") == ("final", ["final"])


def test_a_status_nobody_knows_is_never_final() -> None:
    assert standing("9", "T") == ("unknown", ["unknown"])
    assert standing("", "T") == ("unknown", ["unknown"])
    places = [one.place for one in draft(oru("OBX|1|NM|K^钾||4.2|mmol/L|||||T")).findings if one.code == "GW-MAP-002"]
    assert places == ["OBX[1]-11"]


@pytest.mark.parametrize(
    ("word", "status"),
    [("作废", "entered-in-error"), ("召回", "entered-in-error"), ("已审核", "final"), ("更正", "corrected")],
)
def test_words_a_chinese_laboratory_writes_for_a_status(word: str, status: str) -> None:
    assert standing(word, word) == (status, [status])


def test_a_report_without_a_status_is_as_its_results_are() -> None:
    assert standing("", "F", "P")[0] == "preliminary"
    assert standing("", "F", "C")[0] == "corrected"
    assert standing("", "W", "D")[0] == "entered-in-error"
    assert standing("", "X", "X")[0] == "cancelled"
    assert standing("", "X", "F")[0] == "final"


def test_a_report_whose_order_was_cancelled_is_cancelled() -> None:
    assert standing("F", "F", orc="ORC|OC|S1|R1||CA")[0] == "cancelled"
    assert standing("F", "F", orc="ORC|RE|S1|R1||CM")[0] == "final"


def test_lines_of_a_text_that_were_withdrawn_are_no_part_of_it() -> None:
    obr = "OBR|1|S1|R1|CT^胸部CT|||20260320073000|||||||||||||||||CT|F"
    rows = ["OBX|1|TX|DESC^所见||两肺清||||||作废", "OBX|2|TX|DESC^所见||右肺结节||||||C", "OBX|3|TX|DESC^所见||余清"]
    (found,) = resources(message(PID, obr, *rows), "DiagnosticReport")
    assert [one["valueString"] for one in found["extension"]] == ["右肺结节\n余清"]


def test_an_isolate_taken_back_is_not_what_the_culture_found() -> None:
    obr = segment("OBR", {1: "1", 2: "S1", 3: "M1", 4: "XPY^血培养", 24: "MB", 25: "C"})
    rows = ["OBX|1|CE|ORG^鉴定|1|ECO^大肠埃希菌||||||W", "OBX|2|CE|ORG^鉴定|2|SAU^金黄色葡萄球菌||||||C"]
    culture = resources(message(PID, obr, *rows), "Observation")[-1]
    assert culture["valueCodeableConcept"] == {"text": "金黄色葡萄球菌"}
