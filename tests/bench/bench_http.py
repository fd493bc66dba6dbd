"""Reading over HTTP, policy on, each disclosure durable before the first byte, beside the same bytes without us.

Every figure stands beside a bare ASGI application that gives the same bytes on plain uvicorn (uvloop, httptools) to the
same client in the same run; the gateway runs on its own HTTP server. Last, the p99 of a GET while somebody else holds
the store's write lock for 5 s. µs: CPU of the server process a request, all threads, sealing of the audit log included.

    python -m tests.bench.bench_http [--seconds 2] [--stored N] [--postgres]

--postgres: the store on a server of its own, started for the run.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import apsw
import psycopg
import uvloop

from gateway.model.times import system_clock
from gateway.store.base import Plan
from tests.bench.bench_store import Feed
from tests.bench.http_load import Figures, Server, bare, load, serve
from tests.bench.machine import machine
from tests.contract.postgres import TestServer
from tests.unit.fhir_site import TOKENS, Site, a_patient, a_site

HOLD_S = 5.0
CHART = 999
"""Observations of the one resident whose record is read."""
_COMMIT = 100
_PLACES = 500
_HEADERS = (
    f"Accept: application/fhir+json\r\nAuthorization: Bearer {TOKENS['doctor']}\r\nUser-Agent: bench\r\n"
    "Connection: keep-alive\r\n"
)
READ, CODED, NEWEST, WHOLE = "GET by id", "20 newest by patient and code", "100 newest of a resident", "$everything"


# ---- the gateway's process ----------------------------------------------------------------------
def _gateway(pipe: Connection, place: str, stored: int) -> None:
    async def run() -> None:
        async with a_site(place if "://" in place else Path(place), system_clock) as site:
            feed = Feed(max(200, stored // 300))
            paths = await _filled(site, feed, stored)
            pipe.send((paths, {path: await _body(site, path) for some in paths.values() for path in some}))
            await serve(site.app, pipe)

    uvloop.run(run())


async def _filled(site: Site, feed: Feed, stored: int) -> dict[str, list[str]]:
    """Keep the record of the one resident and so many rows of others; the addresses to ask for."""
    patient = feed.residents[0].id
    await site.keep(a_patient(patient))
    chart = [feed.item(0, -1 - n) for n in range(CHART)]
    for at in range(0, CHART, _COMMIT):
        await site.store.commit(Plan(puts=tuple(chart[at : at + _COMMIT])))
    for _ in range(0, stored, _COMMIT):
        await site.store.commit(Plan(puts=tuple(feed.rows(_COMMIT))))
    of = f"/fhir/Observation?patient={patient}"
    return {
        READ: [f"/fhir/Observation/{put.id}" for put in chart[:_PLACES]],
        CODED: [f"{of}&code=2823-3&_count=20"],
        NEWEST: [f"{of}&_count=100"],
        WHOLE: [f"/fhir/Patient/{patient}/$everything"],
    }


async def _body(site: Site, path: str) -> bytes:
    answer = await site.get(path.removeprefix("/fhir/"), "doctor", **{"Accept-Encoding": "identity"})
    assert answer.status_code == 200, answer.text
    return answer.content


# ---- the run ------------------------------------------------------------------------------------
@contextlib.contextmanager
def _locked(place: str) -> Iterator[None]:
    """A foreign connection holds the store's write lock."""
    if "://" in place:
        with psycopg.connect(place) as holder:
            holder.execute("LOCK TABLE version IN SHARE ROW EXCLUSIVE MODE")
            yield
            holder.rollback()
        return
    blocker = apsw.Connection(f"{place}/store.db")
    blocker.set_busy_timeout(5000)
    blocker.execute("BEGIN IMMEDIATE")
    yield
    blocker.execute("ROLLBACK")


def _line(what: str, ours: Figures, ceiling: Figures | None = None) -> None:
    beside = (
        f"  bare {ceiling.rate:>7,.0f}/s {ceiling.cpu_us:>5,.0f} µs  {ours.rate / ceiling.rate:6.1%}" if ceiling else ""
    )
    print(f"{what:<48} {ours.rate:>7,.0f}/s  p50 {ours.p50_ms:6.2f}  p99 {ours.p99_ms:6.2f} ms "
          f"{ours.cpu_us:>6,.0f} µs{beside}", flush=True)  # fmt: skip


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=2.0)
    arguments.add_argument("--stored", type=int, default=2_000)
    arguments.add_argument("--postgres", action="store_true")
    chosen = arguments.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        _measure(TestServer().schema() if chosen.postgres else folder, chosen.stored, chosen.seconds)


def _measure(place: str, stored: int, seconds: float) -> None:
    gateway = Server(_gateway, place, stored)
    paths, bodies = gateway.pipe.recv()
    port = gateway.pipe.recv()
    ceiling = Server(bare, bodies)
    ceiling_port = ceiling.pipe.recv()
    for what, at_once in ((READ, 64), (READ, 4), (CODED, 64), (NEWEST, 64), (WHOLE, 16)):
        asked = paths[what]
        load(gateway, port, asked, _HEADERS, seconds=0.5, at_once=at_once)
        ours = load(gateway, port, asked, _HEADERS, seconds=seconds, at_once=at_once)
        theirs = load(ceiling, ceiling_port, asked, _HEADERS, seconds=seconds, at_once=at_once)
        _line(f"{what}, {at_once} connections", ours, theirs)
    with _locked(place):
        held = load(gateway, port, paths[READ], _HEADERS, seconds=HOLD_S, at_once=4)
    _line(f"GET while a write transaction is held {HOLD_S:g} s", held)
    gateway.stop()
    ceiling.stop()


if __name__ == "__main__":
    main()
