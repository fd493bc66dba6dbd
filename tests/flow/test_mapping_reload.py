"""New mappings into a running gateway: proved on cases and kept messages, then switched; a failure keeps the old."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.times import ANCHOR
from gateway.model.message import Draft
from gateway.model.resource import loads
from gateway.translate.engine import Mappings
from tests.flow.alliance import Alliance
from tests.flow.messages import card, oru

_HEAD = "extends: _base/v2/oru_r01\nserves: [ORU^R01]\nsource: test\nrules:\n"
_STATUS = "  - rule: observation\n    set: {status: %s}\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A mapping folder in which the city hospital has a map of its own that changes nothing yet."""
    member = tmp_path / "maps" / "city_first_hospital"
    member.mkdir(parents=True)
    (member / "source.yaml").write_bytes(Path("mappings/city_first_hospital/source.yaml").read_bytes())
    (member / "oru_r01.yaml").write_text(_HEAD + _STATUS % "final", encoding="utf-8")
    return member / "oru_r01.yaml"


@pytest.fixture
def running(own: Path, tmp_path: Path) -> Iterator[Alliance]:
    fresh = Alliance(tmp_path / "home", mappings=own.parents[1])
    fresh.mllp(oru(1, 1, items=3))
    fresh.drain()
    yield fresh
    fresh.close()


def statuses(alliance: Alliance, number: int) -> set[str]:
    alliance.mllp(oru(number, 1, items=3))
    alliance.drain()
    return {one["status"] for one in alliance.of(card(1), "Observation")}


def attempt(alliance: Alliance, do: str) -> str:
    form = {"do": do}
    answer = alliance.client.post(
        "/console/mappings", data=form, headers=alliance.bearer("admin"), follow_redirects=True
    )
    assert answer.status_code == 200, answer.text[:300]
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def test_a_change_is_shown_first_and_serves_from_the_next_message_on(running: Alliance, own: Path) -> None:
    own.write_text(_HEAD + _STATUS % "amended", encoding="utf-8")
    shown = attempt(running, "prove")
    assert "可以启用" in shown and "Observation.status" in shown and "1 条会有变化" in shown
    assert statuses(running, 2) == {"final"}
    assert "已启用" in attempt(running, "switch")
    assert statuses(running, 3) == {"final", "amended"}


def test_a_map_that_does_not_compile_is_named_by_file_and_line_and_the_old_one_serves(
    running: Alliance, own: Path
) -> None:
    own.write_text(_HEAD + "  - rule: observation\n    set: {statuss: {from: OBX-11}}\n", encoding="utf-8")
    shown = attempt(running, "switch")
    assert "没有启用" in shown and "city_first_hospital/oru_r01.yaml:6" in shown and "GW-CFG-003" in shown
    assert statuses(running, 2) == {"final"}


def test_a_map_that_would_refuse_kept_messages_does_not_serve(running: Alliance, own: Path) -> None:
    own.write_text(_HEAD + "  - rule: lab_report\n    id: [ZZZ-1]\n", encoding="utf-8")
    shown = attempt(running, "switch")
    assert "会被拒绝" in shown and "GW-CFG-006" in shown
    assert statuses(running, 2) == {"final"}


def test_a_map_whose_results_break_r4_does_not_serve(running: Alliance, own: Path) -> None:
    own.write_text(
        _HEAD + "  - rule: observation\n    set: {component: [{valueString: {from: OBX-5}}]}\n", encoding="utf-8"
    )
    shown = attempt(running, "switch")
    assert "会被拒绝" in shown and "GW-CFG-006" in shown
    assert statuses(running, 2) == {"final"}


