"""While messages are processed nobody waits for more than a slice of one of them, on every engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.inbound import preparer
from gateway.model import pace
from gateway.model.message import RawMessage
from gateway.model.times import system_clock
from gateway.store.base import Put
from gateway.store.bodies import RawPut
from tests.contract.test_parked_app import opened
from tests.flow.messages import oru


async def test_others_get_their_turn_between_the_resources_of_a_message(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four reports of 20 results at once, prepared here: each result may end a slice, here every one does."""
    gateway = await opened(url, tmp_path)
    gateway.shared.preparer._apart.clear()
    turns, made, over, plain = 0, list[int](), asyncio.Event(), preparer.made_put

    def noted(raw: RawPut) -> Put:
        made.append(turns)
        return plain(raw)

    async def somebody_else() -> None:
        nonlocal turns
        while not over.is_set():
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(pace, "SLICE_S", 0.0)
    monkeypatch.setattr(preparer, "made_put", noted)
    raws = [RawMessage(f"m{n}", "city_first_hospital", "v2", oru(n, n), system_clock()) for n in range(1, 5)]
    works, refused = gateway.pipeline.prepare(raws)
    assert not refused
    other = asyncio.create_task(somebody_else())
    try:
        await asyncio.gather(*map(gateway.pipeline.finish, works))
    finally:
        over.set()
        await other
        await gateway.close()
    assert len(made) > 80 and len(set(made)) == len(made), "no two in one turn of the loop"
