"""互认 as a page: one report in full with its exceptions first, the other reports as a list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...model.printed import concept_text
from ...model.resource import Json
from ...recognise.acts import WORDS, of_issue
from ...recognise.decide import CopyText, ItemDecision, ReportDecision, copy_text
from ...recognise.match import is_lab
from ...recognise.reasons import FOR_REPEATING, Reason, Verdict
from . import moments
from .decisions import FIELD, to_decide
from .moments import When
from .opened import Derived, Opened, report_time
from .verdicts import Exempt, because_words, count_words, exempt, repeat_words, until_words
from .views_report import Item, report_sheet
from .withheld import LAB, nothing
from .words import Absent, Mark, mark_of

_MOST = 100
RECORDED = "recorded"
_SAID = {
    RECORDED: "已记录，计入本月互认统计。",
    "no-decision": "没有记录：请选择予以互认或重新检查。",
    "no-items": "没有记录：请至少勾选一个项目。",
    "no-reason": "没有记录：重新检查须选一个理由。",
    "no-note": "没有记录：选“其他”须写明说明。",
}
_ORDER = {Verdict.NO: 0, Verdict.JUDGE: 1, Verdict.YES_IMAGES: 2, Verdict.YES: 3}


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One item: result, verdict, until when, why."""

    item: Item
    mark: Mark
    until: When | None
    because: str


@dataclass(frozen=True, slots=True)
class Group:
    """`不可互认 5 项` and its rows."""

    title: str
    rows: tuple[ItemRow, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One square of the roll-up: x and whether it is recognisable."""

    x: int
    yes: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """One item the doctor may decide on: form field, name, whether it is ticked."""

    field: str
    name: str
    ticked: bool


@dataclass(frozen=True, slots=True)
class Done:
    """One decision recorded: `予以互认：钾、钠`, why, in whose name."""

    at: When
    doctor: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """The report shown in full."""

    id: str
    title: str
    hospital: str
    issued: When
    count: str
    until: str
    mark: Mark
    cells: tuple[Cell, ...]
    cells_words: str
    exceptions: tuple[Exempt, ...]
    groups: tuple[Group, ...]
    copy: CopyText
    recognisable: int
    refused: int
    examination: bool
    repeat: str
    report_href: str
    choices: tuple[Choice, ...]
    done: tuple[Done, ...]


@dataclass(frozen=True, slots=True)
class Other:
    """One line of the list of reports."""

    mark: Mark
    title: str
    hospital: str
    at: When
    until: str
    because: str
    href: str
    current: bool
    repeat: str


@dataclass(frozen=True, slots=True)
class RecognisePage:
    """chosen None: the resident has no report. others: the newest of `count` reports.

    said: what became of the decision just sent, "" for none; missing: it was not kept.
    """

    rules: str
    chosen: Chosen | None
    others: tuple[Other, ...]
    count: int
    reasons: tuple[Reason, ...]
    empty: Absent
    said: str = ""
    missing: bool = False


def recognise_page(opened: Opened, derived: Derived, rules: str, report_id: str = "", said: str = "") -> RecognisePage:
    """report_id: the report to show in full; else the newest one with several items, else the newest."""
    decisions = [(report, derived.decision(report)) for report in derived.reports[:_MOST]]
    asked = (report for report in derived.reports if report["id"] == report_id)
    chosen = next(((report, derived.decision(report)) for report in asked), None)
    chosen = chosen or next((pair for pair in decisions if pair[1].total > 1), None) or next(iter(decisions), None)
    return RecognisePage(
        rules=rules,
        chosen=_chosen(opened, derived, *chosen) if chosen else None,
        others=tuple(_other(opened, derived, r, d, chosen is not None and r is chosen[0]) for r, d in decisions),
        count=len(derived.reports),
        reasons=FOR_REPEATING,
        empty=nothing(opened.withheld, LAB, "互认", "没有可供判定的报告。"),
        said=_SAID.get(said, ""),
        missing=said != RECORDED,
    )


def _chosen(opened: Opened, derived: Derived, report: Json, decision: ReportDecision) -> Chosen:
    items = opened.record.items_of(report)
    lines = dict(zip((i["id"] for i in items), report_sheet(opened, report, items, current=True).items, strict=True))
    return Chosen(
        id=report["id"],
        title=concept_text(report.get("code", {})) or "报告",
        hospital=opened.says(report),
        issued=moments.minute(report_time(report), opened.at, full=True),
        count=f"{decision.recognisable}/{decision.total} 可互认" if decision.total > 1 else "",
        until=until_words(opened, decision),
        mark=mark_of(decision.verdict),
        cells=_cells(decision),
        cells_words=f"{decision.total} 项中 {decision.recognisable} 项可互认",
        exceptions=tuple(exempt(opened, decision)),
        groups=tuple(_groups(opened, decision, lines)),
        copy=copy_text(report, items, decision, opened.says(report)),
        recognisable=decision.recognisable,
        refused=sum(item.verdict is Verdict.NO for item in decision.items),
        examination=not is_lab(report),
        repeat=repeat_words(derived, report),
        report_href=f"/ui/p/{opened.id}/report/{report['id']}",
        choices=tuple(
            Choice(f"{FIELD}{item.observation_id}", item.name, item.verdict.recognisable)
            for item in to_decide(decision, opened.who.member)
        ),
        done=tuple(_done(opened, report)),
    )


def _done(opened: Opened, report: Json) -> Iterator[Done]:
    """Decisions on this report, newest first."""
    acts = [act for act in map(of_issue, opened.record.current("DetectedIssue")) if act and act.report == report["id"]]
    for act in sorted(acts, key=lambda act: act.at, reverse=True):
        what = f"{WORDS[act.kind]}：{'、'.join(item.name for item in act.items)}"
        why = "：".join(filter(None, (act.reason.zh, act.note))) if act.reason else ""
        yield Done(moments.of(act.at, opened.at), act.doctor, what, why)


def _cells(decision: ReportDecision) -> tuple[Cell, ...]:
    yes = [item.verdict.recognisable for item in decision.items]
    return tuple(Cell(15 * i, good) for i, good in enumerate(sorted(yes, reverse=True)))


def _groups(opened: Opened, decision: ReportDecision, lines: dict[str, Item]) -> Iterator[Group]:
    """Exceptions first: not recognisable, to be judged, recognisable."""
    for verdict in sorted(_ORDER, key=lambda v: _ORDER[v]):
        found = [item for item in decision.items if item.verdict is verdict and item.observation_id in lines]
        if found:
            rows = tuple(_row(opened, item, lines[item.observation_id]) for item in found)
            yield Group(f"{verdict.zh} {len(rows)} 项", rows)


def _row(opened: Opened, decision: ItemDecision, item: Item) -> ItemRow:
    until = moments.of(decision.valid_until, opened.at) if decision.valid_until else None
    return ItemRow(item, mark_of(decision.verdict), until, " · ".join(reason.text for reason in decision.reasons))


def _other(opened: Opened, derived: Derived, report: Json, decision: ReportDecision, current: bool) -> Other:
    return Other(
        mark=mark_of(decision.verdict, count_words(decision)),
        title=concept_text(report.get("code", {})) or "报告",
        hospital=opened.says(report),
        at=moments.minute(report_time(report), opened.at),
        until=until_words(opened, decision),
        because=because_words(opened, decision),
        href=f"/ui/p/{opened.id}/recognise?report={report['id']}",
        current=current,
        repeat=repeat_words(derived, report),
    )