def test_a_message_that_breaks_the_gateway_itself_keeps_no_map_from_serving(
    running: Alliance, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Draft:
        raise KeyError("of the gateway itself")

    own.write_text(_HEAD + _STATUS % "amended", encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setattr(Mappings, "translate", broken)
        assert "已启用" in attempt(running, "switch")
    assert statuses(running, 2) == {"final", "amended"}


def test_a_golden_case_that_differs_keeps_the_old_map(running: Alliance, own: Path) -> None:
    case = own.parents[1] / "tests/city_first_hospital/oru_r01/one"
    case.mkdir(parents=True)
    (case / "case.yaml").write_text("order: 1\n", encoding="utf-8")
    (case / "input.hl7").write_bytes(oru(1, 1, items=1).replace(b"\r", b"\n"))
    (case / "expected.json").write_text('{"resourceType":"Bundle"}', encoding="utf-8")
    shown = attempt(running, "switch")
    assert "没有启用" in shown and "不同的用例：city_first_hospital/oru_r01/one" in shown
    (case / "case.yaml").write_text("ordr: 1\n", encoding="utf-8")
    shown = attempt(running, "switch")
    assert "没有启用" in shown and "oru_r01/one/case.yaml:1" in shown and "没有键" in shown


_NEW = """name: 新桥镇卫生院
short: 新桥
level: primary
provides: [labs]
sources:
  xinqiao:
    format: v2
    settings: {msh3: HIS, msh4: XQ}
"""


def test_a_new_member_its_source_alliance_and_intervals_serve_without_a_restart(running: Alliance, own: Path) -> None:
    sender = oru(5, 5, items=3, at="20260319083000").replace(b"|ESB|CITY1|", b"|HIS|XQ|")
    assert b"MSA|AR|" in running.mllp(sender), "nobody knows this sender yet"
    maps = own.parents[1]
    (maps / "xinqiao").mkdir()
    (maps / "xinqiao" / "source.yaml").write_text(_NEW, encoding="utf-8")
    (maps / "xinqiao" / "ranges.csv").write_text(
        "loinc,sex,age_low,age_high,unit,low,high,text\n2823-3,,,,mmol/L,3.5,5.3,3.5-5.3\n", encoding="utf-8"
    )
    known = Path("mappings/alliances.yaml").read_text(encoding="utf-8")
    (maps / "alliances.yaml").write_text(
        known.replace("township_health_centre]", "township_health_centre, xinqiao]", 1), encoding="utf-8"
    )
    proof = running.run(running.gateway.proof.attempt(switch=True))
    assert proof.switched, (proof.code, proof.place, proof.en)
    assert b"MSA|AA|" in running.mllp(sender.replace(b"T00000005", b"T00000006"))
    running.drain()
    assert {one["status"] for one in running.of(card(5), "Observation")} == {"final"}
    assert running.found("Organization", name="新桥镇卫生院")
    assert "新桥镇卫生院" in running.client.get("/console/", headers=running.bearer("admin")).text or "xinqiao" in (
        running.client.get("/console/", headers=running.bearer("admin")).text
    )
    assert running.gateway.shared.ranges.find("xinqiao", "2823-3", "", 40) is not None
    assert running.gateway.directory.alliances_of("xinqiao", ANCHOR)


def test_wrong_intervals_and_members_without_a_name_keep_everything_as_it_was(running: Alliance, own: Path) -> None:
    ranges = own.with_name("ranges.csv")
    ranges.write_text("loinc,low\n", encoding="utf-8")
    proof = running.run(running.gateway.proof.attempt(switch=True))
    assert (proof.switched, proof.code) == (False, "GW-CFG-003") and "ranges.csv:1" in proof.place
    ranges.unlink()
    (own.parents[1] / "xinqiao").mkdir()
    (own.parents[1] / "xinqiao" / "source.yaml").write_text("level: primary\n", encoding="utf-8")
    proof = running.run(running.gateway.proof.attempt(switch=True))
    assert (proof.switched, proof.code) == (False, "GW-CFG-003") and "xinqiao/source.yaml" in proof.place
    assert "xinqiao" not in running.gateway.directory.members and statuses(running, 2) == {"final"}


def test_a_source_taken_out_keeps_serving_while_its_messages_would_be_refused(running: Alliance, own: Path) -> None:
    source = own.with_name("source.yaml")
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace("  city_first_hospital:", "  city_other:"), encoding="utf-8")
    proof = running.run(running.gateway.proof.attempt(switch=True))
    assert (proof.switched, proof.code) == (False, "GW-CFG-006") and statuses(running, 2) == {"final"}


def test_only_operators_change_mappings(running: Alliance) -> None:
    for role in ("vendor", "doctor", "platform"):
        answer = running.client.post("/console/mappings", data={"do": "switch"}, headers=running.bearer(role))
        assert answer.status_code == 403, role
    assert running.gateway.proof.last is None


def test_the_hangup_signal_reloads(own: Path, tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    home = tmp_path / "home"
    config.write_text(
        f'[gateway]\nhome = "{home}"\nmappings = "{own.parents[1]}"\n[http]\nport = 0\n[mllp]\nport = 0\n', "utf-8"
    )
    command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "400"}) as process:
        assert process.stderr is not None
        try:
            assert "mllp" in process.stderr.readline()
            process.send_signal(signal.SIGHUP)
            assert "mappings switched" in process.stderr.readline()
            own.write_text("rules: [", encoding="utf-8")
            process.send_signal(signal.SIGHUP)
            said = process.stderr.readline() + process.stderr.readline()
            assert "GW-CFG-003" in said and "city_first_hospital/oru_r01.yaml:2" in said
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_the_answer_to_a_pushed_message_names_the_mapping_that_made_it(running: Alliance, own: Path) -> None:
    before = loads(running.push("city_first_hospital", oru(7, 2, items=1), wait=10).content)["outcome"]["mapping"]
    own.write_text(_HEAD + _STATUS % "amended", encoding="utf-8")
    running.run(running.gateway.proof.attempt(switch=True))
    after = loads(running.push("city_first_hospital", oru(8, 2, items=1), wait=10).content)["outcome"]["mapping"]
    assert before != after
