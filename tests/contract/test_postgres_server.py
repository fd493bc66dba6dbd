"""What only a server can do: be set up unsafely, serve several processes, drop its connections."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pytest

from gateway.errors import ConfigError, Conflict, NewerRelease, StoreError, UnsafeStore
from gateway.inbox.queue import open_inbox
from gateway.model.context import SYSTEM
from gateway.model.query import Filter, Query
from gateway.model.resource import loads
from gateway.model.systems import local_number
from gateway.store.base import AuditQuery, Committed, Condition, Delete, Done, Once, Plan, RecordPut, src_of
from gateway.store.inbox_base import Arrival
from gateway.store.postgres_database import COMMIT, Database, space_of
from gateway.store.resources import ResourceStore, open_store
from tests.contract.clinic import M1, audit, ids, observation, of, organization, patient
from tests.contract.conftest import START
from tests.contract.postgres import TestServer


async def opened(url: str) -> ResourceStore:
    return await open_store(url, clock=lambda: START)


async def test_what_one_gateway_writes_another_sees_at_once(two: tuple[ResourceStore, ResourceStore]) -> None:
    here, there = two
    assert here.store_key == there.store_key
    assert (await there.search(Query("Observation", (of("p1"),)), SYSTEM)).matches == ()
    done = await here.commit(Plan(puts=(observation("o1", "p1"), patient("p1"))))
    page = await there.search(Query("Observation", (of("p1"),)), SYSTEM)
    assert ids(page.matches) == ["o1"] and page.as_of == done.tx
    assert ids(await there.everything("p1", SYSTEM)) == ["p1", "o1"]
    waiting = asyncio.create_task(there.changes.wait(done.tx, 5))
    await asyncio.sleep(0.05)
    await here.commit(Plan(puts=(observation("o2", "p1"),)))
    assert await waiting


async def test_two_gateways_count_versions_and_transactions_together(two: tuple[ResourceStore, ResourceStore]) -> None:
    plans = [Plan(puts=(observation("o1", "p1", f"{n}.5"), organization(f"g{n}", "院"))) for n in range(40)]
    done = await asyncio.gather(*(two[n % 2].commit(plan) for n, plan in enumerate(plans)))
    assert sorted(one.written[0].version for one in done) == list(range(1, 41))
    assert len({one.tx for one in done}) == 40
    assert len((await two[0].search(Query("Organization", count=99), SYSTEM)).matches) == 40


async def test_of_two_gateways_one_claims_an_identifier(two: tuple[ResourceStore, ResourceStore]) -> None:
    claim = (("Patient", local_number(M1), "A-77"),)
    puts = [patient(f"p{n}", identifier=[{"system": local_number(M1), "value": "A-77"}]) for n in range(32)]
    answers = await asyncio.gather(
        *(two[n % 2].commit(Plan(puts=(put,), unclaimed=claim)) for n, put in enumerate(puts)), return_exceptions=True
    )
    won = [one for one in answers if not isinstance(one, BaseException)]
    assert len(won) == 1 and all(isinstance(one, Conflict) for one in answers if isinstance(one, BaseException))


async def test_who_was_overtaken_after_looking_decides_again(
    server: TestServer, two: tuple[ResourceStore, ResourceStore]
) -> None:
    """Both gateways look, then wait for the lock of numbers; whoever gets it second stands on what is past."""
    here = two[0]
    claim = (("Patient", local_number(M1), "A-9"),)
    held = [{"system": local_number(M1), "value": "A-9"}]
    await here.commit(Plan(puts=(observation("old", "p1"), patient("p1"))))
    now = here.horizon()
    at = now[0]
    rests = ((src_of(M1, "p2"), ""),)
    rivals: list[Callable[[int], Plan]] = [
        lambda n: Plan(puts=(observation("new", "p1", f"{n}.5", expect=0),)),
        lambda n: Plan(puts=(observation("old", "p1", f"{n}.5", expect=1),)),
        lambda n: Plan(puts=(patient(f"c{n}", identifier=held),), unclaimed=claim),
        lambda n: Plan(puts=(organization(f"once{n}", "院"),), once=Once(7, b"", b"{}")),
        lambda n: Plan(puts=(organization(f"named{n}", "院"),), conditions=(Condition("Organization", "x", at),)),
        lambda n: Plan(records=(RecordPut(M1, "p2", f"p{n}", b"{}", "2026"),), rests=rests),
    ]
    for rival in rivals:
        async with await psycopg.AsyncConnection.connect(server.url) as holding:
            lock = Database("", space_of(_schema_of(here))).lock(COMMIT)
            await holding.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))
            writing = [asyncio.create_task(store.commit(rival(n))) for n, store in enumerate(two)]
            await asyncio.sleep(0.3)
        answers = await asyncio.gather(*writing, return_exceptions=True)
        assert {type(one) for one in answers} == {Committed, Conflict}, answers


async def test_rows_two_gateways_add_to_one_home_at_once_lie_behind_each_other(
    server: TestServer, two: tuple[ResourceStore, ResourceStore]
) -> None:
    """Plans of a group that replace each other's rows among them; nobody has to decide again."""
    await two[0].commit(Plan(puts=(patient("p1"), observation("old", "p1"), patient("p2"))))
    # The other hears of the names as well: plans that each introduce them first wait in any order.
    await two[1].commit(Plan(puts=(observation("old", "p1"),)))

    def plans(n: int) -> list[Plan]:
        gone = (Delete("Observation", f"x{n}0"),)
        return [
            Plan(puts=(observation(f"o{n}", "p1", f"{k}.5"), observation(f"x{n}{k}", "p2")), deletes=gone if k else ())
            for k in range(3)
        ]

    async with await psycopg.AsyncConnection.connect(server.url) as holding:
        lock = Database("", space_of(_schema_of(two[0]))).lock(COMMIT)
        await holding.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))
        writing = [asyncio.create_task(store.commit(plan)) for n, store in enumerate(two) for plan in plans(n)]
        await asyncio.sleep(0.3)
    await asyncio.gather(*writing)
    for n, store in enumerate(reversed(two)):
        versions = await store.history("Observation", f"o{n}", SYSTEM, count=9)
        assert [(one.version, loads(one.body)["valueQuantity"]["value"]) for one in versions] == [
            (3, 2.5), (2, 1.5), (1, 0.5),
        ]  # fmt: skip
        assert [one.deleted for one in await store.history("Observation", f"x{n}0", SYSTEM, count=9)] == [True, False]
    dated = (of("p1"), Filter("date", "date", ("2026-03-19",)))
    assert set(ids((await two[0].search(Query("Observation", dated), SYSTEM)).matches)) == {"old", "o0", "o1"}
    page = await two[0].search(Query("Observation", (Filter("date", "date", ("2026-03-19",)),), count=99), SYSTEM)
    assert set(ids(page.matches)) == {"old", "o0", "o1", "x01", "x02", "x11", "x12"}
    assert set(ids(await two[0].everything("p2", SYSTEM))) == {"p2", "x01", "x02", "x11", "x12"}
    with psycopg.connect(two[0]._engine.database.reading.conninfo) as db:  # type: ignore[attr-defined]
        for _, seqs in db.execute("SELECT person, array_agg(seq ORDER BY from_tx, seq) FROM version GROUP BY 1"):
            assert seqs == list(range(1, len(seqs) + 1))


