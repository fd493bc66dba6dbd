"""The twelve residents as a doctor of the township health centre sees them: every page from the running server."""

from __future__ import annotations

import re
from html import unescape

import httpx
import pytest

from gateway.store.base import AuditQuery
from tests.flow.alliance import Alliance
from tests.flow.test_stories_fhir import (
    CHEN,
    HE,
    HUANG,
    LI,
    LIU,
    MA,
    MOTHER,
    RAN_F,
    RAN_M,
    SHEN,
    WANG,
    WU,
    ZHAO,
    ZHOU,
)


def get(alliance: Alliance, path: str, *, role: str = "doctor") -> httpx.Response:
    """One page, as the doctor unless said otherwise."""
    return alliance.client.get(path, headers=alliance.bearer(role))


def page(alliance: Alliance, card: str, tab: str = "") -> str:
    """HTML of a resident's page."""
    answer = get(alliance, f"/ui/p/{alliance.person(card)['id']}{tab}")
    assert answer.status_code == 200, answer.text
    return answer.text


def words(html: str) -> str:
    """The page as read: tags gone, blanks joined."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", html)))


def search(alliance: Alliance, text: str) -> str:
    """The result page for what a doctor typed."""
    posted = alliance.client.post("/ui/search", data={"resident": text}, headers=alliance.bearer("doctor"))
    assert posted.status_code == 303
    assert text not in posted.headers["location"]
    return get(alliance, posted.headers["location"]).text


def test_li_jianguo_amoxicillin_against_penicillin(alliance: Alliance) -> None:
    text = words(page(alliance, LI))
    assert re.search(r"过敏：青霉素\S* 市第一人民医院", text)
    assert "4 个本地号" in text
    assert re.search(r"阿莫西林\S*与过敏史冲突|与过敏史冲突", text)
    assert "03-19" in text


def test_wang_xiuying_plain_ct_twice_and_contrast_none(alliance: Alliance) -> None:
    html = page(alliance, WANG, "/imaging")
    text = words(html)
    assert "4 天内重复" in text
    assert "可互认（需阅片）" in text and "至 04-09 11:20" in text
    plain, contrast = html.count("4 天内重复</span>"), text.count("增强")
    assert plain == 2 and contrast >= 1
    for conclusion in re.findall(r"<dt>诊断意见.*?</dd>", html, re.S):
        assert 'class="mark' not in conclusion


def test_wang_xiuyings_first_frame_comes_through_the_gateway(alliance: Alliance) -> None:
    html = page(alliance, WANG, "/imaging")
    viewer = re.findall(r'href="(/ui/p/\w+/imaging/\w+)"', html)[0]
    frame = unescape(re.findall(r'<img src="([^"]+/rendered[^"]*)"', get(alliance, viewer).text)[0])
    picture = get(alliance, frame)
    assert picture.status_code == 200 and picture.headers["content-type"] in ("image/png", "image/jpeg")
    assert alliance.client.get(frame).status_code == 401


def test_chen_ming_reads_4_2_corrected_and_no_alert(alliance: Alliance) -> None:
    html = page(alliance, CHEN)
    assert "alert critical" not in html
    text = words(html)
    assert re.search(r"4\.2 mmol/L 已更正", text) and "6.8" in text


def test_liu_guilan_sees_the_arithmetic_and_hba1c_on_two_rows(alliance: Alliance) -> None:
    patient = alliance.person(LIU)["id"]
    html = get(alliance, f"/ui/p/{patient}/labs").text
    text = words(html)
    assert "1.20 mg/dL" in text and "≈106 μmol/L (×88.4)" in text
    assert "132 g/L" in text and "原文 132 G/L" in text
    rows = re.findall(r'<th scope="row">糖化血红蛋白.*?</tr>', html, re.S)
    assert len(rows) == 2
    item = re.findall(r'href="([^"]+item=\w+[^"]*)">1\.20<', html)[0]
    detail = words(get(alliance, unescape(item).split("#")[0]).text)
    assert all(name in detail for name in ("采集", "接收", "审核", "发布", "到达", "标本", "方法"))


def test_zhang_shen_keeps_his_rare_character_and_is_found_by_pinyin(alliance: Alliance) -> None:
    assert "张珅" in page(alliance, SHEN)
    assert "张珅" in search(alliance, "zhangshen 1955-06")


def test_zhao_li_has_the_critical_banner_on_top(alliance: Alliance) -> None:
    html = page(alliance, ZHAO)
    text = words(html)
    assert 0 < html.index("alert critical") < html.index("当前用药")
    for said in ("18", "125–350", "15:32", "周医生", "不可互认（变化较快）"):
        assert said in text, said


def test_similar_children_are_told_apart_and_wait_for_review(alliance: Alliance) -> None:
    html = search(alliance, "孙浩 2019-05")
    text = words(html)
    assert "孙浩然" in text and "孙浩冉" in text
    assert 'class="differs">然<' in html and 'class="differs">冉<' in html
    assert "待复核" in text and "证件与出生日期不符" in text
    assert RAN_M not in html and RAN_F not in html and "990101********0772" in text


def test_the_mothers_own_page_is_empty_and_says_so_for_each_member(alliance: Alliance) -> None:
    text = words(page(alliance, MOTHER))
    assert "用药：无记录" in text and "检查：无记录" in text
    assert text.count("无记录") >= 6
    assert "孙浩" not in text
    assert re.search(r"镇卫生院.*?\d\d-\d\d \d\d:\d\d", text)


def test_zhou_mins_antibiogram_and_the_late_preliminary_only_in_the_history(alliance: Alliance) -> None:
    html = page(alliance, ZHOU, "/cultures")
    text = words(html)
    assert "大肠埃希菌" in text
    assert re.search(r"头孢曲松.*?R 耐药", text) and re.search(r"阿米卡星.*?S 敏感", text)
    assert "当前显示终审" in text and "迟到" in text


def test_wu_defu_has_sixteen_days_left_and_aspirin_twice(alliance: Alliance) -> None:
    text = words(page(alliance, WU))
    assert "剩 16 天" in text and "04-04" in text
    assert "同药重复 ×2" in text
    assert "住院 14 天" in text


def test_huang_zhiqiang_reads_only_8_mm_and_the_old_one_is_replaced(alliance: Alliance) -> None:
    summary, imaging = words(page(alliance, HUANG)), words(page(alliance, HUANG, "/imaging"))
    assert "8 mm" in imaging.replace("8mm", "8 mm") and not re.search(r"18 ?mm", summary + imaging)
    assert "已替换" in words(page(alliance, HUANG, "/visits"))
    labs = page(alliance, HUANG, "/labs")
    assert not any("GGT" in words(row) for row in re.findall(r"<th scope=\"row\".*?</th>", labs, re.DOTALL))
    assert "GGT项目溶血干扰，撤回" in words(labs)  # the laboratory's remark says why


def test_ma_xiaomei_two_pct_stand_apart_and_the_unknown_item_is_marked(alliance: Alliance) -> None:
    html = page(alliance, MA, "/labs")
    text = words(html)
    assert re.search(r"X-9981[^ ]* ?未编码", text)
    assert "0.21" in text and "0.08" in text
    rows = [words(row) for row in re.findall(r'<th scope="row">.*?</tr>', html, re.S)]
    assert not any("0.21" in row and "0.08" in row for row in rows)


def test_he_chunhua_fifteen_of_twenty_with_the_exceptions_first(alliance: Alliance) -> None:
    html = page(alliance, HE, "/recognise")
    text = words(html)
    assert "15/20 可互认" in text and "至 04-07 10:00" in text
    assert re.search(r"已过时效.*?03-15 10:00", text) and "质评未通过" in text
    assert text.index("不可互认 5 项") < text.index("可互认 15 项")
    assert re.search(r"引用市第一人民医院2026-03-08.*?，予以互认。", text)
    assert re.search(r"不予互认，理由：已过时效。", text)


@pytest.mark.parametrize(
    "tab", ["", "/visits", "/labs", "/cultures", "/imaging", "/medication", "/recognise", "/access"]
)
def test_every_tab_of_every_resident_answers(alliance: Alliance, tab: str) -> None:
    for card in (LI, WANG, CHEN, LIU, SHEN, ZHAO, RAN_M, RAN_F, MOTHER, ZHOU, WU, HUANG, MA, HE):
        assert card not in page(alliance, card, tab)


def test_each_view_is_one_audited_disclosure(alliance: Alliance) -> None:
    patient = alliance.person(WU)["id"]

    def rows() -> list[str]:
        found = alliance.run(alliance.gateway.store.audits(AuditQuery(patient=patient, kind="page", limit=500)))
        return [row.subtype for _, row in found]

    before = len(rows())
    get(alliance, f"/ui/p/{patient}/medication")
    after = rows()
    assert len(after) == before + 1 and after[0] == "medication"
    assert "用药" in words(get(alliance, f"/ui/p/{patient}/access").text)


def test_a_stranger_is_sent_to_the_sign_in_and_a_vendor_is_refused(alliance: Alliance) -> None:
    patient = alliance.person(WU)["id"]
    assert alliance.client.get(f"/ui/p/{patient}").headers["location"].startswith("/ui/signin?next=")
    refused = get(alliance, f"/ui/p/{patient}", role="vendor")
    assert refused.status_code == 403 and "GW-SEC-002" in refused.text and "吴德福" not in refused.text


def test_an_unknown_resident_is_answered_in_words(alliance: Alliance) -> None:
    answer = get(alliance, "/ui/p/nobody")
    assert answer.status_code == 404 and "没有找到" in answer.text and "GW-FHR-001" in answer.text


def test_a_wrong_card_is_explained_and_not_repeated(alliance: Alliance) -> None:
    html = search(alliance, "990101195803120110")
    assert "没有查找" in html and "990101195803120110" not in html
