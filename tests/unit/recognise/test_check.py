"""What a sheet claims and nothing bears out is told at the start."""

from dataclasses import replace

from gateway.recognise.check import check
from gateway.recognise.listing import Evidence, Mark
from tests.builders import M2, the_directory
from tests.unit.recognise.cases import SHEET


def test_the_shipped_sheet_is_borne_out_by_the_shipped_members() -> None:
    assert check(SHEET, the_directory()) == ()


def test_a_mark_without_a_passed_assessment_is_named() -> None:
    evidence = {(M2, "LAB-K"): Evidence(mark=Mark("city", ("9901",)))}
    (finding,) = check(replace(SHEET, evidence=evidence), the_directory())
    assert (finding.code, finding.place) == ("GW-REC-001", f"{M2} LAB-K")


def test_members_and_alliances_nobody_registered_are_named() -> None:
    mark = Mark("alliance", ("no_such_alliance",))
    evidence = {("no_such_member", "LAB-K"): Evidence("质评", 2025, True, None, mark)}
    found = check(replace(SHEET, evidence=evidence), the_directory())
    assert [(f.code, f.place) for f in found] == [
        ("GW-REC-002", "evidence of no_such_member"),
        ("GW-REC-003", "no_such_alliance"),
    ]
