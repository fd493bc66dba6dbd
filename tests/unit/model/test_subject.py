"""Whom a resource is about, read from its bytes where they leave no doubt."""

from __future__ import annotations

import pytest

from gateway.model.subject import ONE_SUBJECT, subject_of
from gateway.validate.definitions import elements


@pytest.mark.parametrize(
    ("body", "patient"),
    [
        (b'{"resourceType":"Observation","subject":{"reference":"Patient/p1"}}', "p1"),
        (b'{"resourceType":"Observation","subject":{"reference":"Patient/p1/_history/2","display":"x"}}', "p1"),
        (b'{"resourceType":"Observation","subject": {"reference": "Patient/p1"}}', "p1"),
        (b'{"resourceType":"Observation","subject":{"display":"x","reference":"Patient/p1"}}', "p1"),
        (b'{"resourceType":"Observation","subject":{"reference":"Device/d1"}}', ""),
        (b'{"resourceType":"Observation","status":"final"}', ""),
        (b'{"resourceType":"Observation","contained":[{"subject":{"reference":"Patient/p2"}}]}', ""),
        (
            b'{"resourceType":"Observation","contained":[{"subject":{"reference":"Patient/p2"}}],'
            b'"subject":{"reference":"Patient/p1"}}',
            "p1",
        ),
        (
            b'{"resourceType":"Observation","\\u0063ontained":[{"subject":{"reference":"Patient/p2"}}],'
            b'"\\u0073ubject":{"reference":"Patient/p1"}}',
            "p1",
        ),
        (b'{"note":[{"text":"\\"subject\\":{\\"reference\\":\\"Patient/p2\\"}"}],"subject":{"display":"x"}}', ""),
    ],
)
def test_the_subject_at_the_top_counts_however_it_is_written(body: bytes, patient: str) -> None:
    assert subject_of("Observation", "o1", body) == patient


@pytest.mark.parametrize("type_", sorted(ONE_SUBJECT))
def test_types_read_so_have_one_subject_at_the_top(type_: str) -> None:
    paths, places = [type_], list[str]()
    while paths:
        path = paths.pop()
        for one in elements(path):
            places += [path] if one.name == "subject" else []
            if one.type.startswith(f"{type_}."):
                paths.append(one.type)
    assert places == [type_]
