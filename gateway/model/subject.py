"""Whom a resource is about: the Patient its first subject-like element names."""

from __future__ import annotations

from typing import Any

import msgspec


class _Subject(msgspec.Struct):
    subject: Any = None
    patient: Any = None
    for_: Any = msgspec.field(default=None, name="for")
    beneficiary: Any = None
    individual: Any = None


class _Actors(msgspec.Struct):
    """Appointment names whom it is about among those who take part, AppointmentResponse as the one who answers."""

    participant: Any = None
    actor: Any = None


_decode = msgspec.json.Decoder(_Subject).decode
_actors = msgspec.json.Decoder(_Actors).decode
_BY_ACTORS = frozenset({"Appointment", "AppointmentResponse"})


def subject_of(resource_type: str, resource_id: str, body: bytes) -> str:
    """Id of the Patient, the resource's own when it is one; "" when it is about nobody.

    Looks at subject, patient, for, beneficiary, individual, in this order, and at the actors of appointments; of
    several the first Patient. About 1 µs for 2 KB. Raises msgspec.DecodeError for what is no JSON object.
    """
    if resource_type == "Patient":
        return resource_id
    found = _decode(body)
    for place in (found.subject, found.patient, found.for_, found.beneficiary, found.individual):
        if place is not None and (named := _named(place)):
            return named
    return _acting(body) if resource_type in _BY_ACTORS else ""


def _named(place: Any) -> str:
    """The Patient a reference names, or the first of several that does."""
    if isinstance(place, list):
        return next((named for one in place if isinstance(one, dict) and (named := _named(one))), "")
    reference = place.get("reference", "") if isinstance(place, dict) else ""
    if isinstance(reference, str) and reference.startswith("Patient/"):
        return reference[8:].partition("/")[0]
    return ""


def _acting(body: bytes) -> str:
    found = _actors(body)
    taking_part = found.participant if isinstance(found.participant, list) else []
    return _named([*(one.get("actor") for one in taking_part if isinstance(one, dict)), found.actor])
