"""A walk passes over stretches where nothing can match, and over nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import gateway.store.zones as zones_module
from gateway.model.context import SYSTEM
from gateway.model.query import Filter, Query
from gateway.store.base import Delete, Plan
from gateway.store.resources import ResourceStore
from gateway.store.search import NOW, sight_of
from gateway.store.zones import Windows, summed
from tests.contract.clinic import ids, observation, where
from tests.contract.conftest import Site

ROWS = 6


@pytest.fixture(autouse=True)
def small_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones_module, "ROWS", ROWS)


async def fill(store: ResourceStore, first: int, last: int, **more: Any) -> None:
    """o<n>, each a commit and a person of its own, n mmol/L on day n of March."""
    for n in range(first, last):
        at = f"2026-03-{n + 1:02d}T08:00:00+08:00"
        await store.commit(Plan(puts=(observation(f"o{n}", f"p{n}", str(n), at=at, **more),)))


async def every(store: ResourceStore, *filters: Filter, **more: Any) -> list[str]:
    """Ids of all pages of two."""
    out: list[str] = []
    cursor = ""
    while True:
        page = await store.search(Query("Observation", filters, count=2, cursor=cursor, **more), SYSTEM)
        out += ids(page.matches)
        if not page.next:
            return out
        cursor = page.next


async def surveyed(store: ResourceStore) -> int:
    """Zones made."""
    total = 0
    while made := await store.survey():
        total += made
    return total


NOT_FINAL = where("status", "token", "final", modifier="not")
NO_DEVICE = where("device", "reference", "true", modifier="missing")
BIG = where("value-quantity", "quantity", "gt9")
EARLY = where("date", "date", "lt2026-03-03")


async def test_what_stands_anywhere_is_found_newest_first_and_oldest_first(store: ResourceStore) -> None:
    await fill(store, 0, 7)
    await fill(store, 7, 8, status="amended")
    await fill(store, 8, 20)
    await fill(store, 20, 22, status="preliminary")
    assert await surveyed(store) == 3
    assert await every(store, NOT_FINAL) == ["o21", "o20", "o7"]
    assert await every(store, NOT_FINAL, sort=(("_lastUpdated", False),)) == ["o7", "o20", "o21"]
    page = await store.search(Query("Observation", (NOT_FINAL,), total="accurate"), SYSTEM)
    assert page.total == 3


async def test_what_some_lack_and_what_is_large_and_what_is_early(store: ResourceStore) -> None:
    device = {"reference": "Device/d"}
    await fill(store, 0, 13, device=device)
    await fill(store, 13, 14)
    await fill(store, 14, 20, device=device)
    assert await surveyed(store) == 3
    assert await every(store, NO_DEVICE) == ["o13"]
    assert await every(store, BIG) == [f"o{n}" for n in range(19, 9, -1)]
    assert await every(store, where("value-quantity", "quantity", "lt3"), NO_DEVICE) == []
    assert await every(store, EARLY) == ["o1", "o0"]


async def test_a_change_is_found_where_it_stands_now_and_old_links_where_it_stood(store: ResourceStore) -> None:
    await fill(store, 0, 4, status="amended")
    await fill(store, 4, 14)
    first = await store.search(Query("Observation", (NOT_FINAL,), count=2), SYSTEM)
    await store.commit(Plan(puts=(observation("o0", "p0"),), deletes=(Delete("Observation", "o1"),)))
    assert await surveyed(store) == 2
    assert await every(store, NOT_FINAL) == ["o3", "o2"]
    rest = await store.search(Query("Observation", (NOT_FINAL,), count=2, cursor=first.next), SYSTEM)
    assert ids(first.matches) == ["o3", "o2"] and ids(rest.matches) == ["o1", "o0"]


async def test_zones_outlive_a_restart_and_end_with_a_reindex(site: Site) -> None:
    await fill(site.store, 0, 14)
    assert await surveyed(site.store) == 2
    store = await site.again()
    assert await surveyed(store) == 0 and await every(store, NOT_FINAL) == []
    await store.reindex()
    assert await surveyed(store) == 2


async def test_stretches_that_cannot_match_are_left_out(store: ResourceStore) -> None:
    await fill(store, 0, 6)
    await fill(store, 6, 12, status="amended")
    await fill(store, 12, 20)
    await surveyed(store)
    engine = store._engine
    groups = await engine.zones.of("Observation")
    zones = [zone for group in groups for zone in group.parts]
    assert [zone.last - zone.first for zone in zones[1:]] == [5, 5] and len(zones) == 3
    what = (await store._searcher._job(Query("Observation", (NOT_FINAL,)), SIGHT, None)).what  # type: ignore[union-attr]
    found = list(Windows(what).newest_first(groups, (0, 99)))
    assert found == [(zones[2].last + 1, 99), (zones[1].first, zones[1].last)]
    assert summed(0, await engine.zones.stretch("Observation", -1, ROWS)) == zones[0]


async def test_small_zones_become_one_large_one(store: ResourceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones_module, "MANY", 3 * ROWS)
    await fill(store, 0, 1, status="amended")
    await fill(store, 1, 8)
    assert await surveyed(store) == 1
    await fill(store, 8, 14, code="other")
    assert await surveyed(store) == 1
    engine = store._engine
    assert len((await engine.zones.of("Observation"))[0].parts) == 2
    await fill(store, 14, 20)
    assert await surveyed(store) == 1
    ((whole, parts),) = await engine.zones.of("Observation")
    assert len(parts) == 1 and whole == parts[0]
    assert whole == msgspec.structs.replace(
        summed(0, await engine.zones.stretch("Observation", -1, 18)), shared=whole.shared, dates=whole.dates,
        numbers=whole.numbers,
    )  # fmt: skip
    assert await every(store, NOT_FINAL) == ["o0"] and await every(store, BIG, NO_DEVICE)
    await fill(store, 20, 30)
    assert await surveyed(store) == 2
    assert await every(store, NOT_FINAL) == ["o0"]


SIGHT = sight_of(SYSTEM, NOW)
