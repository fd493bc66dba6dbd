"""Create, change, delete, read back: one resource through its life (design-store §1, §5, §6)."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gateway.errors import Conflict
from gateway.model.context import SYSTEM
from gateway.model.query import Query
from gateway.model.systems import local_number
from gateway.store.base import Committed, Delete, Done, Plan
from gateway.store.resources import ResourceStore
from tests.contract.clinic import M1, audit, doctor, ids, json, observation, of, organization, patient
from tests.contract.conftest import START, Site


async def test_a_created_resource_reads_back_as_sent_with_id_and_meta(store: ResourceStore) -> None:
    put = observation("o1", "p1", "1.20", meta={"source": "urn:x#m1", "tag": [{"code": "t"}]})
    done = await store.commit(Plan(puts=(put,)))
    found = await store.read("Observation", "o1", SYSTEM)
    assert found is not None and found.version == 1 and found.at == START and done.at == START
    assert b'"value":1.20' in found.body  # the digits sent
    assert found.body.startswith(b'{"resourceType":"Observation","id":"o1","meta":{"versionId":"1"')
    meta = json(found)["meta"]
    assert meta["source"] == "urn:x#m1" and meta["tag"] == [{"code": "t"}]
    assert meta["lastUpdated"] == "2026-03-20T09:00:00.000+08:00"


async def test_an_update_makes_a_new_version_and_keeps_the_old(site: Site) -> None:
    store = site.store
    await store.commit(Plan(puts=(observation("o1", "p1", "6.8"),)))
    site.pass_time(minutes=5)
    done = await store.commit(Plan(puts=(observation("o1", "p1", "4.2"),)))
    assert (done.written[0].version, done.written[0].changed) == (2, True)
    current = await store.read("Observation", "o1", SYSTEM)
    assert current is not None and b"4.2" in current.body and current.version == 2
    history = await store.history("Observation", "o1", SYSTEM, count=10)
    assert [(one.version, b"6.8" in one.body) for one in history] == [(2, False), (1, True)]
    first = await store.vread("Observation", "o1", 1, SYSTEM)
    assert first is not None and b"6.8" in first.body and first.at == START
    assert await store.vread("Observation", "o1", 3, SYSTEM) is None


async def test_equal_content_is_no_new_version(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1", "1.20", meta={"source": "urn:x#m1"}),)))
    again = observation("o1", "p1", "1.20", meta={"source": "urn:x#m2"})
    shuffled = again.body.replace(b'"status":"final",', b"")[:-1] + b',"status":"final"}'
    same = type(again)(again.type, again.id, shuffled, again.keys, again.meta, "p1", again.src, again.member)
    before = store.horizon()
    done = await store.commit(Plan(puts=(same,)))
    assert (done.written[0].version, done.written[0].changed) == (1, False)
    assert store.horizon() == before


@pytest.mark.parametrize("value", ["1.2", "1.21"])
async def test_another_digit_is_another_version(store: ResourceStore, value: str) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1", "1.20"),)))
    done = await store.commit(Plan(puts=(observation("o1", "p1", value),)))
    assert done.written[0].changed


async def test_another_tag_is_another_version(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1"),)))
    done = await store.commit(Plan(puts=(observation("o1", "p1", meta={"tag": [{"code": "t"}]}),)))
    assert done.written[0].version == 2


async def test_a_deleted_resource_says_so_and_can_come_back(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1"),)))
    done = await store.commit(Plan(deletes=(Delete("Observation", "o1"),)))
    assert done.written[0].version == 2
    gone = await store.read("Observation", "o1", SYSTEM)
    assert gone is not None and gone.deleted and gone.body == b""
    assert await store.read_many([("Observation", "o1")], SYSTEM) == []
    assert (await store.commit(Plan(deletes=(Delete("Observation", "o1"),)))).written[0].changed is False
    back = await store.commit(Plan(puts=(observation("o1", "p1", expect=0),)))
    assert back.written[0].version == 3
    assert [one.deleted for one in await store.history("Observation", "o1", SYSTEM, count=9)] == [False, True, False]


async def test_read_many_keeps_the_order_asked_and_leaves_out_what_is_absent(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1"), observation("o2", "p2"), organization("x", "院"))))
    asked = [("Organization", "x"), ("Observation", "none"), ("Observation", "o2"), ("Observation", "o1")]
    assert ids(await store.read_many(asked, SYSTEM)) == ["x", "o2", "o1"]


async def test_absent_is_none(store: ResourceStore) -> None:
    assert await store.read("Observation", "none", SYSTEM) is None
    assert await store.history("Observation", "none", SYSTEM, count=5) == []


async def test_the_same_resource_twice_in_one_plan_keeps_both_versions(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1", "1.0"), observation("o1", "p1", "2.0"))))
    history = await store.history("Observation", "o1", SYSTEM, count=5)
    assert [(one.version, b"2.0" in one.body) for one in history] == [(2, True), (1, False)]


async def test_expected_version_is_checked(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1"),)))
    for wrong in (0, 2):
        with pytest.raises(Conflict):
            await store.commit(Plan(puts=(observation("o1", "p1", "9.9", expect=wrong),)))
    with pytest.raises(Conflict):
        await store.commit(Plan(puts=(organization("x", "院"),), deletes=(Delete("Observation", "o1", expect=2),)))
    assert await store.read("Organization", "x", SYSTEM) is None  # nothing of a refused plan was written
    done = await store.commit(Plan(puts=(observation("o1", "p1", "9.9", expect=1),)))
    assert done.written[0].version == 2


async def test_of_64_writers_with_one_expectation_one_wins(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1", "0.0"),)))
    plans = [Plan(puts=(observation("o1", "p1", f"{n}.5", expect=1),)) for n in range(64)]
    answers = await asyncio.gather(*(store.commit(plan) for plan in plans), return_exceptions=True)
    won = [one for one in answers if not isinstance(one, Exception)]
    assert len(won) == 1 and all(isinstance(one, Conflict) for one in answers if isinstance(one, Exception))
    assert len(await store.history("Observation", "o1", SYSTEM, count=99)) == 2


async def test_64_writers_of_one_resource_count_without_a_gap(store: ResourceStore) -> None:
    plans = [Plan(puts=(observation("o1", "p1", f"{n}.5"),)) for n in range(64)]
    done = await asyncio.gather(*(store.commit(plan) for plan in plans))
    assert sorted(one.written[0].version for one in done) == list(range(1, 65))
    assert sorted(one.tx for one in done) == sorted({one.tx for one in done})


async def test_of_64_creators_of_one_identifier_one_wins(store: ResourceStore) -> None:
    claim = (("Patient", local_number(M1), "A-77"),)
    puts = [patient(f"p{n}", identifier=[{"system": local_number(M1), "value": "A-77"}]) for n in range(64)]
    answers = await asyncio.gather(
        *(store.commit(Plan(puts=(put,), unclaimed=claim)) for put in puts), return_exceptions=True
    )
    assert sum(not isinstance(one, Exception) for one in answers) == 1
    assert len(await store.find_identifier("Patient", local_number(M1), "A-77")) == 1


async def test_an_identifier_given_up_can_be_claimed_again(store: ResourceStore) -> None:
    claim = (("Patient", local_number(M1), "A-p1"),)
    await store.commit(Plan(puts=(patient("p1"),)))
    with pytest.raises(Conflict):
        await store.commit(Plan(puts=(patient("p2"),), unclaimed=claim))
    await store.commit(Plan(puts=(patient("p1", identifier=[{"system": "urn:other", "value": "A-p1"}]),)))
    assert await store.find_identifier("Patient", local_number(M1), "A-p1") == []
    await store.commit(Plan(puts=(patient("p2"),), unclaimed=claim))
    await store.commit(Plan(deletes=(Delete("Patient", "p2"),)))
    assert await store.find_identifier("Patient", local_number(M1), "A-p2") == []


async def test_who_holds_an_identifier_may_claim_it_again_over_the_version_it_read(store: ResourceStore) -> None:
    claim = (("Patient", local_number(M1), "A-p1"),)
    await store.commit(Plan(puts=(patient("p1"),)))
    again = patient("p1", identifier=[{"system": local_number(M1), "value": "A-p1", "use": "official"}])
    await store.commit(Plan(puts=(msgspec.structs.replace(again, expect=1),), unclaimed=claim))
    for expect in (1, None):
        with pytest.raises(Conflict):
            await store.commit(Plan(puts=(msgspec.structs.replace(again, expect=expect),), unclaimed=claim))


async def test_time_never_goes_backwards(site: Site) -> None:
    first = await site.store.commit(Plan(puts=(observation("o1", "p1"),)))
    site.pass_time(hours=-3)
    second = await site.store.commit(Plan(puts=(observation("o2", "p1"),)))
    assert second.tx == first.tx + 1 and second.at == first.at
    assert site.store.horizon() == (second.tx, second.at)


async def test_settled_messages_are_remembered_with_their_effect(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1"),), done=(Done("m1", b'{"state":"processed"}'),)))
    assert await store.done(["m1", "m2"]) == {"m1": b'{"state":"processed"}'}
    with pytest.raises(Conflict):
        await store.commit(Plan(puts=(observation("o1", "p1", "8.8", expect=0),), done=(Done("m2", b"{}"),)))
    assert await store.done(["m2"]) == {}


async def test_freshness_is_by_member(site: Site) -> None:
    await site.store.commit(Plan(puts=(observation("o1", "p1"), patient("p1")), audits=(audit(site.now),)))
    first = site.now
    site.pass_time(days=1)
    await site.store.commit(Plan(puts=(observation("o2", "p1", member="other"),), audits=(audit(site.now),)))
    assert await site.store.freshness() == {M1: first, "other": site.now}


async def test_what_is_sent_again_unchanged_was_sent(site: Site) -> None:
    for _ in range(2):
        site.pass_time(days=1)
        await site.store.commit(Plan(puts=(observation("o1", "p1"),), audits=(audit(site.now),)))
    assert await site.store.freshness() == {M1: site.now}


async def test_what_the_gateway_writes_of_its_own_accord_nobody_sent(site: Site) -> None:
    await site.store.commit(Plan(puts=(organization("h1", "县医院"),)))
    assert await site.store.freshness() == {}


async def test_everything_is_there_after_closing(site: Site) -> None:
    await site.store.commit(Plan(puts=(observation("o1", "p1"), patient("p1"))))
    key, horizon = site.store.store_key, site.store.horizon()
    store = await site.again()
    assert store.store_key == key and store.horizon() == horizon
    assert ids(await store.everything("p1", doctor())) == ["p1", "o1"]
    done = await store.commit(Plan(puts=(observation("o2", "p1"),)))
    assert done.tx == horizon[0] + 1


async def test_a_plan_of_thousands_commits_whole(store: ResourceStore) -> None:
    puts = tuple(observation(f"o{n}", f"p{n % 50}") for n in range(1500))
    await store.commit(Plan(puts=puts))
    assert len(await store.everything("p7", SYSTEM)) == 30


async def test_the_stream_of_changes_misses_nothing(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1"), observation("o2", "p2"))))
    await store.commit(Plan(puts=(observation("o3", "p1"),), deletes=(Delete("Observation", "o2"),)))
    everything = await store.changes.after(0, SYSTEM)
    assert {(one.id, one.deleted) for one in everything.resources} == {("o1", False), ("o3", False), ("o2", True)}
    part = await store.changes.after(0, SYSTEM, limit=1)
    rest = await store.changes.after(part.next, SYSTEM)
    assert len(part.resources) + len(rest.resources) == 3 and rest.next == store.horizon()[0]
    waiting = asyncio.create_task(store.changes.wait(rest.next, 5))
    await asyncio.sleep(0)
    await store.commit(Plan(puts=(observation("o4", "p1"),)))
    assert await waiting


async def test_many_plans_at_once_are_as_if_one_came_after_the_other(site: Site) -> None:
    """Several about one resource among others about their own: no version is lost, every order is told alike."""
    store = site.store

    def plan(n: int) -> Plan:
        return Plan(puts=(observation("shared", "p1", f"{n}.0"), observation(f"own{n}", "p1")))

    done = await asyncio.gather(*(store.commit(plan(n)) for n in range(40)))
    assert len({one.tx for one in done}) == 40
    versions = {one.written[0].version: one.tx for one in done}
    assert sorted(versions) == list(range(1, 41)) and sorted(versions.values()) == [versions[n] for n in range(1, 41)]
    history = await store.history("Observation", "shared", SYSTEM, count=99)
    assert [one.version for one in history] == list(range(40, 0, -1))
    page = await store.search(Query("Observation", (of("p1"),), count=100), SYSTEM)
    assert len(page.matches) == 41


async def test_of_many_plans_at_once_only_those_that_do_not_hold_are_refused(site: Site) -> None:
    store = site.store
    await store.commit(Plan(puts=(observation("o1", "p1", "1.0"),)))
    plans = [Plan(puts=(observation("o1", "p1", f"{n}.5", expect=1), observation(f"x{n}", "p1"))) for n in range(20)]
    answers = await asyncio.gather(*(store.commit(one) for one in plans), return_exceptions=True)
    assert sum(isinstance(one, Committed) for one in answers) == 1
    assert all(isinstance(one, Committed | Conflict) for one in answers)
    page = await store.search(Query("Observation", (of("p1"),), count=100), SYSTEM)
    assert len(page.matches) == 2  # o1 and the one that came along with its second version
