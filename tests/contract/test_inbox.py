"""The inbox on both engines: kept once, claimed once and in order, settled, set back, counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.errors import InboxFull
from gateway.inbox.queue import Inbox, open_inbox
from gateway.model.outcome import State
from gateway.settings import Inbox as Rules
from gateway.store.inbox_base import Arrival, Kept, Messages, Settled, newest

AT = datetime(2026, 3, 20, 1, tzinfo=UTC)
Open = Callable[[], Awaitable[Messages]]


@pytest.fixture
def opened(url: str, tmp_path: Path) -> Open:
    """Opens the same inbox each time."""

    async def open_() -> Messages:
        return (await open_inbox(tmp_path, url)).messages

    return open_


@pytest_asyncio.fixture
async def inbox(opened: Open) -> AsyncIterator[Messages]:
    """An empty inbox."""
    made = await opened()
    yield made
    await made.close()


@pytest_asyncio.fixture
async def busy(inbox: Messages) -> Messages:
    """lis: m1 processed, m3 quarantined, m5 received; his: m2 quarantined; ris: m4 processed."""
    for number, source in enumerate(("lis", "his", "lis", "ris", "lis")):
        await inbox.keep(Arrival(source, "v2", b"%d" % number, AT))
    await inbox.settle(
        [
            Settled("m1", State.PROCESSED),
            Settled("m2", State.QUARANTINED, "GW-TRN-002", '{"said": "单位不明"}'),
            Settled("m3", State.QUARANTINED, "GW-TRN-004"),
            Settled("m4", State.PROCESSED),
        ]
    )
    return inbox


async def test_a_message_whose_source_was_not_known_yet_is_found_by_it_afterwards(inbox: Messages) -> None:
    for number, source in enumerate(("", "lis")):
        await inbox.keep(Arrival(source, "v2", b"%d" % number, AT))
    await inbox.settle([Settled(key, State.PROCESSED, sender="his") for key in ("m1", "m2")])
    found = {one.key: one.source for one in await inbox.entries()}
    assert found == {"m1": "his", "m2": "lis"}
    assert [one.key for one in await inbox.entries(source="his")] == ["m1"]
    assert await inbox.counts() == {("his", "processed"): 1, ("lis", "processed"): 1}


async def claimed(inbox: Messages, limit: int = 100) -> list[tuple[str, bool]]:
    return [(one.raw.key, one.again) for one in await inbox.claim(limit)]


# ---- keeping -----------------------------------------------------------------------------------
async def test_a_message_comes_back_as_it_was_received(inbox: Messages) -> None:
    body = "MSH|^~\\&|检验|".encode("gb18030") + b"\x00\xff"
    kept = await inbox.keep(Arrival("lis", "v2", body, AT, control="c1", name="名字.hl7"))
    raw, entry = await inbox.raw(kept.key), await inbox.entry(kept.key)
    assert raw is not None and entry is not None
    assert (raw.body, raw.source, raw.format, raw.received_at, raw.name) == (body, "lis", "v2", AT, "名字.hl7")
    assert (entry.control, entry.state, entry.size) == ("c1", State.RECEIVED, len(body))
    assert await inbox.raw("m999") is None and await inbox.entry("x") is None


async def test_a_duplicate_is_kept_once_and_a_reused_id_apart(inbox: Messages) -> None:
    first = await inbox.keep(Arrival("s", "v2", b"x", AT, control="1"))
    again = await inbox.keep(Arrival("s", "v2", b"x", AT, control="1"))
    other = await inbox.keep(Arrival("s", "v2", b"y", AT, control="1"))
    same = await inbox.keep(Arrival("s", "v2", b"y", AT, control="1"))
    elsewhere = await inbox.keep(Arrival("t", "v2", b"y", AT, control="1"))
    assert (again.key, again.duplicate) == (first.key, True)
    assert other.clash and same.clash and same.duplicate and same.key == other.key
    assert not elsewhere.clash
    assert await claimed(inbox) == [(first.key, False), (elsewhere.key, False)]


async def test_the_id_of_a_message_that_made_nothing_is_free_for_a_whole_one(inbox: Messages) -> None:
    torn = await inbox.keep(Arrival("s", "v2", b"half", AT, control="1", refused="GW-MSG-001", outcome="{}"))
    whole = await inbox.keep(Arrival("s", "v2", b"half and half", AT, control="1"))
    entry = await inbox.entry(torn.key)
    assert entry is not None and (entry.state, entry.reason) == (State.QUARANTINED, "GW-MSG-001")
    assert not whole.clash and await claimed(inbox) == [(whole.key, False)]


async def test_duplicates_that_arrive_together_are_seen(inbox: Messages) -> None:
    arrivals = [Arrival("s", "v2", b"%d" % (n % 7), AT, control=str(n % 7)) for n in range(70)]
    kept = await gathered(inbox, arrivals)
    assert len({one.key for one in kept}) == 7 and sum(one.duplicate for one in kept) == 63


async def gathered(inbox: Messages, arrivals: list[Arrival]) -> list[Kept]:
    return await asyncio.gather(*(inbox.keep(one) for one in arrivals))


# ---- working on them -----------------------------------------------------------------------------
async def test_open_messages_are_claimed_once_oldest_first(inbox: Messages) -> None:
    keys = [(await inbox.keep(Arrival("s", "v2", b"%d" % n, AT))).key for n in range(5)]
    assert [key for key, _ in await claimed(inbox, 2)] == keys[:2]
    assert [key for key, _ in await claimed(inbox)] == keys[2:]
    assert await claimed(inbox) == []
    assert await inbox.open_count() == 5
    await inbox.settle([Settled(key, State.PROCESSED) for key in keys])
    assert await inbox.open_count() == 0


async def test_what_was_claimed_and_not_settled_is_open_again_after_a_restart(opened: Open) -> None:
    first = await opened()
    keys = [(await first.keep(Arrival("s", "v2", b"%d" % n, AT))).key for n in range(3)]
    assert len(await first.claim(10)) == 3
    await first.settle([Settled(keys[0], State.PROCESSED)])
    await first.close()
    second = await opened()
    assert await claimed(second) == [(keys[1], False), (keys[2], False)]
    await second.close()


async def test_a_message_set_back_runs_again_and_says_so(busy: Messages) -> None:
    assert await claimed(busy) == [("m5", False)]
    assert await busy.reopen(["m1", "m2", "m99"]) == 2
    assert await claimed(busy) == [("m1", True), ("m2", True)]
    entry = await busy.entry("m2")
    assert entry is not None and (entry.state, entry.outcome) == (State.RECEIVED, "")
    await busy.settle([Settled("m1", State.PROCESSED)])
    assert await claimed(busy) == []


async def test_a_single_process_never_waits_for_its_turn(busy: Messages) -> None:
    await busy.claim(10)
    await busy.say_lanes({"m5": ("a", "b")})
    await asyncio.wait_for(busy.turn(("m5",)), 1)


# ---- waiting for another -------------------------------------------------------------------------
def parked(key: str, *awaits: str, hours: float = 1) -> Settled:
    return Settled(key, State.PARKED, "GW-INB-030", "{}", awaits, AT + timedelta(hours=hours))


async def test_a_parked_message_is_set_back_by_what_it_waits_for_and_by_nothing_else(busy: Messages) -> None:
    assert await busy.settle([parked("m5", "visit 1", "number 2")]) == 0
    assert (await busy.open_count(), await busy.backlog()) == (0, (0, None))
    assert [one.key for one in await busy.entries(state=State.PARKED)] == ["m5"]
    assert (await busy.counts())["lis", "parked"] == 1
    assert await busy.settle([Settled("m1", State.PROCESSED, made=("visit 3", "visit 1x"))]) == 0
    assert await busy.settle([Settled("m1", State.PROCESSED, made=("x", "number 2"))]) == 1
    assert await claimed(busy) == [("m5", True)]
    await busy.settle([Settled("m5", State.PROCESSED, made=("number 2",))])
    assert await busy.settle([Settled("m1", State.PROCESSED, made=("number 2",))]) == 0, "it waits no more"


async def test_many_may_wait_for_one_and_what_was_set_back_may_wait_again(busy: Messages) -> None:
    await busy.settle([parked("m5", "a"), parked("m2", "a", "b")])
    assert await busy.settle([Settled("m1", State.PROCESSED, made=("a",))]) == 2
    assert await claimed(busy) == [("m2", True), ("m5", True)]
    await busy.settle([Settled("m5", State.PROCESSED), parked("m2", "b")])
    assert await busy.settle([Settled("m1", State.PROCESSED, made=("a",))]) == 0
    assert await busy.settle([Settled("m1", State.PROCESSED, made=("*",))]) == 1


async def test_a_message_parked_in_one_commit_with_what_it_waits_for_does_not_sleep_on(busy: Messages) -> None:
    await busy.settle([parked("m5", "a"), Settled("m1", State.PROCESSED, made=("a",))])
    assert await claimed(busy) == [("m5", True)]


async def test_who_waited_in_vain_runs_once_more_and_is_still_woken_later(busy: Messages) -> None:
    await busy.settle([parked("m5", "a")])
    assert await busy.overdue(AT) == 0
    assert await busy.overdue(AT + timedelta(hours=2)) == 1
    assert await claimed(busy) == [("m5", True)]
    await busy.settle([Settled("m5", State.QUARANTINED, "GW-INB-031", "{}", ("a",))])
    assert await busy.overdue(AT + timedelta(hours=3)) == 0
    assert await busy.settle([Settled("m1", State.PROCESSED, made=("a",))]) == 1
    assert await claimed(busy) == [("m5", True)]


async def test_what_is_parked_is_parked_after_a_restart(opened: Open) -> None:
    first = await opened()
    key = (await first.keep(Arrival("s", "v2", b"x", AT))).key
    await first.claim(1)
    await first.settle([parked(key, "a")])
    await first.close()
    second = await opened()
    assert await claimed(second) == []
    await second.settle([Settled("m9", State.PROCESSED, made=("a",))])
    assert await claimed(second) == [(key, True)]
    await second.close()


# ---- looking at them -----------------------------------------------------------------------------
async def test_every_state_of_every_source_is_counted_once(busy: Messages) -> None:
    assert await busy.counts() == {
        ("lis", "received"): 1,
        ("lis", "processed"): 1,
        ("lis", "quarantined"): 1,
        ("his", "quarantined"): 1,
        ("ris", "processed"): 1,
    }


async def test_entries_are_narrowed_by_state_source_and_reason(busy: Messages) -> None:
    async def keys(**rest: Any) -> list[str]:
        return [entry.key for entry in await busy.entries(**rest)]

    assert await keys() == ["m5", "m4", "m3", "m2", "m1"]
    assert await keys(limit=2, before="m4") == ["m3", "m2"]
    assert await keys(state=State.QUARANTINED) == ["m3", "m2"]
    assert await keys(state=State.RECEIVED) == ["m5"]
    assert await keys(state=State.PROCESSED, source="lis") == ["m1"]
    assert await keys(reason="GW-TRN-002") == ["m2"]
    entry = await busy.entry("m2")
    assert entry is not None and entry.outcome == '{"said": "单位不明"}'


async def test_the_newest_of_several_sources_come_in_one_order(busy: Messages) -> None:
    async def keys(*sources: str, **rest: Any) -> list[str]:
        return [entry.key for entry in await newest(busy, sources, **rest)]

    assert await keys("lis", "ris") == ["m5", "m4", "m3", "m1"]
    assert await keys("lis", "ris", limit=2) == ["m5", "m4"]
    assert await keys("lis", "ris", before="m4") == ["m3", "m1"]
    assert await keys("lis", "his", state=State.QUARANTINED) == ["m3", "m2"]
    assert await keys("lis", "his", reason="GW-TRN-004") == ["m3"]
    assert await keys() == []


async def test_reasons_are_those_of_messages_in_quarantine_now(busy: Messages) -> None:
    assert sorted(await busy.reasons()) == ["GW-TRN-002", "GW-TRN-004"]
    await busy.reopen(["m2"])
    assert await busy.reasons() == ["GW-TRN-004"]


# ---- too much of them ----------------------------------------------------------------------------
async def test_the_backlog_is_what_has_no_outcome_and_what_was_set_back_has_no_age(busy: Messages) -> None:
    assert await busy.backlog() == (1, AT)
    await busy.settle([Settled("m5", State.PROCESSED)])
    assert await busy.backlog() == (0, None)
    await busy.reopen(["m1", "m2"])
    assert await busy.backlog() == (2, None)


@pytest.mark.parametrize("rules", [Rules(waiting_mb=1), Rules(waiting_s=60)])
async def test_nothing_more_is_kept_while_too_many_bytes_or_too_old_ones_wait(opened: Open, rules: Rules) -> None:
    inbox = Inbox(await opened(), rules)
    first = await inbox.messages.keep(Arrival("s", "v2", bytes(2**20 + 1), AT))
    later = Arrival("s", "v2", b"x", AT + timedelta(seconds=61))
    with pytest.raises(InboxFull) as full:
        await inbox.keep(later)
    assert full.value.retry and full.value.ack[0] == "AE" and full.value.http == 503
    await inbox.messages.settle([Settled(first.key, State.PROCESSED)])
    inbox._look_at = 0
    await inbox.keep(later)
    await inbox.close()


async def test_senders_that_come_again_at_once_are_refused_slowly(opened: Open) -> None:
    inbox = Inbox(await opened(), Rules(), waiting_limit=-1)
    began, refused = time.monotonic(), 0

    async def sender() -> None:
        nonlocal refused
        while time.monotonic() - began < 0.5:
            with pytest.raises(InboxFull):
                await inbox.keep(Arrival("s", "v2", b"x", AT))
            refused += 1

    await asyncio.gather(*[sender() for _ in range(32)])
    assert refused < 1_000 * (time.monotonic() - began) + 32
    await inbox.close()
