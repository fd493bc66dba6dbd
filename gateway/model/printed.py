"""What an Observation says, in the words and digits a person reads: whichever value[x] of R4 it holds."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from .resource import Json

_PLAIN = ("valueString", "valueInteger", "valueDateTime", "valueTime")
_WAVE = "波形数据"
_ABSENT = {
    "unknown": "原因未知",
    "not-performed": "没有检测",
    "error": "检测出错",
    "masked": "来源未公开",
    "not-applicable": "不适用",
    "unsupported": "无法表示",
}
"""Codes of data-absent-reason as a doctor reads them."""


def printed_value(observation: Json) -> tuple[str, str]:
    """(value, unit) as sent: `<0.05` `ng/mL`, `1:320`, `0-2` `/HP`, `阴性(-)`; ("", "") when it holds none.

    Without a value of its own its components speak: `pH 7.10；pCO2 60 mmHg`.
    """
    if (quantity := observation.get("valueQuantity", {})).get("value") is not None:
        return _number(quantity), _unit(quantity)
    if concept := observation.get("valueCodeableConcept"):
        return concept_text(concept), ""
    if ratio := observation.get("valueRatio"):
        sides = (ratio.get("numerator", {}), ratio.get("denominator", {}))
        return ":".join(f"{_number(side)} {_unit(side)}".strip() for side in sides), ""
    if span := observation.get("valueRange"):
        return _span(span)
    if days := observation.get("valuePeriod"):
        return f"{days.get('start', '')} – {days.get('end', '')}".strip(), ""
    if "valueBoolean" in observation:
        return "是" if observation["valueBoolean"] else "否", ""
    if "valueSampledData" in observation:
        return _WAVE, ""
    plain = next((str(observation[key]) for key in _PLAIN if key in observation), "")
    return plain or printed_components(observation), ""


def printed_components(observation: Json) -> str:
    """Its components that hold a value, in their order; "" when there are none."""
    return "；".join(_components(observation))


def printed_beside(observation: Json) -> Iterator[str]:
    """Its components in one text, where they are not its value already."""
    told = printed_components(observation)
    if told and told != printed_value(observation)[0]:
        yield told


def _components(observation: Json) -> Iterator[str]:
    for part in observation.get("component", ()):
        value, unit = printed_value(part)
        if value:
            yield f"{concept_text(part.get('code', {}))} {value} {unit}".strip()


def absent_words(observation: Json) -> str:
    """Why there is no result, in the source's words or ours; "" when it does not say."""
    reason = observation.get("dataAbsentReason", {})
    said = concept_text(reason)
    return _ABSENT.get(said, said)


def effective_time(resource: Json) -> str:
    """When it was true of the person, whichever effective[x] of R4 says so: of a span its start; "" when none does."""
    period, timing = resource.get("effectivePeriod", {}), resource.get("effectiveTiming", {})
    said = (resource.get("effectiveDateTime"), resource.get("effectiveInstant"), period.get("start"), period.get("end"))
    return next((str(time) for time in (*said, *timing.get("event", ())) if time), "")


def _span(span: Json) -> tuple[str, str]:
    low, high = span.get("low", {}), span.get("high", {})
    unit = _unit(low) or _unit(high)
    if low and high:
        return f"{_number(low)}-{_number(high)}", unit
    return f">={_number(low)}" if low else f"<={_number(high)}", unit


def _number(quantity: Json) -> str:
    value = quantity.get("value", "")
    return f"{quantity.get('comparator', '')}{format(value, 'f') if isinstance(value, Decimal) else value}"


def _unit(quantity: Json) -> str:
    code = str(quantity.get("code", ""))
    return str(quantity.get("unit") or ("" if code == "1" else code))


def concept_text(concept: Json) -> str:
    """The words of a CodeableConcept: text, else a display, else a code."""
    shown = (str(c.get("display") or c.get("code") or "") for c in concept.get("coding", ()))
    return str(concept.get("text") or next((s for s in shown if s), ""))
