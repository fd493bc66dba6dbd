"""Group commit: one transaction for all who wait, one failing job undone alone (D4)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import apsw
import pytest
import pytest_asyncio

from gateway.errors import StoreError
from gateway.store.writer import GroupWriter, Together, connect


@pytest_asyncio.fixture
async def writer(tmp_path: Path) -> AsyncIterator[GroupWriter]:
    made = GroupWriter(str(tmp_path / "x.db"), checkpoint_pages=20)
    await made.run(lambda db: db.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, pad BLOB)"))
    yield made
    await asyncio.to_thread(made.close)


def put(n: int, pad: bytes = b"") -> object:
    return lambda db: db.execute("INSERT INTO t VALUES(?, ?)", (n, pad))


def held(path: Path) -> int:
    db = connect(str(path / "x.db"), writer=False)
    found = int(next(iter(db.execute("SELECT count(*) FROM t")))[0])
    db.close()
    return found


async def test_what_returned_is_on_disk(writer: GroupWriter, tmp_path: Path) -> None:
    await asyncio.gather(*(writer.run(put(n)) for n in range(500)))  # type: ignore[arg-type]
    assert held(tmp_path) == 500


async def test_a_failing_job_is_undone_alone(writer: GroupWriter, tmp_path: Path) -> None:
    def fail(db: apsw.Connection) -> None:
        db.execute("INSERT INTO t VALUES(99, x'')")
        raise StoreError(detail="no")

    answers = await asyncio.gather(
        *(writer.run(put(n)) for n in range(5)),  # type: ignore[arg-type]
        writer.run(fail), writer.run(put(3)),  # type: ignore[arg-type]
        *(writer.run(put(n)) for n in range(5, 10)),  # type: ignore[arg-type]
        return_exceptions=True,
    )  # fmt: skip
    assert [type(one) for one in answers if isinstance(one, Exception)] == [StoreError, apsw.ConstraintError]
    assert held(tmp_path) == 10


async def test_the_wal_does_not_grow_for_ever(writer: GroupWriter, tmp_path: Path) -> None:
    for n in range(400):
        await writer.run(put(n, bytes(9000)))  # type: ignore[arg-type]
    assert (tmp_path / "x.db-wal").stat().st_size < 200 * 4200
    assert held(tmp_path) == 400


async def test_a_caller_who_went_away_harms_nobody(writer: GroupWriter, tmp_path: Path) -> None:
    gone = asyncio.create_task(writer.run(put(1)))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    await writer.run(put(2))  # type: ignore[arg-type]
    assert held(tmp_path) == 2


async def test_jobs_that_run_together_each_get_their_own_answer(writer: GroupWriter, tmp_path: Path) -> None:
    sizes: list[int] = []

    def run(db: apsw.Connection, works: Sequence[int]) -> list[object]:
        sizes.append(len(works))
        for n in works:
            db.execute("INSERT INTO t VALUES(?, x'')", (n,))
        return [StoreError(detail="odd") if n % 2 else n for n in works]

    busy = asyncio.ensure_future(writer.run(lambda db: time.sleep(0.05)))
    answers = await asyncio.gather(
        *(writer.run(Together(run, n, alone=n == 5)) for n in range(10)), return_exceptions=True
    )
    await busy
    refused = [n for n, one in enumerate(answers) if isinstance(one, StoreError)]
    assert refused == [1, 3, 5, 7, 9] and [one for one in answers if isinstance(one, int)] == [0, 2, 4, 6, 8]
    assert held(tmp_path) == 9 and sizes == [5, 1, 4]  # the one alone said no, so nothing of it stayed


async def test_a_fault_among_jobs_together_is_found_by_running_each_alone(writer: GroupWriter, tmp_path: Path) -> None:
    await writer.run(put(3))  # type: ignore[arg-type]

    def run(db: apsw.Connection, works: Sequence[int]) -> list[object]:
        for n in works:
            db.execute("INSERT INTO t VALUES(?, x'')", (n,))
        return list(works)

    busy = asyncio.ensure_future(writer.run(lambda db: time.sleep(0.05)))
    answers = await asyncio.gather(*(writer.run(Together(run, n)) for n in range(6)), return_exceptions=True)
    await busy
    assert [one if isinstance(one, int) else type(one) for one in answers] == [0, 1, 2, apsw.ConstraintError, 4, 5]
    assert held(tmp_path) == 6


def test_each_connection_holds_no_more_pages_than_it_was_allowed(tmp_path: Path) -> None:
    def pages(**limit: int) -> int:
        db = connect(str(tmp_path / "x.db"), writer=True, **limit)
        found = int(next(iter(db.execute("PRAGMA cache_size")))[0])
        db.close()
        return found

    assert pages() == -16 * 1024  # kilobytes
    assert pages(cache_mb=3) == -3 * 1024


async def test_the_writing_connection_takes_the_allowance_of_its_file(tmp_path: Path) -> None:
    made = GroupWriter(str(tmp_path / "x.db"), cache_mb=5)
    found = await made.run(lambda db: next(iter(db.execute("PRAGMA cache_size")))[0])
    await asyncio.to_thread(made.close)
    assert found == -5 * 1024
