"""The fast checks pass nothing that the collecting walk refuses, and neither ever crashes (seeded mutations)."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from gateway.errors import ActiveNarrative, Invalid, Unparseable
from gateway.store.index import extract
from gateway.validate import structure
from gateway.validate.collect import Walk
from gateway.validate.limits import parse

CODE = {"coding": [{"system": "http://loinc.org", "code": "2823-3", "display": "钾"}], "text": "钾"}
SEEDS: list[dict[str, Any]] = [
    {
        "resourceType": "Observation",
        "id": "o1",
        "identifier": [{"system": "urn:report", "value": "1", "assigner": {"reference": "Organization/o"}}],
        "status": "final",
        "category": [CODE],
        "code": CODE,
        "subject": {"reference": "Patient/p1", "type": "Patient"},
        "effectivePeriod": {"start": "2026-03-20", "end": "2026-03-21T10:00:00+08:00"},
        "valueQuantity": {"value": 4.25, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"},
        "component": [{"code": {"text": "x"}, "dataAbsentReason": {"text": "溶血"}}],
        "extension": [{"url": "urn:x", "valueString": "v"}],
    },
    {
        "resourceType": "Patient",
        "name": [{"text": "张珅", "given": ["珅"], "_given": [{"extension": [{"url": "urn:x", "valueCode": "y"}]}]}],
        "birthDate": "1970-01-01",
        "contact": [{"name": {"text": "李"}, "organization": {"reference": "Organization/1"}}],
        "photo": [{"contentType": "image/png", "data": "QUJD", "hash": "QUJD"}],
        "contained": [{"resourceType": "Organization", "id": "c", "name": "院"}],
        "managingOrganization": {"reference": "#c"},
        "link": [{"other": {"reference": "Patient/2"}, "type": "seealso"}],
    },
    {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
                "resource": {"resourceType": "Organization", "name": "院"},
                "request": {"method": "POST", "url": "Organization"},
            }
        ],
    },
]
VALUES: list[Any] = [
    None, "", [], {}, 1, 1.5, -1, True, "x", "a b", "2026-02-30", "#x", "Patient/1", "Organization/1", [None], [{}],
    {"id": "1"}, {"type": "x"}, "javascript:x", 10**12, "  ", ["a"], {"reference": "Observation/1"}, "@@", "2026-03-22",
    {"extension": [{"url": "u", "valueString": "v"}]}, {"value": 3, "code": "kg"},
]  # fmt: skip
NAMES = ["status", "code", "subject", "valueString", "extension", "_status", "id", "contained", "foo", "system", "data"]


def mutated(value: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    made = copy.deepcopy(value)
    for _ in range(chance.choice((1, 1, 2))):
        node = chance.choice(nodes(made))
        new = copy.deepcopy(chance.choice(VALUES))
        if isinstance(node, list):
            node[:] = [new] if chance.random() < 0.5 else node[:-1]
        elif node and chance.random() < 0.7:
            node[chance.choice(list(node))] = new
        else:
            node[chance.choice(NAMES)] = new
    return made


def nodes(value: Any) -> list[Any]:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict | list) else []
    return own + [node for inner in below for node in nodes(inner)]


def test_fast_checks_and_the_collecting_walk_agree() -> None:
    chance = random.Random(20260320)
    accepted = refused = 0
    for _ in range(4000):
        value = mutated(chance.choice(SEEDS), chance)
        type_, body = value.get("resourceType"), json.dumps(value, ensure_ascii=False).encode()
        if type_ not in ("Observation", "Patient", "Bundle"):
            continue
        try:
            made = structure.decode(type_, body)
        except (Invalid, Unparseable, ActiveNarrative):
            refused += 1
            continue
        accepted += 1
        extract(type_, made, "x")
        walk = Walk()
        walk.resource(parse(body), type_)
        assert walk.faults == [], body
    assert accepted > 200 and refused > 1000
