"""MDM: data without its frame, RTF as text, a day alone, a status in Chinese."""

from __future__ import annotations

import base64

import pytest

from gateway.model.resource import Json
from tests.unit.translate.v2_messages import PID, message, resources, segment


def document(obx: str, **txa: str) -> Json:
    """The DocumentReference of a TXA with these fields (`t4`) and one OBX."""
    fields = {1: "1", 2: "CN^病程", 12: "D1"} | {int(key[1:]): value for key, value in txa.items()}
    (found,) = resources(message(PID, segment("TXA", fields), obx, kind="MDM^T02"), "DocumentReference")
    return found


@pytest.mark.parametrize(
    ("begin", "kind"),
    [
        (b"%PDF-1.4 xx", "application/pdf"),
        (b"{\\rtf1 xxxx}", "application/rtf"),
        (b"??????", "application/octet-stream"),
    ],
)
def test_data_that_stands_alone_is_known_by_its_beginning(begin: bytes, kind: str) -> None:
    data = base64.b64encode(begin).decode()
    made = document(f"OBX|1|ED|1^病程||{data}||||||F")["content"][0]["attachment"]
    assert (made["contentType"], made["data"]) == (kind, data)
    framed = document(f"OBX|1|ED|1^病程||LIS^AP^^Base64^{data}||||||F")["content"][0]["attachment"]
    assert framed["contentType"] == kind


def test_a_frame_without_data_is_no_attachment() -> None:
    assert document("OBX|1|ED|1^病程||^^PDF^Base64^||||||F", t16="病程.pdf")["content"] == [
        {"attachment": {"title": "病程.pdf"}}
    ]


def test_rtf_in_a_text_field_is_rtf() -> None:
    made = document("OBX|1|FT|1^病程||{\\E\\rtf1 \\E\\ansi x}||||||F")["content"][0]["attachment"]
    assert made["contentType"] == "application/rtf"
    assert base64.b64decode(made["data"]) == b"{\\rtf1 \\ansi x}"


def test_a_document_of_a_day_alone_keeps_its_day() -> None:
    text = "OBX|1|TX|1^病程||文||||||F"
    made = document(text, t4="20260318")
    assert ("date" in made, made["context"]["period"]) == (False, {"start": "2026-03-18"})
    made = document(text, t4="202603180930")
    assert (made["date"], "context" in made) == ("2026-03-18T09:30:00+08:00", False)


@pytest.mark.parametrize(("word", "code"), [("未签名", "preliminary"), ("已审签", "final"), ("AU", "final")])
def test_how_far_a_document_is(word: str, code: str) -> None:
    assert document("OBX|1|TX|1^病程||文||||||F", t4="202603180930", t17=word)["docStatus"] == code
