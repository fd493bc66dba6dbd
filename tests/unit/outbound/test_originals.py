"""A kept original is read only by whom all that was made of it may be read by."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec

from gateway.inbox.queue import Inbox
from gateway.model.directory import Directory, Member, Source
from gateway.model.message import RawMessage
from gateway.model.outcome import Outcome, State
from gateway.outbound.originals import KeptOriginals
from gateway.store.base import Delete, Done, Plan, Put
from gateway.store.resources import open_store
from tests.contract.clinic import M1, doctor, observation, patient

NOW = datetime(2026, 3, 20, 1, tzinfo=UTC)
RESTRICTED = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]}
SEEING = doctor(types=None, labels=-1)


class _Kept:
    """An inbox that holds one message of M1 under every key."""

    messages = property(lambda self: self)

    async def raw(self, key: str) -> RawMessage:
        return RawMessage(key, "lis", "v2", b"MSH|", NOW)


async def test_an_original_says_no_more_than_its_reader_may_know(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}", clock=lambda: NOW)
    directory = Directory({M1: Member(M1, M1, "primary")}, {"lis": Source("lis", M1, "v2")}, {})
    originals = KeptOriginals(cast(Inbox, cast(Any, _Kept())), store, directory)

    async def settle(key: str, *puts: Put) -> None:
        made = tuple(f"{one.type}/{one.id}" for one in puts)
        outcome = msgspec.json.encode(Outcome(key, State.PROCESSED, "ORU^R01", "", (), (), made))
        await store.commit(Plan(puts=puts, done=(Done(key, outcome),)))

    try:
        await settle("m1", patient("p1"), observation("open", "p1"))
        await settle("m2", observation("later", "p1"))  # what it said of the person was known
        await settle("m3", observation("secret", "p1", meta=RESTRICTED), observation("beside", "p1"))
        for key in ("m1", "m2"):
            found = await originals.read(key, doctor())
            assert found is not None and found.patients == ("p1",), key
        assert await originals.read("m3", doctor()) is None
        assert await originals.read("m1", doctor(types=frozenset({"Binary", "Patient"}))) is None
        assert await originals.read("m2", doctor(members=frozenset({"other"}))) is None
        assert await originals.read("m4", doctor()) is None, "not settled"
        assert await originals.read("m3", SEEING) is not None
        await store.commit(Plan(deletes=(Delete("Observation", "secret"), Delete("Observation", "later"))))
        assert await originals.read("m3", doctor()) is None, "deleted, and restricted still"
        assert await originals.read("m2", doctor()) is not None
    finally:
        await store.close()
