"""What became of a message: findings with a place, fields nobody used, the final state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Severity = Literal["fatal", "error", "warning", "information"]


class State(StrEnum):
    """States of a kept message."""

    RECEIVED = "received"
    PROCESSED = "processed"
    QUARANTINED = "quarantined"
    PARKED = "parked"  # waits for another message


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark with its place. Texts never contain a name, card number or phone.

    place: `OBX[3]-5`, `/ClinicalDocument/...#line`, `row 7, column 收缩压`, `Observation.status`.
    """

    code: str
    severity: Severity
    place: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Unused:
    """A populated source field that reached no target, or was ignored for a written reason."""

    place: str
    because: str = ""  # "" = unmapped: a finding for the mapping's author

    @property
    def lost(self) -> bool:
        """True when no reason was written down."""
        return not self.because


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result kept beside the raw bytes."""

    key: str
    state: State
    kind: str = ""
    mapping: str = ""
    findings: tuple[Finding, ...] = ()
    unused: tuple[Unused, ...] = ()
    resources: tuple[str, ...] = ()  # "Observation/abc"
