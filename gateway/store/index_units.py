"""UCUM units reduced to their base, so that 500 mg is found by 0.5 g.

Prefixes, products, quotients and powers of the units medicine writes. Units with an offset (degrees Celsius) and units
of their own measure (international units) are comparable with themselves only. An annotation counts as a unit of its
own, which is stricter than UCUM: `mg/L{FEU}` and `mg/L{DDU}` are two measures. Source: UCUM 2.1.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

UCUM = "http://unitsofmeasure.org"
MOST_TENS = 240
"""A number of more digits before or after its point is no measurement; times any unit here it is still a float."""
_LONG = 100  # characters; no unit of medicine has so many
_LEAST, _MOST = Fraction(1, 10**60), Fraction(10**60)  # what a unit may be worth
_TENS = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "d": -1, "c": -2, "m": -3,
    "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip
_Unit = tuple[Fraction, dict[str, int]]


def _of(factor: int | str, **powers: int) -> _Unit:
    return Fraction(factor), powers


_METRIC: dict[str, _Unit] = {
    "m": _of(1, m=1), "s": _of(1, s=1), "g": _of(1, g=1), "K": _of(1, K=1), "mol": _of(1, mol=1), "cd": _of(1, cd=1),
    "L": _of("0.001", m=3), "l": _of("0.001", m=3), "eq": _of(1, mol=1), "osm": _of(1, mol=1), "Hz": _of(1, s=-1),
    "N": _of(1000, g=1, m=1, s=-2), "Pa": _of(1000, g=1, m=-1, s=-2), "bar": _of("1e8", g=1, m=-1, s=-2),
    "J": _of(1000, g=1, m=2, s=-2), "W": _of(1000, g=1, m=2, s=-3), "cal": _of(4184, g=1, m=2, s=-2),
    "V": _of(1000, g=1, m=2, s=-2, C=-1), "A": _of(1, C=1, s=-1), "C": _of(1, C=1), "Bq": _of(1, s=-1),
    "Gy": _of(1, m=2, s=-2), "Sv": _of(1, m=2, s=-2), "kat": _of(1, mol=1, s=-1), "U": _of("1/60000000", mol=1, s=-1),
    "m[Hg]": _of(133322000, g=1, m=-1, s=-2), "m[H2O]": _of(9806650, g=1, m=-1, s=-2), "t": _of(1000000, g=1),
    "[IU]": _of(1, IU=1), "[iU]": _of(1, IU=1), "Ohm": _of(1000, g=1, m=2, s=-1, C=-2), "B": _of(1, bel=1),
}  # fmt: skip
_PLAIN: dict[str, _Unit] = {
    "min": _of(60, s=1), "h": _of(3600, s=1), "d": _of(86400, s=1), "wk": _of(604800, s=1), "mo": _of(2629800, s=1),
    "a": _of(31557600, s=1), "%": _of("1/100"), "[ppth]": _of("1/1000"), "[ppm]": _of("1/1000000"), "10*": _of(10),
    "10^": _of(10), "[in_i]": _of("0.0254", m=1), "[ft_i]": _of("0.3048", m=1), "[lb_av]": _of("453.59237", g=1),
    "[oz_av]": _of("28.349523125", g=1), "Cel": _of(1, Cel=1), "[degF]": _of(1, degF=1), "[pH]": _of(1, pH=1),
    "deg": _of(1, deg=1), "[CFU]": _of(1, CFU=1), "[drp]": _of(1, drp=1), "[arb'U]": _of(1, arb=1),
    "[diop]": _of(1, m=-1),
}  # fmt: skip
_PIECE = re.compile(r"(10[*^]|\d+(?!\*|\^)|(?:[^\d./{}\[\]+\-()]|\[[^\]]*\])+)?([+-]?\d+)?(\{[^}]*\})?")


@lru_cache(4096)
def canonical(code: str) -> tuple[Fraction, str] | None:
    """(what one of this unit is worth in base units, the base units as text); None for a unit not known here."""
    factor, powers = Fraction(1), dict[str, int]()
    sign, rest = 1, code if len(code) < _LONG else ""
    if rest.startswith("/"):
        sign, rest = -1, rest[1:]
    while True:
        match = _PIECE.match(rest)
        unit = _piece(match) if match and match[0] else None
        if match is None or unit is None:
            return None
        factor *= unit[0] ** sign
        for base, power in unit[1].items():
            powers[base] = powers.get(base, 0) + sign * power
        rest = rest[match.end() :]
        if not rest:
            if not _LEAST < factor < _MOST:
                return None
            return factor, ".".join(f"{base}{power}" for base, power in sorted(powers.items()) if power)
        if rest[0] not in "./":
            return None
        sign, rest = 1 if rest[0] == "." else -1, rest[1:]


def _piece(match: re.Match[str]) -> _Unit | None:
    atom, power, noted = match[1], int(match[2] or 1), {match[3]: 1} if match[3] else {}
    if atom is None:
        return (Fraction(1), noted) if noted and not match[2] else None
    unit = (Fraction(int(atom)), dict[str, int]()) if atom.isdigit() else _atom(atom)
    if unit is None or abs(power) > 24:
        return None
    return unit[0] ** power, {base: own * power for base, own in unit[1].items()} | noted


def _atom(atom: str) -> _Unit | None:
    if atom in _PLAIN or atom in _METRIC:
        return _PLAIN.get(atom) or _METRIC[atom]
    for size in (1, 2):
        prefix, metric = atom[:size], atom[size:]
        if prefix in _TENS and metric in _METRIC:
            factor, powers = _METRIC[metric]
            return factor * Fraction(10) ** _TENS[prefix], powers
    return None
