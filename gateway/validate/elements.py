"""Whether R4 has an element: what the mapping compiler asks before it writes one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from .definitions import Element, codes, elements, resource_types


class R4Elements:
    """Answers for the official R4 definitions."""

    def knows(self, path: str) -> bool:
        """True for `Observation.referenceRange.low`, `Observation.valueQuantity`; `Observation.value` is the choice."""
        type_, _, rest = path.partition(".")
        return type_ in resource_types() and (not rest or _known(type_, tuple(rest.split("."))))

    def names(self, path: str) -> list[str]:
        """`Observation.referenceRange` → low, high, …; [] for an unknown path."""
        type_, *rest = path.split(".")
        for name in rest:
            found = [one.type for one in _elements(type_) if name in (one.name, one.choice) and not one.primitive]
            if not found:
                return []
            type_ = found[0]
        return [one.name for one in _elements(type_)] if rest or type_ in resource_types() else []

    def types(self) -> frozenset[str]:
        """All resource types."""
        return frozenset(resource_types())

    def needed(self, type_: str) -> list[str]:
        """`DiagnosticReport` → code, status; a choice as `medication[x]`."""
        needed = (f"{one.choice}[x]" if one.choice else one.name for one in elements(type_) if one.least)
        return sorted(set(needed))

    def many(self, path: str) -> bool | None:
        """Whether the element is a list; None for an unknown path, or a choice named without its type."""
        found = _found(path)
        return found.many if found else None

    def kind(self, path: str) -> str:
        """`Observation.device` → Reference; "" for an unknown path, or a choice named without its type."""
        found = _found(path)
        return found.type if found else ""

    def codes(self, path: str) -> frozenset[str]:
        """The codes an element may have where the standard closes the list; empty where it is open."""
        found = _found(path)
        return frozenset().union(*codes(found.binding).values()) if found and found.type == "code" else frozenset()


@cache
def _elements(type_: str) -> tuple[Element, ...]:
    """Elements of a type, and what stands beside each single primitive (`_birthDate`), where its extensions are."""
    found = elements(type_)
    beside = (one for one in found if one.primitive and not one.many)
    return found + tuple(replace(one, name=f"_{one.name}", type="Element", least=0, choice="") for one in beside)


def _found(path: str) -> Element | None:
    type_, *names = path.split(".")
    found = None
    for name in names:
        if found is not None and (found.primitive or found.type == "Resource"):
            return None
        found = next((one for one in _elements(found.type if found else type_) if one.name == name), None)
        if found is None:
            return None
    return found


@cache
def _known(type_: str, names: tuple[str, ...]) -> bool:
    for element in _elements(type_):
        if names[0] in (element.name, element.choice):
            return (
                len(names) == 1
                or element.type == "Resource"
                or (not element.primitive and _known(element.type, names[1:]))
            )
    return False
