"""Chains and `_has` see what the caller sees (design-store §9); value sets, full text, several types, a new index."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

import gateway.store.links as links_module
import gateway.store.reindex as reindex_module
from gateway.errors import BadParameter, TooCostly
from gateway.model.context import SYSTEM, AccessContext
from gateway.model.query import Query
from gateway.model.resource import dumps
from gateway.outbound.fhir_query import pairs, parse
from gateway.store.base import Plan
from gateway.store.bodies import prepare
from gateway.store.index import params
from gateway.store.resources import ResourceStore
from tests.contract.clinic import M2, doctor, ids, observation, organization, patient
from tests.contract.conftest import Site
from tests.contract.test_policy import BY_LABEL, BY_MEMBER, BY_TYPE, hidden


@pytest.fixture(params=["few", "many"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked up by what the far side gave, or checked row by row."""
    if request.param == "many":
        monkeypatch.setattr(links_module, "FEW", -1)
        monkeypatch.setattr(links_module, "MANY", 0)


@pytest.fixture(params=[BY_MEMBER, BY_LABEL, BY_TYPE], ids=["member", "label", "type"])
def who(request: pytest.FixtureRequest) -> AccessContext:
    found: AccessContext = request.param
    return found


async def found(store: ResourceStore, type_: str, url: str, who: AccessContext = SYSTEM) -> list[str]:
    """Ids of the first page of a search, sorted."""
    return sorted(ids((await store.search(parse(type_, pairs(url), params).query, who)).matches))


SECRETS = [
    ("Patient", "_has:Observation:patient:value-quantity=99.9", "p1"),
    ("Patient", "_has:Observation:patient:_security=R", "p1"),
    ("Patient", "_has:Observation:performer:status=final", "p1"),
    ("Observation", "derived-from:Observation.value-quantity=gt90", "open"),
    ("Observation", "derived-from:Observation._id=secret", "open"),
    ("Patient", "_has:Observation:patient:derived-from:Observation.value-quantity=gt90", "p1"),
]


async def test_nothing_hidden_is_inferred_through_a_chain(store: ResourceStore, who: AccessContext) -> None:
    await hidden(store)
    for type_, query, leads_to in SECRETS:
        assert leads_to in await found(store, type_, query), query
        assert await found(store, type_, query, who) == [], query
        counted = await store.search(parse(type_, pairs(f"{query}&_summary=count"), params).query, who)
        assert counted.total == 0


async def test_missing_and_sort_do_not_tell_of_hidden_rows(store: ResourceStore, who: AccessContext) -> None:
    await hidden(store)
    for url in ("encounter:missing=true", "code:not=1-1", "_sort=value-quantity", "_sort=-code", "_sort=-performer"):
        assert not {"secret", "elsewhere"} & set(await found(store, "Observation", url, who))


async def test_a_value_set_is_looked_at_with_the_stores_own_eyes_and_an_unknown_one_is_refused(
    store: ResourceStore,
) -> None:
    vs = {
        "resourceType": "ValueSet", "status": "active", "url": "http://test/vs",
        "compose": {"include": [{"system": "http://loinc.org", "concept": [{"code": "2823-3"}, {"code": "1-1"}]}]},
    }  # fmt: skip
    cs = {
        "resourceType": "CodeSystem", "status": "active", "content": "complete", "url": "http://loinc.org",
        "concept": [{"code": "LP", "concept": [{"code": "2823-3"}, {"code": "718-7"}]}],
    }  # fmt: skip
    puts = (prepare("ValueSet", "v", dumps(vs)), prepare("CodeSystem", "c", dumps(cs)))
    results = (observation("k", "p1"), observation("hb", "p1", code="718-7"), observation("na", "p1", code="2951-2"))
    await store.commit(Plan(puts=(*puts, *results)))
    assert await found(store, "Observation", "code:in=http://test/vs") == ["k"]
    assert await found(store, "Observation", "code:not-in=http://test/vs") == ["hb", "na"]
    assert await found(store, "Observation", "code:below=http://loinc.org|LP") == ["hb", "k"]
    assert await found(store, "Observation", "code:above=http://loinc.org|2823-3") == ["k"]
    with pytest.raises(BadParameter):
        await found(store, "Observation", "code:in=http://nobody/knows")


async def test_full_text_looks_at_the_narrative_or_at_everything(store: ResourceStore) -> None:
    told = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">血钾 偏高</div>'}
    await store.commit(
        Plan(puts=(observation("o1", "p1", text=told), observation("o2", "p1", issued="2026-03-20T08:00:00Z")))
    )
    assert await found(store, "Observation", "_text=偏高") == ["o1"]
    assert await found(store, "Observation", "_content=钾&_sort=_id") == ["o1", "o2"]
    assert await found(store, "Observation", "_content=偏高") == ["o1"]


