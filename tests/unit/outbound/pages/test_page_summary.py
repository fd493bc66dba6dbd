"""What a doctor must see on the summary, story by story."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace as with_parts
from html import unescape

from msgspec.structs import replace

from gateway.model.resource import Json
from gateway.outbound.pages.opened import Opened
from gateway.outbound.pages.render import static_file
from gateway.outbound.pages.views_imaging import imaging_page
from gateway.outbound.pages.views_medication import medication_page
from gateway.outbound.pages.views_summary import Summary, summary
from tests.builders import M1, M2, NOW, a_medication, a_patient, an_allergy, an_observation
from tests.unit.outbound.pages import residents
from tests.unit.outbound.pages.residents import DOCTOR, derived_of, opened_of, page


def the_summary(resources: list[Json], previous: dict[str, Json] | None = None) -> tuple[Opened, Summary]:
    opened = opened_of(resources, previous=previous)
    return opened, summary(opened, derived_of(opened))


def words(html: str) -> str:
    """The page as read: tags gone, blanks joined."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", html)))


def html_of(resources: list[Json], previous: dict[str, Json] | None = None) -> str:
    opened, view = the_summary(resources, previous)
    return page("summary.html", opened, view=view)


def test_aspirin_twice_is_said_with_the_days_left() -> None:
    text = words(html_of(residents.wu_defu()))
    assert "同药重复 ×2" in text
    assert "剩 16 天（至 04-04）" in text
    assert "天数来源未提供" in text
    assert "住院 14 天" in text
    assert "脑梗死I63.900" in text.replace(" ", "")


def test_the_supply_bar_shows_sixteen_of_thirty_days() -> None:
    _, view = the_summary(residents.wu_defu())
    bar = next(d.bar for d in view.medication if d.bar)
    assert (bar.x, bar.width) == (42.0, 48.0)


def test_amoxicillin_is_flagged_against_penicillin_with_the_source_of_the_allergy() -> None:
    text = words(html_of(residents.li_jianguo()))
    assert "过敏：青霉素 市第一人民医院" in text
    assert "与过敏史冲突" in text


def test_allergy_has_three_states_that_are_never_one_another() -> None:
    none = an_allergy("a2", "无已知过敏", recorded="2026-03-18")
    none["code"]["coding"] = [{"system": "urn:alliance-gateway:codesystem:allergy", "code": "no-known-allergy"}]
    assert "过敏史未记录" in html_of([a_patient()])
    assert "无已知过敏" in html_of([a_patient(), none])
    both = html_of([a_patient(), none, an_allergy()])
    assert "过敏：青霉素" in both and "无已知过敏" not in both


def test_a_critical_value_stands_on_top_with_range_and_who_was_told() -> None:
    html = html_of(residents.zhao_li())
    text = words(html)
    assert html.index("alert critical") < html.index("当前用药")
    for said in ("血小板 PLT 18", "参考区间 125–350", "15:32 已告知 周医生", "不可互认（变化较快）", "危急低"):
        assert said in text, said


def test_a_corrected_value_replaces_the_alert_by_one_quiet_line() -> None:
    resources, previous = residents.chen_ming()
    html = html_of(resources, previous)
    assert "alert critical" not in html
    assert re.search(r"4\.2 mmol/L 已更正（03-20 08:55），更正前 6\.8", words(html))
    assert "无未处理危急值" in html


def test_the_conclusion_of_an_examination_carries_no_mark() -> None:
    html = html_of(residents.wang_xiuying())
    box = html[html.index('id="imaging"') : html.index('id="recognition"')]
    assert "右肺上叶小结节，建议随访。" in box
    assert 'class="mark' not in box
    assert "4 天内重复" in box


def test_an_empty_record_says_no_record_for_each_connected_member_and_when_it_last_sent() -> None:
    opened, view = the_summary(residents.lin_fang())
    text = words(page("summary.html", opened, view=view))
    assert "用药：无记录" in text and "检查：无记录" in text
    row = next(r for r in view.sources if r.member == "市第一人民医院")
    assert [cell.text for cell in row.cells] == ["无记录", "来源未接入", "无记录", "无记录", "无记录", "来源未接入"]
    assert row.at.text == "03-20 08:52" and row.ago == "8 分钟前"


def test_a_member_that_fell_silent_is_marked_late() -> None:
    _, view = the_summary(residents.lin_fang())
    late = [row.member for row in view.sources if row.late]
    assert late == ["县中医院"]


def test_a_member_the_doctor_may_not_read_is_neither_empty_nor_unconnected() -> None:
    opened = opened_of(residents.lin_fang(), who=replace(DOCTOR, members=frozenset({M1})))
    row = next(r for r in summary(opened, derived_of(opened)).sources if r.member == "县中医院")
    assert {cell.text for cell in row.cells} == {"无权查看"}


def test_no_member_is_said_to_have_nothing_of_a_kind_of_which_something_is_withheld() -> None:
    opened = with_parts(opened_of(residents.lin_fang()), withheld={"DiagnosticReport": 1})
    view = summary(opened, derived_of(opened))
    row = next(r for r in view.sources if r.member == "市第一人民医院")
    texts = [cell.text for cell in row.cells]
    assert texts == ["无记录", "来源未接入", "无可见记录", "无可见记录", "无记录", "来源未接入"]
    assert "不写明是哪家" in view.legend
    assert "县人民医院：无可见记录" in [a.title for a in imaging_page(opened, derived_of(opened)).absent]


