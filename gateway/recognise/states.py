"""The states of a result that a rule sheet's exclusions speak of."""

from __future__ import annotations

import re
import unicodedata

from ..model.printed import printed_value
from ..model.ranges import leaves_out_its_limit
from ..model.resource import Json
from ..model.systems import EXT_CRITICAL_NOTICE
from .listing import State

_FINAL = frozenset({"final", "amended", "corrected", "appended"})
_VOID = frozenset({"cancelled", "entered-in-error"})
_CRITICAL = frozenset({"HH", "LL", "AA"})
_POSITIVE = frozenset({"POS", "WR", "RR", "DET", "IND", "E"})
_NEGATIVE = frozenset({"NEG", "ND", "NR", "N"})
_FLAGGED = frozenset({"H", "HU", ">", "HH", "A", "AA"})
_NEGATIVE_WORDS = re.compile(r"阴性|未检出|未检测?到|未测出|无反应|(?:低|小)于检[出测]限|^\(?-\)?$")
_NOTHING = re.compile(r"[\s/\\\-—–_*.·?<>=…~无]*")
_INSTEAD = re.compile(
    r"[未没](?:做|检|测|送|收|出|报|回)|[待等](?:查|检|测|报|回|复|定)|[拒退](?:检|收|回|样|单)|作废|取消|见.{0,4}(?:报告|备注|附|图)"
    r"|[标样]本|溶血|脂血|乳糜|凝固|复查|复检|重[采抽测检]|重新|无法|不能|失败|故障|错误|error",
    re.IGNORECASE,
)
_POSITIVE_WORDS = re.compile(r"阳性|检出(?!限)|有反应|可疑|±|^\(?[1-4]?\++[1-4]?\)?$|\(\+")


def states_of(report: Json, observation: Json | None, doubted: str = "") -> frozenset[State]:
    """States of one item, or with observation None of the report as one item.

    doubted: what the laboratory says against it (`specimen.doubt`).
    """
    subject = observation if observation is not None else report
    found: set[State] = set()
    if report.get("status") in _VOID or subject.get("status") in _VOID:
        found.add("cancelled")
    elif not _is_final(report, observation):
        found.add("not-final")
    if is_critical(subject):
        found.add("critical")
    if observation is not None and not _has_result(observation):
        found.add("no-result")
    elif doubted:
        found.add("doubtful")
    if _POSITIVE & interpretations(subject) or _reads_positive(subject):
        found.add("positive")
    if "positive" in found or not _plainly_negative(subject):
        found.add("not-negative")
    return frozenset(found)


def _reads_positive(subject: Json) -> bool:
    """True for what is not plainly negative in words: 阳性, 弱阳性, 可疑, ±, 2+."""
    text = unicodedata.normalize("NFKC", printed_value(subject)[0])
    return bool(_POSITIVE_WORDS.search(_NEGATIVE_WORDS.sub("", text)))


def _plainly_negative(subject: Json) -> bool:
    """True for a negative in words, by its flag, below what can be detected, or below the limit printed with it."""
    flags = interpretations(subject)
    if _FLAGGED & flags:
        return False
    if _NEGATIVE & flags or _NEGATIVE_WORDS.search(unicodedata.normalize("NFKC", printed_value(subject)[0]).strip()):
        return True
    return _below_its_limit(subject)


def _below_its_limit(subject: Json) -> bool:
    quantity, ranges = subject.get("valueQuantity", {}), subject.get("referenceRange", ())
    value, sign = quantity.get("value"), str(quantity.get("comparator", ""))
    high = ranges[0].get("high", {}) if len(ranges) == 1 else {}
    if value is None or sign.startswith(">"):
        return False
    if sign.startswith("<") and high.get("value") is None:
        return True
    if high.get("value") is None or high.get("unit", quantity.get("unit")) != quantity.get("unit"):
        return False
    at_limit = value == high["value"] and not sign and leaves_out_its_limit(str(ranges[0].get("text", "")))
    return bool(value <= high["value"]) and not at_limit


def is_critical(resource: Json) -> bool:
    """True when the source calls it critical: interpretation HH, LL, AA, or a notice of whom it told."""
    told = any(extension.get("url") == EXT_CRITICAL_NOTICE for extension in resource.get("extension", ()))
    return told or bool(_CRITICAL & interpretations(resource))


def interpretations(resource: Json) -> frozenset[str]:
    """Codes of Observation.interpretation, also of its components."""
    return frozenset(
        str(coding.get("code", ""))
        for part in (resource, *resource.get("component", ()))
        for concept in part.get("interpretation", ())
        for coding in concept.get("coding", ())
    )


def _is_final(report: Json, observation: Json | None) -> bool:
    if observation is None:
        return report.get("status") in _FINAL
    # A partial report holds items that are final already; any other unfinished report finishes none of them.
    return observation.get("status") in _FINAL and (report.get("status") in _FINAL or report.get("status") == "partial")


def _has_result(observation: Json) -> bool:
    """False also for words a laboratory prints in place of a result: 标本溶血, 待查, 见报告, `/`."""
    if "valueString" in observation or "valueCodeableConcept" in observation:
        text = unicodedata.normalize("NFKC", printed_value(observation)[0])
        instead = _INSTEAD.search(text) and not _NEGATIVE_WORDS.search(text)
        return not (_NOTHING.fullmatch(text) or instead)
    return bool(printed_value(observation)[0] or observation.get("hasMember"))
