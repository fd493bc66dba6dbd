"""FHIRPath Patch, operation by operation (FHIR R4 fhirpatch.html), and what is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.errors import PatchFailed, Unparseable
from gateway.inbound.fhirpath_patch import patched_by_path
from gateway.model.resource import Json, dumps, loads

PATIENT: Json = {
    "resourceType": "Patient",
    "id": "p",
    "identifier": [{"system": "urn:a", "value": "1"}, {"system": "urn:b", "value": "2"}],
    "name": [{"family": "王", "given": ["小", "芳"], "_given": [None, {"id": "g"}]}],
    "gender": "female",
    "birthDate": "1970-05-06",
    "_birthDate": {"extension": [{"url": "urn:t", "valueTime": "10:00:00"}]},
}
VALUE: Json = {
    "resourceType": "Observation", "status": "final", "code": {"text": "钾"}, "valueQuantity": {"value": 1, "unit": "g"}
}  # fmt: skip


def operation(type_: str, path: str, **parts: Any) -> Json:
    """One operation; `value` as {"valueString": …} or {"part": […]}, others as plain values."""
    made: list[Json] = [{"name": "type", "valueCode": type_}, {"name": "path", "valueString": path}]
    for name, value in parts.items():
        made.append({"name": name} | (value if name == "value" else _plain(value)))
    return {"name": "operation", "part": made}


def _plain(value: str | int) -> Json:
    return {"valueInteger": value} if isinstance(value, int) else {"valueString": value}


def patch(document: Json, *operations: Json) -> Json:
    return patched_by_path(document, dumps({"resourceType": "Parameters", "parameter": list(operations)}))


def test_add_sets_a_member_or_appends_to_a_list() -> None:
    kind = {"valueCodeableConcept": {"text": "已婚"}}
    done = patch(PATIENT, operation("add", "Patient", name="maritalStatus", value=kind))
    assert done["maritalStatus"] == {"text": "已婚"} and "maritalStatus" not in PATIENT
    one = {"valueIdentifier": {"system": "urn:c", "value": "3"}}
    done = patch(PATIENT, operation("add", "Patient", name="identifier", value=one))
    assert [each["value"] for each in done["identifier"]] == ["1", "2", "3"]
    done = patch(PATIENT, operation("add", "Patient.name[0]", name="given", value={"valueString": "丽"}))
    assert done["name"][0]["given"] == ["小", "芳", "丽"] and len(done["name"][0]["_given"]) == 3
    dead = {"valueDateTime": "2026-01-01"}
    assert patch(PATIENT, operation("add", "Patient", name="deceased", value=dead))["deceasedDateTime"] == "2026-01-01"


def test_add_makes_a_complex_value_of_parts() -> None:
    parts: Json = {"part": [{"name": "name", "valueHumanName": {"text": "李"}},
                            {"name": "telecom", "valueContactPoint": {"value": "138"}}]}  # fmt: skip
    done = patch(PATIENT, operation("add", "Patient", name="contact", value=parts))
    assert done["contact"] == [{"name": {"text": "李"}, "telecom": [{"value": "138"}]}]


def test_insert_puts_at_its_place() -> None:
    one = {"valueIdentifier": {"system": "urn:c"}}
    done = patch(PATIENT, operation("insert", "Patient.identifier", index=1, value=one))
    assert [each["system"] for each in done["identifier"]] == ["urn:a", "urn:c", "urn:b"]
    done = patch(PATIENT, operation("insert", "Patient.address", index=0, value={"valueAddress": {"text": "村"}}))
    assert done["address"] == [{"text": "村"}]
    with pytest.raises(PatchFailed):
        patch(PATIENT, operation("insert", "Patient.identifier", index=3, value=one))


def test_delete_takes_what_lies_beside_a_primitive_and_the_last_of_a_list_with_its_list() -> None:
    done = patch(PATIENT, operation("delete", "Patient.birthDate"))
    assert "birthDate" not in done and "_birthDate" not in done
    done = patch(PATIENT, operation("delete", "Patient.identifier.where(system = 'urn:a' and value = '1')"))
    assert [each["system"] for each in done["identifier"]] == ["urn:b"]
    both = operation("delete", "Patient.identifier.first()")
    assert "identifier" not in patch(PATIENT, both, both)
    assert patch(PATIENT, operation("delete", "Patient.maritalStatus")) == PATIENT
    with pytest.raises(PatchFailed):
        patch(PATIENT, operation("delete", "Patient.identifier"))


def test_replace_changes_a_value_and_the_type_of_a_choice() -> None:
    assert patch(PATIENT, operation("replace", "Patient.gender", value={"valueCode": "male"}))["gender"] == "male"
    done = patch(PATIENT, operation("replace", "Patient.name[0].given[1]", value={"valueString": "芬"}))
    assert done["name"][0]["given"] == ["小", "芬"]
    done = patch(VALUE, operation("replace", "Observation.value.value", value={"valueDecimal": Decimal("1.20")}))
    assert dumps(done["valueQuantity"]["value"]) == b"1.20"
    done = patch(VALUE, operation("replace", "Observation.value", value={"valueString": "阴性"}))
    assert done["valueString"] == "阴性" and "valueQuantity" not in done
    quantity = "Observation.value.ofType(Quantity).unit"
    assert patch(VALUE, operation("replace", quantity, value={"valueString": "kg"}))["valueQuantity"]["unit"] == "kg"
    with pytest.raises(PatchFailed):
        patch(PATIENT, operation("replace", "Patient.maritalStatus", value={"valueCodeableConcept": {}}))


def test_move_changes_the_order() -> None:
    done = patch(PATIENT, operation("move", "Patient.identifier", source=1, destination=0))
    assert [each["system"] for each in done["identifier"]] == ["urn:b", "urn:a"]
    done = patch(PATIENT, operation("move", "Patient.name[0].given", source=0, destination=1))
    assert (done["name"][0]["given"], done["name"][0]["_given"]) == (["芳", "小"], [{"id": "g"}, None])
    with pytest.raises(PatchFailed):
        patch(PATIENT, operation("move", "Patient.identifier", source=2, destination=0))


def test_an_extension_is_named_by_its_address() -> None:
    held = PATIENT | {"extension": [{"url": "urn:x", "valueString": "a"}, {"url": "urn:y", "valueString": "b"}]}
    done = patch(held, operation("replace", "Patient.extension('urn:y').value", value={"valueString": "c"}))
    assert [one["valueString"] for one in done["extension"]] == ["a", "c"]


@pytest.mark.parametrize(
    "path",
    ["", "Patient.name.exists()", "Patient.name[0", "Patient..name", "Patient.nonsense", "name.where(family ~ 'x')",
     "Patient.name | Patient.gender", "Patient.where(true)", "1 + 1", "Patient.identifier.where(system='urn:a' or 1)"],
)  # fmt: skip
def test_a_path_beyond_these_is_refused_with_its_operation(path: str) -> None:
    with pytest.raises(PatchFailed) as fault:
        patch(PATIENT, operation("replace", path, value={"valueString": "x"}))
    assert fault.value.place.startswith("operation[0].")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"resourceType":"Parameters"}', b'{"resourceType":"Parameters","parameter":[]}',
     b'{"resourceType":"Parameters","parameter":[{"name":"x"}]}',
     b'{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"add"}]}]}'],
)  # fmt: skip
def test_what_is_no_patch_is_unparseable(body: bytes) -> None:
    with pytest.raises(Unparseable):
        patched_by_path(PATIENT, body)


def test_nothing_is_kept_of_a_patch_that_fails_half_way() -> None:
    before = loads(dumps(PATIENT))
    with pytest.raises(PatchFailed) as fault:
        patch(PATIENT, operation("delete", "Patient.gender"), operation("delete", "Patient.nonsense"))
    assert fault.value.place.startswith("operation[1]") and before == PATIENT
