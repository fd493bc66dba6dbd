"""The cumulative grid as a page."""

from __future__ import annotations

import re

from gateway.model.resource import Json
from gateway.outbound.pages.views_labs import Choice, LabPage, Line, lab_page
from tests.builders import a_patient, a_report, an_observation
from tests.unit.outbound.pages import residents
from tests.unit.outbound.pages.residents import derived_of, opened_of, page
from tests.unit.outbound.pages.test_page_summary import words


def the_page(choice: Choice = Choice()) -> tuple[LabPage, str]:  # noqa: B008 - frozen
    opened = opened_of(residents.liu_guilan())
    view = lab_page(opened, derived_of(opened), choice)
    return view, words(page("labs.html", opened, "labs", view=view))


def lines(view: LabPage) -> dict[str, Line]:
    return {f"{line.row.name} {line.row.unit}".strip(): line for _, rows in view.groups for line in rows}


def test_a_value_in_another_unit_keeps_what_was_sent_and_shows_the_arithmetic() -> None:
    view, text = the_page(Choice(item="o3"))
    assert "1.20 mg/dL" in text
    assert "≈106 μmol/L (×88.4)" in text
    assert view.detail is not None and view.detail.reading.value == "1.20"


def test_both_creatinines_stand_in_one_row_with_one_trend() -> None:
    view, _ = the_page()
    row = lines(view)["肌酐 μmol/L"]
    assert [cell.reading.value for cell in row.cells if cell.reading] == ["1.20", "106"]
    assert row.spark is not None and len(row.spark.dots) == 2
    assert "converted" in row.spark.dots[0].css and "converted" not in row.spark.dots[1].css


def test_percent_and_mmol_per_mol_stay_on_two_rows() -> None:
    view, _ = the_page()
    assert {"糖化血红蛋白 %", "糖化血红蛋白 mmol/mol"} <= lines(view).keys()


def test_a_renamed_unit_reads_as_the_rows_unit_and_keeps_the_original() -> None:
    _, text = the_page()
    assert "132 g/L" in text and "原文 132 G/L" in text


def test_a_span_shows_its_unit_in_the_cell() -> None:
    ends = {side: {"value": value, "unit": "/HP"} for side, value in (("low", 0), ("high", 2))}
    span = an_observation("s1", "红细胞", None, loinc="13945-1") | {"valueRange": ends}
    opened = opened_of([a_patient(), a_report(results=[span]), span])
    text = words(page("labs.html", opened, "labs", view=lab_page(opened, derived_of(opened), Choice())))
    assert "0-2 /HP" in text


def test_an_unmapped_item_is_there_and_marked() -> None:
    view, text = the_page()
    assert "X-9981 未编码" in text
    assert view.uncoded == 1


def test_the_detail_names_all_five_times_specimen_and_method() -> None:
    view, _ = the_page(Choice(item="o3"))
    assert view.detail is not None
    facts = {fact.label: fact.value for fact in view.detail.facts}
    assert facts["标本"] == "血清" and facts["方法"] == "苦味酸法"
    times = [facts[name] for name in ("采集", "接收", "审核", "发布", "到达")]
    assert times == [f"2026-03-12 {t}" for t in ("07:40", "08:05", "10:20", "10:32", "10:33")]


def test_a_result_without_range_says_so() -> None:
    _, text = the_page()
    assert "来源未提供参考区间" in text.replace(" ", "")


def test_only_abnormal_rows_on_request() -> None:
    view, _ = the_page(Choice(only_abnormal=True))
    assert set(lines(view)) == {"肌酐 μmol/L", "糖化血红蛋白 %", "糖化血红蛋白 mmol/mol"}


def test_an_unknown_item_in_the_address_shows_the_grid_without_detail() -> None:
    view, _ = the_page(Choice(item="nobody"))
    assert view.detail is None and view.groups


def test_older_columns_are_a_link_away() -> None:
    items = [
        an_observation(f"o{n}", value=str(60 + n), loinc="14682-9", ucum="umol/L",
                       collected=f"2026-0{n}-01T08:00:00+08:00", issued=f"2026-0{n}-01T10:00:00+08:00")
        for n in (1, 2, 3)
    ] + [
        an_observation(f"p{n}", value=str(70 + n), loinc="14682-9", ucum="umol/L",
                       collected=f"2025-1{n}-01T08:00:00+08:00", issued=f"2025-1{n}-01T10:00:00+08:00")
        for n in (0, 1, 2)
    ]  # fmt: skip
    reports = [
        a_report(f"r{o['id']}", results=[o], collected=o["effectiveDateTime"], issued=o["issued"]) for o in items
    ]
    opened = opened_of([a_patient(), *items, *reports])
    derived = derived_of(opened)
    newest = lab_page(opened, derived, Choice())
    assert [head.at.text for head in newest.heads][-1] == "2026-03-01" and len(newest.heads) == 5
    assert newest.older.endswith("back=5") and not newest.newer
    oldest = lab_page(opened, derived, Choice(back=5))
    assert [head.at.text for head in oldest.heads] == ["2025-10-01"]
    assert oldest.newer and not oldest.older


def test_no_lab_result_at_all_says_no_record() -> None:
    opened = opened_of(residents.lin_fang())
    view = lab_page(opened, derived_of(opened), Choice())
    assert "检验：无记录" in words(page("labs.html", opened, "labs", view=view))


def test_a_series_of_one_day_says_the_time_of_each() -> None:
    def troponin(id: str, value: str, at: str) -> Json:
        return an_observation(id, "肌钙蛋白I", value, "ng/mL", loinc="10839-9", collected=at, issued=at)

    times = ("2026-03-18T23:50:00+08:00", "2026-03-19T08:00:00+08:00", "2026-03-19T03:00:00Z")
    opened = opened_of([a_patient(), *(troponin(f"t{n}", f"0.{n}", at) for n, at in enumerate(times))])
    view = lab_page(opened, derived_of(opened), Choice())
    shown = ["2026-03-18", "2026-03-19 08:00", "2026-03-19 11:00"]
    assert [head.at.text for head in view.heads] == shown
    assert view.detail is not None and [past.at.text for past in view.detail.past] == shown[::-1]


def test_a_cancelled_result_says_so_and_is_no_point_of_the_trend() -> None:
    kept = an_observation("a", "钾", "4.1", "mmol/L", loinc="2823-3", ucum="mmol/L", collected="2026-03-18")
    void = {"status": "cancelled", "collected": "2026-03-19", "flag": "HH"}
    gone = an_observation("b", "钾", "9.9", "mmol/L", loinc="2823-3", ucum="mmol/L", **void)
    opened = opened_of([a_patient(), kept, gone])
    view = lab_page(opened, derived_of(opened), Choice())
    assert len(lines(view)["钾 mmol/L"].row.points) == 1 and "9.9" not in lines(view)["钾 mmol/L"].row.label
    assert view.detail is not None and view.detail.past[0].text == "9.9 mmol/L 已取消"
    assert re.search("9.9 .*已取消.*4.1", words(page("labs.html", opened, "labs", view=view)))
