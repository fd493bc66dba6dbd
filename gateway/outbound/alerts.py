"""Alerts derived from one record: critical values, allergy conflicts, duplicate drugs, repeated examinations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Literal

from ..model.directory import Directory
from ..model.printed import effective_time, printed_value
from ..model.resource import Json
from ..model.systems import ACT_CODE, ALERT
from ..model.times import CHINA, parse_fhir
from ..recognise.match import is_lab, item_of_report, name_of
from ..recognise.rules import RuleItem, RuleSheet
from ..recognise.states import is_critical
from .drug_classes import DrugClasses, allergens, classes_of
from .lab_reading import full_text, notice_of, source_flag, told_words
from .labs import LabGrid, Reading, Row, grid
from .medication import Medicine, drug_name, medications
from .record import Record, member_name, member_of

__all__ = ["Alert", "DrugClasses", "alerts", "cautions", "critical_alerts", "to_detected_issues"]

Kind = Literal["critical-value", "allergy-conflict", "duplicate-medication", "repeated-examination"]
Severity = Literal["high", "moderate", "low"]

CRITICAL_FOR = timedelta(days=30)
"""A critical value nobody repeated stays an alert this long; then it is history in the laboratory grid."""

_WEIGHT: dict[Kind, Severity] = {
    "critical-value": "high",
    "allergy-conflict": "high",
    "duplicate-medication": "moderate",
    "repeated-examination": "low",
}
_TITLES: dict[Kind, str] = {
    "critical-value": "危急值",
    "allergy-conflict": "过敏冲突",
    "duplicate-medication": "同药重复",
    "repeated-examination": "重复检查",
}
_BANDS = {"report": "参考区间 ", "declared": "机构公布区间 ", "none": ""}
_ACT_CODES: dict[Kind, tuple[str, str]] = {
    "allergy-conflict": ("ALGY", "Allergy Alert"),
    "duplicate-medication": ("DUPTHPY", "Duplicate Therapy Alert"),
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. title_zh: the bold words (`同药重复 ×2：阿司匹林`); text_zh: the rest of the line.

    evidence: `Type/id` references, the newest first. identified_at: when the newest evidence was made.
    told/told_at: who was told of a critical value, and when ("" and None: the source did not say).
    """

    kind: Kind
    severity: Severity
    title_zh: str
    text_zh: str
    evidence: tuple[str, ...]
    identified_at: datetime | None = None
    told: str = ""
    told_at: datetime | None = None


def alerts(
    record: Record,
    directory: Directory,
    classes: DrugClasses,
    sheet: RuleSheet,
    *,
    at: datetime,
    labs: LabGrid | None = None,
) -> list[Alert]:
    """All alerts at `at`, gravest first, newest first within a kind.

    labs: the record's grid where the caller has made it already; critical values are read from it.
    """
    labs = labs or grid(record, directory, at=at)
    return [*critical_alerts(record, directory, labs, at=at), *cautions(record, directory, classes, sheet, at=at)]


def cautions(
    record: Record, directory: Directory, classes: DrugClasses, sheet: RuleSheet, *, at: datetime
) -> list[Alert]:
    """All but the critical results, in the same order; without a look at the thousands of laboratory results."""
    current = medications(record, directory, at=at).current
    found = [
        *_conflicts(record, directory, current, classes),
        *_duplicates(current),
        *_repeats(record, directory, sheet, at),
    ]
    order = list(_WEIGHT)
    return sorted(_newest_first(found, at), key=lambda alert: order.index(alert.kind))


def _newest_first(found: Iterable[Alert], at: datetime) -> list[Alert]:
    return sorted(found, key=lambda alert: alert.identified_at or at, reverse=True)


# ---- critical values ----------------------------------------------------------------------------
def critical_alerts(record: Record, directory: Directory, labs: LabGrid, *, at: datetime) -> list[Alert]:
    """Critical results that stand, of the laboratory's grid and of examinations and cultures, newest first."""
    return _newest_first([*_critical(labs, directory, at), *_critical_elsewhere(record, labs, directory, at)], at)


def _critical(labs: LabGrid, directory: Directory, at: datetime) -> Iterator[Alert]:
    for row in labs.rows:
        # Only the newest answer of an analyte speaks: a later normal one answers the critical one before it.
        last = row.standing
        if last is None or not last.critical:
            continue
        moment = last.times.issued or last.times.collected or last.times.arrived
        if moment is None or at - moment <= CRITICAL_FOR:
            yield _critical_alert(row, last, moment, directory)


def _critical_alert(row: Row, cell: Reading, moment: datetime | None, directory: Directory) -> Alert:
    unit = row.unit if cell.shown and cell.shown.renamed else cell.unit
    flag = f" {cell.flag.zh}" if cell.flag else ""
    value = f"{cell.value} {unit}".strip()
    band = f"{_BANDS[cell.band.origin]}{cell.band.text}"
    member = member_name(cell.member, directory)
    notice = cell.notice_told, cell.notice_at
    return _of_critical(f"{row.name} {value}{flag}", f"{band}；{member}", cell.observation_id, moment, notice)


