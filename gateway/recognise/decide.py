"""互认 of one report and each of its items, by the area's rule sheet. Pure: no clock, no disk.

Covers data and images, never a doctor's conclusion (国卫医发〔2022〕6号; D25). What is decided here is words for
a doctor: the attending doctor's judgement stays above it. Order of weight: state of the result, listing, scope,
level, quality, window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ..model.directory import Directory
from ..model.outcome import Finding
from ..model.resource import Json, reference_id
from . import reasons
from .decision import ItemDecision, ReportDecision, best, summed
from .listing import AppliedRule, RuleItem, RuleSheet, State
from .match import (
    is_examination,
    is_lab,
    item_of_observation,
    item_of_report,
    name_of,
    only_named,
    shows_other_part,
)
from .newest import Newest
from .parameters import patient_parameters, to_parameters
from .quality import Quality, quality_of
from .reasons import Reason, Verdict
from .scope import Viewer, scope_of
from .specimen import at_bedside, doubt, is_of, kinds_of, specimens_of
from .states import is_critical, states_of
from .windows import Times, times_of, window_of
from .words import CopyText, citation, copy_text

__all__ = [
    "AppliedRule",
    "CopyText",
    "ItemDecision",
    "ReportDecision",
    "Viewer",
    "citation",
    "copy_text",
    "decide",
    "patient_parameters",
    "to_parameters",
]

Note = tuple[Verdict, Reason]


@dataclass(frozen=True, slots=True)
class _Case:
    """What is the same for every item of one report."""

    report: Json
    sheet: RuleSheet
    producer: str
    viewer: Viewer
    directory: Directory
    at: datetime
    specimens: Mapping[str, Json] = field(default_factory=dict)
    newest: Newest = field(default_factory=Newest)


def decide(
    report: Json,
    items: Sequence[Json],
    studies: Sequence[Json],
    sheet: RuleSheet,
    *,
    producer: str,
    viewer: Viewer,
    directory: Directory,
    images_answer: bool,
    at: datetime,
    specimens: Mapping[str, Json] | None = None,
    newest: Newest | None = None,
) -> ReportDecision:
    """Verdict on a DiagnosticReport and each of its items at the instant `at`.

    items: its Observations (entered-in-error ones are left out, the order of `result` is kept); empty for an
    examination, which is one item by itself. studies: its ImagingStudies; images_answer: whether the member's
    PACS gives their frames now. specimens: by id, those its items name. newest: what the resident's whole record
    holds of each item; None when only this report is known.
    """
    case = _Case(report, sheet, producer, viewer, directory, at, specimens or {}, newest or Newest())
    measured = _in_order(report, items)
    if is_lab(report) or (measured and not is_examination(report)):
        judged = [_lab_item(case, observation) for observation in measured]
    else:
        judged = [_examination(case, measured, studies, images_answer)]
    return _whole(case, [item for item, _ in judged], [finding for _, found in judged for finding in found])


def _in_order(report: Json, items: Sequence[Json]) -> list[Json]:
    present = [item for item in items if item.get("status") != "entered-in-error"]
    place = {reference_id(ref, "Observation"): n for n, ref in enumerate(report.get("result", ()))}
    return sorted(present, key=lambda item: place.get(str(item.get("id", "")), len(place)))


def _lab_item(case: _Case, observation: Json) -> tuple[ItemDecision, list[Finding]]:
    item = item_of_observation(observation, case.sheet)
    specimens = specimens_of(case.report, observation, case.specimens)
    times = times_of(case.report, observation, specimens)
    doubted = doubt(case.report, observation, specimens)
    notes = _excluded(case, item, states_of(case.report, observation, doubted), doubted)
    if item is not None:
        notes += _of_specimen(item, observation, kinds_of(specimens))
        notes += [(Verdict.JUDGE, reasons.POINT_OF_CARE)] if at_bedside(observation) else []
        notes += case.newest.than(item, observation, times)
    return _judged(case, item, observation, name_of(observation), notes, times)


def _of_specimen(item: RuleItem, observation: Json, kinds: tuple[str, ...]) -> list[Note]:
    if not item.specimens or (not kinds and not only_named(observation)):
        return []
    if not kinds:
        return [(Verdict.JUDGE, reasons.NO_SPECIMEN)]
    return [] if is_of(item, kinds) else [(Verdict.JUDGE, reasons.OTHER_SPECIMEN.because("、".join(kinds)))]


def _examination(
    case: _Case, measured: Sequence[Json], studies: Sequence[Json], images_answer: bool
) -> tuple[ItemDecision, list[Finding]]:
    item = item_of_report(case.report, studies, case.sheet)
    notes = _excluded(case, item, states_of(case.report, None))
    if any(is_critical(observation) for observation in measured):
        notes += _excluded(case, item, frozenset({"critical"}))
    if item is not None and shows_other_part(item, studies):
        notes.append((Verdict.JUDGE, reasons.BODY_PART))
    if not studies:
        notes.append((Verdict.JUDGE, reasons.NO_IMAGES.because(_only_a_report(case))))
    elif not images_answer:
        notes.append((Verdict.JUDGE, reasons.NO_IMAGES.because("影像暂时打不开")))
    else:
        notes.append((Verdict.YES_IMAGES, reasons.VIEW_IMAGES))
    return _judged(case, item, None, name_of(case.report), notes, times_of(case.report, None, studies))


def _only_a_report(case: _Case) -> str:
    producer = case.directory.members.get(case.producer)
    connected = producer is not None and "images" in producer.provides
    return "只有报告，没有送来影像" if connected else "只有报告，影像来源未接入"


def _excluded(case: _Case, item: RuleItem | None, states: frozenset[State], doubted: str = "") -> list[Note]:
    spoken = [ex for ex in case.sheet.exclusions if ex.speaks(states, item)]
    return [(ex.verdict, ex.reason.because(doubted) if ex.when == "doubtful" else ex.reason) for ex in spoken]


def _judged(
    case: _Case, item: RuleItem | None, observation: Json | None, name: str, notes: list[Note], times: Times
) -> tuple[ItemDecision, list[Finding]]:
    observation_id = str(observation.get("id", "")) if observation else ""
    if item is None:
        notes.append((case.sheet.unlisted, reasons.NOT_LISTED))
        return ItemDecision(observation_id, name, _worst(notes), None, _against(notes), None), []
    scope, scope_notes = scope_of(item, case.producer, case.viewer, case.directory, case.sheet, case.at)
    quality = quality_of(item, case.producer, name, times.issued or times.collected, case.sheet)
    until, window_notes = window_of(item.window, times, case.at)
    notes += [*scope_notes, *quality.notes, *window_notes]
    verdict = _worst(notes)
    rule = AppliedRule.of(item, scope, quality.evidence)
    told = _for(notes) if verdict.recognisable else _against(notes)
    end = until if _window_matters(verdict, told) else None
    return ItemDecision(observation_id, name, verdict, end, told, rule), _finding(case, observation_id, quality)


def _worst(notes: Iterable[Note]) -> Verdict:
    weight = list(Verdict)
    return max((verdict for verdict, _ in notes), key=weight.index, default=Verdict.YES)


def _for(notes: Iterable[Note]) -> tuple[Reason, ...]:
    # The window is what a doctor asks first, so it leads: 生化 30 天 · 质评合格.
    told = sorted(notes, key=lambda note: note[1].code != reasons.IN_WINDOW.code)
    return tuple(reason for verdict, reason in told if verdict.recognisable)


def _against(notes: Iterable[Note]) -> tuple[Reason, ...]:
    # A stable sort: what refuses stands before what asks for judgement, each in order of weight.
    told = sorted((note for note in notes if not note[0].recognisable), key=lambda note: note[0] is not Verdict.NO)
    return tuple(dict.fromkeys(reason for _, reason in told))


def _window_matters(verdict: Verdict, told: tuple[Reason, ...]) -> bool:
    # An end shown beside "质评未通过" would read as if the result held until then.
    return verdict is not Verdict.NO or any(reason.code == reasons.EXPIRED.code for reason in told)


def _finding(case: _Case, observation_id: str, quality: Quality) -> list[Finding]:
    if not quality.mark_unproved:
        return []
    place = f"Observation/{observation_id}" if observation_id else f"DiagnosticReport/{case.report.get('id', '')}"
    reason = reasons.MARK_WITHOUT_EVIDENCE
    return [Finding("GW-REC-001", "warning", place, f"{reason.zh}。", f"{reason.en}.")]


def _whole(case: _Case, items: list[ItemDecision], findings: list[Finding]) -> ReportDecision:
    yes, ends, told = summed(items)
    # Without items it is the report alone that says what it is worth: a cancelled one nothing.
    alone = [] if items else [*_excluded(case, None, states_of(case.report, None)), (Verdict.JUDGE, reasons.NO_ITEMS)]
    return ReportDecision(
        report_id=str(case.report.get("id", "")),
        verdict=best(items) if items else _worst(alone),
        recognisable=yes,
        total=len(items),
        valid_until=min(ends, default=None),
        reasons=told or _against(alone),
        items=tuple(items),
        producer=case.producer,
        at=case.at,
        rules=case.sheet.title,
        findings=tuple(findings),
    )
