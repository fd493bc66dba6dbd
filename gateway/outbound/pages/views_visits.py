"""Visits and documents, newest first; a replaced or withdrawn document says so and stays readable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ...model.printed import concept_text
from ...model.resource import Json, reference_id
from ...model.times import CHINA, parse_fhir
from ..lab_reading import source_flag, told_words
from . import moments
from .moments import When
from .opened import Opened, instant_of, newest_first, report_time
from .views_others import OtherLine, is_told_elsewhere, other_lines
from .views_report import value_text
from .withheld import DOCUMENTS, VISITS, nothing
from .words import Absent, Link

_CLASSES = {"AMB": "门诊", "EMER": "急诊", "IMP": "住院", "ACUTE": "住院", "HH": "家庭出诊", "VR": "远程"}
_STAYS = ("IMP", "ACUTE")


@dataclass(frozen=True, slots=True)
class VisitLine:
    """`住院 14 天`, where, from when to when, the diagnoses or what was measured."""

    title: str
    place: str
    start: When
    end: When | None
    text: str
    doctor: str
    number: str


@dataclass(frozen=True, slots=True)
class DocumentLine:
    """One document. outdated: 已替换 or 已作废, "" for what counts. opens: where it can be read."""

    title: str
    member: str
    at: When
    author: str
    outdated: str
    remark: str
    opens: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class VisitsPage:
    """Everything of the tab."""

    visits: tuple[VisitLine, ...]
    documents: tuple[DocumentLine, ...]
    others: tuple[OtherLine, ...]
    no_visits: Absent
    no_documents: Absent


def visits_page(opened: Opened) -> VisitsPage:
    """The tab of visits and documents."""
    every = opened.record.every.get("DocumentReference", ())
    standing = newest_first(tuple(d for d in every if d.get("status") != "entered-in-error"))
    return VisitsPage(
        visit_lines(opened),
        tuple(document_line(opened, d) for d in standing),
        other_lines(opened),
        nothing(opened.withheld, VISITS, "就诊", "已接入就诊的成员单位都没有此人的就诊。"),
        nothing(opened.withheld, DOCUMENTS, "文书", "已接入文书的成员单位都没有此人的文书。"),
    )


def visit_lines(opened: Opened) -> tuple[VisitLine, ...]:
    """All visits, the newest first."""
    ordered = sorted(opened.record.encounters, key=_start, reverse=True)
    noted, measured = _by_visit(opened.record.conditions), _by_visit(opened.record.observations)
    return tuple(_visit(opened, e, noted.get(e["id"], []), measured.get(e["id"], [])) for e in ordered)


def _by_visit(resources: tuple[Json, ...]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for resource in resources:
        found.setdefault(reference_id(resource.get("encounter"), "Encounter"), []).append(resource)
    return found


def _start(encounter: Json) -> datetime:
    return instant_of(encounter.get("period", {}).get("start", ""))


def _visit(opened: Opened, encounter: Json, noted: list[Json], measured: list[Json]) -> VisitLine:
    period = encounter.get("period", {})
    code = encounter.get("class", {}).get("code", "")
    department = next((str(t.get("text", "")) for t in encounter.get("type", ())), "")
    kind = _CLASSES.get(code, "就诊")
    doctors = (p.get("individual", {}).get("display", "") for p in encounter.get("participant", ()))
    return VisitLine(
        title=_title(kind, encounter, opened.at),
        place=" ".join(filter(None, (opened.says(encounter), department if department != kind else ""))),
        start=moments.day(period.get("start", ""), opened.at),
        end=moments.day(period["end"], opened.at) if code in _STAYS and period.get("end") else None,
        text="；".join(filter(None, (_diagnoses(encounter, noted), _measurements(opened, measured)))),
        doctor=next((str(d) for d in doctors if d), ""),
        number=next((str(i.get("value", "")) for i in encounter.get("identifier", ())), ""),
    )


def _title(kind: str, encounter: Json, now: datetime) -> str:
    """`住院 14 天`: discharge day minus admission day; while the stay lasts `住院第 3 天`; `门诊（预约）` before it."""
    start, end = (encounter.get("period", {}).get(key, "") for key in ("start", "end"))
    if encounter.get("status") == "planned":
        return f"{kind}（预约）"
    if encounter.get("class", {}).get("code") not in _STAYS or not start:
        return kind
    if encounter.get("status") == "finished" and not end:
        return f"{kind}（已出院，日期未提供）"
    first = parse_fhir(start).astimezone(CHINA).date()
    last = (parse_fhir(end) if end else now).astimezone(CHINA).date()
    days = (last - first).days
    return f"{kind} {max(days, 1)} 天" if end else f"{kind}第 {days + 1} 天"


def _diagnoses(encounter: Json, noted: list[Json]) -> str:
    said = [*encounter.get("reasonCode", ()), *(condition.get("code", {}) for condition in noted)]
    return "、".join(dict.fromkeys(filter(None, map(_concept, said))))


def _concept(concept: Json) -> str:
    code = next((str(c.get("code", "")) for c in concept.get("coding", ())), "")
    text = str(concept.get("text") or next((c.get("display", "") for c in concept.get("coding", ())), ""))
    return " ".join(dict.fromkeys(filter(None, (text, code))))


_VITALS = {"85354-9": "血压", "29463-7": "体重", "8310-5": "体温", "14743-9": "指尖血糖"}


def _measurements(opened: Opened, measured: list[Json]) -> str:
    """Everything measured at the visit that no laboratory and no report tells; of a series the last, and how many."""
    series: dict[str, list[Json]] = {}
    for item in newest_first(tuple(i for i in measured if not is_told_elsewhere(opened, i))):
        if item.get("status") != "cancelled" and _measured(item):
            series.setdefault(_vital_name(item), []).append(item)
    return "，".join(f"{name} {_measured(items[0])}{_of_many(items)}" for name, items in series.items())


def _of_many(items: list[Json]) -> str:
    return f"（末次，共 {len(items)} 次）" if len(items) > 1 else ""


def _vital_name(observation: Json) -> str:
    codes = (str(c.get("code", "")) for c in observation.get("code", {}).get("coding", ()))
    return next((_VITALS[c] for c in codes if c in _VITALS), "") or concept_text(observation.get("code", {}))


def _measured(observation: Json) -> str:
    return (_pressure(observation) or " ".join(filter(None, value_text(observation)))) + told_words(
        source_flag(observation)
    )


def _pressure(observation: Json) -> str:
    """`146/88 mmHg` of a blood pressure of two parts; "" for everything else."""
    parts = [c.get("valueQuantity", {}) for c in observation.get("component", ())]
    if _vital_name(observation) != "血压" or not any("value" in part for part in parts):
        return ""
    unit = next((str(p.get("unit", "")) for p in parts if p.get("unit")), "")
    return f"{'/'.join(str(p.get('value', '–')) for p in parts)} {unit}".strip()


def document_line(opened: Opened, document: Json) -> DocumentLine:
    """One document with the places where it can be read."""
    base = f"/ui/p/{opened.id}"
    opens = [Link(f"{base}/document/{document['id']}", "阅读")]
    related = document.get("context", {}).get("related", ())
    reports = [id_ for id_ in (reference_id(ref, "DiagnosticReport") for ref in related) if id_]
    opens += [Link(f"{base}/report/{id_}", "报告单") for id_ in reports]
    if original_key(document):
        opens.append(Link(f"{base}/original/{document['id']}", "原始文档"))
    return DocumentLine(
        title=_concept_text(document) or "文书",
        member=opened.says(document),
        at=moments.minute(report_time(document), opened.at),
        author="、".join(dict.fromkeys(str(a["display"]) for a in document.get("author", ()) if a.get("display"))),
        outdated=_outdated(opened, document),
        remark="，".join(_remarks(document)),
        opens=tuple(opens),
    )


def _remarks(document: Json) -> Iterator[str]:
    if any(relation.get("code") == "replaces" for relation in document.get("relatesTo", ())):
        yield "替换了旧版"
    if document.get("docStatus") == "preliminary":
        yield "初稿，未审签"


def _outdated(opened: Opened, document: Json) -> str:
    """已作废 also for what a withdrawn document had replaced: no newer version of it exists."""
    newer = {
        reference_id(relation.get("target"), "DocumentReference"): other
        for other in opened.record.every.get("DocumentReference", ())
        for relation in other.get("relatesTo", ())
        if relation.get("code") == "replaces"
    }
    last = document
    while (after := newer.pop(last["id"], None)) is not None:
        last = after
    if last.get("status") == "entered-in-error":
        return "已作废"
    return "已替换" if document.get("status") == "superseded" else ""


def _concept_text(document: Json) -> str:
    kind = document.get("type", {})
    title = next((c.get("attachment", {}).get("title", "") for c in document.get("content", ())), "")
    return str(title or kind.get("text") or next((c.get("display", "") for c in kind.get("coding", ())), ""))


def original_key(document: Json) -> str:
    """Raw key of the kept message behind a document; "" when it names none."""
    urls = (str(c.get("attachment", {}).get("url", "")) for c in document.get("content", ()))
    return next((url.removeprefix("Binary/") for url in urls if url.startswith("Binary/")), "")


def document_title(document: Json) -> str:
    """Its title for a page head."""
    return _concept_text(document) or "文书"
