"""Microbiology: organism, S/I/R at a glance, the antibiogram, the specimen's times, the versions."""

from __future__ import annotations

from dataclasses import dataclass

from ...model.printed import concept_text, effective_time
from ...model.resource import Json
from . import moments
from .moments import When
from .opened import Derived, Opened, is_culture, newest_first
from .views_report import STATUS, Version, conclusion_of, value_text, verified_at
from .withheld import LAB, nothing
from .words import Absent, Fact, Mark, mark_of

SIR = {"S": "敏感", "I": "中介", "R": "耐药", "SDD": "剂量依赖敏感", "NS": "非敏感"}


@dataclass(frozen=True, slots=True)
class Drug:
    """One line of the antibiogram; `css` s, i, r or ""."""

    name: str
    method: str
    value: str
    range: str
    css: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Isolate:
    """One organism: drugs by verdict for the summary, and the table."""

    organism: str
    quantity: str
    by_verdict: tuple[tuple[str, str, tuple[str, ...]], ...]
    drugs: tuple[Drug, ...]
    mic: bool


@dataclass(frozen=True, slots=True)
class Culture:
    """One microbiology report."""

    id: str
    title: str
    hospital: str
    status: str
    issued: When
    verified: When
    positive: bool
    findings: tuple[str, ...]
    isolates: tuple[Isolate, ...]
    conclusion: str
    specimen: tuple[Fact, ...]
    versions: tuple[Version, ...]
    mark: Mark
    because: str
    href: str


@dataclass(frozen=True, slots=True)
class CulturePage:
    """Newest first."""

    cultures: tuple[Culture, ...]
    empty: Absent


def culture_reports(opened: Opened) -> list[Json]:
    """Microbiology reports, newest first."""
    return [report for report in newest_first(opened.record.reports) if is_culture(report)]


def culture_page(opened: Opened, derived: Derived, versions: dict[str, tuple[Version, ...]]) -> CulturePage:
    """The tab. versions: by report id."""
    reports = culture_reports(opened)
    return CulturePage(
        tuple(_culture(opened, derived, report, versions.get(report["id"], ())) for report in reports),
        nothing(opened.withheld, LAB, "微生物", "已接入检验的成员单位都没有此人的培养与药敏。"),
    )


def growths(opened: Opened) -> list[tuple[Json, tuple[Isolate, ...]]]:
    """Reports that something grew in, newest first, with what grew."""
    found = (
        (report, tuple(isolate for item in opened.record.items_of(report) for isolate in _isolates(opened, item)))
        for report in culture_reports(opened)
    )
    return [pair for pair in found if pair[1]]


def _culture(opened: Opened, derived: Derived, report: Json, versions: tuple[Version, ...]) -> Culture:
    items = opened.record.items_of(report)
    isolates = tuple(isolate for item in items for isolate in _isolates(opened, item))
    decision = derived.decision(report)
    return Culture(
        id=report["id"],
        title=concept_text(report.get("code", {})) or "培养",
        hospital=opened.says(report),
        status=STATUS.get(report.get("status", ""), "状态未知"),
        issued=moments.minute(str(report.get("issued", "")), opened.at),
        verified=moments.minute(verified_at(report), opened.at),
        positive=bool(isolates),
        findings=tuple(" ".join(filter(None, value_text(item))) for item in items if not _members(opened, item)),
        isolates=isolates,
        conclusion=conclusion_of(report),
        specimen=tuple(_specimen(opened, report)),
        versions=versions,
        mark=mark_of(decision.verdict),
        because="、".join(reason.text for reason in decision.reasons),
        href=f"/ui/p/{opened.id}/report/{report['id']}",
    )


def _members(opened: Opened, observation: Json) -> list[Json]:
    found = (opened.record.get(ref) for ref in observation.get("hasMember", ()))
    return [o for o in found if o and o.get("status") not in ("entered-in-error", "cancelled")]


def _isolates(opened: Opened, culture: Json) -> list[Isolate]:
    """Isolates of a culture; a culture whose members are drugs directly is its own isolate."""
    members = _members(opened, culture)
    isolates = [m for m in members if _members(opened, m) or _organism(m)]
    drugs = [m for m in members if m not in isolates]
    out = [_isolate(m, _organism(m) or _organism(culture), _members(opened, m)) for m in isolates]
    if drugs or (not out and _organism(culture) and members):
        out.insert(0, _isolate(culture, _organism(culture), drugs))
    return out


def _organism(observation: Json) -> str:
    return concept_text(observation.get("valueCodeableConcept", {}))


def _isolate(observation: Json, organism: str, members: list[Json]) -> Isolate:
    drugs = tuple(_drug(m) for m in members)
    codes = list(dict.fromkeys(d.css for d in drugs if d.css))
    codes.sort(key="sir".find)
    by_verdict = tuple((css, _sir_words(css), tuple(d.name for d in drugs if d.css == css)) for css in codes)
    notes = "；".join(str(n.get("text", "")) for n in observation.get("note", ()))
    return Isolate(organism or "未写明菌种", notes, by_verdict, drugs, any("mg/L" in d.value for d in drugs))


def _sir_words(css: str) -> str:
    code = css.upper()
    return f"{code} {SIR.get(code, '')}".strip()


def _drug(observation: Json) -> Drug:
    codes = (str(c.get("code", "")) for i in observation.get("interpretation", ()) for c in i.get("coding", ()))
    code = next((c for c in codes if c in SIR), "")
    band: Json = next(iter(observation.get("referenceRange", ())), {})
    return Drug(
        name=concept_text(observation.get("code", {})),
        method=str(observation.get("method", {}).get("text", "")),
        value=_result(observation),
        range=str(band.get("text", "")),
        css=code[:1].lower() if code in ("S", "I", "R") else "i" if code else "",
        verdict=f"{code} {SIR[code]}" if code else "来源未判定",
    )


def _result(observation: Json) -> str:
    value, unit = value_text(observation)
    return f"{value.replace('>=', '≥').replace('<=', '≤')} {unit}".strip()


def _specimen(opened: Opened, report: Json) -> list[Fact]:
    found = next((s for s in (opened.record.get(ref) for ref in report.get("specimen", ())) if s), {})
    collected = str(found.get("collection", {}).get("collectedDateTime") or effective_time(report))
    arrived = opened.record.arrived.get(f"DiagnosticReport/{report['id']}")
    times = (
        ("采集", collected),
        ("接收", str(found.get("receivedTime", ""))),
        ("审核", verified_at(report)),
        ("发布", str(report.get("issued", ""))),
        ("到达", arrived.isoformat() if arrived else ""),
    )
    facts = [Fact("标本", str(found.get("type", {}).get("text", "")) or "来源未提供")]
    return facts + [Fact(n, moments.minute(v, opened.at).text if v else "来源未提供") for n, v in times]
