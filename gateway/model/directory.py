"""Members, their source systems, the alliances they form (D24). Loaded from `mappings/` by `translate/mapping.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

from .times import CHINA
from .view import View

Level = Literal["tertiary", "secondary", "primary"]


@dataclass(frozen=True, slots=True)
class Source:
    """One system that sends: `mappings/<member>/source.yaml`, key `sources`.

    control_id: whether the sender's message or document ids are unique for good (D23).
    report_mode: snapshot (a newer issue of a report is whole) or delta.
    wait_days: how long a message waits for what it presupposes (a merge for the numbers, a cancellation for the visit).
    queries: whose residents the system may look up in the person index (QBP): nobody's, its member's, its alliances'.
    ack: when an HL7 v2 message is answered AA: kept, processed without error, or always.
    settings: what only one format needs (msh3, msh4, csv kind, PACS address, …).
    view: the database view a CSV source's rows are read from.
    """

    name: str
    member: str
    format: str  # v2 | cda | csv | json | dicom | fhir
    title: str = ""
    charset: str = "auto"
    timezone: str = "+08:00"
    control_id: Literal["trusted", "untrusted"] = "trusted"
    report_mode: Literal["snapshot", "delta"] = "snapshot"
    wait_days: int = 7
    queries: Literal["none", "own", "alliance"] = "none"
    ack: Literal["stored", "processed", "always_aa"] = "stored"
    settings: Mapping[str, str] = field(default_factory=dict)
    view: View | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One institution. `provides`: kinds of data it is connected for; a kind outside reads 来源未接入, not 无记录.

    provides ⊆ {"visits", "labs", "imaging", "images", "medication", "documents"}.
    """

    key: str
    name: str
    level: Level
    short: str = ""
    provides: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Term:
    """First and last day, both inside, in China; None: without an end on that side."""

    since: date | None = None
    until: date | None = None

    def holds(self, at: datetime) -> bool:
        """True while the instant is inside."""
        day = at.astimezone(CHINA).date()
        return (self.since is None or self.since <= day) and (self.until is None or day <= self.until)


@dataclass(frozen=True, slots=True)
class Alliance:
    """`members` are member keys; a nested alliance lists what it contains in `contains`.

    term: of the alliance itself. terms: of members that joined later or left before.
    """

    key: str
    name: str
    lead: str
    members: frozenset[str]
    contains: frozenset[str] = frozenset()
    term: Term = Term()
    terms: Mapping[str, Term] = field(default_factory=dict, hash=False)

    def at(self, at: datetime) -> frozenset[str]:
        """Members at an instant, none outside the alliance's own term."""
        if not self.term.holds(at):
            return frozenset()
        return frozenset(key for key in self.members if key not in self.terms or self.terms[key].holds(at))


@dataclass(slots=True)
class Directory:
    """Everybody the gateway knows. Whoever holds it sees new members when it becomes another."""

    members: Mapping[str, Member]
    sources: Mapping[str, Source]
    alliances: Mapping[str, Alliance]
    _senders: dict[tuple[str, str], Source] | None = field(default=None, init=False, repr=False, compare=False)

    def become(self, other: Directory) -> None:
        """Everybody of `other`; the mappings themselves never change, so what was taken from them can be told apart."""
        self.members, self.sources, self.alliances = other.members, other.sources, other.alliances
        self._senders = None

    def sender(self, msh3: str, msh4: str) -> Source | None:
        """The HL7 v2 source that sends under these names."""
        if self._senders is None:
            v2 = [one for one in self.sources.values() if one.format == "v2"]
            self._senders = {(one.settings.get("msh3", ""), one.settings.get("msh4", "")): one for one in v2}
            self._senders.pop(("", ""), None)  # one that sends another way: who names nobody is nobody
        return self._senders.get((msh3, msh4))

    def sending(self, name: str) -> Source | None:
        """A source by its name, as far as a member has it: what is only tried is kept nowhere."""
        found = self.sources.get(name)
        return found if found is not None and found.member in self.members else None

    def member_of(self, source: str) -> str:
        """Member key of a source, "" when unknown."""
        found = self.sources.get(source)
        return found.member if found else ""

    def within(self, alliance: str, at: datetime) -> frozenset[str]:
        """Member keys of an alliance and of the alliances inside it, at an instant."""
        found = self.alliances.get(alliance)
        if found is None or not found.term.holds(at):
            return frozenset()
        inner = [self.within(key, at) for key in found.contains]
        return found.at(at).union(*inner)

    def alliances_of(self, member: str, at: datetime) -> tuple[str, ...]:
        """Keys of the alliances a member belongs to at an instant, directly or through a nested one."""
        return tuple(key for key in self.alliances if member in self.within(key, at))
