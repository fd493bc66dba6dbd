"""Memory of one process under a long load: resident memory without file pages, every few thousand messages.

A real gateway (SQLite store, inbox, audit log, validation) gets the generated population: v2 of two hospitals,
CDA, CSV rows and DICOM headers, residents in random order, each message once. Target: less than 50 MB more after
`--messages` than after the warm-up.

Warm-up (`--warm`): what is remembered has bounds, and reaches them only after so many messages:

    SQLite pages                   64 MB writer of the store, 16 MB every other connection   store/writer.py
    results of mapping functions   32 MB                                                     translate/memo.py
    rows by id                     16 MB                                                     store/engine_sqlite.py
    opened resources               32 MB, reads only                                         store/opened.py
    keys of the index              3 x 32,768 entries, and 2 x 8,192 of texts                store/index_values.py

`--trace` says which lines of code hold more than after the warm-up; it slows the run and adds memory of its own.

Run: `python -m tests.bench.bench_memory --messages 50000`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import tempfile
import time
import tracemalloc
from array import array
from collections.abc import Iterator
from pathlib import Path

import apsw
import uvloop

from fixtures import population_formats as formats
from fixtures.population import resident
from gateway.app import Gateway
from gateway.settings import General, Http, Mllp, Settings
from tests.bench.machine import machine

_KINDS = 6
_AT_ONCE = 250
_SEED = 20


def anonymous_mb() -> float:
    """Resident memory without file pages."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def _sqlite_mb() -> float:
    """What SQLite holds, nearly all of it pages of its connections."""
    held: int = apsw.status(apsw.SQLITE_STATUS_MEMORY_USED)[0]
    return held / 1024 / 1024


def _numbers(messages: int, chance: random.Random) -> array[int]:
    """Resident and kind of every message, as one number each; in an array, so that the plan itself does not grow."""
    plan = array("Q", range(messages))
    for at in range(messages - 1, 0, -1):
        other = chance.randrange(at + 1)
        plan[at], plan[other] = plan[other], plan[at]
    return plan


def _message(number: int) -> tuple[str, bytes, str]:
    """(source, body, file name) of the numbered message: kind `number % 6` of resident `number // 6`."""
    one, kind = resident(number // _KINDS, _SEED), number % _KINDS
    if kind < 2:
        return "city_first_hospital", formats.city_messages(one)[kind], ""
    if kind == 2:
        return "county_tcm_hospital", formats.tcm_messages(one)[0], ""
    if kind == 3:
        return "county_people_hospital", formats.county_document(one), ""
    if kind == 4:
        return "township_health_centre", formats.town_visits([one]), f"visits_{one.number}.csv"
    return "city_first_pacs", formats.image(one), ""


async def _feed(gateway: Gateway, numbers: array[int]) -> None:
    """Keep the messages and wait until the last is settled."""
    sources = gateway.directory.sources
    for start in range(0, len(numbers), _AT_ONCE):
        some = [_message(number) for number in numbers[start : start + _AT_ONCE]]
        await asyncio.gather(*[gateway.intake.push(sources[source], body, name) for source, body, name in some])
        await gateway.worker.drained()


def _pieces(numbers: array[int], size: int) -> Iterator[array[int]]:
    return (numbers[start : start + size] for start in range(0, len(numbers), size))


async def _run(home: Path, args: argparse.Namespace) -> None:
    settings = Settings(gateway=General(home=str(home)), http=Http(port=0), mllp=Mllp(port=-1))
    gateway = await Gateway.open(settings)
    await gateway.start()
    plan = _numbers(args.warm + args.messages, random.Random(7))
    print(f"{0:>9,} messages {anonymous_mb():8.1f} MB without file pages", flush=True)
    await _feed(gateway, plan[: args.warm])
    gc.collect()
    warm = last = anonymous_mb()
    print(f"{args.warm:>9,} messages {warm:8.1f} MB, SQLite {_sqlite_mb():.1f} MB: warm-up ends", flush=True)
    before = _snapshot(args.trace)
    done, begun = 0, time.perf_counter()
    for piece in _pieces(plan[args.warm :], args.every):
        await _feed(gateway, piece)
        gc.collect()
        done, now = done + len(piece), anonymous_mb()
        rate = done / (time.perf_counter() - begun)
        line = f"{args.warm + done:>9,} messages {now:8.1f} MB ({now - last:+6.1f}), SQLite {_sqlite_mb():6.1f} MB"
        print(f"{line}, {rate:,.0f} messages/s", flush=True)
        last = now
    print(f"growth over {args.messages:,} messages after {args.warm:,}: {last - warm:.1f} MB", flush=True)
    if before:
        _tell(before)
    print(await gateway.inbox.messages.counts())
    await gateway.close()


def _snapshot(wanted: bool) -> tracemalloc.Snapshot | None:
    if not wanted:
        return None
    tracemalloc.start()
    return tracemalloc.take_snapshot()


def _tell(before: tracemalloc.Snapshot) -> None:
    for one in tracemalloc.take_snapshot().compare_to(before, "lineno")[:25]:
        print(f"{one.size_diff / 1024:+10.0f} kB {one.count_diff:+8} {one.traceback[0]}")


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--warm", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=5_000)
    parser.add_argument("--trace", action="store_true")
    args = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        uvloop.run(_run(Path(name), args))


if __name__ == "__main__":
    main()
