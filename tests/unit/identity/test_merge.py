"""A40: one member's two numbers become one person, and can be taken apart exactly."""

from __future__ import annotations

import pytest

from gateway.errors import IdentityError, UnknownNumber
from gateway.identity.index import PersonIndex
from gateway.identity.merge import undo
from gateway.identity.workspace import Resolution
from gateway.model.message import MergeRequest
from gateway.model.resource import Json, loads
from gateway.store.base import Keys, Put, src_of

from .conftest import M1, M2, M4, an_observation, li, said
from .memory import MemoryStore
from .test_index import active, feed, tasks


def subjects(store: MemoryStore) -> dict[str, str]:
    return {one["id"]: one["subject"]["reference"].removeprefix("Patient/") for one in store.bodies("Observation")}


def observation(number: str, patient: str, member: str = M1, src: int = 0) -> Put:
    body = an_observation(patient)
    return Put("Observation", number, body, Keys(), patient=patient, src=src or src_of(member, number), member=member)


def patients(store: MemoryStore) -> dict[str, Json]:
    return {one["id"]: one for one in store.bodies("Patient")}


async def two_people(index: PersonIndex, store: MemoryStore) -> tuple[str, str]:
    keep = (await feed(index, store, li(M1, "keep", phone="13800001234"))).patients[0]
    old = (await feed(index, store, said(M1, "old", "李建国", birth="1958-03-12"))).patients[0]
    written = observation("fhir", old, src=src_of(M2, old))
    await store.apply(Resolution(), observation("keep", keep), observation("old", old), written)
    return keep, old


async def merge(index: PersonIndex, store: MemoryStore, hours: float = 1) -> Resolution:
    made = await index.resolve([li(M1, "keep", hours=hours)], [MergeRequest(0, M1, "old")])
    await store.apply(made)
    return made


async def undone(index: PersonIndex, store: MemoryStore, task: str) -> None:
    desk = index.workspace()
    await undo(desk, task)
    await store.apply(desk.render(()))


def merge_task(store: MemoryStore) -> str:
    return next(t["id"] for t in store.bodies("Task") if t["code"]["coding"][0]["code"] == "merged-by-member")


async def test_a_merge_moves_every_row_and_leaves_a_readable_trace(index: PersonIndex, store: MemoryStore) -> None:
    keep, old = await two_people(index, store)
    made = await merge(index, store)
    assert made.patients == (keep,)
    assert set(subjects(store).values()) == {keep}
    both = patients(store)
    assert both[old]["link"] == [{"other": {"reference": f"Patient/{keep}"}, "type": "replaced-by"}]
    assert both[keep]["link"] == [{"other": {"reference": f"Patient/{old}"}, "type": "replaces"}]
    assert (both[old]["active"], both[keep]["active"]) == (False, True)
    assert {"keep", "old"} == {i["value"] for i in both[keep]["identifier"] if "number:" in i["system"]}


async def test_later_messages_to_the_retired_number_go_to_the_survivor(index: PersonIndex, store: MemoryStore) -> None:
    keep, _ = await two_people(index, store)
    await merge(index, store)
    assert (await feed(index, store, said(M1, "old", phone="13900005678", hours=3))).patients == (keep,)
    assert await index.current(M1, "old") == keep


async def test_the_same_merge_again_changes_nothing(index: PersonIndex, store: MemoryStore) -> None:
    await two_people(index, store)
    await merge(index, store)
    again = await index.resolve([li(M1, "keep", hours=1)], [MergeRequest(0, M1, "old")])
    assert (again.records, again.resources, again.moves) == ((), (), ())


async def test_an_undone_merge_is_as_if_it_had_never_been(index: PersonIndex, store: MemoryStore) -> None:
    keep, old = await two_people(index, store)
    before, homes = patients(store), subjects(store)
    await merge(index, store)
    await undone(index, store, merge_task(store))
    assert patients(store) == before
    assert subjects(store) == homes == {"keep": keep, "old": old, "fhir": old}
    with pytest.raises(IdentityError):
        await undone(index, store, merge_task(store))


