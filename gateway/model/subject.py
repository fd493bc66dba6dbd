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


_decode = msgspec.json.Decoder(_Subject).decode


def subject_of(resource_type: str, resource_id: str, body: bytes) -> str:
    """Id of the Patient, the resource's own when it is one; "" when it is about nobody.

    Looks at subject, patient, for, beneficiary, individual, in this order; about 1 µs for 2 KB.
    Raises msgspec.DecodeError for what is no JSON object.
    """
    if resource_type == "Patient":
        return resource_id
    found = _decode(body)
    for place in (found.subject, found.patient, found.for_, found.beneficiary, found.individual):
        reference = place.get("reference", "") if isinstance(place, dict) else ""
        if isinstance(reference, str) and reference.startswith("Patient/"):
            return reference[8:].partition("/")[0]
    return ""
