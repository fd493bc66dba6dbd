"""What a decision is: one report, its items, their verdicts and reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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

    def only(self, codes: frozenset[str]) -> ReportDecision | None:
        """The same of the items with these recognition codes alone; None when it holds none of them."""
        items = tuple(item for item in self.items if item.rule and item.rule.code in codes)
        if not items:
            return None
        yes, ends, reasons = summed(items)
        return replace(
            self,
            verdict=best(items),
            recognisable=yes,
            total=len(items),
            valid_until=min(ends, default=None),
            reasons=reasons,
            items=items,
        )


def best(items: Sequence[ItemDecision]) -> Verdict:
    """The best verdict among them."""
    return min((item.verdict for item in items), key=list(Verdict).index)


def summed(items: Sequence[ItemDecision]) -> tuple[int, list[datetime], tuple[Reason, ...]]:
    """How many are recognisable, until when each, and why the others are not (of a whole yes: what speaks for it)."""
    yes = [item for item in items if item.verdict.recognisable]
    others = [item for item in items if not item.verdict.recognisable]
    told = dict.fromkeys(reason for item in (others or yes) for reason in item.reasons)
    return len(yes), [item.valid_until for item in yes if item.valid_until is not None], tuple(told)
