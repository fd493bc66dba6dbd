"""A whole message against a store: what is read, what is written, what stays."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.identity.workspace import Resolution
from gateway.model import systems
from gateway.model.message import DraftResource
from gateway.model.resource import Json, dumps, loads
from gateway.model.times import CHINA
from gateway.revise import revise
from gateway.store.base import Keys, Move, Put, src_of
from gateway.store.resources import open_store
from tests.unit.identity.memory import MemoryStore
from tests.unit.identity.real_store import RealStore

NOON = datetime(2026, 3, 17, 12, tzinfo=CHINA)
SOURCE = "urn:alliance-gateway:source:lis#{}"


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MemoryStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    real = await open_store(f"sqlite:///{tmp_path}", clock=lambda: NOON)
    yield RealStore(real)
    await real.close()


REQUIRED: dict[str, Json] = {
    "DiagnosticReport": {"code": {"text": "生化"}},
    "Observation": {"code": {"text": "项目"}},
    "Encounter": {"class": {"code": "AMB"}},
    "DocumentReference": {"content": [{"attachment": {"title": "报告"}}]},
}


def draft(body: Json) -> DraftResource:
    """A resource of a message, with what R4 requires of it."""
    type_ = body["resourceType"]
    return DraftResource(type_, body["id"], dumps(body | REQUIRED.get(type_, {})))


def lab(status: str, issued: str, items: dict[str, str], **more: Any) -> list[Json]:
    named = [{"reference": f"Observation/{code}"} for code in items]
    subject = {"subject": {"reference": "Patient/p"}}
    head = {"resourceType": "DiagnosticReport", "id": "r", "status": status, "issued": issued, "result": named}
    rest: list[Json] = [
        {"resourceType": "Observation", "id": code, "status": status, "issued": issued, "valueString": value, **subject}
        for code, value in items.items()
    ]
    return [head | subject | more, *rest]


async def receive(store: MemoryStore, bodies: list[Json], key: str, hours: float = 0, **options: Any) -> list[str]:
    """Put a message as the pipeline does; gives what became a new version."""
    before = {ref: len(versions) for ref, versions in store.versions.items()}
    await put(store, [draft(one) for one in bodies], key, hours=hours, **options)
    return [f"{t}/{i}" for (t, i), versions in store.versions.items() if len(versions) > before.get((t, i), 0)]


async def put(store: MemoryStore, drafts: list[DraftResource], key: str, *, hours: float, **options: Any) -> None:
    """The same of drafts, which may delete."""
    said_at = NOON + timedelta(hours=hours)
    revised = await revise(store, drafts, said_at=said_at, **({"mode": "snapshot"} | options))  # type: ignore[arg-type]
    puts = [
        Put(one.type, one.id, one.body, Keys(), dumps({"source": SOURCE.format(key)} | meta), "p", 7, "m", 0, expect)
        for one, expect, meta, *_ in revised.ordered
    ]
    await store.apply(Resolution(), *puts)


def now(store: MemoryStore, type_: str, id_: str) -> Json:
    return loads(store.versions[(type_, id_)][-1].body)


def statuses(store: MemoryStore, type_: str, id_: str) -> list[str]:
    return [loads(one.body)["status"] for one in store.versions[(type_, id_)]]


async def test_new_things_cost_one_read(store: MemoryStore) -> None:
    store.reads.clear()
    await receive(store, lab("final", "2026-03-17T10:00:00+08:00", {"K": "6.8"}), "1")
    assert store.reads == ["read_many"]
    assert now(store, "DiagnosticReport", "r")["meta"]["source"] == SOURCE.format(1)


async def test_the_same_message_again_with_a_newer_time_makes_no_version(store: MemoryStore) -> None:
    report = lab("final", "2026-03-17T10:00:00+08:00", {"K": "6.8"})
    await receive(store, report, "1")
    assert await receive(store, report, "2", hours=1) == []


async def test_a_late_preliminary_leaves_the_final_current_with_its_own_source(store: MemoryStore) -> None:
    await receive(store, lab("final", "2026-03-17T10:00:00+08:00", {"K": "6.8"}), "final")
    late = lab("preliminary", "2026-03-18T10:00:00+08:00", {"K": "?"})
    await receive(store, late, "late", hours=22)
    assert statuses(store, "DiagnosticReport", "r") == ["final", "preliminary", "final"]
    assert now(store, "Observation", "K")["valueString"] == "6.8"
    assert now(store, "DiagnosticReport", "r")["meta"]["source"] == SOURCE.format("final")
    assert await receive(store, late, "late", hours=22) == []


async def test_equal_issue_times_are_ordered_by_the_time_of_the_message(store: MemoryStore) -> None:
    await receive(store, lab("corrected", "2026-03-17T10:00:00+08:00", {"K": "4.2"}), "2", hours=2)
    await receive(store, lab("corrected", "2026-03-17T10:00:00+08:00", {"K": "5.0"}), "1", hours=1)
    assert now(store, "Observation", "K")["valueString"] == "4.2"


async def test_an_item_lost_in_the_new_issue_is_withdrawn(store: MemoryStore) -> None:
    await receive(store, lab("final", "2026-03-17T10:00:00+08:00", {"ALT": "1", "GGT": "2"}), "1")
    await receive(store, lab("final", "2026-03-17T11:00:00+08:00", {"ALT": "1"}), "2", hours=1)
    assert statuses(store, "Observation", "GGT") == ["final", "entered-in-error"]


async def test_a_correction_keeps_the_security_label_of_what_it_corrects(store: MemoryStore) -> None:
    await receive(store, lab("final", "2026-03-17T10:00:00+08:00", {"HIV": "阳性"}), "1")
    old = store.versions[("Observation", "HIV")][-1]
    body = {**loads(old.body), "meta": {"security": [{"code": "R"}]}}
    label = Put("Observation", "HIV", dumps({**body, "note": [{"text": "labelled"}]}), Keys(), dumps(body["meta"]))
    await store.apply(Resolution(), label)
    await receive(store, lab("corrected", "2026-03-17T11:00:00+08:00", {"HIV": "阴性"}), "2", hours=1)
    assert now(store, "Observation", "HIV")["meta"]["security"] == [{"code": "R"}]


async def test_rows_moved_by_the_same_plan_are_not_written_back_to_the_old_patient(store: MemoryStore) -> None:
    await receive(store, lab("final", "2026-03-17T10:00:00+08:00", {"ALT": "1", "GGT": "2"}), "1")
    newer = loads(dumps(lab("final", "2026-03-17T11:00:00+08:00", {"ALT": "1"})).replace(b"Patient/p", b"Patient/q"))
    await receive(store, newer, "2", moves=[Move((7,), "p", "q")])  # type: ignore[arg-type]
    assert now(store, "Observation", "GGT")["subject"]["reference"] == "Patient/q"


def document(number: str, report: str, replaces: str = "") -> list[Json]:
    made: Json = {
        "resourceType": "DocumentReference",
        "id": number,
        "status": "current",
        "context": {"related": [{"reference": f"DiagnosticReport/{report}"}]},
    }
    if replaces:
        made["relatesTo"] = [{"code": "replaces", "target": {"reference": f"DocumentReference/{replaces}"}}]
    minute = "10:0" + number[-1]
    body = {"resourceType": "DiagnosticReport", "id": report, "status": "final"}
    return [made, body | {"issued": f"2026-03-17T{minute}:00+08:00", "conclusion": f"{number} mm"}]


@pytest.mark.parametrize("own_number", [True, False])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_only_the_last_of_replaced_documents_is_current_in_any_order(
    order: tuple[int, ...], own_number: bool, store: MemoryStore
) -> None:
    reports = ["a", "b", "c"] if own_number else ["a", "a", "a"]
    issues = [document("v0", reports[0]), document("v1", reports[1], "v0"), document("v2", reports[2], "v1")]
    for place in order:
        await receive(store, issues[place], str(place), hours=place)
        assert await receive(store, issues[place], "again", hours=place) == []
    ends = [now(store, "DocumentReference", f"v{n}")["status"] for n in range(3)]
    assert ends == ["superseded", "superseded", "current"]
    standing = [one["conclusion"] for one in store.bodies("DiagnosticReport") if one["status"] == "final"]
    assert standing == ["v2 mm"]


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (document("v1", "b", "v0"), ["DocumentReference.relatesTo"]),
        (document("v1", "a"), ["DiagnosticReport.subject"]),
        (document("v1", "b"), []),
    ],
)
async def test_a_number_that_takes_another_residents_report_is_told(
    second: list[Json], told: list[str], store: MemoryStore
) -> None:
    first = [one | {"subject": {"reference": "Patient/p"}} for one in document("v0", "a")]
    await receive(store, first, "1")
    for whose, expected in (("p", []), ("q", told)):
        drafts = [draft(one | {"subject": {"reference": f"Patient/{whose}"}}) for one in second]
        made = await revise(store, drafts, mode="snapshot", said_at=NOON)
        assert [(one.code, one.place) for one in made.findings] == [("GW-REV-008", place) for place in expected]


async def test_a_late_message_about_a_visit_does_not_reopen_it(store: MemoryStore) -> None:
    visit = {"resourceType": "Encounter", "id": "e"}
    await receive(store, [visit | {"status": "finished"}], "A03", hours=2)
    assert await receive(store, [visit | {"status": "in-progress"}], "A08", hours=1) == []
    assert now(store, "Encounter", "e")["status"] == "finished"
    await receive(store, [visit | {"status": "in-progress"}], "A13", hours=3)
    assert now(store, "Encounter", "e")["status"] == "in-progress"


ADMITTED, DISCHARGED, BACK, MOVED = (
    draft({"resourceType": "Encounter", "id": "e", "status": status, **more})._replace(gone=gone)
    for status, more, gone in (
        ("in-progress", {"period": {"start": "2026-03-10"}}, ()),
        ("finished", {"period": {"end": "2026-03-18"}}, ()),
        ("in-progress", {}, ("period.end",)),
        ("in-progress", {"location": [{"location": {"display": "N1"}}]}, ()),
    )
)


@pytest.mark.parametrize("insists", [True, False])
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
async def test_a_discharge_taken_back_stays_so_whatever_comes_first(order: tuple[int, ...], insists: bool) -> None:
    store = MemoryStore()
    for place in order:
        one = (ADMITTED, DISCHARGED, BACK, MOVED)[place]
        await put(store, [one], str(place), hours=place, insists=insists)
    assert now(store, "Encounter", "e")["period"] == {"start": "2026-03-10"}


_PATIENT = {"reference": "Patient/p"}
_ACTIVE: Json = {"coding": [{"system": systems.ALLERGY_CLINICAL, "code": "active"}]}
HEADS: list[Json] = [
    {"resourceType": "AllergyIntolerance", "patient": _PATIENT, "clinicalStatus": _ACTIVE},
    {"resourceType": "Condition", "subject": _PATIENT},
    {"resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": _PATIENT},
    {"resourceType": "Appointment", "status": "proposed", "participant": [{"actor": _PATIENT, "status": "accepted"}]},
    {"resourceType": "Account", "status": "active"},
]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: str(head["resourceType"]))
async def test_a_late_message_overwrites_nothing_that_was_told_since(head: Json, store: MemoryStore) -> None:
    beside = draft({"resourceType": "Observation", "id": "o", "status": "final"}).json
    old, new = ([head | {"id": "x", "language": word}, beside | {"valueString": word}] for word in ("zh", "zh-CN"))
    await receive(store, new, "2", hours=2)
    assert await receive(store, old, "1", hours=1) == []
    assert now(store, head["resourceType"], "x")["language"] == "zh-CN"
    assert now(store, "Observation", "o")["valueString"] == "zh-CN"


async def test_parts_of_a_study_in_one_message_and_over_time_make_one_study(store: MemoryStore) -> None:
    def image(number: int) -> Json:
        instance = {"uid": f"1.{number}", "number": number, "sopClass": {"code": "urn:oid:1.2"}}
        return {
            "resourceType": "ImagingStudy",
            "id": "s",
            "status": "available",
            "subject": {"reference": "Patient/p"},
            "series": [{"uid": "1", "modality": {"code": "CT"}, "instance": [instance]}],
        }

    await receive(store, [image(1), image(2)], "1")
    await receive(store, [image(3)], "2")
    assert await receive(store, [image(2)], "3") == []
    study = now(store, "ImagingStudy", "s")
    assert [one["number"] for one in study["series"][0]["instance"]] == [1, 2, 3]
    assert len(store.versions[("ImagingStudy", "s")]) == 2


async def test_rows_of_one_report_in_one_file_do_not_withdraw_each_other(store: MemoryStore) -> None:
    first = lab("final", "2026-03-17T10:00:00+08:00", {"ALT": "1"})
    second = lab("final", "2026-03-17T10:00:00+08:00", {"GGT": "2"})
    for key in ("1", "2"):
        await receive(store, [*first, *second], key)
    assert [one["status"] for one in store.bodies("Observation")] == ["final", "final"]
    named = {one["reference"] for one in now(store, "DiagnosticReport", "r")["result"]}
    assert named == {"Observation/ALT", "Observation/GGT"}
    assert src_of("m", "1") != 0


async def test_a_visits_number_of_another_patients_is_told(store: MemoryStore) -> None:
    def about(patient: str) -> list[DraftResource]:
        subject = {"reference": f"Patient/{patient}"}
        return [draft({"resourceType": "Encounter", "id": "x", "status": "finished", "subject": subject})]

    await put(store, about("p"), "1", hours=0)
    for hours, codes in ((1, ["GW-REV-008"]), (-1, ["GW-REV-004"])):
        revised = await revise(store, about("q"), mode="snapshot", said_at=NOON + timedelta(hours=hours))
        assert [one.code for one in revised.findings] == codes


async def test_a_document_said_to_replace_itself_stays_current(store: MemoryStore) -> None:
    itself = [{"code": "replaces", "target": {"reference": "DocumentReference/d"}}]
    document = {"resourceType": "DocumentReference", "id": "d", "status": "current", "description": "1"}
    await receive(store, [document | {"relatesTo": itself}], "1")
    await receive(store, [document | {"description": "2", "relatesTo": itself}], "2", hours=1)
    assert statuses(store, "DocumentReference", "d") == ["current", "current"]
    assert "relatesTo" not in now(store, "DocumentReference", "d")
