"""Work in slices: others get their turn, nobody overtakes, and who waits for an answer goes first."""

from __future__ import annotations

import asyncio
import time

import pytest

import gateway.model.pace as pace_module
from gateway.model.pace import Askers, OneByOne

_PIECES, _PIECE_S = 40, 0.001


async def test_pieces_that_become_possible_at_once_let_others_in_between_and_keep_their_order() -> None:
    may, turn = asyncio.Event(), OneByOne()
    order: list[int] = []
    others = 0

    async def piece(number: int) -> None:
        await may.wait()
        await turn()
        until = time.perf_counter() + _PIECE_S
        while time.perf_counter() < until:
            pass
        order.append(number)

    pieces = [asyncio.create_task(piece(number)) for number in range(_PIECES)]
    await asyncio.sleep(0)
    may.set()
    while len(order) < _PIECES:
        await asyncio.sleep(0)
        others += 1
    await asyncio.gather(*pieces)

    assert order == list(range(_PIECES))
    assert others > _PIECES / 4


async def test_work_waits_until_whoever_asks_is_answered() -> None:
    askers, answered = Askers(), list[str]()

    async def answer() -> None:
        with askers:
            await asyncio.sleep(0.01)
            answered.append("answer")

    for _ in range(4):  # nobody asks: it only works
        await askers.first(worked_s=0.005)
    asked = asyncio.create_task(answer())
    await asyncio.sleep(0)
    await askers.first(worked_s=0.001)
    answered.append("slice")
    await asked

    assert answered == ["answer", "slice"]


async def test_an_answer_waits_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "_LOOK_S", 60)  # who looks whether others are answered does not end in time
    askers, order = Askers(), list[str]()

    async def answer(name: str, slices: int) -> None:
        with askers:
            for _ in range(slices):
                await askers.first(worked_s=0.005)
            order.append(name)

    async with asyncio.timeout(10):
        long = asyncio.create_task(answer("long", 3))
        await asyncio.sleep(0)
        await asyncio.gather(long, answer("other", 5))

    assert order == ["long", "other"]


async def test_askers_without_end_leave_work_half_of_the_time() -> None:
    askers, slices = Askers(), 0

    async def ask() -> None:
        while True:
            with askers:
                await asyncio.sleep(0.02)

    asking = [asyncio.create_task(ask()) for _ in range(3)]
    await asyncio.sleep(0)
    began = time.perf_counter()
    while time.perf_counter() - began < 0.5:
        await askers.first(worked_s=0.002)
        slices += 1
    for one in asking:
        one.cancel()

    assert 0.5 / 0.002 / 4 < slices < 0.5 / 0.002 * 1.2, slices


async def test_an_answer_that_takes_long_is_work_among_others() -> None:
    askers = Askers()
    with askers:
        await asyncio.sleep(0.12)
        began = time.perf_counter()
        await askers.first(worked_s=0.005)
    assert time.perf_counter() - began < 0.004