def _of_critical(
    what: str, whose: str, observation_id: str, moment: datetime | None, notice: tuple[str, datetime | None]
) -> Alert:
    """notice: who was told, and when."""
    told, told_at = notice
    return Alert(
        kind="critical-value",
        severity=_WEIGHT["critical-value"],
        title_zh=f"危急值：{what}",
        text_zh=f"{whose} {_told(told, told_at, moment)}。",
        evidence=(f"Observation/{observation_id}",),
        identified_at=moment,
        told=told,
        told_at=told_at,
    )


def _critical_elsewhere(record: Record, labs: LabGrid, directory: Directory, at: datetime) -> Iterator[Alert]:
    """Critical results that have no row in the grid: of examinations, and of cultures."""
    inside = {cell.observation_id for row in labs.rows for cell in row.cells if cell}
    newest: dict[tuple[str, str], tuple[datetime, Json]] = {}
    for item in record.observations:
        if item.get("id") in inside or item.get("status") == "cancelled" or not printed_value(item)[0]:
            continue
        moment = _moment_of(record, item)
        key = (member_of(item, directory), name_of(item))
        if key not in newest or newest[key][0] <= moment:
            newest[key] = (moment, item)
    for moment, item in newest.values():
        if is_critical(item) and at - moment <= CRITICAL_FOR:
            yield _alert_elsewhere(item, moment, directory)


def _moment_of(record: Record, item: Json) -> datetime:
    said = item.get("issued") or effective_time(item)
    return parse_fhir(str(said)) if said else record.arrived[f"Observation/{item.get('id', '')}"]


def _alert_elsewhere(item: Json, moment: datetime, directory: Directory) -> Alert:
    member = member_name(member_of(item, directory), directory)
    what = f"{name_of(item)} {full_text(item)}{told_words(source_flag(item))}"
    return _of_critical(what, member, str(item.get("id", "")), moment, notice_of(item))


def _told(told: str, told_at: datetime | None, moment: datetime | None) -> str:
    if told or told_at:
        return f"{_clock(told_at)} 已告知 {told or '（未写明何人）'}".strip()
    return f"{_clock(moment)} 发布，告知情况来源未提供".strip()


# ---- allergy conflicts ---------------------------------------------------------------------------
def _conflicts(
    record: Record, directory: Directory, current: Sequence[Medicine], classes: DrugClasses
) -> Iterator[Alert]:
    known = [(allergy, word) for allergy in record.allergies if _is_active(allergy) for word in _words(allergy)]
    for medicine in current:
        for allergy, word in known:
            if _conflict(medicine, word, classes):
                yield _conflict_alert(medicine, allergy, word, directory)
                break


def _is_active(allergy: Json) -> bool:
    states = {c.get("code") for c in allergy.get("clinicalStatus", {}).get("coding", ())}
    return not states & {"inactive", "resolved"}


def _words(allergy: Json) -> tuple[str, ...]:
    code = allergy.get("code", {})
    if any(c.get("code") == "no-known-allergy" for c in code.get("coding", ())):
        return ()
    return allergens(str(code.get("text") or next((c.get("display", "") for c in code.get("coding", ())), "")))


def _conflict(medicine: Medicine, allergen: str, classes: DrugClasses) -> bool:
    if medicine.drug == drug_name(allergen):
        return True
    return bool(classes_of(medicine.name, classes) & classes_of(allergen, classes))


def _conflict_alert(medicine: Medicine, allergy: Json, allergen: str, directory: Directory) -> Alert:
    source = member_name(member_of(allergy, directory), directory)
    return Alert(
        kind="allergy-conflict",
        severity=_WEIGHT["allergy-conflict"],
        title_zh=f"{medicine.name}与过敏史冲突：{allergen}",
        text_zh=f"{medicine.member_name} {_day(medicine.start)} {medicine.origin_zh}；过敏史来源 {source}。",
        evidence=(f"MedicationRequest/{medicine.request_id}", f"AllergyIntolerance/{allergy.get('id', '')}"),
        identified_at=_midnight(medicine.start),
    )


# ---- duplicate drugs -----------------------------------------------------------------------------
def _duplicates(current: Sequence[Medicine]) -> Iterator[Alert]:
    by_drug: dict[str, list[Medicine]] = {}
    for line in current:
        if line.duplicates:
            by_drug.setdefault(line.drug, []).append(line)
    for lines in by_drug.values():
        newest, *older = lines
        times = len({(line.member, line.start) for line in lines})
        said = "，".join(_older(line) for line in older if (line.member, line.start) != (newest.member, newest.start))
        yield Alert(
            kind="duplicate-medication",
            severity=_WEIGHT["duplicate-medication"],
            title_zh=f"同药重复 ×{times}：{newest.name}",
            text_zh=f"{said}，{newest.member_name} {_day(newest.start)} 又开出。续方前请核对。",
            evidence=tuple(f"MedicationRequest/{line.request_id}" for line in lines),
            identified_at=_midnight(newest.start),
        )


