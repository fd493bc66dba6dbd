"""A message on its way in: raw bytes, then a draft of what it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from .outcome import Finding, Unused
from .resource import Json, loads


@dataclass(frozen=True, slots=True)
class RawMessage:
    """Bytes exactly as received; `key` is the inbox key, unique in this gateway."""

    key: str
    source: str
    format: str  # v2 | cda | csv | json | dicom | fhir
    body: bytes
    received_at: datetime
    name: str = ""  # file name, where there was one


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One patient as one member's system knows them (D8).

    patient: FHIR Patient elements as that system states them, without id: identifier, name,
    gender, birthDate, telecom, address, …; None for an element it deleted (`""` in HL7 v2).
    `said_at` is the message's own time, aware. `place` is where its number stands, of a file of many patients and of an
    image. in_passing: the system only repeats who it is about (the header of an image): that fills gaps, and yields to
    whatever another message says.
    """

    member: str
    local_number: str
    patient: Json
    said_at: datetime
    place: str = ""
    in_passing: bool = False

    @property
    def resource(self) -> Json:
        """The Patient as far as it says something."""
        return {"resourceType": "Patient"} | {key: value for key, value in self.patient.items() if value is not None}


SUBJECT = "Patient/@{}"
"""How a draft spells the reference to its n-th source record until identity has resolved it."""


class DraftResource(NamedTuple):
    """One resource a message makes; `body` has resourceType and id, no meta, subject as `Patient/@n`.

    A named tuple, because a report makes two dozen and they are made in half the time.
    """

    type: str
    id: str
    body: bytes
    record: int = 0  # which of Draft.records is its subject; -1 when it has none
    gone: tuple[str, ...] | None = None
    """Elements its sender deleted (`period.end`), when the message is an update that leaves absent ones as they are;
    None for a resource told whole."""
    left: tuple[str, ...] = ()
    """Elements an update says nothing about: `body` has them for the case that nothing is stored yet."""

    @property
    def json(self) -> Json:
        """The body as a dict (tests, revisions; not the hot path)."""
        return loads(self.body)


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """A40: `retired_number` of `member` is the same patient as record `survivor`."""

    survivor: int
    member: str
    retired_number: str


class Awaited(NamedTuple):
    """Something a message presupposes. ref: `Encounter/abc`; place: the field that names it."""

    ref: str
    place: str


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything one message says, before anybody asked who the patient is.

    kind: `ORU^R01`, `C0007`, `visits`, `dicom`. mapping: hash of the compiled mapping that made it.
    document: the id under which a newer issue replaces this one (report number, CDA set id), or "".
    """

    kind: str
    mapping: str
    records: tuple[SourceRecord, ...]
    resources: tuple[DraftResource, ...]
    merges: tuple[MergeRequest, ...] = ()
    awaits: tuple[Awaited, ...] = ()
    carries: tuple[str, ...] = ()  # resources whose new subject takes along what was filed with them
    findings: tuple[Finding, ...] = ()
    unused: tuple[Unused, ...] = ()
    said_at: datetime | None = None
    facts: dict[str, str] = field(default_factory=dict)  # charset declared/actual, trigger, version
