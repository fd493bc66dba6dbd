"""What a writer reads when a body is no JSON: the place, and what stands there."""

from __future__ import annotations

import msgspec
import pytest

from gateway.model.json_fault import JSON_FAULTS, unparseable


@pytest.mark.parametrize(
    ("body", "place", "detail"),
    [
        (b'{"resourceType":"Patient",\n "gender": male}', "line 2, column 12", "invalid character"),
        ('{"name":"吴德福",}'.encode(), "line 1, column 15", "trailing comma"),
        (b'{"resourceType":"Pat', "line 1, column 21", "ends too early"),
        (b'{"id":"a"} x', "line 1, column 13", "trailing characters"),
        (b'{"id":"a",\n\n"text":"\xff"}', "line 3, column 9", "not UTF-8"),
        (b"[1]", "$", "Expected object, got array"),
        (b"[" * 5000, "", "nests too deep"),
    ],
)
def test_the_place_of_a_fault(body: bytes, place: str, detail: str) -> None:
    with pytest.raises(JSON_FAULTS) as fault:
        msgspec.json.decode(body, type=dict[str, msgspec.Raw] if body == b"[1]" else object)
    said = unparseable(body, fault.value)
    assert said.place == place
    assert detail in said.detail
    assert said.code == "GW-VAL-002" and said.detail_zh
