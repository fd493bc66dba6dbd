"""Work in slices: others get their turn, and nobody overtakes."""

from __future__ import annotations

import asyncio
import time

from gateway.model.pace import OneByOne

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
