"""LOINC-aware conversion of a laboratory value to the unit it is shown in. Stored values are never touched.

Within one dimension (g/dL and g/L, ng/mL and μg/L) a conversion is exact. Between mass and substance it needs
the analyte's own factor and is rounded: as many significant digits as were sent, at least three, at most four,
half up. Never converted: HbA1c % and mmol/mol, D-dimer FEU and DDU, urea and urea nitrogen.
Source: china-standards §3.3 (spellings, factors); UCUM.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

from .analytes import analyte

ONE = Decimal(1)


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


@dataclass(frozen=True, slots=True)
class _Bridge:
    """How one analyte gets from another dimension into its display unit: `value[source] * factor`."""

    source: str
    factor: Decimal
    exact: bool = False


_POWERS: dict[str, tuple[str, int]] = {
    # UCUM code → (dimension, power of ten above the dimension's base unit)
    "g/L": ("mass", 0),
    "mg/mL": ("mass", 0),
    "g/dL": ("mass", 1),
    "mg/dL": ("mass", -2),
    "mg/L": ("mass", -3),
    "ug/mL": ("mass", -3),
    "ug/dL": ("mass", -5),
    "ug/L": ("mass", -6),
    "ng/mL": ("mass", -6),
    "ng/dL": ("mass", -8),
    "ng/L": ("mass", -9),
    "pg/mL": ("mass", -9),
    "mol/L": ("moles", 0),
    "mmol/L": ("moles", -3),
    "umol/L": ("moles", -6),
    "nmol/L": ("moles", -9),
    "pmol/L": ("moles", -12),
    "10*12/L": ("count", 12),
    "10*6/uL": ("count", 12),
    "10*9/L": ("count", 9),
    "10*3/uL": ("count", 9),
    "10*6/L": ("count", 6),
    "/uL": ("count", 6),
    "kU/L": ("activity", 3),
    "U/mL": ("activity", 3),
    "U/L": ("activity", 0),
    "k[IU]/L": ("units", 3),
    "[IU]/mL": ("units", 3),
    "[IU]/L": ("units", 0),
    "m[IU]/mL": ("units", 0),
    "u[IU]/mL": ("units", -3),
    "m[IU]/L": ("units", -3),
    "mg/L{FEU}": ("fibrinogen equivalents", -3),
    "ug/mL{FEU}": ("fibrinogen equivalents", -3),
    "ug/L{FEU}": ("fibrinogen equivalents", -6),
    "ng/mL{FEU}": ("fibrinogen equivalents", -6),
    "mg/L{DDU}": ("D-dimer units", -3),
    "ug/mL{DDU}": ("D-dimer units", -3),
    "ug/L{DDU}": ("D-dimer units", -6),
    "ng/mL{DDU}": ("D-dimer units", -6),
    "mg/g": ("mass ratio", 0),
    "ug/mg": ("mass ratio", 0),
}


def _mass(factor: str) -> tuple[_Bridge, ...]:
    return (_Bridge("mg/dL", Decimal(factor)),)


_MONOVALENT = (_Bridge("meq/L", ONE, exact=True),)
_KPA = (_Bridge("kPa", Decimal("7.501")),)

_BRIDGES: dict[str, tuple[_Bridge, ...]] = {
    "14682-9": _mass("88.4"),
    **dict.fromkeys(("14749-6", "14771-0", "14995-5", "14743-9"), _mass("0.0555")),
    **dict.fromkeys(("14647-2", "14646-4", "22748-8", "69419-0", "39469-2"), _mass("0.0259")),
    "14927-8": _mass("0.0113"),
    "14937-7": _mass("0.357"),
    "14933-6": _mass("59.48"),
    **dict.fromkeys(("14631-6", "14629-0", "14630-8"), _mass("17.1")),
    "2000-8": (*_mass("0.2495"), _Bridge("meq/L", Decimal("0.5"), exact=True)),
    "14879-1": _mass("0.3229"),
    "2601-3": _mass("0.4114"),
    **dict.fromkeys(("2524-7", "2518-9"), _mass("0.111")),
    **dict.fromkeys(("2823-3", "2951-2", "2075-0", "2028-9", "1963-8", "1960-4"), _MONOVALENT),
    **dict.fromkeys(("2019-8", "2703-7"), _KPA),
    "4544-3": (_Bridge("1", Decimal(100), exact=True), _Bridge("L/L", Decimal(100), exact=True)),
}

_BARE = frozenset({"{ratio}", "{INR}", "[pH]"})
"""Units that nobody prints."""

_SHOWN = {
    "10*12/L": "10¹²/L",
    "10*9/L": "10⁹/L",
    "mm[Hg]": "mmHg",
    "mL/min/{1.73_m2}": "mL/min/1.73m²",
    "/[HPF]": "/HP",
    "g/(24.h)": "g/24h",
    "mg/L{FEU}": "mg/L FEU",
    "mg/L{DDU}": "mg/L DDU",
    "{ratio}": "",
    "{INR}": "",
    "[pH]": "",
}

_UNMOVED = ("meq/L", "mmol/mol", "kPa", "mm/h", "fL", "pg")

_SPELLED = {
    **{code.replace("*", "").casefold(): code for code in (*_POWERS, *_UNMOVED)},
    **dict.fromkeys(("iu/l", "u/l"), "U/L"),
    "iu/ml": "[IU]/mL",
    "kiu/l": "k[IU]/L",
    "miu/ml": "m[IU]/mL",
    "miu/l": "m[IU]/L",
    "uiu/ml": "u[IU]/mL",
    **dict.fromkeys(("10e9/l", "10~9/l"), "10*9/L"),
    **dict.fromkeys(("10e12/l", "10~12/l"), "10*12/L"),
    **dict.fromkeys(("s", "sec", "秒"), "s"),
    **dict.fromkeys(("mm/1h", "mm/hr"), "mm/h"),
    **dict.fromkeys(("/hp", "/hpf", "个/hp"), "/[HPF]"),
    "g/24h": "g/(24.h)",
    "ml/min/1.73m2": "mL/min/{1.73_m2}",
    "mmhg": "mm[Hg]",
    "%": "%",
    "l/l": "L/L",
    **{f"{mass}{space}{kind}": f"{code}{{{kind.upper()}}}"
       for mass, code in (("mg/l", "mg/L"), ("ug/ml", "ug/mL"), ("ug/l", "ug/L"), ("ng/ml", "ng/mL"))
       for kind in ("feu", "ddu") for space in ("", "(")},
}  # fmt: skip


def to_display(loinc: str, value: Decimal, unit_code: str, unit_text: str) -> Converted | None:
    """The value in the analyte's display unit; None when the analyte or unit is unknown or must not be converted.

    unit_code: UCUM as the mapping knew it, "" otherwise; unit_text: as printed.
    `1.20` mg/dL creatinine gives 106 μmol/L with factor 88.4, not exact.
    """
    found = analyte(loinc)
    if found is None or not found.unit:
        return None
    unit = _annotated(unit_code or ucum_of(loinc, unit_text), found.unit)
    if unit == found.unit or (found.unit in _BARE and not (unit or unit_text)):
        unit = found.unit
        return Converted(value, unit_shown(unit), ONE, True, unit, value)
    power = _power_between(unit, found.unit)
    if power is not None:
        moved = value.scaleb(power)
        return Converted(moved, unit_shown(found.unit), ONE.scaleb(power), True, found.unit, moved)
    return _bridged(found.loinc, value, unit, found.unit)


def ucum_of(loinc: str, unit_text: str) -> str:
    """UCUM code of a unit as Chinese systems spell it, "" when unknown.

    `G/L` and `T/L` are cell counts only on cell counts; `G/L` elsewhere is g/L from an upper-case system.
    """
    text = plain_unit(unit_text)
    if text in ("G/L", "T/L"):
        found = analyte(loinc)
        if found is not None and found.unit.startswith("10*"):
            return "10*9/L" if text == "G/L" else "10*12/L"
        return "g/L" if text == "G/L" else ""
    text = text.casefold().replace("mo1", "mol").rstrip(")")
    return _SPELLED.get(text, "")


@lru_cache(4096)
def plain_unit(text: str) -> str:
    """A unit's spelling without what is only typography: `×10⁹/L`, `10^9/L`, `10*9/L` all give `109/L`."""
    plain = unicodedata.normalize("NFKC", text).replace("μ", "u")
    return re.sub(r"^[x×*]|[\s^*]", "", plain)


