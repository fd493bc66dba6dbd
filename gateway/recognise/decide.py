"""互认 of one report and each of its items, by the area's rule sheet. Pure: no clock, no disk.

Covers data and images, never a doctor's conclusion (国卫医发〔2022〕6号; D25).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ..model.directory import Directory
from ..model.outcome import Finding
from ..model.resource import Json
from .reasons import Reason, Verdict
from .rules import RuleSheet


@dataclass(frozen=True, slots=True)
class Viewer:
    """For whom it is decided: the member the doctor sits at and the alliance they act in ("" = any of theirs)."""

    member: str
    alliance: str = ""


@dataclass(frozen=True, slots=True)
class AppliedRule:
    """The rule that spoke: recognition item, its group and window, the scope that held.

    window: `电解质 7 天`. start: `issued` or `collected`. scope: national | cross | province | city | alliance | own.
    evidence: `NCCL 2025`, "" when there is none.
    """

    code: str
    name: str
    group: str
    window: str
    start: str
    scope: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class ItemDecision:
    """One item. `valid_until` is aware; None where no window applies.

    reasons: for a yes what speaks for it (生化 30 天 · 质评合格), else what speaks against it, weightiest first.
    observation_id: "" for the one item of an examination.
    """

    observation_id: str
    name: str
    verdict: Verdict
    valid_until: datetime | None
    reasons: tuple[Reason, ...]
    rule: AppliedRule | None


@dataclass(frozen=True, slots=True)
class ReportDecision:
    """One report: `recognisable` of `total` items; verdict is the best among them.

    valid_until: the earliest end among its recognisable items, None when there is none.
    reasons: those of the items not recognised, each once, in item order.
    """

    report_id: str
    verdict: Verdict
    recognisable: int
    total: int
    valid_until: datetime | None
    reasons: tuple[Reason, ...]
    items: tuple[ItemDecision, ...]
    producer: str = ""
    at: datetime | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class CopyText:
    """Sentences for the medical record, one a line; "" where nothing is recognised, or nothing refused."""

    yes: str
    no: str


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
) -> ReportDecision:
    """Verdict on a DiagnosticReport and each of its Observations (or its images) at the instant `at`."""
    raise NotImplementedError


def copy_text(report: Json, items: Sequence[Json], decision: ReportDecision, hospital: str) -> CopyText:
    """`引用{医院}{报告日}{项目 值}，予以互认。` and `…不予互认，理由：{理由}。`, one line a reason."""
    raise NotImplementedError


def citation(report: Json, items: Sequence[Json], hospital: str, reason: str = "") -> str:
    """One such sentence for items a doctor chose; with `reason` it refuses. `items` empty: the examination itself."""
    raise NotImplementedError


def to_parameters(decision: ReportDecision) -> Json:
    """FHIR Parameters, the answer of `DiagnosticReport/{id}/$recognition`."""
    raise NotImplementedError


def patient_parameters(decisions: Sequence[ReportDecision]) -> Json:
    """FHIR Parameters with one `report` part each, the answer of `Patient/{id}/$recognition`."""
    raise NotImplementedError
