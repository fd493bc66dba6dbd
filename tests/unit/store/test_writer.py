"""Group commit: one transaction for all who wait, one failing job undone alone (D4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest
import pytest_asyncio

from gateway.errors import StoreError
from gateway.store.writer import GroupWriter, connect


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
