"""A hospital's own department in OBR-24 (`FSK^放射科`): its name tells an examination from a laboratory report."""

from __future__ import annotations

import pytest

from tests.unit.translate.v2_messages import draft, message

PID = "PID|1||A1^^^H1^MR||张三||19900102|M"
OBR = "OBR|1||R1|X1^胸部正位片|||20260301083000|||||||||||||||20260301090000||{}|F"
OBX = "OBX|1|TX|YXSJ^影像所见||两肺纹理清晰||||||F"


@pytest.mark.parametrize(
    ("department", "category", "told"),
    [
        ("FSK^放射科", "RAD", []),
        ("0305^超声医学科", "RUS", []),
        ("W1^微生物室", "LAB", []),
        ("JYK^检验科", "LAB", []),
        ("CT^影像中心", "CT", []),
        ("XXK^信息科", "LAB", ["OBR[1]-24"]),
        ("", "LAB", []),
    ],
)
def test_the_name_of_a_department_says_what_its_own_code_does_not(
    department: str, category: str, told: list[str]
) -> None:
    found = draft(message(PID, OBR.format(department), OBX, kind="ORU^R01"))
    (report,) = (one.json for one in found.resources if one.type == "DiagnosticReport")
    assert report["category"][0]["coding"][0]["code"] == category
    assert [one.place for one in found.findings if one.code == "GW-MAP-002" and "-24" in one.place] == told
