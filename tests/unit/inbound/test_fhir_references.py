"""What references of FHIR writes mean: other entries of a Bundle, this very server, nothing at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.unit.fhir_site import Site, a_patient, a_site, an_observation, code_of, matches
from tests.unit.inbound.test_fhir_write import UUID, a_bundle, an_entry


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as made:
        yield made


async def test_a_relative_reference_means_the_entry_of_the_same_server(site: Site) -> None:
    his, hers = "http://his/fhir", "http://hers/fhir"
    bundle = a_bundle(
        "transaction",
        *(
            an_entry(
                "POST", "Organization", {"resourceType": "Organization", "name": one}, fullUrl=f"{one}/Organization/5"
            )
            for one in (his, hers)
        ),
        *(
            an_entry(
                "POST",
                "Location",
                {"resourceType": "Location", "managingOrganization": {"reference": "Organization/5"}},
                fullUrl=full_url,
            )
            for full_url in (f"{his}/Location/1", f"{hers}/Location/1", UUID)
        ),
    )
    entries = (await site.post("", bundle)).json()["entry"]
    places = [one["response"]["location"].split("/_history")[0] for one in entries]
    found = [(await site.get(one)).json()["managingOrganization"]["reference"] for one in places[2:]]
    assert found == [*places[:2], "Organization/5"]


@pytest.mark.parametrize("bundled", [False, True])
async def test_a_reference_to_this_very_server_is_a_relative_one(site: Site, bundled: bool) -> None:
    observation = an_observation("x") | {"subject": {"reference": "http://gateway/fhir/Patient/p1"}}
    if bundled:
        await site.post("", a_bundle("transaction", an_entry("PUT", "Observation/x", observation)))
    else:
        await site.put("Observation/x", observation)
    assert (await site.get("Observation/x")).json()["subject"] == {"reference": "Patient/p1"}
    assert matches((await site.get("Observation?patient=p1")).json()) == ["Observation/x"]


@pytest.mark.parametrize("reference", [UUID, "Patient?identifier=urn:x|7"])
@pytest.mark.parametrize("batched", [False, True])
async def test_what_means_something_in_a_transaction_only_is_refused_elsewhere(
    site: Site, reference: str, batched: bool
) -> None:
    observation = an_observation("x") | {"subject": {"reference": reference}}
    if batched:
        answer = await site.post("", a_bundle("batch", an_entry("PUT", "Observation/x", observation)))
        assert answer.json()["entry"][0]["response"]["status"] == "422"
    else:
        answer = await site.put("Observation/x", observation)
        assert (answer.status_code, code_of(answer)) == (422, "GW-FHR-008")
    assert reference.partition("=")[0] in answer.text


@pytest.mark.parametrize("kind", ["", "batch", "transaction"])
async def test_a_document_is_kept_with_its_own_addresses(site: Site, kind: str) -> None:
    inner = {"fullUrl": UUID, "resource": a_patient("y")}
    composition = {
        "resourceType": "Composition", "status": "final", "type": {"text": "病历"}, "date": "2024", "title": "病历",
        "author": [{"reference": UUID}],
    }  # fmt: skip
    document = a_bundle("document", {"fullUrl": UUID[:-1] + "b", "resource": composition}, inner) | {
        "id": "d", "identifier": {"system": "urn:x", "value": "1"}, "timestamp": "2024-01-01T00:00:00Z"
    }  # fmt: skip
    if kind:
        answer = await site.post("", a_bundle(kind, an_entry("PUT", "Bundle/d", document)))
    else:
        answer = await site.put("Bundle/d", document)
    assert answer.status_code in (200, 201), answer.text
    kept = (await site.get("Bundle/d")).json()
    assert kept["entry"][0]["resource"]["author"] == [{"reference": UUID}]


@pytest.mark.parametrize("reference", [b"Patient/\xd5", b"Patient?name=\xd5"])
@pytest.mark.parametrize("bundled", [False, True])
async def test_a_reference_that_is_no_utf_8_is_the_client_s_fault(site: Site, reference: bytes, bundled: bool) -> None:
    body = (
        b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"%b"}}' % reference
    )
    if bundled:
        entry = b'{"fullUrl":"%b","request":{"method":"POST","url":"Observation"},"resource":%b}' % (
            UUID.encode(),
            body,
        )
        body = b'{"resourceType":"Bundle","type":"transaction","entry":[%b]}' % entry
    async with site.as_("admin", **{"Content-Type": "application/fhir+json"}) as http:
        answer = await http.post("/fhir" if bundled else "/fhir/Observation", content=body)
    assert code_of(answer) == ("GW-FHR-008" if b"?" in reference and not bundled else "GW-VAL-002")