async def test_the_stream_loses_nothing_beside_a_transaction_held_open(
    server: TestServer, two: tuple[ResourceStore, ResourceStore]
) -> None:
    here, there = two
    await here.commit(Plan(puts=(organization("g0", "院"),)))
    schema = _schema_of(here)
    seen: list[str] = []
    at = 0
    async with await psycopg.AsyncConnection.connect(server.url) as holding:
        await holding.execute("SELECT pg_advisory_xact_lock(%s)", (Database("", space_of(schema)).lock(COMMIT),))
        writing = [asyncio.create_task(store.commit(Plan(puts=(organization(f"h{n}", "院"),)))) for n, store in
                   enumerate((here, there))]  # fmt: skip
        await asyncio.sleep(0.2)
        assert not any(one.done() for one in writing)
        part = await there.changes.after(at, SYSTEM)
        seen, at = ids(part.resources), part.next
        await asyncio.wait_for(there.disclose(audit(START)), 1)  # nor does a disclosure wait
        assert (await there.read("Organization", "g0", SYSTEM)) is not None
    await asyncio.gather(*writing)
    seen += ids((await there.changes.after(at, SYSTEM)).resources)
    assert sorted(seen) == ["g0", "h0", "h1"]


async def test_pulls_by_last_updated_lose_nothing_while_another_process_commits_slowly(
    server: TestServer, two: tuple[ResourceStore, ResourceStore]
) -> None:
    """As a client pulls: each time from the instant the last answer was of, and what it has by id."""
    here, there = two
    seen: dict[str, int] = {}

    async def pull(since: str) -> str:
        where = (Filter("_lastUpdated", "date", (f"ge{since}",)),)
        page = await here.search(Query("Organization", where, count=100), SYSTEM)
        seen.update({one.id: one.version for one in page.matches})
        return page.at.isoformat(timespec="milliseconds")

    await there.commit(Plan(puts=(organization("g0", "院"),), audits=(audit(START),)))
    since = await pull("2026-01-01")
    async with await psycopg.AsyncConnection.connect(server.url) as slow:
        # The other process gets as far as writing its audit rows: number given, rows written, transaction open.
        await slow.execute(f"LOCK TABLE {_schema_of(there)}.effect IN ACCESS EXCLUSIVE MODE".encode())
        open_one = asyncio.create_task(there.commit(Plan(puts=(organization("late", "院"),), audits=(audit(START),))))
        await asyncio.sleep(0.2)
        own = asyncio.create_task(here.commit(Plan(puts=(organization("own", "院"),))))
        for _ in range(5):
            since = await pull(since)
            await asyncio.sleep(0.02)
        assert seen == {"g0": 1} and not open_one.done()
    await asyncio.gather(open_one, own)
    await pull(since)
    assert seen == {"g0": 1, "late": 1, "own": 1}


