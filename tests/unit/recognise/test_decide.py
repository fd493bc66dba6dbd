"""What a township doctor is told about results of other members, at 2026-03-20 09:00 unless said otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from gateway.model.directory import Alliance, Directory, Term
from gateway.model.resource import Json
from gateway.recognise.decide import Viewer
from gateway.recognise.listing import Evidence, Levels, Mark, RuleSheet
from gateway.recognise.reasons import Verdict
from tests.builders import M1, M2, M3, M4, NOW, a_report, a_study, an_observation, the_directory
from tests.unit.recognise.cases import SHEET, chemistry, decided

SERUM = {"display": "血清"}


def one(observation: Json | None = None, **how: Any) -> Any:
    """The decision on a report with a single item."""
    item = observation or an_observation(loinc="14682-9")
    report = how.pop("report", None) or a_report(results=[item])
    return decided(report, [item], **how).items[0]


def codes(found: Any) -> list[str]:
    return [reason.code for reason in found.reasons]


def with_evidence(member: str, code: str, evidence: Evidence) -> RuleSheet:
    return replace(SHEET, evidence={**SHEET.evidence, (member, code): evidence})


# ---- 何春花: a panel, item by item ----------------------------------------------------------------
def test_fifteen_of_twenty_items_hold_until_the_thirtieth_day() -> None:
    items = chemistry()
    found = decided(a_report(results=items), items)
    assert (found.recognisable, found.total, found.verdict) == (15, 20, Verdict.YES)
    assert found.valid_until == datetime.fromisoformat("2026-04-07T10:00:00+08:00")
    assert [reason.text for reason in found.reasons] == ["质评未通过", "已过时效（电解质 7 天）"]


def test_electrolytes_expired_after_seven_days_and_say_when() -> None:
    items = chemistry()
    found = {item.name: item for item in decided(a_report(results=items), items).items}
    for name in ("钾", "钠", "氯", "钙"):
        assert found[name].verdict is Verdict.NO
        assert found[name].valid_until == datetime.fromisoformat("2026-03-15T10:00:00+08:00")
        assert [reason.text for reason in found[name].reasons] == ["已过时效（电解质 7 天）"]


def test_the_item_that_failed_its_assessment_is_refused_without_an_end() -> None:
    items = chemistry()
    ggt = next(i for i in decided(a_report(results=items), items).items if i.name == "γ-谷氨酰转移酶")
    assert (ggt.verdict, ggt.valid_until) == (Verdict.NO, None)
    assert [reason.zh for reason in ggt.reasons] == ["质评未通过"]


def test_a_recognised_item_says_window_and_evidence() -> None:
    found = one()
    assert [reason.text for reason in found.reasons] == ["生化 30 天", "质评合格"]
    assert found.rule is not None
    assert (found.rule.code, found.rule.window, found.rule.scope) == ("LAB-CREA", "生化 30 天", "city")
    assert found.rule.evidence == "省临床检验中心室间质评 2025"


def test_the_last_moment_of_the_window_is_inside_and_the_next_is_not() -> None:
    end = datetime.fromisoformat("2026-04-07T10:00:00+08:00")
    assert one(at=end).verdict is Verdict.YES
    assert one(at=end + timedelta(seconds=1)).verdict is Verdict.NO


def test_the_window_may_start_at_collection() -> None:
    item = SHEET.items["LAB-CREA"]
    collected = replace(item, window=replace(item.window, start="collected"))
    sheet = replace(SHEET, by_loinc={**SHEET.by_loinc, "14682-9": collected})
    assert one(sheet=sheet).valid_until == datetime.fromisoformat("2026-04-07T08:00:00+08:00")


def test_items_keep_the_order_of_the_report_and_withdrawn_ones_are_not_counted() -> None:
    first, second = an_observation("a", loinc="14682-9"), an_observation("b", "尿素", "5", loinc="22664-7")
    gone = an_observation("c", "白蛋白", "40", loinc="1751-7", status="entered-in-error")
    found = decided(a_report(results=[second, first]), [gone, first, second])
    assert [item.observation_id for item in found.items] == ["b", "a"]
    assert found.total == 2


# ---- state of the result ------------------------------------------------------------------------
def test_a_critical_value_changes_too_fast_to_be_recognised() -> None:
    plt = an_observation(
        "plt",
        "血小板",
        "18",
        "10^9/L",
        loinc="777-3",
        flag="LL",
        collected="2026-03-20T08:00:00+08:00",
        issued="2026-03-20T08:32:00+08:00",
    )
    found = one(plt, producer=M3)
    assert found.verdict is Verdict.NO
    assert (found.reasons[0].code, found.reasons[0].text) == ("02", "变化较快（危急值）")
    assert found.valid_until is None


def test_a_notice_of_a_critical_value_counts_even_without_its_letters() -> None:
    plt = an_observation("plt", "血小板", "18", loinc="777-3", told=("周医生", "2026-03-20T15:32:00+08:00"))
    assert codes(one(plt))[0] == "02"


@pytest.mark.parametrize("status", ["preliminary", "registered", "partial", "unknown"])
def test_a_result_that_is_not_final_is_refused(status: str) -> None:
    item = an_observation(loinc="14682-9", status=status)
    assert codes(one(item)) == ["not-final"]
    assert one(item).verdict is Verdict.NO


def test_a_final_item_of_a_partial_report_is_final_and_of_a_preliminary_one_is_not() -> None:
    item = an_observation(loinc="14682-9")
    assert one(item, report=a_report(results=[item], status="partial")).verdict is Verdict.YES
    assert codes(one(item, report=a_report(results=[item], status="preliminary"))) == ["not-final"]


@pytest.mark.parametrize("status", ["corrected", "amended"])
def test_a_corrected_result_is_as_good_as_a_final_one(status: str) -> None:
    item = an_observation(loinc="14682-9", status=status)
    assert one(item, report=a_report(results=[item], status=status)).verdict is Verdict.YES


def test_a_cancelled_report_and_an_item_not_measured_are_refused() -> None:
    item = an_observation(loinc="14682-9")
    assert codes(one(item, report=a_report(results=[item], status="cancelled"))) == ["cancelled"]
    assert codes(one(an_observation(value=None, loinc="14682-9"))) == ["no-result"]


def test_a_positive_infection_marker_is_left_to_the_doctor() -> None:
    item = an_observation("h", "乙肝表面抗原", "阳性(+)", loinc="5195-3", flag="POS")
    assert (one(item).verdict, codes(one(item))) == (Verdict.JUDGE, ["positive"])


@pytest.mark.parametrize(
    ("value", "more"),
    [
        ("弱阳性(±)", {"flag": "WR"}),
        ("阳性（＋）", {}),
        ("2+", {}),
        ("可疑", {}),
        ("12.5", {"flag": "H"}),
        ("12.5", {"unit": "IU/mL", "band": ("0", "0.05")}),
        ("12.5", {"unit": "IU/mL"}),
        ("弱阳", {}),
        (">1000", {"band": ("0", "1000")}),
        ("0.01", {"unit": "COI", "referenceRange": [{"text": "<1 S/CO", "high": {"value": 1, "unit": "S/CO"}}]}),
        ("大三阳", {}),
        ("0.05", {"referenceRange": [{"text": "<0.05", "high": {"value": Decimal("0.05")}}]}),
    ],
)
def test_whatever_is_not_negative_of_an_infection_marker_is_left_to_the_doctor(value: str, more: Any) -> None:
    item = an_observation("h", "乙肝表面抗原", value, loinc="5195-3", **more)
    assert (one(item).verdict, codes(one(item))) == (Verdict.JUDGE, ["positive"])


@pytest.mark.parametrize(
    ("value", "more"),
    [
        ("阴性(-)", {}),
        ("未检出", {}),
        ("低于检出限", {}),
        ("(-)", {}),
        ("12", {"flag": "NEG"}),
        ("0.01", {"band": ("0", "0.05")}),
        ("<0.05", {}),
    ],
)
def test_a_negative_infection_marker_is_recognised(value: str, more: Any) -> None:
    assert one(an_observation("h", "乙肝表面抗原", value, loinc="5195-3", **more)).verdict is Verdict.YES


def test_a_high_value_of_other_groups_is_no_positive_one() -> None:
    assert one(an_observation(loinc="14682-9", flag="H")).verdict is Verdict.YES


def test_a_unit_without_a_number_is_no_result() -> None:
    assert codes(one(an_observation(loinc="14682-9", valueQuantity={"unit": "μmol/L"}))) == ["no-result"]


def test_a_critical_component_makes_its_item_critical() -> None:
    part = {"code": {"text": "pH"}, "interpretation": [{"coding": [{"code": "LL"}]}]}
    assert codes(one(an_observation(loinc="14682-9", component=[part])))[0] == "02"


def test_a_time_that_stands_for_none_is_one_of_the_future() -> None:
    item = an_observation(loinc="14682-9", issued="9999-12-31T00:00:00+08:00")
    assert (codes(one(item))[-1], one(item).valid_until) == ("future", None)


def test_missing_and_future_times_are_left_to_the_doctor() -> None:
    bare = an_observation(loinc="14682-9")
    report = a_report(results=[bare])
    del bare["issued"], report["issued"]
    assert codes(one(bare, report=report)) == ["no-time"]
    later = an_observation(loinc="14682-9", issued="2026-03-21T10:00:00+08:00")
    assert (one(later).verdict, codes(one(later))) == (Verdict.JUDGE, ["future"])


# ---- which item it is ---------------------------------------------------------------------------
def test_an_unlisted_item_is_left_to_the_doctor() -> None:
    culture = an_observation("c", "血培养", "大肠埃希菌", loinc="600-7")
    assert (one(culture).verdict, codes(one(culture))) == (Verdict.JUDGE, ["not-listed"])


def test_a_name_counts_only_whole_and_never_against_its_loinc() -> None:
    assert one(an_observation(name="肌 酐", specimen=SERUM)).verdict is Verdict.YES
    assert one(an_observation(name="肌酐清除率")).rule is None
    assert one(an_observation(name="肌酐", loinc="2161-8")).rule is None  # creatinine in urine


def test_pct_by_name_alone_is_no_listed_item() -> None:
    assert one(an_observation(name="PCT", value="0.21", unit="%")).rule is None


def test_a_report_without_items_is_left_to_the_doctor() -> None:
    found = decided(a_report())
    assert (found.verdict, found.total, codes(found)) == (Verdict.JUDGE, 0, ["no-items"])


@pytest.mark.parametrize(
    ("status", "code"), [("entered-in-error", "cancelled"), ("cancelled", "cancelled"), ("preliminary", "not-final")]
)
def test_a_report_without_items_that_does_not_count_is_refused(status: str, code: str) -> None:
    found = decided(a_report(status=status))
    assert (found.verdict, codes(found)) == (Verdict.NO, [code, "no-items"])


def test_what_an_examination_measured_does_not_make_it_one_of_the_laboratory() -> None:
    size = an_observation("n", "结节", "8", "mm")
    report = a_report(name="胸部CT平扫", results=[size], category="CT")
    found = decided(report, [size], [a_study()])
    assert (found.total, found.verdict) == (1, Verdict.YES_IMAGES)
    grave = decided(report, [{**size, "interpretation": [{"coding": [{"code": "HH"}]}]}], [a_study()])
    assert (grave.verdict, codes(grave)[0]) == (Verdict.NO, "02")


# ---- quality and marks --------------------------------------------------------------------------
def test_without_quality_evidence_the_doctor_judges() -> None:
    found = one(producer=M4, viewer=Viewer(M3, "qingshi_county"))
    assert (found.verdict, codes(found)) == (Verdict.JUDGE, ["eqa-missing"])


def test_a_mark_without_evidence_is_a_finding_and_no_recognition() -> None:
    sheet = with_evidence(M2, "LAB-CREA", Evidence(mark=Mark("city", ("9901",))))
    item = an_observation(loinc="14682-9")
    found = decided(a_report(results=[item]), [item], producer=M2, sheet=sheet)
    assert (found.verdict, codes(found)) == (Verdict.JUDGE, ["mark-without-evidence"])
    assert [(f.code, f.place) for f in found.findings] == [("GW-REC-001", "Observation/o1")]


def test_an_area_that_asks_for_no_evidence_still_believes_no_mark_without_it() -> None:
    sheet = replace(with_evidence(M2, "LAB-CREA", Evidence(mark=Mark("city", ("9901",)))), unassessed=Verdict.YES)
    assert codes(one(producer=M2, sheet=sheet)) == ["mark-without-evidence"]
    assert one(producer=M4, sheet=sheet, viewer=Viewer(M3, "qingshi_county")).verdict is Verdict.YES


def test_a_printed_mark_on_an_item_that_failed_is_a_finding() -> None:
    item = an_observation(name="★γ-谷氨酰转移酶", specimen=SERUM)
    found = decided(a_report(results=[item]), [item])
    assert codes(found) == ["eqa-failed"] and len(found.findings) == 1


def test_evidence_lapses_with_the_day_it_is_good_until() -> None:
    evidence = Evidence("市质评", 2025, True, date(2026, 3, 7))
    found = one(sheet=with_evidence(M1, "LAB-CREA", evidence))
    assert (found.verdict, found.reasons[0].text) == (Verdict.JUDGE, "质评已过期（至 2026-03-07）")


# ---- scope and levels ---------------------------------------------------------------------------
def outsiders() -> Directory:
    """The stories' members without any alliance."""
    known = the_directory()
    return replace(known, alliances={})