def _older(line: Medicine) -> str:
    if line.days_left is not None:
        return f"{line.member_name}{line.origin_zh}尚余 {line.days_left} 天"
    return f"{line.member_name} {_day(line.start)} {line.origin_zh}（天数来源未提供）"


# ---- repeated examinations -----------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Examination:
    """One examination: its report, or images nobody has reported on."""

    reference: str
    item: RuleItem
    member: str
    at: datetime
    studies: frozenset[str]


def _repeats(record: Record, directory: Directory, sheet: RuleSheet, at: datetime) -> Iterator[Alert]:
    by_item: dict[str, list[_Examination]] = {}
    for examination in _examinations(record, directory, sheet):
        by_item.setdefault(examination.item.code, []).append(examination)
    for same in by_item.values():
        same.sort(key=lambda examination: examination.at)
        for earlier, later in pairwise(same):
            if _is_repeat(earlier, later) and at - later.at <= later.item.window.length:
                yield _repeat_alert(earlier, later, directory)


def _is_repeat(earlier: _Examination, later: _Examination) -> bool:
    if earlier.studies & later.studies:
        return False  # two reports on the same images
    return later.at - earlier.at <= earlier.item.window.length


def _examinations(record: Record, directory: Directory, sheet: RuleSheet) -> Iterator[_Examination]:
    reported: set[str] = set()
    done: set[tuple[str, str, date]] = set()
    for report in record.reports:
        studies = record.studies_of(report)
        reported.update(str(study.get("id")) for study in studies)
        found = (
            None if is_lab(report) or report.get("status") == "cancelled" else item_of_report(report, studies, sheet)
        )
        made = effective_time(report) or next((s["started"] for s in studies if s.get("started")), None)
        moment = made or report.get("issued")
        if found and moment:
            one = _examination(report, found, moment, directory, frozenset(str(study.get("id")) for study in studies))
            done.add((one.member, found.code, _china_day(one.at)))
            yield one
    for study in record.studies:
        found = item_of_report({}, (study,), sheet)
        if found is None or not study.get("started") or str(study.get("id")) in reported:
            continue
        one = _examination(study, found, study["started"], directory, frozenset({str(study.get("id"))}))
        # Images whose report came without a link are the examination already counted.
        if (one.member, found.code, _china_day(one.at)) not in done:
            yield one


def _examination(
    resource: Json, item: RuleItem, moment: object, directory: Directory, studies: frozenset[str]
) -> _Examination:
    reference = f"{resource['resourceType']}/{resource.get('id', '')}"
    return _Examination(reference, item, member_of(resource, directory), parse_fhir(str(moment)), studies)


def _repeat_alert(earlier: _Examination, later: _Examination, directory: Directory) -> Alert:
    days = (_china_day(later.at) - _china_day(earlier.at)).days
    within = f"{days} 天内重复" if days else "当日重复"
    one, other = (f"{member_name(e.member, directory)} {_china_day(e.at):%m-%d}" for e in (later, earlier))
    return Alert(
        kind="repeated-examination",
        severity=_WEIGHT["repeated-examination"],
        title_zh=f"{within}：{later.item.name}",
        text_zh=f"{one} 与 {other} 同部位、同方法。",
        evidence=(later.reference, earlier.reference),
        identified_at=later.at,
    )


# ---- FHIR ------------------------------------------------------------------------------------------
def to_detected_issues(found: Sequence[Alert], patient_id: str, *, at: datetime) -> list[Json]:
    """FHIR R4 DetectedIssue for each alert, for `Patient/{id}/$alerts`; without id, they are not stored."""
    return [_issue(alert, patient_id, at) for alert in found]


def _issue(alert: Alert, patient_id: str, at: datetime) -> Json:
    codings = [{"system": ALERT, "code": alert.kind, "display": _TITLES[alert.kind]}]
    if alert.kind in _ACT_CODES:
        code, display = _ACT_CODES[alert.kind]
        codings.append({"system": ACT_CODE, "code": code, "display": display})
    return {
        "resourceType": "DetectedIssue",
        "status": "final",
        "code": {"coding": codings, "text": alert.title_zh},
        "severity": alert.severity,
        "patient": {"reference": f"Patient/{patient_id}"},
        "identifiedDateTime": (alert.identified_at or at).isoformat(timespec="seconds"),
        "implicated": [{"reference": reference} for reference in alert.evidence],
        "detail": f"{alert.title_zh}。{alert.text_zh}",
    }


def _clock(moment: datetime | None) -> str:
    return f"{moment.astimezone(CHINA):%m-%d %H:%M}" if moment else ""


def _day(day: date | None) -> str:
    return f"{day:%m-%d}" if day else "日期未知"


def _china_day(moment: datetime) -> date:
    return moment.astimezone(CHINA).date()


def _midnight(day: date | None) -> datetime | None:
    return datetime(day.year, day.month, day.day, tzinfo=CHINA) if day else None