@lru_cache(4096)
def unit_shown(code: str) -> str:
    """A UCUM code as a doctor reads it: `umol/L` → `μmol/L`, `10*9/L` → `10⁹/L`, `m[IU]/L` → `mIU/L`."""
    if code in _SHOWN:
        return _SHOWN[code]
    return re.sub(r"^u(?=g|mol|\[IU\])", "μ", code).replace("[IU]", "IU")


def significant(value: Decimal, digits: int) -> Decimal:
    """Rounded half up to so many significant digits: (106.08, 3) → 106."""
    if not value:
        return value
    rounded = value.quantize(ONE.scaleb(value.adjusted() - digits + 1), rounding=ROUND_HALF_UP)
    # 99.96 rounds up to 100.0, which carries one digit more than asked.
    return rounded if rounded.adjusted() == value.adjusted() else significant(rounded, digits)


def _annotated(unit: str, wanted: str) -> str:
    # The code of a D-dimer says FEU or DDU where the printed unit does not; a unit that says the other stays.
    _, brace, kind = wanted.partition("{")
    return f"{unit}{brace}{kind}" if wanted.startswith("mg/L{") and unit and "{" not in unit else unit


def _power_between(unit: str, wanted: str) -> int | None:
    here, there = _POWERS.get(unit), _POWERS.get(wanted)
    if here is None or there is None or here[0] != there[0]:
        return None
    return here[1] - there[1]


def _bridged(loinc: str, value: Decimal, unit: str, wanted: str) -> Converted | None:
    for bridge in _BRIDGES.get(loinc, ()):
        power = 0 if unit == bridge.source else _power_between(unit, bridge.source)
        if power is None:
            continue
        factor = bridge.factor.scaleb(power)
        full = value * factor
        digits = min(max(len(value.as_tuple().digits), 3), 4)
        shown = full if bridge.exact else significant(full, digits)
        return Converted(shown, unit_shown(wanted), factor, bridge.exact, wanted, full)
    return None
