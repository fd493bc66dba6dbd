"""An embedded store that lived goes to a real PostgreSQL: all it answers there is what it answered before."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import astuple

from gateway.cli import main
from gateway.commands.talk import Exit
from gateway.errors import ConfigError, StoreError
from gateway.inbox.queue import open_inbox
from gateway.model.context import SYSTEM
from gateway.model.outcome import State
from gateway.model.query import Query
from gateway.model.view import Reading
from gateway.store.backup_postgres import connected, make_empty
from gateway.store.base import AuditQuery, AuditRow, Past, Plan, Resource
from gateway.store.inbox_base import Arrival, Entry
from gateway.store.move import at_rest, move
from gateway.store.resources import open_store
from tests.contract.campaign import Campaign, campaign
from tests.contract.campaign_checks import hold
from tests.contract.clinic import observation, patient
from tests.contract.conftest import START, Site
from tests.contract.postgres import TestServer
from tests.contract.test_campaign import begin, rest, run, undone
from tests.flow.test_wrong_order import MERGE
from tests.oracle.trial import build, disagreement

ONCE = "urn:uuid:6f6f2b1c-0001"


@dataclass
class Told:
    """What a gateway at rest says of all it has."""

    versions: list[tuple[object, ...]]
    messages: list[tuple[Entry, bytes]]
    audits: list[tuple[str, AuditRow]]
    acts: list[str]
    reviews: list[str]

    @staticmethod
    async def of(one: Campaign) -> Told:
        await one.gateway.worker.drained()
        messages = one.gateway.inbox.messages
        entries = await messages.entries(limit=10_000)
        bodies = [await messages.raw(entry.key) for entry in entries]
        reviews = [task["id"] for task in await one.tasks("requested", ())]
        return Told(
            said((await one.gateway.store.past(Past("", "", 1_000_000), SYSTEM)).versions),
            [(entry, body.body if body else b"") for entry, body in zip(entries, bodies, strict=True)],
            await one.gateway.store.audits(AuditQuery(limit=100_000)), await one.acts(), reviews,
        )  # fmt: skip


def said(versions: tuple[Resource, ...]) -> list[tuple[object, ...]]:
    return [astuple(one) for one in versions]


async def created(one: Campaign) -> str:
    """Where the resource lies that this key was first used for."""
    answer = await one.ask(
        "city", "POST", "/fhir/Organization", {"resourceType": "Organization", "name": "院"}, Idempotency_Key=ONCE
    )
    return f"{answer.status_code} {answer.headers['location'].partition('/fhir/')[2]} {answer.headers['etag']}"


async def lived(home: Path) -> tuple[Campaign, Told, str]:
    """A campaign of members, stewards and clients, and messages that wait or were refused."""
    async with campaign("sqlite", home, 11) as one:
        await begin(one)
        await run(one, 8)
        assert await one.take_back(), "something was taken back"
        for body in (MERGE, b"MSH|^~\\&|no"):
            await one.gateway.intake.v2(body)
        place = await created(one)
        await rest(one)
        return one, await Told.of(one), place


def moved(home: Path, url: str) -> int:
    return main(["store", "move", "--home", str(home), "--to", url])


async def test_a_store_that_lived_answers_on_postgresql_as_before(server: TestServer, tmp_path: Path) -> None:
    url, home = server.schema(), tmp_path / "home"
    before, told, place = await lived(home)
    states = {entry.state for entry, _ in told.messages}
    assert states == {State.PROCESSED, State.QUARANTINED, State.PARKED} and told.acts
    assert await asyncio.to_thread(moved, home, url) == Exit.OK
    async with campaign(url, home, 11) as one:
        one.ledger, one.known, one._serial, one._since = before.ledger, before.known, before._serial, before._since
        after = await Told.of(one)
        assert after.versions == told.versions
        assert after.messages == told.messages
        assert after.audits[-len(told.audits) :] == told.audits
        assert (sorted(after.acts), sorted(after.reviews)) == (sorted(told.acts), sorted(told.reviews))
        assert await created(one) == place, "an answer under an Idempotency-Key is given again"
        await hold(one)
        await run(one, 3)
        await hold(one)
        await undone(one)
    store = await open_store(url, clock=lambda: START)
    try:
        assert (await store.audit_log.verify()).broken == 0
    finally:
        await store.close()


async def test_searches_and_begun_pages_answer_as_the_oracle_says(server: TestServer, tmp_path: Path) -> None:
    site = Site(f"sqlite:///{tmp_path / 'home'}")
    await site.open()
    trial = await build(site, 5, 12)
    first = await site.store.search(Query("Observation", count=3), SYSTEM)
    begun = Query("Observation", count=9, cursor=first.next)
    await trial.stir()  # what the rest of these pages shows is of an earlier moment
    rest_of = await site.store.search(begun, SYSTEM)
    await (await open_inbox(tmp_path / "home", site.url)).close()
    await site.opened.pop().close()
    url = server.schema()
    with at_rest(tmp_path / "home") as home:
        await asyncio.to_thread(move, home, url, lambda *_: None)
    site.url, trial.beside = url, None
    store = await site.open()
    try:
        assert said((await store.search(begun, SYSTEM)).matches) == said(rest_of.matches)
        faults = [fault for _ in range(250) if (fault := await disagreement(trial, *trial.asker.question()))]
        assert not faults, "\n".join(faults[:20])
        assert not await store.reindex_due()
    finally:
        await store.close()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A home with one resident."""

    async def fill() -> None:
        store = await open_store(f"sqlite:///{tmp_path / 'small'}", clock=lambda: START)
        await store.commit(Plan(puts=(patient("p1"), observation("o1", "p1"))))
        await store.close()

    asyncio.run(fill())
    return tmp_path / "small"


