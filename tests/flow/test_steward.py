"""The steward decides in a browser; the resident's record, FHIR and the audit follow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from gateway.store.base import AuditQuery
from tests.flow.alliance import TOKENS, Alliance
from tests.flow.browser import Seat, launched, seat
from tests.flow.messages import SENDER


def registration(number: str, control: str, card: str = "") -> bytes:
    """王芳 registered under a number of the city hospital, without any card or with this one."""
    sender = "|".join(SENDER)
    lines = (
        f"MSH|^~\\&|{sender}|GATEWAY|ALLIANCE|20260319083000||ADT^A04^ADT_A01|{control}|P|2.5.1||||||UNICODE UTF-8",
        f"PID|1||{number}^^^CITY1^MR{f'~{card}^^^^NI' if card else ''}||王芳||19700506|F",
        "PV1|1|O",
    )
    return ("\r".join(lines) + "\r").encode()


@pytest.fixture
def two(empty: Alliance) -> Alliance:
    for number, control in (("W001", "W1"), ("W002", "W2")):
        assert empty.push("city_first_hospital", registration(number, control)).status_code == 202
    empty.drain()
    return empty


def people(alliance: Alliance) -> set[str]:
    return {one["id"] for one in alliance.found("Patient", name="王芳")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture
def steward(browser: Browser, two: Alliance) -> Iterator[Seat]:
    with seat(browser, two.url, script=False) as here:
        here.go("/ui/signin?next=/console/people")
        here.page.get_by_text("用访问令牌登录").click()
        here.page.locator("input[name=token]").fill(TOKENS["admin"])
        here.page.locator("main button").first.click()
        here.page.wait_for_url("**/console/people")
        yield here


def test_the_desk_is_for_stewards_alone(two: Alliance) -> None:
    for role in ("vendor", "doctor", "platform"):
        assert two.client.get("/console/people", headers=two.bearer(role)).status_code == 403, role
    assert "主索引复核" not in two.client.get("/console/", headers=two.bearer("vendor")).text


@pytest.mark.browser
def test_a_merge_and_its_undoing_are_two_clicks(steward: Seat, two: Alliance) -> None:
    before = people(two)
    assert len(before) == 2
    assert "姓名、出生日期、性别相同" in steward.text()
    steward.page.get_by_label("依据").fill("电话核实")
    steward.page.get_by_role("button", name="是同一人，合并").click()
    assert "已合并为一人" in steward.text() and "没有待复核的身份" in steward.text()
    (survivor,) = people(two)
    numbers = {one["value"] for one in two.fhir(f"Patient/{survivor}")["identifier"]}
    assert {"W001", "W002"} <= numbers
    rows = [row for _, row in two.run(two.gateway.store.audits(AuditQuery(kind="merge")))]
    assert [(row.subtype, row.role) for row in rows] == [("merge", "admin")] and set(rows[0].patients) == before
    steward.page.get_by_role("button", name="撤销").click()
    assert "已撤销" in steward.text() and people(two) == before
    assert steward.overflow(1366) == 0 and steward.overflow(768) == 0 and steward.complaints == []


@pytest.mark.browser
def test_what_a_card_joined_is_listed_with_whose_card_it_was_and_taken_back(steward: Seat, two: Alliance) -> None:
    before, number = people(two), "990101197005060022"
    for turn, control in (("W001", "C1"), ("W002", "C2")):
        assert two.push("city_first_hospital", registration(turn, control, number)).status_code == 202
        two.drain()
    assert len(people(two)) == 1
    steward.go("/console/people")
    row = steward.page.locator("section", has=steward.page.get_by_role("heading", name="凭证件自动归并")).locator(
        "tbody tr"
    )
    assert "凭证件归并，全部本地号" in row.inner_text() and "市第一人民医院 W002，证件尾号 0022" in row.inner_text()
    assert steward.overflow(1366) == 0 and steward.overflow(768) == 0
    row.get_by_role("button", name="撤销").click()
    assert "已撤销" in steward.text() and people(two) == before
    assert "证件号相同，凭证件的归并已撤销" in steward.text() and "还没有凭证件的归并" in steward.text()
    steward.page.get_by_role("button", name="不是同一人").click()
    assert "没有待复核的身份" in steward.text() and people(two) == before and steward.complaints == []


@pytest.mark.browser
def test_two_persons_stay_two(steward: Seat, two: Alliance) -> None:
    before = people(two)
    steward.page.get_by_role("button", name="不是同一人").click()
    assert "已记为不同的人" in steward.text() and "没有待复核的身份" in steward.text()
    assert people(two) == before
    task = two.found("Task", status="rejected")[0]
    assert task["owner"]["display"]
    assert steward.overflow(1366) == 0 and steward.overflow(768) == 0
    steward.page.get_by_role("button", name="撤销").click()
    assert "已撤销，问题重新待复核" in steward.text() and "姓名、出生日期、性别相同" in steward.text()
    assert people(two) == before and steward.complaints == []


def test_records_one_card_joined_are_shown_beside_each_other(two: Alliance) -> None:
    number = "990101197005060022"
    for turn, control, name in (("W001", "C1", "王芳"), ("W003", "C3", "王秀芳")):
        sent = registration(turn, control, number).replace("王芳".encode(), name.encode())
        assert two.push("city_first_hospital", sent).status_code == 202
    two.drain()
    page = two.client.get("/console/people", headers=two.bearer("admin")).text
    assert "市第一人民医院 W003（本条）" in page and "市第一人民医院 W001" in page
    assert "<td>王秀芳</td>" in page and '<td><strong class="differs">王芳</strong> <small>不同</small></td>' in page


def test_a_passport_is_among_what_is_compared(empty: Alliance) -> None:
    for number, control in (("W001", "W1"), ("W002", "W2")):
        sent = registration(number, control).replace(b"||\xe7", b"~E12345678^^^^PPN||\xe7", 1)
        assert empty.push("city_first_hospital", sent).status_code == 202
    empty.drain()
    page = empty.client.get("/console/people", headers=empty.bearer("admin")).text
    assert page.count("护照 E12345678") == 2


def test_a_decision_needs_an_answer_and_the_session_behind_the_form(two: Alliance) -> None:
    (task,) = two.found("Task", status="requested")
    where = f"/console/people/{task['id']}"
    answer = two.client.post(where, data={}, headers=two.bearer("admin"))
    assert answer.status_code == 400 and "请选择一项结论" in answer.text
    assert two.client.post(where, data={"verdict": "different"}).status_code in (401, 403)
    assert two.client.post(where, data={"verdict": "different"}, headers=two.bearer("vendor")).status_code == 403
    nobody = two.client.post(where, data={"verdict": "same:nobody"}, headers=two.bearer("admin"))
    assert nobody.status_code == 404
