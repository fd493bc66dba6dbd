"""A first page looks at what it gives: the newest of what postings find, nothing where nothing can match."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import gateway.store.links as links_module
from gateway.model.context import SYSTEM
from gateway.model.query import Filter, Query
from gateway.outbound.fhir_query import pairs, parse
from gateway.store.base import Plan
from gateway.store.index import params
from gateway.store.resources import ResourceStore
from tests.contract.clinic import doctor, ids, observation, patient, where

PART = where("name", "string", "秀", modifier="contains")


@pytest.fixture
def asked(store: ResourceStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Reads of rows of a population, as they happen."""
    seen: list[str] = []

    def told(name: str) -> Callable[..., Awaitable[Any]]:
        real = getattr(store._engine, name)

        async def read(*values: Any, **named: Any) -> Any:
            seen.append(name)
            return await real(*values, **named)

        return read

    for name in ("hits", "latest", "newest", "rows", "current"):
        monkeypatch.setattr(store._engine, name, told(name))
    return seen


async def pages(store: ResourceStore, count: int, *filters: Filter) -> list[str]:
    out: list[str] = []
    cursor = ""
    while True:
        page = await store.search(Query("Patient", filters, count=count, cursor=cursor), doctor())
        out += ids(page.matches)
        if not page.next:
            return out
        cursor = page.next


async def residents(store: ResourceStore, count: int) -> list[str]:
    """So many with 秀 in their names, every third of them written again later; ids, the last written first."""
    order = list(range(count))
    for n in order:
        await store.commit(Plan(puts=(patient(f"p{n}", f"王秀{n}"), patient(f"q{n}", "李四"))))
    again = [n for n in order if n % 3 == 0]
    for n in reversed(again):
        await store.commit(Plan(puts=(patient(f"p{n}", f"王秀英{n}"),)))
    return [f"p{n}" for n in (*again, *[n for n in reversed(order) if n % 3])]


async def test_part_of_a_name_gives_the_last_written_first_page_by_page(store: ResourceStore) -> None:
    expected = await residents(store, 23)
    for count in (1, 4, 50):
        assert await pages(store, count, PART) == expected
    some = where("name", "string", "英", modifier="contains")
    assert await pages(store, 3, PART, some) == expected[:8]


async def test_a_page_of_many_hits_reads_their_places_and_the_rows_it_gives(
    store: ResourceStore, asked: list[str]
) -> None:
    expected = await residents(store, 60)
    asked.clear()
    page = await store.search(Query("Patient", (PART,), count=5), SYSTEM)
    assert ids(page.matches) == expected[:5] and asked == ["latest"]


async def test_what_few_carry_is_looked_up_without_a_thread(
    store: ResourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await residents(store, 12)
    monkeypatch.setattr(store._engine, "_apart", None, raising=False)  # PostgreSQL works elsewhere anyhow
    assert await pages(store, 5, PART) == expected


async def test_of_more_matches_than_can_lead_back_it_is_known_for_a_while(
    store: ResourceStore, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_module, "SOME", 2)
    await residents(store, 4)
    for n in range(4):
        await store.commit(Plan(puts=(observation(f"o{n}", f"p{n}"),)))
    query = parse("Patient", pairs("_has:Observation:patient:status=final"), params).query
    given = []
    for _ in range(2):
        asked.clear()
        given.append((sorted(ids((await store.search(query, SYSTEM)).matches)), asked.count("hits")))
    assert given == [(["p0", "p1", "p2", "p3"], 1), (["p0", "p1", "p2", "p3"], 0)]


@pytest.fixture
def walking(store: ResourceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows are more than are worth gathering."""

    async def worth(*_: object) -> int:
        return 2

    monkeypatch.setattr(store._searcher, "_worth", worth)


@pytest.mark.usefixtures("walking")
async def test_more_hits_than_are_worth_sorting_give_the_same(store: ResourceStore) -> None:
    expected = await residents(store, 12)
    assert await pages(store, 4, PART) == expected


@pytest.mark.usefixtures("walking")
async def test_what_is_young_is_looked_at_once_where_nothing_in_it_can_match(
    store: ResourceStore, asked: list[str]
) -> None:
    above = where("value-quantity", "quantity", "gt100")

    async def found() -> list[str]:
        return ids((await store.search(Query("Observation", (above,), count=5), SYSTEM)).matches)

    for n in range(9):
        await store.commit(Plan(puts=(observation(f"o{n}", f"p{n}", str(n)),)))
    assert await found() == [] and asked == []
    await store.commit(Plan(puts=(observation("o9", "p9", "101"),)))
    assert await found() == ["o9"]
    await store.commit(Plan(puts=(observation("o9", "p9", "9"), observation("o10", "p10", "7"))))
    assert await found() == []
    await store.commit(Plan(puts=(observation("o3", "p3", "300"),)))
    assert await found() == ["o3"]


@pytest.mark.usefixtures("walking")
async def test_young_versions_indexed_anew_are_looked_at_again(store: ResourceStore) -> None:
    late = where("date", "date", "ge2030")
    for n in range(5):
        await store.commit(Plan(puts=(observation(f"o{n}", f"p{n}"),)))
    assert not (await store.search(Query("Observation", (late,)), SYSTEM)).matches
    await store.reindex()
    await store.commit(Plan(puts=(observation("o5", "p5", at="2031-01-01"),)))
    assert ids((await store.search(Query("Observation", (late,)), SYSTEM)).matches) == ["o5"]
