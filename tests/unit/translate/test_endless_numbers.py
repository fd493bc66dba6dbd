"""Numbers no laboratory printed: kept as the text they are, wherever they stand; never a fault of the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import main

ENDLESS = "9" * 5_000
REPORT = """MSH|^~\\&|LIS|QYY|||20260309090512||ORU^R01|1|P|2.3
PID|1||A1^^^^MR||张三
OBR|1||R1|XCG^血常规|||20260309083000|||||||||||||||20260309090500||LAB|F
OBX|1|NM|WBC^白细胞||{value}|10^9/L|{interval}||||F
OBX|2|SN|PLT^血小板||>^{value}|10^9/L|<{value}||||F
OBX|3|ST|ANA^抗核抗体||1:{value}||||||F
"""


@pytest.mark.parametrize("interval", [f"{ENDLESS}-{ENDLESS}0", "3.5-9.5"])
@pytest.mark.parametrize("value", [ENDLESS, "0." + ENDLESS, "6.8"])
def test_a_number_of_5000_digits_is_text(
    value: str, interval: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = tmp_path / "report.hl7"
    sent.write_text(REPORT.format(value=value, interval=interval), encoding="utf-8")
    assert main(["try", str(sent), "--json"]) == 0
    found = capsys.readouterr().out
    assert f'"value":{ENDLESS}' not in found and f'"value":0.{ENDLESS}' not in found
    assert f'"{value}"' in found or value == "6.8"


def test_a_field_that_wants_a_number_says_that_this_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sent = tmp_path / "visits.csv"
    columns = "处方号,药品名称,处方日期,病人编号,姓名,单次剂量,剂量单位"
    sent.write_text(f"{columns}\nP1,阿司匹林,2026-03-09,1,张三,{ENDLESS},mg\n", encoding="utf-8")
    assert main(["try", str(sent)]) == 5
    assert "不是数字" in capsys.readouterr().err
