"""Microbiology, printed reports, versions, documents."""

from __future__ import annotations

from datetime import timedelta

from gateway.model.resource import Json
from gateway.outbound.pages.views_culture import culture_page
from gateway.outbound.pages.views_imaging import imaging_page
from gateway.outbound.pages.views_report import Sheet, as_of, report_sheet, versions_of
from gateway.outbound.pages.views_summary import summary
from gateway.outbound.pages.views_visits import document_line, visits_page
from gateway.store.base import Resource
from tests.builders import NOW, a_patient, a_report, an_encounter, an_observation, stored
from tests.unit.outbound.pages import residents
from tests.unit.outbound.pages.residents import derived_of, opened_of, page
from tests.unit.outbound.pages.test_page_summary import words


def versions(*statuses: str) -> list[Resource]:
    """Versions of one report, newest first; `statuses` oldest first."""
    rows = [
        stored(a_report("r1", "血培养", status=s), at=NOW + timedelta(hours=n), version=n + 1)
        for n, s in enumerate(statuses)
    ]
    return rows[::-1]


def test_organism_verdicts_and_antibiogram_are_read_from_nested_observations() -> None:
    opened = opened_of(residents.zhou_min())
    view = culture_page(opened, derived_of(opened), {"r1": versions_of(versions("final"), "/x", NOW)})
    (culture,) = view.cultures
    (isolate,) = culture.isolates
    assert isolate.organism == "大肠埃希菌"
    assert [(css, names) for css, _, names in isolate.by_verdict] == [("s", ("阿米卡星",)), ("r", ("头孢曲松",))]
    text = words(page("cultures.html", opened, "cultures", view=view))
    assert "R 耐药" in text and "≥64 mg/L" in text and "阳性 大肠埃希菌" in text


def test_a_drug_the_laboratory_cancelled_is_no_part_of_the_antibiogram() -> None:
    bodies = residents.zhou_min()
    bodies = [
        {**one, "status": "cancelled"} if one.get("code", {}).get("text") == "头孢曲松" else one for one in bodies
    ]
    assert any(one.get("status") == "cancelled" for one in bodies)
    opened = opened_of(bodies)
    ((isolate,),) = [one.isolates for one in culture_page(opened, derived_of(opened), {}).cultures]
    assert [drug.name for drug in isolate.drugs] == ["阿米卡星"]


def test_a_late_preliminary_stands_only_in_the_history() -> None:
    found = versions_of(versions("final", "preliminary", "final"), "/ui/p/p1/report/r1", NOW)
    assert [(v.status, v.current) for v in found] == [("终审", True), ("初步", False), ("终审", False)]
    assert "迟到" in found[1].note


def test_a_preliminary_before_the_final_is_no_late_one() -> None:
    found = versions_of(versions("preliminary", "final"), "/x", NOW)
    assert found[1].note == ""


def test_items_of_an_older_version_are_those_that_stood_with_it() -> None:
    first = stored(an_observation("o1", value="6.8"), at=NOW, version=1)
    second = stored(an_observation("o1", value="4.2", status="corrected"), at=NOW + timedelta(hours=1), version=2)
    report = stored(a_report("r1"), at=NOW, version=1)
    then = as_of([second, first], report, "final")
    assert then is not None and str(then["valueQuantity"]["value"]) == "6.8"
    later = stored(a_report("r1", status="corrected"), at=NOW + timedelta(hours=1), version=2)
    now = as_of([second, first], later, "corrected")
    assert now is not None and str(now["valueQuantity"]["value"]) == "4.2"


def test_a_printed_report_keeps_the_sources_words_and_unit() -> None:
    opened = opened_of(residents.liu_guilan())
    report = next(r for r in opened.record.reports if r["id"] == "r2")
    sheet = report_sheet(opened, report, opened.record.items_of(report), current=True)
    values = {item.name: (item.value, item.unit) for item in sheet.items}
    assert values["肌酐"] == ("1.20", "mg/dL") and values["血红蛋白"] == ("132", "G/L")
    assert {"审核": "2026-03-12 10:20"}.items() <= {f.label: f.value for f in sheet.signed}.items()