async def test_across_types_and_within_a_compartment_one_order_and_one_moment(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(patient("p1"), patient("p2"), organization("g", "x"))))
    for n in range(5):
        await store.commit(Plan(puts=(observation(f"o{n}", "p1"), observation(f"x{n}", "p2", member=M2))))
    query = Query("", types=("Observation", "Organization", "Patient"), count=4)
    seen, cursor = [], ""
    while True:
        page = await store.search(Query("", types=query.types, count=4, cursor=cursor), SYSTEM)
        seen += ids(page.matches)
        await store.commit(Plan(puts=(observation(f"late{len(seen)}", "p1"),)))
        if not page.next:
            break
        cursor = page.next
    assert sorted(seen) == sorted(["p1", "p2", "g", *(f"{who}{n}" for n in range(5) for who in "ox")])
    assert seen[:2] in (["x4", "o4"], ["o4", "x4"])
    inside = await store.search(Query("Observation", within="Patient/p2"), SYSTEM)
    assert sorted(ids(inside.matches)) == [f"x{n}" for n in range(5)]
    whole = await store.search(Query("", types=query.types, within="Patient/p2", total="accurate"), SYSTEM)
    assert whole.total == 6
    mine = await store.search(Query("", types=query.types, within="Patient/p2"), doctor(types=frozenset({"Patient"})))
    assert ids(mine.matches) == ["p2"]


async def test_an_index_is_rebuilt_in_place(site: Site) -> None:
    await site.store.commit(Plan(puts=(patient("p1", "欧阳娜娜"), observation("o1", "p1"), observation("o2", "p1"))))
    await site.store.commit(Plan(puts=(observation("o2", "p1", code="718-7"),)))
    before = [await found(site.store, *one) for one in REBUILT]
    told: list[int] = []
    assert await site.store.reindex(told.append) == 3 and told[-1] == 3
    store = await site.again()
    assert (
        [await found(store, *one) for one in REBUILT] == before == [["p1"], ["p1"], ["o1", "o2"], ["o2"], ["o1", "o2"]]
    )


async def test_of_too_many_that_point_to_one_the_newest_may_tell(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("MANY", 0), ("TO_ONE", 2), ("FEW", 2), ("CHART", 2)):
        monkeypatch.setattr(links_module, name, most)
    values = ("9.9", "4.1", "4.2", "4.3")
    for at, value in enumerate(values):
        puts = (*((patient("p1"),) if not at else ()), observation(f"o{at}", "p1", value))
        await site.store.commit(Plan(puts=puts))
    assert await found(site.store, "Patient", "_has:Observation:patient:value-quantity=4.3") == ["p1"]
    with pytest.raises(TooCostly, match="newest 2"):
        await found(site.store, "Patient", "_has:Observation:patient:value-quantity=9.9")


async def test_a_store_knows_by_which_index_it_is_found(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await site.store.commit(Plan(puts=(patient("p1"),)))
    assert not await (await site.again()).reindex_due() and "index" not in caplog.text
    monkeypatch.setattr(reindex_module, "INDEX", reindex_module.INDEX + 1)
    store = await site.again()
    assert await store.reindex_due() and "gateway store reindex" in caplog.text
    assert await store.reindex() == 1
    assert not await store.reindex_due() and not await (await site.again()).reindex_due()


REBUILT = [
    ("Patient", "family=欧阳"),
    ("Patient", "given=nn"),
    ("Observation", "date=2026-03-19"),
    ("Observation", "code=718-7"),
    ("Observation", "encounter:missing=true"),
]


async def test_the_newest_of_a_few_persons_come_in_order_page_by_page(store: ResourceStore) -> None:
    for name in ("p1", "p2", "p3"):
        await store.commit(Plan(puts=(patient(name, "吴" if name != "p3" else "孙"),)))
    for n in range(12):
        subject = f"p{n % 3 + 1}"
        more = {"performer": [{"reference": "Patient/p1"}]} if n == 5 else {}
        await store.commit(Plan(puts=(observation(f"o{n:02d}", subject, str(n), **more),)))

    async def every(url: str) -> list[str]:
        query, out, cursor = parse("Observation", pairs(url), params).query, list[str](), ""
        while True:
            page = await store.search(replace(query, cursor=cursor), SYSTEM)
            out += ids(page.matches)
            if not page.next:
                return out
            cursor = page.next

    theirs = [f"o{n:02d}" for n in range(11, -1, -1) if n % 3 != 2]
    assert await every("patient.name=吴&_count=3") == theirs
    assert await every("patient.name=吴&value-quantity=gt4&_count=2") == [one for one in theirs if int(one[1:]) > 4]
    assert await every("performer:Patient.name=吴&_count=2") == ["o05"]
