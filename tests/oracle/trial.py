"""One world in a real store and in the oracle, and the comparison of their answers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from msgspec.structs import replace

from gateway.errors import GatewayError, TooCostly
from gateway.model.context import SYSTEM
from gateway.model.resource import dumps, loads
from gateway.outbound.fhir_query import parse
from gateway.store.base import Delete, Plan, Resource
from gateway.store.bodies import prepare
from gateway.store.index import params
from gateway.store.resources import ResourceStore
from tests.contract.conftest import Site
from tests.oracle.evaluator import Stored, World, sort_key
from tests.oracle.population import Maker
from tests.oracle.questions import Asker

Json = dict[str, Any]


@dataclass
class Trial:
    """A world, told to both sides."""

    store: ResourceStore
    world: World
    asker: Asker
    costly: int = 0
    """Questions the store found too costly: no answer to compare."""


async def build(site: Site, seed: int, people: int = 10) -> Trial:
    """Fill a store in many commits, change and delete some of it, and tell the oracle what is left."""
    rng = random.Random(seed)
    maker = Maker(rng, people)
    docs = maker.everything()
    current: dict[str, Stored] = {}
    for group in _groups(rng, docs + [maker.again(doc) for doc in rng.sample(docs, len(docs) // 5)]):
        site.pass_time(minutes=rng.randrange(200))
        await _commit(site.store, current, group)
    gone = rng.sample([name for name in current if name.startswith(("Observation", "Condition"))], people // 3)
    site.pass_time(minutes=5)
    await site.store.commit(Plan(deletes=tuple(Delete(*name.split("/")) for name in gone)))
    world = World([one for name, one in current.items() if name not in gone])
    return Trial(site.store, world, Asker(rng, world))


def _groups(rng: random.Random, docs: list[Json]) -> list[list[Json]]:
    out: list[list[Json]] = []
    while docs:
        size = rng.randrange(1, 9)
        group = {f"{doc['resourceType']}/{doc['id']}": doc for doc in docs[:size]}
        out.append(list(group.values()))
        docs = docs[size:]
    return out


async def _commit(store: ResourceStore, current: dict[str, Stored], group: list[Json]) -> None:
    puts = [prepare(doc["resourceType"], doc["id"], dumps(doc), patient=_home(doc)) for doc in group]
    done = await store.commit(Plan(puts=tuple(puts)))
    for doc, written in zip(group, done.written, strict=True):
        if written.changed:
            one = Stored(loads(dumps(doc)), done.tx, done.at)
            current[one.name] = one


def _home(doc: Json) -> str:
    if doc["resourceType"] == "Patient":
        return str(doc["id"])
    reference = str(doc.get("subject", {}).get("reference", ""))
    return reference.removeprefix("Patient/") if reference.startswith("Patient/") else ""


async def ask(
    store: ResourceStore, type_: str, given: list[tuple[str, str]]
) -> tuple[list[Resource], set[str], int | None]:
    """Every page of a search: matches, names of what was included, the total of the first page."""
    query = parse(type_, given, params).query
    out: list[Resource] = []
    included: set[str] = set()
    total, cursor = None, ""
    while True:
        page = await store.search(replace(query, cursor=cursor), SYSTEM)
        assert len(page.matches) <= max(query.count, 1)
        total = page.total if total is None else total
        out += page.matches
        included |= {f"{one.type}/{one.id}" for one in page.included}
        if not page.next:
            return out, included, total
        cursor = page.next


async def disagreement(trial: Trial, type_: str, given: list[tuple[str, str]]) -> str:
    """What is different between the two answers, "" when nothing is."""
    url = f"{type_}?{urlencode(given, safe=':|,/$')}"
    expected = trial.world.search(type_, given)
    try:
        found, included, total = await ask(trial.store, type_, given)
    except TooCostly:
        rest = [one for one in given if one[0] != "_sort"]
        if rest != given:  # a small limit on what may be sorted stands for a large one: ask what is left
            return await disagreement(trial, type_, rest)
        trial.costly += 1
        return ""
    except GatewayError as fault:
        return f"{url}: refused, {fault!r}; expected {[one.id for one in expected][:9]}"
    names = [one.id for one in found]
    if len(set(names)) != len(names):
        return f"{url}: repeated {names}"
    more, less = set(names) - {one.id for one in expected}, {one.id for one in expected} - set(names)
    if more or less:
        return f"{url}: too many {sorted(more)[:9]}, lacking {sorted(less)[:9]}"
    if total is not None and total != len(expected):
        return f"{url}: total {total}, wanted {len(expected)}"
    along = trial.world.included(expected, given)
    if included != along:
        return f"{url}: included {sorted(included - along)[:9]} too many, {sorted(along - included)[:9]} lacking"
    return _order(url, trial.world, type_, names, expected, dict(given).get("_sort", ""))


def _order(url: str, world: World, type_: str, names: list[str], expected: list[Stored], sort: str) -> str:
    """Rows equal in every key may come in any order; the others may not."""
    keys = [part for part in sort.split(",") if part]

    def rank(one: Stored) -> list[Any]:
        return [sort_key(one, key) for key in keys] if keys else [one.tx]

    got = [rank(world.by_name[f"{type_}/{name}"]) for name in names]
    wanted = [rank(one) for one in expected]
    return "" if got == wanted else f"{url}: order {names[:12]}, wanted {[one.id for one in expected][:12]}"
