"""Examinations by hospital: report text, recognition, whether the pictures can be opened; and the frame viewer."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import NotFound
from ...model import systems
from ...model.printed import concept_text, effective_time
from ...model.resource import Json
from ...recognise.match import is_lab
from ..dicom_web import study_uid
from . import moments
from .moments import When
from .opened import Derived, Opened, report_time
from .verdicts import because_words, repeat_words, until_words
from .views_report import STATUS, conclusion_of, findings_of, lines_of
from .views_sources import members_shown
from .withheld import IMAGES, REPORTS, keeps
from .words import NO_RIGHT, Absent, Link, Mark, Note, State, mark_of, no_record, no_right, not_connected, nothing_seen

_THUMBS = 4
_MOST_FRAMES = 10_000
_WEB = "/dicom-web/studies"
_SOP_CLASS = "urn:oid:1.2.840.10008.5.1.4.1.1."
_NO_PICTURES = tuple(
    _SOP_CLASS + one
    for one in ("9.", "11.", "66", "67", "68.", "88.", "104.", "481.3", "481.4", "481.5", "481.6", "481.7", "481.8")
)
"""Waveforms, presentation states, raw data, structured reports, documents, radiotherapy plans (DICOM PS3.4 §B.5)."""
Frame = tuple[Json, int]
"""An instance, and the number of the frame in it; 0 for one that has a single frame."""


@dataclass(frozen=True, slots=True)
class Thumb:
    """A small picture of a series, fetched only when it comes into view."""

    src: str
    alt: str
    caption: str


@dataclass(frozen=True, slots=True)
class Study:
    """One examination: report, verdict, pictures. `pictures` says in words why there are none."""

    id: str
    title: str
    at: When
    about: str
    status: str
    mark: Mark | None
    until: str
    because: str
    repeat: str
    findings: str
    conclusion: str
    attached: bool
    thumbs: tuple[Thumb, ...]
    viewer: str
    pictures: Absent | None
    report_href: str


@dataclass(frozen=True, slots=True)
class Hospital:
    """One member's examinations."""

    key: str
    name: str
    state: State
    arrived: str
    studies: tuple[Study, ...]


@dataclass(frozen=True, slots=True)
class ImagingPage:
    """The tab; `absent` are members without an examination, each with its reason."""

    notes: tuple[Note, ...]
    hospitals: tuple[Hospital, ...]
    absent: tuple[Absent, ...]
    count: int


def imaging_page(opened: Opened, derived: Derived) -> ImagingPage:
    """Hospitals in the order of their newest examination."""
    reports = [r for r in derived.reports if not is_lab(r)]
    told = {study["id"] for r in reports for study in opened.record.studies_of(r)}
    lone = [s for s in opened.record.studies if s["id"] not in told]
    by_member: dict[str, list[Study]] = {}
    for report in reports:
        by_member.setdefault(opened.member(report), []).append(_reported(opened, derived, report))
    for study in lone:
        by_member.setdefault(opened.member(study), []).append(_unreported(opened, study))
    hospitals = tuple(_hospital(opened, key, studies) for key, studies in by_member.items())
    notes = (Note("repeat", a.title_zh, a.text_zh) for a in derived.cautions if a.kind == "repeated-examination")
    return ImagingPage(tuple(notes), hospitals, _absent(opened, set(by_member)), len(reports) + len(lone))


def _hospital(opened: Opened, key: str, studies: list[Study]) -> Hospital:
    arrived = opened.freshness.get(key)
    member = opened.directory.members.get(key)
    if any(study.thumbs or study.viewer for study in studies):
        state = State("ok", "影像在线")
    elif member and "images" in member.provides:
        state = State("late", "影像系统无应答或无影像")
    else:
        state = State("unplugged", "影像来源未接入")
    return Hospital(key, opened.member_name(key), state, moments.of(arrived, opened.at).text, tuple(studies))


def _absent(opened: Opened, present: set[str]) -> tuple[Absent, ...]:
    out = []
    for member in members_shown(opened.directory, opened.who.alliance, opened.at):
        if member.key in present:
            continue
        if opened.who.members is not None and member.key not in opened.who.members:
            out.append(no_right(member.name, NO_RIGHT.text))
        elif "imaging" in member.provides and keeps(opened.withheld, REPORTS + IMAGES):
            out.append(nothing_seen(member.name, "此人另有报告或影像按敏感标记限制，不写明是哪家的。"))
        elif "imaging" in member.provides:
            out.append(no_record(member.name, "已接入，没有此人的检查。"))
        else:
            out.append(not_connected(member.name, "检查资料尚未接入，不代表没有做过。"))
    return tuple(out)


