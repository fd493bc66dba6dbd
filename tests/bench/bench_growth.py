"""What writing costs while a population grows: the FHIR door over kept populations in turns, first against last.

    python -m tests.bench.bench_growth [--residents 1000,16000] [--postgres [--workers 2]] [--rounds 7]

Each is a copy of a population that `bench_search` made and kept, with gateways of its own, everything on (validation,
identity, audit, fsync). Transactions of 300 entries and single creates go to residents drawn at random. The populations
take turns, so that a noisy moment meets them all; figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tests.bench.bench_store import Feed
from tests.bench.bench_write import ENTRIES, House, Running, bundle, resource, send
from tests.bench.machine import machine
from tests.bench.populations import Databases, Files, kept, resident

_WARM = 2
"""Rounds that do not count: caches fill, upkeep comes to its end."""
_VISITS = 1_000
"""Numbers of visits begin here; those of the population itself are below."""


class _Grown:
    """A copy of a population with gateways on it. bundled, created: resources a second of each round."""

    def __init__(self, places: Files | Databases, size: int, home: Path, workers: int) -> None:
        self.feed = Feed([resident(number) for number in range(size)])
        self.feed.count = _VISITS
        self.name = f"{size}-written"
        places.drop(self.name)
        places.copy(str(size), self.name)
        url = places.url(self.name)
        first = Path(url.removeprefix("sqlite:///")) if isinstance(places, Files) else home / self.name
        self._house = House([Running(first / str(n) if n else first, url) for n in range(workers)])
        self._ports = [one.port for one in self._house.gateways]
        self.bundled: list[float] = []
        self.created: list[float] = []

    def turn(self) -> None:
        """A round: twelve transactions of four clients, 640 creates of 64."""
        self.bundled.append(ENTRIES * self._rate("/fhir", bundle, 4, 3))
        self.created.append(self._rate("/fhir/Observation", resource, 64, 10))

    def _rate(self, path: str, make: Callable[[Feed], bytes], clients: int, each: int) -> float:
        lanes = [[make(self.feed) for _ in range(each)] for _ in range(clients)]
        return clients * each / send(self._ports, path, lanes)[0]

    def stop(self) -> None:
        """End its gateways."""
        self._house.stop()


def main() -> None:
    """Print a line a kind of writing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--residents", default="1000,16000", help="populations `bench_search` made")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    print(machine())
    places, _ = kept(asked.postgres)
    with tempfile.TemporaryDirectory() as home:
        grown = [_Grown(places, int(size), Path(home), asked.workers) for size in asked.residents.split(",")]
        for _ in range(_WARM + asked.rounds):
            for one in grown:
                one.turn()
        for one in grown:
            one.stop()
            places.drop(one.name)
    print(f"{'resources a second':<32}" + "".join(f"{size:>9} res" for size in asked.residents.split(",")) + "   ratio")
    for what, each in (
        ("transactions of 300, 4 clients", [one.bundled[_WARM:] for one in grown]),
        ("single creates, 64 clients", [one.created[_WARM:] for one in grown]),
    ):
        middle = [median(rates) for rates in each]
        print(f"{what:<32}" + "".join(f"{rate:>13,.0f}" for rate in middle) + f"{middle[0] / middle[-1]:>8.2f}")


if __name__ == "__main__":
    main()
