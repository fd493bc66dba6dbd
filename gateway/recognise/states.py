"""The states of a result that a rule sheet's exclusions speak of."""

from __future__ import annotations

from ..model.resource import Json
from ..model.systems import EXT_CRITICAL_NOTICE
from .listing import When

_FINAL = frozenset({"final", "amended", "corrected", "appended"})
_VOID = frozenset({"cancelled", "entered-in-error"})
_CRITICAL = frozenset({"HH", "LL", "AA"})


def states_of(report: Json, observation: Json | None) -> frozenset[When]:
    """States of one item, or with observation None of the report as one item."""
    subject = observation if observation is not None else report
    found: set[When] = set()
    if report.get("status") in _VOID or subject.get("status") in _VOID:
        found.add("cancelled")
    elif not _is_final(report, observation):
        found.add("not-final")
    if is_critical(subject):
        found.add("critical")
    if observation is not None and not _has_result(observation):
        found.add("no-result")
    if "POS" in interpretations(subject):
        found.add("positive")
    return frozenset(found)


def is_critical(resource: Json) -> bool:
    """True when the source calls it critical: interpretation HH, LL, AA, or a notice of whom it told."""
    told = any(extension.get("url") == EXT_CRITICAL_NOTICE for extension in resource.get("extension", ()))
    return told or bool(_CRITICAL & interpretations(resource))


def interpretations(resource: Json) -> frozenset[str]:
    """Codes of Observation.interpretation."""
    return frozenset(
        str(coding.get("code", ""))
        for concept in resource.get("interpretation", ())
        for coding in concept.get("coding", ())
    )


def _is_final(report: Json, observation: Json | None) -> bool:
    if observation is None:
        return report.get("status") in _FINAL
    # A partial report holds items that are final already; any other unfinished report finishes none of them.
    return observation.get("status") in _FINAL and (report.get("status") in _FINAL or report.get("status") == "partial")


def _has_result(observation: Json) -> bool:
    if any(key.startswith("value") for key in observation):
        return True
    return bool(observation.get("hasMember") or observation.get("component"))
