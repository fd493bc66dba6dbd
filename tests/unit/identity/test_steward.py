"""A steward's word on a review: one person, two persons, and both taken back exactly."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from gateway.errors import IdentityError, NotFound
from gateway.identity.index import PersonIndex
from gateway.identity.steward import Steward, Word
from gateway.identity.workspace import Resolution
from gateway.model import systems
from gateway.model.message import MergeRequest
from gateway.model.resource import Json
from gateway.store.base import AuditRow, Move, Put, SourceRecordRow

from .conftest import LI, M1, M2, M4, MOTHER, NOW, li, said
from .memory import MemoryStore
from .test_index import active, feed
from .test_merge import observation, patients, subjects

WORD = Word("赵管理员", NOW + timedelta(hours=5), "电话核实，系同一人")
AUDIT = AuditRow(
    at=NOW, action="U", kind="merge", subtype="merge", outcome="0", user="admin", display="赵管理员",
    role="admin", member="", purpose="HOPERAT",
)  # fmt: skip


@pytest.fixture
def steward(index: PersonIndex, store: MemoryStore) -> Steward:
    return Steward(index, store, nothing_meets)  # type: ignore[arg-type]


async def nothing_meets(moves: Sequence[Move]) -> list[Put]:
    return []


def reviews_of(store: MemoryStore, status: str = "requested") -> list[Json]:
    return [t for t in store.bodies("Task") if "reasonCode" in t and t["status"] == status]


def act(store: MemoryStore, code: str) -> Json:
    return next(t for t in store.bodies("Task") if t["code"]["coding"][0]["code"] == code)


async def alike(index: PersonIndex, store: MemoryStore) -> tuple[str, str]:
    """Two records without card that name, birth and sex cannot tell apart, each with a result."""
    first = (await feed(index, store, said(M1, "a", "王芳", birth="1970-05-06", sex="female"))).patients[0]
    second = (await feed(index, store, said(M4, "b", "王芳", birth="1970-05-06", sex="female"))).patients[0]
    await store.apply(Resolution(), observation("a", first), observation("b", second, M4))
    return first, second


async def test_the_same_person_is_one_patient_from_now_on(
    index: PersonIndex, store: MemoryStore, steward: Steward
) -> None:
    first, _ = await alike(index, store)
    (review,) = reviews_of(store)
    await steward.same(review["id"], first, WORD, AUDIT)
    assert set(subjects(store).values()) == {first}
    assert [one["id"] for one in active(store)] == [first]
    (answered,) = reviews_of(store, "completed")
    assert answered["owner"] == {"display": "赵管理员"} and answered["note"][0]["text"] == WORD.note
    assert (await feed(index, store, said(M4, "b", phone="13900005678", hours=9))).patients == (first,)


async def test_a_merge_by_a_steward_is_undone_exactly_and_asked_again(
    index: PersonIndex, store: MemoryStore, steward: Steward
) -> None:
    first, _ = await alike(index, store)
    before, homes, (review,) = patients(store), subjects(store), reviews_of(store)
    await steward.same(review["id"], first, WORD, AUDIT)
    merged = act(store, "merged-by-steward")["id"]
    await steward.undo(merged, AUDIT)
    bare = {key: {k: v for k, v in one.items() if k != "meta"} for key, one in patients(store).items()}
    assert bare == {key: {k: v for k, v in one.items() if k != "meta"} for key, one in before.items()}
    assert subjects(store) == homes
    assert [one["id"] for one in reviews_of(store)] == [review["id"]]
    with pytest.raises(IdentityError):
        await steward.undo(merged, AUDIT)
    await steward.same(review["id"], first, WORD, AUDIT)  # and may be decided again
    assert set(subjects(store).values()) == {first}


async def test_different_persons_stay_apart_and_are_not_asked_again(
    index: PersonIndex, store: MemoryStore, steward: Steward
) -> None:
    await alike(index, store)
    homes, (review,) = subjects(store), reviews_of(store)
    await steward.different(review["id"], WORD, AUDIT)
    assert subjects(store) == homes and not reviews_of(store)
    await feed(index, store, said(M4, "b", "王芳", birth="1970-05-06", sex="female", phone="13900005678", hours=9))
    assert not reviews_of(store)
    with pytest.raises(IdentityError):
        await steward.different(review["id"], WORD, AUDIT)


async def test_two_different_cards_are_never_made_one(index: PersonIndex, store: MemoryStore, steward: Steward) -> None:
    keep = (await feed(index, store, li(M1, "keep"))).patients[0]
    facts = {"card": MOTHER, "birth": "1991-08-30", "sex": "female"}
    await feed(index, store, said(M1, "old", "林芳", **facts))
    await store.apply(await index.resolve([li(M1, "keep", hours=1)], [MergeRequest(0, M1, "old")]))
    (review,) = reviews_of(store)
    with pytest.raises(IdentityError) as refused:
        await steward.same(review["id"], keep, WORD, AUDIT)
    assert refused.value.detail_zh == "双方证件号不同，不能合并。"
    assert len(active(store)) == 2 and reviews_of(store) == [review]


async def test_only_a_candidate_of_an_open_review_can_be_chosen(
    index: PersonIndex, store: MemoryStore, steward: Steward
) -> None:
    await alike(index, store)
    (review,) = reviews_of(store)
    with pytest.raises(NotFound):
        await steward.same(review["id"], "nobody", WORD, AUDIT)
    with pytest.raises(NotFound):
        await steward.same("nothing", "nobody", WORD, AUDIT)
    with pytest.raises(NotFound):
        await steward.undo(review["id"], AUDIT)


async def lent(index: PersonIndex, store: MemoryStore) -> str:
    """M2 filed somebody else under 李建国's card; a result of hers lies in his record."""
    his = (await feed(index, store, li(M1, "his"))).patients[0]
    facts = {"card": LI, "birth": "1958-03-12", "sex": "male"}
    assert (await feed(index, store, said(M2, "hers", "赵国强", **facts))).patients == (his,)
    await store.apply(Resolution(), observation("his", his), observation("hers", his, M2))
    return his


