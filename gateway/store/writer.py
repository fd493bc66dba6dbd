"""One writing thread a SQLite file, one fsync for everybody who waits (group commit, D4).

Jobs run in the order given, each in its own savepoint: one that fails is undone alone and its
caller gets the exception; the others commit. A job's result reaches its caller only after COMMIT,
that is, after the fsync (WAL, synchronous=FULL).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import apsw

from ..errors import StorageFull, StoreError, UnsafeStore
from .figures import Commits

log = logging.getLogger("gateway.store")
T = TypeVar("T")
Job = Callable[[apsw.Connection], Any]


@dataclass(frozen=True, slots=True)
class Together:
    """A job that shares its statements with equal neighbours: `run(db, works)` gives an answer or an exception each.

    alone: this one may not. When `run` itself fails, all are undone and each runs by itself.
    """

    run: Callable[[apsw.Connection, Sequence[Any]], Sequence[Any]]
    work: Any
    alone: bool = False

    def __call__(self, db: apsw.Connection) -> Any:
        """By itself."""
        (answer,) = self.run(db, (self.work,))
        if isinstance(answer, Exception):
            raise answer
        return answer


_Waiting = tuple[Job, asyncio.AbstractEventLoop, "asyncio.Future[Any]"]
_SAFE = (3, 51, 3)
_MAPPED = 1 << 40
"""Bytes of a file that readers may see without a system call: all of it, however far it grows."""
RESERVE_BYTES = 128 * 2**20
"""What store and inbox leave free, so that on a full disk reading goes on: it needs the audit log's rows."""
_ENOUGH = 64
"""Jobs of a group that waits for no more."""
_LONGEST_S = 0.01


def connect(path: str, *, writer: bool, cache_mb: int = 16) -> apsw.Connection:
    """A connection with the settings nothing acknowledged can be lost under (D10).

    cache_mb: most it may hold in pages of its own; readers see the file through `mmap`, and need few.
    """
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < _SAFE:
        raise UnsafeStore("sqlite", f"SQLite {apsw.sqlite_lib_version()} < 3.51.3 (WAL-reset)")
    if writer:
        Path(path).touch(0o600)  # records and keys are in it, and what SQLite makes beside it is as private
    connection = apsw.Connection(path)
    connection.set_busy_timeout(10_000)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute(f"PRAGMA cache_size={-1024 * cache_mb}")
    connection.execute(f"PRAGMA mmap_size={_MAPPED}")
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


