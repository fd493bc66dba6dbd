"""Alerts derived from one record: critical values, allergy conflicts, duplicate drugs, repeated examinations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ..model.directory import Directory
from ..model.resource import Json
from ..recognise.rules import RuleSheet
from .record import Record

Kind = Literal["critical-value", "allergy-conflict", "duplicate-medication", "repeated-examination"]
Severity = Literal["high", "moderate", "low"]


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


DrugClasses = Mapping[str, tuple[str, ...]]
"""Normalised drug or class name → class names it belongs to (阿莫西林 → 青霉素类, β-内酰胺类)."""


def alerts(
    record: Record, directory: Directory, classes: DrugClasses, sheet: RuleSheet, *, at: datetime
) -> list[Alert]:
    """All alerts at `at`, gravest first."""
    raise NotImplementedError


def to_detected_issues(found: Sequence[Alert], patient_id: str, *, at: datetime) -> list[Json]:
    """FHIR R4 DetectedIssue for each alert, for `Patient/{id}/$alerts`."""
    raise NotImplementedError
