"""How a medicine is to be taken, in the words of its Dosage: every instruction, none of them dropped."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from ..model.resource import Json

_EVERY = {"h": "小时", "d": "天", "wk": "周", "mo": "个月", "min": "分钟", "a": "年", "s": "秒"}


def dosing(instructions: Iterable[Json]) -> str:
    """`100 mg qd`, `早 1 片；晚 2 片`; "" when the source gave nothing that can be said."""
    return "；".join(filter(None, (_one(dosage) for dosage in instructions)))


def _one(dosage: Json) -> str:
    said = " ".join(filter(None, (_dose(dosage), _frequency(dosage.get("timing", {})))))
    needed = "必要时" if dosage.get("asNeededBoolean") or "asNeededCodeableConcept" in dosage else ""
    return " ".join(filter(None, (said or str(dosage.get("text", "")), needed)))


def _dose(dosage: Json) -> str:
    rates: list[Json] = dosage.get("doseAndRate") or [{}]
    quantity, span = rates[0].get("doseQuantity", {}), rates[0].get("doseRange", {})
    if "value" in quantity:
        return f"{_digits(quantity)} {_unit(quantity)}".strip()
    ends = [end for end in (span.get("low"), span.get("high")) if end]
    return f"{'–'.join(map(_digits, ends))} {_unit(ends[-1])}".strip() if ends else ""


def _frequency(timing: Json) -> str:
    code = timing.get("code", {})
    shown = (str(c.get("display") or c.get("code") or "") for c in code.get("coding", ()))
    return str(code.get("text") or next(filter(None, shown), "")) or _repeat(timing.get("repeat", {}))


def _repeat(repeat: Json) -> str:
    every = _EVERY.get(str(repeat.get("periodUnit", "")))
    if not every or "period" not in repeat:
        return ""
    period = "" if repeat["period"] == 1 else f" {repeat['period']} "
    return f"每{period}{every} {repeat.get('frequency', 1)} 次"


def _digits(quantity: Json) -> str:
    value = quantity.get("value", "")
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _unit(quantity: Json) -> str:
    return str(quantity.get("unit") or quantity.get("code") or "")
