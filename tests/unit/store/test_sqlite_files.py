"""What only the files of the SQLite engine can show: kills, tampering, unsafe settings, a second process."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest
import pytest_asyncio

from gateway.errors import ConfigError, StorageFull, UnsafeStore
from gateway.model.context import SYSTEM
from gateway.model.query import Filter, Query
from gateway.store.base import AuditRow, Plan, Put
from gateway.store.bodies import prepare
from gateway.store.engine_sqlite import SqliteEngine
from gateway.store.resources import ResourceStore, open_store
from gateway.store.sqlite_file import make_private
from gateway.store.sqlite_upkeep import FEW, pieces

NOW = datetime(2026, 3, 20, 1, 0, tzinfo=UTC)
READ = AuditRow(NOW, "R", "rest", "read", "0", "d1", "医生", "doctor", "m1", "TREAT")


def clock() -> datetime:
    return NOW


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[ResourceStore]:
    made = await open_store(f"sqlite:///{tmp_path}", clock=clock)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("file", "tampering"),
    [
        ("audit.db", "UPDATE seal SET row = replace(row, 'd1', 'd9') WHERE seq = 2"),
        ("audit.db", "UPDATE seal SET row = NULL WHERE seq = 2"),
        ("audit.db", "DELETE FROM seal WHERE n = 2"),
        ("store.db", "UPDATE effect SET row = replace(row, 'd1', 'd9')"),
        ("store.db", "DELETE FROM effect"),
    ],
)
async def test_tampering_breaks_the_chain(store: ResourceStore, tmp_path: Path, file: str, tampering: str) -> None:
    for _ in range(3):
        await store.disclose(READ)
    await store.commit(Plan(audits=(READ,)))
    await store.audit_log.seal()
    assert (await store.audit_log.verify()).broken == 0
    intruder = apsw.Connection(str(tmp_path / file))
    intruder.execute(tampering)
    intruder.close()
    assert (await store.audit_log.verify()).broken > 0


WRITER = """
    import asyncio, sys
    from gateway.model.times import system_clock
    from gateway.store.base import AuditRow, Done, Plan
    from gateway.store.bodies import prepare
    from gateway.store.resources import open_store

    async def main():
        store = await open_store("sqlite:///" + sys.argv[1], clock=system_clock)
        async def one(lane):
            for n in range(100_000):
                id_ = f"g{lane}-{n}"
                body = b'{"resourceType":"Organization","id":"%b","name":"x"}' % id_.encode()
                row = AuditRow(system_clock(), "C", "rest", "create", "0", "u", "u", "admin", "", "TREAT")
                done = (Done(id_, b"{}"),)
                await store.commit(Plan(puts=(prepare("Organization", id_, body),), audits=(row,), done=done))
                await store.disclose(row)
                print(id_, flush=True)
        await asyncio.gather(*(one(lane) for lane in range(8)))

    asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [40, 400])
async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path, lines: int) -> None:
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline().strip() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        said += [line.strip() for line in writer.stdout if line.endswith("\n")]
    store = await open_store(f"sqlite:///{tmp_path}", clock=clock)
    try:
        found = await store.read_many([("Organization", id_) for id_ in said], SYSTEM)
        assert len(found) == len(said) >= lines
        assert set(await store.done(said)) == set(said)
        page = await store.search(Query("Organization", count=1, total="accurate"), SYSTEM)
        assert page.total is not None and page.total >= len(said)
        sealed = await store.audit_log.seal()
        verdict = await store.audit_log.verify()
        assert verdict.broken == 0 and verdict.checked >= 2 * len(said) and sealed <= verdict.checked
        for problem in store_integrity(tmp_path):
            assert problem == "ok"
    finally:
        await store.close()


def store_integrity(folder: Path) -> list[str]:
    """What SQLite itself says of both files."""
    out: list[str] = []
    for name in ("store.db", "audit.db"):
        db = apsw.Connection(str(folder / name))
        out += [str(row[0]) for row in db.execute("PRAGMA integrity_check")]
        db.close()
    return out


async def test_a_second_process_is_refused(store: ResourceStore, tmp_path: Path) -> None:
    with pytest.raises(UnsafeStore):
        await open_store(f"sqlite:///{tmp_path}", clock=clock)