async def test_a_lent_card_is_taken_out_of_the_record(index: PersonIndex, store: MemoryStore, steward: Steward) -> None:
    his = await lent(index, store)
    (review,) = reviews_of(store)
    await steward.different(review["id"], WORD, AUDIT)
    where = subjects(store)
    assert where["his"] == his and where["hers"] != his
    parted = patients(store)[where["hers"]]
    (card,) = [one for one in parted["identifier"] if one["system"] == systems.ID_CARD]
    assert card["extension"][0]["valueString"] == "经复核不是本人证件"
    facts = {"card": LI, "birth": "1958-03-12", "sex": "male"}
    again = await feed(index, store, said(M2, "hers", "赵国强", **facts, phone="13900005678", hours=7))
    assert again.patients == (where["hers"],)
    assert (await feed(index, store, li(M4, "new", hours=8))).patients == (his,)


async def test_a_parting_is_undone_exactly(index: PersonIndex, store: MemoryStore, steward: Steward) -> None:
    his = await lent(index, store)
    before, (review,) = patients(store)[his], reviews_of(store)
    await steward.different(review["id"], WORD, AUDIT)
    await steward.undo(act(store, "parted-by-steward")["id"], AUDIT)
    after = patients(store)[his]
    assert set(subjects(store).values()) == {his}
    assert {k: v for k, v in after.items() if k not in ("meta", "link")} == {
        k: v for k, v in before.items() if k != "meta"
    }
    assert [one["id"] for one in reviews_of(store)] == [review["id"]]
    await steward.different(review["id"], WORD, AUDIT)
    assert subjects(store)["hers"] != his


