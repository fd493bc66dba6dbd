"""Required bindings: which codes R4 allows where it leaves no freedom.

Open sets (currencies, media types, UCUM, LOINC lists) are not checked here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .definitions import codes


@cache
def plain_codes(value_set: str) -> tuple[str, ...]:
    """Codes an element of type `code` may have; () when the set is open."""
    return tuple(sorted({code for found in codes(value_set).values() for code in found}))


@cache
def pairs(value_set: str) -> frozenset[tuple[str | None, str | None]]:
    """(system, code) pairs a Coding may have; empty when the set is open."""
    return frozenset((system, code) for system, found in codes(value_set).items() for code in found)


def concept_bound(concept: Any, allowed: frozenset[tuple[str | None, str | None]]) -> bool:
    """True when a CodeableConcept (or a Coding) carries a code of the set.

    A concept without any coding passes when it is only an extension (data-absent-reason), not when it is only text.
    """
    coding = getattr(concept, "coding", None)
    if coding is None:
        if hasattr(concept, "coding"):
            return concept.text is None and concept.extension is not None
        return (concept.system, concept.code) in allowed or concept.code is None
    return any((c.system, c.code) in allowed for c in coding)
