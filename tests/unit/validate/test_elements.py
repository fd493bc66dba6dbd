"""Which elements R4 has, for the mapping compiler."""

from __future__ import annotations

import pytest

from gateway.shipped import shipped
from gateway.translate.engine import Mappings
from gateway.validate.elements import R4Elements


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("Observation.referenceRange.low.value", True),
        ("Observation.valueQuantity.code", True),
        ("Observation.value", True),
        ("Patient.name.extension.valueCode", True),
        ("Observation.stauts", False),
        ("Observation.status.code", False),
        ("Observations.status", False),
    ],
)
def test_elements_are_known_by_their_path(path: str, known: bool) -> None:
    assert R4Elements().knows(path) is known


def test_every_shipped_map_writes_only_elements_r4_has() -> None:
    Mappings.load([shipped("mappings")], elements=R4Elements())