def _schema_of(store: ResourceStore) -> str:
    conninfo = store._engine.database.reading.conninfo  # type: ignore[attr-defined]
    return str(conninfo).rpartition("search_path%3D")[2]


async def test_two_sealers_make_one_chain(two: tuple[ResourceStore, ResourceStore]) -> None:
    await asyncio.gather(*(two[n % 2].disclose(audit(START, detail=str(n))) for n in range(60)))
    await two[0].commit(Plan(audits=(audit(START),)))
    await asyncio.gather(*(store.audit_log.seal() for store in two for _ in range(3)))
    verdict = await two[1].audit_log.verify()
    assert (verdict.checked, verdict.broken) == (61, 0)
    assert len(await two[0].audits(AuditQuery(limit=100))) == 61


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE disclosure SET said = convert_to(replace(convert_from(said, 'UTF8'), 'd1', 'd9'), 'UTF8')",
        "DELETE FROM disclosure WHERE seq = 2",
        "DELETE FROM seal WHERE n = 2",
        "DELETE FROM effect",
    ],
)
async def test_tampering_breaks_the_chain(server: TestServer, tampering: str) -> None:
    url = server.schema()
    store = await opened(url)
    try:
        for _ in range(3):
            await store.disclose(audit(START))
        await store.commit(Plan(audits=(audit(START),)))
        await store.audit_log.seal()
        assert (await store.audit_log.verify()).broken == 0
        with psycopg.connect(url, autocommit=True) as intruder:
            intruder.execute(tampering.encode())
        assert (await store.audit_log.verify()).broken > 0
    finally:
        await store.close()


async def test_dropped_connections_are_an_error_once_and_forgotten(server: TestServer) -> None:
    store = await opened(server.schema())
    try:
        await store.commit(Plan(puts=(organization("g0", "院"),)))
        with psycopg.connect(server.url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                          " AND backend_type = 'client backend'")  # fmt: skip
        for _ in range(30):
            try:
                await store.commit(Plan(puts=(organization("g1", "院"),)))
                await store.disclose(audit(START))
                found = await store.read_many([("Organization", "g0"), ("Organization", "g1")], SYSTEM)
                break
            except StoreError:
                await asyncio.sleep(0.05)
        assert ids(found) == ["g0", "g1"]
    finally:
        await store.close()


async def test_nothing_acknowledged_is_lost_when_the_server_crashes() -> None:
    server = TestServer()
    url = server.schema()
    store = await opened(url)
    said: list[str] = []

    async def lane(number: int) -> None:
        with contextlib.suppress(StoreError):
            for n in range(100_000):
                id_ = f"g{number}-{n}"
                row = audit(START, entities=(f"Organization/{id_}",))
                await store.commit(Plan(puts=(organization(id_, "院"),), audits=(row,), done=(Done(id_, b"{}"),)))
                await store.disclose(row)
                said.append(id_)

    try:
        lanes = [asyncio.create_task(lane(number)) for number in range(8)]
        while len(said) < 100:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(server.crash)
        await asyncio.gather(*lanes)
        again = await opened(url)
        assert set(await again.done(said)) == set(said)
        assert len(await again.read_many([("Organization", id_) for id_ in said], SYSTEM)) == len(said)
        page = await again.search(Query("Organization", count=1, total="accurate"), SYSTEM)
        effects = len(await again.audits(AuditQuery(limit=1_000_000)))
        assert page.total is not None and page.total >= len(said) and effects >= 2 * len(said)
        assert (await again.audit_log.verify()).broken == 0
        await again.close()
        await store.close()
    finally:
        server.close()