def _reported(opened: Opened, derived: Derived, report: Json) -> Study:
    studies = opened.record.studies_of(report)
    decision = derived.decision(report)
    open_ones = [s for s in studies if study_uid(s) in opened.answering]
    series = sum(int(s.get("numberOfSeries") or len(s.get("series", ()))) for s in studies)
    about = [f"发布 {moments.minute(report_time(report), opened.at).text}"] + ([f"{series} 个序列"] if series else [])
    return Study(
        id=report["id"],
        title=concept_text(report.get("code", {})) or "检查",
        at=moments.day(str(effective_time(report) or report_time(report)), opened.at, full=True),
        about=" · ".join(about),
        status=STATUS.get(report.get("status", ""), "") if report.get("status") != "final" else "",
        mark=mark_of(decision.verdict),
        until=until_words(opened, decision),
        because=because_words(opened, decision),
        repeat=repeat_words(derived, report),
        findings="\n".join(filter(None, (findings_of(report), lines_of(opened.record.items_of(report))))),
        conclusion=conclusion_of(report),
        attached="presentedForm" in report,
        thumbs=tuple(t for s in open_ones for t in _thumbs(s))[:_THUMBS],
        viewer=f"/ui/p/{opened.id}/imaging/{open_ones[0]['id']}" if open_ones else "",
        pictures=None if open_ones else _why_none(opened, opened.member(report), studies, "；报告仍可阅读"),
        report_href=f"/ui/p/{opened.id}/report/{report['id']}",
    )


def _unreported(opened: Opened, study: Json) -> Study:
    answers = study_uid(study) in opened.answering
    modality = "、".join(str(m.get("code", "")) for m in study.get("modality", ()))
    return Study(
        id=study["id"],
        title=str(study.get("description") or modality or "影像"),
        at=moments.day(str(study.get("started", "")), opened.at, full=True),
        about=f"只有影像，未见报告 · {study.get('numberOfSeries') or len(study.get('series', ()))} 个序列",
        status="",
        mark=None,
        until="",
        because="",
        repeat="",
        findings="",
        conclusion="",
        attached=False,
        thumbs=_thumbs(study)[:_THUMBS] if answers else (),
        viewer=f"/ui/p/{opened.id}/imaging/{study['id']}" if answers else "",
        pictures=None if answers else _why_none(opened, opened.member(study), (study,)),
        report_href="",
    )


def _why_none(opened: Opened, member: str, studies: tuple[Json, ...], left: str = "") -> Absent:
    """left: what there is nevertheless."""
    name = opened.member_name(member)
    if any(opened.addresses.get(s["id"]) for s in studies):
        return Absent("not-connected", "late", "影像系统没有应答", f"{name}的影像暂时打不开{left}，请稍后再试。")
    found = opened.directory.members.get(member)
    if found and "images" in found.provides:
        return no_record("影像", f"{name}没有送来这次检查的影像。")
    return not_connected("影像", f"{name}影像系统尚未接入{left}。")


def _thumbs(study: Json) -> tuple[Thumb, ...]:
    out = []
    for place, series in enumerate(study.get("series", ()), 1):
        frames = _frames(series)
        if not frames:
            continue
        name = series_name(series, place)
        src = f"{_frame_url(study, series, frames[len(frames) // 2])}?viewport=256,224"
        out.append(Thumb(src, f"{study.get('description') or '影像'}，{name}缩略图", f"{name} · {len(frames)} 幅"))
    return tuple(out)


def _frames(series: Json) -> list[Frame]:
    """Every picture of a series, in order."""
    found: list[Frame] = []
    for one in series.get("instance", ()):
        if str(one.get("sopClass", {}).get("code", "")).startswith(_NO_PICTURES):
            continue
        count = next((e["valuePositiveInt"] for e in one.get("extension", ()) if e.get("url") == systems.EXT_FRAMES), 0)
        found += [(one, number) for number in range(1, min(count, _MOST_FRAMES) + 1)] or [(one, 0)]
    return found


