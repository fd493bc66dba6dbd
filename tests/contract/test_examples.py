"""The official R4 examples (CC0) come back equal, decimal text included, apart from id and meta, on every engine.

The pack is made by scripts/pack_examples.py from `hl7.fhir.r4.examples@4.0.1`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import zstandard

from tests.unit.fhir_site import Site, a_site

PACK = Path(__file__).resolve().parent.parent / "examples" / "r4.ndjson.zst"
REFUSED = frozenset({"AuditEvent"})  # written by the gateway alone
_AGAINST_R4 = """
ActivityDefinition/blood-tubes-supply ActivityDefinition/heart-valve-replacement DeviceMetric/example
DeviceUseStatement/example EventDefinition/example MedicationRequest/medrx0301 Observation/clinical-gender
Questionnaire/qs1 Questionnaire/zika-virus-exposure-assessment
"""
AGAINST_R4 = frozenset(_AGAINST_R4.split())
"""Examples that break R4 themselves: an empty narrative, a reference to a type not allowed, an item without linkId."""
AT_ONCE = 32


def examples() -> list[bytes]:
    with PACK.open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read().split(b"\n")


def content(body: bytes) -> Any:
    """Numbers as their text, without what the server gives."""
    whole = json.loads(body, parse_float=str)
    return {key: value for key, value in whole.items() if key not in ("id", "meta")}


async def test_the_official_examples_come_back_equal(url: str) -> None:
    async with a_site(url) as site:
        faults = [fault for part in _parts() for fault in await asyncio.gather(*(_sent(site, body) for body in part))]
    assert [fault for fault in faults if fault] == []


def _parts() -> Iterator[list[bytes]]:
    lines = examples()
    assert len({json.loads(line)["resourceType"] for line in lines}) == 140
    for at in range(0, len(lines), AT_ONCE):
        yield lines[at : at + AT_ONCE]


async def _sent(site: Site, body: bytes) -> str:
    """What is wrong with the way of one example, "" for nothing."""
    kind, id_ = (json.loads(body).get(name, "") for name in ("resourceType", "id"))
    async with site.as_("admin", **{"Content-Type": "application/fhir+json", "Prefer": "return=minimal"}) as http:
        made = await http.post(f"/fhir/{kind}", content=body)
        if kind in REFUSED:
            return "" if made.status_code == 405 else f"{kind}/{id_}: {made.status_code}"
        if f"{kind}/{id_}" in AGAINST_R4:
            return "" if made.status_code == 422 else f"{kind}/{id_}: {made.status_code}"
        if made.status_code != 201:
            return f"{kind}/{id_}: {made.status_code} {_reason(made)}"
        read = await http.get(made.headers["location"])
    return "" if content(read.content) == content(body) else f"{kind}/{id_}: not equal"


def _reason(answer: httpx.Response) -> str:
    issue = answer.json()["issue"][0]
    return f"{issue.get('expression')} {issue['diagnostics']}"[:200]
