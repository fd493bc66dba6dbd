"""The disk fills up while hospitals send: they are told so, doctors read on, and freed space is enough to go on."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import apsw
import pytest

from gateway.errors import StorageFull
from gateway.inbound.files import FolderDoor
from gateway.store import audit_fresh
from gateway.store.writer import GroupWriter
from tests.faults import Disk
from tests.flow.alliance import Alliance
from tests.flow.messages import oru


@dataclass
class Sent:
    """What was acknowledged."""

    reports: set[int] = field(default_factory=set)
    organizations: list[str] = field(default_factory=list)


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Alliance, Disk]]:
    with Disk(remember=False) as disk:
        made = Alliance(tmp_path_factory.mktemp("full"))
        yield made, disk
        disk.full = lambda _: False
        made.close()


def _fill(disk: Disk) -> None:
    """Nothing may grow any more but the audit log, for which the reserve is kept."""
    disk.full = lambda path: "/audit" not in path


def _free(disk: Disk) -> None:
    disk.full = lambda _: False


def _write(alliance: Alliance, sent: Sent, number: int) -> tuple[int, bytes]:
    """One FHIR create and one HL7 message; what was said to them."""
    body = json.dumps({"resourceType": "Organization", "name": f"第{number}院"})
    headers = alliance.bearer("admin") | {"content-type": "application/fhir+json"}
    made = alliance.client.post("/fhir/Organization", content=body, headers=headers)
    if made.status_code == 201:
        sent.organizations.append(made.headers["location"].partition("/fhir/")[2].partition("/_history")[0])
    ack = alliance.mllp(oru(number, number % 5, items=2))
    if b"MSA|AA|" in ack:
        sent.reports.add(number)
    return made.status_code, ack


def _all_there(alliance: Alliance, sent: Sent) -> None:
    alliance.drain()
    for place in sent.organizations:
        assert alliance.fhir(place, role="admin")["id"]
    for number in sent.reports:
        assert len(alliance.found("DiagnosticReport", identifier=f"R{number:08d}")) == 1, number


def test_a_full_disk_is_said_clearly_and_reads_go_on(site: tuple[Alliance, Disk]) -> None:
    alliance, disk = site
    sent = Sent()
    assert _write(alliance, sent, 1)[0] == 201
    alliance.drain()
    _fill(disk)
    headers = alliance.bearer("admin") | {"content-type": "application/fhir+json"}
    made = alliance.client.post(
        "/fhir/Organization", content=b'{"resourceType":"Organization","name":"x"}', headers=headers
    )
    assert made.status_code == 507 and int(made.headers["retry-after"]) > 0
    assert made.json()["issue"][0]["details"]["coding"][0]["code"] == "GW-INB-007"
    ack = alliance.mllp(oru(2, 2, items=2))
    assert b"MSA|AE|" in ack and b"GW-INB-007" in ack
    push = alliance.push("city_first_hospital", oru(3, 3, items=2))
    assert push.status_code == 507 and "GW-INB-007" in push.text
    assert alliance.fhir(sent.organizations[0], role="admin")["name"] == "第1院"
    assert len(alliance.found("DiagnosticReport")) == 1
    assert alliance.client.get("/health/ready").status_code == 200
    _free(disk)
    assert _write(alliance, sent, 2)[0] == 201
    assert sent.reports == {1, 2}
    _all_there(alliance, sent)


def test_filled_at_random_moments_nothing_acknowledged_is_lost_and_no_restart_is_needed(
    site: tuple[Alliance, Disk],
) -> None:
    alliance, disk = site
    chance, sent, refused = random.Random(7), Sent(), 0
    for number in range(1, 61):
        if chance.random() < 0.3:
            _fill(disk)
        elif chance.random() < 0.5:
            _free(disk)
        status, ack = _write(alliance, sent, number)
        assert status in (201, 507) and (b"MSA|AA|" in ack or b"GW-INB-007" in ack)
        refused += status == 507
    _free(disk)
    assert refused > 5 and len(sent.organizations) > 5 and len(sent.reports) > 5
    assert _write(alliance, sent, 99)[0] == 201
    _all_there(alliance, sent)
    assert alliance.run(alliance.gateway.store.audit_log.verify()).broken == 0
    for name in ("store.db", "inbox.db", "audit.db"):
        check = apsw.Connection(f"{alliance.settings.gateway.home}/{name}")
        assert next(iter(check.execute("PRAGMA integrity_check")))[0] == "ok"
        check.close()


def test_a_checkpoint_that_finds_no_room_stops_nobody(site: tuple[Alliance, Disk]) -> None:
    alliance, disk = site
    writer: GroupWriter = alliance.gateway.store._engine._writer  # type: ignore[attr-defined]
    writer._checkpoints._limit = 4
    sent = Sent()
    disk.full = lambda path: path.endswith("store.db")  # the WAL may grow, the file it is written back to may not
    for number in range(1, 12):
        assert _write(alliance, sent, number)[0] == 201
    _free(disk)
    assert _write(alliance, sent, 50)[0] == 201
    _all_there(alliance, sent)


def test_with_less_than_the_reserve_only_the_audit_is_written(site: tuple[Alliance, Disk]) -> None:
    alliance, _ = site
    sent = Sent()
    _write(alliance, sent, 1)
    writers = (alliance.gateway.store._engine._writer, alliance.gateway.inbox.messages._writer)
    alliance.drain()
    for writer in writers:
        writer._disk.keep_free = 1 << 62
    status, ack = _write(alliance, sent, 2)
    assert status == 507 and b"MSA|AE|" in ack
    assert alliance.fhir(sent.organizations[0], role="admin")["name"] == "第1院"
    for writer in writers:
        writer._disk.keep_free = 1
    assert _write(alliance, sent, 3)[0] == 201
    _all_there(alliance, sent)


def test_a_read_whose_disclosure_finds_no_room_is_refused_and_later_ones_are_not(
    site: tuple[Alliance, Disk], monkeypatch: pytest.MonkeyPatch
) -> None:
    alliance, disk = site
    monkeypatch.setattr(audit_fresh, "_ROOM", 0)
    sent = Sent()
    _write(alliance, sent, 1)
    disk.full = lambda _: True
    read = alliance.client.get(f"/fhir/{sent.organizations[0]}", headers=alliance.bearer("admin"))
    assert read.status_code == 507 and read.json()["issue"][0]["details"]["coding"][0]["code"] == "GW-INB-007"
    _free(disk)
    assert alliance.fhir(sent.organizations[0], role="admin")["name"] == "第1院"
    assert alliance.run(alliance.gateway.store.audit_log.verify()).broken == 0


def test_reads_go_on_while_their_disclosures_cannot_be_chained(site: tuple[Alliance, Disk]) -> None:
    alliance, disk = site
    sent = Sent()
    _write(alliance, sent, 1)
    alliance.run(alliance.gateway.store.audit_log.seal())
    before = alliance.run(alliance.gateway.store.audit_log.head()).n
    disk.full = lambda path: "audit.db" in path
    for _ in range(20):
        assert alliance.fhir(sent.organizations[0], role="admin")["name"] == "第1院"
    with pytest.raises(StorageFull):
        alliance.run(alliance.gateway.store.audit_log.seal())
    _free(disk)
    alliance.run(alliance.gateway.store.audit_log.seal())
    assert alliance.run(alliance.gateway.store.audit_log.head()).n >= before + 20
    assert alliance.run(alliance.gateway.store.audit_log.verify()).broken == 0


def test_a_file_that_found_no_room_stays_in_its_folder(
    site: tuple[Alliance, Disk], tmp_path_factory: pytest.TempPathFactory
) -> None:
    alliance, disk = site
    folder = tmp_path_factory.mktemp("drop")
    (folder / "one.hl7").write_bytes(oru(1, 1, items=2))
    source = alliance.gateway.directory.sources["city_first_hospital"]
    door = FolderDoor(alliance.gateway.intake, source, folder)
    _fill(disk)
    for _ in range(3):
        alliance.run(door.look())
    assert [one.name for one in folder.iterdir()] == ["one.hl7"]
    _free(disk)
    for _ in range(2):
        alliance.run(door.look())
    assert (folder / "done" / "one.hl7").exists()
    _all_there(alliance, Sent({1}))
