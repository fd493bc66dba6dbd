"""Whom a resource is about, for the audit of who saw whose data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.model.subject import subject_of

P1, P2, GROUP = {"reference": "Patient/p1"}, {"reference": "Patient/p2/_history/3"}, {"reference": "Group/g1"}


@pytest.mark.parametrize(
    ("type_", "content", "patient"),
    [
        ("Observation", {"subject": P1}, "p1"),
        ("Observation", {"subject": P2}, "p2"),
        ("Observation", {"subject": GROUP}, ""),
        ("Observation", {"subject": {"display": "某人"}}, ""),
        ("Task", {"for": P1}, "p1"),
        ("Coverage", {"beneficiary": P1}, "p1"),
        ("Account", {"subject": [GROUP, P1]}, "p1"),
        ("Account", {"subject": ["p1", None]}, ""),
        ("Appointment", {"participant": [{"actor": {"reference": "Practitioner/d1"}}, {"actor": P1}]}, "p1"),
        ("Appointment", {"participant": [{"status": "accepted"}]}, ""),
        ("Appointment", {"participant": "p1"}, ""),
        ("AppointmentResponse", {"actor": P1}, "p1"),
        ("Encounter", {"participant": [{"individual": P1}]}, ""),
        ("Location", {}, ""),
    ],
)
def test_the_first_patient_named(type_: str, content: dict[str, Any], patient: str) -> None:
    assert subject_of(type_, "x", json.dumps({"resourceType": type_, **content}).encode()) == patient


def test_a_patient_is_about_itself() -> None:
    assert subject_of("Patient", "p9", b'{"resourceType":"Patient"}') == "p9"
