"""Every value[x] an Observation can hold, as a person reads it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.model.printed import printed_value

_LOW, _HIGH = {"value": Decimal("5.0"), "unit": "mg/dL"}, {"value": 10, "unit": "mg/dL"}


@pytest.mark.parametrize(
    ("element", "value", "printed"),
    [
        ("valueQuantity", {"value": Decimal("0.05"), "comparator": "<", "unit": "ng/mL"}, ("<0.05", "ng/mL")),
        ("valueQuantity", {"unit": "ng/mL"}, ("", "")),
        ("valueRatio", {"numerator": {"value": 1}, "denominator": {"value": 320}}, ("1:320", "")),
        (
            "valueRatio",
            {"numerator": {"value": 30, "unit": "mg"}, "denominator": {"value": 1, "unit": "g"}},
            ("30 mg:1 g", ""),
        ),
        ("valueRange", {"low": _LOW, "high": _HIGH}, ("5.0-10", "mg/dL")),
        ("valueRange", {"low": _LOW}, (">=5.0", "mg/dL")),
        ("valueRange", {"high": _HIGH}, ("<=10", "mg/dL")),
        ("valuePeriod", {"start": "2026-03-01", "end": "2026-03-05"}, ("2026-03-01 – 2026-03-05", "")),
        ("valueCodeableConcept", {"coding": [{"code": "P", "display": "阳性"}]}, ("阳性", "")),
        ("valueBoolean", False, ("否", "")),
        ("valueString", "阴性(-)", ("阴性(-)", "")),
        ("valueInteger", 0, ("0", "")),
        ("dataAbsentReason", {"text": "标本溶血"}, ("", "")),
    ],
)
def test_a_value_is_printed_as_sent(element: str, value: Any, printed: tuple[str, str]) -> None:
    assert printed_value({"resourceType": "Observation", element: value}) == printed
