"""Search pages over HTTP with a kept population, policy on, each disclosure durable before the first byte.

Every figure stands twice: asked first (another resident, code or name each time, none twice) and asked again (the same
address over and over), each beside a bare ASGI application that gives the first answer's bytes. µs: CPU of the server
process a request, all threads; over PostgreSQL the database works beside it.

    python -m tests.bench.bench_pages [--residents 4000] [--postgres] [--reading 1] [--seconds 2]
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from multiprocessing.connection import Connection
from urllib.parse import quote

import uvloop

from gateway.model.times import system_clock
from gateway.store.index_text import pinyin_forms
from tests.bench.bench_http import _HEADERS, _body
from tests.bench.http_load import Figures, Server, bare, load, serve
from tests.bench.machine import machine
from tests.bench.populations import LABS, SEED, kept, resident
from tests.unit.fhir_site import a_site

_ASKED = 3_000
"""Addresses a figure at most; more than a run asks for."""
CODED, NEWEST, WHOLE = "20 newest by patient and code", "100 newest of a resident", "$everything, about 265 resources"
HANZI, PINYIN, CARD = "name by two hanzi", "name by pinyin", "identifier"
NOT, MISSING = "code:not, first page", "performer:missing, first page"


def addresses(size: int) -> dict[str, list[str]]:
    """Of every figure the addresses, none twice."""
    chance = random.Random(SEED)
    people = [resident(number) for number in chance.sample(range(size), min(size, _ASKED))]
    loincs = [lab[2] for lab in LABS]
    patients = [(one, one.patient()) for one in people]
    return {
        CODED: [f"/fhir/Observation?patient={one.id}&code={code}&_count=20" for one in people for code in loincs[:3]],
        NEWEST: [f"/fhir/Observation?patient={one.id}&_count=100" for one in people],
        WHOLE: [f"/fhir/Patient/{one.id}/$everything" for one in people],
        HANZI: list(dict.fromkeys(f"/fhir/Patient?name={quote(one.name[:2])}&_count=20" for one in people)),
        PINYIN: list(dict.fromkeys(f"/fhir/Patient?name={pinyin_forms(one.name)[0]}&_count=20" for one in people)),
        CARD: [f"/fhir/Patient?identifier={body['identifier'][0]['value']}" for _, body in patients],
        NOT: [f"/fhir/Observation?code:not={code}&_count={n}" for code in loincs for n in range(20, 60)],
        MISSING: [f"/fhir/Observation?performer:missing=true&_count={n}" for n in range(20, 800)],
    }


# ---- the gateway's process ----------------------------------------------------------------------
def _gateway(pipe: Connection, url: str, asked: dict[str, list[str]], reading: int) -> None:
    async def run() -> None:
        async with a_site(url, system_clock, reading=reading) as site:
            pipe.send({paths[0]: await _body(site, paths[0]) for paths in asked.values()})
            await serve(site.app, pipe)

    uvloop.run(run())


# ---- the run ------------------------------------------------------------------------------------
def _figures(gateway: Server, port: int, paths: list[str], seconds: float) -> Iterator[tuple[str, Figures]]:
    others = random.Random(SEED).sample(paths[1:], len(paths) - 1)
    yield "asked first", load(gateway, port, others, _HEADERS, seconds=seconds, at_once=64, once=True)
    yield "asked again", load(gateway, port, paths[:1], _HEADERS, seconds=seconds, at_once=64)


def _line(what: str, when: str, ours: Figures, ceiling: Figures) -> None:
    took = f"{ours.rate:>7,.0f}/s  p50 {ours.p50_ms:6.2f}  p99 {ours.p99_ms:7.2f} ms {ours.cpu_us:>7,.0f} µs"
    print(f"{what:<34}{when:<12}{took}  bare {ceiling.rate:>7,.0f}/s {ceiling.cpu_us:>5,.0f} µs", flush=True)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--residents", default="4000", help="a population `bench_search` made")
    arguments.add_argument("--postgres", action="store_true")
    arguments.add_argument("--seconds", type=float, default=2.0)
    arguments.add_argument("--reading", type=int, default=1, help="processes that read beside the gateway, on SQLite")
    chosen = arguments.parse_args()
    places, _ = kept(chosen.postgres)
    print(machine())
    asked = addresses(int(chosen.residents.partition("-")[0]))
    gateway = Server(_gateway, places.url(chosen.residents), asked, chosen.reading)
    bodies = gateway.pipe.recv()
    port = gateway.pipe.recv()
    ceiling = Server(bare, bodies)
    ceiling_port = ceiling.pipe.recv()
    for what, paths in asked.items():
        theirs = load(ceiling, ceiling_port, paths[:1], _HEADERS, seconds=chosen.seconds, at_once=64)
        for when, ours in _figures(gateway, port, paths, chosen.seconds):
            _line(what, when, ours, theirs)
    gateway.stop()
    ceiling.stop()


if __name__ == "__main__":
    main()