async def test_what_came_for_the_retired_number_meanwhile_goes_back_with_it(
    index: PersonIndex, store: MemoryStore
) -> None:
    _, old = await two_people(index, store)
    made = await merge(index, store)
    await feed(index, store, said(M1, "old", phone="13900005678", hours=3))
    late = observation("late", made.patients[0], src=src_of(M1, "old"))
    await store.apply(Resolution(), late)
    await undone(index, store, merge_task(store))
    assert subjects(store)["late"] == old
    assert patients(store)[old]["telecom"][0]["value"] == "13900005678"


async def test_a_chain_of_merges_can_be_taken_back_link_by_link(index: PersonIndex, store: MemoryStore) -> None:
    a = (await feed(index, store, said(M1, "a", "甲一", birth="1960-01-01"))).patients[0]
    b = (await feed(index, store, said(M1, "b", "甲二", birth="1960-01-01"))).patients[0]
    c = (await feed(index, store, said(M1, "c", "甲三", birth="1960-01-01"))).patients[0]
    await store.apply(Resolution(), *(observation(n, p) for n, p in (("a", a), ("b", b), ("c", c))))
    start = patients(store)
    await store.apply(await index.resolve([said(M1, "b")], [MergeRequest(0, M1, "a")]))
    middle = patients(store)
    await store.apply(await index.resolve([said(M1, "c")], [MergeRequest(0, M1, "b")]))
    assert set(subjects(store).values()) == {c}
    into = {t["focus"]["reference"]: t["id"] for t in store.bodies("Task")}
    await undone(index, store, into[f"Patient/{c}"])
    assert patients(store) == middle and subjects(store) == {"a": b, "b": b, "c": c}
    await undone(index, store, into[f"Patient/{b}"])
    assert patients(store) == start and subjects(store) == {"a": a, "b": b, "c": c}


async def test_an_inner_merge_is_not_undone_under_an_outer_one(index: PersonIndex, store: MemoryStore) -> None:
    for number in "abc":
        await feed(index, store, said(M1, number, f"甲{number}", birth="1960-01-01"))
    await store.apply(await index.resolve([said(M1, "b")], [MergeRequest(0, M1, "a")]))
    inner = merge_task(store)
    await store.apply(await index.resolve([said(M1, "c")], [MergeRequest(0, M1, "b")]))
    with pytest.raises(IdentityError):
        await undone(index, store, inner)


async def test_a_merge_of_a_number_nobody_sent_is_refused(index: PersonIndex) -> None:
    with pytest.raises(UnknownNumber):
        await index.resolve([li(M1, "keep")], [MergeRequest(0, M1, "never")])


async def test_two_different_verified_cards_are_reviewed_not_merged(index: PersonIndex, store: MemoryStore) -> None:
    await feed(index, store, li(M1, "keep"))
    await feed(index, store, said(M1, "old", "赵丽", card="990101198602140666", birth="1986-02-14", sex="female"))
    made = await merge(index, store)
    assert made.moves == () and len(active(store)) == 2
    assert [code for code, _, _ in tasks(store)] == ["merge-contradicts-card"]


async def test_a_provisional_person_merged_and_unmerged_is_provisional_again(
    index: PersonIndex, store: MemoryStore
) -> None:
    await feed(index, store, li(M4, "keep"))
    wrong = await feed(index, store, li(M4, "old", birth="1985-03-12"))
    before = patients(store)
    await store.apply(await index.resolve([li(M4, "keep")], [MergeRequest(0, M4, "old")]))
    assert [status for _, _, status in tasks(store)] == ["completed"]
    await undone(index, store, merge_task(store))
    assert patients(store) == before
    assert [status for _, _, status in tasks(store)] == ["requested"]
    assert loads(store.versions[("Patient", wrong.patients[0])][-1].body)["meta"]["tag"]


async def test_a_merge_answers_the_question_asked_about_the_number_that_stays(
    index: PersonIndex, store: MemoryStore
) -> None:
    await feed(index, store, said(M1, "old", "李建国", birth="1958-03-12", sex="male"))
    await feed(index, store, li(M1, "keep"))
    asked = [t for t in store.bodies("Task") if t["code"]["coding"][0]["code"] == "same-name-birth-sex"]
    assert [t["status"] for t in asked] == ["requested"]
    await merge(index, store)
    asked = [t for t in store.bodies("Task") if t["code"]["coding"][0]["code"] == "same-name-birth-sex"]
    assert [t["status"] for t in asked] == ["completed"]
