"""What a sheet claims and nothing bears out is told at the start."""

from dataclasses import replace
from datetime import timedelta

from gateway.recognise.check import check
from gateway.recognise.listing import Evidence, Mark
from tests.builders import M2, NOW, the_directory
from tests.unit.recognise.cases import SHEET


def test_the_shipped_sheet_is_borne_out_by_the_shipped_members() -> None:
    assert check(SHEET, the_directory(), NOW) == ()


def test_a_mark_without_a_passed_assessment_is_named() -> None:
    evidence = {(M2, "LAB-K"): Evidence(mark=Mark("city", ("9901",)))}
    (finding,) = check(replace(SHEET, evidence=evidence), the_directory(), NOW)
    assert (finding.code, finding.place) == ("GW-REC-001", f"{M2} LAB-K")


def test_members_and_alliances_nobody_registered_are_named() -> None:
    mark = Mark("alliance", ("no_such_alliance",))
    evidence = {("no_such_member", "LAB-K"): Evidence("质评", 2025, True, None, mark)}
    found = check(replace(SHEET, evidence=evidence), the_directory(), NOW)
    assert [(f.code, f.place) for f in found] == [
        ("GW-REC-002", "evidence of no_such_member"),
        ("GW-REC-003", "no_such_alliance"),
    ]


def test_an_assessment_that_ended_is_named_once_from_the_next_day_on() -> None:
    evidence = dict.fromkeys(((M2, "LAB-K"), (M2, "LAB-NA")), Evidence("市质评", 2025, True, NOW.date()))
    sheet = replace(SHEET, evidence=evidence)
    assert check(sheet, the_directory(), NOW.replace(hour=23)) == ()
    (finding,) = check(sheet, the_directory(), NOW + timedelta(days=1))
    assert (finding.code, finding.place, finding.zh) == (
        "GW-REC-004",
        f"{M2} 市质评 2025",
        "质评证据已于 2026-03-20 到期。",
    )
