"""Backup and restore on both engines: taken while writes run, complete, refused when anything was changed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import apsw
import psycopg
import pytest

from gateway.cli import main
from gateway.commands.talk import Exit
from gateway.inbox.queue import Arrival, open_inbox
from gateway.model.context import SYSTEM
from gateway.model.outcome import State
from gateway.model.query import Query
from gateway.store.base import AuditQuery, Done, Plan
from gateway.store.inbox_base import Settled
from gateway.store.resources import open_store
from tests.contract.clinic import audit, ids, observation, organization, patient, where
from tests.contract.conftest import START, Site
from tests.contract.postgres import TestServer
from tests.faults import Disk

Place = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Gives the address of an empty store each time."""
    if request.param == "postgres":
        server: TestServer = request.getfixturevalue("server")
        return server.schema
    numbers = iter(range(9))
    return lambda: f"sqlite:///{tmp_path / f'home{next(numbers)}'}"


def at(url: str) -> list[str]:
    """The address as a command is told it."""
    return ["--home", url.removeprefix("sqlite:///")] if url.startswith("sqlite") else ["--url", url]


def home(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else Path("/nowhere")


def run(*words: str) -> int:
    return main(["store", *words])


async def fill(url: str, numbers: range, path: Path | None = None) -> None:
    """A few residents, messages and disclosures; with a path, a backup is taken halfway while writes go on."""
    store, inbox = await open_store(url, clock=lambda: START), await open_inbox(home(url), url)
    taking: list[asyncio.Task[int]] = []
    try:
        for n in numbers:
            kept = await inbox.keep(Arrival("s", "v2", b"message %d" % n, START))
            puts = (patient(f"p{n}"), observation(f"o{n}", f"p{n}"), organization(f"g{n}", "院"))
            await store.commit(Plan(puts=puts, audits=(audit(START),), done=(Done(kept.key, b"{}"),)))
            await store.disclose(audit(START))
            await inbox.messages.settle([Settled(kept.key, State.PROCESSED)])
            if path and n == numbers[len(numbers) // 2]:
                taking.append(asyncio.create_task(asyncio.to_thread(run, "backup", str(path), *at(url))))
        assert [await one for one in taking] == [Exit.OK] * len(taking)
    finally:
        await inbox.close()
        await store.close()


async def test_a_backup_taken_while_writes_run_is_whole_and_restores(place: Place, tmp_path: Path) -> None:
    source, target, path = place(), place(), tmp_path / "copy.zip"
    await fill(source, range(60), path)
    assert path.stat().st_mode & 0o077 == 0
    assert await asyncio.to_thread(run, "restore", str(path), *at(target)) == Exit.OK
    store, inbox = await open_store(target, clock=lambda: START), await open_inbox(home(target), target)
    try:
        page = await store.search(Query("Observation", count=1, total="accurate"), SYSTEM)
        assert page.total is not None and 31 <= page.total <= 60
        entries = await inbox.messages.entries(limit=100)
        done = await store.done([entry.key for entry in entries])
        # What has its outcome in the copy is settled there or found settled; nothing else may look settled.
        assert len(done) == page.total and len(entries) >= page.total
        assert all(entry.state is State.RECEIVED or entry.key in done for entry in entries)
        assert {entry.key for entry in entries} >= set(done)
        assert (await store.audit_log.verify()).broken == 0
        assert len(await store.audits(AuditQuery(limit=1_000))) >= 60
        await store.commit(Plan(puts=(organization("after", "院"),), audits=(audit(START),)))
        kept = await inbox.keep(Arrival("s", "v2", b"after", START))
        assert kept.key not in done and not kept.duplicate
    finally:
        await inbox.close()
        await store.close()


async def test_tables_of_many_pages_are_restored(server: TestServer, tmp_path: Path) -> None:
    source, target, path = server.schema(), server.schema(), tmp_path / "copy.zip"
    await fill(source, range(2))
    with psycopg.connect(source, autocommit=True) as connection:  # as 1,500 messages would leave it
        (schema,) = connection.execute("SELECT current_schema()").fetchone() or ("",)
        connection.execute(
            f"INSERT INTO {schema}_inbox.message OVERRIDING SYSTEM VALUE SELECT n + 9, n, n, 1, 410, NULL, 's', 'v2',"
            " '', repeat('c', 16 + n % 2), '', md5(n::text)::bytea, repeat('o', (md5(n::text) < '5')::int * 65), NULL"
            " FROM generate_series(1, 1500) n".encode()
        )
    for words in (["backup", str(path), *at(source)], ["restore", str(path), *at(target)]):
        assert await asyncio.to_thread(run, *words) == Exit.OK


async def test_a_restored_store_has_the_same_key_and_the_same_resources(place: Place, tmp_path: Path) -> None:
    source, target, path = place(), place(), tmp_path / "copy.zip"
    await fill(source, range(5))
    for words in (("backup", str(path), *at(source)), ("restore", str(path), *at(target))):
        assert await asyncio.to_thread(run, *words) == Exit.OK
    stores = [await open_store(url, clock=lambda: START) for url in (source, target)]
    try:
        bodies = [[one.body for one in await store.everything("p3", SYSTEM)] for store in stores]
        assert bodies[0] == bodies[1] and len(bodies[0]) == 2
        assert stores[0].store_key == stores[1].store_key
        heads = [await store.audit_log.head() for store in stores]
        assert heads[0] == heads[1]
    finally:
        for store in stores:
            await store.close()


async def test_a_backup_has_the_disclosures_of_the_last_moment(place: Place, tmp_path: Path) -> None:
    source, target, path = place(), place(), tmp_path / "copy.zip"
    store, inbox = await open_store(source, clock=lambda: START), await open_inbox(home(source), source)
    try:
        for n in range(1, 41):
            await store.disclose(audit(START, detail=str(n)))
            if n == 20:
                await store.audit_log.seal()
        assert await asyncio.to_thread(run, "backup", str(path), *at(source)) == Exit.OK
    finally:
        await inbox.close()
        await store.close()
    assert await asyncio.to_thread(run, "restore", str(path), *at(target)) == Exit.OK
    again = await open_store(target, clock=lambda: START)
    try:
        assert [int(row.detail) for _, row in await again.audits(AuditQuery(limit=100))] == list(range(40, 0, -1))
        assert (await again.audit_log.verify()).checked == 40
    finally:
        await again.close()


async def test_a_changed_or_cut_off_backup_is_refused_and_leaves_nothing(place: Place, tmp_path: Path) -> None:
    source, path = place(), tmp_path / "copy.zip"
    await fill(source, range(5))
    assert await asyncio.to_thread(run, "backup", str(path), *at(source)) == Exit.OK
    assert await asyncio.to_thread(run, "backup", str(path), *at(source)) == Exit.CONFIG  # never overwritten
    changed, torn = tmp_path / "changed.zip", tmp_path / "torn.zip"
    torn.write_bytes(path.read_bytes()[:-300])
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data.replace(b"message 3", b"message 4") if "json" in name else data[:-1] + b"!")
    outside = tmp_path / "outside.zip"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(outside, "w") as new:
        for name in old.namelist():
            new.writestr(
                name.replace("inbox", "../outside"), old.read(name).replace(b'"name":"inbox', b'"name":"../outside')
            )
    target = place()
    for bad in (changed, torn, outside, tmp_path / "missing.zip"):
        assert await asyncio.to_thread(run, "restore", str(bad), *at(target)) == Exit.CONFIG
    assert await asyncio.to_thread(run, "restore", str(path), *at(target)) == Exit.OK
    assert await asyncio.to_thread(run, "restore", str(path), *at(target)) == Exit.CONFIG  # not empty any more
    assert not [*tmp_path.rglob("outside*.db")]
    kept = [one for one in tmp_path.rglob("*") if one.is_file() and one.suffix != ".zip"]
    assert not [one for one in kept if one.stat().st_mode & 0o077], "its owner's alone"


async def test_commands_answer_in_json(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, path = place(), tmp_path / "copy.zip"
    await fill(source, range(3))
    capsys.readouterr()
    for action in (("stats",), ("migrate",), ("verify",), ("backup", str(path))):
        assert await asyncio.to_thread(run, *action, *at(source), "--json") == Exit.OK
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (verdict,) = [one for one in lines if "checked" in one]
    assert (
        {"versions": 9} in lines and {"migrated": True} in lines and (verdict["checked"], verdict["broken"]) == (6, 0)
    )
    assert await asyncio.to_thread(run, "verify", *at(source), "--head", verdict["head"]) == Exit.OK
    other = "7" + verdict["head"][1:]
    assert await asyncio.to_thread(run, "verify", *at(source), "--head", other) == Exit.PARTIAL
    assert lines[-1]["bytes"] == path.stat().st_size


async def test_reindex_finds_again_what_it_found_before(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    await site.store.commit(Plan(puts=(patient("p1", "张三"), observation("o1", "p1"))))
    await site.opened.pop().close()
    assert await asyncio.to_thread(main, ["store", "reindex", *at(site.url), "--json"]) == 0
    assert '{"reindexed": 2}' in capsys.readouterr().out
    store = await site.open()
    page = await store.search(Query("Observation", (where("code", "token", "2823-3"),)), SYSTEM)
    assert ids(page.matches) == ["o1"] and not await store.reindex_due()


async def test_a_backup_of_a_newer_release_is_refused_before_anything_is_there(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target, path = place(), place(), tmp_path / "copy.zip"
    await fill(source, range(2))
    if source.startswith("sqlite"):
        with contextlib.closing(apsw.Connection(str(home(source) / "store.db"))) as later:
            later.execute("PRAGMA user_version = 99")
    else:
        with psycopg.connect(source, autocommit=True) as connection:
            connection.execute("INSERT INTO migration VALUES(99, 'later', now())")
    assert await asyncio.to_thread(run, "backup", str(path), *at(source)) == Exit.OK
    capsys.readouterr()
    for words in (("restore", str(path), *at(target)), ("verify", *at(source))):
        assert await asyncio.to_thread(run, *words) == Exit.CONFIG
        said = capsys.readouterr().err
        assert "GW-CFG-007" in said and "99" in said and "已恢复" not in said
    assert not list(home(target).glob("*")) if target.startswith("sqlite") else True


async def test_a_full_disk_is_named_and_leaves_no_part_of_a_backup(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, folder = f"sqlite:///{tmp_path / 'home'}", tmp_path / "backups"
    await fill(source, range(5))
    folder.mkdir()
    with Disk(remember=False) as disk:
        disk.full = lambda path: "/backups/" in path
        assert await asyncio.to_thread(run, "backup", str(folder / "copy.zip"), *at(source)) == Exit.USAGE
    gc.collect()
    said = capfd.readouterr().err
    assert f"{folder}/copy.zip" in said and "磁盘已满" in said and "Traceback" not in said
    assert not list(folder.iterdir())
