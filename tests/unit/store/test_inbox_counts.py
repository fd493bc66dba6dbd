"""What the console asks of the inbox: counts by source and state, the newest of several sources, reasons."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.model.outcome import State
from gateway.store.inbox_sqlite import Arrival, InboxFile, Settled

AT = datetime(2026, 3, 20, 1, tzinfo=UTC)


@pytest.fixture
async def inbox(tmp_path: Path) -> InboxFile:
    """lis: m1 processed, m3 quarantined, m5 received; his: m2 quarantined; ris: m4 processed."""
    file = InboxFile(tmp_path)
    for number, source in enumerate(("lis", "his", "lis", "ris", "lis")):
        await file.keep(Arrival(source, "v2", b"%d" % number, AT))
    await file.settle(
        [
            Settled("m1", State.PROCESSED),
            Settled("m2", State.QUARANTINED, "GW-TRN-002"),
            Settled("m3", State.QUARANTINED, "GW-TRN-004"),
            Settled("m4", State.PROCESSED),
        ]
    )
    return file


async def test_every_state_of_every_source_is_counted_once(inbox: InboxFile) -> None:
    assert inbox.counts() == {
        ("lis", "received"): 1,
        ("lis", "processed"): 1,
        ("lis", "quarantined"): 1,
        ("his", "quarantined"): 1,
        ("ris", "processed"): 1,
    }
    inbox.close()


async def test_the_newest_of_several_sources_come_in_one_order(inbox: InboxFile) -> None:
    def keys(*sources: str, **rest: object) -> list[str]:
        return [entry.key for entry in inbox.newest(sources, **rest)]  # type: ignore[arg-type]

    assert keys("lis", "ris") == ["m5", "m4", "m3", "m1"]
    assert keys("lis", "ris", limit=2) == ["m5", "m4"]
    assert keys("lis", "ris", before="m4") == ["m3", "m1"]
    assert keys("lis", "his", state=State.QUARANTINED) == ["m3", "m2"]
    assert keys("lis", "his", reason="GW-TRN-004") == ["m3"]
    assert keys() == []
    inbox.close()


async def test_reasons_are_those_of_messages_in_quarantine_now(inbox: InboxFile) -> None:
    assert sorted(inbox.reasons()) == ["GW-TRN-002", "GW-TRN-004"]
    await inbox.reopen(["m2"])
    assert inbox.reasons() == ["GW-TRN-004"]
    inbox.close()
