"""Parameters that say the same are kept once, and each still means what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.model.query import Filter
from gateway.store.base import Keys, hash64, param_number
from gateway.store.index import compile_filter, extract, params, sort_key
from gateway.store.index_shared import pointing, posted_as
from gateway.validate.definitions import resource_types
from gateway.validate.fhirpath import Route
from gateway.validate.structure import decode

Json = dict[str, Any]
UCUM = "http://unitsofmeasure.org"
PRESSURE: Json = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
    "subject": {"reference": "Patient/p1"},
    "component": [
        {
            "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
            "valueQuantity": {"value": 120, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"},
        }
    ],
}


def keys_of(resource: Json) -> Keys:
    return extract(resource["resourceType"], decode(resource["resourceType"], json.dumps(resource).encode()), "r1")


def finds(resource: Json, code: str, value: str) -> bool:
    type_ = resource["resourceType"]
    made = compile_filter(type_, Filter(code, params(type_)[code].kind, (value,)))
    keys = keys_of(resource)
    assert made.postings is None or made.test(keys) == (not set(made.postings).isdisjoint(keys.tokens))
    return made.test(keys)


def places(ways: tuple[Route, ...]) -> set[Route]:
    return {Route((*way.steps[:-1], replace(way.steps[-1], target="")), way.type) for way in ways}


def test_who_serves_has_the_same_places_and_serves_itself() -> None:
    served = [
        (one, posted_as(one))
        for type_ in resource_types()
        for one in params(type_).values()
        if posted_as(one) != (one,)
    ]
    assert len(served) > 50
    for one, by in served:
        assert {two.kind for two in by} == {one.kind}
        assert all(posted_as(two) == (two,) for two in by)
        assert places(one.routes) == places(tuple(way for two in by for way in two.routes)), (one.type, one.code)


def test_a_code_and_its_patient_are_posted_once() -> None:
    keys = keys_of(PRESSURE)
    once = {hash64("Observation|code", "85354-9"), hash64("Observation|subject", "ref", "Patient", "p1")}
    again = {hash64("Observation|combo-code", "85354-9"), hash64("Observation|patient", "ref", "Patient", "p1")}
    assert once <= set(keys.tokens)
    assert again.isdisjoint(keys.tokens)


def test_a_number_is_kept_once() -> None:
    numbers = {number for number, _, _ in keys_of(PRESSURE).numbers}
    assert numbers == {param_number("component-value-quantity")}


@pytest.mark.parametrize("code", ["http://loinc.org|85354-9", "8480-6"])
def test_combo_code_finds_the_code_and_that_of_a_component(code: str) -> None:
    assert finds(PRESSURE, "combo-code", code)
    assert not finds(PRESSURE, "combo-code", "2823-3")


def test_combo_value_quantity_finds_the_value_of_a_component() -> None:
    assert finds(PRESSURE, "combo-value-quantity", "gt119||mm[Hg]")
    assert not finds(PRESSURE, "combo-value-quantity", "gt120||mm[Hg]")
    assert not finds(PRESSURE, "value-quantity", "gt119||mm[Hg]")


def test_every_number_tells_zones_how_far_it_reaches() -> None:
    made = compile_filter("Observation", Filter("combo-value-quantity", "quantity", ("gt119",)))
    assert {reach[0] for reach in made.reach} == {
        param_number("value-quantity"),
        param_number("component-value-quantity"),
    }


def test_sorting_by_either_value_is_by_the_one_kept() -> None:
    key = sort_key("Observation", "combo-value-quantity", False)
    assert key is not None
    assert key(keys_of(PRESSURE)) == (1, 120.0)


@pytest.mark.parametrize(
    ("value", "found"), [("p1", True), ("Patient/p1", True), ("p2", False), ("Group/g1", False), ("g1", False)]
)
def test_patient_is_a_subject_that_is_one(value: str, found: bool) -> None:
    assert finds(PRESSURE, "patient", value) is found


def test_patient_does_not_find_a_subject_that_is_none() -> None:
    of_a_group = PRESSURE | {"subject": {"reference": "Group/g1"}}
    assert finds(of_a_group, "subject", "Group/g1")
    assert not finds(of_a_group, "patient", "Group/g1")
    assert not finds(of_a_group, "patient", "g1")
    assert pointing(params("Observation")["patient"], "Group", "g1") == ()


def test_phonetic_finds_what_name_finds() -> None:
    patient = {"resourceType": "Patient", "name": [{"text": "张珅"}]}
    for value in ("zhangshen", "zs", "张"):
        assert finds(patient, "phonetic", value)
    assert sort_key("Patient", "phonetic", False)(keys_of(patient)) == (1, "zhangshen")  # type: ignore[misc]
