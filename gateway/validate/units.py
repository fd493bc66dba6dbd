"""LOINC-aware conversion of a laboratory value to the unit it is shown in."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Converted:
    """A value in its display unit.

    unit: as shown (`μmol/L`, `10⁹/L`). code: UCUM. factor: what was multiplied (1 for a renamed unit).
    exact: True when no molar mass or rounded factor was used (then no `≈`). unrounded: value × factor.
    """

    value: Decimal
    unit: str
    factor: Decimal
    exact: bool
    code: str
    unrounded: Decimal


def to_display(loinc: str, value: Decimal, unit_code: str, unit_text: str) -> Converted | None:
    """The value in the analyte's display unit; None when it must not be converted."""
    raise NotImplementedError
