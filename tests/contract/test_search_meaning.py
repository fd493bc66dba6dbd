"""What R4 says of a search where it is easily got wrong, a named case each; the oracle looks for more of them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

import gateway.store.search as search_module
from gateway.errors import BadParameter, UnknownParameter
from gateway.model.context import SYSTEM
from gateway.model.resource import dumps
from gateway.outbound.fhir_query import pairs, parse
from gateway.store.base import Plan
from gateway.store.bodies import prepare
from gateway.store.index import params
from gateway.store.resources import ResourceStore
from gateway.validate.definitions import resource_types
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
    """Ids of all pages of `Type?…`, or of `?_type=…`."""
    type_, _, text = url.partition("?")
    query = parse(type_, pairs(text), params, types=None if type_ else resource_types()).query
    out: list[str] = []
    while True:
        page = await store.search(query, SYSTEM)
        out += ids(page.matches)
        if not page.next:
            return out
        query = replace(query, cursor=page.next)


def _measured(id_: str, value: float, code: str, comparator: str = "") -> dict[str, Any]:
    quantity = {"value": value, "unit": code, "system": "http://unitsofmeasure.org", "code": code}
    more = {"comparator": comparator} if comparator else {}
    return _coded(id_, "a") | {"valueQuantity": quantity | more}


async def test_a_result_below_a_limit_is_less_than_the_limit(store: ResourceStore, way: str) -> None:
    await put(
        store,
        _measured("at", 20, "mg/L"),
        _measured("below", 20, "mg/L", "<"),
        _measured("above", 20, "mg/L", ">"),
        _measured("upto", 20, "mg/L", "<="),
        _measured("below-g", 0.02, "g/L", "<"),
    )
    for asked, ids_ in {
        "lt20": {"below", "below-g"}, "ge20": {"at", "above", "upto"}, "gt20": {"above"},
        "le20": {"at", "below", "upto", "below-g"},
    }.items():  # fmt: skip
        assert {*await found(store, f"Observation?value-quantity={asked}|http://unitsofmeasure.org|mg/L")} == ids_, (
            asked
        )


async def test_who_is_not_told_dead_is_not_deceased(store: ResourceStore) -> None:
    said = {
        "dead": {"deceasedBoolean": True},
        "died": {"deceasedDateTime": "2020"},
        "lives": {"deceasedBoolean": False},
    }
    await put(store, *(_named(one, "王芳") | said.get(one, {}) for one in (*said, "untold")))
    assert {*await found(store, "Patient?deceased=false")} == {"lives", "untold"}
    assert {*await found(store, "Patient?deceased=true")} == {"dead", "died"}


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


# ---- modifiers --------------------------------------------------------------------------------
def _answered(id_: str, questionnaire: str) -> dict[str, Any]:
    return {"resourceType": "QuestionnaireResponse", "id": id_, "status": "completed", "questionnaire": questionnaire}


def _set(id_: str, url: str, version: str = "") -> dict[str, Any]:
    out = {"resourceType": "ValueSet", "id": id_, "status": "active", "url": url}
    return out | ({"version": version} if version else {})


async def test_below_a_canonical_lie_its_versions(store: ResourceStore) -> None:
    urls = {"bare": "q", "v1": "q|1", "v11": "q|1.1", "v10": "q|10", "other": "q2|1"}
    await put(store, *(_answered(id_, f"http://x/{url}") for id_, url in urls.items()))
    for asked, expected in {
        "http://x/q": {"bare", "v1", "v11", "v10"}, "http://x/q|1": {"v1", "v11"}, "http://x/q|2": set(),
        "http://x/q|10,http://x/q2|1": {"v10", "other"},
    }.items():  # fmt: skip
        assert set(await found(store, f"QuestionnaireResponse?questionnaire:below={asked}")) == expected, asked


async def test_a_canonical_address_is_asked_for_with_its_version(store: ResourceStore) -> None:
    await put(store, _set("one", "http://x/vs", "1"), _set("two", "http://x/vs", "2"), _set("other", "http://x/o", "1"))
    assert await found(store, "ValueSet?url=http://x/vs|2") == ["two"]
    assert set(await found(store, "ValueSet?url=http://x/vs|1,http://x/o")) == {"one", "other"}
    assert await found(store, "ValueSet?url=http://x/vs|3") == []


async def test_nothing_lies_above_or_below_a_urn(store: ResourceStore) -> None:
    await put(store, _set("urn", "urn:oid:1.2.3"), _set("url", "http://x/fhir/vs"))
    assert await found(store, "ValueSet?url:below=urn:oid:1.2") == []
    assert await found(store, "ValueSet?url:below=urn:oid:1.2.3") == ["urn"]
    assert await found(store, "ValueSet?url:above=urn:oid:1.2.3.4") == []
    assert await found(store, "ValueSet?url:below=http://x/fhir/") == ["url"]
    assert await found(store, "ValueSet?url:above=http://x/fhir/vs/_history/5") == ["url"]


async def test_a_token_that_is_a_string_is_found_in_any_case_and_a_code_only_in_its_own(store: ResourceStore) -> None:
    await put(store, _set("vs", "http://x/vs", "2026-A"), _coded("k", "aB"))
    assert await found(store, "ValueSet?version=2026-a") == ["vs"]
    assert await found(store, "ValueSet?version:not=2026-a") == []
    assert await found(store, "Observation?code=AB") == []


async def test_below_a_media_type_lies_what_has_parameters(store: ResourceStore) -> None:
    for id_, media in {"plain": "text/xml", "said": "text/xml; charset=GBK", "other": "text/xml2"}.items():
        content = [{"attachment": {"contentType": media}}]
        await put(store, {"resourceType": "DocumentReference", "id": id_, "status": "current", "content": content})
    assert await found(store, "DocumentReference?contenttype:below=text/xml&_sort=_id") == ["plain", "said"]
    assert await found(store, "DocumentReference?contenttype=text/xml") == ["plain"]


async def test_a_value_set_is_named_by_its_place_too(store: ResourceStore) -> None:
    compose = {"include": [{"system": "urn:test", "concept": [{"code": "K"}]}]}
    await put(store, _set("vs", "http://x/vs") | {"compose": compose}, _coded("k", "K"), _coded("na", "NA"))
    assert await found(store, "Observation?code:in=ValueSet/vs") == ["k"]
    assert await found(store, "Observation?code:not-in=ValueSet/vs") == ["na"]
    with pytest.raises(BadParameter):
        await found(store, "Observation?code:in=ValueSet/none")


@pytest.mark.parametrize(
    "url",
    [
        "Patient?gender:text=m", "Patient?active:in=http://x/vs", "Patient?_id:not=x", "Patient?phone:text=1",
        "Observation?code:of-type=a|b|c", "Patient?identifier:below=urn:x|1", "Observation?subject:below=Patient/1",
        "QuestionnaireResponse?questionnaire:identifier=1", "Patient?_text:missing=true",
    ],
)  # fmt: skip
async def test_a_modifier_that_cannot_say_anything_there_is_refused(url: str) -> None:
    type_, _, text = url.partition("?")
    with pytest.raises(UnknownParameter):
        parse(type_, pairs(text), params)


async def test_across_types_a_reference_points_where_one_of_them_may(store: ResourceStore) -> None:
    asked_of = {"subject": {"reference": "Practitioner/dr"}}
    await put(store, {"resourceType": "Practitioner", "id": "dr", "name": [{"text": "李明"}]})
    await put(store, _answered("q", "http://x/q") | asked_of)
    await put(store, {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/dr"}})
    both = "?_type=Condition,QuestionnaireResponse"
    assert await found(store, f"{both}&subject:Practitioner=dr") == ["q"]  # a Condition's subject is no Practitioner
    assert await found(store, f"{both}&subject:Practitioner.name=李") == ["q"]
    with pytest.raises(UnknownParameter):
        await found(store, "?_type=CodeSystem,Observation&code:text=x")  # the codes of a CodeSystem have no words
