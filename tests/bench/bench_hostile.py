"""Forty hostile searches on a kept population, one after the other, and a doctor who asks for pages beside them.

Each must be answered within 5 s or refused (4xx), and the doctor's p95 should stay what it was. In one process, without
sockets: what keeps the event loop busy is seen by the doctor in full.

    python -m tests.bench.bench_hostile [--residents 4000] [--postgres]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import time

import uvloop

from gateway.model.times import system_clock
from tests.bench.bench_pages import CODED, addresses
from tests.bench.machine import machine
from tests.bench.populations import kept
from tests.contract.test_hostile_searches import HOSTILE, SECONDS
from tests.unit.fhir_site import Site, a_site

_PAUSE_S = 0.02
_ALONE_S = 5.0


async def _doctor(site: Site, paths: list[str], until: asyncio.Event) -> list[float]:
    """Milliseconds of each page, one after the other with a pause, until told to stop."""
    took = []
    for path in itertools.cycle(paths):
        if until.is_set():
            return took
        began = time.perf_counter()
        answer = await site.get(path.removeprefix("/fhir/"), "doctor")
        took.append(1000 * (time.perf_counter() - began))
        assert answer.status_code == 200, answer.text
        await asyncio.sleep(_PAUSE_S)
    return took


async def _ask(site: Site) -> list[tuple[float, int, str]]:
    """(seconds, status, path) of each hostile search."""
    out = []
    for path in HOSTILE:
        began = time.perf_counter()
        answer = await site.get(path)
        out.append((time.perf_counter() - began, answer.status_code, path))
    return out


async def _measured(url: str, size: int) -> None:
    async with a_site(url, system_clock) as site:
        paths = addresses(size)[CODED]
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(_ALONE_S, over.set)
        alone = await _doctor(site, paths, over)
        over = asyncio.Event()
        doctor = asyncio.create_task(_doctor(site, paths[::-1], over))
        asked = await _ask(site)
        over.set()
        beside = await doctor
    for seconds, status, path in sorted(asked, reverse=True)[:12]:
        print(f"{seconds:6.2f} s  {status}  {path[:90]}")
    late = [path for seconds, status, path in asked if seconds > SECONDS or not (status == 200 or 400 <= status < 500)]
    print(f"{len(asked)} hostile searches, {len(late)} too late or failed")
    for name, took in (("alone", alone), ("beside them", beside)):
        cuts = statistics.quantiles(took, n=100)
        spread = f"p50 {cuts[49]:7.2f}  p95 {cuts[94]:7.2f}  worst {max(took):.0f} ms"
        print(f"doctor {name:<12} {len(took):>6} pages  {spread}")


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--residents", default="4000", help="a population `bench_search` made")
    arguments.add_argument("--postgres", action="store_true")
    chosen = arguments.parse_args()
    print(machine())
    places, _ = kept(chosen.postgres)
    uvloop.run(_measured(places.url(chosen.residents), int(chosen.residents.partition("-")[0])))


if __name__ == "__main__":
    main()
