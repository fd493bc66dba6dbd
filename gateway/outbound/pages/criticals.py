"""Critical results that came in the last days and still stand, of everybody the caller may read, newest first.

What stands is what a resident's own page calls critical: a later answer ends it, and so do thirty days. A history
loaded today brings critical values of ten years, which concern nobody's morning.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from ...model.context import AccessContext
from ...model.directory import Directory
from ...model.query import Filter, Query, literal
from ...model.resource import Json, loads, reference_id
from ...model.times import instant_text
from ...store.base import Resource, Store
from ..alerts import CRITICAL_FOR, critical_alerts
from ..labs import grid
from ..record import Record
from .opened import newest_first

CAME_WITHIN = timedelta(days=3)
MOST = 200
_MOST_AROUND = 2_000
_STANDING = Filter("status", "token", ("entered-in-error", "cancelled"), "not")


async def standing_criticals(store: Store, who: AccessContext, directory: Directory, now: datetime) -> list[Json]:
    """Observations, at most `MOST`."""
    found = await _arrived(store, who, now)
    if not found:
        return []
    by_person: dict[str, dict[str, Resource]] = {}
    for row in (*found, *await _same_items(store, who, found, now)):
        by_person.setdefault(_person(loads(row.body)), {})[row.id] = row
    standing = {ref for rows in by_person.values() for ref in _standing(rows.values(), directory, now)}
    return newest_first(tuple(loads(row.body) for row in found if f"Observation/{row.id}" in standing))


async def _arrived(store: Store, who: AccessContext, now: datetime) -> list[Resource]:
    """The critical ones among the results that came lately and are of late, or say no time."""
    critical = (
        Filter("interpretation", "token", ("HH", "LL", "AA")),
        _STANDING,
        Filter("_lastUpdated", "date", (f"ge{instant_text(now - CAME_WITHIN)}",)),
    )
    found: list[Resource] = []
    for when in (_lately(now), Filter("date", "date", ("true",), "missing")):
        found += (await store.search(Query("Observation", (*critical, when), count=MOST), who)).matches
    return found[:MOST]


def _lately(now: datetime) -> Filter:
    return Filter("date", "date", (f"ge{instant_text(now - CRITICAL_FOR)}",))


async def _same_items(store: Store, who: AccessContext, found: list[Resource], now: datetime) -> list[Resource]:
    """Other results of the same persons and items: one of them may be the answer."""
    bodies = [loads(row.body) for row in found]
    persons = tuple({f"Patient/{_person(body)}" for body in bodies})
    codings = (coding for body in bodies for coding in body.get("code", {}).get("coding", ()) if coding.get("code"))
    codes = tuple({f"{literal(c.get('system', ''))}|{literal(c['code'])}" for c in codings})
    filters = (Filter("patient", "reference", persons), Filter("code", "token", codes), _STANDING, _lately(now))
    return list((await store.search(Query("Observation", filters, count=_MOST_AROUND), who)).matches) if codes else []


def _standing(rows: Iterable[Resource], directory: Directory, now: datetime) -> set[str]:
    record = Record.of(rows)
    alerts = critical_alerts(record, directory, grid(record, directory, at=now), at=now)
    return {reference for alert in alerts for reference in alert.evidence}


def _person(observation: Json) -> str:
    return reference_id(observation.get("subject"), "Patient")
