"""Quality evidence of one member for one item: passed, failed, lapsed or missing; and marks without it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..model.times import CHINA
from . import reasons
from .listing import RuleItem, RuleSheet
from .reasons import Reason, Verdict


@dataclass(frozen=True, slots=True)
class Quality:
    """evidence: `省临床检验中心室间质评 2025`. mark_unproved: a mark is claimed that no assessment supports."""

    notes: list[tuple[Verdict, Reason]]
    evidence: str
    mark_unproved: bool


def quality_of(item: RuleItem, producer: str, printed: str, made_at: datetime | None, sheet: RuleSheet) -> Quality:
    """What the sheet's evidence says of a result made at `made_at` and printed under this name.

    Items that take no part in, or fail, quality assessment must not carry a mark (china-standards §5.1).
    """
    known = sheet.evidence_of(producer, item)
    marked = known.mark is not None or sheet.marked(printed)
    if known.passed is False:
        return Quality([(Verdict.NO, reasons.EQA_FAILED)], known.text, marked)
    if known.passed is None:
        return Quality([_unassessed(marked, sheet)], "", marked)
    if known.until is not None and made_at is not None and made_at.astimezone(CHINA).date() > known.until:
        reason = reasons.EQA_LAPSED.because(f"至 {known.until.isoformat()}")
        return Quality([(sheet.unassessed, reason)], known.text, marked)
    return Quality([(Verdict.YES, reasons.EQA_PASSED)], known.text, False)


def _unassessed(marked: bool, sheet: RuleSheet) -> tuple[Verdict, Reason]:
    if not marked:
        return sheet.unassessed, reasons.EQA_MISSING
    # A mark that nothing supports never speaks for a result, also where an area asks for no evidence.
    verdict = Verdict.JUDGE if sheet.unassessed.recognisable else sheet.unassessed
    return verdict, reasons.MARK_WITHOUT_EVIDENCE
