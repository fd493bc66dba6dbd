"""Puts of made-up resources and a few callers, for the contract suite."""

from __future__ import annotations

from gateway.model.context import AccessContext, Role
from gateway.model.query import Filter, Kind
from gateway.model.resource import Json, dumps, loads
from gateway.model.systems import LOINC, local_number
from gateway.store.base import AuditRow, Put, Resource, src_of
from gateway.store.bodies import prepare

M1, M2 = "city_first_hospital", "county_tcm_hospital"


def patient(
    id_: str, name: str = "张三", *, expect: int | None = None, meta: Json | None = None, **more: object
) -> Put:
    """A Patient, which belongs to no member alone."""
    body: Json = {
        "resourceType": "Patient",
        "id": id_,
        "active": True,
        "identifier": [{"system": local_number(M1), "value": f"A-{id_}"}],
        "name": [{"text": name}],
        "gender": "female",
        "birthDate": "1960-04-08",
        **more,
    }
    return prepare("Patient", id_, dumps(body), patient=id_, expect=expect, meta=meta)


def observation(
    id_: str,
    person: str,
    value: str = "4.2",
    *,
    code: str = "2823-3",
    at: str = "2026-03-19T08:00:00+08:00",
    member: str = M1,
    number: str = "",
    expect: int | None = None,
    meta: Json | None = None,
    **more: object,
) -> Put:
    """A laboratory Observation. number: local number of the source record it came from (default: the person's id)."""
    body = observation_body(id_, person, value, code=code, at=at, **more)
    src = src_of(member, number or person)
    return prepare("Observation", id_, body, patient=person, src=src, member=member, expect=expect, meta=meta)


def observation_body(id_: str, person: str, value: str, *, code: str, at: str, **more: object) -> bytes:
    """Its JSON; the value keeps its digits."""
    body: Json = {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}], "text": "钾"},
        "subject": {"reference": f"Patient/{person}"},
        "effectiveDateTime": at,
        **more,
    }
    whole = dumps(body)
    return whole[:-1] + b',"valueQuantity":{"value":' + value.encode() + b',"unit":"mmol/L"}}'


def organization(id_: str, name: str) -> Put:
    """A resource of nobody's record."""
    body = {"resourceType": "Organization", "id": id_, "name": name}
    return prepare("Organization", id_, dumps(body), member=M1)


def where(code: str, kind: Kind, *values: str, modifier: str = "") -> Filter:
    """One search parameter."""
    return Filter(code, kind, values, modifier)


def of(person: str) -> Filter:
    """patient=Patient/…"""
    return where("patient", "reference", f"Patient/{person}")


def doctor(**more: object) -> AccessContext:
    """A doctor who sees everything unlabelled, unless said otherwise."""
    base: dict[str, object] = {
        "user": "d1", "display": "周医生", "role": Role.DOCTOR, "member": M1, "alliance": "county",
    }  # fmt: skip
    return AccessContext(**{**base, **more})  # type: ignore[arg-type]


def ids(resources: tuple[Resource, ...] | list[Resource]) -> list[str]:
    """Ids in the order given."""
    return [one.id for one in resources]


def json(resource: Resource | None) -> Json:
    """The resource as a dict."""
    assert resource is not None
    return loads(resource.body)


def audit(at: object, **more: object) -> AuditRow:
    """A read of p1 by d1."""
    base: dict[str, object] = {
        "at": at, "action": "R", "kind": "rest", "subtype": "read", "outcome": "0", "user": "d1",
        "display": "周医生", "role": "doctor", "member": M1, "purpose": "TREAT", "patients": ("p1",),
        "entities": ("Observation/o1",),
    }  # fmt: skip
    return AuditRow(**{**base, **more})  # type: ignore[arg-type]
