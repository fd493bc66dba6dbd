"""Which rows of dated code tables are in force for a message: those of the day on which what it tells happened.

The day is that of the first of the map's `happened` (then `said`) which holds a time that is not in the future, in the
source's zone; without any it is the day of arrival. Decision note 0044.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ..model.times import fhir_from_ts, parse_fhir, parse_offset
from .functions import stamp
from .mapping import Map
from .memo import MemoOfTexts

Finder = Callable[[Any], str]
"""From a message's root: the first text at a path, "" when there is none. Nothing counts as read by it."""
_AHEAD = timedelta(days=1)
_NEVER = datetime.max.replace(tzinfo=UTC)


def finders(found: Map, finder: Callable[[str], Finder]) -> tuple[Finder, ...]:
    """Where to look for the day. Raises MappingError with file and line."""
    said = (found.said.get("first") or found.said).items() if found.said else []
    out = []
    for node in (*found.happened, *said):
        try:
            out.append(finder(node.text()))
        except ValueError as error:
            raise node.slip("happened", error) from error
    return tuple(out)


def day_of(root: Any, where: Sequence[Finder], zone: str, received: datetime) -> str:
    """`2026-07-01`."""
    for find in where:
        if text := find(root):
            at, day = _DAY[text, zone]
            if at <= received + _AHEAD:
                return day
    return received.astimezone(parse_offset(zone)).date().isoformat()


def _told(text: str, zone: str) -> tuple[datetime, str]:
    """An instant and its day in the zone; what is no time lies in no message's past."""
    try:
        said = fhir_from_ts(stamp(text), zone)
        at = parse_fhir(said)
        return at, at.astimezone(parse_offset(zone)).date().isoformat() if "T" in said else f"{said}-01-01"[:10]
    except (ValueError, OverflowError):
        return _NEVER, ""


_DAY = MemoOfTexts(lambda key: _told(*key))
