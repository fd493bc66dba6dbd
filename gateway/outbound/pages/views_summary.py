"""The one-page summary: what needs a decision first, then the record, then which member gave what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ...model.printed import effective_time
from ...model.resource import Json
from ...recognise.decide import ItemDecision, ReportDecision
from ...recognise.match import is_lab
from ..alerts import Alert
from ..labs import Band, Reading, Row
from . import moments
from .moments import When
from .opened import Derived, Opened, instant_of, report_time
from .spark import Spark, spark
from .verdicts import because_words, count_words, repeat_words, until_words
from .views_culture import culture_reports, growths
from .views_labs import item_decision, readings
from .views_medication import Drug, current_drugs, forbidden_words
from .views_report import STATUS, conclusion_of, lines_of
from .views_sources import SourceRow, answered, kind_titles, legend, source_rows
from .views_visits import VisitLine, visit_lines
from .withheld import DRUGS, LAB, PROBLEMS, VISITS, nothing
from .words import Absent, Flag, Mark, flag_of, mark_of

_SHOWN_ABNORMAL = 8
_SHOWN = 4
_YEAR = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Critical:
    """One critical value that stands: value, range, who was told and when."""

    item: str
    value: str
    unit: str
    flag: Flag
    range: str
    member: str
    at: When
    told: str
    mark: Mark | None
    href: str


@dataclass(frozen=True, slots=True)
class Caution:
    """An allergy conflict, a duplicate drug, a repeated examination."""

    icon: str
    title: str
    text: str
    href: str
    link: str


@dataclass(frozen=True, slots=True)
class Correction:
    """`4.2 已更正`: the value that counts, what it was before, when and where."""

    lead: str
    item: str
    value: str
    unit: str
    was: str
    at: When
    member: str
    href: str


@dataclass(frozen=True, slots=True)
class AbnormalRow:
    """One analyte whose newest result is flagged. status: 初步 while nobody has checked it."""

    name: str
    short: str
    value: str
    unit: str
    converted: str
    flag: Flag
    status: str
    band: Band
    spark: Spark | None
    member: str
    at: When


@dataclass(frozen=True, slots=True)
class Problem:
    """One diagnosis, with where and when it was first written down."""

    title: str
    code: str
    member: str
    at: When


@dataclass(frozen=True, slots=True)
class Examination:
    """Name, hospital, day and the doctor's conclusion, which carries no mark."""

    title: str
    member: str
    at: When
    conclusion: str
    repeat: str


