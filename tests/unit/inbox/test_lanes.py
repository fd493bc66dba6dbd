"""Lanes: the earliest first, one at a time, nobody forgotten."""

from __future__ import annotations

import asyncio
from random import Random

from gateway.inbox.lanes import Lanes, Place


async def _through(lanes: Lanes, place: Place, order: list[int], work_s: float = 0.0) -> None:
    while True:
        await lanes.first(place)
        await asyncio.sleep(0)  # as the question to other processes
        if lanes.begin(place):
            break
    order.append(place.seq)
    await asyncio.sleep(work_s)
    lanes.leave(place)


async def test_who_comes_later_with_an_earlier_number_goes_before_all_who_have_not_begun() -> None:
    lanes, order = Lanes(), list[int]()
    tasks = [asyncio.create_task(_through(lanes, lanes.enter(seq, ["a"]), order, 0.01)) for seq in (5, 7, 9)]
    while not order:
        await asyncio.sleep(0)
    tasks.append(asyncio.create_task(_through(lanes, lanes.enter(2, ["a", "b"]), order)))
    await asyncio.gather(*tasks)
    assert order == [5, 2, 7, 9]


async def test_nothing_later_begins_before_a_barrier_is_lifted() -> None:
    lanes, order = Lanes(), list[int]()
    lanes.bar(4)
    tasks = [asyncio.create_task(_through(lanes, lanes.enter(seq, name), order)) for seq, name in ((9, ""), (5, "b"))]
    tasks.append(asyncio.create_task(_through(lanes, lanes.enter(3, "b"), order)))
    await asyncio.sleep(0.01)
    assert order == [3]
    tasks.append(asyncio.create_task(_through(lanes, lanes.enter(4, "b"), order)))
    await asyncio.sleep(0.01)
    assert order == [3, 4]
    lanes.lift(4)
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert sorted(order) == [3, 4, 5, 9]


async def test_two_of_a_lane_are_never_at_work_together_and_all_come_through() -> None:
    chance, lanes, at_work = Random(1), Lanes(), set[str]()

    async def one(seq: int, names: list[str]) -> None:
        await asyncio.sleep(chance.random() / 100)
        place = lanes.enter(seq, names)
        while True:
            await lanes.first(place)
            await asyncio.sleep(chance.random() / 1000)
            if lanes.begin(place):
                break
        assert at_work.isdisjoint(names)
        at_work.update(names)
        await asyncio.sleep(chance.random() / 1000)
        at_work.difference_update(names)
        lanes.leave(place)

    every = (one(seq, chance.sample("abcdefgh", chance.randrange(4))) for seq in chance.sample(range(300), 300))
    await asyncio.wait_for(asyncio.gather(*every), 20)
    assert not lanes._waiting and not lanes._at_work
