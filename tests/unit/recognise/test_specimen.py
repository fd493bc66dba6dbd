"""Specimens: what is said against them, what they are, when they were taken, and newer results of the same item."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway.model.resource import Json
from gateway.model.systems import V2_0490, V2_0493
from gateway.recognise.newest import Newest
from gateway.recognise.reasons import Verdict
from gateway.recognise.windows import times_of
from tests.builders import NOW, a_report, an_observation
from tests.unit.recognise.cases import SHEET, decided


def potassium(value: str | None = "4.3", **more: Any) -> Json:
    """A potassium of yesterday."""
    times = {"collected": "2026-03-19T08:00:00+08:00", "issued": "2026-03-19T10:00:00+08:00"}
    return an_observation("k", "钾", value, "mmol/L", **({"loinc": "2823-3"} | times | more))


def of_item(item: Json, specimen: Json | None = None, *, report: Json | None = None, **how: Any) -> Any:
    """The decision on it; `specimen` is its report's, `report` what is special of that."""
    known = [{"resourceType": "Specimen", "id": "s1", **specimen}] if specimen is not None else []
    whole = a_report(results=[item]) | (report or {})
    if known:
        whole["specimen"] = [{"reference": "Specimen/s1"}]
    return decided(whole, [item], specimens=known, **how).items[0]


def codes(found: Any) -> list[str]:
    return [reason.code for reason in found.reasons]


# ---- what the laboratory says against it -----------------------------------------------------------
@pytest.mark.parametrize(
    "note",
    [
        "标本溶血",
        "轻度溶血，结果仅供参考",
        "乳糜血",
        "脂血++",
        "标本量不足",
        "标本凝固",
        "有凝块",
        "血小板有聚集，请复查",
        "建议重新采血",
        "建议一周后复查",
        "标本放置过久",
        "结果存疑",
    ],
)
def test_a_result_the_laboratory_doubts_is_left_to_the_doctor_in_its_own_words(note: str) -> None:
    found = of_item(potassium(note=[{"text": note}]))
    assert (found.verdict, found.reasons[0].text) == (Verdict.JUDGE, f"检验科提示标本或结果有疑问（{note}）")


@pytest.mark.parametrize(
    "note",
    [
        "标本无溶血",
        "未见明显溶血及脂血",
        "已复查",
        "本结果仅对此标本负责",
        "溶血素",
        "结果仅供临床参考",
        "标本性状正常",
    ],
)
def test_what_says_nothing_against_it_does_not_count(note: str) -> None:
    assert of_item(potassium(note=[{"text": note}])).verdict is Verdict.YES


@pytest.mark.parametrize(
    "specimen",
    [
        {"condition": [{"coding": [{"system": V2_0493, "code": "HEM"}]}]},
        {"condition": [{"coding": [{"system": V2_0490, "code": "RH"}]}]},
        {"condition": [{"text": "不合格"}]},
        {"note": [{"text": "中度脂血"}]},
        {"status": "unsatisfactory"},
    ],
)
def test_a_specimen_found_unfit_speaks_for_each_of_its_items(specimen: Json) -> None:
    assert codes(of_item(potassium(), {"type": {"text": "血清"}} | specimen)) == ["doubtful"]


def test_a_fit_specimen_and_the_remark_below_a_report() -> None:
    assert of_item(potassium(), {"type": {"text": "血清"}, "condition": [{"text": "合格"}]}).verdict is Verdict.YES
    assert codes(of_item(potassium(), report={"conclusion": "标本溶血"})) == ["doubtful"]


@pytest.mark.parametrize(
    "words",
    [
        "标本溶血，请重抽",
        "待查",
        "见报告",
        "见备注",
        "未做",
        "未检测",
        "拒检",
        "复查中",
        "****",
        "----",
        "/",
        "<",
        "仪器故障",
    ],
)
def test_words_in_place_of_a_result_are_none(words: str) -> None:
    found = of_item(potassium(None, valueString=words))
    assert (found.verdict, codes(found)[0]) == (Verdict.NO, "no-result")


@pytest.mark.parametrize("words", ["阴性(-)", "未检出", "未检测到", "未测出", "1:80", "12.3", "正常"])
def test_a_result_in_words_is_one(words: str) -> None:
    assert of_item(potassium(None, valueString=words)).verdict is Verdict.YES


# ---- what it is -----------------------------------------------------------------------------------
def test_a_name_alone_tells_no_glucose_of_blood_from_one_of_urine() -> None:
    item = an_observation("g", "葡萄糖", "6.1", "mmol/L")
    assert of_item(item, {"type": {"text": "血清"}}).verdict is Verdict.YES
    assert codes(of_item(item)) == ["no-specimen"]
    for other in ("尿液", "脑脊液", "血性胸水", "指尖血"):
        found = of_item(item, {"type": {"text": other}})
        assert (found.verdict, found.reasons[0].text) == (Verdict.JUDGE, f"标本与项目不符（{other}）")


@pytest.mark.parametrize("kind", ["EDTA-K2抗凝血", "静脉血 (红管)", "SER", "血 清"])
def test_a_tube_is_known_however_it_is_printed(kind: str) -> None:
    assert of_item(potassium(), {"type": {"text": kind}}).verdict is Verdict.YES


