"""Retention on both engines: what is past its days loses its bytes, and nothing that is still needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest_asyncio

from gateway.inbox.prune import Retention
from gateway.inbox.queue import Inbox, open_inbox
from gateway.model.outcome import Outcome, State
from gateway.settings import Keep
from gateway.store.base import Done, Plan
from gateway.store.bodies import prepare
from gateway.store.inbox_base import Arrival, Settled
from gateway.store.resources import ResourceStore
from tests.contract.conftest import Site

NOW = datetime(2026, 3, 20, 1, tzinfo=UTC)


def ago(days: int) -> datetime:
    return NOW - timedelta(days=days)


@pytest_asyncio.fixture
async def inbox(url: str, tmp_path: Path) -> AsyncIterator[Inbox]:
    made = await open_inbox(tmp_path, url)
    yield made
    await made.close()


async def keep(inbox: Inbox, store: ResourceStore, source: str, kind: str, days: int, *made: str) -> str:
    """One message, processed, received so many days ago."""
    form = kind if kind == "dicom" else "v2"
    key = (await inbox.keep(Arrival(source, form, f"{source} {kind} {days} {made}".encode(), ago(days)))).key
    await inbox.messages.claim(10)
    said = Outcome(key, State.PROCESSED, kind=kind, resources=made)
    await store.commit(Plan(done=(Done(key, msgspec.json.encode(said)),)))
    await inbox.messages.settle([Settled(key, State.PROCESSED)])
    return key


def retention(inbox: Inbox, store: ResourceStore, *rules: Keep, replay_days: int = 30) -> Retention:
    return Retention(inbox, store, rules, lambda: NOW, replay_days=replay_days)


async def held(inbox: Inbox, *keys: str) -> list[bool]:
    found = [await inbox.messages.raw(key) is not None for key in keys]
    entries = [await inbox.messages.entry(key) for key in keys]
    assert found == [one.held for one in entries if one]
    return found


async def test_the_first_rule_that_fits_decides(inbox: Inbox, site: Site) -> None:
    store = site.store
    rules = (Keep("his", "ADT^A08", 60), Keep("his", "ADT", 0), Keep("", "dicom", 40), Keep("his", "", 100))
    keys = [
        await keep(inbox, store, *one)
        for one in (
            ("his", "ADT^A08", 61), ("his", "ADT^A08", 59), ("his", "ADT^A01", 999), ("his", "ORU^R01", 101),
            ("his", "ORU^R01", 99), ("ris", "dicom", 41), ("ris", "ORU^R01", 999),
        )
    ]  # fmt: skip
    assert retention(inbox, store).idle and (await retention(inbox, store).all(dry=False)).removed == 0
    would = await retention(inbox, store, *rules).all(dry=True)
    assert would.by.keys() == {("his", "ADT^A08"), ("his", "ORU^R01"), ("ris", "dicom")}
    assert await held(inbox, *keys) == [True] * 7
    done = await retention(inbox, store, *rules).all(dry=False)
    assert done.by == would.by and done.bytes > 0
    assert await held(inbox, *keys) == [False, True, True, False, True, False, True]
    assert (await retention(inbox, store, *rules).all(dry=False)).removed == 0


async def test_what_is_open_quarantined_parked_young_or_pointed_at_stays(inbox: Inbox, site: Site) -> None:
    store, rule = site.store, Keep("", "", 1)
    young = await keep(inbox, store, "his", "ORU^R01", 29)
    pointed = await keep(inbox, store, "emr", "C0007", 500, "DocumentReference/d")
    body = {
        "resourceType": "DocumentReference", "status": "current",
        "content": [{"attachment": {"url": f"Binary/{pointed}"}}],
    }  # fmt: skip
    await store.commit(Plan(puts=(prepare("DocumentReference", "d", msgspec.json.encode(body)),)))
    free = await keep(inbox, store, "emr", "C0007", 501, "DocumentReference/d")
    others = []
    for state, reason in ((State.QUARANTINED, "GW-TRN-002"), (State.PARKED, "GW-INB-030"), (State.RECEIVED, "")):
        key = (await inbox.keep(Arrival("his", "v2", state.value.encode(), ago(999)))).key
        others.append(key)
        if reason:
            await inbox.messages.settle([Settled(key, state, reason, "{}", awaits=("a",))])
    done = await retention(inbox, store, rule).all(dry=False)
    assert (done.removed, done.needed) == (1, 1)
    assert await held(inbox, young, pointed, free, *others) == [True, True, False, True, True, True]


async def test_a_message_without_bytes_is_still_a_duplicate_and_cannot_be_replayed(inbox: Inbox, site: Site) -> None:
    key = await keep(inbox, site.store, "his", "ORU^R01", 99)
    assert (await retention(inbox, site.store, Keep("", "", 1)).all(dry=False)).removed == 1
    again = await inbox.keep(Arrival("his", "v2", b"his ORU^R01 99 ()", NOW))
    assert (again.key, again.duplicate) == (key, True)
    assert await inbox.replay([key]) == 0 and await inbox.messages.claim(10) == []


async def test_it_goes_on_in_batches(inbox: Inbox, site: Site) -> None:
    for number in range(7):
        await keep(inbox, site.store, "his", "ORU^R01", 100 + number)
    rules = retention(inbox, site.store, Keep("", "", 1))
    first = await rules.batch(dry=False, limit=3)
    second = await rules.batch(first.after, dry=False, limit=3)
    third = await rules.batch(second.after, dry=False, limit=3)
    assert [one.removed for one in (first, second, third)] == [3, 3, 1] and third.after == ""
    assert (await rules.all(dry=True, most=2)).looked == 0