def test_a_member_that_never_sent_is_not_counted_as_answered() -> None:
    opened = opened_of(residents.lin_fang(), arrived={M2: NOW})
    view = summary(opened, derived_of(opened))
    assert view.answered == "4 家成员应答 1 家"
    assert next(r for r in view.sources if r.member == "镇卫生院").late


def test_hostile_text_never_becomes_markup() -> None:
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
    resources = [a_patient(name=evil), an_allergy(allergen=evil)]
    resources += [residents.a_condition("c1", evil, evil)]
    html = html_of(resources)
    assert "<script>alert" not in html and "<img src=x" not in html
    assert "&lt;script&gt;" in html


def test_no_page_carries_inline_style_or_script() -> None:
    html = html_of(residents.wu_defu())
    assert " style=" not in html and "<style" not in html
    assert not re.search(r"<script(?![^>]* src=)", html)
    assert not re.search(r"\son\w+=", html)
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_summary_and_stylesheet_stay_within_their_sizes() -> None:
    whole = html_of(residents.wu_defu()).encode() + static_file("app.css")[0]
    assert len(whole) <= 40 * 1024
    assert len(gzip.compress(whole, 4)) <= 12 * 1024


def test_doctor_and_member_are_named_on_screen_and_on_paper() -> None:
    html = html_of(residents.wu_defu())
    assert "<strong>郑医生</strong> 镇卫生院" in html
    assert "打印：郑医生 · 镇卫生院 · 2026-03-20 09:00" in html


def test_a_culture_that_grew_something_is_said_before_the_record() -> None:
    text = words(html_of(residents.zhou_min()))
    assert "血培养阳性：大肠埃希菌" in text
    assert "培养与药敏另见“微生物”" in text


def test_what_must_not_be_given_is_a_warning_and_no_current_drug() -> None:
    opened = opened_of([a_patient(), a_medication("x", "甲氨蝶呤", doNotPerform=True)])
    view = summary(opened, derived_of(opened))
    assert view.medication == ()
    assert [(a.title, a.text) for a in view.alerts] == [("勿用：甲氨蝶呤", "县人民医院 03-06 要求不给此药。")]


def test_a_past_drug_says_its_year_and_that_it_was_stopped_not_used_up() -> None:
    stopped = a_medication(
        "s", "华法林", days=28, authored="2026-03-18", status="stopped", statusReason={"text": "出血"}
    )
    opened = opened_of([a_patient(), a_medication("o", days=7, authored="2019-03-06"), stopped])
    past = medication_page(opened, derived_of(opened)).past
    assert [(d.no_days, d.start.text) for d in past] == [("已停用：出血", "03-18"), ("已用完", "2019-03-06")]


def test_the_weight_of_an_allergy_is_said_with_its_reaction() -> None:
    shock = {"manifestation": [{"coding": [{"display": "过敏性休克"}]}], "severity": "severe"}
    opened = opened_of([a_patient(), an_allergy(criticality="high", reaction=[shock])])
    (allergy,) = medication_page(opened, derived_of(opened)).allergies
    assert allergy.reaction == "高危、过敏性休克、重度"


def test_a_diagnosis_that_is_over_or_not_yet_sure_says_so() -> None:
    def coded(element: str, code: str) -> Json:
        return {element: {"coding": [{"code": code}]}}

    over = residents.a_condition("t", "肺结核", "A16", at="2010-01-01") | coded("clinicalStatus", "resolved")
    unsure = residents.a_condition("c", "肺癌", "C34") | coded("verificationStatus", "provisional")
    unsure = {key: value for key, value in unsure.items() if key != "recordedDate"} | {"onsetDateTime": "2026-03-01"}
    sure = residents.a_condition("h", "高血压", "I10", at="2026-03-02") | coded("clinicalStatus", "active")
    _, view = the_summary([a_patient(), over, unsure, sure])
    assert [(p.title, p.at.text) for p in view.problems] == [
        ("高血压", "03-02"),
        ("肺癌（未确诊）", "03-01"),
        ("肺结核（已缓解或治愈）", "2010-01-01"),
    ]


def test_a_preliminary_normal_result_takes_no_abnormal_one_off_the_summary() -> None:
    checked = an_observation("a", "肌酐", "97", loinc="14682-9", ucum="umol/L", flag="H")
    early = {"status": "preliminary", "collected": "2026-03-19T08:00:00+08:00"}
    normal = an_observation("b", "肌酐", "79", loinc="14682-9", ucum="umol/L", **early)
    glucose = an_observation("c", "葡萄糖", "9.9", "mmol/L", loinc="14749-6", ucum="mmol/L", flag="H", **early)
    opened, view = the_summary([a_patient(), checked, normal, glucose])
    assert [(row.name, row.value, row.status) for row in view.abnormal] == [
        ("葡萄糖", "9.9", "初步"),
        ("肌酐", "97", ""),
    ]
    assert "初步" in words(page("summary.html", opened, view=view))
