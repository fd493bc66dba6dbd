"""Whether R4 has an element: what the mapping compiler asks before it writes one."""

from __future__ import annotations

from functools import cache

from .definitions import elements, resource_types


class R4Elements:
    """Answers for the official R4 definitions."""

    def knows(self, path: str) -> bool:
        """True for `Observation.referenceRange.low`, `Observation.valueQuantity`; `Observation.value` is the choice."""
        type_, _, rest = path.partition(".")
        return type_ in resource_types() and (not rest or _known(type_, tuple(rest.split("."))))


@cache
def _known(type_: str, names: tuple[str, ...]) -> bool:
    for element in elements(type_):
        if names[0] in (element.name, element.choice):
            return (
                len(names) == 1
                or element.type == "Resource"
                or (not element.primitive and _known(element.type, names[1:]))
            )
    return False
