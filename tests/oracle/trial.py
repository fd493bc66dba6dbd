"""One world in a real store and in the oracle, and the comparison of their answers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from msgspec.structs import replace

from gateway.errors import GatewayError, TooCostly
from gateway.model.context import SYSTEM
from gateway.model.query import Query
from gateway.model.resource import dumps, loads
from gateway.outbound.fhir_query import parse
from gateway.store.base import Delete, Page, Plan
from gateway.store.bodies import prepare
from gateway.store.index import params
from gateway.store.reads import ResourceReads
from gateway.store.resources import ResourceStore
from gateway.store.sqlite_following import Following, open_following
from gateway.validate.definitions import compartment, resource_types
from tests.contract.conftest import Site
from tests.oracle.evaluator import Stored, World, sort_key
from tests.oracle.population import Maker
from tests.oracle.questions import Asker

Json = dict[str, Any]
Given = list[tuple[str, str]]


@dataclass
class Trial:
    """A world, told to both sides. guessing: an estimated total is a guess. costly: questions without an answer.

    beside: on SQLite, who reads beside the process that writes; every other page is theirs.
    """

    site: Site
    rng: random.Random
    maker: Maker
    current: dict[str, Stored]
    asker: Asker
    guessing: bool = False
    costly: int = 0
    beside: tuple[Following, ResourceReads] | None = None
    pages: int = 0

    @property
    def store(self) -> ResourceStore:
        return self.site.store

    @property
    def world(self) -> World:
        return self.asker.world

    async def search(self, query: Query) -> Page:
        self.pages += 1
        if self.beside is None or self.pages % 2:
            return await self.store.search(query, SYSTEM)
        engine, reads = self.beside
        tx, at = self.store.horizon()
        engine.told(tx, int(at.timestamp() * 1000))
        return await reads.search(query, SYSTEM)

    async def commit(self, group: list[Json]) -> None:
        """All of it at once."""
        puts = [prepare(doc["resourceType"], doc["id"], dumps(doc), patient=_home(doc)) for doc in group]
        done = await self.store.commit(Plan(puts=tuple(puts)))
        for doc, written in zip(group, done.written, strict=True):
            if written.changed:
                one = Stored(loads(dumps(doc)), done.tx, done.at)
                self.current[one.name] = one

    async def delete(self, gone: list[str]) -> None:
        await self.store.commit(Plan(deletes=tuple(Delete(*name.split("/")) for name in gone)))
        for name in gone:
            del self.current[name]

    async def stir(self) -> None:
        """What others write meanwhile: new versions, something deleted, something new. The world becomes another."""
        self.site.pass_time(seconds=self.rng.randrange(9))
        some = [one.doc for one in self.rng.sample(list(self.current.values()), 6)]
        await self.commit(
            [self.maker.again(doc) for doc in some] + [self.maker.observation(f"late{self.rng.random()}")]
        )
        await self.delete([self.rng.choice([name for name in self.current if name.startswith("Observation")])])
        self.asker.look(World(list(self.current.values())))


async def build(site: Site, seed: int, people: int = 10, *, guessing: bool = False) -> Trial:
    """Fill a store in many commits, change and delete some of it, and tell the oracle what is left."""
    rng = random.Random(seed)
    maker = Maker(rng, people)
    docs = maker.everything()
    made = Trial(site, rng, maker, {}, Asker(rng, World([])), guessing)
    for group in _groups(rng, docs + [maker.again(doc) for doc in rng.sample(docs, len(docs) // 5)]):
        site.pass_time(minutes=rng.randrange(200))
        await made.commit(group)
    site.pass_time(minutes=5)
    await made.delete(
        rng.sample([name for name in made.current if name.startswith(("Observation", "Condition"))], people // 3)
    )
    made.asker.look(World(list(made.current.values())))
    if site.url.startswith("sqlite"):
        made.beside = open_following(Path(site.url.removeprefix("sqlite:///")), site.clock, 3600)
    return made


def _groups(rng: random.Random, docs: list[Json]) -> list[list[Json]]:
    out: list[list[Json]] = []
    while docs:
        size = rng.randrange(1, 9)
        group = {f"{doc['resourceType']}/{doc['id']}": doc for doc in docs[:size]}
        out.append(list(group.values()))
        docs = docs[size:]
    return out


def _home(doc: Json) -> str:
    if doc["resourceType"] == "Patient":
        return str(doc["id"])
    reference = str(doc.get("subject", {}).get("reference", ""))
    return reference.removeprefix("Patient/") if reference.startswith("Patient/") else ""


# ---- one question -----------------------------------------------------------------------------
def understood(place: str, given: Given) -> Query:
    """What is asked at `Type`, `Patient/x/Type`, `Patient/x/*` or "", the whole system."""
    owner, _, rest = place.partition("/")
    type_ = rest.partition("/")[2] if rest else place
    within = place.rpartition("/")[0]
    if type_ in ("", "*"):
        served = frozenset({owner, *compartment(owner)}) if within else resource_types()
        return replace(parse("", given, params, types=served).query, within=within)
    return replace(parse(type_, given, params).query, within=within)


async def _pages(trial: Trial, query: Query, stirred: bool) -> list[Page]:
    pages = [await trial.search(query)]
    while pages[-1].next:
        if stirred and len(pages) < 3:
            await trial.stir()
        pages.append(await trial.search(replace(query, cursor=pages[-1].next)))
        assert pages[-1].total is None
    return pages


def _names(page: Page) -> list[str]:
    return [f"{one.type}/{one.id}" for one in page.matches]


async def disagreement(trial: Trial, place: str, given: Given) -> str:
    """What is different between the two answers, "" when nothing is."""
    url = f"{place}?{urlencode(given, safe=':|,/$')}"
    world = trial.world
    expected = world.search(place, given)
    try:
        query = understood(place, given)
        pages = await _pages(trial, query, trial.rng.random() < 0.05)
    except TooCostly:
        rest = [one for one in given if one[0] != "_sort"]
        if rest != given:  # a small limit on what may be sorted stands for a large one: ask what is left
            return await disagreement(trial, place, rest)
        trial.costly += 1
        return ""
    except GatewayError as fault:
        return f"{url}: refused, {fault!r}; expected {[one.name for one in expected][:9]}"
    names = [name for page in pages for name in _names(page)]
    faults = [
        _matches(names, expected if query.count else []),
        _total(trial, query, pages[0].total, expected),
        *(_included(world, page, given) for page in pages),
        _sizes(pages, query),
        _order(world, names, expected, dict(given).get("_sort", "")) if query.count else "",
    ]
    fault = next((one for one in faults if one), "")
    return f"{url}: {fault}" if fault else ""


def _matches(names: list[str], expected: list[Stored]) -> str:
    if len(set(names)) != len(names):
        return f"repeated {names}"
    more, less = set(names) - {one.name for one in expected}, {one.name for one in expected} - set(names)
    return f"too many {sorted(more)[:9]}, lacking {sorted(less)[:9]}" if more or less else ""


def _total(trial: Trial, query: Query, total: int | None, expected: list[Stored]) -> str:
    if query.total == "none":
        return f"total {total}, not asked for" if total is not None else ""
    if query.total == "estimate" and trial.guessing:
        return "" if total is not None and 0 <= total <= 2 * len(trial.current) else f"estimated at {total}"
    return f"total {total}, wanted {len(expected)}" if total != len(expected) else ""


def _included(world: World, page: Page, given: Given) -> str:
    included = {f"{one.type}/{one.id}" for one in page.included}
    along = world.included([world.by_name[name] for name in _names(page)], given)
    more, less = sorted(included - along), sorted(along - included)
    if page.cut:
        return "cut short"
    return f"included {more[:9]} too many, {less[:9]} lacking" if more or less else ""


def _sizes(pages: list[Page], query: Query) -> str:
    """Every page is full but the last, and none is empty behind the first."""
    sizes = [len(page.matches) for page in pages]
    fine = (
        all(size == query.count for size in sizes[:-1]) and sizes[-1] <= query.count and (len(sizes) == 1 or sizes[-1])
    )
    return "" if fine else f"pages of {sizes[:9]}"


def _order(world: World, names: list[str], expected: list[Stored], sort: str) -> str:
    """Rows equal in every key may come in any order; the others may not."""
    keys = [part for part in sort.split(",") if part]

    def rank(one: Stored) -> list[Any]:
        return [sort_key(one, key) for key in keys] if keys else [one.tx]

    got = [rank(world.by_name[name]) for name in names]
    wanted = [rank(one) for one in expected]
    if got == wanted:
        return ""
    at = next(
        (n for n, pair in enumerate(zip(got, wanted, strict=False)) if pair[0] != pair[1]), min(len(got), len(wanted))
    )
    return f"order from place {at} {names[at : at + 9]}, wanted {[one.name for one in expected][at : at + 9]}"
