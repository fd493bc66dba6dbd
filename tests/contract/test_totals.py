"""Counts of all resources of a type, and of those of some time, are what counting each of them gives."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.model.context import SYSTEM, AccessContext, Role
from gateway.model.query import Query
from gateway.store import totals
from gateway.store.base import Delete, Plan
from gateway.store.resources import ResourceStore
from tests.contract.clinic import observation, patient, where
from tests.contract.conftest import START, Site


async def counted(store: ResourceStore, type_: str, who: AccessContext = SYSTEM, since: str = "") -> int:
    """The total, after one look at each has agreed."""
    filters = (where("_lastUpdated", "date", since),) if since else ()
    page = await store.search(Query(type_, filters, count=0, total="accurate"), who)
    every = await store.search(Query(type_, filters, count=1000), who)
    assert page.total == len(every.matches)
    return page.total


def caller(*members: str, labels: int = 0) -> AccessContext:
    return AccessContext("u", "u", Role.ADMIN, "", "", members=frozenset(members), labels=labels)


async def test_updates_deletions_and_versions_replaced_at_once_are_counted_right(store: ResourceStore) -> None:
    assert await counted(store, "Observation") == 0
    await store.commit(Plan(puts=tuple(observation(f"o{n}", "p1", str(n)) for n in range(5))))
    twice = (observation("o0", "p1", "9"), observation("o0", "p2", "8"))
    await store.commit(Plan(puts=(*twice, observation("x", "p1", "1"))))
    assert await counted(store, "Observation") == 6
    await store.commit(Plan(deletes=(Delete("Observation", "o1"), Delete("Observation", "none"))))
    await store.commit(Plan(puts=(observation("o2", "p1", "2"),)))  # says nothing new
    assert await counted(store, "Observation") == 5
    await store.commit(Plan(puts=(observation("o1", "p1", "7"),), deletes=(Delete("Observation", "x"),)))
    assert await counted(store, "Observation") == 5


async def test_a_caller_counts_what_the_caller_sees(store: ResourceStore) -> None:
    hidden = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}]}
    for number, (member, meta) in enumerate((("m1", {}), ("m2", {}), ("m2", hidden), ("", {}))):
        await store.commit(Plan(puts=(observation(f"o{number}", "p1", "1", member=member, meta=meta),)))
    await store.commit(Plan(puts=(patient("p1", "吴"),)))
    assert await counted(store, "Observation") == 4
    assert await counted(store, "Observation", caller("m1")) == 2
    assert await counted(store, "Observation", caller("m2")) == 2
    assert await counted(store, "Observation", caller("m1", "m2", labels=-1)) == 4
    assert await counted(store, "Patient", caller("m1")) == 1


async def test_of_some_time(site: Site) -> None:
    store = site.store
    for n in range(8):
        await store.commit(Plan(puts=(observation(f"o{n}", "p1", str(n)),)))
        site.pass_time(days=1)
    await store.commit(Plan(puts=(observation("o1", "p1", "99"),)))
    days = [(START + timedelta(days=n)).date().isoformat() for n in range(10)]
    assert await counted(store, "Observation", since="ge2020") == 8
    assert await counted(store, "Observation", since=f"ge{days[2]}") == 7
    assert await counted(store, "Observation", since=f"lt{days[2]}") == 1
    assert await counted(store, "Observation", since=days[6]) == 1
    assert await counted(store, "Observation", since=f"ge{days[9]}") == 0


async def test_an_estimate_counts_no_older_versions(store: ResourceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "_SAMPLE", 20)
    for version in range(6):
        await store.commit(Plan(puts=tuple(observation(f"o{n}", f"p{n}", str(version)) for n in range(60))))
    query = Query("Observation", (where("status", "token", "final"),), count=0, total="estimate")
    page = await store.search(query, SYSTEM)
    assert page.total == 60
