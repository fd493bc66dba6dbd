"""One Patient per resident: homes, source records, moves and their undoing (design-store §1, §8)."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import Conflict
from gateway.model.context import SYSTEM
from gateway.model.query import Query
from gateway.model.resource import Json
from gateway.model.systems import RECORD_TAG
from gateway.store.base import Committed, Move, Plan, RecordPut, src_of
from gateway.store.engine import PackedPlan
from gateway.store.resources import ResourceStore
from gateway.store.stand import stand_of
from tests.contract.clinic import M1, M2, ids, json, observation, of, organization, patient, where
from tests.contract.conftest import Site

A_TO_B = Move((src_of(M1, "a"),), "a", "b")
B_TO_A = Move((src_of(M1, "a"),), "b", "a")


def replaced(id_: str, by: str) -> Json:
    return {"active": False, "link": [{"other": {"reference": f"Patient/{by}"}, "type": "replaced-by"}]}


def record(number: str, person: str) -> RecordPut:
    return RecordPut(M1, number, person, b'{"name":[{"text":"x"}]}', "2026-03-19T08:00:00+08:00")


async def two_people(store: ResourceStore) -> None:
    """a with two results, b with one; then nothing else."""
    puts = (patient("a"), patient("b"), observation("a1", "a"), observation("a2", "a"), observation("b1", "b"))
    await store.commit(Plan(puts=puts, records=(record("a", "a"), record("b", "b"))))


async def merge(store: ResourceStore) -> None:
    """a is b."""
    await store.commit(Plan(moves=(A_TO_B,), puts=(patient("a", **replaced("a", "b")),)))


async def subjects(store: ResourceStore, *asked: str) -> list[str]:
    found = await store.read_many([("Observation", one) for one in asked], SYSTEM)
    return [json(one)["subject"]["reference"] for one in found]


async def test_everything_is_the_patient_and_all_that_is_theirs(store: ResourceStore) -> None:
    await two_people(store)
    found = await store.everything("a", SYSTEM)
    assert found[0].type == "Patient" and sorted(ids(found)) == ["a", "a1", "a2"]
    assert ids(await store.everything("a", SYSTEM, types=frozenset({"Patient"}))) == ["a"]
    assert await store.everything("nobody", SYSTEM) == []


async def test_rows_may_come_before_their_patient(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1"),)))
    assert await store.read("Patient", "p1", SYSTEM) is None
    assert ids(await store.everything("p1", SYSTEM)) == ["o1"]
    await store.commit(Plan(puts=(patient("p1"),)))
    assert ids(await store.everything("p1", SYSTEM)) == ["p1", "o1"]


async def test_what_belongs_to_two_people_is_in_both_records(store: ResourceStore) -> None:
    shared = observation("o1", "p1", performer=[{"reference": "Patient/p2"}])
    await store.commit(Plan(puts=(patient("p1"), patient("p2"), shared)))
    assert "o1" in ids(await store.everything("p1", SYSTEM))
    assert "o1" in ids(await store.everything("p2", SYSTEM))
    page = await store.search(Query("Observation", (where("performer", "reference", "Patient/p2"),)), SYSTEM)
    assert ids(page.matches) == ["o1"] and b"2823-3" in page.matches[0].body


async def test_a_changed_subject_moves_the_row(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(observation("o1", "p1"),)))
    await store.commit(Plan(puts=(observation("o1", "p2"),)))
    assert await store.everything("p1", SYSTEM) == []
    assert ids(await store.everything("p2", SYSTEM)) == ["o1"]
    assert [one.version for one in await store.history("Observation", "o1", SYSTEM, count=5)] == [2, 1]


async def test_a_merge_gives_moved_rows_a_new_version_and_points_them_to_the_survivor(store: ResourceStore) -> None:
    await two_people(store)
    await merge(store)
    assert await subjects(store, "a1", "a2", "b1") == ["Patient/b"] * 3
    moved = await store.read("Observation", "a1", SYSTEM)
    assert moved is not None and moved.version == 2 and moved.src == src_of(M1, "a")
    assert sorted(ids(await store.everything("b", SYSTEM))) == ["a1", "a2", "b", "b1"]
    page = await store.search(Query("Observation", (of("b"),)), SYSTEM)
    assert sorted(ids(page.matches)) == ["a1", "a2", "b1"]
    assert [one.patient for one in await store.records([(M1, "a"), (M1, "b")]) if one] == ["b", "b"]
    assert [one.local_number for one in await store.records_of("b")] == ["a", "b"]


async def test_a_superseded_patient_leads_to_the_survivor(store: ResourceStore) -> None:
    await two_people(store)
    await merge(store)
    retired = await store.read("Patient", "a", SYSTEM)
    assert retired is not None and json(retired)["active"] is False
    assert sorted(ids(await store.everything("a", SYSTEM))) == ["a1", "a2", "b", "b1"]
    page = await store.search(Query("Observation", (of("a"),)), SYSTEM)
    assert sorted(ids(page.matches)) == ["a1", "a2", "b1"]
    assert ids((await store.search(Query("Patient"), SYSTEM)).matches) == ["b"]
    everybody = await store.search(Query("Patient", retired=True), SYSTEM)
    assert sorted(ids(everybody.matches)) == ["a", "b"]


async def test_a_write_about_a_superseded_patient_acts_on_the_survivor(store: ResourceStore) -> None:
    await two_people(store)
    await merge(store)
    await store.commit(Plan(puts=(observation("a3", "a"),)))
    assert await subjects(store, "a3") == ["Patient/b"]
    assert "a3" in ids(await store.everything("b", SYSTEM))
    page = await store.search(Query("Observation", (of("b"),)), SYSTEM)
    assert "a3" in ids(page.matches)


async def test_moving_back_restores_exactly(store: ResourceStore) -> None:
    await two_people(store)
    before = {one.id: json(one) for one in await store.everything("a", SYSTEM)}
    await merge(store)
    await store.commit(Plan(moves=(B_TO_A,), puts=(patient("a"), observation("a4", "a"))))
    after = {one.id: json(one) for one in await store.everything("a", SYSTEM)}
    assert sorted(after) == ["a", "a1", "a2", "a4"]
    for id_, body in before.items():
        assert {**after[id_], "meta": None} == {**body, "meta": None}
    assert ids(await store.everything("b", SYSTEM)) == ["b", "b1"]
    assert [one.patient for one in await store.records([(M1, "a"), (M1, "b")]) if one] == ["a", "b"]
    page = await store.search(Query("Observation", (of("a"),)), SYSTEM)
    assert sorted(ids(page.matches)) == ["a1", "a2", "a4"]


async def test_only_rows_of_the_source_records_move(store: ResourceStore) -> None:
    await two_people(store)
    await store.commit(Plan(puts=(observation("a9", "a", member=M2, number="z"),)))
    await merge(store)
    assert await subjects(store, "a1", "a9") == ["Patient/b", "Patient/a"]


async def test_a_merge_beside_writes_loses_no_row(store: ResourceStore) -> None:
    await two_people(store)
    writes = [store.commit(Plan(puts=(observation(f"n{n}", "a"),))) for n in range(30)]
    answers = await asyncio.gather(merge(store), *writes, return_exceptions=True)
    assert all(answer is None or not isinstance(answer, Exception) for answer in answers[1:])
    if isinstance(answers[0], Conflict):  # writes came in between five times
        await merge(store)
    at_b = await store.search(Query("Observation", (of("b"),), count=100), SYSTEM)
    assert {f"n{n}" for n in range(30)} <= set(ids(at_b.matches))


async def test_a_provisional_patient_is_left_out_unless_asked_for(store: ResourceStore) -> None:
    tag = {"tag": [{"system": RECORD_TAG, "code": "provisional"}]}
    await store.commit(Plan(puts=(patient("p1", active=False, meta=tag), patient("p2", active=False))))
    assert ids((await store.search(Query("Patient"), SYSTEM)).matches) == ["p2"]
    assert ids((await store.search(Query("Patient", retired=True), SYSTEM)).matches) == ["p2", "p1"]


async def test_source_records_are_kept_by_member_and_number(site: Site) -> None:
    await site.store.commit(Plan(records=(record("1", "p1"), record("2", "p1"))))
    found = await site.store.records([(M1, "2"), (M1, "none"), (M1, "1")])
    assert [one.local_number if one else None for one in found] == ["2", None, "1"]
    await site.store.commit(Plan(records=(RecordPut(M1, "2", "p2", b"{}", "2026-03-20T00:00:00Z", "provisional"),)))
    assert [one.local_number for one in await site.store.records_of("p1")] == ["1"]
    again = (await site.store.records([(M1, "2")]))[0]
    assert again is not None and (again.state, again.content) == ("provisional", b"{}")


async def test_shared_homes_hold_what_belongs_to_nobody(store: ResourceStore) -> None:
    await store.commit(Plan(puts=tuple(organization(f"g{n}", f"院{n}") for n in range(20))))
    page = await store.search(Query("Organization", count=50), SYSTEM)
    assert len(page.matches) == 20


async def test_history_survives_a_merge(store: ResourceStore) -> None:
    await two_people(store)
    await merge(store)
    found = await store.history("Observation", "a1", SYSTEM, count=9)
    said = {one.version: json(one)["subject"]["reference"] for one in found}
    assert said == {2: "Patient/b", 1: "Patient/a"}


async def test_what_was_filed_under_a_record_that_moved_meanwhile_is_filed_again(store: ResourceStore) -> None:
    """Resolved while a was merged into b, committed after the merge was taken back: it must not stay with b."""
    await two_people(store)
    await merge(store)
    late, rests = observation("late", "b", number="a"), ((src_of(M1, "a"), stand_of(record("a", "b"))),)
    await store.commit(Plan(moves=(B_TO_A,), puts=(patient("a"),)))
    with pytest.raises(Conflict):
        await store.commit(Plan(puts=(late,), rests=rests))
    with pytest.raises(Conflict):  # nor may the record itself be pulled back
        await store.commit(Plan(records=(record("a", "b"),), rests=rests))
    assert (await store.records([(M1, "a")]))[0].patient == "a"  # type: ignore[union-attr]
    again = observation("late", "a", number="a")
    await store.commit(Plan(puts=(again,), rests=((src_of(M1, "a"), stand_of(record("a", "a"))),)))
    assert await subjects(store, "late") == ["Patient/a"]


async def test_of_many_first_words_about_one_number_only_one_is_the_first(store: ResourceStore) -> None:
    async def first(n: int) -> object:
        rests = ((src_of(M1, "new"), ""),)
        return await store.commit(Plan(puts=(patient(f"p{n}"),), records=(record("new", f"p{n}"),), rests=rests))

    answers = await asyncio.gather(*(first(n) for n in range(12)), return_exceptions=True)
    assert sum(isinstance(one, Conflict) for one in answers) == 11
    (found,) = [n for n, one in enumerate(answers) if not isinstance(one, Exception)]
    assert (await store.records([(M1, "new")]))[0].patient == f"p{found}"  # type: ignore[union-attr]


async def test_a_write_led_on_by_a_merge_taken_back_before_it_lies_with_whom_it_named(
    store: ResourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_people(store)
    await merge(store)
    engine, commit = store._engine, store._engine.commit

    async def late(plan: PackedPlan) -> Committed:
        monkeypatch.setattr(engine, "commit", commit)
        await store.commit(Plan(moves=(B_TO_A,), puts=(patient("a"),)))
        return await commit(plan)

    monkeypatch.setattr(engine, "commit", late)
    await store.commit(Plan(puts=(observation("late", "a"),)))
    assert await subjects(store, "late") == ["Patient/a"]


async def test_a_move_and_the_way_back_leave_what_pointed_to_the_other_person_alone(store: ResourceStore) -> None:
    """A mother's result that names her child as performer: after the two were one, each is named where it was."""
    await two_people(store)
    both = observation("o9", "a", performer=[{"reference": "Patient/b"}, {"reference": "Patient/a"}])
    await store.commit(Plan(puts=(both,)))
    before = json(await store.read("Observation", "o9", SYSTEM))
    await merge(store)
    await store.commit(Plan(moves=(B_TO_A,), puts=(patient("a"),)))
    after = json(await store.read("Observation", "o9", SYSTEM))
    assert {**after, "meta": None} == {**before, "meta": None}


async def test_what_was_made_from_a_record_that_says_something_else_by_now_is_made_again(store: ResourceStore) -> None:
    """Whether the other word came in a transaction before, or is committed together with it."""
    await two_people(store)
    rests = ((src_of(M1, "a"), stand_of(record("a", "a"))),)
    said = RecordPut(M1, "a", "a", b'{"name":[{"text":"y"}]}', "2026-03-20T08:00:00+08:00")
    speaks = (Plan(records=(said,), rests=rests), Plan(puts=(patient("a", gender="male"),), rests=rests))
    answers = await asyncio.gather(*(store.commit(one) for one in speaks), return_exceptions=True)
    assert [type(one) for one in answers] == [Committed, Conflict], answers
    with pytest.raises(Conflict):
        await store.commit(speaks[1])
    await store.commit(Plan(puts=(patient("a", gender="male"),), rests=((src_of(M1, "a"), stand_of(said)),)))