class GroupWriter:
    """Owns the only writing connection of a file."""

    def __init__(
        self,
        path: str,
        *,
        group: int = 256,
        checkpoint_pages: int = 4000,
        keep_free: int = RESERVE_BYTES,
        cache_mb: int = 16,
        gather: float = 0.0,
    ) -> None:
        """checkpoint_pages: how long the WAL grows before its pages are written back, each of them once.

        keep_free: bytes of the disk this writer leaves to others; with less it refuses every job.
        cache_mb: see `connect`; a file that is only added to needs little.
        gather: where several write, the part of the last commit's time a small group waits for those on their way
        (a commit of one row of the store costs a fifth of what a commit of sixteen does).
        """
        self.connection = connect(path, writer=True, cache_mb=cache_mb)
        self.commits = Commits()
        self._checkpoints = _Checkpointer(path, self.connection, checkpoint_pages)
        self._group, self._gather = group, gather
        self._disk = _Disk(path, keep_free)
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._given: list[_Waiting] = []  # in this turn of the loop, not yet handed over
        self._submitted = self._taken = 0
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=f"writer:{path}", daemon=True)
        self._thread.start()

    async def run(self, job: Callable[[apsw.Connection], T]) -> T:
        """Run `job` on the writing thread; returns its result once it is on disk. Raises StorageFull."""
        return await self.submit(job)

    def submit(self, job: Callable[[apsw.Connection], T]) -> asyncio.Future[T]:
        """The future of `run`, for who wants to know also when its caller went away. Raises StorageFull."""
        self._disk.check()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._submitted += 1
        if not self._given:
            loop.call_soon(self._hand_over)
        self._given.append((job, loop, future))
        return future

    def _hand_over(self) -> None:
        """All of a turn at once: the thread, woken by the first, would take the interpreter from who gives the next."""
        given, self._given = self._given, []
        self._jobs.put(given)

    def waiting(self) -> int:
        """How many jobs are queued (approximate)."""
        return self._submitted - self._taken

    def close(self) -> None:
        """Finish what is queued, checkpoint, close."""
        self._hand_over()
        self._closing = True
        self._jobs.put([])
        self._thread.join()

    def _work(self) -> None:
        gather = 0.0  # seconds
        while not (self._closing and self._jobs.empty()):
            batch = self._gathered(gather)
            self._taken += len(batch)
            began = time.perf_counter()
            self._commit(batch)
            several = len(batch) > 1
            gather = min(self._gather * (time.perf_counter() - began), _LONGEST_S) if several else 0.0
            self._checkpoints.after_commit()
        self._checkpoints.close()
        with contextlib.suppress(apsw.Error):  # the next start checkpoints what could not be now
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.connection.close()

    def _gathered(self, seconds: float) -> list[_Waiting]:
        """The next group, waited for so long when it is small; empty to wake a thread that is to end."""
        batch: list[_Waiting] = self._jobs.get()
        self._add_ready(batch)
        if seconds and len(batch) < _ENOUGH and not self._closing:
            time.sleep(seconds)
            self._add_ready(batch)
        return batch

    def _add_ready(self, batch: list[_Waiting]) -> None:
        with contextlib.suppress(queue.Empty):
            while len(batch) < self._group:
                batch += self._jobs.get_nowait()

    def _commit(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        answers: list[tuple[Any, BaseException | None]] = []
        began = time.perf_counter()
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            for jobs in _stretches(batch):
                answers += self._many(jobs) if len(jobs) > 1 else [self._one(jobs[0])]
            self.connection.execute("COMMIT")
            self.commits.add(len(batch), time.perf_counter() - began)
        except Exception as fault:  # whatever it is, everybody who waits is told, and this thread lives on
            self._undo()
            error = _translated(fault)
            answers = [(None, error)] * len(batch)
        _answer(batch, answers)

    def _many(self, jobs: list[Job]) -> list[tuple[Any, BaseException | None]]:
        first = jobs[0]
        assert isinstance(first, Together)
        works = [job.work for job in jobs if isinstance(job, Together)]
        answers, fault = self._one(lambda db: first.run(db, works))
        if fault is not None:
            return [self._one(job) for job in jobs]
        return [(None, one) if isinstance(one, Exception) else (one, None) for one in answers]

    def _one(self, job: Job) -> tuple[Any, BaseException | None]:
        self.connection.execute("SAVEPOINT job")
        try:
            result = job(self.connection)
        except (apsw.FullError, apsw.IOError):
            raise
        except Exception as fault:
            self.connection.execute("ROLLBACK TO job")
            self.connection.execute("RELEASE job")
            return None, fault
        self.connection.execute("RELEASE job")
        return result, None

    def _undo(self) -> None:
        with contextlib.suppress(apsw.Error):  # SQLite has undone it itself; this thread must live on
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")


class _Disk:
    """Looks once a second how much room there is."""

    def __init__(self, path: str, keep_free: int) -> None:
        self._path, self.keep_free = path, keep_free
        self._looked, self._free = 0.0, 0

    def check(self) -> None:
        """Raises StorageFull when less is free than must stay free."""
        if not self.keep_free:
            return
        now = time.monotonic()
        if now - self._looked > 1.0:
            found = os.statvfs(self._path)
            self._looked, self._free = now, found.f_bavail * found.f_frsize
        if self._free < self.keep_free:
            raise StorageFull(detail=f"{self._free >> 20} MB free, {self.keep_free >> 20} MB stay reserved")


def _stretches(batch: list[_Waiting]) -> Iterator[list[Job]]:
    """Jobs in order, neighbours that run together in one list."""
    found: list[Job] = []
    for job, *_ in batch:
        if found and _together(found[-1], job):
            found.append(job)
            continue
        if found:
            yield found
        found = [job]
    if found:
        yield found


def _together(one: Job, other: Job) -> bool:
    if not isinstance(one, Together) or not isinstance(other, Together):
        return False
    return one.run is other.run and not one.alone and not other.alone


class _Checkpointer:
    """Writes the WAL back beside the writer: a checkpoint inside a commit made its p99 92 ms, beside it 28 ms.

    While commits never pause, a checkpoint never catches the last one and the WAL cannot start anew; at four
    times its size the writer waits for it once.
    """

    def __init__(self, path: str, writer: apsw.Connection, pages: int) -> None:
        self._writer, self._limit, self._pages = writer, pages, 0
        self._own = connect(path, writer=False)
        self._one_at_a_time = threading.Lock()
        self._asked = threading.Event()
        self._closing = False
        writer.set_wal_hook(self._saw)
        self._thread = threading.Thread(target=self._work, name=f"checkpoint:{path}", daemon=True)
        self._thread.start()

    def _saw(self, _: apsw.Connection, __: str, pages: int) -> int:
        self._pages = pages
        return int(apsw.SQLITE_OK)

    def after_commit(self) -> None:
        """Ask for a checkpoint when one is due; on the writing thread."""
        if self._pages > 4 * self._limit:
            with self._one_at_a_time:
                _checkpoint(self._writer)
        elif self._pages > self._limit:
            self._asked.set()

    def _work(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._closing:
                return
            with self._one_at_a_time:
                _checkpoint(self._own)

    def close(self) -> None:
        """Stop; the caller checkpoints for good."""
        self._closing = True
        self._asked.set()
        self._thread.join()
        self._own.close()


def _checkpoint(connection: apsw.Connection) -> None:
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except apsw.BusyError:  # the next commit asks again
        return
    except apsw.Error as fault:  # nothing is lost: it stays in the WAL; a full disk ends here too
        log.warning("checkpoint failed: %s", type(fault).__name__)


def _translated(fault: Exception) -> BaseException:
    if isinstance(fault, apsw.FullError):
        return StorageFull(detail="disk full")
    return StoreError(detail=type(fault).__name__)


def _answer(batch: list[_Waiting], answers: list[tuple[Any, BaseException | None]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any, BaseException | None]]] = {}
    for (_, loop, future), (result, fault) in zip(batch, answers, strict=True):
        by_loop.setdefault(loop, []).append((future, result, fault))
    for loop, items in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, items)


def _settle(items: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for future, result, fault in items:
        if future.done():
            continue
        if fault is not None:
            future.set_exception(fault)
        else:
            future.set_result(result)
