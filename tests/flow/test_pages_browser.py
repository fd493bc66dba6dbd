"""What only a browser can tell: layout, keyboard, scripts off, printing, and that nothing comes from outside."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.flow.alliance import TOKENS, Alliance
from tests.flow.browser import WIDTHS, Seat, launched, seat
from tests.flow.test_stories_fhir import HE, LIU, WANG, WU, ZHAO, ZHOU

pytestmark = pytest.mark.browser
UNNAMED = """[...document.querySelectorAll('input:not([type=hidden]),textarea')]
  .filter(field => !field.labels.length).length"""
REPEATED_IDS = """(() => { const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
  return ids.length - new Set(ids).size; })()"""
MARKS = """[...document.querySelectorAll('table.items .mark')].map(mark =>
  mark.querySelector('use').href.baseVal.split('#')[1] + ' ' + mark.innerText.trim())"""
TABS = ("", "/visits", "/labs", "/cultures", "/imaging", "/medication", "/recognise", "/access")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture
def doctor(browser: Browser, alliance: Alliance) -> Iterator[Seat]:
    """Signed in through the form."""
    with seat(browser, alliance.url) as here:
        here.sign_in(TOKENS["doctor"])
        yield here


def test_a_card_is_typed_entered_and_never_stands_in_an_address(doctor: Seat) -> None:
    page = doctor.page
    page.locator("#resident").fill(WU)
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/search?q=*")
    assert WU not in page.url and WU not in page.content()
    page.get_by_role("link", name="吴德福").first.click()
    expect(page.get_by_role("heading", name="健康摘要")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("link", name="吴德福").first).to_be_visible()


def test_slash_moves_to_the_search_box_and_typing_a_slash_stays_possible(doctor: Seat, alliance: Alliance) -> None:
    page = doctor.go(f"/ui/p/{alliance.person(WU)['id']}")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "quick"
    page.keyboard.type("a/b")
    assert page.locator("#quick").input_value() == "a/b"


@pytest.mark.parametrize("card", [LIU, WANG, WU, ZHAO, ZHOU, HE])
def test_no_page_scrolls_sideways_complains_or_fetches_from_outside(
    doctor: Seat, alliance: Alliance, card: str
) -> None:
    patient = alliance.person(card)["id"]
    for tab in TABS:
        doctor.go(f"/ui/p/{patient}{tab}")
        assert {w: doctor.overflow(w) for w in WIDTHS} == dict.fromkeys(WIDTHS, 0), tab
    assert doctor.complaints == []


def test_every_page_has_one_heading_named_tables_and_labelled_fields(doctor: Seat, alliance: Alliance) -> None:
    patient = alliance.person(LIU)["id"]
    for tab in TABS:
        page = doctor.go(f"/ui/p/{patient}{tab}")
        assert page.locator("h1").count() == 1, tab
        assert page.locator("table:not(:has(caption))").count() == 0, tab
        assert page.locator("img:not([alt])").count() == 0, tab
        assert page.evaluate(UNNAMED) == 0, tab
        assert page.evaluate(REPEATED_IDS) == 0, tab


def test_every_step_works_without_script(browser: Browser, alliance: Alliance) -> None:
    with seat(browser, alliance.url, script=False) as here:
        here.sign_in(TOKENS["doctor"])
        page = here.page
        page.locator("#resident").fill("刘桂兰 1949-11")
        page.locator("#resident").press("Enter")
        page.get_by_role("link", name="刘桂兰").first.click()
        page.get_by_role("link", name="检验", exact=True).click()
        page.get_by_role("link", name="1.20", exact=True).click()
        assert "1.20 × 88.4" in here.text() and "采集" in here.text()
        assert page.locator("button", has_text="复制").count() == 0
        page.get_by_role("button", name="退出").click()
        page.wait_for_url("**/ui/signin")


def test_the_summary_prints_on_one_sheet_of_a4(doctor: Seat, alliance: Alliance) -> None:
    for card in (WU, LIU, HE):
        doctor.go(f"/ui/p/{alliance.person(card)['id']}")
        pdf = doctor.page.pdf(prefer_css_page_size=True)
        assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1


def test_every_printed_sheet_names_resident_and_doctor(doctor: Seat, alliance: Alliance) -> None:
    page = doctor.go(f"/ui/p/{alliance.person(HE)['id']}/imaging")
    page.emulate_media(media="print")
    try:  # head and foot of a table are what a browser repeats on each sheet
        parts = "['body', '.resident', '.print-line']"
        laid = page.evaluate(f"{parts}.map(at => getComputedStyle(document.querySelector(at)).display)")
    finally:
        page.emulate_media(media="screen")
    assert laid == ["table", "table-header-group", "table-footer-group"]


def test_frames_are_shown_and_the_arrow_key_steps(doctor: Seat, alliance: Alliance) -> None:
    page = doctor.go(f"/ui/p/{alliance.person(WANG)['id']}/imaging")
    page.get_by_role("link", name="打开影像").first.click()
    image = page.locator(".frame img")
    expect(image).to_be_visible()
    assert image.evaluate("async i => { await i.decode(); return i.naturalWidth }") > 0
    assert "非诊断用途" in doctor.text()
    if page.locator("a[rel=next]").count():
        before = page.url
        page.keyboard.press("ArrowRight")
        page.wait_for_url(lambda url: url != before)


def test_marks_and_flags_differ_in_words_and_shape_not_only_in_colour(doctor: Seat, alliance: Alliance) -> None:
    page = doctor.go(f"/ui/p/{alliance.person(HE)['id']}/recognise")
    kinds = page.evaluate(MARKS)
    assert set(kinds) == {"i-no 不可互认", "i-shield 可互认"}
    for flag in page.locator(".flag:not(:empty)").all():
        assert flag.locator(".hidden").inner_text(), "a flag without spoken words"


def test_the_copy_button_copies_the_sentence(doctor: Seat, alliance: Alliance) -> None:
    page = doctor.go(f"/ui/p/{alliance.person(HE)['id']}/recognise")
    page.get_by_role("button", name="复制予以互认").click()
    expect(page.get_by_role("button", name="已复制")).to_be_visible()


def test_signed_out_pages_cannot_be_seen_again(doctor: Seat, alliance: Alliance) -> None:
    doctor.go(f"/ui/p/{alliance.person(WU)['id']}")
    doctor.page.get_by_role("button", name="退出").click()
    doctor.page.wait_for_url("**/ui/signin")
    doctor.page.go_back()
    assert "阿司匹林" not in doctor.text()


def test_a_token_behind_the_hash_fills_the_form_and_leaves_the_address(browser: Browser, alliance: Alliance) -> None:
    with seat(browser, alliance.url) as here:
        page = here.go(f"/ui/signin#token={TOKENS['doctor']}")
        assert page.url.endswith("/ui/signin")
        page.keyboard.press("Enter")
        page.wait_for_url("**/ui/")
