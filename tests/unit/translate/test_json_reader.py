"""JSON bodies as rows."""

from __future__ import annotations

import time

import pytest

from gateway.errors import BadJson
from gateway.translate.read_json import JsonFormat, read

BODY = '{"type": "lab", "patient": {"name": "赵丽", "tags": ["a", "b"]}, "results": [{"code": "K", "value": 1.20}]}'


def test_objects_flatten_arrays_of_objects_are_tables_and_digits_stay() -> None:
    row = read(BODY)
    assert row.cells == {"type": "lab", "patient.name": "赵丽", "patient.tags": "a", "patient.tags[2]": "b"}
    assert row.tables["results"][0].cells == {"code": "K", "value": "1.20"}


def test_paths_reach_the_document_a_table_and_its_first_row() -> None:
    row, form = read(BODY), JsonFormat()
    inner = next(iter(form.nodes("results")(row, row)))
    assert form.getter("value")(inner, row) == "1.20"
    assert form.getter("/patient.name")(inner, row) == "赵丽"
    assert form.getter("results.code")(row, row) == "K"
    assert form.getter("results.nothing")(row, row) == ""


@pytest.mark.parametrize(
    "body", ["", "{", '{"a": 1, "a": 2}', "[" * 100_000, '{"a": NaN}', '"text"', '{"a":' * 70 + "1" + "}" * 70]
)
def test_what_is_no_good_json_is_refused(body: str) -> None:
    with pytest.raises(BadJson):
        read(body)


def test_many_values_of_one_name_cost_each_the_same() -> None:
    began = time.perf_counter()
    row = read('{"a[3]": "x", "a": [' + "1," * 30_000 + "2]}")
    assert row.cells["a[2]"] == "1" and row.cells["a[3]"] == "x" and row.cells["a[30002]"] == "2"
    assert time.perf_counter() - began < 2
