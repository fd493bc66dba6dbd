"""How commands speak: progress and remarks on stderr, data on stdout, exit codes by name."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ..model.times import CHINA

T = TypeVar("T")
_console = Console(stderr=True, highlight=False)


class Exit(IntEnum):
    """Exit codes (design §5)."""

    OK = 0
    USAGE = 2
    CONFIG = 3
    UPSTREAM = 4
    PARTIAL = 5


def say(text: str) -> None:
    """One line to a person."""
    _console.print(text, markup=False, soft_wrap=True)


def told(at: datetime) -> str:
    """A moment for a person, as `--since` reads it: `2026-03-20T09:00:00` in +08:00."""
    return at.astimezone(CHINA).strftime("%Y-%m-%dT%H:%M:%S")


def emit(data: object) -> None:
    """One JSON line to a program."""
    sys.stdout.write(json.dumps(data, ensure_ascii=False, default=str) + "\n")


def tracked(items: Iterable[T], total: int, title: str) -> Iterator[T]:
    """The items, with a progress bar where stderr is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console, disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(title, total=total)
        for item in items:
            yield item
            progress.advance(task)


@contextmanager
def bytes_done() -> Iterator[Callable[[str, int], None]]:
    """Told (part, bytes just done), it shows a bar for the part, where stderr is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=_console, disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("", total=None)

        def told(part: str, done: int) -> None:
            progress.update(task, description=part, advance=done)

        yield told


@contextmanager
def counted(title: str) -> Iterator[Callable[[int], None]]:
    """Told how much is done so far, it shows the number, where stderr is a terminal."""
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:,.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=_console, disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def rows_done(total: int) -> Iterator[Callable[[str, int], None]]:
    """Told (what is done, rows just done), it shows a bar of them all, where stderr is a terminal."""
    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console, disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda what, rows: progress.update(task, description=what, advance=rows)