def test_a_replaced_document_reads_replaced_and_a_withdrawn_one_withdrawn() -> None:
    def document(id: str, status: str, replaces: str = "") -> dict[str, object]:
        older = {"code": "replaces", "target": {"reference": f"DocumentReference/{replaces}"}}
        return {
            "relatesTo": [older] if replaces else [],
            "resourceType": "DocumentReference",
            "id": id,
            "status": status,
            "docStatus": "preliminary" if status == "current" else "final",
            "type": {"text": "检查报告"},
            "date": "2026-03-01T10:00:00+08:00",
            "content": [{"attachment": {"url": "Binary/raw-1"}}],
        }

    opened = opened_of([a_patient(), document("d0", "superseded"), document("d1", "current", "d0")])
    view = visits_page(opened)
    text = words(page("visits.html", opened, "visits", view=view))
    assert [(d.outdated, d.remark) for d in view.documents] == [("已替换", ""), ("", "替换了旧版，初稿，未审签")]
    assert text.count("已替换") == 2  # the row and the remark in the head
    assert "原始文档" in text
    withdrawn = document("d1", "entered-in-error", "d0")
    opened = opened_of([a_patient(), document("d0", "superseded"), withdrawn])
    assert [d.outdated for d in visits_page(opened).documents] == ["已作废"]
    line = document_line(opened, withdrawn)
    assert "来源撤回了这份文书" in words(page("document.html", opened, "visits", line=line, sections=()))


def test_an_old_report_gives_the_age_of_its_day() -> None:
    old = a_report("r", "肾功能", effectiveDateTime="2011-04-08", issued="2026-03-19T10:00:00+08:00")
    opened = opened_of([a_patient(birth="2010-04-08"), old])
    assert report_sheet(opened, opened.record.reports[0], (), current=True).age == "12 个月"


def test_a_withdrawn_report_says_so_above_its_text() -> None:
    opened = opened_of([a_patient(), a_report("r", "肾功能", status="entered-in-error")])
    (report,) = opened.record.every["DiagnosticReport"]
    sheet = report_sheet(opened, report, (), current=True)
    text = words(page("report.html", opened, "labs", view=sheet, versions=(), shown=1))
    assert "这份报告已作废，不作为依据" in text


def test_a_stay_that_lasts_counts_its_days() -> None:
    opened = opened_of([a_patient(), an_encounter(kind="IMP", start="2026-03-18", status="in-progress")])
    assert visits_page(opened).visits[0].title == "住院第 3 天"


def test_a_stay_to_come_and_one_without_its_last_day_count_none() -> None:
    planned = an_encounter("e1", kind="IMP", start="2026-03-22", status="planned")
    over = an_encounter("e2", kind="IMP", start="2025-03-18", status="finished")
    titles = [visit.title for visit in visits_page(opened_of([a_patient(), planned, over])).visits]
    assert titles == ["住院（预约）", "住院（已出院，日期未提供）"]


