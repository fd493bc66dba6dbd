"""When a result's window starts and ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from ..model.printed import effective_time
from ..model.resource import Json
from ..model.times import parse_fhir
from . import reasons
from .listing import Window
from .reasons import Reason, Verdict

_CORRECTED = frozenset({"corrected", "amended"})
SLACK = timedelta(minutes=10)
"""Clocks of two hospitals differ; a report a few minutes ahead is not from the future."""


@dataclass(frozen=True, slots=True)
class Times:
    """When a result was issued and its specimen collected (its images made); None: nobody said so."""

    issued: datetime | None
    collected: datetime | None
    corrected: bool

    @property
    def made(self) -> datetime | None:
        """When it was true of the person, as well as its source says."""
        return self.collected or self.issued

    def start_of(self, window: Window) -> datetime | None:
        """The instant the window starts from.

        To issue a result again makes no younger specimen: a corrected one, and one that was older than its window
        when it was issued, counts from its collection.
        """
        if window.start == "collected" or self.corrected:
            return self.collected
        if self.issued and self.collected and self.issued - self.collected > window.length:
            return self.collected
        return self.issued


def times_of(report: Json, observation: Json | None, taken: Sequence[Json]) -> Times:
    """Times of an item, else of its report. taken: its Specimens, or the ImagingStudies of an examination.

    A bare date counts from its first moment, so the window ends early rather than late. Who knows no collection
    writes the report's time in its place: only what lies before the issue is one.
    """
    said = [one for one in (observation, report) if one]
    issued = next((parse_fhir(str(one["issued"])) for one in said if one.get("issued")), None)
    stated = (parse_fhir(text) for text in map(_collection, taken) if text)
    implied = (parse_fhir(text) for text in map(effective_time, said) if text)
    collected = chain(
        (at for at in stated if issued is None or at <= issued),
        (at for at in implied if issued is None or at < issued),
    )
    return Times(issued, next(collected, None), any(one.get("status") in _CORRECTED for one in said))


def _collection(taken: Json) -> str:
    collection = taken.get("collection", {})
    period = collection.get("collectedPeriod", {})
    times = (collection.get("collectedDateTime"), period.get("start"), period.get("end"), taken.get("started"))
    return next((str(time) for time in times if time), "")


def window_of(window: Window, times: Times, at: datetime) -> tuple[datetime | None, list[tuple[Verdict, Reason]]]:
    """The end of the window and what it says at the instant `at`; the end itself is still inside."""
    # No end is told of what has not begun; of 9999-12-31, which stands for "none", there is none.
    if any(time is not None and time - at > SLACK for time in (times.issued, times.collected)):
        return None, [(Verdict.JUDGE, reasons.FUTURE)]
    started = times.start_of(window)
    if started is None:
        return None, [(Verdict.JUDGE, reasons.NO_TIME)]
    until = started + window.length
    if at > until:
        return until, [(Verdict.NO, reasons.EXPIRED.because(window.text))]
    return until, [(Verdict.YES, reasons.IN_WINDOW.worded(window.text))]