async def test_while_the_server_is_away_only_who_comes_first_waits_for_it() -> None:
    server = TestServer()
    store = await opened(server.schema())
    try:
        await store.commit(Plan(puts=(organization("g0", "院"),)))
        await asyncio.to_thread(server.end)
        waited = []
        for number in range(3):
            began = time.monotonic()
            with pytest.raises(StoreError):
                await store.read("Organization", f"g{number + 1}", SYSTEM)
            waited.append(time.monotonic() - began)
        assert max(waited[1:]) < 2 < waited[0]
        await asyncio.to_thread(server.start)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(StoreError):
                assert await store.read("Organization", "g0", SYSTEM) is not None
                break
        else:
            raise AssertionError("not back")
    finally:
        await store.close()
        server.close()


async def test_the_gateway_works_again_soon_after_the_server_however_long_it_was_away() -> None:
    server = TestServer()
    url = server.schema()
    store = await opened(url)
    inbox = await open_inbox(Path("/nowhere"), url)
    over = False

    async def traffic(ask: Callable[[int], Awaitable[object]]) -> float:
        """Asks all the time; when it was first answered after the end was said."""
        for number in itertools.count():
            with contextlib.suppress(StoreError):
                await ask(number)
                if over:
                    return time.monotonic()
            await asyncio.sleep(0.05)
        raise AssertionError

    asks = (
        lambda n: store.commit(Plan(puts=(organization(f"g{n}", "院"),), audits=(audit(START),))),
        lambda n: store.read("Organization", "g0", SYSTEM),
        lambda n: store.disclose(audit(START)),
        lambda n: inbox.messages.keep(Arrival("s", "v2", b"%d" % n, START, control=str(n))),
        lambda n: inbox.messages.open_count(),
    )
    try:
        tasks = [asyncio.create_task(traffic(ask)) for ask in asks]
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.end)
        await asyncio.sleep(4)
        await asyncio.to_thread(server.start)
        began, over = time.monotonic(), True
        assert max(await asyncio.wait_for(asyncio.gather(*tasks), 20)) - began < 2
        await store.close()
        await inbox.close()
    finally:
        server.close()


async def test_a_server_that_may_lose_data_is_refused(server: TestServer) -> None:
    with pytest.raises(UnsafeStore, match="synchronous_commit"):
        await opened(server.with_options(synchronous_commit="off"))
    with server.altered("full_page_writes", "off"), pytest.raises(UnsafeStore, match="full_page_writes"):
        await opened(server.schema())
    with server.altered("fsync", "off"), pytest.raises(UnsafeStore, match="fsync"):
        await opened(server.schema())


async def test_a_schema_of_a_newer_release_is_refused(server: TestServer) -> None:
    url = server.schema()
    await (await opened(url)).close()
    with psycopg.connect(url, autocommit=True) as newer:
        newer.execute("INSERT INTO migration VALUES(99, 'later', now())")
    with pytest.raises(NewerRelease):
        await opened(url)


async def test_several_gateways_may_start_on_an_empty_schema_at_once(server: TestServer) -> None:
    url = server.schema()
    stores = await asyncio.gather(*(opened(url) for _ in range(3)))
    assert len({store.store_key for store in stores}) == 1
    for store in stores:
        await store.close()


async def test_why_a_server_cannot_be_used_is_told_in_both_languages_without_the_password(server: TestServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN")
    addresses = {
        "postgresql://u:secret-word@127.0.0.1:1/none": "Connection refused",
        server.url.replace("/postgres?", "/none?"): '"none" does not exist',
        "postgresql://u:secret word@h/none": "%40",
        f"{server.url}&options=-csearch_path%3Dnone": "CREATE SCHEMA",
        server.url.replace("postgres:@", "guest@"): "permission denied",
    }
    for url, why in addresses.items():
        with pytest.raises(ConfigError) as fault:
            await opened(url)
        assert why in fault.value.sentence_zh() and "secret" not in f"{fault.value}{fault.value.sentence_zh()}", url
        assert why in fault.value.sentence_en() or why == "CREATE SCHEMA"


async def test_without_its_extra_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("gateway.store.") and "postgres" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"alliance-gateway\[postgres\]"):
        await opened("postgresql:///x")


async def test_every_key_of_rows_contains_the_person(server: TestServer) -> None:
    url = server.schema()
    await (await opened(url)).close()
    sql = (
        "SELECT t.relname, array_agg(a.attname) FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid"
        " JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY(i.indkey)"
        " WHERE i.indisunique AND t.relnamespace = current_schema()::regnamespace GROUP BY t.relname, i.indexrelid"
    )
    with psycopg.connect(url) as connection:
        keys = dict(connection.execute(sql).fetchall())
    of_rows = ("version", "date_order", "text_order", "closed")
    assert all("person" in keys[name] for name in of_rows) and {"dir", "ident"} <= keys.keys()
