"""When a result's window starts and ends."""

from __future__ import annotations

from datetime import datetime, timedelta

from ..model.printed import effective_time
from ..model.resource import Json
from ..model.times import parse_fhir
from . import reasons
from .listing import Start, Window
from .reasons import Reason, Verdict

_SLACK = timedelta(minutes=10)
"""Clocks of two hospitals differ; a report a few minutes ahead is not from the future."""


def instant(report: Json, observation: Json | None, start: Start) -> datetime | None:
    """The instant the window starts from: issued or collected, of the item, else of its report; None when neither says.

    A bare date counts from its first moment, so the window ends early rather than late.
    """
    for resource in (observation, report):
        text = _said(resource or {}, start)
        if text:
            return parse_fhir(text)
    return None


def _said(resource: Json, start: Start) -> str:
    if start == "issued":
        return str(resource.get("issued", ""))
    return effective_time(resource)


def window_of(
    window: Window, started: datetime | None, at: datetime
) -> tuple[datetime | None, list[tuple[Verdict, Reason]]]:
    """The end of the window and what it says at the instant `at`; the end itself is still inside."""
    if started is None:
        return None, [(Verdict.JUDGE, reasons.NO_TIME)]
    # No end is told of what has not begun; of 9999-12-31, which stands for "none", there is none.
    if started - at > _SLACK:
        return None, [(Verdict.JUDGE, reasons.FUTURE)]
    until = started + window.length
    if at > until:
        return until, [(Verdict.NO, reasons.EXPIRED.because(window.text))]
    return until, [(Verdict.YES, reasons.IN_WINDOW.worded(window.text))]
