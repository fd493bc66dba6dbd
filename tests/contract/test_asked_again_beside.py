"""What one gateway process remembers is never older than what another has been told is committed."""

from __future__ import annotations

import asyncio
import random

import psycopg
import pytest

from gateway.model.context import SYSTEM
from gateway.model.query import Filter, Query
from gateway.store import postgres_known
from gateway.store.base import Delete, Move, Plan, src_of
from gateway.store.engine_postgres import PostgresEngine
from gateway.store.resources import ResourceStore
from tests.contract.clinic import M1, ids, observation, of, patient, where

CODE = where("code", "token", "2823-3")
Two = tuple[ResourceStore, ResourceStore]


async def asked(store: ResourceStore, *filters: Filter, count: int = 3) -> list[str]:
    page = await store.search(Query("Observation", filters, count=count), SYSTEM)
    assert page.as_of >= store.horizon()[0]
    return ids(page.matches)


async def test_a_page_asked_again_is_not_looked_up_again(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = two
    await here.commit(Plan(puts=(observation("o1", "p1"),)))
    assert await asked(there, of("p1")) == ["o1"]
    await here.commit(Plan(puts=(observation("o2", "p2"),)))
    with monkeypatch.context() as patched:
        patched.delattr(PostgresEngine, "home")
        assert await asked(there, of("p1")) == ["o1"]
    await here.commit(Plan(puts=(observation("o3", "p1"),)))
    assert await asked(there, of("p1")) == ["o3", "o1"]


async def test_pages_show_who_was_merged_and_moved_in_by_another_process(two: Two) -> None:
    here, there = two
    await here.commit(Plan(puts=(patient("a"), patient("b"), observation("o1", "a"), observation("o2", "b"))))
    assert await asked(there, of("a")) == ["o1"] and await asked(there, of("b")) == ["o2"]
    replaced = {"active": False, "link": [{"other": {"reference": "Patient/b"}, "type": "replaced-by"}]}
    await here.commit(Plan(moves=(Move((src_of(M1, "a"),), "a", "b"),), puts=(patient("a", **replaced),)))
    assert await asked(there, of("a")) == await asked(there, of("b")) == ["o1", "o2"]
    await here.commit(Plan(moves=(Move((src_of(M1, "a"),), "b", "a"),), puts=(patient("a"),)))
    assert await asked(there, of("a")) == ["o1"] and await asked(there, of("b")) == ["o2"]
    performer = where("performer", "reference", "Patient/a")
    assert await asked(there, performer) == []
    await here.commit(Plan(puts=(observation("o3", "b", performer=[{"reference": "Patient/a"}]),)))
    assert await asked(there, performer) == ["o3"]


async def test_after_more_writes_than_are_looked_at_all_is_forgotten(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_known, "_MOST", 3)
    here, there = two
    await here.commit(Plan(puts=(observation("o1", "p1"),)))
    assert await asked(there, of("p1")) == ["o1"]
    await here.commit(Plan(puts=(*(observation(f"x{n}", "p2") for n in range(9)), observation("o2", "p1"))))
    assert await asked(there, of("p1")) == ["o2", "o1"]


async def test_a_page_shows_what_another_process_indexed_anew(two: Two) -> None:
    here, there = two
    await here.commit(Plan(puts=(observation("o1", "p1"),)))
    engine = here._engine
    assert isinstance(engine, PostgresEngine)
    with psycopg.connect(engine.database.reading.conninfo) as connection:  # as an older release indexed it
        connection.execute("UPDATE version SET tk = '{}' WHERE id = 'o1'")
    assert await asked(there, CODE) == await asked(there, CODE) == []
    await here.reindex()
    assert await asked(there, CODE) == ["o1"]


@pytest.mark.parametrize("seed", range(2))
async def test_whoever_writes_a_page_asked_again_is_a_page_asked_first(two: Two, seed: int) -> None:
    chance = random.Random(seed)
    codes, people = ("2823-3", "2951-2"), ("p1", "p2", "p3")
    questions = [(of(p),) for p in people] + [(of(p), where("code", "token", c)) for p in people for c in codes]
    held: dict[str, tuple[str, str]] = {}
    for _ in range(60):
        id_ = f"o{chance.randrange(12)}"
        held.pop(id_, None)
        if chance.random() < 0.2:
            await chance.choice(two).commit(Plan(deletes=(Delete("Observation", id_),)))
        else:
            person, code = held[id_] = chance.choice(people), chance.choice(codes)
            value = str(chance.randrange(1, 10**6))
            await chance.choice(two).commit(Plan(puts=(observation(id_, person, value, code=code),)))
        for filters in chance.sample(questions, 3):
            said = [one.values[0].removeprefix("Patient/") for one in filters]
            wanted = [one for one, has in reversed(held.items()) if all(value in has for value in said)]
            assert await asked(chance.choice(two), *filters) == wanted[:3]


async def test_no_page_is_older_than_a_commit_told_before_it_was_asked_for(two: Two) -> None:
    """Four readers of each process ask again and again, while both write the same resource."""
    known, over = 0, False

    async def write(store: ResourceStore, numbers: range) -> None:
        nonlocal known
        for n in numbers:
            done = await store.commit(Plan(puts=(observation("o1", "p1", str(n + 1)),)))
            known = max(known, done.tx)

    async def read(store: ResourceStore) -> int:
        count = 0
        while not over:
            before = known
            page = await store.search(Query("Observation", (of("p1"),), count=3), SYSTEM)
            assert page.as_of >= before
            version = (await store.read("Observation", "o1", SYSTEM)) if page.matches else None
            assert version is None or version.version >= page.matches[0].version >= before - first
            count += 1
        return count

    first = (await two[0].commit(Plan(puts=(observation("other", "p2"),)))).tx
    readers = [asyncio.create_task(read(store)) for store in two for _ in range(4)]
    await asyncio.gather(write(two[0], range(0, 60, 2)), write(two[1], range(1, 60, 2)))
    over = True
    assert min(await asyncio.gather(*readers)) > 3
