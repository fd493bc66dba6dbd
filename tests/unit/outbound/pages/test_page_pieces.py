"""Sparklines, times, narrative, static files, hits told apart."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from lxml import html as lxml_html

from gateway.model.systems import certificate, local_number
from gateway.outbound.labs import Band, Point
from gateway.outbound.pages import moments
from gateway.outbound.pages.narrative import safe, sections
from gateway.outbound.pages.render import HERE, environment, static_file, static_url
from gateway.outbound.pages.routes_home import _cut
from gateway.outbound.pages.spark import spark
from gateway.outbound.pages.views_banner import banner, masked
from gateway.outbound.pages.views_home import results, review_todo, spelled
from gateway.outbound.pages.views_recognise import recognise_page
from gateway.outbound.pages.words import Fact
from tests.builders import M4, NOW, a_patient, a_report, an_observation
from tests.unit.outbound.pages.residents import derived_of, directory, opened_of, page
from tests.unit.outbound.pages.test_page_summary import words


# ---- sparklines ----------------------------------------------------------------------------------
def a_point(value: str, *, low: str = "3.5", high: str = "5.3", **more: object) -> Point:
    band = Band("report", f"{low}–{high}", Decimal(low), Decimal(high))
    facts = {"column": 0, "at": NOW, "direction": "", "converted": False, "method_changed": False} | more
    return Point(value=Decimal(value), band=band, **facts)  # type: ignore[arg-type]


def test_a_value_above_its_band_is_drawn_above_it_as_a_triangle() -> None:
    drawn = spark([a_point("4.0"), a_point("6.8", direction="high")], "钾")
    assert drawn is not None
    band, last = drawn.bands[0], drawn.dots[-1]
    assert last.y < band.y and last.css == "pt high" and last.triangle.startswith("M")
    assert last.r > drawn.dots[0].r


def test_equal_bands_join_and_different_ones_stand_under_their_own_points() -> None:
    drawn = spark([a_point("4"), a_point("4.1"), a_point("4.2", low="3.0")], "钾")
    assert drawn is not None and len(drawn.bands) == 2
    assert drawn.bands[0].x + drawn.bands[0].width == pytest.approx(drawn.bands[1].x, abs=0.2)


def test_everything_drawn_lies_within_the_frame() -> None:
    drawn = spark([a_point("0.001"), a_point("9999"), a_point("4")], "x")
    assert drawn is not None
    assert all(0 <= d.y <= drawn.height and 0 <= d.x <= drawn.width for d in drawn.dots)
    assert all(b.y >= 0 and b.height >= 0 and b.y + b.height <= drawn.height for b in drawn.bands)


def test_one_value_alone_and_no_value_at_all() -> None:
    alone = spark([a_point("4")], "x")
    assert alone is not None and alone.path == "" and alone.dots[0].x == alone.width / 2
    assert spark([], "x") is None


def test_a_change_of_method_is_a_line_between_the_points() -> None:
    drawn = spark([a_point("4"), a_point("5", method_changed=True)], "x")
    assert drawn is not None and drawn.dots[0].x < drawn.breaks[0] < drawn.dots[1].x


# ---- times ---------------------------------------------------------------------------------------
def test_this_year_is_left_out_and_another_is_not() -> None:
    assert moments.day("2026-03-06", NOW).text == "03-06"
    assert moments.day("2025-09-08", NOW).text == "2025-09-08"
    assert moments.day("2025-09", NOW).text == "2025-09"


def test_an_instant_in_utc_reads_in_china_time() -> None:
    assert moments.minute("2026-03-19T16:30:00Z", NOW).text == "03-20 00:30"


def test_a_date_gets_no_time_made_up() -> None:
    assert moments.minute("2026-03-06", NOW).text == "03-06"
    assert moments.minute("", NOW).text == "未知"


def test_age_counts_completed_years_and_months() -> None:
    assert moments.age("1960-04-08", NOW) == "65 岁"
    assert moments.age("1960-03-20", NOW) == "66 岁"
    assert moments.age("2025-01-21", NOW) == "13 个月"
    assert moments.age("2026-03-05", NOW) == "15 天"
    assert moments.age("", NOW) == "年龄未知"
    assert moments.age("1942-01-15", NOW, "2020-01-14") == "77 岁"


def test_how_long_ago() -> None:
    said = [moments.ago(NOW - timedelta(minutes=m), NOW) for m in (0, 8, 133, 60 * 24 * 3)]
    assert said == ["刚刚", "8 分钟前", "2 小时前", "3 天前"]
    assert moments.ago(datetime(2030, 1, 1, tzinfo=UTC), NOW) == "刚刚"


# ---- narrative -----------------------------------------------------------------------------------
ATTACKS = [
    "<script>alert(1)</script>",
    "<p onclick=alert(1)>x</p>",
    "<img src=x onerror=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg onload=alert(1)>",
    '<a href="javascript:alert(1)">x</a>',
    '<iframe src="javascript:alert(1)"></iframe>',
    '<p style="background:url(javascript:alert(1))">x</p>',
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<table><td colspan='2\" onmouseover=alert(1)'>x</td></table>",
    "<!--<img src=x onerror=alert(1)>-->",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>",
    "<style>@import 'http://x'</style>",
    "<object data=x></object><embed src=x><form action=x><input></form>",
    "<p><p><p>deep</p></p></p>",
    "</p></td></table></section></main><script>alert(1)</script>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_active_survives_in_a_narrative(attack: str) -> None:
    tree = lxml_html.fragment_fromstring(str(safe(attack)), create_parent="div")
    for element in tree.iter():
        assert element.tag in {"div", "p", "br", "table", "tbody", "tr", "td"}
        assert set(element.attrib) <= {"colspan", "rowspan"}


def test_a_narrative_keeps_its_tables_lists_and_text() -> None:
    table = '<table><tr><td colspan="2">阿司匹林 &lt;100 mg&gt;</td></tr></table>'
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><h2>用药</h2>{table}</div>'
    assert safe(div) == f"<div><strong>用药</strong>{table}</div>"


def test_sections_come_in_order_nested_ones_behind_their_parent() -> None:
    composition = {
        "section": [
            {"title": "一", "text": {"div": "<p>a</p>"}, "section": [{"title": "一之一", "text": {"div": "<p>b</p>"}}]},
            {"title": "二", "text": {"div": "<p>c</p>"}},
        ]
    }
    assert [s.title for s in sections(composition)] == ["一", "一之一", "二"]


# ---- static files and templates ------------------------------------------------------------------
def test_a_static_address_carries_the_hash_of_what_it_serves() -> None:
    body, media, digest = static_file("app.css")
    assert static_url("app.css") == f"/ui/static/app.{digest}.css"
    assert media.startswith("text/css") and b"/*" not in body


@pytest.mark.parametrize("name", ["../render.py", "..%2frender.py", "nothing.css", "app.map", ""])
def test_only_shipped_files_are_served(name: str) -> None:
    with pytest.raises(FileNotFoundError):
        static_file(name)


def test_every_icon_a_template_or_view_names_is_shipped() -> None:
    shipped = set(re.findall(r'id="i-([\w-]+)"', (HERE / "static" / "icons.svg").read_text()))
    named = set()
    for path in [*HERE.glob("templates/*.html"), *HERE.glob("*.py")]:
        named |= set(re.findall(r'm\.icon\("([\w-]+)"\)|icon="([\w-]+)"|State\("([\w-]+)"', path.read_text()))
    assert {n for group in named for n in group if n} <= shipped


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("templates/*.html")))
def test_every_template_compiles(name: str) -> None:
    assert environment().get_template(name)


def test_no_template_switches_escaping_off() -> None:
    assert environment().autoescape is True
    for path in HERE.glob("templates/*.html"):
        found = re.findall(r"\{\{[^}]*\|\s*safe[^}]*\}\}", path.read_text())
        assert all(re.match(r"""\{\{ ['"][^{}]*['"]\|safe if """, one) for one in found), (path.name, found)


def test_nothing_is_fetched_from_elsewhere() -> None:
    for path in [*HERE.glob("templates/*.html"), *HERE.glob("static/*")]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text and "//cdn" not in text, path.name


# ---- hits ----------------------------------------------------------------------------------------
def twins() -> list[dict[str, object]]:
    return [
        a_patient("b1", name="孙浩然", gender="male", birth="2019-05-06", card="990101201905060772"),
        a_patient("b2", name="孙浩冉", gender="female", birth="2019-05-06", card="990101201905060780"),
    ]


def test_similar_names_are_told_apart_by_the_differing_character_and_card_tail() -> None:
    task = {
        "resourceType": "Task",
        "id": "t1",
        "status": "requested",
        "for": {"reference": "Patient/x9"},
        "focus": {"reference": "Patient/b1"},
        "reasonCode": {"text": "证件与出生日期不符"},
        "identifier": [{"system": local_number(M4), "value": "T-31"}],
    }
    view = results(twins(), [task], directory(), NOW, how="", more=False)
    assert view.warning
    assert [hit.name for hit in view.hits] == [(("孙浩", False), ("然", True)), (("孙浩", False), ("冉", True))]
    assert view.hits[0].card == (("990101********", False), ("0772", True))
    assert [chip.text for chip in view.hits[0].chips] == ["待复核"] and not view.hits[1].chips
    assert "镇卫生院的记录证件与出生日期不符" in view.reviews[0]


def test_a_single_hit_has_nothing_underlined() -> None:
    view = results(twins()[:1], [], directory(), NOW, how="", more=False)
    assert not view.warning and view.hits[0].name == (("孙浩然", False),)


def test_a_hit_and_a_banner_say_that_the_person_died() -> None:
    dead = [a_patient(deceasedDateTime="2020-05-01"), a_patient(deceasedBoolean=True)]
    hits = results(dead, [], directory(), NOW, how="", more=False).hits
    assert [(hit.sex_age, hit.chips[0].text, hit.chips[0].note) for hit in hits] == [
        ("女 60 岁", "已故", "2020-05-01"),
        ("女 卒年未知", "已故", "日期未知"),
    ]
    shown = banner(opened_of([dead[1]]), "")
    assert shown.age == "卒年未知" and "已故" in [chip.text for chip in shown.chips]


def test_a_passport_stands_where_there_is_no_identity_card() -> None:
    foreigner = a_patient(identifier=[{"system": certificate("03"), "value": "E12345678"}])
    (hit,) = results([foreigner], [], directory(), NOW, how="", more=False).hits
    assert hit.card == (("护照 *****5678", False),)
    assert Fact("证件", "护照 尾号 5678") in banner(opened_of([foreigner]), "").facts


def test_a_full_list_of_reviews_says_that_it_is_cut() -> None:
    todo = [review_todo({}, a_patient(), NOW)] * 20
    assert (_cut(todo), _cut(todo[1:])) == ("（主索引只列 20 条）", "")


def test_no_hit_says_what_to_try_next() -> None:
    view = results([], [], directory(), NOW, how="", more=False)
    assert not view.hits and "出生年月" in view.advice


def test_a_card_is_never_shown_whole() -> None:
    assert masked("990101194201150996") == "990101********0996"
    assert masked("12345") == "*****"
    assert spelled("ab", []) == (("ab", False),)


# ---- recognition ---------------------------------------------------------------------------------
def a_chemistry() -> list[dict[str, object]]:
    """Story 12 in small: one item recognised, potassium too old."""
    items = [
        an_observation("o1", "肌酐", "63", "μmol/L", loinc="14682-9", ucum="umol/L", band=("41", "81")),
        an_observation("o2", "钾", "4.3", "mmol/L", loinc="2823-3", ucum="mmol/L", band=("3.5", "5.3")),
    ]
    return [a_patient(name="何春花", birth="1960-04-08"), *items, a_report("r1", "生化", items)]


def test_exceptions_come_first_with_until_when_and_why() -> None:
    opened = opened_of(a_chemistry())
    view = recognise_page(opened, derived_of(opened), "本地区 2026 版")
    assert view.chosen is not None
    assert view.chosen.count == "1/2 可互认" and view.chosen.until == "至 04-07 10:00"
    assert [group.title for group in view.chosen.groups] == ["不可互认 1 项", "可互认 1 项"]
    assert [(e.names, e.because) for e in view.chosen.exceptions] == [("钾", "已过时效（03-15 10:00）")]


def test_a_long_list_of_reports_says_that_it_is_cut_and_still_opens_an_old_one() -> None:
    reports = [
        a_report(f"r{n}", "胸部CT平扫", category="CT", issued=f"2025-01-01T00:{n // 60:02}:{n % 60:02}Z")
        for n in range(101)
    ]
    opened = opened_of([a_patient(), *reports])
    view = recognise_page(opened, derived_of(opened), "本地区 2026 版", "r0")
    assert view.chosen is not None and view.chosen.id == "r0"
    assert "101 份，只列最新 100 份" in words(page("recognise.html", opened, "recognise", view=view))


def test_the_text_for_the_record_is_ready_without_script() -> None:
    opened = opened_of(a_chemistry())
    html = page(
        "recognise.html", opened, "recognise", view=recognise_page(opened, derived_of(opened), "本地区 2026 版")
    )
    text = words(html)
    assert "引用市第一人民医院2026-03-08肌酐 63 μmol/L，予以互认。" in text
    assert "不予互认，理由：已过时效。" in text
    assert "readonly" in html