async def test_records_that_move_between_two_reads_make_the_act_begin_again(
    index: PersonIndex, store: MemoryStore, steward: Steward, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = await alike(index, store)
    (review,) = reviews_of(store)
    records_of, asked = store.records_of, [0]

    async def late(patient: str) -> list[SourceRecordRow]:
        asked[0] += 1
        return [] if asked[0] == 1 else await records_of(patient)

    monkeypatch.setattr(store, "records_of", late)
    await steward.same(review["id"], first, WORD, AUDIT)
    assert [one["id"] for one in active(store)] == [first] and asked[0] > 2


async def test_undo_gives_back_what_clients_had_written_unless_the_records_say_something_new(
    index: PersonIndex, store: MemoryStore, steward: Steward
) -> None:
    written: Json = {"resourceType": "Patient", "name": [{"text": "王芳"}], "gender": "female",
                     "birthDate": "1970-05-06", "photo": [{"url": "urn:photo:1"}]}  # fmt: skip
    made = await index.create(written | {"maritalStatus": {"text": "已婚"}}, M1, "w1")
    await store.apply(made.resolution)
    fed = (await feed(index, store, said(M4, "b", "王芳", birth="1970-05-06", sex="female"))).patients[0]
    before = {one["id"]: one for one in store.bodies("Patient")}
    (review,) = reviews_of(store)
    for _ in range(2):
        await steward.same(review["id"], "w1", WORD, AUDIT)
        await steward.undo(act(store, "merged-by-steward")["id"], AUDIT)
        assert {one["id"]: one for one in store.bodies("Patient")} == before
    await steward.same(review["id"], "w1", WORD, AUDIT)
    rewritten = await index.rewrite("w1", written | {"gender": "female", "language": "zh"}, M1)
    await store.apply(rewritten)
    await steward.undo(act(store, "merged-by-steward")["id"], AUDIT)
    after = {one["id"]: one for one in store.bodies("Patient")}
    assert after[fed] == before[fed] and "maritalStatus" not in after["w1"] and after["w1"]["language"] == "zh"


async def test_an_id_a_client_chose_for_somebody_known_can_be_parted_again_with_what_was_written_under_it(
    index: PersonIndex, store: MemoryStore, steward: Steward
) -> None:
    person = (await feed(index, store, li(M1, "1"))).patients[0]
    made = await index.create(li(M2, "x").patient, M2, "mine", named=True)
    await store.apply(made.resolution, observation("mine", person, M2))
    await steward.undo(act(store, "merged-by-card")["id"], AUDIT)
    assert {one["id"] for one in active(store)} == {person, "mine"}
    assert set(subjects(store).values()) == {"mine"} and store.rows[(M2, "mine")].patient == "mine"
    assert "link" not in next(one for one in active(store) if one["id"] == person)


@pytest.mark.parametrize("answer", ["different", "same"])
async def test_an_answer_that_moved_nothing_is_taken_back_and_asked_again(
    answer: str, index: PersonIndex, store: MemoryStore, steward: Steward
) -> None:
    if answer == "different":
        await alike(index, store)
    else:  # one card and two names: joined already, and asked
        await lent(index, store)
    (review,) = reviews_of(store)
    before = patients(store)
    if answer == "different":
        await steward.different(review["id"], WORD, AUDIT)
    else:
        candidate = review["input"][0]["valueReference"]["reference"].partition("/")[2]
        await steward.same(review["id"], candidate, WORD, AUDIT)
    assert reviews_of(store) == []
    await steward.undo(review["id"], AUDIT)
    (again,) = reviews_of(store)
    assert again["id"] == review["id"] and "owner" not in again and "note" not in again
    assert patients(store) == before
    with pytest.raises(NotFound):
        await steward.undo(review["id"], AUDIT)


async def test_an_answer_whose_merge_stands_is_taken_back_with_the_merge_alone(
    index: PersonIndex, store: MemoryStore, steward: Steward
) -> None:
    first, _ = await alike(index, store)
    (review,) = reviews_of(store)
    await steward.same(review["id"], first, WORD, AUDIT)
    with pytest.raises(IdentityError, match="stands"):
        await steward.undo(review["id"], AUDIT)
    await steward.undo(act(store, "merged-by-steward")["id"], AUDIT)
    assert len(reviews_of(store)) == 1


async def test_a_hospitals_merge_that_is_taken_back_is_asked_of_the_steward(
    index: PersonIndex, store: MemoryStore, steward: Steward
) -> None:
    keep = (await feed(index, store, said(M1, "keep", "王芳之大女", birth="2026-01-01"))).patients[0]
    await feed(index, store, said(M1, "old", "王芳之小女", birth="2026-01-01"))
    await store.apply(
        await index.resolve([said(M1, "keep", "王芳之大女", birth="2026-01-01")], [MergeRequest(0, M1, "old")])
    )
    assert len(active(store)) == 1 and reviews_of(store) == []
    await steward.undo(act(store, "merged-by-member")["id"], AUDIT)
    (review,) = reviews_of(store)
    assert review["reasonCode"]["text"] == "医院的合并已撤销，是否同一人" and len(active(store)) == 2
    await steward.same(review["id"], keep, WORD, AUDIT)
    assert len(active(store)) == 1 and reviews_of(store) == []


async def test_what_was_open_between_two_a_hospital_merged_is_open_again_once_that_is_taken_back(
    index: PersonIndex, store: MemoryStore, steward: Steward
) -> None:
    await feed(index, store, said(M1, "a", "王芳", birth="1970-05-06", sex="female"))
    await feed(index, store, said(M1, "b", "王芳", birth="1970-05-06", sex="female"))
    (asked,) = reviews_of(store)
    await store.apply(await index.resolve([said(M1, "a")], [MergeRequest(0, M1, "b")]))
    assert reviews_of(store) == []
    await steward.undo(act(store, "merged-by-member")["id"], AUDIT)
    assert [one["id"] for one in reviews_of(store)] == [asked["id"]]
