"""What a doctor decides on the recognition page, and what the office counts of it."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest

from gateway.model.query import Query
from gateway.model.resource import Json, loads
from gateway.recognise.acts import of_issue
from gateway.recognise.reasons import Verdict
from tests.builders import M4, a_report, an_observation
from tests.unit.outbound.pages.conftest import Ward
from tests.unit.outbound.pages.residents import DOCTOR
from tests.unit.outbound.pages.test_page_summary import words

REPORT = "wu-r9"


async def two_items(ward: Ward) -> None:
    """Albumin and creatinine of yesterday, and a GGT whose assessment failed."""
    times = {"collected": "2026-03-19T08:00:00+08:00", "issued": "2026-03-19T10:00:00+08:00"}
    items = [
        an_observation("a9", "白蛋白", "41", "g/L", loinc="1751-7", **times),
        an_observation("b9", "肌酐", "63", loinc="14682-9", **times),
        an_observation("c9", "γ-谷氨酰转移酶", "61", "U/L", loinc="2324-2", **times),
    ]
    await ward.put(*items, a_report("r9", results=items, **times), patient="wu")


async def decide(ward: Ward, csrf: str, **form: str) -> str:
    """Where the form leads."""
    fields = {"csrf": csrf, "report": REPORT} | {name.replace("item_", "item-"): value for name, value in form.items()}
    answer = await ward.client.post("/ui/p/wu/recognise", data=fields)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def issues(ward: Ward) -> list[Json]:
    page = await ward.store.search(Query("DetectedIssue"), DOCTOR)
    return [loads(row.body) for row in page.matches]


async def test_a_decision_is_kept_with_items_reason_and_doctor_and_shown(ward: Ward) -> None:
    await two_items(ward)
    csrf = await ward.sign_in()
    await decide(ward, csrf, **{"decision": "recognised", "item-wu-a9": "on"})
    to = await decide(ward, csrf, decision="repeated", reason="03", note="拟行手术", **{"item-wu-b9": "on"})
    assert to == f"/ui/p/wu/recognise?report={REPORT}&said=recorded#decide"
    acts = sorted(filter(None, map(of_issue, await issues(ward))), key=lambda act: act.kind)
    assert [(act.kind, [item.code for item in act.items], act.doctor) for act in acts] == [
        ("recognised", ["LAB-ALB"], "郑医生（镇卫生院）"),
        ("repeated", ["LAB-CREA"], "郑医生（镇卫生院）"),
    ]
    assert (acts[0].items[0].verdict, acts[0].items[0].because) == (Verdict.YES, "生化 30 天 · 质评合格")
    assert acts[1].sentence.endswith("不予互认，理由：对治疗措施选择意义重大（手术、输血等前）：拟行手术。")
    shown = words((await ward.get(f"/ui/p/wu/recognise?report={REPORT}&said=recorded")).text)
    assert "予以互认：白蛋白" in shown and "重新检查：肌酐" in shown and "拟行手术" in shown and "已记录" in shown
    rows = [row for row in await ward.audit(kind="page") if row.subtype == "decide"]
    assert [(row.action, row.patients, row.entities[1]) for row in rows] == 2 * [
        ("C", ("wu",), f"DiagnosticReport/{REPORT}")
    ]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"item-wu-a9": "on"}, "no-decision"),
        ({"decision": "recognised"}, "no-items"),
        ({"decision": "recognised", "item-wu-zz": "on"}, "no-items"),
        ({"decision": "recognised", "item-wu-c9": "on"}, "no-items"),
        ({"decision": "repeated", "item-wu-a9": "on"}, "no-reason"),
        ({"decision": "repeated", "item-wu-a9": "on", "reason": "expired"}, "no-reason"),
        ({"decision": "repeated", "item-wu-a9": "on", "reason": "08", "note": " "}, "no-note"),
    ],
)
async def test_what_is_missing_is_said_and_nothing_kept(ward: Ward, form: dict[str, str], said: str) -> None:
    await two_items(ward)
    csrf = await ward.sign_in()
    to = await decide(ward, csrf, **form)
    assert f"said={said}#" in to and await issues(ward) == []
    assert "没有记录：" in words((await ward.get(to)).text)


async def test_the_same_decision_twice_a_day_is_one(ward: Ward) -> None:
    await two_items(ward)
    csrf = await ward.sign_in()
    for items in ({"item-wu-a9": "on"}, {"item-wu-a9": "on", "item-wu-b9": "on"}):
        await decide(ward, csrf, decision="recognised", **items)
        ward.clock.at += timedelta(minutes=1)
    assert [len(issue["evidence"]) for issue in await issues(ward)] == [2]


async def test_a_decision_needs_the_forms_token_and_a_report_of_this_resident(ward: Ward) -> None:
    csrf = await ward.sign_in()
    form = {"report": "liu-r1", "decision": "recognised", "item-": "on"}
    assert (await ward.client.post("/ui/p/wu/recognise", data=form)).status_code in (401, 403)
    answer = await ward.client.post("/ui/p/wu/recognise", data=form | {"csrf": csrf})
    assert answer.status_code == 404 and await issues(ward) == []


async def test_the_office_reads_the_month_by_member_origin_item_and_reason(ward: Ward) -> None:
    await two_items(ward)
    csrf = await ward.sign_in()
    await decide(ward, csrf, **{"decision": "recognised", "item-wu-a9": "on"})
    await decide(ward, csrf, decision="repeated", reason="99", **{"item-wu-b9": "on"})
    page = await ward.get("/ui/recognition?month=2026-03")
    said = words(page.text)
    assert "予以互认 1 项 · 重新检查 0 项 · 不计入 1 项 · 互认率 100.0%" in said
    assert "镇卫生院" in said and "市第一人民医院" in said and "LAB-ALB 白蛋白" in said and "99需连续监测" in said
    assert "省临床检验中心室间质评 2025" in said and "不合格" in said and "已过期" not in said
    assert "吴德福" not in page.text and "本月没有记录" in words((await ward.get("/ui/recognition?month=2026-02")).text)
    answer = await ward.get("/ui/recognition.csv?month=2026-03")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [(row["互认编码"], row["予以互认"], row["重新检查（不计入）"]) for row in rows] == [
        ("LAB-ALB", "1", "0"),
        ("LAB-CREA", "0", "1"),
    ]
    assert {row["来源机构"] for row in rows} == {"市第一人民医院"}
    rows = [row for row in await ward.audit(kind="page") if row.subtype == "statistics"]
    assert {(row.action, row.query, row.patients) for row in rows} == {
        ("E", "month=2026-03", ()),
        ("E", "month=2026-02", ()),
    }


async def test_a_month_begins_and_ends_in_china(ward: Ward) -> None:
    await two_items(ward)
    csrf = await ward.sign_in()
    ward.clock.at = ward.clock.at.replace(month=4, day=1, hour=0, minute=0)
    csrf = await ward.sign_in()
    await decide(ward, csrf, **{"decision": "recognised", "item-wu-a9": "on"})
    assert "本月没有记录" in (await ward.get("/ui/recognition?month=2026-03")).text
    assert "予以互认 1 项" in words((await ward.get("/ui/recognition")).text)
    ward.clock.at = ward.clock.at.replace(year=2030)
    assert "2029-12-31 已过期" in words((await ward.get("/ui/recognition")).text)
    assert (await ward.get("/ui/recognition?month=1;drop")).status_code == 200


async def test_another_alliance_counts_only_its_own(ward: Ward) -> None:
    await two_items(ward)
    csrf = await ward.sign_in()
    await decide(ward, csrf, **{"decision": "recognised", "item-wu-a9": "on"})
    assert "本月没有记录" in (await ward.get("/ui/recognition?month=2026-03", role="other")).text


async def test_a_members_own_result_is_nothing_to_recognise(ward: Ward) -> None:
    own = an_observation("d9", "肌酐", "63", loinc="14682-9", member=M4, issued="2026-03-19T10:00:00+08:00")
    await ward.put(own, a_report("own", results=[own], member=M4), patient="wu", member=M4)
    csrf = await ward.sign_in()
    page = (await ward.get("/ui/p/wu/recognise?report=wu-own")).text
    assert "没有可以互认或由您判断的外院项目" in page and 'name="decision"' not in page
    to = await decide(ward, csrf, **{"report": "wu-own", "decision": "recognised", "item-wu-d9": "on"})
    assert "said=no-items" in to