async def test_a_file_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    newer = sqlite3.connect(tmp_path / "store.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(UnsafeStore):
        SqliteEngine(tmp_path)


@pytest.mark.parametrize("url", ["mysql:///x", "sqlite:", "/var/lib", "sqlite:///"])
async def test_an_address_of_no_engine_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        await open_store(url, clock=clock)


async def test_a_full_disk_refuses_and_loses_nothing(store: ResourceStore, tmp_path: Path) -> None:
    body = b'{"resourceType":"Organization","id":"a","name":"x"}'
    await store.commit(Plan(puts=(prepare("Organization", "a", body),)))
    writer = store._engine._writer.connection  # type: ignore[attr-defined]
    pages = next(iter(writer.execute("PRAGMA page_count")))[0]
    writer.execute(f"PRAGMA max_page_count = {pages + 20}")
    big = body.replace(b'"x"', b'"' + b"".join(b"%x" % (n * 7919 % 65521) for n in range(90_000)) + b'"')
    with pytest.raises(StorageFull):
        await store.commit(Plan(puts=(prepare("Organization", "b", big.replace(b'"a"', b'"b"')),)))
    assert await store.read("Organization", "b", SYSTEM) is None
    writer.execute("PRAGMA max_page_count = 1000000")
    await store.commit(Plan(puts=(prepare("Organization", "c", body.replace(b'"a"', b'"c"')),)))
    assert await store.read("Organization", "c", SYSTEM) is not None


async def test_reads_do_not_wait_for_a_long_write(store: ResourceStore) -> None:
    body = b'{"resourceType":"Organization","id":"a","name":"x"}'
    await store.commit(Plan(puts=(prepare("Organization", "a", body),)))
    held = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(db: apsw.Connection) -> None:
        db.execute("INSERT INTO done VALUES('held', 0, x'')")
        loop.call_soon_threadsafe(held.set)
        time.sleep(1.0)

    writing = asyncio.create_task(store._engine._writer.run(hold))  # type: ignore[attr-defined]
    await held.wait()
    worst = 0.0
    while not writing.done():
        began = loop.time()
        assert await store.read("Organization", "a", SYSTEM) is not None
        await store.disclose(READ)
        worst = max(worst, loop.time() - began)
    await writing
    assert 0 < worst < 0.5


async def test_postings_of_many_commits_come_to_lie_together_and_find_the_same(
    store: ResourceStore, tmp_path: Path
) -> None:
    def observations(first: int, last: int) -> tuple[Put, ...]:
        text = (
            '{"resourceType":"Observation","status":"final","code":{"coding":[{"code":"c%d"}]},'
            '"subject":{"reference":"Patient/p%d"}}'
        )
        return tuple(
            prepare("Observation", f"o{n}", (text % (n % 5, n % 3)).encode(), patient=f"p{n % 3}")
            for n in range(first, last)
        )

    async def found() -> list[str]:
        filters = (Filter("patient", "reference", ("Patient/p1",)), Filter("code", "token", ("c2",)))
        page = await store.search(Query("Observation", filters, count=50), SYSTEM)
        return [one.id for one in page.matches]

    for n in range(200):
        await store.commit(Plan(puts=observations(n, n + 1)))
    looking = apsw.Connection(str(tmp_path / "store.db"))
    before = pieces(looking)
    expected = [f"o{n}" for n in range(199, -1, -1) if n % 3 == 1 and n % 5 == 2]
    assert before > FEW and await found() == expected
    store._engine._pages.clear()  # type: ignore[attr-defined]
    while await store.settle():
        pass
    assert pieces(looking) <= 2 * FEW and await found() == expected
    looking.close()


async def test_an_audit_log_that_cannot_be_sealed_says_why_once_and_when_it_is_over(
    store: ResourceStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults = iter([StorageFull(detail="0 MB free")] * 3)

    async def seal(_: object) -> None:
        for fault in faults:
            raise fault

    monkeypatch.setattr("gateway.store.resources._SEAL_S", 0.001)
    monkeypatch.setattr(type(store.audit_log), "seal", seal)
    store.start()
    for _ in range(200):
        if "sealed again" in caplog.text:
            break
        await asyncio.sleep(0.01)
    assert caplog.text.count("0 MB free") == 1 and caplog.text.count("sealed again") == 1


def test_files_of_an_earlier_release_become_their_owners_alone_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("store.db", "store.db-wal", "inbox.db", "audit-0.fresh", "sessions.db", "tokens.json", "store.lock")
    for name in (*names, "notes.txt"):
        (tmp_path / name).touch(0o644)
        (tmp_path / name).chmod(0o644)
    (tmp_path / "audit.db").touch(0o600)
    make_private(tmp_path)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in names} == {0o600}
    assert (tmp_path / "notes.txt").stat().st_mode & 0o777 == 0o644
    assert caplog.text.count("could be read by others (644)") == len(names)
    make_private(tmp_path)
    assert len(caplog.records) == len(names)