def test_a_city_mark_holds_in_the_area_also_without_an_alliance() -> None:
    assert one(directory=outsiders()).rule.scope == "city"


def test_another_citys_mark_does_not_hold() -> None:
    sheet = with_evidence(M1, "LAB-CREA", Evidence("质评", 2025, True, None, Mark("city", ("9902",))))
    found = one(sheet=sheet, directory=outsiders())
    assert (found.verdict, codes(found)) == (Verdict.NO, ["out-of-scope"])
    assert one(sheet=sheet).rule.scope == "alliance"


def test_without_mark_and_common_alliance_the_result_is_out_of_scope() -> None:
    assert codes(one(producer=M2, directory=outsiders())) == ["out-of-scope"]


def test_an_alliance_the_doctor_does_not_act_in_lends_no_scope() -> None:
    network = Alliance("stroke", "卒中专科联盟", M1, frozenset({M1, M4}))
    known = the_directory()
    directory = replace(known, alliances={**known.alliances, "stroke": network})
    assert codes(one(producer=M2, viewer=Viewer(M4, "stroke"), directory=directory)) == ["out-of-scope"]
    assert one(producer=M2, viewer=Viewer(M4), directory=directory).verdict is Verdict.YES


def test_an_alliance_lends_no_scope_outside_its_term_nor_to_a_member_that_left() -> None:
    known = the_directory()
    county = known.alliances["qingshi_county"]
    last_day, next_day = NOW.replace(hour=23, minute=59), NOW.replace(hour=0, minute=0) + timedelta(days=1)
    for ended in (replace(county, term=Term(until=NOW.date())), replace(county, terms={M2: Term(until=NOW.date())})):
        directory = replace(known, alliances={"qingshi_county": ended})
        creatinine = an_observation(loinc="14682-9", member=M2)
        found = [one(creatinine, producer=M2, directory=directory, at=at) for at in (last_day, next_day)]
        assert [(item.verdict, "out-of-scope" in codes(item)) for item in found] == [
            (Verdict.YES, False),
            (Verdict.NO, True),
        ]


