"""Code systems and value sets for the search oracle, in every form the gateway reads."""

from __future__ import annotations

import random
from typing import Any

from gateway.model.systems import LOINC
from tests.oracle.terms import GENDERS

Json = dict[str, Any]
ICD = "http://hl7.org/fhir/sid/icd-10"
ANSWERS, TAG = "urn:test:answers", "urn:test:tag"
LAB_CODES = ["2823-3", "2951-2", "718-7", "4548-4", "LP-ION", "LP-ANY"]
ICD_CODES = ["I10", "E11", "I", "E"]
_SETS = "http://test/terms/"
SETS = [_SETS + name for name in ("shown", "listed", "whole", "nested", "both", "aged", "aged|1", "aged|2", "mixed")]
SETS += ["ValueSet/vs-listed", "ValueSet/vs-mixed", GENDERS]
"""How the sets are asked for."""


def system_docs() -> list[Json]:
    """LOINC by nesting, ICD by properties, a flat one."""
    ions = [{"code": "2823-3"}, {"code": "2951-2", "concept": [{"code": "NA-URINE"}]}]
    loinc = [
        {"code": "LP-ANY", "concept": [{"code": "LP-ION", "concept": ions}, {"code": "718-7"}]},
        {"code": "4548-4"},
    ]
    icd = [
        {"code": "E11", "property": [_above("parent", "E"), _above("subsumedBy", "METABOLIC")]},
        {"code": "E", "property": [_above("subsumedBy", "METABOLIC")]},
        {"code": "METABOLIC"}, {"code": "I"}, {"code": "I10", "property": [_above("parent", "I")]},
    ]  # fmt: skip
    flat = [{"code": "POS"}, {"code": "NEG"}]
    return [_system("cs-loinc", LOINC, loinc), _system("cs-icd", ICD, icd), _system("cs-answers", ANSWERS, flat)]


def set_docs(rng: random.Random) -> list[Json]:
    """One of each kind; what is listed is by chance."""
    shown = [
        {"contains": [{"system": LOINC, "code": rng.choice(LAB_CODES)}], "display": "a heading"},
        {"system": LOINC, "code": rng.choice(LAB_CODES), "abstract": True},
        {"system": ICD, "code": rng.choice(ICD_CODES), "contains": [{"system": TAG, "code": "x"}]},
    ]
    listed = _concepts(LOINC, rng.sample(LAB_CODES, 3))
    left_out = _concepts(LOINC, rng.sample(LAB_CODES, 1))
    narrowed = listed | {"valueSet": [_SETS + "shown"]}
    mixed = [
        _concepts("urn:wrong", ["male", "final", "finished", "POS"]), _concepts(ICD, rng.sample(ICD_CODES, 2)),
        _concepts("http://hl7.org/fhir/administrative-gender", ["female"]), _concepts(ANSWERS, ["POS"]),
        _concepts("http://hl7.org/fhir/observation-status", ["final"]), _concepts(TAG, ["y"]),
    ]  # fmt: skip
    return [
        _set("shown", {"expansion": {"timestamp": "2026-01-01T00:00:00Z", "contains": shown}}),
        _set("listed", _composed(listed)),
        _set("whole", _composed({"system": LOINC}, {"system": ANSWERS}, but=left_out)),
        _set("nested", _composed({"valueSet": [_SETS + "listed"]}, {"system": ICD})),
        _set("both", _composed({"valueSet": [_SETS + "listed", _SETS + "whole"]}, narrowed)),
        _set("mixed", _composed(*mixed)),
        _set("aged", _composed(_concepts(LOINC, LAB_CODES[:2])), "1"),
        _set("aged", _composed(_concepts(LOINC, LAB_CODES[2:])), "2"),
    ]  # fmt: skip


def _above(code: str, parent: str) -> Json:
    return {"code": code, "valueCode": parent}


def _concepts(system: str, found: list[str]) -> Json:
    return {"system": system, "concept": [{"code": code} for code in found]}


def _composed(*parts: Json, but: Json | None = None) -> Json:
    return {"compose": {"include": list(parts)} | ({"exclude": [but]} if but else {})}


def _system(id_: str, url: str, concepts: list[Json]) -> Json:
    return {"resourceType": "CodeSystem", "id": id_, "url": url, "status": "active", "content": "complete"} | {
        "concept": concepts
    }


def _set(name: str, content: Json, version: str = "") -> Json:
    id_ = f"vs-{name}{version}"
    out: Json = {"resourceType": "ValueSet", "id": id_, "url": _SETS + name, "status": "active"}
    return out | ({"version": version} if version else {}) | content
