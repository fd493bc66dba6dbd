"""Which of the reference ranges a result came with speak of this person.

A client may send one for each sex, age or phase, and the limits of a treatment or an alarm beside the normal ones.
Source: FHIR R4 Observation.referenceRange; code systems referencerange-meaning, administrative-gender.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from ..model.resource import Json

_SEXES = {
    **dict.fromkeys(("male", "m", "248153007", "男", "男性", "成年男性"), "male"),
    **dict.fromkeys(("female", "f", "248152002", "女", "女性", "成年女性"), "female"),
}
_YEARS = frozenset({"a", "yr", "year", "years", "岁"})


def body_ranges(body: Json) -> Iterator[Json]:
    """Reference ranges that say anything."""
    return (r for r in body.get("referenceRange", ()) if r.get("text") or r.get("low") or r.get("high"))


def speaks_of(printed: Json, sex: str, age: int | None) -> bool:
    """True for a normal range for everybody, or for whom this person is known to be (age in whole years)."""
    kind = printed.get("type", {})
    if kind and "normal" not in _words(kind):
        return False
    return all(_SEXES.get(_key(one)) == sex for one in printed.get("appliesTo", ())) and _of_age(printed, age)


def whom(printed: Json) -> str:
    """Whom or what the range is for, in its own words; "" for everybody."""
    told = (printed.get("type", {}), *printed.get("appliesTo", ()))
    return "、".join(text for one in told if (text := str(one.get("text") or "".join(_displays(one)))))


def _displays(concept: Json) -> Iterator[str]:
    return (str(one["display"]) for one in concept.get("coding", ())[:1] if one.get("display"))


def _of_age(printed: Json, age: int | None) -> bool:
    ends = printed.get("age", {})
    if not ends:
        return True
    low, high = ends.get("low", {}), ends.get("high", {})
    units = {str(end.get("code") or end.get("unit") or "a") for end in (low, high) if end}
    if age is None or not units <= _YEARS:
        return False
    return Decimal(str(low.get("value", 0))) <= age <= Decimal(str(high.get("value", age)))


def _key(concept: Json) -> str:
    return next((word for word in _words(concept) if word in _SEXES), "")


def _words(concept: Json) -> tuple[str, ...]:
    codes = (str(one.get("code", "")).casefold() for one in concept.get("coding", ()))
    return (*codes, str(concept.get("text", "")).strip().casefold())
