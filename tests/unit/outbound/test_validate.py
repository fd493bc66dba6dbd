"""`$validate`: faults and remarks with their paths, nothing stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.model.resource import Json
from tests.unit.fhir_site import Site, a_site, an_observation, without_id

_TEXT = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">一</div>'}
GOOD: Json = {"resourceType": "Basic", "code": {"text": "一"}, "text": _TEXT}


def in_parameters(resource: Json, **said: str) -> Json:
    """A resource among what is said beside it."""
    beside = [{"name": name, "valueCode" if name == "mode" else "valueUri": value} for name, value in said.items()]
    return {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": resource}, *beside]}


@pytest.fixture
async def site(tmp_path: Any) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as made:
        yield made


async def issues(site: Site, path: str, body: Json) -> list[tuple[str, str, str]]:
    """(severity, code, path) of every issue."""
    answer = await site.post(f"{path}/$validate", body)
    assert answer.status_code == 200, answer.text
    return [(one["severity"], one["code"], *one.get("expression", [""])) for one in answer.json()["issue"]]


async def test_faults_stand_with_their_paths_and_nothing_is_stored(site: Site) -> None:
    bad = without_id(an_observation("x", "p", "1", status="done"))
    for body in (bad, in_parameters(bad, mode="create")):
        assert ("error", "invalid", "Observation.status") in await issues(site, "Observation", body)
    assert (await site.get("Observation?_summary=count")).json()["total"] == 0


async def test_a_good_resource_is_said_to_be_good(site: Site) -> None:
    for body in (GOOD, in_parameters(GOOD), in_parameters(GOOD, mode="update")):
        assert await issues(site, "Basic", body) == [("information", "informational", "")]
    assert await issues(site, "Parameters", {"resourceType": "Parameters"}) == [("information", "informational", "")]


async def test_a_stored_resource_is_looked_at_by_its_address(site: Site) -> None:
    place = (await site.post("Basic", GOOD)).headers["location"].split("/fhir/")[1].split("/_history")[0]
    answer = await site.get(f"{place}/$validate")
    assert answer.status_code == 200 and answer.json()["resourceType"] == "OperationOutcome"
    assert (await site.get("Basic/none/$validate")).status_code == 404


async def test_what_cannot_be_checked_is_said(site: Site) -> None:
    assert [severity for severity, *_ in await issues(site, "Patient", GOOD)] == ["error"]
    for body in (in_parameters(GOOD, mode="guess"), in_parameters(GOOD, profile="http://example.org/p")):
        assert (await site.post("Basic/$validate", body)).status_code == 400
    for nothing in (b"", b"{", b'{"resourceType":"Basic","resourceType":"Basic"}'):
        async with site.as_("admin", **{"Content-Type": "application/fhir+json"}) as http:
            assert (await http.post("/fhir/Basic/$validate", content=nothing)).status_code == 400