def test_a_standard_code_needs_no_specimen_but_bears_no_other() -> None:
    assert of_item(potassium()).verdict is Verdict.YES
    assert codes(of_item(potassium(specimen={"display": "腹水"}))) == ["other-specimen"]


@pytest.mark.parametrize(
    "more", [{"method": {"text": "POCT"}}, {"method": {"text": "床旁血糖仪法"}}, {"name": "POCT血糖"}]
)
def test_what_was_tested_at_the_bedside_is_left_to_the_doctor(more: Any) -> None:
    item = an_observation("g", **({"name": "葡萄糖"} | more), value="6.1", unit="mmol/L", loinc="14749-6")
    assert codes(of_item(item)) == ["point-of-care"]


# ---- when it was taken ------------------------------------------------------------------------------
def by_collection() -> Any:
    item = SHEET.items["LAB-K"]
    collected = replace(item, window=replace(item.window, start="collected"))
    return replace(SHEET, by_loinc={**SHEET.by_loinc, "2823-3": collected})


def test_the_specimen_says_when_it_was_collected() -> None:
    item = potassium(effectiveDateTime="2026-03-19T10:00:00+08:00")
    taken = {"type": {"text": "血清"}, "collection": {"collectedDateTime": "2026-03-12T07:00:00+08:00"}}
    found = of_item(item, taken, sheet=by_collection())
    assert found.valid_until == datetime.fromisoformat("2026-03-19T07:00:00+08:00")
    span = {"collection": {"collectedPeriod": {"start": "2026-03-18T07:00:00+08:00"}}}
    assert of_item(item, span, sheet=by_collection()).valid_until.day == 25


def test_the_time_of_the_report_is_no_time_of_collection() -> None:
    item = potassium(effectiveDateTime="2026-03-19T10:00:00+08:00")
    report = {"effectiveDateTime": "2026-03-19T10:00:00+08:00", "issued": "2026-03-19T10:00:00+08:00"}
    found = of_item(item, report=report, sheet=by_collection())
    assert (found.verdict, codes(found)) == (Verdict.JUDGE, ["no-time"])


def test_to_correct_or_issue_again_makes_no_younger_specimen() -> None:
    old = {"collected": "2026-03-10T08:00:00+08:00", "issued": "2026-03-19T10:00:00+08:00"}
    assert codes(of_item(potassium(**old))) == ["expired"]
    corrected = {"status": "corrected", "collected": "2026-03-14T08:00:00+08:00"}
    assert of_item(potassium(**corrected)).valid_until == datetime.fromisoformat("2026-03-21T08:00:00+08:00")
    assert of_item(potassium(**(corrected | {"status": "final"}))).valid_until.day == 26


# ---- the same item again ------------------------------------------------------------------------------
def newest_of(*items: Json) -> Newest:
    return Newest.of([(a_report(results=[item]), item) for item in items], {}, SHEET, NOW)


LATER = {"collected": "2026-03-19T20:00:00+08:00", "issued": "2026-03-19T20:30:00+08:00"}


@pytest.mark.parametrize("more", [{"flag": "HH"}, {}, {"status": "preliminary"}, {"member": "elsewhere"}])
def test_an_older_result_is_left_to_the_doctor_whoever_made_the_newer(more: Any) -> None:
    newer = potassium("6.8", **(LATER | more))
    found = of_item(potassium(), newest=newest_of(potassium(), newer))
    assert (found.verdict, found.reasons[0].text) == (Verdict.JUDGE, "已有更新的结果（03-19 20:00）")


def test_the_newest_itself_and_one_specimen_reported_twice_stand() -> None:
    newer = potassium("6.8", **LATER)
    assert of_item(newer, newest=newest_of(potassium(), newer)).verdict is Verdict.YES
    again = potassium("4.4", issued="2026-03-19T12:00:00+08:00")
    assert of_item(potassium(), newest=newest_of(potassium(), again)).verdict is Verdict.YES


@pytest.mark.parametrize(
    "spoilt", [{"note": [{"text": "标本溶血"}]}, {"status": "cancelled"}, {"value": None}, {"loinc": "2951-2"}]
)
def test_a_spoilt_void_or_other_result_takes_nothing_back(spoilt: Any) -> None:
    newer = potassium(**({"value": "6.8"} | LATER | spoilt))
    assert of_item(potassium(), newest=newest_of(newer)).verdict is Verdict.YES


def test_what_was_not_known_then_and_a_time_that_stands_for_none_take_nothing_back() -> None:
    newer, nonsense = potassium("6.8", **LATER), potassium("6.8", collected="9999-12-31T00:00:00+08:00")
    known = [(a_report(results=[item]), item) for item in (potassium(), newer, nonsense)]
    before = datetime.fromisoformat("2026-03-19T12:00:00+08:00")
    assert of_item(potassium(), newest=Newest.of(known, {}, SHEET, before), at=before).verdict is Verdict.YES
    assert codes(of_item(potassium(), newest=Newest.of(known, {}, SHEET, NOW))) == ["newer"]


def test_the_times_of_a_result_are_of_it_else_of_its_report() -> None:
    bare: Json = {"status": "final"}
    report = {"effectiveDateTime": "2026-03-19", "issued": "2026-03-19T10:00:00+08:00"}
    times = times_of(report, bare, ())
    assert times.collected is not None and times.issued is not None
    assert times.issued - times.collected == timedelta(hours=10) and times.made == times.collected
    assert times.issued < NOW
