"""Functions of the row formats, one fact a test."""

from __future__ import annotations

import time

import pytest

from gateway.translate.codes import parse_table
from gateway.translate.functions import Setting, critical_notice
from gateway.translate.functions_rows import ROW_FUNCTIONS

FLAGS = parse_table("from,to\n↑,H\n↓,L\n↑↑,HH\n↓↓,LL\n危急值,AA\n正常,N\n", "t", "interpretation")
SETTING = Setting("m", "某院", "+08:00", {"interpretation": FLAGS})


def call(name: str, *inputs: str) -> object:
    return ROW_FUNCTIONS[name].make(SETTING, {})(*inputs)


@pytest.mark.parametrize("value", ["", "/", "-", "无", "不详", "000000000000000000", " "])
def test_placeholders_are_no_card_number(value: str) -> None:
    assert call("card", value) is None


def test_a_card_is_half_width_upper_case_and_fifteen_digits_stay_fifteen() -> None:
    assert call("card", "９９０１０119910830122x") == "99010119910830122X"
    assert call("card", "990101580312011") == "990101580312011"


@pytest.mark.parametrize(
    ("flags", "want"),
    [
        (("↓↓", "危急值"), "LL"),
        (("↓", "危急值"), "LL"),
        (("↑", "危急值"), "HH"),
        (("危急值", ""), "AA"),
        (("", "危急值", "18↓"), "LL"),
        (("↑", ""), "H"),
        (("正常", ""), None),
        (("", "", "阳性(+)"), "POS"),
    ],
)
def test_a_second_flag_raises_the_direction(flags: tuple[str, ...], want: str | None) -> None:
    found = call("critical_flags", *flags)
    assert (found[0]["coding"][0]["code"] if found else None) == want  # type: ignore[index]


@pytest.mark.parametrize(
    ("printed", "repeat"),
    [
        ("qd", {"frequency": 1, "period": 1, "periodUnit": "d"}),
        ("BID", {"frequency": 2, "period": 1, "periodUnit": "d"}),
        ("q8h", {"frequency": 1, "period": 8, "periodUnit": "h"}),
        ("qn", {"frequency": 1, "period": 1, "periodUnit": "d", "when": ["HS"]}),
    ],
)
def test_known_frequencies_become_a_repeat_and_keep_their_text(printed: str, repeat: object) -> None:
    assert call("timing", printed) == {"repeat": repeat, "code": {"text": printed}}


def test_an_unknown_frequency_stays_text() -> None:
    assert call("timing", "按医嘱") == {"code": {"text": "按医嘱"}}
    assert call("timing", "prn") == {"code": {"text": "prn"}}
    assert call("timing", "") is None


def test_days_are_a_duration_and_words_are_an_error() -> None:
    assert call("days", "30天")["value"] == 30  # type: ignore[index]
    assert call("days", "") is None
    with pytest.raises(ValueError, match="days"):
        call("days", "一个月")


@pytest.mark.parametrize("value", ["无", "否认", "否认药物过敏史", "无药物过敏史", "无已知过敏", "过敏史：无"])
def test_every_denial_is_no_known_allergy(value: str) -> None:
    assert call("allergy", value)["coding"][0]["code"] == "no-known-allergy"  # type: ignore[index]
    assert call("allergen", value) == "无已知过敏"


def test_an_allergen_is_text_without_the_word_allergy() -> None:
    assert call("allergy", "青霉素过敏") == call("allergy", "药物过敏史: 青霉素") == {"text": "青霉素"}
    for told in ("否认食物过敏史，青霉素过敏", "无食物过敏但对磺胺过敏", "无食物过敏；有青霉素过敏史"):
        assert "coding" not in call("allergy", told)  # type: ignore[operator]
    assert call("allergy", "") is None


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("Zhang^Shen=张^珅", ["张珅", "Zhang Shen"]),
        ("张三丰", ["张三丰"]),
        ("LI^JIANGUO", ["LI JIANGUO"]),
        ("Li^Jianguo==", ["Li Jianguo"]),
        ("", []),
    ],
)
def test_the_ideographic_group_of_a_person_name_is_the_name(value: str, names: list[str]) -> None:
    assert [one["text"] for one in call("pn", value) or []] == names  # type: ignore[union-attr]


def test_dicom_times_take_the_files_zone_and_a_date_stays_a_date() -> None:
    assert call("date_and_time", "20260310", "104000.123") == "2026-03-10T10:40:00+08:00"
    assert call("date_and_time", "20260310", "104000", "-0500") == "2026-03-10T10:40:00-05:00"
    assert call("date_and_time", "2026.03.10", "") == "2026-03-10"
    assert call("date_and_time", "", "104000") is None


def test_a_result_code_speaks_only_through_its_display() -> None:
    assert call("stated_result", "2") is None
    assert call("stated_result", "异常")[0]["coding"][0]["code"] == "A"  # type: ignore[index]


def test_who_was_told_of_a_critical_value_is_read_near_that_word_however_long_the_note() -> None:
    read = critical_notice(SETTING, {})
    began = time.perf_counter()
    assert read("2026x" * 20_000 + "危急值" + "1:11 " * 20_000, "20260310") is None
    assert time.perf_counter() - began < 0.5
    found = read("一切正常。" * 1_000 + "危急值已于15:32通知周医生。" + "复查。" * 1_000, "20260310")
    assert found["extension"][0]["valueString"] == "周医生"  # type: ignore[index]
