"""The same search asked again shows every change committed meanwhile, and nothing a caller may not see."""

from __future__ import annotations

import random

import pytest

from gateway.model.context import SYSTEM
from gateway.model.query import Filter, Query
from gateway.store.base import Delete, Move, Plan, src_of
from gateway.store.resources import ResourceStore
from tests.contract.clinic import M1, M2, doctor, ids, observation, of, patient, where

CODE = where("code", "token", "2823-3")


async def asked(store: ResourceStore, *filters: Filter, count: int = 2, **more: object) -> list[str]:
    """Ids of the first page; asked twice, the answer is the same."""
    query = Query("Observation", filters, count=count, **more)  # type: ignore[arg-type]
    found = ids((await store.search(query, SYSTEM)).matches)
    assert ids((await store.search(query, SYSTEM)).matches) == found
    return found


async def test_a_page_asked_again_shows_what_was_written_meanwhile(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1"), observation("o2", "p1"), observation("o3", "p2"))))
    assert await asked(store, of("p1")) == ["o2", "o1"]
    assert await asked(store, CODE) == ["o3", "o2"]
    await store.commit(Plan(puts=(observation("o4", "p1"),)))
    assert await asked(store, of("p1")) == ["o4", "o2"] and await asked(store, CODE) == ["o4", "o3"]
    await store.commit(Plan(deletes=(Delete("Observation", "o4"),)))
    assert await asked(store, of("p1")) == ["o2", "o1"] and await asked(store, CODE) == ["o3", "o2"]
    await store.commit(Plan(puts=(observation("o2", "p1", code="2951-2"),)))
    assert await asked(store, of("p1"), CODE) == ["o1"] and await asked(store, CODE) == ["o3", "o1"]


async def test_a_page_asked_again_shows_who_came_and_who_went(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(patient("a"), patient("b"), observation("o1", "a"), observation("o2", "b"))))
    assert await asked(store, of("a")) == ["o1"] and await asked(store, of("b")) == ["o2"]
    await store.commit(Plan(puts=(observation("o3", "b", performer=[{"reference": "Patient/a"}]),)))
    performer = where("performer", "reference", "Patient/a")
    assert await asked(store, performer) == ["o3"]
    await store.commit(Plan(puts=(observation("o3", "b"),)))
    assert await asked(store, performer) == []
    replaced = {"active": False, "link": [{"other": {"reference": "Patient/b"}, "type": "replaced-by"}]}
    await store.commit(Plan(moves=(Move((src_of(M1, "a"),), "a", "b"),), puts=(patient("a", **replaced),)))
    assert await asked(store, of("a"), count=9) == await asked(store, of("b"), count=9) == ["o1", "o3", "o2"]
    await store.commit(Plan(moves=(Move((src_of(M1, "a"),), "b", "a"),), puts=(patient("a"),)))
    assert await asked(store, of("a")) == ["o1"] and await asked(store, of("b")) == ["o3", "o2"]


async def test_a_sorted_page_asked_again_shows_a_date_that_changed(store: ResourceStore) -> None:
    days = {f"o{n}": f"2026-03-{n:02d}" for n in range(1, 6)}
    await store.commit(Plan(puts=tuple(observation(id_, "p1", at=at) for id_, at in days.items())))
    sort = (("date", True),)
    assert await asked(store, of("p1"), sort=sort) == ["o5", "o4"]
    await store.commit(Plan(puts=(observation("o1", "p1", at="2026-03-09"),)))
    assert await asked(store, of("p1"), sort=sort) == ["o1", "o5"]


async def test_a_page_is_nobody_elses(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1"), observation("o2", "p1", member=M2))))
    query = Query("Observation", (of("p1"),))
    assert len((await store.search(query, SYSTEM)).matches) == 2
    assert ids((await store.search(query, doctor(members=frozenset({M1})))).matches) == ["o1"]
    assert (await store.search(query, doctor(types=frozenset({"Encounter"})))).matches == ()


async def test_a_page_asked_again_links_to_the_same_rest(store: ResourceStore) -> None:
    await store.commit(Plan(puts=tuple(observation(f"o{n}", "p1") for n in range(5))))
    for _ in range(2):
        first = await store.search(Query("Observation", (of("p1"),), count=2), SYSTEM)
        rest = await store.search(Query("Observation", (of("p1"),), count=9, cursor=first.next), SYSTEM)
        assert ids((*first.matches, *rest.matches)) == ["o4", "o3", "o2", "o1", "o0"]
        await store.commit(Plan(puts=(observation("x", "p2"),)))


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_is_written_a_page_asked_again_is_a_page_asked_first(store: ResourceStore, seed: int) -> None:
    chance = random.Random(seed)
    codes, people = ("2823-3", "2951-2"), ("p1", "p2", "p3")
    questions = [(of(p),) for p in people] + [(of(p), where("code", "token", c)) for p in people for c in codes]
    questions += [(where("code", "token", c),) for c in codes]
    held: dict[str, tuple[str, str]] = {}
    for _ in range(40):
        id_ = f"o{chance.randrange(12)}"
        held.pop(id_, None)
        if chance.random() < 0.2:
            await store.commit(Plan(deletes=(Delete("Observation", id_),)))
        else:
            person, code = chance.choice(people), chance.choice(codes)
            held[id_] = (person, code)
            value = str(chance.randrange(1, 10**6))
            await store.commit(Plan(puts=(observation(id_, person, value, code=code),)))
        for filters in chance.sample(questions, 4):
            wanted = [one for one, said in reversed(held.items()) if _fits(said, filters)]
            assert await asked(store, *filters, count=3) == wanted[:3]


def _fits(said: tuple[str, str], filters: tuple[Filter, ...]) -> bool:
    return all(one.values[0].removeprefix("Patient/") in said for one in filters)