def test_blood_pressure_of_a_visit_is_read_with_it() -> None:
    pressure = {
        "resourceType": "Observation",
        "id": "bp",
        "status": "final",
        "category": [{"coding": [{"code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
        "encounter": {"reference": "Encounter/e1"},
        "component": [{"valueQuantity": {"value": v, "unit": "mmHg"}} for v in (148, 86)],
    }
    opened = opened_of([a_patient(), an_encounter(), pressure])
    assert visits_page(opened).visits[0].text == "血压 148/86 mmHg"


def test_whatever_was_measured_at_a_visit_is_read_with_it() -> None:
    def taken(id: str, name: str, value: str, unit: str, *, visit: str = "e1", hour: int = 9, flag: str = "") -> Json:
        where = {"encounter": {"reference": f"Encounter/{visit}"}}
        return an_observation(
            id, name, value, unit, category=[], flag=flag, issued=f"2026-03-18T{hour:02}:00:00Z", **where
        )

    pulse = [taken("a", "心率", "96", "次/分", hour=7), taken("b", "心率", "142", "次/分", hour=8)]
    others = [taken("c", "血氧饱和度", "84", "%", flag="L"), taken("d", "体重", "60", "kg", visit="withheld")]
    view = visits_page(opened_of([a_patient(), an_encounter(), *pulse, *others]))
    assert view.visits[0].text == "血氧饱和度 84 % 偏低，心率 142 次/分（末次，共 2 次）"
    assert [line.title for line in view.others] == ["体重 60 kg"]


# ---- examinations with results, attachments, codes -----------------------------------------------
def echo() -> list[Json]:
    fraction = an_observation("ef", "左室射血分数", "25", "%", flag="LL", category=[])
    form = {"contentType": "application/pdf", "data": "JVBERi0=", "title": "超声"}
    coded: Json = {"conclusionCode": [{"coding": [{"code": "I50", "display": "心力衰竭"}]}], "presentedForm": [form]}
    return [a_patient(), fraction, a_report("e", "心脏超声", [fraction], category="US", **coded)]


def sheet_of(resources: list[Json]) -> tuple[Sheet, str]:
    opened = opened_of(resources)
    (report,) = opened.record.reports
    sheet = report_sheet(opened, report, opened.record.items_of(report), current=True)
    return sheet, words(page("report.html", opened, "imaging", view=sheet, versions=(), shown=1))


def test_what_an_examination_measured_stands_on_its_report() -> None:
    sheet, text = sheet_of(echo())
    assert "左室射血分数" in text and "25 ↓↓LL危急低" in text
    assert sheet.conclusion == "心力衰竭" and "诊断意见心力衰竭" in text
    assert [(a.title, a.href) for a in sheet.attachments] == [
        ("超声（application/pdf）", "/ui/p/p1/report/e/attachment/0")
    ]


def test_what_an_examination_measured_stands_on_the_tab_and_the_summary() -> None:
    opened = opened_of(echo())
    (study,) = imaging_page(opened, derived_of(opened)).hospitals[0].studies
    assert study.findings == "左室射血分数 25 % 危急低"
    assert summary(opened, derived_of(opened)).imaging[0].conclusion == "心力衰竭"


def test_a_conclusion_nobody_has_checked_or_that_was_cancelled_says_so_on_the_summary() -> None:
    reports = [a_report(status, "胸部CT", category="CT", status=status) for status in ("preliminary", "cancelled")]
    opened = opened_of([a_patient(), *reports])
    titles = {line.title for line in summary(opened, derived_of(opened)).imaging}
    assert titles == {"胸部CT（初步）", "胸部CT（已取消）"}


def test_a_report_that_is_an_attachment_is_not_said_to_have_no_text() -> None:
    opened = opened_of([a_patient(), a_report("e", category="US", presentedForm=[{"url": "http://x/1"}])])
    text = words(page("imaging.html", opened, "imaging", view=imaging_page(opened, derived_of(opened))))
    assert "报告在附件里" in text
    assert "附件，http://x/1" in sheet_of([a_patient(), *opened.record.reports])[1]


def test_a_line_tells_its_own_state_its_reason_and_its_gravest_flag() -> None:
    unknown = {"coding": [{"code": "unknown"}]}
    lost = an_observation("k", "钾", None, status="cancelled", note=[{"text": "标本溶血"}], dataAbsentReason=unknown)
    early = an_observation("h", "HIV抗体", "0.05", status="preliminary")
    high = an_observation("g", "葡萄糖", "25", "mmol/L", flag="HU", referenceRange=[{"high": {"value": 6}}])
    grave = an_observation("n", "钠", "108", "mmol/L", interpretation=[{"coding": [{"code": "A"}, {"code": "LL"}]}])
    sheet, _ = sheet_of([a_patient(), lost, early, high, grave, a_report("r", "杂项", [lost, early, high, grave])])
    assert [item.note for item in sheet.items] == ["已取消；标本溶血", "初步", "", ""]
    assert sheet.items[0].value == "未做（原因未知）" and sheet.items[2].range == "≤6"
    assert [item.flag.text for item in sheet.items[2:]] == ["↑H", "↓↓LL"]


def test_what_no_other_tab_shows_stands_with_the_visits() -> None:
    def of(type_: str, id: str, **more: object) -> Json:
        return {"resourceType": type_, "id": id, "status": "completed", **more}

    smoking = an_observation("s", "吸烟", "每日一包", category=[], collected="2026-03-03")
    vaccine = of("Immunization", "v", vaccineCode={"text": "破伤风疫苗"}, occurrenceDateTime="2026-03-02")
    refused = vaccine | {"id": "w", "status": "not-done", "occurrenceDateTime": "2026-03-01"}
    operation = of("Procedure", "p", code={"text": "胃大部切除术"}, performedPeriod={"start": "2026-02-01"})
    parent = {"relationship": {"text": "父亲"}, "condition": [{"code": {"text": "胃癌"}}]}
    opened = opened_of([a_patient(), smoking, vaccine, refused, operation, of("FamilyMemberHistory", "f", **parent)])
    lines = visits_page(opened).others
    assert [(line.kind, line.title, line.state) for line in lines] == [
        ("观察", "吸烟 每日一包", ""),
        ("接种", "破伤风疫苗", ""),
        ("接种", "破伤风疫苗", "未执行"),
        ("操作与手术", "胃大部切除术", ""),
        ("家族史", "父亲：胃癌", ""),
    ]
    assert "其他记录" in words(page("visits.html", opened, "visits", view=visits_page(opened)))
