"""Messages translated a second on one core, bytes to serialised drafts with ids and account, for every base map.

Each population (`v2_of_twenty`) has twenty repetitions a message. Warm: a few messages again and again, so that every
look-up is remembered. Fresh: messages never seen, each with its own patient, numbers, times and values. The ceiling
of the same run: the same bytes decoded and split to components with the standard library alone.

Run: `python -m tests.bench.bench_translate [part of a population's name]`. Target: 8,000 messages of 20 OBX a second,
which is 23 % of the ceiling. Processor time is counted, and of many short rounds the best: a neighbour's load comes and
goes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from gateway.app import settle_interpreter
from gateway.model.ids import Ids
from gateway.model.message import Draft, RawMessage
from gateway.model.times import CHINA
from gateway.shipped import shipped
from gateway.translate.engine import Mappings
from tests.bench.machine import machine
from tests.bench.v2_of_twenty import POPULATIONS, messages

NOW = datetime(2026, 3, 20, 9, 0, tzinfo=CHINA)
_ROUND, _ROUNDS = 20, 25  # messages, and rounds of them


def split_only(body: bytes) -> int:
    """The ceiling: decode, segments, fields, components."""
    cells = 0
    for line in body.decode().split("\r"):
        for field in line.split("|"):
            cells += len(field.split("^"))
    return cells


def rate(call: Callable[[bytes], object], bodies: Sequence[bytes]) -> float:
    """Messages a second of processor time in the best round."""
    best = 0.0
    for at in range(0, len(bodies), _ROUND):
        start = time.process_time()
        for body in bodies[at : at + _ROUND]:
            call(body)
        best = max(best, _ROUND / (time.process_time() - start))
    return best


def main(which: str = "") -> None:
    """Print the figures and the machine."""
    mappings = Mappings.load([shipped("mappings")], check=False)
    source = mappings.directory.sources["sandbox"]
    ids = Ids(b"bench" * 6)
    settle_interpreter()

    def translate(body: bytes) -> Draft:
        return mappings.translate(RawMessage("k", source.name, "v2", body, NOW), source, ids, NOW)

    print(machine())
    print(f"{'messages/s':26}{'bytes':>7}{'ceiling':>9}{'warm':>8}{'fresh':>8}   of the ceiling")
    for name in POPULATIONS:
        if which not in name:
            continue
        seen, unseen = messages(name, 200), messages(name, _ROUND * _ROUNDS, first=10_000)
        for body in seen:  # items, drugs and departments are known before the fresh ones come
            translate(body)
        fresh = rate(translate, unseen)
        warm = rate(translate, seen[:_ROUND] * _ROUNDS)
        ceiling = rate(split_only, unseen)
        share = f"{warm / ceiling:.0%} and {fresh / ceiling:.0%}"
        print(f"{name:26}{len(seen[0]):7,}{ceiling:9,.0f}{warm:8,.0f}{fresh:8,.0f}   {share}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
