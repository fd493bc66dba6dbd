"""Microbiology, printed reports, versions, documents."""

from __future__ import annotations

from datetime import timedelta

from gateway.outbound.pages.views_culture import culture_page
from gateway.outbound.pages.views_report import as_of, report_sheet, versions_of
from gateway.outbound.pages.views_visits import visits_page
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


def test_a_replaced_document_reads_replaced() -> None:
    def document(id: str, status: str) -> dict[str, object]:
        return {
            "resourceType": "DocumentReference",
            "id": id,
            "status": status,
            "type": {"text": "检查报告"},
            "date": "2026-03-01T10:00:00+08:00",
            "content": [{"attachment": {"url": "Binary/raw-1"}}],
        }

    opened = opened_of([a_patient(), document("d0", "superseded"), document("d1", "current")])
    view = visits_page(opened)
    text = words(page("visits.html", opened, "visits", view=view))
    assert [d.superseded for d in view.documents] == [True, False]
    assert text.count("已替换") == 2  # the row and the remark in the head
    assert "原始文档" in text


def test_a_stay_that_lasts_counts_its_days() -> None:
    opened = opened_of([a_patient(), an_encounter(kind="IMP", start="2026-03-18")])
    assert visits_page(opened).visits[0].title == "住院第 3 天"


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
