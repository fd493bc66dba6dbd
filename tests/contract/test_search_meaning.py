"""What R4 says of a search where it is easily got wrong, a named case each; the oracle looks for more of them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

import gateway.store.search as search_module
from gateway.model.context import SYSTEM
from gateway.model.resource import dumps
from gateway.outbound.fhir_query import pairs, parse
from gateway.store.base import Plan
from gateway.store.bodies import prepare
from gateway.store.index import params
from gateway.store.resources import ResourceStore
from tests.contract.clinic import ids


@pytest.fixture(params=["gathered", "walked"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways through a population must give the same answers."""
    if request.param == "walked":
        monkeypatch.setattr(search_module, "GATHER", 2)
    return str(request.param)


async def put(store: ResourceStore, *docs: dict[str, Any]) -> None:
    """One commit each, in order."""
    for doc in docs:
        await store.commit(Plan(puts=(prepare(doc["resourceType"], doc["id"], dumps(doc)),)))


async def found(store: ResourceStore, url: str) -> list[str]:
    """Ids of all pages of `Type?…`."""
    type_, _, text = url.partition("?")
    query = parse(type_, pairs(text), params).query
    out: list[str] = []
    while True:
        page = await store.search(query, SYSTEM)
        out += ids(page.matches)
        if not page.next:
            return out
        query = replace(query, cursor=page.next)


# ---- order ------------------------------------------------------------------------------------
def _named(id_: str, *names: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_, "name": [{"text": name} for name in names]}


def _coded(id_: str, *codes: str) -> dict[str, Any]:
    coding = [{"system": "urn:test", "code": code} for code in codes]
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": {"coding": coding}}


def _likely(id_: str, *chances: float) -> dict[str, Any]:
    said = [{"probabilityDecimal": chance} for chance in chances]
    return {"resourceType": "RiskAssessment", "id": id_, "status": "final", "prediction": said} | {
        "subject": {"reference": "Patient/a"}
    }


async def test_of_several_names_the_first_in_the_order_asked_for_counts(store: ResourceStore, way: str) -> None:
    await put(store, _named("both", "张伟", "安平"), _named("amid", "李明"), _named("late", "王红"))
    assert await found(store, "Patient?_sort=name&_count=2") == ["both", "amid", "late"]
    assert await found(store, "Patient?_sort=-name&_count=2") == ["both", "late", "amid"]


async def test_of_several_codes_numbers_and_given_names_the_first_in_the_order_asked_for_counts(
    store: ResourceStore,
) -> None:
    await put(store, _coded("both", "Z", "A"), _coded("amid", "M"), _likely("ends", 0.9, 0.1), _likely("half", 0.5))
    await put(store, _named("names", "张志", "李安"), _named("name", "王明"))
    for order in ("", "-"):
        assert await found(store, f"Patient?_sort={order}given&_count=1") == ["names", "name"]
        assert await found(store, f"Observation?_sort={order}code&_count=1") == ["both", "amid"]
        assert await found(store, f"RiskAssessment?_sort={order}probability&_count=1") == ["ends", "half"]


async def test_an_address_is_put_in_order_by_the_whole_of_it(store: ResourceStore) -> None:
    far = {"city": "杭州市", "line": ["西湖区 1 号"], "postalCode": "310000"}
    near = {"city": "丽水市", "line": ["莲都区 9 号"], "postalCode": "323000"}
    for id_, address in (("far", far), ("near", near)):
        await put(store, {"resourceType": "Patient", "id": id_, "address": [address]})
    assert await found(store, "Patient?_sort=address") == ["near", "far"]  # 丽 stands before 杭, whatever the post says