def filled(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
                                    " AND relkind = 'r' AND relname <> 'migration'").fetchall()  # fmt: skip
        return {name: connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchone()[0] for (name,) in tables}  # type: ignore[index]


def test_a_move_broken_off_leaves_nothing_and_is_made_again(small: Path, server: TestServer) -> None:
    url = server.schema()
    asyncio.run(_inbox(small))

    def cut(what: str, _: int) -> None:
        if "record" in what:
            with psycopg.connect(server.url, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'"
                )

    with at_rest(small) as home, pytest.raises(StoreError):
        move(home, url, cut)
    assert set(filled(url).values()) == {0}
    assert moved(small, url) == Exit.OK
    assert filled(url)["version"] == 2 and filled(url)["patient"] == 1


async def _inbox(home: Path) -> None:
    await (await open_inbox(home, f"sqlite:///{home}")).close()


def test_a_table_that_is_not_what_was_read_is_refused(small: Path, server: TestServer) -> None:
    url = server.schema()
    with connected(url) as (connection, names):
        make_empty(connection, url, names, None)
        connection.execute(
            "CREATE FUNCTION bad() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.ver = 7; RETURN NEW; END';"
            "CREATE TRIGGER bad BEFORE INSERT ON version FOR EACH ROW EXECUTE FUNCTION bad()"
        )
    assert moved(small, url) == Exit.PARTIAL
    assert set(filled(url).values()) == {0} and not (small / "store.moved").exists()


def test_the_home_serves_no_more_and_a_target_in_use_is_refused(
    small: Path, server: TestServer, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.schema()
    assert moved(small, "sqlite:///elsewhere") == Exit.CONFIG
    assert main(["store", "move", "--home", str(small), "--to", url, "--json"]) == Exit.OK
    said = capsys.readouterr()
    (versions,) = [one for line in said.out.splitlines() if (one := json.loads(line))["table"] == "store/version"]
    assert versions["rows"] == 2 and len(versions["hash"]) == 32
    for words in (["stats"], ["verify"], ["move", "--to", server.schema()]):
        assert main(["store", *words, "--home", str(small)]) == Exit.CONFIG
        assert "数据已移走" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="its data was moved"):
        asyncio.run(open_store(f"sqlite:///{small}", clock=lambda: START))
    (small / "store.moved").unlink()
    assert moved(small, url) == Exit.CONFIG
    assert "不是空的" in capsys.readouterr().err


async def test_what_was_at_work_when_the_process_died_is_suspected_there_too(
    server: TestServer, tmp_path: Path
) -> None:
    address, home, url = f"sqlite:///{tmp_path / 'home'}", tmp_path / "home", server.schema()
    await (await open_store(address, clock=lambda: START)).close()
    dead = await open_inbox(home, address)
    for n in range(3):
        await dead.keep(Arrival("s", "v2", b"message %d" % n, START, control=f"c\0{n}"))
    await dead.messages.claim(2)
    await dead.messages.attempt("m1")
    await dead.messages.positions.save("his", b"read so far", Reading("V_MZJL", rows=7))
    with at_rest(home) as source:  # it never said its end
        await asyncio.to_thread(move, source, url, lambda *_: None)
    await dead.close()
    inbox = await open_inbox(home, url)
    try:
        found = await inbox.messages.claim(10)
        assert [one.raw.body for one in found] == [b"message 0", b"message 1", b"message 2"]
        assert all(one.suspect for one in found) and await inbox.messages.attempt("m1") == 2
        assert (await inbox.keep(Arrival("s", "v2", b"another", START))).key == "m4"
        assert (await inbox.keep(Arrival("s", "v2", b"message 1", START, control="c\0001"))).duplicate
        assert [one.control for one in await inbox.messages.entries()] == ["", "c␀2", "c␀1", "c␀0"]
        assert await inbox.messages.positions.load("his") == b"read so far", "a polled view is read on, not anew"
        assert (await inbox.messages.positions.readings())["his"].rows == 7
    finally:
        await inbox.close()
