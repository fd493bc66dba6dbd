"""Thirty shapes of search over growing populations: the median of each, and how it grows from the first to the last.

    python -m tests.bench.bench_search [--residents 1000,4000,16000] [--seconds 600] [--times 9] [--postgres]

Populations are made once and kept (`populations.py`); what cannot be made in `--seconds` goes on in the next run.
The populations take turns, shape by shape, so that a noisy moment meets them all. CPU milliseconds of this process,
beside them the ceiling: the same page's rows read by their keys. A ratio near 1 means that the answer costs what a page
costs, whatever the population. Every repetition asks for another resident or another page size, so that none is a page
asked again. Over PostgreSQL the database works elsewhere, so elapsed time is taken.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Callable
from statistics import median

from gateway.app import settle_interpreter
from gateway.errors import GatewayError
from gateway.model.context import SYSTEM
from gateway.model.times import system_clock
from gateway.outbound.fhir_query import pairs, parse
from gateway.store.base import Page
from gateway.store.index import params
from gateway.store.resources import ResourceStore, open_store
from tests.bench.machine import machine
from tests.bench.populations import SEED, Resident, kept, made, resident

# {p}: a Patient, {card}: their card, {encounter}: of theirs.
SHAPES = (
    ("Observation", "patient=Patient/{p}&code=http://loinc.org|2823-3&_count={n}"),
    ("Observation", "patient=Patient/{p}&_count=1{n}"),
    ("Observation", "patient=Patient/{p}&_sort=-date&_count={n}"),
    ("Observation", "patient=Patient/{p}&category=laboratory&date=ge2023&_count={n}"),
    ("Observation", "patient=Patient/{p}&_include=Observation:encounter&_count={n}"),
    ("Observation", "patient=Patient/{p}&value-quantity=gt5&_count={n}"),
    ("Observation", "encounter=Encounter/{encounter}"),
    ("Encounter", "patient=Patient/{p}&_revinclude=DiagnosticReport:encounter"),
    ("Patient", "identifier={card}"),
    ("Patient", "name={name}&_count={n}"),
    ("Patient", "name=wang&_count={n}"),
    ("Patient", "name:contains={last}&_count={n}"),
    ("Patient", "gender=female&birthdate=ge1980&_count={n}"),
    ("Patient", "_sort=birthdate&_count={n}"),
    ("Patient", "_has:Observation:patient:code=2823-3&_count={n}"),
    ("Observation", "code=http://loinc.org|2823-3&_count={n}"),
    ("Observation", "code:not=http://loinc.org|2823-3&_count={n}"),
    ("Observation", "status:not=final&_count={n}"),
    ("Observation", "encounter:missing=true&_count={n}"),
    ("Observation", "performer:missing=false&_count={n}"),
    ("Observation", "value-quantity=gt100&_count={n}"),
    ("Observation", "value-quantity=gt100000&_count={n}"),
    ("Observation", "code=2823-3&value-quantity=gt5&_count={n}"),
    ("Observation", "code-value-quantity=2823-3$gt5&_count={n}"),
    ("Observation", "patient.gender=female&_count={n}"),
    ("Observation", "patient.name={name}&_count={n}"),
    ("Observation", "date=2024-03&_count={n}"),
    ("Observation", "_sort=-date&_count={n}"),
    ("Condition", "code:text=高血压&_count={n}"),
    ("DiagnosticReport", "_lastUpdated=ge2020&_summary=count"),
)


def _known(size: int) -> list[dict[str, str]]:
    """Values of twenty residents for the shapes."""
    return [_values(resident(number)) for number in random.Random(SEED).sample(range(size), 20)]


def _values(one: Resident) -> dict[str, str]:
    person = one.patient()
    name, card = person["name"][0]["text"], person["identifier"][0]
    return {"p": person["id"], "card": f"{card['system']}|{card['value']}", "name": name[:2], "last": name[-1],
            "encounter": one.make_id("Encounter", 0)}  # fmt: skip


async def _page(store: ResourceStore, type_: str, url: str) -> Page | str:
    try:
        return await store.search(parse(type_, pairs(url), params).query, SYSTEM)
    except GatewayError as fault:
        return fault.code


Figure = tuple[float, float, str]
"""Median ms of a search, of its ceiling, and what the last one gave."""


class _Population:
    """An open store. took, plain: seconds of the searches of one shape, and of reading the same rows by key."""

    def __init__(self, store: ResourceStore, size: int, clock: Callable[[], float]) -> None:
        self.store, self._clock, self._known = store, clock, _known(size)
        self._took: list[float] = []
        self._plain: list[float] = []
        self._said = ""

    async def ask(self, shape: tuple[str, str], number: int) -> None:
        """Once, about the next resident."""
        url = shape[1].format(n=20 + number, **self._known[number % len(self._known)])
        began = self._clock()
        page = await _page(self.store, shape[0], url)
        self._took.append(self._clock() - began)
        self._said = (
            page if isinstance(page, str) else f"{len(page.matches)}+{len(page.included)} of {page.total or '?'}"
        )
        if not isinstance(page, str) and page.matches:
            refs = [(one.type, one.id) for one in (*page.matches, *page.included)]
            began = self._clock()
            await self.store.read_many(refs, SYSTEM)
            self._plain.append(self._clock() - began)

    def figure(self) -> Figure:
        """Of the shape asked until now; the next begins."""
        found = 1000 * median(self._took), 1000 * median(self._plain) if self._plain else 0.0, self._said
        self._took, self._plain = [], []
        return found


async def _measured(urls: list[str], sizes: list[int], times: int, clock: Callable[[], float]) -> list[list[Figure]]:
    """By shape, of each population; they take turns, so that a noisy moment meets them all."""
    all_of = [
        _Population(await open_store(url, clock=system_clock), size, clock)
        for url, size in zip(urls, sizes, strict=True)
    ]
    for one in all_of:
        while await one.store.survey() or await one.store.settle():
            pass
    settle_interpreter()
    found = []
    for shape in SHAPES:
        for number in range(times):
            for one in all_of:
                await one.ask(shape, number)
        found.append([one.figure() for one in all_of])
    for one in all_of:
        await one.store.close()
    return found


def _measure(sizes: list[int], *, postgres: bool, seconds: float, times: int) -> list[list[Figure]]:
    places, notes = kept(postgres)
    asyncio.run(made(sizes, places, notes, seconds))
    clock = time.perf_counter if postgres else time.process_time
    return asyncio.run(_measured([places.url(str(size)) for size in sizes], sizes, times, clock))


def main() -> None:
    """Print a line a shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--residents", default="1000,4000", help="sizes of the populations, ascending")
    parser.add_argument("--seconds", type=float, default=600, help="how long populations may be made")
    parser.add_argument(
        "--postgres", action="store_true", help="on a server of its own, filled further from size to size"
    )
    parser.add_argument("--times", type=int, default=9)
    args = parser.parse_args()
    sizes = [int(size) for size in args.residents.split(",")]
    print(machine())
    found = _measure(sizes, postgres=args.postgres, seconds=args.seconds, times=args.times)
    head = "".join(f"{size:>9} res" for size in sizes)
    print(f"{'ms':<78}{head}   ceiling   ratio")
    for shape, each in zip(SHAPES, found, strict=True):
        figures = "".join(f"{one[0]:>13.2f}" for one in each)
        ratio = each[-1][0] / max(each[0][0], 0.01)
        print(f"{shape[0] + '?' + shape[1]:<78}{figures}{each[-1][1]:>10.2f}{ratio:>8.1f}  {each[-1][2]}")


if __name__ == "__main__":
    main()