def test_inside_an_alliance_the_level_is_not_asked_unless_the_sheet_says_so() -> None:
    city = Viewer(M1, "city_group")
    assert one(producer=M2, viewer=city).verdict is Verdict.YES
    by_level = replace(SHEET, levels=Levels(inside_alliance="by-level"))
    found = one(producer=M2, viewer=city, sheet=by_level)
    assert (found.verdict, codes(found)) == (Verdict.JUDGE, ["lower-level"])
    assert one(producer=M2, viewer=Viewer(M3, "qingshi_county"), sheet=by_level).verdict is Verdict.YES
    assert one(producer=M1, sheet=by_level).verdict is Verdict.YES


def test_a_members_own_result_needs_no_scope_but_still_its_window() -> None:
    own = Viewer(M1, "")
    assert one(viewer=own, directory=outsiders()).rule.scope == "own"
    potassium = an_observation("k", "钾", "4.3", loinc="2823-3")
    assert codes(one(potassium, viewer=own)) == ["expired"]


def test_a_member_nobody_knows_is_out_of_scope() -> None:
    assert codes(one(producer=""))[0] == "unknown-member"


# ---- 王秀英: examinations -----------------------------------------------------------------------
def plain_ct(**more: Any) -> Json:
    return a_report(
        "ct", "胸部CT平扫", category="CT", issued="2026-03-10T11:20:00+08:00", conclusion="双肺下叶炎症", **more
    )


