"""What mappings miss, counted over messages."""

from __future__ import annotations

import pytest

from gateway.model.outcome import Finding, Unused
from gateway.translate.gaps import UNMAPPED, Gaps, without_numbers


def unmapped(code: str, place: str) -> Finding:
    return Finding(UNMAPPED, "warning", place, f"没有 {code}", f"no {code}")


def test_codes_come_first_and_the_frequent_before_the_rare() -> None:
    gaps = Gaps()
    gaps.add("lis", "m9", [unmapped("B", "OBX[1]-3")], [Unused("ZLS[1]-1"), Unused("PID[1]-1", "序号")])
    gaps.add("lis", "m8", [unmapped("A", "OBX[1]-3"), unmapped("A", "OBX[4]-3")], [Unused("ZLS[3]-1")])
    gaps.add("his", "m7", [Finding("GW-MAP-006", "information", "MSH-18", "别的", "other")], [])
    ranked = [(gap.kind, gap.source, gap.en, gap.place, gap.count, gap.newest) for gap in gaps.ranked()]
    assert ranked == [
        ("code", "lis", "no A", "OBX-3", 2, "m8"),
        ("code", "lis", "no B", "OBX-3", 1, "m9"),
        ("field", "lis", "ZLS-1", "ZLS-1", 2, "m9"),
    ]


def test_what_was_left_out_for_an_error_is_counted_by_code_and_column() -> None:
    gaps = Gaps()
    for row in (3, 7):
        place = f"row {row}, column 日期"
        bad = Finding("GW-TRN-004", "error", place, f"不合规。 [位置：{place}]", f"A value. [at {place}]")
        gaps.add("csv", "m1", [bad, Finding("GW-TRN-007", "error", f"row {row}", "列数不符。", "columns")], [])
    assert [(one.kind, one.zh, one.place, one.count) for one in gaps.ranked()] == [
        ("error", "GW-TRN-004 不合规。", "column 日期", 2),
        ("error", "GW-TRN-007 列数不符。", "row", 2),
    ]


@pytest.mark.parametrize(
    ("place", "plain"),
    [
        ("OBX[3]-15", "OBX-15"),
        ("PID[1]-3[2].1", "PID-3.1"),
        ("row 7, column 收缩压", "column 收缩压"),
        ("row 7", "row"),
        ("Observation/0c472de338d07f2c1428f64145", "Observation/"),
        ("items[2]/DE04.30.019#61", "items/DE04.30.019"),
        ("recordTarget/id[1.14]#18", "recordTarget/id[1.14]"),
    ],
)
def test_a_field_is_one_line_wherever_it_stood(place: str, plain: str) -> None:
    assert without_numbers(place) == plain
