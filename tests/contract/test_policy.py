"""A row the caller may not know of never shows, whichever way it is asked for (design-store §9)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

import gateway.store.search as search_module
from gateway.model.context import SYSTEM, AccessContext
from gateway.model.query import Include, Query
from gateway.store.base import LABEL_BITS, Delete, Plan, RecordPut
from gateway.store.resources import ResourceStore
from tests.contract.clinic import M1, M2, doctor, ids, observation, of, organization, patient, where

RESTRICTED = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]}
BY_MEMBER = doctor(members=frozenset({M1}))
BY_LABEL = doctor()
BY_TYPE = doctor(types=frozenset({"Patient", "Encounter"}))


async def hidden(store: ResourceStore) -> None:
    """`secret` is from M2, restricted, and an Observation: each of the three callers may not know of it."""
    pointer = [{"reference": "Observation/secret"}]
    puts = (
        patient("p1"),
        observation("open", "p1", code="718-7", derivedFrom=pointer),
        observation("secret", "p1", "99.9", member=M2, meta=RESTRICTED),
        observation("elsewhere", "p2", member=M2, meta=RESTRICTED, performer=[{"reference": "Patient/p1"}]),
    )
    await store.commit(Plan(puts=puts))


@pytest.fixture(params=[BY_MEMBER, BY_LABEL, BY_TYPE], ids=["member", "label", "type"])
def who(request: pytest.FixtureRequest) -> AccessContext:
    found: AccessContext = request.param
    return found


@pytest.fixture(params=["gathered", "walked"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "walked":
        monkeypatch.setattr(search_module, "GATHER", 0)


async def test_not_by_id_version_or_history(store: ResourceStore, who: AccessContext) -> None:
    await hidden(store)
    assert await store.read("Observation", "secret", who) is None
    assert await store.read_many([("Observation", "secret")], who) == []
    assert await store.vread("Observation", "secret", 1, who) is None
    assert await store.history("Observation", "secret", who, count=9) == []


async def test_not_by_everything(store: ResourceStore, who: AccessContext) -> None:
    await hidden(store)
    assert not {"secret", "elsewhere"} & set(ids(await store.everything("p1", who)))
    assert {"secret", "elsewhere"} <= set(ids(await store.everything("p1", SYSTEM)))


async def test_not_by_any_search(store: ResourceStore, who: AccessContext) -> None:
    await hidden(store)
    queries = (
        Query("Observation", total="accurate"),
        Query("Observation", (where("code", "token", "2823-3"),), total="accurate"),
        Query("Observation", (where("code", "token", "718-7", modifier="not"),), total="accurate"),
        Query("Observation", (where("date", "date", "ge2026-01-01"), where("code", "token", "2823-3"))),
        Query("Observation", (where("_lastUpdated", "date", "ge2020"), where("code", "token", "2823-3"))),
        Query("Observation", sort=(("date", True),)),
        Query("Observation", (where("_id", "token", "secret"),), total="accurate"),
    )
    for query in queries:
        page = await store.search(query, who)
        assert not {"secret", "elsewhere"} & set(ids(page.matches)), query
        assert page.total in (None, len(page.matches)), query


async def test_not_in_a_persons_search_and_its_total(store: ResourceStore, who: AccessContext) -> None:
    await hidden(store)
    for query in (Query("Observation", (of("p1"),)), Query("Observation", (of("p1"),), sort=(("date", True),))):
        page = await store.search(query, who)
        assert not {"secret", "elsewhere"} & set(ids(page.matches))


async def test_not_by_include(store: ResourceStore, who: AccessContext) -> None:
    await hidden(store)
    forward = (Include("Observation", "derived-from"),)
    page = await store.search(Query("Observation", (where("_id", "token", "open"),), includes=forward), who)
    assert page.included == ()
    back = (Include("Observation", "subject", reverse=True),)
    page = await store.search(Query("Patient", (where("_id", "token", "p1"),), includes=back), who)
    assert "secret" not in ids(page.included)


async def test_not_by_the_stream_of_changes(store: ResourceStore, who: AccessContext) -> None:
    await hidden(store)
    assert not {"secret", "elsewhere"} & set(ids((await store.changes.after(0, who)).resources))


async def test_not_once_deleted_either(store: ResourceStore, who: AccessContext) -> None:
    await hidden(store)
    await store.commit(Plan(deletes=(Delete("Observation", "secret"),)))
    assert await store.read("Observation", "secret", who) is None
    assert await store.history("Observation", "secret", who, count=9) == []


async def test_history_is_judged_by_the_current_labels(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1", "1.0"),)))
    await store.commit(Plan(puts=(observation("o1", "p1", "1.0", meta=RESTRICTED),)))
    assert await store.history("Observation", "o1", BY_LABEL, count=9) == []
    seeing = doctor(labels=LABEL_BITS["R"])
    assert [one.version for one in await store.history("Observation", "o1", seeing, count=9)] == [2, 1]


async def test_every_label_must_be_allowed(store: ResourceStore) -> None:
    both = {"security": [{"code": "R"}, {"code": "PSY"}, {"code": "N"}]}
    await store.commit(Plan(puts=(observation("o1", "p1", meta=both),)))
    assert await store.read("Observation", "o1", doctor(labels=LABEL_BITS["R"])) is None
    assert await store.read("Observation", "o1", doctor(labels=LABEL_BITS["R"] | LABEL_BITS["PSY"])) is not None


async def test_what_belongs_to_no_member_is_for_all(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(patient("p1"), organization("g1", "院"))))
    stranger = doctor(members=frozenset({"nobody"}))
    assert await store.read("Patient", "p1", stranger) is not None
    assert await store.read("Organization", "g1", stranger) is None


async def test_what_is_allowed_is_there(store: ResourceStore) -> None:
    await hidden(store)
    for who in (BY_MEMBER, BY_LABEL, SYSTEM):
        assert await store.read("Observation", "open", who) is not None
        assert "open" in ids((await store.search(Query("Observation"), who)).matches)


async def test_a_person_is_known_to_every_member_that_has_a_number_for_them(store: ResourceStore) -> None:
    """The Patient was first sent by M1; a caller who sees M2 alone knows the person once M2 sent a number too."""
    first = replace(patient("p1"), member=M1)
    record = RecordPut(M1, "A1", "p1", b"{}", "2026-03-19T08:00:00Z")
    await store.commit(Plan(puts=(first, observation("o1", "p1")), records=(record,)))
    of_m2 = doctor(members=frozenset({M2}))
    assert await store.read("Patient", "p1", of_m2) is None
    assert (await store.search(Query("Patient", total="accurate"), of_m2)).total == 0
    await store.commit(Plan(records=(RecordPut(M2, "B7", "p1", b"{}", "2026-03-19T09:00:00Z"),)))
    assert await store.read("Patient", "p1", SYSTEM) is not None  # remembered, and still judged for each caller
    assert await store.read("Patient", "p1", of_m2) is not None
    assert ids((await store.search(Query("Patient"), of_m2)).matches) == ["p1"]
    assert ids(await store.everything("p1", of_m2)) == ["p1"]
    assert await store.read("Patient", "p1", doctor(members=frozenset({"third"}))) is None


async def test_what_labels_alone_keep_from_a_caller_is_counted(store: ResourceStore) -> None:
    shown, kept = observation("o1", "p1"), observation("o2", "p1", meta=RESTRICTED)
    foreign = observation("o3", "p1", meta=RESTRICTED, member="other")
    await store.commit(Plan(puts=(patient("p1"), shown, kept, foreign)))
    types = frozenset({"Observation", "Condition"})
    assert await store.withheld("p1", doctor(), types) == {"Observation": 2}
    assert await store.withheld("p1", doctor(members=frozenset({M1})), types) == {"Observation": 1}
    assert await store.withheld("p1", doctor(types=frozenset({"Condition"})), types) == {}
    assert await store.withheld("p1", doctor(labels=LABEL_BITS["R"]), types) == {}
    assert await store.withheld("p1", SYSTEM, types) == {}
    await store.commit(Plan(deletes=(Delete("Observation", "o2"),)))
    assert await store.withheld("p1", doctor(), types) == {"Observation": 1}
