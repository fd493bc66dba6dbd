"""What checking and indexing one resource costs, beside a plain JSON decode of the same bytes.

python tests/bench/bench_validate.py
"""

from __future__ import annotations

import json
import platform
import time
import timeit
from collections.abc import Callable

import msgspec

from gateway.store.index import extract
from gateway.validate.structure import decode

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"


def laboratory_result() -> bytes:
    """A Chinese laboratory Observation of about 2 KB."""
    quantity = {"unit": "mmol/L", "system": UCUM, "code": "mmol/L"}
    return compact(
        {
            "resourceType": "Observation",
            "id": "kq3v5x2b7d4h6j8l2n4p6r8t2v",
            "meta": {"source": "urn:alliance-gateway:source:city-lis#01J9ZK3V5X2B7D4H6J8L2N4P6R"},
            "identifier": [{"system": "urn:alliance-gateway:number:city:report", "value": "L20260320001-03"}],
            "basedOn": [{"reference": "ServiceRequest/b3c5d7e2f4g6h2j4k6l2m4n6p2", "display": "生化全套"}],
            "status": "final",
            "category": [
                {
                    "coding": [
                        coding("http://terminology.hl7.org/CodeSystem/observation-category", "laboratory", "实验室检验")
                    ],
                    "text": "检验",
                }
            ],
            "code": {
                "coding": [
                    coding("urn:alliance-gateway:codes:city:lab", "K", "钾"),
                    coding(LOINC, "2823-3", "Potassium [Moles/volume] in Serum or Plasma"),
                    coding("urn:alliance-gateway:codesystem:recognition-item", "HR0012", "血清钾"),
                ],
                "text": "钾(K)",
            },
            "subject": {"reference": "Patient/q7w2e3r2t3y2u3i4o5p6a7s2d3"},
            "encounter": {"reference": "Encounter/e2c3v4b5n6m7a2s3d4f5g6h7j2"},
            "effectiveDateTime": "2026-03-20T07:45:00+08:00",
            "issued": "2026-03-20T10:12:33.000+08:00",
            "performer": [
                {"reference": "Organization/o2r3g4a5n6i7z2a3t4i5o6n7c2", "display": "市第一人民医院检验科"},
                {"display": "王检验"},
            ],
            "valueQuantity": {"value": 4.25, **quantity},
            "interpretation": [
                {"coding": [coding("http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", "N", "正常")]}
            ],
            "note": [{"text": "标本轻度溶血，结果仅供参考，建议一周内空腹复查；如有乏力、心悸请及时就诊。"}],
            "method": {"text": "离子选择电极法（间接法）"},
            "specimen": {"reference": "Specimen/s2p3e4c5i6m7e2n3a4b5c6d7e2", "display": "血清"},
            "referenceRange": [
                {"low": {"value": 3.5, **quantity}, "high": {"value": 5.3, **quantity}, "text": "3.5-5.3"}
            ],
        }
    )


def coding(system: str, code: str, display: str) -> dict[str, str]:
    return {"system": system, "code": code, "display": display}


def resident() -> bytes:
    """A Patient with card, phone, address and a Chinese name."""
    return compact(
        {
            "resourceType": "Patient",
            "identifier": [
                {"system": "urn:oid:2.16.156.10011.1.3", "value": "990101197001010019"},
                {"system": "urn:alliance-gateway:number:city:patient", "value": "00012345"},
            ],
            "name": [{"text": "张珅"}],
            "telecom": [{"system": "phone", "value": "13900000000"}],
            "gender": "male",
            "birthDate": "1970-01-01",
            "address": [
                {"use": "home", "text": "清河县柳林镇东村", "city": "清河县", "district": "柳林镇", "line": ["东村"]}
            ],
        }
    )


def compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def microseconds(run: Callable[[], object], times: int = 4000) -> float:
    return min(timeit.repeat(run, number=times, repeat=7)) / times * 1e6


def report(type_: str, body: bytes) -> None:
    start = time.perf_counter()
    made = decode(type_, body)
    first = (time.perf_counter() - start) * 1e3
    extract(type_, made, "x")
    plain = microseconds(lambda: msgspec.json.decode(body))
    checked = microseconds(lambda: decode(type_, body))
    indexed = microseconds(lambda: extract(type_, made, "x"))
    print(f"{type_} {len(body)} bytes: first decode {first:.0f} ms; plain JSON {plain:.1f} us (ceiling)")
    print(f"  decode and check {checked:.1f} us ({checked / plain:.1f}x), extract {indexed:.1f} us")


def main() -> None:
    print(platform.processor() or platform.machine(), platform.python_version(), "msgspec", msgspec.__version__)
    report("Observation", laboratory_result())
    report("Patient", resident())


if __name__ == "__main__":
    main()
