"""What a rule sheet says that the directory or its own evidence does not bear out; told at start, not fatal."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.directory import Directory
from ..model.outcome import Finding
from .listing import RuleSheet
from .reasons import MARK_WITHOUT_EVIDENCE


def check(sheet: RuleSheet, directory: Directory) -> tuple[Finding, ...]:
    """Warnings: members and alliances nobody registered, marks without a passed assessment."""
    return (*_strangers(sheet, directory), *_unproved_marks(sheet))


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