def test_a_plain_ct_is_recognisable_once_its_images_are_viewed() -> None:
    found = decided(plain_ct(loinc="29252-4"), [], [a_study()])
    assert (found.verdict, found.recognisable, found.total) == (Verdict.YES_IMAGES, 1, 1)
    assert found.valid_until == datetime.fromisoformat("2026-04-09T11:20:00+08:00")
    assert [reason.text for reason in found.reasons] == ["CT 30 天", "须阅片后采用", "质评合格"]


def test_the_conclusion_gets_no_verdict_of_its_own() -> None:
    found = decided(plain_ct(), [], [a_study()])
    assert [(item.observation_id, item.name) for item in found.items] == [("", "胸部CT平扫")]


def test_a_report_without_images_is_left_to_the_doctor() -> None:
    found = decided(plain_ct(), [], [])
    assert (found.verdict, found.reasons[0].text) == (Verdict.JUDGE, "无影像（只有报告，没有送来影像）")
    whole = the_directory()
    members = {**whole.members, M3: replace(whole.members[M3], provides=frozenset({"imaging"}))}
    without = Directory(members, whole.sources, whole.alliances)
    found = decided(plain_ct(member=M3), [], [], producer=M3, directory=without)
    assert (found.verdict, found.reasons[0].text) == (Verdict.JUDGE, "无影像（只有报告，影像来源未接入）")


