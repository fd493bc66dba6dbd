"""Thirty shapes of search over growing populations: the median of each, and how it grows from the first to the last.

    python -m tests.bench.bench_search [--residents 1000,4000] [--url postgresql://…] [--times 9]

One visit a resident, in random order. CPU milliseconds of this process and, beside them, the ceiling: the same page's
rows read by their keys. A ratio near 1 means that the answer costs what a page costs, whatever the population. Over
PostgreSQL the database works elsewhere, so elapsed time is taken.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from gateway.errors import GatewayError
from gateway.model.context import SYSTEM
from gateway.model.ids import Ids
from gateway.model.resource import dumps
from gateway.model.times import system_clock
from gateway.outbound.fhir_query import pairs, parse
from gateway.store.base import Page, Plan, src_of
from gateway.store.bodies import prepare
from gateway.store.index import params
from gateway.store.resources import ResourceStore, open_store
from tests.bench.machine import machine

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from train_dictionary import Resident

# {p}: a Patient, {card}: their card, {encounter}: of theirs.
SHAPES = (
    ("Observation", "patient=Patient/{p}&code=http://loinc.org|2823-3&_count=20"),
    ("Observation", "patient=Patient/{p}&_count=100"),
    ("Observation", "patient=Patient/{p}&_sort=-date&_count=20"),
    ("Observation", "patient=Patient/{p}&category=laboratory&date=ge2023&_count=20"),
    ("Observation", "patient=Patient/{p}&_include=Observation:encounter&_count=20"),
    ("Observation", "patient=Patient/{p}&value-quantity=gt5&_count=20"),
    ("Observation", "encounter=Encounter/{encounter}"),
    ("Encounter", "patient=Patient/{p}&_revinclude=DiagnosticReport:encounter"),
    ("Patient", "identifier={card}"),
    ("Patient", "name={name}&_count=20"),
    ("Patient", "name=wang&_count=20"),
    ("Patient", "name:contains={last}&_count=20"),
    ("Patient", "gender=female&birthdate=ge1980&_count=20"),
    ("Patient", "_sort=birthdate&_count=20"),
    ("Patient", "_has:Observation:patient:code=2823-3&_count=20"),
    ("Observation", "code=http://loinc.org|2823-3&_count=20"),
    ("Observation", "code:not=http://loinc.org|2823-3&_count=20"),
    ("Observation", "status:not=final&_count=20"),
    ("Observation", "encounter:missing=true&_count=20"),
    ("Observation", "performer:missing=false&_count=20"),
    ("Observation", "value-quantity=gt100&_count=20"),
    ("Observation", "value-quantity=gt100000&_count=20"),
    ("Observation", "code=2823-3&value-quantity=gt5&_count=20"),
    ("Observation", "code-value-quantity=2823-3$gt5&_count=20"),
    ("Observation", "patient.gender=female&_count=20"),
    ("Observation", "patient.name={name}&_count=20"),
    ("Observation", "date=2024-03&_count=20"),
    ("Observation", "_sort=-date&_count=20"),
    ("Condition", "code:text=高血压&_count=20"),
    ("DiagnosticReport", "_lastUpdated=ge2020&_summary=count"),
)


class Population:
    """Residents, and values of some of them for the shapes."""

    def __init__(self, count: int) -> None:
        self.chance = random.Random(5)
        ids = Ids((5).to_bytes(32, "big"))
        self.residents = [Resident(self.chance, ids, number) for number in range(count)]
        self.known: list[dict[str, str]] = []

    async def fill(self, store: ResourceStore) -> int:
        """Commit all of it; how many resources."""
        total = 0
        for number in self.chance.sample(range(len(self.residents)), len(self.residents)):
            one = self.residents[number]
            bodies = [one.patient(), *one.visit(0)]
            if len(self.known) < 20:
                self.known.append(_values(bodies))
            src = src_of("m", str(number))
            puts = (prepare(b["resourceType"], b["id"], dumps(b), patient=one.id, src=src, member="m") for b in bodies)
            await store.commit(Plan(puts=tuple(puts)))
            total += len(bodies)
        return total


def _values(bodies: list[dict[str, Any]]) -> dict[str, str]:
    person = bodies[0]
    name = person["name"][0]["text"]
    card = person["identifier"][0]
    return {"p": person["id"], "card": f"{card['system']}|{card['value']}", "name": name[:2], "last": name[-1],
            "encounter": bodies[1]["id"]}  # fmt: skip


async def _page(store: ResourceStore, type_: str, url: str) -> Page | str:
    try:
        return await store.search(parse(type_, pairs(url), params).query, SYSTEM)
    except GatewayError as fault:
        return fault.code


async def _measured(
    store: ResourceStore, shape: tuple[str, str], known: list[dict[str, str]], times: int, clock: Callable[[], float]
) -> tuple[float, float, str]:
    """(median ms of the search, of its ceiling, what the last one gave)."""
    took, plain, said = [], [], ""
    for number in range(times):
        url = shape[1].format(**known[number % len(known)])
        began = clock()
        page = await _page(store, shape[0], url)
        took.append(clock() - began)
        said = page if isinstance(page, str) else f"{len(page.matches)}+{len(page.included)} of {page.total or '?'}"
        if not isinstance(page, str) and page.matches:
            refs = [(one.type, one.id) for one in (*page.matches, *page.included)]
            began = clock()
            await store.read_many(refs, SYSTEM)
            plain.append(clock() - began)
    return 1000 * median(took), 1000 * median(plain) if plain else 0.0, said


async def _population(count: int, url: str, times: int) -> list[tuple[float, float, str]]:
    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(url or f"sqlite:///{folder}", clock=system_clock)
        people = Population(count)
        began = time.perf_counter()
        total = await people.fill(store)
        print(f"{count} residents, {total} resources in {time.perf_counter() - began:.0f} s", flush=True)
        clock = time.perf_counter if url else time.process_time
        found = [await _measured(store, shape, people.known, times, clock) for shape in SHAPES]
        await store.close()
        return found


def main() -> None:
    """Print a line a shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--residents", default="1000,4000", help="sizes of the populations")
    parser.add_argument("--url", default="", help="an empty PostgreSQL schema, for one population")
    parser.add_argument("--times", type=int, default=9)
    args = parser.parse_args()
    sizes = [int(size) for size in args.residents.split(",")]
    if args.url and len(sizes) > 1:
        parser.error("--url takes one population")
    print(machine())
    found = [asyncio.run(_population(size, args.url, args.times)) for size in sizes]
    head = "".join(f"{size:>9} res" for size in sizes)
    print(f"{'ms':<78}{head}   ceiling   ratio")
    for shape, *each in zip(SHAPES, *found, strict=True):
        figures = "".join(f"{one[0]:>13.2f}" for one in each)
        ratio = each[-1][0] / max(each[0][0], 0.01)
        print(f"{shape[0] + '?' + shape[1]:<78}{figures}{each[-1][1]:>10.2f}{ratio:>8.1f}  {each[-1][2]}")


if __name__ == "__main__":
    main()
