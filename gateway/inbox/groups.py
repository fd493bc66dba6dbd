"""Quarantined messages by what is wrong with them: one cause is looked into once, however many messages it holds up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from ..model.outcome import Outcome
from ..translate.gaps import without_numbers
from .queue import Entry


@dataclass(frozen=True, slots=True)
class Group:
    """Messages of one source with one code at one place.

    sample: key of the newest. mappings: versions of the mappings they were tried on, the newest message's first.
    """

    source: str
    code: str
    place: str
    count: int
    first: datetime
    last: datetime
    sample: str
    mappings: tuple[str, ...] = ()


def groups(entries: Iterable[Entry]) -> list[Group]:
    """Groups of quarantined messages, given newest first; the largest group first."""
    found: dict[tuple[str, str, str], Group] = {}
    for one in entries:
        cause = one.source, one.reason, place_of(one)
        known = found.get(cause) or Group(*cause, 0, one.at, one.at, one.key)
        version = version_of(one.outcome)
        found[cause] = replace(
            known,
            count=known.count + 1,
            first=min(known.first, one.at),
            last=max(known.last, one.at),
            mappings=known.mappings if version in ("", *known.mappings) else (*known.mappings, version),
        )
    return sorted(found.values(), key=lambda group: -group.count)


def version_of(outcome: str | bytes | None) -> str:
    """The version of the mapping a message was tried on; "" when none was, or it has no outcome."""
    return msgspec.json.decode(outcome, type=Outcome).mapping if outcome else ""


def place_of(entry: Entry) -> str:
    """Where the fault for which it is quarantined stands, without the number of the repetition: `OBX-5`."""
    if not entry.outcome:
        return ""
    findings = msgspec.json.decode(entry.outcome, type=Outcome).findings
    place = next((one.place for one in findings if one.code == entry.reason), "")
    return without_numbers(place)
