"""The vendor console over the whole alliance: what a vendor's engineer sees, and what only the operator does."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser

from fixtures.times import ANCHOR
from gateway.inbox.queue import Arrival
from gateway.model.outcome import State
from gateway.security.signin import set_cookie
from gateway.store.base import AuditQuery
from tests.flow.alliance import LIS, TOKENS, Alliance
from tests.flow.browser import Seat, launched, seat

MA = "990101200101191449"
MA_PHONE = "13900009012"
BROKEN = b"MSH|^~\\&|LIS|XZYY|GW|YLT|20260319101500||ORU^R01|7|P|2.4\rPID|1||30||Z||20010119\rOBR|1||\r"


def page(alliance: Alliance, path: str, *, role: str = "vendor", status: int = 200) -> str:
    answer = alliance.client.get(path, headers=alliance.bearer(role), follow_redirects=True)
    assert answer.status_code == status, (path, answer.status_code, answer.text[:500])
    return answer.text


def attempt(alliance: Alliance, text: str, source: str = "sandbox", charset: str = "") -> str:
    form = {"text": text, "source": source, "charset": charset}
    answer = alliance.client.post("/console/try", data=form, headers=alliance.bearer("vendor"))
    assert answer.status_code == 200, answer.text[:500]
    return answer.text


def key_of(alliance: Alliance, marker: str) -> str:
    """The newest kept message whose bytes hold `marker`."""
    kept = alliance.gateway.inbox.messages
    for entry in alliance.run(kept.entries(limit=500)):
        raw = alliance.run(kept.raw(entry.key))
        if raw and (marker.encode() in raw.body or marker.encode("gb18030") in raw.body):
            return entry.key
    raise AssertionError(marker)


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


# ---- who comes in --------------------------------------------------------------------------------
def test_the_console_is_for_vendors_and_operators_alone(alliance: Alliance) -> None:
    for role, status in (("vendor", 200), ("admin", 200), ("doctor", 403), ("platform", 403)):
        answer = alliance.client.get("/console/", headers=alliance.bearer(role))
        assert answer.status_code == status, role
    assert "返回消息日志" in page(alliance, "/console/", role="doctor", status=403)


def test_a_stranger_is_led_to_the_sign_in_and_back(alliance: Alliance) -> None:
    with httpx.Client(base_url=alliance.url) as browser:
        away = browser.get("/console/try")
        assert away.status_code == 303 and away.headers["location"] == "/ui/signin?next=/console/try"
        back = browser.post("/ui/signin", data={"next": "/console/try", "token": TOKENS["vendor"]})
        assert back.headers["location"] == "/console/try"
        assert browser.get("/console/try").status_code == 200


def test_a_role_lands_on_its_own_pages_whatever_it_asked_for(alliance: Alliance) -> None:
    for role, asked, lands in (("vendor", "/ui/", "/console/"), ("doctor", "/console/", "/ui/")):
        with httpx.Client(base_url=alliance.url) as browser:
            answer = browser.post("/ui/signin", data={"next": asked, "token": TOKENS[role]})
            assert (answer.status_code, answer.headers["location"]) == (303, lands)


def test_administrators_of_the_alliance_review_who_broke_the_glass_and_why(empty: Alliance) -> None:
    label = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}]}
    admin = empty.bearer("admin") | {"content-type": "application/fhir+json"}
    patient = {"resourceType": "Patient", "id": "lin", "name": [{"text": "林"}]}
    kept = {"resourceType": "Condition", "id": "c1", "meta": label, "subject": {"reference": "Patient/lin"}}
    for body in (patient, kept):
        answer = empty.client.put(f"/fhir/{body['resourceType']}/{body['id']}", json=body, headers=admin)
        assert answer.status_code == 201, answer.text
    assert "没有人破玻璃" in page(empty, "/console/glass", role="admin")
    said = empty.client.post("/ui/p/lin/glass", data={"reason": "抢救，须知既往诊断"}, headers=empty.bearer("doctor"))
    assert said.status_code == 303
    shown = page(empty, "/console/glass", role="admin")
    assert "抢救，须知既往诊断" in shown and "/ui/p/lin/access" in shown and "演示医生" in shown
    page(empty, "/console/glass", role="vendor", status=403)


# ---- the log -------------------------------------------------------------------------------------
def test_the_log_shows_the_newest_first_and_counts_every_source(alliance: Alliance) -> None:
    html = page(alliance, "/console/")
    keys = [int(key) for key in re.findall(r'/console/m/m(\d+)"', html)]
    assert len(keys) > 40 and keys == sorted(keys, reverse=True)
    counts = alliance.run(alliance.gateway.inbox.messages.counts())
    shown = words(html)
    for source in ("city_first_hospital", "county_people_hospital"):
        assert source in shown and str(counts[source, "processed"]) in shown


def test_older_messages_follow_without_a_gap_or_a_repeat(empty: Alliance) -> None:
    for number in range(120):
        source = "county_tcm_hospital" if number % 3 else "township_health_centre"
        arrival = Arrival(source, "csv", b"%d" % number, ANCHOR, refused="GW-INB-004" if number % 2 else "GW-TRN-001")
        empty.run(empty.gateway.inbox.keep(arrival))
    path, seen = "/console/?state=quarantined&source=county_tcm_hospital", []
    while path:
        html = page(empty, path)
        seen += re.findall(r'/console/m/(m\d+)"', html)
        found = re.search(r'rel="next" href="([^"]+)"', html)
        path = found[1].replace("&amp;", "&") if found else ""
    assert seen == [f"m{number + 1}" for number in range(119, -1, -1) if number % 3]
    html = page(empty, "/console/?reason=GW-TRN-001&source=township_health_centre")
    assert re.findall(r'/console/m/(m\d+)"', html) == [f"m{n + 1}" for n in range(119, -1, -1) if n % 6 == 0]


def test_filters_narrow_by_source_and_state(alliance: Alliance) -> None:
    kept = alliance.gateway.inbox.messages
    html = page(alliance, "/console/?source=county_tcm_hospital&state=processed")
    own = alliance.run(kept.entries(source="county_tcm_hospital", state=State.PROCESSED))
    assert own and re.findall(r'/console/m/(m\d+)"', html) == [entry.key for entry in own]
    assert "没有符合的消息" in page(alliance, "/console/?source=nobody")
    page(alliance, "/console/?state=lost", status=400)


# ---- one message ---------------------------------------------------------------------------------
def test_a_message_shows_its_fields_and_hides_card_and_phone_from_a_vendor(alliance: Alliance) -> None:
    key = key_of(alliance, "PCT^血小板压积")
    html = page(alliance, f"/console/m/{key}")
    assert MA not in html and MA_PHONE not in html
    assert "990101********1449" in html and "139****9012" in html
    shown = words(html)
    assert "OBX[2]" in shown and "PCT^血小板压积" in shown and "GB18030" in shown
    assert "X-9981" in shown and "OBX[3]-3" in shown and "怎么办" in shown
    assert "Provenance/" in shown and "映射版本" in shown
    assert '"/fhir/' not in html and '"/ui/p/' not in html


def test_the_operator_sees_the_numbers_and_may_follow_the_links(alliance: Alliance) -> None:
    html = page(alliance, f"/console/m/{key_of(alliance, 'PCT^血小板压积')}", role="admin")
    assert MA in html and MA_PHONE in html
    assert 'href="/fhir/Observation/' in html


def test_every_look_at_a_message_is_written_down_with_whom_it_is_about(alliance: Alliance) -> None:
    key = key_of(alliance, "PCT^血小板压积")
    page(alliance, f"/console/m/{key}")
    rows = alliance.run(alliance.gateway.store.audits(AuditQuery(user="demo-vendor", kind="console", limit=1)))
    row = rows[0][1]
    assert row.subtype == "message" and row.entities == (f"Binary/{key}",)
    assert row.patients == (alliance.person(MA)["id"],)


@pytest.mark.parametrize("marker", ["JY202603090150", "就诊流水号", "DICM"])
def test_documents_tables_and_images_are_shown_each_in_its_way(alliance: Alliance, marker: str) -> None:
    html = page(alliance, f"/console/m/{key_of(alliance, marker)}")
    if marker == "DICM":
        assert "原文是二进制" in html
    else:
        assert '<span class="line-no">2</span>' in html
        assert not re.search(r"(?<!\d)99\d{15}[\dX](?!\d)", html), "a card number is readable"


def test_an_unknown_message_is_said_in_words(alliance: Alliance) -> None:
    assert "没有找到" in page(alliance, "/console/m/m99999999", status=404)
    assert "没有找到" in page(alliance, "/console/nowhere", status=404)


def test_a_message_is_processed_again_on_request_and_nothing_doubles(empty: Alliance) -> None:
    empty.mllp(BROKEN)
    empty.drain()
    html = page(empty, "/console/m/m1")
    assert "已隔离" in html and "重新处理" in html
    with httpx.Client(base_url=empty.url) as browser:
        browser.post("/ui/signin", data={"next": "/console/", "token": TOKENS["vendor"]})
        assert browser.post("/console/m/m1/replay", data={}).status_code in (401, 403), "without its CSRF token"
        csrf = re.search(r'name="csrf" value="([^"]+)"', browser.get("/console/m/m1").text)
        assert csrf
        again = browser.post("/console/m/m1/replay", data={"csrf": csrf[1]})
        assert (again.status_code, again.headers["location"]) == (303, "/console/m/m1?replayed")
    empty.drain()
    rows = empty.run(empty.gateway.store.audits(AuditQuery(user="demo-vendor", kind="console", limit=20)))
    assert [row.subtype for _, row in rows].count("replay") == 1
    assert "已隔离" in page(empty, "/console/m/m1?replayed")


def test_a_vendor_of_one_member_sees_the_messages_of_that_member_alone(alliance: Alliance) -> None:
    _, cookie = alliance.call(lambda: alliance.gateway.access.sessions.start(LIS))
    headers = {"Cookie": set_cookie(cookie, secure=False).partition(";")[0]}
    with httpx.Client(base_url=alliance.url, headers=headers) as browser:
        log = browser.get("/console/").text
        held = alliance.run(alliance.gateway.inbox.messages.entries(source="county_tcm_hospital"))
        assert re.findall(r'/console/m/(m\d+)"', log) == [entry.key for entry in held]
        assert "市第一人民医院" not in log and "county_people_hospital" not in log
        assert "没有符合的消息" in browser.get("/console/?source=city_first_hospital").text
        assert browser.get(f"/console/m/{held[0].key}").status_code == 200
        foreign = key_of(alliance, "就诊流水号")
        assert browser.get(f"/console/m/{foreign}").status_code == 404
        csrf = re.search(r'name="csrf" value="([^"]+)"', browser.get("/console/try").text)
        assert csrf and browser.post(f"/console/m/{foreign}/replay", data={"csrf": csrf[1]}).status_code == 404
        form = {"csrf": csrf[1], "text": "MSH|", "source": "city_first_hospital"}
        assert browser.post("/console/try", data=form).status_code == 400


# ---- trying --------------------------------------------------------------------------------------
def test_samples_are_tried_in_the_charset_of_their_sender(alliance: Alliance) -> None:
    shown = words(page(alliance, "/console/try?sample=pct"))
    assert "通过 · 0 丢失" in shown and "GB18030" in shown and "没有声明" in shown
    assert "ACK^R01" in shown and "MSA|AA|1" in shown
    assert "51637-7" in shown and "OBX[2]-3" in shown and "X-9981" in shown
    assert "张珅" in page(alliance, "/console/try?sample=rare")


def test_all_samples_pass(alliance: Alliance) -> None:
    html = page(alliance, "/console/try")
    for key in re.findall(r'/console/try\?sample=(\w+)"', html):
        assert "通过 · 0 丢失" in words(page(alliance, f"/console/try?sample={key}")), key


def test_a_pasted_message_is_translated_and_nothing_is_kept(alliance: Alliance) -> None:
    before = alliance.run(alliance.gateway.inbox.messages.counts())
    text = alliance.run(alliance.gateway.inbox.messages.raw(key_of(alliance, "PCT^血小板压积")))
    assert text is not None
    html = attempt(alliance, text.body.decode("gb18030").replace("\r", "\r\n"), "county_tcm_hospital", "gb18030")
    assert "通过" in html and re.search(r'<a class="[^"]*" href="#t\d+">WBC', html)
    assert re.search(r'"status": <a href="#t\d+">&#34;final&#34;</a>', html)
    assert alliance.run(alliance.gateway.inbox.messages.counts()) == before


def test_a_faulty_message_is_answered_with_its_place_and_a_negative_ack(alliance: Alliance) -> None:
    text = "MSH|^~\\&|ESB|CITY1|GW|YLT|20260319101500||ORU^R01^ORU_R01|7|P|2.5.1\nPID|1||30||Z||2001XX19\nOBR|1||\n"
    html = attempt(alliance, text, "city_first_hospital")
    assert "未通过" in html and "为什么没有通过" in html and "怎么办" in html
    assert re.search(r"MSA\|A[ER]\|7", html) and "ERR|" in html
    assert re.search(r"GW-TRN-\d+", html)


@pytest.mark.parametrize(
    "text", ["garbage", "<a><b></a>", "{", "MSH|", "MSH", "\x00\x0b\x1c", "MSH|^~\\&|" + "~" * 9000]
)
def test_anything_may_be_pasted(alliance: Alliance, text: str) -> None:
    assert "未通过" in attempt(alliance, text) or not text.strip()


def test_what_is_pasted_is_shown_as_text_never_as_markup(alliance: Alliance) -> None:
    html = attempt(alliance, "<script>alert(1)</script>")
    assert "<script>alert" not in html and "&lt;script&gt;alert" in html


def test_more_than_256_kb_is_refused_in_words(alliance: Alliance) -> None:
    for size in (300_000, 900_000):
        form = {"text": "x" * size, "source": "sandbox"}
        answer = alliance.client.post("/console/try", data=form, headers=alliance.bearer("vendor"))
        assert answer.status_code == 413 and "内容过大" in answer.text


# ---- gaps ----------------------------------------------------------------------------------------
def test_gaps_name_unmapped_codes_with_a_message_to_look_at(alliance: Alliance) -> None:
    html = page(alliance, "/console/gaps")
    shown = words(html)
    assert "X-9981" in shown and "OBX-3" in shown
    line = next(one for one in re.findall(r"<tr>.*?</tr>", html, re.S) if "X-9981" in one)
    assert "<code>X-9981^异形淋巴细胞参数" in line, "as it was sent"
    assert re.search(r"<strong>\d+</strong>", line) and "医院" in line
    found = re.search(r'<a href="/console/m/(m\d+)">', line)
    assert found and "X-9981" in page(alliance, f"/console/m/{found[1]}")


def test_a_row_that_was_left_out_stands_in_the_log_and_among_the_gaps(alliance: Alliance) -> None:
    rows = [f"MZ26031{n},T0{n},吴德福,男,1942-01-15,2026-0{n}-10 09:05,全科" for n in (3, 2)]
    text = "\n".join(["就诊流水号,病人编号,姓名,性别,出生日期,就诊日期,科室", *rows]).replace(
        "2026-02-10", "2026-02-30"
    )
    assert alliance.push("township_health_centre", text.encode(), wait=5).is_success
    assert "1 处错误" in words(page(alliance, "/console/?source=township_health_centre"))
    assert "没有入库的部分" in page(alliance, "/console/gaps") and "GW-TRN-004" in page(alliance, "/console/gaps")


def test_gaps_show_others_codes_to_nobody_of_another_member(alliance: Alliance) -> None:
    html = alliance.client.get("/console/gaps", headers=alliance.bearer("doctor"))
    assert html.status_code == 403 and "X-9981" not in html.text


# ---- in a browser --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture
def vendor(browser: Browser, alliance: Alliance) -> Iterator[Seat]:
    with seat(browser, alliance.url, script=False) as here:
        here.go("/ui/signin?next=/console/")
        here.page.get_by_text("用访问令牌登录").click()
        here.page.locator("input[name=token]").fill(TOKENS["vendor"])
        here.page.locator("main button").first.click()
        here.page.wait_for_url("**/console/")
        yield here


@pytest.mark.browser
def test_no_console_page_scrolls_sideways_or_needs_a_script(vendor: Seat, alliance: Alliance) -> None:
    message = key_of(alliance, "PCT^血小板压积")
    table, document = key_of(alliance, "就诊流水号"), key_of(alliance, "JY202603090150")
    paths = ("/", "/try", "/try?sample=pct", "/try?sample=document", "/try?sample=table", "/gaps")
    for path in (*paths, f"/m/{message}", f"/m/{table}", f"/m/{document}"):
        vendor.go("/console" + path)
        assert vendor.page.locator("h1").count() == 1 and vendor.page.title()
        assert vendor.page.locator("table:not(:has(caption))").count() == 0
        for width in (1366, 768):
            assert vendor.overflow(width) == 0, (path, width)
    assert vendor.complaints == []


@pytest.mark.browser
def test_a_value_of_the_original_leads_to_its_line_in_the_trace(vendor: Seat) -> None:
    page = vendor.go("/console/try?sample=pct")
    page.get_by_role("link", name="PCT^血小板压积").click()
    target = page.locator("tr:target")
    assert "code" in target.inner_text() and "51637-7" in target.inner_text()
    page.locator("summary").first.click()
    page.get_by_role("button", name="试译").click()
    assert "通过 · 0 丢失" in vendor.text()


# ---- causes --------------------------------------------------------------------------------------
def test_what_is_quarantined_stands_by_cause_and_goes_back_as_a_group(empty: Alliance) -> None:
    for number in range(5):
        empty.push("county_tcm_hospital", BROKEN.replace(b"|7|P", b"|%d|P" % (70 + number)))
    empty.push("city_first_hospital", b"no message at all")
    empty.drain()
    html = page(empty, "/console/groups")
    assert "共 6 条" in html and words(html).count("重新处理") >= 2
    source, code, place = re.search(
        r'name="source" value="(county_tcm_hospital)"><input type="hidden" name="code" value="([^"]+)">'
        r'<input type="hidden" name="place" value="([^"]*)"', html,
    ).groups()  # type: ignore[union-attr]  # fmt: skip
    form = {"source": source, "code": code, "place": place}
    answer = empty.client.post("/console/groups", data=form, headers=empty.bearer("vendor"))
    assert answer.status_code == 303 and answer.headers["location"] == "/console/groups?replayed=5"
    empty.drain()
    assert "共 6 条" in page(empty, "/console/groups")  # nothing was mended, so all are apart again
    rows = [row for _, row in empty.run(empty.gateway.store.audits(AuditQuery(kind="console", subtype="replay")))]
    assert len(rows) == 1 and rows[0].query.startswith("5 messages: county_tcm_hospital")
    refused = empty.client.post("/console/groups", data={}, headers=empty.bearer("vendor"))
    assert refused.status_code == 400