def test_images_that_do_not_answer_are_left_to_the_doctor() -> None:
    found = decided(plain_ct(), [], [a_study()], images_answer=False)
    assert (found.verdict, found.reasons[0].detail) == (Verdict.JUDGE, "影像暂时打不开")


def test_plain_and_enhanced_are_two_items() -> None:
    plain = decided(plain_ct(), [], [a_study()]).items[0].rule
    enhanced = decided(a_report("e", "胸部CT增强", category="CT"), [], [a_study()]).items[0].rule
    assert plain is not None and enhanced is not None
    assert (plain.code, enhanced.code) == ("IMG-CT-CHEST-PLAIN", "IMG-CT-CHEST-ENHANCED")


def test_the_recognition_code_of_a_report_outweighs_its_name() -> None:
    rule = decided(plain_ct(item="IMG-CT-CHEST-ENHANCED"), [], [a_study()]).items[0].rule
    assert rule is not None and rule.code == "IMG-CT-CHEST-ENHANCED"


def test_a_study_names_the_examination_when_the_report_does_not() -> None:
    rule = decided(a_report("x", "CT检查报告", category="CT"), [], [a_study()]).items[0].rule
    assert rule is not None and rule.code == "IMG-CT-CHEST-PLAIN"


def test_images_of_another_part_are_left_to_the_doctor() -> None:
    found = decided(plain_ct(), [], [a_study(body_part="ABDOMEN")])
    assert (found.verdict, codes(found)) == (Verdict.JUDGE, ["body-part"])


def test_an_expired_examination_is_refused_whatever_its_images() -> None:
    found = decided(plain_ct(), [], [a_study()], at=NOW + timedelta(days=60))
    assert (found.verdict, codes(found)) == (Verdict.NO, ["expired"])


def test_numbers_keep_their_digits_through_a_decision() -> None:
    items = chemistry()
    decided(a_report(results=items), items)
    assert items[13]["valueQuantity"]["value"] == Decimal("2.10")