def series_name(series: Json, place: int) -> str:
    """`序列 1 · 肺窗`."""
    number = series.get("number") or place
    return " · ".join(filter(None, (f"序列 {number}", str(series.get("description", "")))))


def _frame_url(study: Json, series: Json, frame: Frame) -> str:
    one, number = frame
    within = f"/frames/{number}" if number else ""
    return f"{_WEB}/{study_uid(study)}/series/{series.get('uid')}/instances/{one.get('uid')}{within}/rendered"


# ---- the frame viewer ----------------------------------------------------------------------------
WINDOWS = (("", "原始"), ("-600,1500", "肺窗"), ("40,400", "纵隔窗"), ("400,1800", "骨窗"), ("40,80", "脑窗"))


@dataclass(frozen=True, slots=True)
class Viewer:
    """One frame of one series, with the ways onward as links: usable without script."""

    title: str
    about: str
    src: str
    alt: str
    place: str
    first: str
    before: str
    after: str
    last: str
    series: tuple[Link, ...]
    windows: tuple[Link, ...]
    problem: Absent | None
    report: Study | None
    dicom: str


@dataclass(frozen=True, slots=True)
class Step:
    """Which frame of which series, in which window; all from the address."""

    series: int = 1
    frame: int = 0
    window: str = ""

    def href(self, base: str, **change: int | str) -> str:
        """The address of the viewer with something changed."""
        values = {"series": self.series, "frame": self.frame, "window": self.window, **change}
        return base + "?" + "&".join(f"{k}={v}" for k, v in values.items() if v)


def viewer_page(opened: Opened, derived: Derived, study_id: str, step: Step) -> Viewer:
    """The viewer for one ImagingStudy. Raises NotFound when the resident has no such study."""
    study = next((s for s in opened.record.studies if s["id"] == study_id), None)
    if study is None:
        raise NotFound("ImagingStudy", detail_zh="这位居民没有这次影像检查。")
    all_series = [s for s in study.get("series", ()) if _frames(s)]
    base = f"/ui/p/{opened.id}/imaging/{study_id}"
    report = next((r for r in opened.record.reports if study in opened.record.studies_of(r)), None)
    shown = _reported(opened, derived, report) if report else None
    problem = _viewer_problem(opened, study, all_series)
    number = min(max(step.series, 1), max(len(all_series), 1))
    series = all_series[number - 1] if all_series else {}
    frames = _frames(series)
    frame = min(step.frame or (len(frames) + 1) // 2, len(frames)) if frames else 0
    here = Step(number, frame, step.window if step.window in dict(WINDOWS) else "")
    return Viewer(
        title=shown.title if shown else str(study.get("description") or "影像"),
        about=f"{opened.says(study)} · {moments.minute(str(study.get('started', '')), opened.at, full=True).text}",
        src=_src(study, series, frames, here) if frames and not problem else "",
        alt=f"{series_name(series, number)}，第 {frame} 幅",
        place=f"{series_name(series, number)} · 第 {frame} / {len(frames)} 幅",
        first=here.href(base, frame=1) if frame > 1 else "",
        before=here.href(base, frame=frame - 1) if frame > 1 else "",
        after=here.href(base, frame=frame + 1) if frame < len(frames) else "",
        last=here.href(base, frame=len(frames)) if frame < len(frames) else "",
        series=tuple(
            Link(here.href(base, series=i, frame=0), f"{series_name(s, i)}（{len(_frames(s))} 幅）", i == number)
            for i, s in enumerate(all_series, 1)
        ),
        windows=_windows(here, base, series),
        problem=problem,
        report=shown,
        dicom=study_uid(study),
    )


def _windows(here: Step, base: str, series: Json) -> tuple[Link, ...]:
    """Window presets exist for CT alone; other modalities carry their own."""
    if series.get("modality", {}).get("code") != "CT":
        return ()
    return tuple(Link(here.href(base, window=value), name, value == here.window) for value, name in WINDOWS)


def _src(study: Json, series: Json, frames: list[Frame], here: Step) -> str:
    query = f"?window={here.window},linear" if here.window else ""
    return _frame_url(study, series, frames[here.frame - 1]) + query


def _viewer_problem(opened: Opened, study: Json, series: list[Json]) -> Absent | None:
    if study_uid(study) not in opened.answering:
        return _why_none(opened, opened.member(study), (study,))
    if not series:
        return no_record("影像清单", "来源只登记了检查，没有送来可逐幅打开的清单。")
    return None
