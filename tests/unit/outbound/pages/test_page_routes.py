"""The addresses of the pages: who may, what is written down, what is never shown."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import quote

import pytest

from gateway.model.resource import Json
from gateway.model.systems import RECORD_TAG, REVIEW
from gateway.store.base import Delete, Plan
from tests.builders import a_medication, a_patient, a_report, an_allergy, an_observation
from tests.unit.outbound.pages.conftest import TOKENS, Ward
from tests.unit.outbound.pages.test_page_summary import words

TABS = ["", "/visits", "/labs", "/cultures", "/imaging", "/medication", "/recognise", "/access"]
CARD = "990101194201150996"

SECRET = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}]}


@pytest.mark.parametrize("tab", TABS)
async def test_every_tab_names_resident_doctor_and_member(ward: Ward, tab: str) -> None:
    for patient, name in (("wu", "吴德福"), ("liu", "刘桂兰"), ("wang", "王秀英"), ("zhou", "周敏")):
        answer = await ward.get(f"/ui/p/{patient}{tab}")
        assert answer.status_code == 200
        assert name in answer.text and "<strong>郑医生</strong> 镇卫生院" in answer.text
        assert CARD not in answer.text


async def test_each_page_writes_one_row_before_it_answers(ward: Ward) -> None:
    await ward.get("/ui/p/wu/medication")
    rows = [row for row in await ward.audit(kind="page") if "wu" in row.patients]
    assert [(r.subtype, r.action, r.outcome, r.user, r.member, r.purpose) for r in rows] == [
        ("medication", "R", "0", "zheng", "township_health_centre", "TREAT")
    ]


async def test_without_a_row_nothing_is_shown(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(row: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(ward.store, "disclose", broken)
    answer = await ward.get("/ui/p/wu")
    assert answer.status_code == 500 and "吴德福" not in answer.text and "disk full" not in answer.text


async def test_pages_are_never_cached_and_carry_the_policy(ward: Ward) -> None:
    headers = (await ward.get("/ui/p/wu")).headers
    assert headers["cache-control"] == "no-store"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]


async def test_a_stranger_is_led_to_the_form_and_back(ward: Ward) -> None:
    answer = await ward.client.get("/ui/p/wu/labs")
    assert answer.headers["location"] == "/ui/signin?next=/ui/p/wu/labs"
    form = {"user": "zheng", "password": "right horse battery", "next": "/ui/p/wu/labs"}
    assert (await ward.client.post("/ui/signin", data=form)).headers["location"] == "/ui/p/wu/labs"


ELSEWHERE = ["//evil.example", "https://evil.example/ui/", "/ui/\\evil", "/fhir/Patient", "/ui/signout"]


@pytest.mark.parametrize("to", ELSEWHERE)
async def test_the_form_leads_nowhere_else(ward: Ward, to: str) -> None:
    form = {"user": "zheng", "password": "right horse battery", "next": to}
    assert (await ward.client.post("/ui/signin", data=form)).headers["location"] == "/ui/"
    assert to not in (await ward.client.get(f"/ui/signin?next={quote(to)}")).text or to.startswith("/ui/")


async def test_a_form_from_another_site_is_refused(ward: Ward) -> None:
    form = {"user": "zheng", "password": "right horse battery"}
    for said in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await ward.client.post("/ui/signin", data=form, headers=said)
        assert answer.status_code == 401 and "set-cookie" not in answer.headers, said


async def test_over_tls_the_cookie_goes_nowhere_else(ward: Ward) -> None:
    form = {"user": "zheng", "password": "right horse battery"}
    for scheme in ("http", "https"):
        answer = await ward.client.post(f"{scheme}://{ward.client.base_url.host}/ui/signin", data=form)
        assert ("; Secure" in answer.headers["set-cookie"]) is (scheme == "https")


async def test_wrong_password_and_unknown_name_read_the_same(ward: Ward) -> None:
    wrong = await ward.client.post("/ui/signin", data={"user": "zheng", "password": "x"})
    nobody = await ward.client.post("/ui/signin", data={"user": "nobody", "password": "x"})
    assert wrong.status_code == nobody.status_code == 401
    assert wrong.text == nobody.text


async def test_whoever_guesses_elsewhere_does_not_lock_a_doctor_out_of_the_own_browser(ward: Ward) -> None:
    right, wrong = {"user": "zheng", "password": "right horse battery"}, {"user": "zheng", "password": "x"}
    first = await ward.client.post("/ui/signin", data=right)
    device = next(one for one in first.headers.get_list("set-cookie") if one.startswith("gateway_device="))
    assert "HttpOnly" in device and "Path=/ui;" in device
    cookies = dict(ward.client.cookies)
    ward.client.cookies.clear()
    for _ in range(5):
        assert (await ward.client.post("/ui/signin", data=wrong)).status_code == 401
    refused = await ward.client.post("/ui/signin", data=right)
    assert refused.status_code == 401 and "平时登录的电脑" in refused.text
    ward.client.cookies.set("gateway_device", cookies["gateway_device"])
    assert (await ward.client.post("/ui/signin", data=right)).status_code == 303


async def test_a_token_pasted_as_password_without_a_name_signs_in(ward: Ward) -> None:
    answer = await ward.client.post("/ui/signin", data={"user": "", "password": f" {TOKENS['doctor']} "})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/")
    assert (
        await ward.client.post("/ui/signin", data={"user": "zheng", "password": TOKENS["doctor"]})
    ).status_code == 401


async def test_sign_out_ends_the_session_for_good(ward: Ward) -> None:
    csrf = await ward.sign_in()
    cookie = dict(ward.client.cookies)
    await ward.client.post("/ui/signout", data={"csrf": csrf})
    ward.client.cookies.update(cookie)
    assert (await ward.client.get("/ui/p/wu")).status_code == 303


async def test_signing_in_ends_the_session_of_whoever_sat_there_before(ward: Ward) -> None:
    await ward.sign_in()
    before = dict(ward.client.cookies)
    await ward.sign_in()
    assert [row.subtype for row in await ward.audit(kind="login")] == ["110122", "110123", "110122"]
    ward.client.cookies.clear()
    ward.client.cookies.update(before)
    assert (await ward.client.get("/ui/p/wu")).status_code == 303


async def test_every_way_in_and_out_is_written_down(ward: Ward) -> None:
    await ward.client.post("/ui/signin", data={"user": "990101194201150996", "password": "x"})
    await ward.client.post("/ui/signin", data={"token": "nobody has this"})
    await ward.client.post("/ui/signout", data={"csrf": await ward.sign_in()})
    rows = [(row.subtype, row.outcome, row.user) for row in reversed(await ward.audit(kind="login"))]
    assert rows[0] == ("110122", "4", "990101********0996")  # a card number typed where the name goes is hidden
    assert rows[1] == ("110122", "4", "") and rows[2:] == [("110122", "0", "zheng"), ("110123", "0", "zheng")]


async def test_an_idle_session_ends_after_a_quarter_of_an_hour(ward: Ward) -> None:
    await ward.sign_in()
    ward.clock.at += timedelta(minutes=16)
    assert (await ward.client.get("/ui/p/wu")).status_code == 303


async def test_a_vendor_gets_a_refusal_that_is_written_down_nowhere_as_shown(ward: Ward) -> None:
    answer = await ward.get("/ui/p/wu", "vendor")
    assert answer.status_code == 403 and "吴德福" not in answer.text
    assert not [row for row in await ward.audit(kind="page", outcome="0") if row.user == "lis"]


async def test_a_doctor_of_another_alliance_learns_nothing(ward: Ward) -> None:
    theirs, absent = await ward.get("/ui/p/wu", "other"), await ward.get("/ui/p/nobody-at-all", "other")
    assert theirs.status_code == absent.status_code == 404
    strip = re.compile(r"请求号 <code>\w+</code>")
    assert strip.sub("", theirs.text) == strip.sub("", absent.text)
    refused = [row for row in await ward.audit(kind="page") if row.outcome == "4"]
    assert {row.user for row in refused} == {"qian"} and not any(row.patients for row in refused)


async def test_search_needs_the_forms_token(ward: Ward) -> None:
    await ward.sign_in()
    answer = await ward.client.post("/ui/search", data={"resident": CARD})
    assert answer.status_code == 401 and CARD not in answer.text


async def test_a_card_number_is_in_no_address_no_page_and_no_row(ward: Ward) -> None:
    csrf = await ward.sign_in()
    posted = await ward.client.post("/ui/search", data={"resident": CARD, "csrf": csrf})
    to = posted.headers["location"]
    page = await ward.client.get(to)
    assert "吴德福" in page.text and "990101********0996" in page.text
    rows = await ward.audit(kind="page")
    for text in (to, page.text, *(repr(row) for row in rows)):
        assert CARD not in text and CARD[6:14] not in text.replace("1942-01-15", "")
    assert rows[0].subtype == "search" and rows[0].action == "E" and "wu" in rows[0].patients


async def test_a_result_page_is_the_doctors_own_and_grows_old(ward: Ward) -> None:
    csrf = await ward.sign_in()
    to = (await ward.client.post("/ui/search", data={"resident": CARD, "csrf": csrf})).headers["location"]
    assert "吴德福" not in (await ward.get(to, "other")).text
    ward.clock.at += timedelta(minutes=14)
    assert "找到 1 位" in (await ward.client.get(to)).text
    ward.clock.at += timedelta(minutes=2)
    stale = await ward.client.get(to)
    assert "已过期" in stale.text and "找到" not in words(stale.text).replace("没有找到", "")


async def test_what_cannot_be_searched_is_explained(ward: Ward) -> None:
    csrf = await ward.sign_in()
    to = (await ward.client.post("/ui/search", data={"resident": "吴德福", "csrf": csrf})).headers["location"]
    answer = await ward.client.get(to)
    assert answer.status_code == 200 and "没有查找" in answer.text and "出生年月" in answer.text


async def test_recent_residents_are_those_opened_newest_first(ward: Ward) -> None:
    for patient in ("wu", "liu", "wu", "zhao"):
        ward.clock.at += timedelta(seconds=1)
        await ward.get(f"/ui/p/{patient}")
    html = (await ward.get("/ui/")).text
    listed = html[html.index('id="recent"') : html.index('id="todo"')]
    assert re.findall(r"/ui/p/(\w+)", listed) == ["zhao", "wu", "liu"]


async def test_a_critical_value_waits_on_the_start_page(ward: Ward) -> None:
    text = words((await ward.get("/ui/")).text)
    assert re.search(r"危急值 ?赵丽 · 血小板 18", text) and "已告知周医生" in text


async def test_only_critical_results_that_stand_wait_on_the_start_page(ward: Ward) -> None:
    def potassium(id: str, value: str, at: str, flag: str = "") -> Json:
        times = {"collected": f"{at}:00+08:00", "issued": f"{at}:00+08:00"}
        return an_observation(id, "钾", value, "mmol/L", loinc="2823-3", ucum="mmol/L", flag=flag, **times)

    low = potassium("k", "2.3", "2026-03-19T08:00", "LL")
    await ward.put(a_patient(name="郑复查"), low, potassium("again", "4.1", "2026-03-20T08:00"), patient="answered")
    await ward.put(a_patient(name="郑长寿"), potassium("k", "6.9", "2017-02-15T08:00", "HH"), patient="history")
    imaging = [{"coding": [{"code": "imaging"}]}]
    ejected = an_observation(
        "ef", "左室射血分数", "18", "%", flag="LL", category=imaging, effectiveDateTime="2026-03-19"
    )
    untimed = an_observation("pao2", "氧分压", "31", "mmHg", flag="LL", status="preliminary")
    del untimed["effectiveDateTime"], untimed["issued"]
    await ward.put(a_patient(name="郑影"), ejected, untimed, patient="echo")
    text = words((await ward.get("/ui/")).text)
    assert (
        "左室射血分数 18 %" in text and re.search("氧分压 31 mmHg.*市第一人民医院 初步", text) and "血小板 18" in text
    )
    assert "郑复查" not in text and "郑长寿" not in text


async def test_a_merged_resident_leads_to_the_survivor_with_a_note(ward: Ward) -> None:
    link = [{"type": "replaced-by", "other": {"reference": "Patient/wu"}}]
    await ward.put(a_patient("old", active=False, link=link), patient="old")
    for tab in ("", "/labs"):
        answer = await ward.get(f"/ui/p/old{tab}")
        assert answer.status_code == 303 and answer.headers["location"] == f"/ui/p/wu{tab}?merged=1"
    assert "已并入本档案" in (await ward.get("/ui/p/wu?merged=1")).text


async def test_a_provisional_person_says_so(ward: Ward) -> None:
    tag = {"meta": {"tag": [{"system": RECORD_TAG, "code": "provisional"}]}}
    await ward.put(a_patient("child", name="孙浩然", active=False, **tag), patient="child")
    answer = await ward.get("/ui/p/child")
    assert answer.status_code == 200 and "这是临时档案" in answer.text


async def test_a_provisional_person_is_no_hit_but_is_said_to_wait(ward: Ward) -> None:
    tag = {"meta": {"tag": [{"system": RECORD_TAG, "code": "provisional"}]}}
    child = a_patient("child", name="孙浩然", birth="2019-05-06", active=False, **tag)
    await ward.put(child, patient="child")
    csrf = await ward.sign_in()
    for typed, said in (("孙浩 2019-05", "有 1 份临时档案与输入相符"), ("孙浩 2019-06", "没有相符的居民")):
        answer = await ward.client.post("/ui/search", data={"csrf": csrf, "resident": typed}, follow_redirects=True)
        assert said in answer.text and "/ui/p/child" not in answer.text.partition("最近调阅")[0]


async def test_a_report_keeps_its_versions_and_an_old_one_says_it_is_old(ward: Ward) -> None:
    first = an_observation("k", "钾", "6.8", "mmol/L", loinc="2823-3", ucum="mmol/L", flag="HH")
    await ward.put(a_patient(), first, a_report("r", "电解质", [first]), patient="chen")
    second = an_observation("k", "钾", "4.2", "mmol/L", loinc="2823-3", ucum="mmol/L", status="corrected")
    ward.clock.at += timedelta(hours=1)
    await ward.put(second, a_report("r", "电解质", [second], status="corrected"), patient="chen")
    summary = words((await ward.get("/ui/p/chen")).text)
    assert re.search(r"无未处理危急值。钾 4\.2 mmol/L 已更正.*更正前 6\.8", summary)
    now = (await ward.get("/ui/p/chen/report/chen-r")).text
    assert "4.2" in now and "6.8" not in now and "version=1" in now
    then = (await ward.get("/ui/p/chen/report/chen-r?version=1")).text
    assert "6.8" in then and "4.2" not in then and "这是旧版本" in then


async def test_a_final_value_replaced_by_another_final_one_reads_corrected(ward: Ward) -> None:
    first = an_observation("k", "钾", "6.8", "mmol/L", loinc="2823-3", ucum="mmol/L", flag="HH")
    await ward.put(a_patient(), first, a_report("r", "电解质", [first]), patient="chen")
    await ward.put(an_observation("k", "钾", "4.2", "mmol/L", loinc="2823-3", ucum="mmol/L"), patient="chen")
    assert "已更正，原 6.8 mmol/L" in words((await ward.get("/ui/p/chen/labs")).text)
    assert re.search(r"钾 4\.2 mmol/L 已更正.*更正前 6\.8", words((await ward.get("/ui/p/chen")).text))


async def test_another_residents_report_is_not_shown_under_this_one(ward: Ward) -> None:
    assert (await ward.get("/ui/p/liu/report/liu-r2")).status_code == 200
    answer = await ward.get("/ui/p/wu/report/liu-r2")
    assert answer.status_code == 404 and "1.20" not in answer.text


async def test_a_deleted_report_is_not_read_by_its_old_address(ward: Ward) -> None:
    assert (await ward.get("/ui/p/liu/report/liu-r2")).status_code == 200
    await ward.store.commit(Plan(deletes=(Delete("DiagnosticReport", "liu-r2"),)))
    answer = await ward.get("/ui/p/liu/report/liu-r2")
    assert answer.status_code == 410 and "已删除" in answer.text and "1.20" not in answer.text


async def lin(ward: Ward) -> None:
    """A resident with a result, a drug and an allergy that a label keeps from doctors."""
    url = "http://terminology.hl7.org/CodeSystem/allergyintolerance-"
    states = {"clinicalStatus": ("clinical", "active"), "verificationStatus": ("verification", "confirmed")}
    coded = {key: {"coding": [{"system": url + kind, "code": code}]} for key, (kind, code) in states.items()}
    allergy = an_allergy(meta=SECRET, **coded)
    hiv = an_observation("hiv", "HIV抗体", "阳性", meta=SECRET)
    none = an_allergy("nka", code={"coding": [{"code": "no-known-allergy"}]}, **coded)
    await ward.put(a_patient(), hiv, allergy, none, a_medication(meta=SECRET), patient="lin")


async def test_what_a_label_withholds_is_said_to_exist_and_nothing_more(ward: Ward) -> None:
    await lin(ward)
    for tab, box in (("", "异常检验：无权查看"), ("labs", "检验：无权查看"), ("medication", "当前用药：无权查看")):
        text = words((await ward.get(f"/ui/p/lin/{tab}".rstrip("/"))).text)
        assert "另有资料无权查看：结果 1 条、用药 1 条、过敏 1 条。" in text and box in text
        assert "过敏史无权查看" in text and "过敏史未记录" not in text and "无已知过敏" not in text
        assert "HIV" not in text and "青霉素" not in text and "阿司匹林" not in text
    assert "无权查看：" not in words((await ward.get("/ui/p/wu")).text)


async def test_who_says_why_sees_what_labels_withhold_of_this_resident_for_four_hours(ward: Ward) -> None:
    await lin(ward)
    await ward.put(a_patient(), an_observation("hiv", "HIV抗体", "阳性", meta=SECRET), patient="mei")
    csrf = await ward.sign_in()
    form = {"csrf": csrf, "reason": "昏迷送来，须知用药"}
    assert 'href="/ui/p/lin/glass"' in (await ward.client.get("/ui/p/lin/labs")).text
    assert "四小时内有效" in (await ward.client.get("/ui/p/lin/glass")).text
    short = await ward.client.post("/ui/p/lin/glass", data=form | {"reason": " 急 诊 "})
    assert short.status_code == 200 and "请写明理由" in short.text
    assert (await ward.client.post("/ui/p/lin/glass", data=form | {"csrf": "x"})).status_code == 401
    assert "HIV" not in (await ward.client.get("/ui/p/lin/labs")).text
    assert (await ward.client.post("/ui/p/lin/glass", data=form)).headers["location"] == "/ui/p/lin"
    shown = await ward.client.get("/ui/p/lin/labs")
    assert "HIV抗体" in shown.text and "破玻璃查看中，至" in words(shown.text) and "无权查看" not in words(shown.text)
    for path in ("/ui/p/mei/labs", "/ui/p/lin/report/mei-hiv"):
        assert "HIV" not in (await ward.client.get(path)).text, "of nobody else"
    for other in ("doctor", "other"):
        seen = await ward.get("/ui/p/lin/labs", other)
        assert ("HIV抗体" in seen.text) is (other == "doctor"), "the same doctor by another way, and no other"
    stated, looked = await ward.audit(subtype="110127"), await ward.audit(subtype="labs", patient="lin")
    assert [(row.user, row.patients, row.purpose, row.detail) for row in stated] == [
        ("zheng", ("lin",), "BTG", "昏迷送来，须知用药")
    ]
    assert {row.purpose for row in looked[:2]} == {"BTG"} and {row.purpose for row in looked[2:]} == {"TREAT"}
    page = words((await ward.client.get("/ui/p/lin/access")).text)
    assert "安全 · 破玻璃" in page
    ward.clock.at += timedelta(hours=4, seconds=1)
    csrf = await ward.sign_in()
    assert "HIV" not in (await ward.client.get("/ui/p/lin/labs")).text
    nothing = await ward.client.post("/ui/p/wu/glass", data={"csrf": csrf, "reason": "没有受限的资料可看"})
    assert nothing.status_code == 303 and len(await ward.audit(subtype="110127")) == 1


async def test_a_form_sent_inside_a_report_is_a_download_of_this_resident_alone(ward: Ward) -> None:
    form = {"contentType": "application/pdf", "data": "JVBERi0=", "title": "超声"}
    await ward.put(a_report("us", "超声", category="US", presentedForm=[form]), patient="wu")
    assert "/ui/p/wu/report/wu-us/attachment/0" in (await ward.get("/ui/p/wu/report/wu-us")).text
    answer = await ward.get("/ui/p/wu/report/wu-us/attachment/0")
    assert answer.content == b"%PDF-" and answer.headers["content-disposition"] == 'attachment; filename="wu-us-1.pdf"'
    assert "sandbox" in answer.headers["content-security-policy"]
    for other in ("/ui/p/liu/report/wu-us/attachment/0", "/ui/p/wu/report/wu-us/attachment/1"):
        assert (await ward.get(other)).status_code == 404


async def test_an_original_is_a_download_that_cannot_act(ward: Ward) -> None:
    document = {
        "resourceType": "DocumentReference",
        "id": "d",
        "status": "current",
        "subject": {"reference": "Patient/p1"},
        "content": [{"attachment": {"url": "Binary/raw-7"}}],
    }
    await ward.put(document, patient="wu")
    ward.originals["raw-7"] = b"<html><script>alert(1)</script></html>"
    answer = await ward.get("/ui/p/wu/original/wu-d")
    assert answer.content == ward.originals["raw-7"]
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert (await ward.get("/ui/p/liu/original/wu-d")).status_code == 404


async def test_pictures_are_refused_to_those_who_may_not_see_the_study(ward: Ward) -> None:
    path = "/dicom-web/studies/2.25.100/series/2.25.1/instances/2.25.1.1/rendered"
    assert (await ward.client.get(path)).status_code == 401
    assert (await ward.get(path, "other")).status_code == 404
    assert (await ward.get(path.replace("2.25.1.1/", "2.25.9.9/"))).status_code == 404
    assert (await ward.get(path + "?url=http://evil.example")).status_code in (400, 403, 404)


async def test_a_pacs_that_is_not_allowed_is_said_in_words(ward: Ward) -> None:
    text = words((await ward.get("/ui/p/wang/imaging/wang-s1")).text)
    assert "影像" in text and ("没有应答" in text or "没有送来" in text)


async def test_static_files_are_kept_for_good_and_only_under_their_own_hash(ward: Ward) -> None:
    html = (await ward.client.get("/ui/signin")).text
    found = re.findall(r"/ui/static/[\w.-]+", html)
    assert len(found) >= 2
    for path in found:
        answer = await ward.client.get(path)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    for other in ("app.000000000000.css", "%00.1.css", f"{'a' * 300}.1.css"):
        assert (await ward.client.get(f"/ui/static/{other}")).status_code == 404, other


async def test_a_huge_form_is_refused_before_it_is_read_whole(ward: Ward) -> None:
    answer = await ward.client.post("/ui/signin", content=b"user=" + b"a" * 200_000)
    assert answer.status_code == 413


async def test_an_open_identity_review_is_seen_on_the_start_page_in_hits_and_on_the_persons_page(ward: Ward) -> None:
    task = {
        "resourceType": "Task",
        "id": "t",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": REVIEW, "code": "card-contradicts-birth"}]},
        "reasonCode": {"text": "证件与出生日期不符"},
        "for": {"reference": "Patient/p1"},
        "focus": {"reference": "Patient/wu"},
        "authoredOn": "2026-03-19T08:00:00+08:00",
        "input": [{"type": {"text": "candidate"}, "valueReference": {"reference": "Patient/wu"}}],
    }
    tag = {"meta": {"tag": [{"system": RECORD_TAG, "code": "provisional"}]}}
    await ward.put(a_patient("child", name="吴小福", active=False, **tag), task, patient="child")
    start = words((await ward.get("/ui/")).text)
    assert "吴小福 待复核" in start and "证件与出生日期不符" in start
    csrf = await ward.sign_in()
    to = (await ward.client.post("/ui/search", data={"resident": CARD, "csrf": csrf})).headers["location"]
    hits = words((await ward.client.get(to)).text)
    assert "待复核：有记录证件与出生日期不符" in hits
    assert "身份待复核：证件与出生日期不符" in words((await ward.get("/ui/p/child")).text)
    done = {**task, "status": "completed"}
    await ward.put(done, patient="child")
    assert "待复核" not in words((await ward.get("/ui/")).text).replace("近 3 天到达的危急值 · 待复核身份", "").replace(
        "没有待复核的身份", ""
    )


async def test_a_document_is_read_by_its_sections_without_anything_active(ward: Ward) -> None:
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><p>好转</p></div>'
    composition = {
        "resourceType": "Composition",
        "id": "c",
        "status": "final",
        "identifier": {"system": "urn:x", "value": "DOC-1"},
        "type": {"text": "出院小结"},
        "subject": {"reference": "Patient/p1"},
        "date": "2026-03-06T10:00:00+08:00",
        "author": [{"display": "孙医生"}],
        "title": "出院小结",
        "section": [{"title": "诊疗经过", "text": {"status": "generated", "div": div}}],
    }
    document = {
        "resourceType": "DocumentReference",
        "id": "d",
        "masterIdentifier": {"system": "urn:x", "value": "DOC-1"},
        "status": "superseded",
        "type": {"text": "出院小结"},
        "subject": {"reference": "Patient/p1"},
        "date": "2026-03-06T10:00:00+08:00",
        "content": [{"attachment": {"url": "Binary/raw-7"}}],
    }
    await ward.put(composition, document, patient="wu")
    html = (await ward.get("/ui/p/wu/document/wu-d")).text
    assert "诊疗经过" in html and "<p>好转</p>" in html and "已替换" in html
    listed = words((await ward.get("/ui/p/wu/visits")).text)
    assert "出院小结" in listed and "已替换" in listed
    assert (await ward.get("/ui/p/liu/document/wu-d")).status_code == 404
