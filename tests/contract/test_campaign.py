"""Merge, part and undo under load: references, history, pulls and audit stay right, and undo restores exactly.

The long run: ROUNDS, ACTS and SEED in the environment choose others.

    SEED=42 python -m pytest -m slow tests/contract/test_campaign.py
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from gateway.identity import reviews
from gateway.identity.match import Code
from gateway.model.resource import Json
from tests.contract.campaign import NAMES, Campaign, campaign
from tests.contract.campaign_checks import Picture, Place, hold

Act = Callable[[], Awaitable[object]]


async def run(one: Campaign, acts: int) -> None:
    """So many acts of everybody who changes something, others reading all the while; then all is worked off."""
    changing: list[asyncio.Task[None]] = []

    async def change(*choice: Act) -> None:
        for _ in range(acts):
            await one.luck.choice(choice)()

    async def look(act: Act) -> None:
        while not all(task.done() for task in changing):
            await act()
            await asyncio.sleep(0.05)

    def client(who: str) -> list[Act]:
        writes = (one.create, one.create, one.update, one.update, one.patch, one.delete, one.transaction, one.person)
        return [partial(act, who) for act in writes]

    async with asyncio.TaskGroup() as group:
        for choice in (client("city"), client("city"), client("tcm"), client("tcm"), [one.message], [one.message]):
            changing.append(group.create_task(change(*choice)))
        for _ in range(2):
            changing.append(group.create_task(change(one.decide)))
        for act in (one.pull, one.pull_updated, one.walk):
            group.create_task(look(act))
    await rest(one)


async def rest(one: Campaign) -> None:
    await one.gateway.worker.drained()
    await one.pull()
    await one.pull_updated()


async def begin(one: Campaign) -> None:
    """A first word about every number, so that there is somebody to write about."""
    await one.register()
    await rest(one)


async def _campaign(url: str, home: Path, *, rounds: int, acts: int, seed: int) -> None:
    async with campaign(url, home, seed) as one:
        await begin(one)
        for _ in range(rounds):
            await run(one, acts)
            await hold(one)
        await undone(one)


async def undone(one: Campaign) -> None:
    """All acts can be taken back in the end; after that, each decision and its undoing leave everything as it was."""
    while await one.take_back():
        pass
    assert not await one.acts()
    await rest(one)
    await hold(one)
    tried = 0
    for task in (await one.tasks("requested", tuple(Code)))[:4]:
        for candidate in reviews.candidates_of(task)[:1]:
            tried += await _there_and_back(
                one, partial(one.post, f"/console/people/{task['id']}", verdict=f"same:{candidate}")
            )
        tried += await _there_and_back(one, partial(one.post, f"/console/people/{task['id']}", verdict="different"))
    await begin(one)
    for resident in range(len(NAMES)):
        tried += await _there_and_back(one, partial(one.merge_numbers, resident, 0, 1))
        review = await one.lend(resident)
        parted = await _there_and_back(one, partial(one.post, f"/console/people/{review}", verdict="different"))
        assert parted, "two numbers had come along by the card"
        tried += parted
    assert tried > len(NAMES)
    await rest(one)
    await hold(one)


async def _there_and_back(one: Campaign, act: Act) -> bool:
    """Whether the act moved anybody; when it was taken back, everything is as it was."""
    store = one.gateway.store
    before, acts = (await Picture.of(store)).bodies(), await one.acts()
    await act()
    made = [task for task in await one.acts() if task not in acts]
    for task in made:
        assert (await Picture.of(store)).bodies() != before
        assert await one.post(f"/console/people/{task}/undo")
        _equal((await Picture.of(store)).bodies(), before)
    return bool(made)


def _equal(after: dict[Place, Json], before: dict[Place, Json]) -> None:
    """Whom a parting had made leads back to where the record came from; all else is as it was."""
    made = {f"{type_}/{id_}": after[type_, id_] for type_, id_ in after.keys() - before.keys()}
    for address, body in made.items():
        led = [link["other"]["reference"] for link in body.get("link", ()) if link["type"] == "replaced-by"]
        assert led and ("Patient", led[0].partition("/")[2]) in before, address
    after = {place: _without_links(body, set(made)) for place, body in after.items() if place in before}
    assert after.keys() == before.keys()
    for place, body in before.items():
        differing = {key: (body.get(key), after[place].get(key)) for key in body | after[place]}
        differing = {key: pair for key, pair in differing.items() if pair[0] != pair[1]}
        assert not differing, (place, differing)


def _without_links(body: Json, addresses: set[str]) -> Json:
    links = [one for one in body.get("link", ()) if one["other"].get("reference") not in addresses]
    return {key: value for key, value in body.items() if key != "link"} | ({"link": links} if links else {})


async def test_merges_partings_and_their_undoing_under_load(url: str, tmp_path: Path) -> None:
    await _campaign(url, tmp_path, rounds=1, acts=10, seed=11)


@pytest.mark.slow
async def test_merges_partings_and_their_undoing_under_load_for_minutes(url: str, tmp_path: Path) -> None:
    rounds, acts, seed = [int(os.environ.get(*one)) for one in (("ROUNDS", "6"), ("ACTS", "60"), ("SEED", "23"))]
    await _campaign(url, tmp_path, rounds=rounds, acts=acts, seed=seed)
