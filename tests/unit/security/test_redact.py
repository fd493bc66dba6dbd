"""Card numbers and phones never read in full where they need not."""

from __future__ import annotations

import pytest

from gateway.security import redact


@pytest.mark.parametrize(
    ("clear", "masked"),
    [
        ("身份证 990101195803120115 已登记", "身份证 990101********0115 已登记"),
        ("99010119910830122X", "990101********122X"),
        ("旧证 990101580312011。", "旧证 990101*****2011。"),
        ("电话13812345678", "电话138****5678"),
        ("+86 138-1234-5678 外", "+86 138-1234-5678 外"),
        ("报告号 20260320000123", "报告号 20260320000123"),
    ],
)
def test_numbers_inside_a_text_are_masked(clear: str, masked: str) -> None:
    assert redact.text(clear) == masked


def test_a_query_is_readable_without_its_person() -> None:
    shown = redact.query(
        "Patient?identifier=urn%3Aoid%3A2.16.156.10011.1.3%7C990101195803120115&name=%E6%9D%8E&_count=5"
    )
    assert "990101********0115" in shown and "李" not in shown and "_count=5" in shown


def test_one_number_or_name_alone() -> None:
    assert redact.card("990101195803120115") == "990101********0115"
    assert redact.phone("13812345678") == "138****5678"
    assert redact.name("李建国") == "李**"
