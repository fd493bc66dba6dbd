"""What a decision is: one report, its items, their verdicts and reasons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..model.outcome import Finding
from .listing import AppliedRule
from .reasons import Reason, Verdict


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
    reasons: those of the items not recognised, each once, in item order; for a whole yes what speaks for it.
    rules: title of the sheet. findings: marks without quality evidence.
    """

    report_id: str
    verdict: Verdict
    recognisable: int
    total: int
    valid_until: datetime | None
    reasons: tuple[Reason, ...]
    items: tuple[ItemDecision, ...]
    producer: str
    at: datetime
    rules: str
    findings: tuple[Finding, ...] = ()
