"""A rule sheet is read strictly: what cannot be used stops the start, with file and line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.recognise.reasons import Verdict
from gateway.recognise.rules import RuleSheet, load

SHIPPED = Path(__file__).parents[3] / "profiles/recognition/990101-2026.yaml"

GOOD = """\
area: "990101"
year: 2026
title: 本地区 2026 版
source: a test
start: issued
scopes: [alliance]
levels: {same: yes, lower_recognises_higher: yes, higher_recognises_lower: judge, inside_alliance: all}
unlisted: judge
outside: no
unassessed: judge
groups:
  electrolytes: {name: 电解质, days: 7}
  gases: {name: 血气, hours: 6, start: collected}
exclusions:
  - {when: critical, verdict: no, reason: "02"}
  - {when: not-final, verdict: no, reason: not-final}
  - {when: cancelled, verdict: no, reason: cancelled}
  - {when: no-result, verdict: no, reason: no-result}
  - {when: doubtful, verdict: judge, reason: doubtful}
items:
  - {code: K, name: 钾, kind: lab, group: electrolytes, loinc: ["2823-3"], names: [K]}
  - {code: PH, name: 血气酸碱度, kind: lab, group: gases, loinc: ["2744-1"]}
evidence:
  - {member: m1, groups: [electrolytes], scheme: 质评, year: 2025, passed: true, until: 2026-12-31}
"""


def sheet_of(tmp_path: Path, text: str) -> RuleSheet:
    path = tmp_path / "990101-2026.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def fault(tmp_path: Path, old: str, new: str) -> str:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        sheet_of(tmp_path, GOOD.replace(old, new, 1))
    assert any("\u4e00" <= character <= "\u9fff" for character in caught.value.detail_zh)
    return f"{caught.value.place.rpartition('/')[2]} {caught.value.detail}"


def test_the_shipped_sheet_lists_what_the_area_recognises() -> None:
    sheet = load(SHIPPED)
    assert (sheet.area, sheet.year, sheet.title) == ("990101", 2026, "本地区 2026 版")
    assert sheet.items["LAB-K"].window.length == timedelta(days=7)
    assert sheet.items["LAB-CREA"].window.text == "生化 30 天"
    assert sheet.items["IMG-CT-CHEST-PLAIN"].window.length == timedelta(days=30)
    assert sheet.evidence_of("city_first_hospital", sheet.items["LAB-GGT"]).passed is False
    assert "600-7" not in sheet.by_loinc


def test_windows_are_days_or_hours_and_keep_their_own_start(tmp_path: Path) -> None:
    sheet = sheet_of(tmp_path, GOOD)
    assert (sheet.items["K"].window.start, sheet.items["PH"].window.start) == ("issued", "collected")
    assert (sheet.items["PH"].window.length, sheet.items["PH"].window.text) == (timedelta(hours=6), "血气 6 小时")
    assert sheet.levels.higher_recognises_lower is Verdict.JUDGE


def test_an_item_may_have_a_window_of_its_own(tmp_path: Path) -> None:
    sheet = sheet_of(tmp_path, GOOD.replace('loinc: ["2823-3"],', 'loinc: ["2823-3"], days: 3,'))
    assert (sheet.items["K"].window.text, sheet.items["K"].window.start) == ("钾 3 天", "issued")


def test_names_match_whole_and_without_typography(tmp_path: Path) -> None:
    sheet = sheet_of(tmp_path, GOOD)
    assert sheet.named("lab", " Ｋ ") is sheet.items["K"]
    assert sheet.named("lab", "钾离子") is None and sheet.named("examination", "钾") is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("year: 2026", 'year: "2026"', "990101-2026.yaml:2 a whole number above zero is expected here, not '2026'"),
        ("title:", "titel:", "990101-2026.yaml:3 unknown key 'titel'; did you mean 'title'?"),
        ("year: 2026", "year: 2026\nyear: 2026", "990101-2026.yaml:3 'year' stands here twice"),
        ("start: issued", "start: arrived", "990101-2026.yaml:5 'arrived' is none of issued, collected"),
        ("outside: no", "outside: maybe", "990101-2026.yaml:9 'maybe' is none of judge, no"),
        ("source: a test\n", "", "990101-2026.yaml:1 missing source"),
        ('"990101"', "9901", "990101-2026.yaml:1 an area is a six-digit administrative code"),
        ("days: 7", "days: 0", "990101-2026.yaml:12 a whole number above zero is expected here, not '0'"),
        ("days: 7", "days: 7, hours: 1", "990101-2026.yaml:12 one of days and hours is needed"),
        ("code: PH", "code: K", "990101-2026.yaml:22 item K stands here twice"),
        ('["2744-1"]', '["2823-3"]', "990101-2026.yaml:22 LOINC 2823-3 belongs to K already"),
        ("name: 血气酸碱度", "name: k", "990101-2026.yaml:22 the name 'k' belongs to K already"),
        ("group: gases", "group: gas", "990101-2026.yaml:22 'gas' is none of electrolytes, gases"),
        ("kind: lab, group: g", "kind: lab, modality: [CT], group: g", "990101-2026.yaml:22 modality, body_parts and"),
        ("passed: true", "passed: yes", "990101-2026.yaml:24 'yes' is none of true, false"),
        (", until: 2026-12-31", "", "990101-2026.yaml:24 a passed assessment needs until, the last day"),
        ("unlisted: judge", "unlisted: yes", "990101-2026.yaml:8 'yes' is none of judge, no"),
        ("outside: no", "outside: yes", "990101-2026.yaml:9 'yes' is none of judge, no"),
        ("doubtful, verdict: judge", "doubtful, verdict: yes", "990101-2026.yaml:19 'yes' is none of judge, no"),
        ("judge, reason: doubtful", "no, reason: doubtful, groups: [gases]", "spoken of for every item: doubtful"),
        ("scheme: 质评, ", "", "990101-2026.yaml:24 an assessment needs scheme and year"),
        (
            ", scheme: 质评, year: 2025, passed: true, until: 2026-12-31",
            "",
            "990101-2026.yaml:24 neither an assessment (passed) nor a mark",
        ),
        ("groups: [electrolytes], ", "", "990101-2026.yaml:24 evidence needs items or groups"),
        (
            "passed: true",
            "passed: true, mark: {scope: city}",
            "990101-2026.yaml:24 a mark below national needs its areas",
        ),
        ("until: 2026-12-31", "until: 2026-13-01", "990101-2026.yaml:24 a date YYYY-MM-DD is expected here"),
        ('reason: "02"', 'reason: "20"', "990101-2026.yaml:15 '20' is none of"),
        ("  - {when: critical, verdict: no", "  - {when: critical, verdict: judge", "must exclude every item"),
        ("area:", "area: [", "990101-2026.yaml:"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert says in fault(tmp_path, old, new)


def test_two_pieces_of_evidence_for_one_item_are_a_fault(tmp_path: Path) -> None:
    more = "  - {member: m1, items: [K], scheme: 质评, year: 2024, passed: false}\n"
    with pytest.raises(ConfigError, match="m1 has evidence for K already"):
        sheet_of(tmp_path, GOOD + more)


def test_a_sheet_that_is_empty_or_missing_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is empty"):
        sheet_of(tmp_path, "")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml")


def test_yes_and_no_stay_the_words_they_are(tmp_path: Path) -> None:
    # YAML 1.1 makes booleans of them; the sheet means verdicts.
    sheet = sheet_of(tmp_path, GOOD)
    assert (sheet.levels.same, sheet.outside) == (Verdict.YES, Verdict.NO)
