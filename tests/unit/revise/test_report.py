"""Reports issued again: whatever order the issues arrive in, the same state is current."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.resource import Json
from gateway.revise.report import Mode, plan_report
from gateway.revise.version import Version, by_ref, ref_of

Shelf = dict[str, list[Json]]


def issue(status: str, at: str, items: dict[str, Any], *, issued: bool = True, report: str = "r") -> list[Json]:
    """A report and its items; an item is a value, or (value, status)."""
    out: list[Json] = []
    for code, said in items.items():
        value, own = said if isinstance(said, tuple) else (said, status if status != "partial" else "preliminary")
        body: Json = {"resourceType": "Observation", "id": code, "status": own, "valueString": value}
        out.append(body | ({"issued": f"2026-03-17T{at}:00+08:00"} if issued else {}))
    named = [{"reference": f"Observation/{code}"} for code in items]
    head: Json = {"resourceType": "DiagnosticReport", "id": report, "status": status}
    head |= {"result": named} if named else {}
    return [head | {"issued": f"2026-03-17T{at}:00+08:00"}, *out]


def receive(shelf: Shelf, new: list[Json], mode: Mode = "snapshot") -> tuple[Version, ...]:
    """Write an issue as the pipeline does: equal content makes no version."""
    stored = {ref: versions[-1] for ref, versions in shelf.items()}
    history = {ref: tuple(versions) for ref, versions in shelf.items()}
    made = plan_report(new, stored, mode, history=history).versions
    for one in made:
        body = {**one.body, "id": one.id}
        versions = shelf.setdefault(one.ref, [])
        if not versions or versions[-1] != body:
            versions.append(body)
    return made


def current(shelf: Shelf) -> Json:
    return {ref: versions[-1] for ref, versions in shelf.items()}


def results(shelf: Shelf) -> list[str]:
    return [one["reference"].removeprefix("Observation/") for one in shelf["DiagnosticReport/r"][-1].get("result", ())]


def statuses(shelf: Shelf, ref: str) -> list[str]:
    return [one["status"] for one in shelf[ref]]


def test_a_late_preliminary_becomes_history_and_the_final_stays() -> None:
    shelf: Shelf = {}
    receive(shelf, issue("final", "09:00", {"K": "6.8"}))
    receive(shelf, issue("preliminary", "23:00", {"K": "?"}))
    assert statuses(shelf, "DiagnosticReport/r") == ["final", "preliminary", "final"]
    assert [one["valueString"] for one in shelf["Observation/K"]] == ["6.8", "?", "6.8"]


def test_a_correction_replaces_the_value_in_a_second_version() -> None:
    shelf: Shelf = {}
    receive(shelf, issue("final", "08:40", {"K": "6.8"}))
    receive(shelf, issue("corrected", "10:05", {"K": "4.2"}))
    assert statuses(shelf, "DiagnosticReport/r") == ["final", "corrected"]
    assert [one["valueString"] for one in shelf["Observation/K"]] == ["6.8", "4.2"]


def test_an_item_absent_from_a_newer_issue_is_withdrawn_and_replay_does_not_bring_it_back() -> None:
    shelf: Shelf = {}
    first = issue("final", "09:00", {"ALT": "30", "GGT": "55"})
    receive(shelf, first)
    receive(shelf, issue("final", "11:00", {"ALT": "30"}))
    assert statuses(shelf, "Observation/GGT") == ["final", "entered-in-error"]
    assert results(shelf) == ["ALT"]
    before = {ref: len(versions) for ref, versions in shelf.items()}
    receive(shelf, first)
    assert {ref: len(versions) for ref, versions in shelf.items()} == before
    assert current(shelf)["Observation/GGT"]["status"] == "entered-in-error"


def test_in_delta_mode_an_absent_item_stays() -> None:
    shelf: Shelf = {}
    receive(shelf, issue("final", "09:00", {"ALT": "30", "GGT": "55"}), "delta")
    receive(shelf, issue("final", "11:00", {"AST": "20"}), "delta")
    assert results(shelf) == ["ALT", "GGT", "AST"]
    assert statuses(shelf, "Observation/GGT") == ["final"]


def test_deleted_and_wrong_items_leave_the_report() -> None:
    shelf: Shelf = {}
    receive(shelf, issue("final", "09:00", {"K": "6.8", "NA": "140"}))
    receive(shelf, issue("corrected", "10:00", {"K": ("6.8", "entered-in-error"), "NA": "140"}))
    assert results(shelf) == ["NA"]
    assert statuses(shelf, "Observation/K") == ["final", "entered-in-error"]


@pytest.mark.parametrize("void", ["cancelled", "entered-in-error"])
def test_a_withdrawn_report_takes_its_items_along_and_may_be_issued_anew(void: str) -> None:
    shelf: Shelf = {}
    receive(shelf, issue("final", "09:00", {"K": "6.8"}))
    receive(shelf, issue(void, "09:00", {}))
    assert statuses(shelf, "Observation/K") == ["final", void]
    receive(shelf, issue("final", "09:00", {"K": "6.8"}))
    assert current(shelf)["DiagnosticReport/r"]["status"] == void
    receive(shelf, issue("final", "12:00", {"K": "4.2"}))
    assert (current(shelf)["Observation/K"]["status"], results(shelf)) == ("final", ["K"])


def test_a_replayed_older_issue_with_a_deleted_item_adds_nothing() -> None:
    shelf: Shelf = {}
    older = issue("final", "09:00", {"K": ("6.8", "entered-in-error"), "NA": "140"})
    receive(shelf, older)
    receive(shelf, issue("corrected", "10:00", {"NA": "139"}))
    before = {ref: len(versions) for ref, versions in shelf.items()}
    receive(shelf, older)
    assert {ref: len(versions) for ref, versions in shelf.items()} == before


def test_a_replayed_older_delta_adds_nothing() -> None:
    shelf: Shelf = {}
    deltas = [issue("final", f"{9 + n:02d}:00", {code: "1"}) for n, code in enumerate("ABC")]
    for one in deltas:
        receive(shelf, one, "delta")
    before = {ref: len(versions) for ref, versions in shelf.items()}
    for one in deltas:
        receive(shelf, one, "delta")
    assert {ref: len(versions) for ref, versions in shelf.items()} == before


def test_isolates_below_a_culture_are_withdrawn_with_it() -> None:
    shelf: Shelf = {}
    first = issue("final", "09:00", {"culture": "E. coli", "isolate": "E. coli", "drug": "R"})
    first[0]["result"] = first[0]["result"][:1]
    first[1]["hasMember"] = [{"reference": "Observation/isolate"}]
    first[2]["hasMember"] = [{"reference": "Observation/drug"}]
    receive(shelf, first)
    receive(shelf, issue("corrected", "10:00", {"culture": "no growth"}))
    assert current(shelf)["Observation/drug"]["status"] == "entered-in-error"
    assert current(shelf)["Observation/culture"]["status"] == "corrected"


def test_equal_issue_times_are_ordered_by_message_time_then_status() -> None:
    old, new = issue("final", "09:00", {}), issue("corrected", "09:00", {})
    stored = by_ref(new)
    assert [v.body["status"] for v in plan_report(old, stored).versions] == ["final", "corrected"]


P = issue("preliminary", "08:00", {"A": "1", "B": "2", "Z": "9"})
P_LATE = issue("preliminary", "20:00", {"A": "1p", "Q": "7"})
F = issue("final", "09:00", {"A": "1", "B": "3"})
C = issue("corrected", "10:00", {"A": "4"})
C_SAME_TIME = issue("corrected", "09:00", {"A": "5"})
VOID = issue("entered-in-error", "11:00", {"A": "4"})


@pytest.mark.parametrize("issues", [(P, F, C), (P, P_LATE, F, C), (P, F, C_SAME_TIME), (P, F, C, VOID), (P_LATE, F)])
def test_any_order_of_arrival_ends_in_the_same_state(issues: tuple[list[Json], ...]) -> None:
    ends = []
    for order in itertools.permutations(issues):
        shelf: Shelf = {}
        for one in order:
            receive(shelf, one)
        ends.append(current(shelf))
    assert all(end == ends[0] for end in ends)


ISSUES = st.lists(
    st.tuples(
        st.sampled_from(["preliminary", "final", "corrected", "cancelled", "entered-in-error"]),
        st.dictionaries(st.sampled_from("ABCD"), st.sampled_from(["1", "2", "3"]), max_size=4),
    ),
    min_size=1,
    max_size=4,
)


@given(ISSUES, st.randoms(use_true_random=False), st.booleans())
def test_any_issues_in_any_order_with_replays_end_in_the_same_state(
    drawn: list[tuple[str, dict[str, str]]], random: Any, timed: bool
) -> None:
    issues = [issue(status, f"{9 + n:02d}:00", items, issued=timed) for n, (status, items) in enumerate(drawn)]
    one: Shelf = {}
    for body in issues:
        receive(one, body)
    other: Shelf = {}
    shuffled = issues + random.choices(issues, k=2)
    random.shuffle(shuffled)
    for body in shuffled:
        receive(other, body)
    alive = {ref: body for ref, body in current(one).items() if body["status"] not in ("entered-in-error", "cancelled")}
    assert {ref: current(other)[ref] for ref in alive} == alive
    assert {r for r, b in current(other).items() if b["status"] not in ("entered-in-error", "cancelled")} == set(alive)
    assert one[ref_of(issues[0][0])][-1] == other[ref_of(issues[0][0])][-1]


DELTAS = st.lists(st.dictionaries(st.sampled_from("ABCD"), st.sampled_from("123"), min_size=1), min_size=1, max_size=4)


@given(DELTAS, st.randoms(use_true_random=False))
def test_deltas_in_any_order_leave_the_newest_value_of_every_item(drawn: list[dict[str, str]], random: Any) -> None:
    issues = [issue("final", f"{9 + n:02d}:00", items) for n, items in enumerate(drawn)]
    random.shuffle(issues)
    shelf: Shelf = {}
    for body in issues:
        receive(shelf, body, "delta")
    newest: dict[str, str] = {}
    for items in drawn:
        newest |= items
    got = {ref[-1]: body["valueString"] for ref, body in current(shelf).items() if ref.startswith("Obs")}
    assert got == newest
    assert set(results(shelf)) == set(newest)