@dataclass(frozen=True, slots=True)
class RollUp:
    """One report and how much of it is recognisable."""

    mark: Mark
    title: str
    until: str
    because: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything `templates/summary.html` says; an empty list comes with the box that says why."""

    answered: str
    criticals: tuple[Critical, ...]
    alerts: tuple[Caution, ...]
    corrections: tuple[Correction, ...]
    medication: tuple[Drug, ...]
    medication_count: str
    no_medication: Absent
    abnormal: tuple[AbnormalRow, ...]
    abnormal_more: int
    no_abnormal: Absent
    problems: tuple[Problem, ...]
    no_problems: Absent
    visits: tuple[VisitLine, ...]
    visit_count: int
    no_visits: Absent
    imaging: tuple[Examination, ...]
    imaging_count: int
    no_imaging: Absent
    recognition: tuple[RollUp, ...]
    no_recognition: Absent
    kinds: tuple[str, ...]
    sources: tuple[SourceRow, ...]
    legend: str


def summary(opened: Opened, derived: Derived) -> Summary:
    """The summary of one resident."""
    abnormal = _abnormal(opened, derived)
    examinations = [r for r in derived.reports if not is_lab(r)]
    visits, sources = visit_lines(opened), source_rows(opened)
    return Summary(
        answered=answered(opened),
        criticals=tuple(_criticals(opened, derived)),
        alerts=(*_warnings(opened, derived), *_growths(opened)),
        corrections=tuple(_corrections(opened, derived)),
        medication=current_drugs(opened, derived),
        medication_count=f"{len(derived.medication.current)} 条 · 过往用药 {len(derived.medication.past)} 条",
        no_medication=nothing(opened.withheld, DRUGS, "用药", "已接入用药的成员单位都没有此人的现用药。"),
        abnormal=tuple(abnormal[:_SHOWN_ABNORMAL]),
        abnormal_more=max(0, len(abnormal) - _SHOWN_ABNORMAL),
        no_abnormal=_no_abnormal(opened),
        problems=tuple(_problems(opened)),
        no_problems=nothing(opened.withheld, PROBLEMS, "问题", "没有成员单位写下的诊断。"),
        visits=visits[:_SHOWN],
        visit_count=len(visits),
        no_visits=nothing(opened.withheld, VISITS, "就诊", "已接入就诊的成员单位都没有此人的就诊。"),
        imaging=tuple(_examination(opened, derived, r) for r in examinations[:_SHOWN]),
        imaging_count=len(examinations),
        no_imaging=nothing(opened.withheld, LAB, "检查", "已接入检查的成员单位都没有此人的检查。"),
        recognition=tuple(_roll_up(opened, r, derived.decision(r)) for r in derived.reports[:_SHOWN]),
        no_recognition=nothing(opened.withheld, LAB, "互认", "没有可供判定的报告。"),
        kinds=kind_titles(),
        sources=sources,
        legend=legend(sources),
    )


# ---- what needs a decision -----------------------------------------------------------------------
def _criticals(opened: Opened, derived: Derived) -> Iterator[Critical]:
    by_id = {f"Observation/{r.observation_id}": (row, r) for row, _, r in readings(derived.labs)}
    for alert in derived.criticals:
        found = next((by_id[ref] for ref in alert.evidence if ref in by_id), None)
        yield _critical(opened, derived, alert, *found) if found else _critical_in_words(opened, alert)


def _critical(opened: Opened, derived: Derived, alert: Alert, row: Row, reading: Reading) -> Critical:
    told_at = alert.told_at or reading.notice_at
    told = alert.told or reading.notice_told
    decision = item_decision(derived, reading)
    made = reading.times.issued or reading.times.collected or alert.identified_at
    return Critical(
        item=" ".join(filter(None, (row.name, row.short))) + f"（{reading.status_zh}）" * reading.unchecked,
        value=reading.value,
        unit=reading.unit,
        flag=flag_of(reading.flag),
        range=_range_words(reading.band),
        member=opened.member_name(reading.member),
        at=moments.of(told_at or made, opened.at),
        told=f"已告知 {told}" if told else "来源未提供告知记录",
        mark=_verdict_with_reason(decision),
        href=f"/ui/p/{opened.id}/labs?item={reading.observation_id}#detail",
    )


def _verdict_with_reason(decision: ItemDecision | None) -> Mark | None:
    """`不可互认（变化较快）`."""
    if decision is None:
        return None
    refused = not decision.verdict.recognisable and decision.reasons
    return mark_of(decision.verdict, f"{decision.verdict.zh}（{decision.reasons[0].zh}）" if refused else "")


def _range_words(band: Band) -> str:
    return {"report": "参考区间 ", "declared": "机构公布区间 ", "none": ""}[band.origin] + band.text


def _critical_in_words(opened: Opened, alert: Alert) -> Critical:
    """A critical value outside the grid (a culture, an examination): as the alert says it, with its report."""
    observation = opened.record.get(alert.evidence[0]) or {}
    report = opened.record.report_of(observation)
    return Critical(
        item=alert.title_zh.removeprefix("危急值："),
        value="",
        unit="",
        flag=Flag(),
        range=alert.text_zh,
        member="",
        at=When("", ""),
        told="",
        mark=None,
        href=f"/ui/p/{opened.id}/report/{report['id']}" if report else f"/ui/p/{opened.id}/imaging",
    )


_WARNINGS = {
    "allergy-conflict": ("warn", "medication", "看用药"),
    "duplicate-medication": ("repeat", "medication", "看用药"),
    "repeated-examination": ("repeat", "imaging", "看检查"),
}


def _warnings(opened: Opened, derived: Derived) -> Iterator[Caution]:
    for alert in derived.cautions:
        icon, tab, link = _WARNINGS[alert.kind]
        yield Caution(icon, alert.title_zh, alert.text_zh, f"/ui/p/{opened.id}/{tab}", link)
    for medicine in derived.medication.forbidden:
        yield Caution("warn", *forbidden_words(medicine, opened.at), f"/ui/p/{opened.id}/medication", "看用药")


def _growths(opened: Opened) -> Iterator[Caution]:
    """Cultures of the last year that something grew in: no row of the laboratory grid would tell."""
    for report, isolates in growths(opened):
        said = report_time(report)
        if said and said[:10] < (opened.at - _YEAR).date().isoformat():
            continue
        organisms = "、".join(dict.fromkeys(isolate.organism for isolate in isolates))
        status, day = STATUS.get(report.get("status", ""), "状态未知"), moments.day(said, opened.at).text
        resistant = "、".join(
            name for one in isolates for css, _, names in one.by_verdict if css == "r" for name in names
        )
        text = f"{opened.says(report)} {day} {status}。" + (f"耐药：{resistant}。" if resistant else "")
        title = f"{_title(report.get('code', {}))}阳性：{organisms}"
        yield Caution("warn", title, text, f"/ui/p/{opened.id}/cultures", "看药敏")


def _no_abnormal(opened: Opened) -> Absent:
    elsewhere = "培养与药敏另见“微生物”。" if culture_reports(opened) else ""
    return nothing(opened.withheld, LAB, "异常检验", f"近 12 个月没有标为异常的检验结果。{elsewhere}")


def _corrections(opened: Opened, derived: Derived) -> Iterator[Correction]:
    standing = bool(derived.criticals)
    found = [(row, r) for row, _, r in readings(derived.labs) if r.corrected]
    found.sort(key=lambda pair: pair[1].times.issued or pair[1].times.arrived or opened.at, reverse=True)
    for row, reading in found[:_SHOWN]:
        was_critical = _was_critical(opened, reading)
        yield Correction(
            lead="无未处理危急值。" if was_critical and not standing else "",
            item=row.name,
            value=reading.value,
            unit=reading.unit,
            was=reading.previous,
            at=moments.of(reading.times.issued or reading.times.verified, opened.at),
            member=opened.member_name(reading.member),
            href=f"/ui/p/{opened.id}/labs?item={reading.observation_id}#detail",
        )


def _was_critical(opened: Opened, reading: Reading) -> bool:
    before = opened.previous.get(reading.observation_id, {})
    codes = {c.get("code") for i in before.get("interpretation", ()) for c in i.get("coding", ())}
    return bool(codes & {"HH", "LL", "AA"})


# ---- the record ----------------------------------------------------------------------------------
def _abnormal(opened: Opened, derived: Derived) -> list[AbnormalRow]:
    """Analytes whose newest result within a year is flagged: critical first, then the newest."""
    found: list[tuple[bool, datetime, AbnormalRow]] = []
    for row in derived.labs.rows:
        # A preliminary normal result takes back no abnormal one that was checked.
        reading = next((r for r in (row.newest, row.standing) if r and flag_of(r.flag) != Flag()), None)
        if reading is None:
            continue
        at = reading.at or opened.at
        if opened.at - at <= _YEAR:
            found.append((reading.critical, at, _abnormal_row(opened, row, reading, at)))
    found.sort(key=lambda entry: entry[:2], reverse=True)
    return [row for _, _, row in found]


def _abnormal_row(opened: Opened, row: Row, reading: Reading, at: datetime) -> AbnormalRow:
    return AbnormalRow(
        name=row.name,
        short=row.short,
        value=reading.value,
        unit=reading.unit,
        converted=reading.shown.text if reading.shown else "",
        flag=flag_of(reading.flag),
        status=reading.status_zh if reading.unchecked else "",
        band=reading.band,
        spark=spark(row.points, row.label),
        member=opened.member_name(reading.member),
        at=moments.day(at.isoformat(), opened.at),
    )


def _problems(opened: Opened) -> Iterator[Problem]:
    """Each diagnosis once, with its first mention; the newest first."""
    first: dict[str, Json] = {}
    for condition in sorted(opened.record.conditions, key=lambda one: instant_of(_noted(one))):
        first.setdefault(_title(condition.get("code", {})) + _standing(condition), condition)
    for title, condition in reversed(first.items()):
        code = next((str(c.get("code", "")) for c in condition.get("code", {}).get("coding", ())), "")
        at = moments.day(_noted(condition), opened.at)
        yield Problem(title, code if code != title else "", opened.says(condition), at)


def _noted(condition: Json) -> str:
    return str(condition.get("recordedDate") or condition.get("onsetDateTime") or "")


_STANDINGS = {
    **dict.fromkeys(("resolved", "remission"), "（已缓解或治愈）"),
    "inactive": "（非活动）",
    **dict.fromkeys(("provisional", "differential", "unconfirmed"), "（未确诊）"),
}


def _standing(condition: Json) -> str:
    """What keeps a diagnosis from being a present, confirmed one; "" for one that is."""
    codes = (
        str(coding.get("code", ""))
        for element in ("clinicalStatus", "verificationStatus")
        for coding in condition.get(element, {}).get("coding", ())
    )
    return "".join(_STANDINGS[code] for code in codes if code in _STANDINGS)


def _title(concept: Json) -> str:
    shown = (str(c.get("display") or c.get("code") or "") for c in concept.get("coding", ()))
    return str(concept.get("text") or next((s for s in shown if s), "未写明"))


def _examination(opened: Opened, derived: Derived, report: Json) -> Examination:
    status = report.get("status", "")
    return Examination(
        title=_title(report.get("code", {})) + ("" if status == "final" else f"（{STATUS.get(status, '状态未知')}）"),
        member=opened.says(report),
        at=moments.day(str(effective_time(report) or report_time(report)), opened.at),
        conclusion=conclusion_of(report) or lines_of(opened.record.items_of(report)) or _no_opinion(report),
        repeat=repeat_words(derived, report),
    )


def _no_opinion(report: Json) -> str:
    return "报告在附件里，见检查。" if "presentedForm" in report else "来源未提供诊断意见。"


def _roll_up(opened: Opened, report: Json, decision: ReportDecision) -> RollUp:
    many = f" {decision.total} 项" if decision.total > 1 else ""
    return RollUp(
        mark=mark_of(decision.verdict, count_words(decision)),
        title=f"{opened.says(report)} {_title(report.get('code', {}))}{many}",
        until=until_words(opened, decision),
        because=because_words(opened, decision),
    )
