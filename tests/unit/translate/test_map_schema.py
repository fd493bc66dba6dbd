"""The editors' schemas accept every shipped map and refuse what the loader refuses."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from gateway.shipped import shipped
from gateway.translate.map_schema import schemas

MAPS = [path for path in sorted(shipped("mappings").rglob("*.yaml")) if path.name != "alliances.yaml"]


def faults(kind: str, data: object) -> list[str]:
    checker = jsonschema.Draft202012Validator(schemas()[f"{kind}.schema.json"])
    return [one.message for one in checker.iter_errors(data)]


@pytest.mark.parametrize("path", MAPS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_file_fits(path: Path) -> None:
    data = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    assert faults("source" if path.name == "source.yaml" else "map", data) == []


@pytest.mark.parametrize(
    "data",
    [
        {"formt": "v2"},
        {"format": "v3"},
        {"rules": [{"rule": "x", "eech": "OBX"}]},
        {"rules": [{"rule": "x", "set": {"code": {"from": "OBX-3", "by": "no_such_function"}}}]},
        {"rules": [{"rule": "x", "set": {"code": {"from": "OBX-3", "by": "text", "tabel": "a"}}}]},
        {"ignore": [{"field": "OBX-17"}]},
    ],
)
def test_what_the_loader_refuses_is_red_in_the_editor(data: object) -> None:
    assert faults("map", data)


def test_a_member_without_level_or_with_an_unknown_setting_is_red() -> None:
    assert faults("source", {"name": "甲"})
    assert faults("source", {"name": "甲", "level": "primary", "sources": {"a": {"format": "v2", "chrset": "x"}}})
