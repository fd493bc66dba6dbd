"""Verdicts in words, shared by summary, examinations and the recognition page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ...model.resource import Json
from ...recognise import reasons
from ...recognise.decide import ItemDecision, ReportDecision
from ...recognise.reasons import Verdict
from . import moments
from .opened import Derived, Opened
from .words import Mark, mark_of


@dataclass(frozen=True, slots=True)
class Exempt:
    """Items that share one reason against them: `钾、钠、氯、钙`, `已过时效（03-15 10:00）`."""

    mark: Mark
    names: str
    because: str


def exempt(opened: Opened, decision: ReportDecision) -> Iterator[Exempt]:
    """Items not recognised, those with equal reasons together, in the report's order."""
    together: dict[tuple[Verdict, str], list[ItemDecision]] = {}
    for item in decision.items:
        if not item.verdict.recognisable:
            together.setdefault((item.verdict, _against(opened, item)), []).append(item)
    for (verdict, because), items in together.items():
        names = "、".join(item.name for item in items)
        yield Exempt(mark_of(verdict, names), names, because)


_BARE = frozenset({reasons.EXPIRED.code, "02"})
"""Reasons said without their detail: when it ended follows, and a critical value stands beside it."""


def _against(opened: Opened, item: ItemDecision) -> str:
    because = "、".join(reason.zh if reason.code in _BARE else reason.text for reason in item.reasons)
    ended = item.valid_until is not None and item.valid_until <= opened.at
    return f"{because}（{moments.of(item.valid_until, opened.at).text}）" if ended else because


def count_words(decision: ReportDecision) -> str:
    """`15/20 可互认` for a report with several items some of which are; "" otherwise."""
    many = decision.total > 1 and decision.recognisable
    return f"{decision.recognisable}/{decision.total} 可互认" if many else ""


def until_words(opened: Opened, decision: ReportDecision) -> str:
    """`至 04-07 10:00` while something of it can be recognised; "" otherwise."""
    if not decision.recognisable or not decision.valid_until:
        return ""
    return f"至 {moments.of(decision.valid_until, opened.at).text}"


def because_words(opened: Opened, decision: ReportDecision) -> str:
    """Why: of a report partly recognised the items that are not, else what speaks for or against it."""
    if count_words(decision) and decision.recognisable < decision.total:
        return "；".join(f"{e.names} {e.because}" for e in exempt(opened, decision))
    reasons = decision.reasons or (decision.items[0].reasons if decision.items else ())
    return " · ".join(reason.text for reason in reasons)


def repeat_words(derived: Derived, report: Json) -> str:
    """`4 天内重复` for a report some repeated-examination alert names; "" otherwise."""
    ref = f"DiagnosticReport/{report['id']}"
    for alert in derived.cautions:
        if alert.kind == "repeated-examination" and ref in alert.evidence:
            found = re.search(r"\d+ ?天内重复", alert.title_zh + alert.text_zh)
            return found.group() if found else "重复检查"
    return ""
