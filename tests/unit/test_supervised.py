"""The parent of several workers: who is started again, and what ends all of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

from gateway.commands.talk import Exit
from gateway.commands.workers import Family, Work, Worker
from gateway.errors import ConfigError


def reaped(family: Family) -> int:
    """What the family makes of the end of its only worker."""
    for worker in family.absent:
        worker.due = 0
    family.start_due()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if (code := family.reap()) or not family.running:
            return code
        time.sleep(0.005)
    raise AssertionError("the worker did not end")


def dying(*lives: int | type[ConfigError]) -> Iterator[Work]:
    for life in lives:

        def work(number: int, stop: int, life: int | type[ConfigError] = life) -> int:
            if isinstance(life, type):
                raise life("store.url", "no connection")
            os.kill(os.getpid(), life)
            return 0

        yield work


def test_a_worker_that_served_is_started_again_while_its_database_is_away() -> None:
    family = Family(lambda number, stop: 0, os.pipe(), absent=[Worker(0)])
    for family.work in dying(signal.SIGKILL, ConfigError, ConfigError):
        assert reaped(family) == 0 and len(family.absent) == 1


def test_a_worker_that_never_served_ends_all() -> None:
    (work,) = dying(ConfigError)
    assert reaped(Family(work, os.pipe(), absent=[Worker(0)])) == Exit.CONFIG
