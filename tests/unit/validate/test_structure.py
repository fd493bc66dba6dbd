"""Elementary violations are refused with the right path; what is right passes and keeps its digits."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest

from gateway.errors import ActiveNarrative, Invalid, Unparseable
from gateway.validate.definitions import resource_types
from gateway.validate.structure import check, decode, deep_check

Json = dict[str, Any]


def observation(**changes: Any) -> Json:
    """A potassium result; `None` takes an element away."""
    base: Json = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "2823-3"}], "text": "钾"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-03-20T07:45:00+08:00",
        "valueQuantity": {"value": 4.25, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"},
    }
    return {name: value for name, value in (base | changes).items() if value is not None}


def patient(**changes: Any) -> Json:
    """A resident."""
    return {"resourceType": "Patient", "name": [{"text": "张珅"}], "gender": "male"} | changes


def text(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def faults(value: Json) -> list[str]:
    """Paths of the faults, in order."""
    with pytest.raises(Invalid) as refused:
        decode(value["resourceType"], text(value))
    assert refused.value.findings
    return [finding.place for finding in refused.value.findings]


QUANTITY = observation()["valueQuantity"]
EXTENSION = {"url": "urn:y", "valueBoolean": True}
OWN = {"resourceType": "Observation", "id": "a", "status": "final", "code": {"text": "x"}}
VIOLATIONS: list[tuple[Json, str]] = [
    (observation(status="banana"), "Observation.status"),
    (patient(gender="男"), "Patient.gender"),
    (patient(gender="xyz"), "Patient.gender"),
    (patient(id="x" * 65), "Patient.id"),
    (patient(id="a b"), "Patient.id"),
    (observation(encounter={"reference": "Organization/1"}), "Observation.encounter.reference"),
    (observation(subject={"reference": "not a ref!!"}), "Observation.subject.reference"),
    (observation(subject={"reference": "javascript:alert(1)"}), "Observation.subject.reference"),
    (observation(subject={"reference": "Patient/a/b/c"}), "Observation.subject.reference"),
    (observation(subject={"reference": "#gone"}), "Observation"),
    (patient(identifier=[{"system": "http://a b", "value": "1"}]), "Patient.identifier[0].system"),
    (observation(code={"coding": [{"system": "http://lo inc", "code": "1"}]}), "Observation.code.coding[0].system"),
    (observation(code={}), "Observation.code"),
    (patient(name=[]), "Patient.name"),
    (patient(name=[{}]), "Patient.name[0]"),
    (patient(name=[{"id": "only"}]), "Patient.name[0]"),
    (patient(name={"text": "x"}), "Patient.name"),
    (patient(name=[{"given": [None]}]), "Patient.name[0].given[0]"),
    (patient(name=[{"text": ""}]), "Patient.name[0].text"),
    (patient(gender=["male"]), "Patient.gender"),
    (patient(birthDate=None), "Patient.birthDate"),
    (patient(birthDate="1970-02-30"), "Patient.birthDate"),
    (patient(birthDate="1900-02-29"), "Patient.birthDate"),
    (patient(birthDate="19700101"), "Patient.birthDate"),
    (observation(effectiveDateTime="2026-03-20T07:45"), "Observation.effectiveDateTime"),
    (observation(effectiveDateTime="2026-03-20T07:45:00"), "Observation.effectiveDateTime"),
    (observation(issued="2026-03-20"), "Observation.issued"),
    (patient(active="true"), "Patient.active"),
    (patient(multipleBirthInteger=1.5), "Patient.multipleBirthInteger"),
    (observation(valueString="4.25"), "Observation.value[x]"),
    (observation(valueQuantity=QUANTITY | {"value": "4.25"}), "Observation.valueQuantity.value"),
    (observation(status=None), "Observation.status"),
    (observation(code=None), "Observation.code"),
    (observation(fhir_comments=["x"]), "Observation.fhir_comments"),
    (observation(unheardOf=1), "Observation.unheardOf"),
    (observation(dataAbsentReason={"text": "溶血"}), "Observation"),
    (
        observation(component=[{"code": {"coding": [{"system": "http://loinc.org", "code": "2823-3"}]}}]),
        "Observation",
    ),
    (observation(referenceRange=[{"age": {"low": QUANTITY}}]), "Observation.referenceRange[0]"),
    (observation(valueQuantity={"value": 1, "code": "mmol/L"}), "Observation.valueQuantity"),
    (
        observation(valueQuantity=None, effectiveDateTime=None, effectivePeriod={"start": "2026-02", "end": "2026-01"}),
        "Observation.effectivePeriod",
    ),
    (patient(contact=[{"gender": "male"}]), "Patient.contact[0]"),
    (patient(telecom=[{"value": "13800138000"}]), "Patient.telecom[0]"),
    (patient(photo=[{"contentType": "image/png", "data": "@@@"}]), "Patient.photo[0].data"),
    (patient(photo=[{"data": "QUJD"}]), "Patient.photo[0]"),
    (patient(extension=[{"url": "urn:x", "valueString": "a", "extension": [EXTENSION]}]), "Patient.extension[0]"),
    (patient(extension=[{"url": "urn:x"}]), "Patient.extension[0]"),
    (patient(extension=[{"valueString": "a"}]), "Patient.extension[0].url"),
    (patient(contained=[OWN | {"contained": [OWN]}]), "Patient.contained[0].contained"),
    (patient(contained=[OWN]), "Patient.contained[0]"),
    (
        patient(
            contained=[OWN | {"meta": {"versionId": "1"}}], link=[{"other": {"reference": "#a"}, "type": "seealso"}]
        ),
        "Patient.contained[0].meta",
    ),
    (patient(contained=[{"resourceType": "FooType"}]), "Patient.contained[0].resourceType"),
    ({"resourceType": "Bundle", "type": "collection", "total": 1}, "Bundle"),
    ({"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": patient()}]}, "Bundle"),
    (
        {"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:a:b", "resource": patient()}] * 2},
        "Bundle",
    ),
    (
        {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": patient(gender="x")}]},
        "Bundle.entry[0].resource.gender",
    ),
    ({"resourceType": "Parameters", "parameter": [{"name": "a"}]}, "Parameters.parameter[0]"),
    (
        {"resourceType": "AllergyIntolerance", "patient": {"reference": "Patient/1"}, "code": {"text": "青霉素"}},
        "AllergyIntolerance",
    ),
    (
        {
            "resourceType": "Condition",
            "subject": {"reference": "Patient/1"},
            "clinicalStatus": {"text": "好"},
        },
        "Condition.clinicalStatus",
    ),
    ({"resourceType": "Organization", "active": True}, "Organization"),
]


@pytest.mark.parametrize(("value", "place"), VIOLATIONS, ids=lambda v: v if isinstance(v, str) else "")
def test_a_violation_is_refused_at_its_place(value: Json, place: str) -> None:
    assert faults(value)[0] == place


def test_every_fault_is_reported_not_only_the_first() -> None:
    found = faults(observation(status="x", issued="y", valueString="z", foo=1, dataAbsentReason={"text": "a"}))
    assert set(found) == {
        "Observation.status",
        "Observation.issued",
        "Observation.foo",
        "Observation.value[x]",
        "Observation",
    }


def test_no_more_than_a_hundred_faults_are_listed() -> None:
    assert len(faults(patient(name=[{"use": "x"}] * 300))) == 100


def test_a_fault_says_what_is_wrong_in_both_languages_without_the_value() -> None:
    with pytest.raises(Invalid) as refused:
        decode("Patient", text(patient(birthDate="张珅 11010119700230")))
    finding = refused.value.findings[0]
    assert "110101" not in finding.zh + finding.en
    assert finding.zh and finding.en and refused.value.http == 422


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xef\xbb\xbf" + text(patient()),
        text(patient()) + b"x",
        b'{"resourceType":"Patient","gender":"male","gender":"female"}',
        b'{"resourceType":"Patient","name":[{"text":"a","text":"b"}]}',
        b'{"gender":"male","gender":"female","active":true,"active":false}',
        b'{"resourceType":"Patient","name":[{"text":"\\u0022:","text":"\\u0022:"}]}',
        b'{"resourceType":"Observation","valueQuantity":{"value":NaN}}',
        b'{"resourceType":"Observation","valueQuantity":{"value":Infinity}}',
        b'{"resourceType":"Patient","name":[{"text":"a\\u0000b"}]}',
        b'{"resourceType":"Patient","name":[{"text":"\\ud800"}]}',
        b'{"resourceType":"Patient","name":[{"text":"\xff"}]}',
        b'{"resourceType":"Patient","name":[{"text":"a\x01"}]}',
        b'{"resourceType":"Patient","extension":' + b'[{"url":"a","extension":' * 60 + b"[]" + b"}]" * 60 + b"}",
        b'{"resourceType":"Patient","extension":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 200_000,
        b'{"resourceType":"Patient","name":[' + b'{"text":"a"},' * 200_001 + b'{"text":"a"}]}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_no_plain_json_is_a_400_and_never_a_crash(body: bytes) -> None:
    with pytest.raises(Unparseable) as refused:
        decode("Patient", body)
    assert refused.value.http == 400


def test_brackets_inside_strings_are_no_depth() -> None:
    decode("Patient", text(patient(name=[{"text": "[{" * 500 + '\\"'}])))
    hidden = b'{"resourceType":"Patient","extension":' + b'[{"url":"}]","extension":' * 60 + b"[]" + b"}]" * 60 + b"}"
    with pytest.raises(Unparseable):
        decode("Patient", hidden)


@pytest.mark.parametrize(
    "number", ["1.10", "0.00", "12.300", "0.000000000012345678901234567890", "1e-7", "1E5", "-4.0", "7"]
)
def test_a_decimal_keeps_its_digits(number: str) -> None:
    body = text(observation()).replace(b"4.25", number.encode())
    made: Any = decode("Observation", body)
    assert made.valueQuantity.value == Decimal(number)
    assert made.valueQuantity.value.as_tuple() == Decimal(number).as_tuple()


def test_a_huge_integer_is_a_fault_and_no_crash() -> None:
    body = text(patient(multipleBirthInteger=7)).replace(b"7", b"7" * 5000)
    with pytest.raises(Invalid) as refused:
        decode("Patient", body)
    assert refused.value.findings[0].place == "Patient.multipleBirthInteger"


def test_a_required_primitive_may_be_said_by_its_extension() -> None:
    said = {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
    }
    made: Any = decode("Observation", text(observation(status=None, _status=said)))
    assert made.status is None and made.status__.extension[0].valueCode == "unknown"


def test_nulls_of_a_primitive_list_stand_where_the_sibling_speaks() -> None:
    names = [{"given": [None, "珅"], "_given": [{"extension": [{"url": "urn:x", "valueString": "y"}]}, None]}]
    decode("Patient", text(patient(name=names)))
    assert faults(patient(name=[{"given": ["a"], "_given": [{"id": "1"}, None]}]))


def test_a_contained_resource_is_a_struct_of_its_own_type() -> None:
    made: Any = decode(
        "Observation", text(observation(contained=[patient(id="c")], subject={"reference": "#c"}, device=None))
    )
    assert made.contained[0].gender == "male"


def test_resources_of_a_bundle_are_structs() -> None:
    entry = {"fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "resource": observation()}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [entry]}
    made: Any = decode("Bundle", text(bundle))
    assert made.entry[0].resource.status == "final"


def test_python_keywords_get_a_trailing_underscore() -> None:
    made: Any = decode("Encounter", text({"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}}))
    assert made.class_.code == "AMB"


def test_the_body_must_be_of_the_type_asked_for() -> None:
    with pytest.raises(Invalid):
        decode("Patient", text(observation()))
    with pytest.raises(Invalid):
        decode("Patient", b'{"gender":"male"}')
    with pytest.raises(Invalid):
        decode("FooType", b'{"resourceType":"FooType"}')


@pytest.mark.parametrize("body", [b"[]", b"null", b'"a"', b"1"])
def test_json_that_is_no_object_is_invalid(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode("Patient", body)


def narrated(inner: str) -> Json:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>'
    return patient(text={"status": "generated", "div": div})


@pytest.mark.parametrize(
    "inner",
    [
        "<script>alert(1)</script>",
        "<p onclick='x()'>a</p>",
        "<img src=x onerror=alert(1)>",
        '<a href="javascript:alert(1)">a</a>',
        '<a href="java&#x09;script:alert(1)">a</a>',
        '<a href=" &#106;avascript:x">a</a>',
        '<a href="data:text/html,<b>">a</a>',
        "<iframe src='http://a'></iframe>",
        "<svg/onload=alert(1)>",
        "<h:script>1</h:script>",
        "<p style='width: expression(alert(1))'>a</p>",
    ],
)
def test_active_narrative_is_refused(inner: str) -> None:
    with pytest.raises(ActiveNarrative) as refused:
        decode("Patient", text(narrated(inner)))
    assert refused.value.place == "Patient.text.div"


def test_active_narrative_of_a_contained_resource_is_refused() -> None:
    inner = narrated("<script>1</script>") | {"id": "c"}
    with pytest.raises(ActiveNarrative):
        decode("Observation", text(observation(contained=[inner], subject={"reference": "#c"})))


def test_ordinary_narrative_passes() -> None:
    decode("Patient", text(narrated("<p>血钾 &lt; 3.5，用药 on demand = 遵医嘱</p><a href='#a'>见上</a>")))


def test_check_gives_remarks_that_are_no_faults() -> None:
    _, remarks = check("Observation", text(observation()))
    assert [r.severity for r in remarks] == ["information"]


def test_deep_check_agrees_on_a_good_and_a_bad_resource() -> None:
    assert deep_check(text(observation())) == ()
    assert deep_check(text(observation(effectiveDateTime="2026-02-30")))


def test_every_resource_type_gets_a_decoder_quickly() -> None:
    for name in sorted(resource_types()):
        start = time.perf_counter()
        with pytest.raises((Invalid, Unparseable)):
            decode(name, json.dumps({"resourceType": name, "no such": 1}).encode())
        assert time.perf_counter() - start < 1.0, name
