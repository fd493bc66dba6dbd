"""Groups of quarantined messages."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from fixtures.times import ANCHOR
from gateway.cli import main
from gateway.commands.talk import Exit
from gateway.inbox.groups import groups
from gateway.inbox.queue import Arrival, Entry, open_inbox
from gateway.model.outcome import Finding, Outcome, State


def _entry(number: int, code: str, place: str, source: str = "lis") -> Entry:
    outcome = Outcome(f"m{number}", State.QUARANTINED, findings=(Finding(code, "error", place, "", ""),))
    at = ANCHOR + timedelta(minutes=number)
    text = msgspec.json.encode(outcome).decode()
    return Entry(f"m{number}", source, "v2", "", "", at, State.QUARANTINED, code, text, 9)


def test_messages_with_one_fault_are_one_group_whichever_repetition_has_it() -> None:
    entries = [
        _entry(4, "GW-TRN-003", "OBX[7]-5"), _entry(3, "GW-TRN-001", "PID-3"),
        _entry(2, "GW-TRN-003", "OBX[1]-5"), _entry(1, "GW-TRN-003", "OBX[1]-5", "his"),
    ]  # fmt: skip
    found = groups(entries)
    assert [(one.source, one.code, one.place, one.count) for one in found] == [
        ("lis", "GW-TRN-003", "OBX-5", 2), ("lis", "GW-TRN-001", "PID-3", 1), ("his", "GW-TRN-003", "OBX-5", 1),
    ]  # fmt: skip
    first = found[0]
    assert (first.sample, first.last - first.first) == ("m4", timedelta(minutes=2))


def test_a_message_refused_without_an_outcome_is_grouped_by_its_code() -> None:
    entry = replace(_entry(1, "GW-INB-005", ""), outcome="")
    assert [(one.code, one.place) for one in groups([entry])] == [("GW-INB-005", "")]


def test_a_group_is_shown_and_set_back_as_a_whole_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(_keep(tmp_path, ("OBX[1]-5", "OBX[2]-5", "PID-3")))
    shown = ["inbox", "groups", "--home", str(tmp_path), "--json"]
    assert main(shown) == Exit.OK
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["place"], row["count"], row["sample"]) for row in rows] == [("OBX-5", 2, "m2"), ("PID-3", 1, "m3")]
    assert main(["inbox", "replay", "--home", str(tmp_path), "--reason", "GW-TRN-003", "--place", "OBX-5"]) == Exit.OK
    capsys.readouterr()
    main(shown)
    assert [json.loads(line)["place"] for line in capsys.readouterr().out.splitlines()] == ["PID-3"]


async def _keep(home: Path, places: tuple[str, ...]) -> None:
    inbox = await open_inbox(home)
    for number, place in enumerate(places):
        outcome = _entry(number, "GW-TRN-003", place).outcome
        refused = Arrival("lis", "v2", b"%d" % number, ANCHOR, refused="GW-TRN-003", outcome=outcome)
        await inbox.keep(refused)
    await inbox.close()
