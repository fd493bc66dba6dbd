"""What a stored resource is found by, and what a filter of the URL finds."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from gateway.errors import BadParameter, UnknownParameter
from gateway.model.query import Filter
from gateway.store.base import Keys, hash64, param_number
from gateway.store.index import ORDERED, UNSUPPORTED, CompiledFilter, compile_filter, extract, params, sort_key
from gateway.store.index_filter import Whole
from gateway.store.index_params import check_types
from gateway.store.index_units import UCUM
from gateway.validate.definitions import resource_types
from gateway.validate.structure import decode

Json = dict[str, Any]

OBSERVATION: Json = {
    "resourceType": "Observation",
    "meta": {"source": "urn:alliance-gateway:source:city-lis#k1", "tag": [{"system": "urn:t", "code": "x"}]},
    "identifier": [{"system": "urn:report", "value": "L1"}, {"value": "bare"}],
    "status": "final",
    "category": [{"coding": [{"code": "laboratory"}]}],
    "code": {"coding": [{"system": "urn:local", "code": "K"}, {"system": "http://loinc.org", "code": "2823-3"}]},
    "subject": {"reference": "Patient/p1", "identifier": {"system": "urn:card", "value": "9"}},
    "encounter": {"reference": "Encounter/e1/_history/2"},
    "effectiveDateTime": "2026-03-20T07:45:00+08:00",
    "performer": [{"reference": "Organization/o1"}, {"reference": "http://other/fhir/Practitioner/d1"}],
    "valueQuantity": {"value": 5.4, "unit": "毫摩尔/升", "system": "http://unitsofmeasure.org", "code": "mmol/L"},
}
PATIENT: Json = {
    "resourceType": "Patient",
    "active": True,
    "identifier": [{"system": "urn:card", "value": "990101197001010019"}],
    "name": [{"text": "张珅"}],
    "telecom": [{"system": "phone", "value": "13900000000"}, {"system": "email", "value": "a@b.cn"}],
    "gender": "male",
    "birthDate": "1970-01-01",
    "address": [{"text": "清河县柳林镇东村12号", "city": "清河县", "district": "柳林镇", "line": ["东村12号"]}],
}


def keys_of(resource: Json, id_: str = "r1") -> Keys:
    type_ = resource["resourceType"]
    return extract(type_, decode(type_, json.dumps(resource).encode()), id_)


def compiled(type_: str, code: str, *values: str, modifier: str = "") -> CompiledFilter:
    return compile_filter(type_, Filter(code, params(type_)[code].kind, values, modifier))


def whole(resource: Json) -> Whole:
    return Whole(resource["resourceType"], json.dumps(resource).encode())


def finds(resource: Json, code: str, *values: str, modifier: str = "") -> bool:
    """What the engines do: a posting first, then the test, then the look at the resource."""
    made, keys = compiled(resource["resourceType"], code, *values, modifier=modifier), keys_of(resource)
    served = made.postings is None or not set(made.postings).isdisjoint(keys.tokens)
    tested = made.test(keys)
    assert served or not tested, "a posting hides a match"
    return served and tested and (made.verify is None or made.verify(whole(resource)))


@pytest.mark.parametrize(
    ("code", "value", "modifier", "expected"),
    [
        ("code", "2823-3", "", True),
        ("code", "http://loinc.org|2823-3", "", True),
        ("code", "http://loinc.org|", "", True),
        ("code", "urn:local|2823-3", "", False),
        ("code", "|2823-3", "", False),
        ("code", "2823-3", "not", False),
        ("code", "other", "not", True),
        ("category", "|laboratory", "", True),
        ("combo-code", "K", "", True),
        ("status", "final", "", True),
        ("status", "http://hl7.org/fhir/observation-status|final", "", True),
        ("status", "urn:x|final", "", False),
        ("identifier", "urn:report|L1", "", True),
        ("identifier", "L1", "", True),
        ("identifier", "|bare", "", True),
        ("identifier", "|L1", "", False),
        ("identifier", "urn:report|", "", True),
        ("_tag", "urn:t|x", "", True),
        ("_source", "urn:alliance-gateway:source:city-lis#k1", "", True),
        ("_id", "r1", "", True),
        ("patient", "p1", "", True),
        ("patient", "Patient/p1", "", True),
        ("subject", "Patient/p1", "", True),
        ("subject", "p1", "Patient", True),
        ("subject", "p1", "Group", False),
        ("subject", "urn:card|9", "identifier", True),
        ("subject", "Patient/p2", "", False),
        ("encounter", "e1", "", True),
        ("performer", "http://other/fhir/Practitioner/d1", "", True),
        ("performer", "o1", "", True),
        ("date", "2026-03-20", "", True),
        ("date", "2026-03", "", True),
        ("date", "2026-03-19T23:45:00Z", "", True),
        ("date", "2026-03-19", "", False),
        ("date", "ne2026-03-20", "", False),
        ("date", "gt2026-03-20", "", False),
        ("date", "ge2026-03-20", "", True),
        ("date", "lt2026-03-20", "", False),
        ("date", "le2026-03-20", "", True),
        ("date", "lt2026-03-20T07:45:01", "", True),
        ("date", "sa2026-03-19", "", True),
        ("date", "eb2026-03-21", "", True),
        ("date", "ap2026-03-21", "", True),
        ("value-quantity", "5.4", "", True),
        ("value-quantity", "5.40", "", True),
        ("value-quantity", "5.41", "", False),
        ("value-quantity", "5", "", True),
        ("value-quantity", "gt5.4", "", False),
        ("value-quantity", "ge5.4|http://unitsofmeasure.org|mmol/L", "", True),
        ("value-quantity", "5.4||mmol/L", "", True),
        ("value-quantity", "5.4||毫摩尔/升", "", True),
        ("value-quantity", "5.4||mg", "", False),
        ("specimen", "true", "missing", True),
        ("subject", "true", "missing", False),
        ("value-concept", "false", "missing", False),
        ("_tag", "true", "missing", False),
    ],
)
def test_a_laboratory_result_is_found(code: str, value: str, modifier: str, expected: bool) -> None:
    assert finds(OBSERVATION, code, value, modifier=modifier) is expected


@pytest.mark.parametrize(
    ("code", "value", "modifier", "expected"),
    [
        ("name", "张", "", True),
        ("name", "张珅", "", True),
        ("name", "珅", "", False),
        ("name", "珅", "contains", True),
        ("name", "zhangshen", "", True),
        ("name", "ZhangSh", "", True),
        ("name", "zhang shen", "", True),
        ("name", "zs", "", True),
        ("name", "lisi", "", False),
        ("name", "张珅", "exact", True),
        ("name", "张", "exact", False),
        ("address", "清河县", "", True),
        ("address", "东村", "contains", True),
        ("address-city", "清河", "", True),
        ("phone", "13900000000", "", True),
        ("email", "13900000000", "", False),
        ("telecom", "a@b.cn", "", True),
        ("gender", "male", "", True),
        ("active", "true", "", True),
        ("birthdate", "1970-01-01", "", True),
        ("birthdate", "1970", "", True),
        ("birthdate", "lt1970-01-01", "", False),
        ("birthdate", "le1970-01-01", "", True),
        ("identifier", "urn:card|990101197001010019", "", True),
    ],
)
def test_a_resident_is_found(code: str, value: str, modifier: str, expected: bool) -> None:
    assert finds(PATIENT, code, value, modifier=modifier) is expected


def test_alternatives_are_or() -> None:
    assert finds(OBSERVATION, "code", "x", "2823-3")
    assert finds(PATIENT, "name", "李", "张")


def test_an_identifier_is_verified_on_the_resource_itself() -> None:
    verify = compiled("Patient", "identifier", "urn:card|1").verify
    assert verify is not None
    assert verify(whole(PATIENT | {"identifier": [{"system": "urn:card", "value": "1"}]}))
    assert not verify(whole(PATIENT | {"identifier": [{"system": "urn:card", "value": "2"}]}))


def test_a_death_date_says_deceased() -> None:
    dead = PATIENT | {"deceasedDateTime": "2026-01-01"}
    assert finds(dead, "deceased", "true") and not finds(PATIENT, "deceased", "true")


def test_a_two_character_surname_and_all_readings_of_a_surname_are_found() -> None:
    assert finds(PATIENT | {"name": [{"text": "欧阳娜"}]}, "name", "ouyangna")
    assert finds(PATIENT | {"name": [{"text": "欧阳娜"}]}, "name", "oyn")
    for pinyin in ("shanli", "danli", "sl"):
        assert finds(PATIENT | {"name": [{"text": "单丽"}]}, "name", pinyin)
    assert finds(PATIENT | {"name": [{"text": "吕布"}]}, "name", "lvbu")
    assert finds(PATIENT | {"name": [{"family": "张", "given": ["珅"]}]}, "name", "zhangshen")
    assert finds(PATIENT | {"name": [{"text": "张珅", "family": "张", "given": ["珅"]}]}, "family", "zhang")


def test_a_row_lies_in_the_compartments_it_names() -> None:
    tokens = keys_of(OBSERVATION).tokens
    assert hash64("compartment", "Patient", "p1") in tokens
    assert hash64("compartment", "Encounter", "e1") in tokens
    assert hash64("compartment", "Patient", "me") in keys_of(PATIENT, "me").tokens


def test_an_open_period_reaches_to_the_end_of_time() -> None:
    visit = {
        "resourceType": "Encounter",
        "status": "in-progress",
        "class": {"code": "IMP"},
        "period": {"start": "2026-03-01"},
    }
    assert (
        finds(visit, "date", "gt2030")
        and finds(visit, "date", "ge2026-03")
        and not finds(visit, "date", "lt2026-03-01")
    )


def test_the_range_for_an_ordered_table_covers_every_match() -> None:
    number, low, high = keys_of(OBSERVATION).dates[0]
    for value in ("2026-03-20", "ge2026-03-20", "le2026-03-20", "sa2026-03-19", "eb2026-03-21", "ap2026-03-21"):
        made = compiled("Observation", "date", value)
        assert made.ordered is not None and made.ordered[0] == number == param_number("date")
        assert made.ordered[1] <= high and low <= made.ordered[2]
    assert compiled("Observation", "date", "ne2026").ordered is None


def test_last_updated_is_decided_on_the_version() -> None:
    updated = compiled("Observation", "_lastUpdated", "ge2026-03-20").updated
    assert updated is not None and updated(1773936000000) and not updated(1773935999999)


@pytest.mark.parametrize(
    ("code", "value", "modifier"),
    [
        ("date", "yesterday", ""),
        ("date", "2026-13-01", ""),
        ("date", "", ""),
        ("value-quantity", "abc", ""),
        ("value-quantity", "1e99999", ""),
        ("value-quantity", "9" * 320, ""),
        ("value-quantity", "NaN", ""),
        ("value-quantity", "5|mmol", ""),
        ("code", "K", "in"),
        ("subject", "Foo/1", ""),
        ("subject", "1", "Foo"),
        ("specimen", "maybe", "missing"),
        ("value-string", "   ", ""),
    ],
)
def test_a_value_or_modifier_that_cannot_be_is_refused(code: str, value: str, modifier: str) -> None:
    with pytest.raises(BadParameter):
        compiled("Observation", code, value, modifier=modifier)


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        ("1e400", "mg/L"), ("9" * 400, "mg/L"), ("1e999999999", "mg/L"), ("-1e-999999999", "mg/L"),
        ("7" * 1_000_000, "mg/L"), ("1." + "7" * 1_000_000, "mg/L"), ("1e239", "10*24.10*24.10*24"), ("1", "9" * 5_000),
        ("1", "m99"), ("1", "mg." * 100_000 + "g"),
    ],
)  # fmt: skip
def test_no_number_or_unit_takes_long_or_fails_to_be_indexed(value: str, unit: str) -> None:
    quantity = f'{{"value":{value},"system":"{UCUM}","code":"{unit}"}}'
    body = json.dumps(OBSERVATION | {"valueQuantity": "Q"}).replace('"Q"', quantity)
    made = decode("Observation", body.encode())
    began = time.thread_time()
    extract("Observation", made, "o1")
    assert time.thread_time() - began < 0.2


def test_an_unknown_parameter_names_the_nearest() -> None:
    with pytest.raises(UnknownParameter, match="birthdate"):
        compile_filter("Patient", Filter("birthDate", "date", ("1970",)))


def test_sorting_is_by_first_instant_and_by_pinyin() -> None:
    by_date, by_name = sort_key("Observation", "date", False), sort_key("Patient", "name", False)
    assert by_date is not None and by_name is not None
    other = keys_of(OBSERVATION | {"effectiveDateTime": "2026-03-21"})
    nothing = keys_of({k: v for k, v in OBSERVATION.items() if k != "effectiveDateTime"})
    assert by_date(nothing) < by_date(keys_of(OBSERVATION)) < by_date(other)
    assert by_name(keys_of(PATIENT | {"name": [{"text": "安心"}]})) < by_name(keys_of(PATIENT))
    assert sort_key("Observation", "code", False) is None


def test_every_parameter_of_the_standard_is_served_or_named_as_unsupported() -> None:
    print(f"{len(UNSUPPORTED)} unsupported:", *(f"{base}.{code}" for base, code in UNSUPPORTED))
    assert check_types() == {}
    assert len(UNSUPPORTED) <= 12
    assert sum(len(params(t)) for t in resource_types()) > 2000


def test_ordered_parameters_exist() -> None:
    assert all(code in params(type_) for type_, code in ORDERED)


def test_every_resource_type_has_an_extractor() -> None:
    for type_ in sorted(resource_types()):
        keys = extract(type_, _empty(type_), "x")
        assert hash64(type_, "_id", "x") in keys.tokens


def _empty(type_: str) -> Any:
    from gateway.validate.shapes import struct

    cls = struct(type_)
    return cls(**dict.fromkeys(cls.__struct_fields__))
