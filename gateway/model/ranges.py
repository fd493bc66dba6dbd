"""Reference intervals a member has published for its own laboratory (D25).

They serve only where a report prints none, and are shown as such (机构公布区间). Filled from
`mappings/<member>/ranges.csv`; the gateway has no intervals of its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

_STRICT = re.compile(r"\s*[<>](?!=)")


def leaves_out_its_limit(text: str) -> bool:
    """True for a range printed as `<5.18` or `>60`: the limit itself, inside for FHIR, is outside."""
    return bool(_STRICT.match(unicodedata.normalize("NFKC", text)))


@dataclass(frozen=True, slots=True)
class DeclaredRange:
    """One row: `sex` is "male", "female" or "" for both; ages in whole years, both ends included, None = open.

    low/high: in `unit`, None = open at that side. text: as the member prints it ("41–81", "<5.18").
    """

    member: str
    loinc: str
    sex: str
    age_low: int | None
    age_high: int | None
    unit: str
    low: Decimal | None
    high: Decimal | None
    text: str

    def fits(self, sex: str, age: int | None) -> bool:
        """True when the row speaks of a person of this sex and age; an unknown age fits only rows for every age."""
        if self.sex and self.sex != sex:
            return False
        if age is None:
            return self.age_low is None and self.age_high is None
        return (self.age_low is None or age >= self.age_low) and (self.age_high is None or age <= self.age_high)


@dataclass(slots=True)
class DeclaredRanges:
    """All members' rows, found by member and LOINC. Whoever holds them sees new ones when they become others."""

    rows: Mapping[tuple[str, str], tuple[DeclaredRange, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[DeclaredRange]) -> DeclaredRanges:
        """From rows in any order; the order inside one analyte is kept (first that fits wins)."""
        found: dict[tuple[str, str], list[DeclaredRange]] = {}
        for row in rows:
            found.setdefault((row.member, row.loinc), []).append(row)
        return cls({key: tuple(value) for key, value in found.items()})

    def become(self, other: DeclaredRanges) -> None:
        """All rows of `other`."""
        self.rows = other.rows

    def find(self, member: str, loinc: str, sex: str, age: int | None) -> DeclaredRange | None:
        """The member's interval for this analyte and person, None when it published none."""
        return next((row for row in self.rows.get((member, loinc), ()) if row.fits(sex, age)), None)
