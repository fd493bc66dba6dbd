"""Where a walk goes: every transaction no zone rules out, newest first, once, and only as far as somebody asks."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.store.compiled import Compiled
from gateway.store.packing import short
from gateway.store.zone import Group, Zone, grouped, leaves, united
from gateway.store.zones import Windows

WORD = 77
NOT_WORD = Windows(cast(Compiled, SimpleNamespace(none=[WORD], absent=[], spans=[], reaches=[])))


def zone(first: int, last: int, *, carried: bool) -> Zone:
    return Zone(first, last, b"", b"", (short(WORD),) if carried else (), (), (), last - first + 1)


def zones(seed: int, count: int) -> list[Zone]:
    chance, first, out = random.Random(seed), 0, []
    for _ in range(count):
        last = first + chance.randrange(1, 9)
        out.append(zone(first, last, carried=chance.random() < 0.6))
        first = last + 1
    return out


@pytest.mark.parametrize("seed", range(40))
def test_what_no_zone_rules_out_is_walked_once_and_newest_first(seed: int) -> None:
    made = zones(seed, (1, 7, 40, 600)[seed % 4])
    end = made[-1].last
    low, top = sorted(random.Random(-seed).choices(range(end + 20), k=2))
    windows = list(NOT_WORD.newest_first(grouped(made), (low, top)))

    ruled_out = {tx for one in made if one.shared for tx in range(one.first, one.last + 1)}
    walked = [tx for first, last in windows for tx in range(last, first - 1, -1)]
    assert walked == [tx for tx in range(top, low - 1, -1) if tx not in ruled_out]


def test_the_first_stretch_costs_the_same_however_many_zones_there_are() -> None:
    windows = NOT_WORD.newest_first(grouped([zone(n, n, carried=False) for n in range(5_000)]), (0, 6_000))
    assert next(windows) == (4_984, 6_000)


def test_one_look_tells_that_nothing_can_match_anywhere() -> None:
    nodes = grouped([zone(n, n, carried=True) for n in range(5_000)])
    assert len(nodes) <= 16
    assert list(NOT_WORD.newest_first(nodes, (0, 4_999))) == []


def test_groups_that_did_not_change_are_the_same_again() -> None:
    made = zones(1, 700)
    before = grouped(made)
    after = grouped([*made, zone(made[-1].last + 1, made[-1].last + 3, carried=True)], before)
    assert list(leaves(after))[:-1] == made
    assert after[0] is before[0] and isinstance(after[0].parts[0], Group)
    assert after[-1].whole == united(list(leaves(after[-1:])))
