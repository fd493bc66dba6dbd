"""What a rule sheet says that the directory or its own evidence does not bear out; told at start, not fatal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ..model.directory import Directory
from ..model.outcome import Finding
from ..model.times import CHINA
from .listing import RuleSheet
from .reasons import MARK_WITHOUT_EVIDENCE


def check(sheet: RuleSheet, directory: Directory, at: datetime) -> tuple[Finding, ...]:
    """Warnings: members and alliances nobody registered, marks without a passed assessment, assessments that ended."""
    return (*_strangers(sheet, directory), *_unproved_marks(sheet), *_lapsed(sheet, at))


def _strangers(sheet: RuleSheet, directory: Directory) -> Iterator[Finding]:
    for member in dict.fromkeys(member for member, _ in sheet.evidence):
        if member not in directory.members:
            place = f"evidence of {member}"
            yield Finding("GW-REC-002", "warning", place, "规则表中的成员单位未登记。", "The member is not registered.")
    marks = (known.mark for known in sheet.evidence.values() if known.mark and known.mark.scope == "alliance")
    named = (*sheet.alliances, *(area for mark in marks for area in mark.areas))
    for alliance in dict.fromkeys(named):
        if alliance not in directory.alliances:
            zh, en = "规则表中的医联体未登记。", "The alliance is not registered."
            yield Finding("GW-REC-003", "warning", alliance, zh, en)


def _unproved_marks(sheet: RuleSheet) -> Iterator[Finding]:
    for (member, code), known in sheet.evidence.items():
        if known.mark is not None and known.passed is not True:
            reason = MARK_WITHOUT_EVIDENCE
            yield Finding("GW-REC-001", "warning", f"{member} {code}", f"{reason.zh}。", f"{reason.en}.")


def _lapsed(sheet: RuleSheet, at: datetime) -> Iterator[Finding]:
    """One a member and assessment: what was made since then is not recognisable any more."""
    today = at.astimezone(CHINA).date()
    ended = {(member, known) for (member, _), known in sheet.evidence.items() if known.until and known.until < today}
    for member, known in sorted(ended, key=lambda one: (one[0], one[1].text)):
        zh, en = f"质评证据已于 {known.until} 到期。", f"The assessment ended on {known.until}."
        yield Finding("GW-REC-004", "warning", f"{member} {known.text}", zh, en)
