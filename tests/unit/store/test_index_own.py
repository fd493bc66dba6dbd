"""Search parameters of the operator's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError, UnknownParameter
from gateway.model.query import Filter
from gateway.shipped import folders, shipped
from gateway.store.index import compile_filter, keep_parameters, params
from gateway.store.index_params import presence
from gateway.store.reindex import index_version

from .test_index import OBSERVATION, finds

NOTE: dict[str, Any] = {
    "resourceType": "SearchParameter", "url": "urn:x:note", "name": "Note", "status": "active", "description": "d",
    "code": "body-text", "base": ["Observation"], "type": "string", "expression": "Observation.bodySite.text",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An operator's profile folder; afterwards the shipped parameters are in force again."""
    (tmp_path / "searchparameter").mkdir()
    yield tmp_path
    keep_parameters([shipped("profiles")])


def written(folder: Path, name: str = "note", **change: Any) -> list[Path]:
    said = {key: value for key, value in (NOTE | change).items() if value is not None}
    (folder / "searchparameter" / f"{name}.json").write_text(json.dumps(said), encoding="utf-8")
    return folders(str(folder), "profiles")


def test_results_are_found_by_interpretation() -> None:
    system = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
    critical = OBSERVATION | {"interpretation": [{"coding": [{"system": system, "code": "HH"}]}]}
    assert finds(critical, "interpretation", "HH") and finds(critical, "interpretation", f"{system}|HH")
    assert not finds(critical, "interpretation", "LL") and not finds(OBSERVATION, "interpretation", "HH")
    assert finds(OBSERVATION, "interpretation", "true", modifier="missing")
    assert finds(critical, "interpretation", "false", modifier="missing")


def test_an_own_parameter_serves_and_no_bit_of_r4_moves(folder: Path) -> None:
    before, known = dict(presence("Observation")), index_version()
    keep_parameters(written(folder))
    assert finds(OBSERVATION | {"bodySite": {"text": "左上臂"}}, "body-text", "左上")
    after = presence("Observation")
    r4 = {code: bit for code, bit in before.items() if code != "interpretation"}
    assert r4.items() <= after.items() and min(after["body-text"], after["interpretation"]) > max(r4.values())
    assert index_version() != known


def test_an_operators_file_wins_over_the_shipped_one_of_its_name(folder: Path) -> None:
    keep_parameters(written(folder, "Observation-interpretation"))
    assert "body-text" in params("Observation")
    with pytest.raises(UnknownParameter):
        compile_filter("Observation", Filter("interpretation", "token", ("HH",)))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"code": "status"}, "note.json: code"),
        ({"code": "interpretation"}, "note.json: code"),
        ({"code": "_x"}, "note.json: code"),
        ({"base": ["Nothing"]}, "$.base[0]"),
        ({"base": ["DomainResource"]}, "note.json: base"),
        ({"type": "special"}, "note.json: type"),
        ({"type": "date"}, "note.json: expression"),
        ({"expression": "Observation.nowhere"}, "note.json: expression"),
        ({"expression": None}, "note.json: expression"),
        ({"base": "Observation"}, "note.json"),
    ],
)
def test_a_parameter_that_cannot_serve_is_refused_with_its_file(
    folder: Path, change: dict[str, Any], place: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        keep_parameters(written(folder, **change))
    assert place in str(caught.value)
