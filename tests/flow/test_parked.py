"""A message before what it presupposes: it waits, is seen waiting, and runs by itself; in time or after."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from fixtures.times import ANCHOR
from gateway.cli import main
from gateway.model.outcome import State
from gateway.store.inbox_base import Entry
from tests.flow.alliance import Alliance
from tests.flow.test_wrong_order import ADMIT, CANCEL, MERGE, MOVE, OLD_NUMBER, REGISTER, WRONG_PATIENT


def tell(alliance: Alliance, *bodies: bytes) -> list[Entry]:
    """The messages, one after another; everything kept so far, oldest first."""
    for body in bodies:
        assert b"MSA|AA|" in alliance.mllp(body)
        alliance.drain()
    return alliance.run(alliance.gateway.inbox.messages.entries(limit=100))[::-1]


def states(entries: list[Entry]) -> list[str]:
    return [one.state.value for one in entries]


def test_a_merge_of_an_unknown_number_waits_for_its_registration(empty: Alliance) -> None:
    (merge,) = tell(empty, MERGE)
    assert (merge.state, merge.reason) == (State.PARKED, "GW-INB-030")
    assert "MRG-1" in merge.outcome and "2026-03-27" in merge.outcome and "W099" not in merge.outcome
    assert states(tell(empty, REGISTER)) == ["parked", "processed"], "of another number"
    assert states(tell(empty, OLD_NUMBER)) == ["processed"] * 3
    (resident,) = empty.found("Patient", identifier="990150198809260427")
    assert {one["subject"]["reference"] for one in empty.found("Encounter")} == {f"Patient/{resident['id']}"}


def test_a_cancellation_and_a_move_wait_for_their_visit(empty: Alliance) -> None:
    assert states(tell(empty, CANCEL, MOVE)) == ["parked", "parked"]
    assert empty.found("Encounter") == []
    assert states(tell(empty, ADMIT)) == ["processed"] * 3
    assert [one["status"] for one in empty.found("Encounter")] == ["cancelled"], "a move says nothing of the state"


def test_parked_messages_stand_on_the_console_and_in_the_list(empty: Alliance) -> None:
    tell(empty, MERGE, CANCEL)
    log = empty.client.get("/console/?state=parked", headers=empty.bearer("vendor")).text
    assert log.count("挂起待关联") >= 2 and "GW-INB-030" in log
    groups = empty.client.get("/console/groups", headers=empty.bearer("vendor")).text
    assert "挂起、等待另一条消息的" in groups and "MRG-1" in groups and "PV1-19" in groups


def test_the_command_lists_what_is_parked(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    alliance = Alliance(tmp_path)
    tell(alliance, MERGE, REGISTER)
    alliance.close()
    assert main(["inbox", "list", "--home", str(tmp_path), "--state", "parked", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert (json.loads(line)["state"], json.loads(line)["reason"]) == ("parked", "GW-INB-030")
    assert main(["inbox", "groups", "--home", str(tmp_path), "--state", "parked", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["place"] == "MRG-1"


def test_who_waits_in_vain_is_quarantined_after_a_restart_and_runs_when_it_comes_at_last(tmp_path: Path) -> None:
    first = Alliance(tmp_path)
    assert states(tell(first, CANCEL)) == ["parked"]
    first.close()
    soon = Alliance(tmp_path, start=ANCHOR + timedelta(days=6))
    assert states(tell(soon)) == ["parked"], "it waits on after a restart"
    soon.close()
    late = Alliance(tmp_path, start=ANCHOR + timedelta(days=7, hours=1))
    late.drain()
    (cancel,) = tell(late)
    assert (cancel.state, cancel.reason) == (State.QUARANTINED, "GW-INB-031")
    assert states(tell(late, ADMIT)) == ["processed", "processed"]
    assert [one["status"] for one in late.found("Encounter")] == ["cancelled"]
    late.close()


def test_the_old_number_s_own_visit_is_not_taken_for_the_one_a_move_waits_for(empty: Alliance) -> None:
    assert states(tell(empty, MOVE, OLD_NUMBER)) == ["parked", "processed"]
    assert states(tell(empty, WRONG_PATIENT)) == ["processed"] * 3
