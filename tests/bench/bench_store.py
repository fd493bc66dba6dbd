"""The SQLite store by itself: durable rows a second, reads by id, a doctor's page, bytes a resource.

    python -m tests.bench.bench_store [--stored N] [--rows N] [--residents N]

Residents come in random order, as interfaces send them; every tenth row changes an older one. Rows are prepared
(decoded, extracted) before the clock runs; packing, postings, commit and fsync are inside it. The ceiling of each
figure is the same bytes without the store: a plain table written 100 rows a commit, a plain lookup, plain rows.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw

from gateway.model.context import SYSTEM
from gateway.model.ids import Ids
from gateway.model.query import Filter, Query
from gateway.model.resource import dumps
from gateway.model.times import CHINA, system_clock
from gateway.store.base import AuditRow, Page, Plan, Put, src_of
from gateway.store.bodies import prepare
from gateway.store.resources import ResourceStore, open_store
from gateway.store.writer import connect
from tests.bench.machine import machine, row

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from train_dictionary import LABS, MEMBERS, Resident

_COMMIT = 100
_CHART, _CHARTS = 300, 20
"""Observations of each resident whose page is read, and how many such residents there are."""


class Feed:
    """Endless rows of many residents in random order: of so many new ones, or of those given."""

    def __init__(self, residents: int | list[Resident], seed: int = 1) -> None:
        self.chance = random.Random(seed)
        ids = Ids(seed.to_bytes(32, "big"))
        if isinstance(residents, int):
            residents = [Resident(self.chance, ids, n) for n in range(residents)]
        self.residents = residents
        self.sent: list[tuple[int, int]] = []
        self.count = 0

    def rows(self, count: int) -> Iterator[Put]:
        """So many Puts."""
        for _ in range(count):
            yield self._one()

    def _one(self) -> Put:
        who, visit = self.chance.randrange(len(self.residents)), self.count
        self.count += 1
        if self.sent and self.chance.random() < 0.1:
            who, visit = self.sent[self.chance.randrange(len(self.sent))]
        elif self.chance.random() < 0.2:
            return self._put(who, next(self.residents[who].visit(visit)))
        self.sent.append((who, visit))
        return self.item(who, visit)

    def item(self, who: int, visit: int) -> Put:
        """One laboratory item."""
        resident = self.residents[who]
        member, hospital = self.chance.choice(MEMBERS)
        place = resident.organization(member, hospital)
        at = system_clock().astimezone(CHINA)
        specimen = {"reference": f"Specimen/{resident.make_id('Specimen', visit)}"}
        encounter = {"reference": f"Encounter/{resident.make_id('Encounter', visit)}"}
        lab = self.chance.choice(LABS)
        return self._put(who, resident.lab_item(visit, 0, member, place, at, specimen, encounter, lab))

    def _put(self, who: int, resource: dict[str, Any]) -> Put:
        patient, type_, id_ = self.residents[who].id, resource["resourceType"], resource["id"]
        meta = {"source": f"urn:alliance-gateway:source:city_first_hospital#m{self.count}"}
        src = src_of("m", str(who))
        return prepare(type_, id_, dumps(resource), patient=patient, src=src, member="m", meta=meta)


async def _write(store: ResourceStore, feed: Feed, count: int, at_once: int = 1) -> tuple[float, list[float]]:
    """Seconds spent in commits of 100 rows, and each of them; preparation happens between them."""
    took: list[float] = []
    total = 0.0

    async def one(plan: Plan) -> None:
        began = time.perf_counter()
        await store.commit(plan)
        took.append(time.perf_counter() - began)

    gc.collect()
    gc.freeze()  # the residents of the bench itself are not for the collector to walk again and again
    for _ in range(0, count, _COMMIT * at_once):
        plans = [Plan(puts=tuple(feed.rows(_COMMIT))) for _ in range(at_once)]
        began = time.perf_counter()
        await asyncio.gather(*(one(plan) for plan in plans))
        total += time.perf_counter() - began
    return total, sorted(took)


def _plain_writes(folder: Path, bodies: list[bytes], count: int) -> float:
    """Rows a second of a table that holds nothing but the packed bodies, 100 rows a commit, fsync each."""
    db = connect(str(folder / "plain.db"), writer=True)
    db.execute("CREATE TABLE plain(rid INTEGER PRIMARY KEY, body BLOB)")
    chance = random.Random(2)
    began = time.perf_counter()
    for _ in range(0, count, _COMMIT):
        with db:
            rows = [(chance.getrandbits(62), chance.choice(bodies)) for _ in range(_COMMIT)]
            db.executemany("INSERT OR IGNORE INTO plain VALUES(?, ?)", rows)
    rate = count / (time.perf_counter() - began)
    db.close()
    return rate


def _rate(call: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        call()
    return times / (time.perf_counter() - began)


async def _read(store: ResourceStore, feed: Feed, path: str) -> None:
    """GET by id, the page of a resident, beside plain lookups in the same file."""
    db = connect(path, writer=False)
    rids = [found[0] for found in db.execute("SELECT rid FROM row ORDER BY id LIMIT 2000")]
    known = [tuple(found) for found in db.execute(
        "SELECT 'Observation', id FROM row JOIN name ON no = typ WHERE text = 'Observation' ORDER BY id LIMIT 2000"
    )]  # fmt: skip
    began = time.perf_counter()
    for type_, id_ in known:
        assert await store.read(type_, id_, SYSTEM) is not None
    rate = len(known) / (time.perf_counter() - began)
    places = iter(rids * 2)
    plain = _rate(lambda: list(db.execute("SELECT body FROM row WHERE rid = ?", (next(places),))), len(rids))
    row("GET by id, in process", rate, "a second", plain)

    first = sorted([(await _page(store, feed, who))[1] for who in range(1, _CHARTS)])
    query, _, page = await _page(store, feed, 0)
    times = [(await _page(store, feed, 0))[1] for _ in range(100)]
    assert len(page.matches) == 100 and page.next
    span = list(db.execute("SELECT rid >> 24 FROM dir JOIN row USING(rid) WHERE row.id = ?", (page.matches[0].id,)))
    low, high = span[0][0] << 24, (span[0][0] + 1) << 24
    sql = "SELECT body FROM row WHERE rid BETWEEN ? AND ? ORDER BY rid DESC LIMIT 100"
    plain = _rate(lambda: list(db.execute(sql, (low, high))), 200)
    row("100 newest Observations of a resident: pages", 1 / sorted(times)[50], "a second", plain)
    print(f"    one page {sorted(times)[50] * 1e6:,.0f} µs (target 600), of a resident nobody looked at lately "
          f"{first[len(first) // 2] * 1e6:,.0f} µs", flush=True)  # fmt: skip
    code = Query("Observation", (*query.filters, Filter("code", "token", ("2823-3",))), count=20)
    began = time.perf_counter()
    for _ in range(50):
        await store.search(code, SYSTEM)
    row("a resident's one item, 20 newest: pages", 50 / (time.perf_counter() - began), "a second")
    common = Query("Observation", (Filter("code", "token", ("2823-3",)),), count=20)
    began = time.perf_counter()
    for _ in range(10):
        await store.search(common, SYSTEM)
    row("a population's one item, 20 newest: pages", 10 / (time.perf_counter() - began), "a second")
    db.close()


async def _page(store: ResourceStore, feed: Feed, who: int) -> tuple[Query, float, Page]:
    """The 100 newest Observations of a resident, and the seconds it took to find them."""
    patient = Filter("patient", "reference", (f"Patient/{feed.residents[who].id}",))
    query = Query("Observation", (patient,), count=100)
    began = time.perf_counter()
    page = await store.search(query, SYSTEM)
    return query, time.perf_counter() - began, page


async def _disclose(store: ResourceStore, count: int = 4000) -> None:
    said = AuditRow(system_clock(), "R", "rest", "read", "0", "d1", "周医生", "doctor", "m", "TREAT", patients=("p",))

    async def lane() -> None:
        for _ in range(count // 40):
            await store.disclose(said)

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(40)))
    row("disclosures, durable, 40 at once", count / (time.perf_counter() - began), "a second")


async def main() -> None:
    """Preload, write, read, weigh."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stored", type=int, default=3_000)
    parser.add_argument("--rows", type=int, default=3_000)
    parser.add_argument("--residents", type=int, default=2_000)
    asked = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = await open_store(f"sqlite:///{folder}", clock=system_clock)
        feed = Feed(asked.residents)
        for who, n in itertools.product(range(_CHARTS), range(0, _CHART, _COMMIT)):
            await store.commit(Plan(puts=tuple(feed.item(who, -1 - n - k) for k in range(_COMMIT))))
        for at in range(0, asked.stored, 50_000):
            took, each = await _write(store, feed, min(50_000, asked.stored - at))
            done = min(at + 50_000, asked.stored)
            print(f"    {done:,} stored, the last at {min(50_000, done - at) / took:,.0f} rows/s, "
                  f"p99 commit {each[int(len(each) * 0.99)] * 1e3:.0f} ms", flush=True)  # fmt: skip
        took, each = await _write(store, feed, asked.rows)
        path = str(folder / "store.db")
        db = apsw.Connection(path)
        bodies = [found[0] for found in db.execute("SELECT body FROM row LIMIT 5000")]
        plain = _plain_writes(folder, bodies, asked.rows)
        row(f"rows written with {asked.stored:,} stored", asked.rows / took, "a second", plain)
        print(f"    commit of {_COMMIT}: p50 {each[len(each) // 2] * 1e3:.1f} ms, p99 "
              f"{each[int(len(each) * 0.99)] * 1e3:.1f} ms", flush=True)  # fmt: skip
        took, _ = await _write(store, feed, asked.rows, 8)
        row("    8 commits at once", asked.rows / took, "a second", plain)
        await _read(store, feed, path)
        await _disclose(store)
        rows, packed = next(iter(db.execute("SELECT count(*), sum(length(body)) FROM row")))
        db.close()
        await store.close()
        row("bytes a version, all tables and postings", (folder / "store.db").stat().st_size / rows, "bytes")
        row("    of these, the packed body", packed / rows, "bytes")


if __name__ == "__main__":
    asyncio.run(main())
