"""What a card moves is told and taken back like every merge; a card found to be another's stays so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import pytest
import pytest_asyncio

from gateway.errors import IdentityError
from gateway.identity.index import PersonIndex
from gateway.identity.steward import Steward, Word
from gateway.identity.workspace import Moved, Resolution
from gateway.model import systems
from gateway.model.directory import Directory, Member
from gateway.model.ids import Ids
from gateway.model.message import MergeRequest
from gateway.model.resource import Json, loads
from gateway.revise import puts_met
from gateway.store.base import AuditRow, Resource
from gateway.store.resources import open_store
from tests.unit.identity.conftest import LI, M1, M2, M3, M4, NAMES, NOW, li, said
from tests.unit.identity.real_store import RealStore
from tests.unit.identity.test_index import active, feed
from tests.unit.identity.test_merge import observation, patients, subjects

WORD = Word("赵管理员", NOW + timedelta(hours=5))
AUDIT = AuditRow(
    at=NOW, action="U", kind="merge", subtype="merge", outcome="0", user="admin", display="赵管理员",
    role="admin", member="", purpose="HOPERAT",
)  # fmt: skip
JUN = "990101195803120131"
"""A card of the same birth date and sex as 李建国's."""
CLIENTS: Json = {
    "resourceType": "Patient", "name": [{"text": "李建国"}], "gender": "male", "birthDate": "1958-03-12",
    "identifier": [{"system": systems.ID_CARD, "value": LI}],
}  # fmt: skip
NARRATIVE = {"status": "generated", "div": "<div xmlns='http://www.w3.org/1999/xhtml'>李</div>"}
TRAITS = {"birth": "1958-03-12", "sex": "male"}


class Desk:
    """A store of this engine with the index and the steward over it."""

    def __init__(self, store: RealStore) -> None:
        directory = Directory({key: Member(key, name, "primary") for key, name in NAMES.items()}, {}, {})
        self.store = store
        self.index = PersonIndex(store, Ids(store.store_key), lambda: NOW, directory)  # type: ignore[arg-type]
        self.steward = Steward(self.index, store, partial(puts_met, store.real))  # type: ignore[arg-type]

    async def feed(self, *records: object) -> str:
        return (await feed(self.index, self.store, *records)).patients[0]  # type: ignore[arg-type]

    async def merge(self, keep: str, old: str, hours: float = 1) -> None:
        """ADT^A40 of M1."""
        made = await self.index.resolve([said(M1, keep, hours=hours)], [MergeRequest(0, M1, old)])
        await self.store.apply(made)

    async def result(self, name: str, patient: str, member: str, number: str) -> None:
        """An Observation from a record: named as its number."""
        assert name == number
        await self.store.apply(Resolution(), observation(name, patient, member))

    async def undo(self, code: str) -> None:
        (act,) = self.tasks(code, "completed")
        await self.steward.undo(act["id"], AUDIT)

    def tasks(self, code: str, status: str) -> list[Json]:
        found = [one for one in self.store.bodies("Task") if one["code"]["coding"][0]["code"] == code]
        return [one for one in found if one["status"] == status]

    def homes(self) -> dict[str, str]:
        return {number: row.patient for (_, number), row in self.store.rows.items()}

    def lent(self, number: str) -> list[str]:
        content = next(loads(row.content) for (_, held), row in self.store.rows.items() if held == number)
        return list(content.get("_disowned", ()))

    def people(self) -> dict[str, Json]:
        """Patients without what tells versions, and without cards."""
        return {id_: _without_cards(one) for id_, one in patients(self.store).items()}

    def holders(self, card: str) -> list[str]:
        """Who is shown to hold a card, verified."""
        return [
            one["id"]
            for one in self.store.bodies("Patient")
            for held in one.get("identifier", ())
            if one.get("active", True)
            and held["value"] == card
            and held["system"] == systems.ID_CARD
            and "extension" not in held
        ]


def _without_cards(patient: Json) -> Json:
    kept = [one for one in patient.get("identifier", ()) if one["system"] != systems.ID_CARD]
    kept.sort(key=lambda one: (one["system"], one["value"]))  # who spoke last stands first
    return {key: value for key, value in patient.items() if key != "meta"} | {"identifier": kept}


@pytest_asyncio.fixture
async def desk(url: str) -> AsyncIterator[Desk]:
    real = await open_store(url, clock=lambda: NOW)
    yield Desk(RealStore(real))
    await real.close()


async def beside(desk: Desk, name: str) -> tuple[str, str]:
    """李建国 with his card, and somebody of this name without one, of two numbers. Each number has a result."""
    his = await desk.feed(li(M4, "his"))
    first = await desk.feed(said(M1, "a", name, **TRAITS))
    second = await desk.feed(said(M1, "b", name, **TRAITS))
    for number, person, member in (("his", his, M4), ("a", first, M1), ("b", second, M1)):
        await desk.result(number, person, member, number)
    await desk.merge("a", "b")
    return his, first


async def carded(desk: Desk) -> tuple[str, str]:
    """李建国 holds his card; two numbers of M1 became one person without a card. Each has a result."""
    return await beside(desk, "李建国")


async def test_what_a_card_joined_is_told_and_taken_back(desk: Desk) -> None:
    his, mine = await carded(desk)
    before, where = desk.people(), subjects(desk.store)
    await desk.feed(li(M1, "b", hours=2))
    assert set(subjects(desk.store).values()) == {his} and len(active(desk.store)) == 1
    (act,) = desk.tasks("merged-by-card", "completed")
    assert (act["focus"]["reference"], act["for"]["reference"]) == (f"Patient/{his}", f"Patient/{mine}")
    await desk.undo("merged-by-card")
    assert desk.people() == before and subjects(desk.store) == where
    assert desk.holders(LI) == [his]
    with pytest.raises(IdentityError):
        await desk.steward.undo(act["id"], AUDIT)


async def test_the_card_of_an_act_taken_back_moves_nobody_again(desk: Desk) -> None:
    his, mine = await carded(desk)
    await desk.feed(li(M1, "b", hours=2))
    await desk.undo("merged-by-card")
    for number in "ab":
        await desk.feed(li(M1, number, hours=3, phone="13900005678"))
        assert desk.homes() == {"his": his, "a": mine, "b": mine}, number
    assert desk.lent("a") == desk.lent("b") == [LI] and desk.holders(LI) == [his]


async def test_a_steward_may_find_that_the_card_was_right_after_all(desk: Desk) -> None:
    his, mine = await carded(desk)
    await desk.feed(li(M1, "b", hours=2))
    await desk.undo("merged-by-card")
    (asked,) = desk.tasks("card-unverified", "requested")
    before = desk.people()
    for _ in range(2):
        assert asked["for"]["reference"] == f"Patient/{mine}"
        await desk.steward.same(asked["id"], his, WORD, AUDIT)
        assert set(subjects(desk.store).values()) == {his} and desk.holders(LI) == [his]
        await desk.undo("merged-by-steward")
        assert desk.people() == before
        (asked,) = desk.tasks("card-unverified", "requested")
    await desk.steward.different(asked["id"], WORD, AUDIT)
    assert desk.people() == before and not desk.tasks("parted-by-steward", "completed")


async def test_a_merge_before_a_cards_act_is_taken_back_after_it(desk: Desk) -> None:
    his, mine = await carded(desk)
    await desk.feed(li(M1, "b", hours=2))
    with pytest.raises(IdentityError) as refused:
        await desk.undo("merged-by-member")
    assert refused.value.detail_zh == "相关本地号此后又有变动，请先撤销后一次。"
    await desk.undo("merged-by-card")
    await desk.undo("merged-by-member")
    homes = desk.homes()
    assert homes["a"] == mine and homes["his"] == his and len(set(homes.values())) == 3
    assert subjects(desk.store) == homes


async def two_cards(desk: Desk) -> str:
    """Two records of 李建国 by his card, and 李建军 with another; then one of the two says 李建军's name and card."""
    his = await desk.feed(li(M1, "his"))
    await desk.feed(li(M2, "two"))
    await desk.result("two", his, M2, "two")
    return his


async def test_one_record_a_card_moved_comes_back(desk: Desk) -> None:
    his = await two_cards(desk)
    jun = await desk.feed(said(M3, "jun", "李建军", card=JUN, **TRAITS))
    before = desk.people()
    await desk.feed(li(M2, "two", card=JUN, hours=1))
    assert desk.homes()["two"] == jun and subjects(desk.store)["two"] == jun
    await desk.undo("moved-by-card")
    assert desk.people() == before and subjects(desk.store)["two"] == his
    assert desk.lent("two") == [JUN] and desk.holders(JUN) == [jun]
    await desk.feed(li(M2, "two", card=JUN, hours=2, phone="13900005678"))
    assert desk.homes()["two"] == his


async def test_one_record_that_left_for_a_person_of_its_own_comes_back(desk: Desk) -> None:
    his = await two_cards(desk)
    await desk.feed(li(M2, "two", card=JUN, hours=1))
    own = desk.homes()["two"]
    assert own != his and desk.holders(JUN) == [own]
    await desk.undo("moved-by-card")
    assert desk.homes()["two"] == subjects(desk.store)["two"] == his and desk.holders(JUN) == []
    assert patients(desk.store)[own]["link"][-1] == {"other": {"reference": f"Patient/{his}"}, "type": "replaced-by"}
    assert not desk.tasks("card-unverified", "requested"), "nobody else is left to be asked about"


async def test_a_record_leaves_twice_by_the_same_card(desk: Desk) -> None:
    """Its own person of the first time is another's by then."""
    his = await two_cards(desk)
    await desk.feed(li(M2, "two", card=JUN, hours=1))
    first = desk.homes()["two"]
    await desk.feed(said(M1, "keep", "李建军", **TRAITS), said(M2, "two", hours=2))
    made = await desk.index.resolve([said(M1, "keep", hours=2)], [MergeRequest(0, M2, "two")])
    await desk.store.apply(made)
    await desk.feed(li(M2, "two", card=LI, hours=3))
    assert desk.homes()["two"] == his
    await desk.feed(li(M2, "two", card=JUN, hours=4))
    assert desk.homes()["two"] not in (his, first)
    assert len(desk.tasks("moved-by-card", "completed")) + len(desk.tasks("merged-by-card", "completed")) == 3


async def lent(desk: Desk) -> tuple[str, str]:
    """赵国强's two numbers are one person; one of them sends 李建国's card under his own name."""
    his, zhao = await beside(desk, "赵国强")
    await desk.feed(said(M1, "b", "赵国强", card=LI, **TRAITS, hours=2))
    return his, zhao


async def test_a_card_under_another_name_is_asked_about_whenever_it_comes(desk: Desk) -> None:
    his, _ = await lent(desk)
    (asked,) = desk.tasks("card-name-differs", "requested")
    assert asked["reasonCode"]["text"] == "证件号相同但姓名不同"
    assert asked["for"]["reference"] == asked["focus"]["reference"] == f"Patient/{his}"


async def test_whoever_came_along_by_a_lent_card_leaves_together(desk: Desk) -> None:
    his, zhao = await lent(desk)
    await desk.feed(said(M1, "b", phone="13900005678", hours=3))  # which the retired Patient does not show
    joined, (asked,) = desk.people(), desk.tasks("card-name-differs", "requested")
    await desk.steward.different(asked["id"], WORD, AUDIT)
    assert subjects(desk.store) == {"his": his, "a": zhao, "b": zhao} and desk.lent("b") == [LI]
    with pytest.raises(IdentityError):  # the parting came after it
        await desk.undo("merged-by-card")
    await desk.undo("parted-by-steward")
    assert desk.people() == joined and desk.lent("b") == desk.lent("a") == []
    assert [one["id"] for one in desk.tasks("card-name-differs", "requested")] == [asked["id"]]
    await desk.undo("merged-by-card")
    assert subjects(desk.store) == {"his": his, "a": zhao, "b": zhao}
    (again,) = desk.tasks("card-name-differs", "requested")
    assert again["id"] == asked["id"] and again["for"]["reference"] == f"Patient/{zhao}"
    await desk.steward.different(asked["id"], WORD, AUDIT)  # they are two already: nobody moves
    assert subjects(desk.store) == {"his": his, "a": zhao, "b": zhao}


async def test_a_parting_waits_for_the_merge_of_whom_its_record_came_from(desk: Desk) -> None:
    his = await desk.feed(li(M1, "his"))
    assert await desk.feed(said(M2, "hers", "赵国强", card=LI, **TRAITS)) == his
    await desk.result("hers", his, M2, "hers")
    before, (asked,) = desk.people(), desk.tasks("card-name-differs", "requested")
    await desk.steward.different(asked["id"], WORD, AUDIT)
    hers = subjects(desk.store)["hers"]
    await desk.feed(said(M1, "new", "李建国", birth="1958-03-12", sex="male"))
    await desk.merge("new", "his")
    with pytest.raises(IdentityError) as refused:
        await desk.undo("parted-by-steward")
    assert refused.value.detail_zh == "原居民此后又与他人合并，请先撤销那次合并。"
    assert subjects(desk.store)["hers"] == hers
    await desk.undo("merged-by-member")
    await desk.undo("parted-by-steward")
    after = desk.people()
    assert (
        subjects(desk.store)["hers"] == his and {"identifier": before[his]["identifier"]}.items() <= after[his].items()
    )


async def test_a_parting_is_taken_back_though_more_was_filed_under_who_left(desk: Desk) -> None:
    his = await desk.feed(li(M1, "his"))
    await desk.feed(said(M2, "hers", "赵国强", card=LI, **TRAITS))
    (asked,) = desk.tasks("card-name-differs", "requested")
    await desk.steward.different(asked["id"], WORD, AUDIT)
    own = desk.homes()["hers"]
    rewritten = await desk.index.rewrite(own, {"resourceType": "Patient", "name": [{"text": "赵国强"}]}, M3)
    await desk.store.apply(rewritten)
    await desk.undo("parted-by-steward")
    assert desk.homes() == {"his": his, "hers": his, own: own}


async def test_what_a_client_wrote_stands_again_after_a_parting_taken_back(desk: Desk) -> None:
    written = CLIENTS | {"photo": [{"url": "urn:photo:1"}], "text": NARRATIVE}
    await desk.store.apply((await desk.index.create(written, M1, "w1")).resolution)
    assert await desk.feed(said(M2, "hers", "赵国强", card=LI, **TRAITS)) == "w1"
    await desk.store.apply(await desk.index.rewrite("w1", written, M1))
    before, (asked,) = patients(desk.store)["w1"], desk.tasks("card-name-differs", "requested")
    assert "text" in before
    for _ in range(2):
        await desk.steward.different(asked["id"], WORD, AUDIT)
        assert "text" not in patients(desk.store)["w1"]
        await desk.undo("parted-by-steward")
        after = patients(desk.store)["w1"]
        assert {key: one for key, one in after.items() if key != "link"} == before


async def test_cards_found_to_be_anothers_add_up(desk: Desk) -> None:
    his, zhao = await carded(desk)
    jun = await desk.feed(said(M3, "jun", "李建军", card=JUN, **TRAITS))
    await desk.feed(li(M1, "b", hours=2))
    await desk.undo("merged-by-card")
    await desk.feed(said(M1, "b", "李建国", card=JUN, **TRAITS, hours=3))
    assert desk.homes()["b"] == jun
    (asked,) = desk.tasks("card-name-differs", "requested")
    await desk.steward.different(asked["id"], WORD, AUDIT)
    assert desk.lent("b") == [LI, JUN]
    await desk.undo("parted-by-steward")
    assert desk.lent("b") == [LI] and desk.homes()["b"] == jun
    await desk.undo("merged-by-card")
    assert desk.lent("b") == [LI, JUN] and desk.homes()["b"] == zhao
    for hours, card in ((4, LI), (5, JUN)):
        await desk.feed(li(M1, "b", card=card, hours=hours))
        assert desk.homes() == {"his": his, "a": zhao, "b": zhao, "jun": jun}


@pytest.mark.parametrize("member", [M1, M3])
async def test_an_update_over_fhir_brings_no_card_back_that_is_anothers(desk: Desk, member: str) -> None:
    """Whoever writes back what they read, with the remark or without it."""
    his, mine = await carded(desk)
    await desk.feed(li(M1, "b", hours=2))
    await desk.undo("merged-by-card")
    read = patients(desk.store)[mine]
    plain = {**read, "identifier": [{"system": systems.ID_CARD, "value": LI}], "photo": [{"url": "urn:photo:1"}]}
    for body in (read, plain, plain):
        made = await desk.index.rewrite(mine, body, member)
        assert made.patients == (mine,)
        await desk.store.apply(made)
        shown = [one for one in patients(desk.store)[mine]["identifier"] if one["value"] == LI]
        assert [one["extension"][-1]["valueString"] for one in shown] == ["经复核不是本人证件"]
    assert patients(desk.store)[mine]["photo"] == [{"url": "urn:photo:1"}]
    assert desk.lent(mine) == [LI] and desk.holders(LI) == [his]
    assert await desk.feed(li(M2, "new", hours=6)) == his


async def test_an_act_that_stands_is_not_told_over(desk: Desk) -> None:
    """The same two numbers are merged again after a card took one away: each of the three acts goes back by itself."""
    await desk.feed(said(M1, "keep", "李建国", card=LI, **TRAITS))
    two = await desk.feed(said(M1, "old", "李建国", **TRAITS))
    await desk.feed(said(M1, "third", "李建国", **TRAITS))
    await desk.merge("old", "third")
    await desk.merge("keep", "old")
    one = desk.homes()["keep"]
    await desk.feed(said(M1, "old", card=JUN, **TRAITS, hours=2))
    own = desk.homes()["old"]
    assert own not in (one, two) and desk.homes()["third"] == one
    await desk.feed(said(M1, "old", card=LI, **TRAITS, hours=3))
    assert desk.homes()["old"] == one
    acts = [task for code in ("merged-by-member", "moved-by-card", "merged-by-card")
            for task in desk.tasks(code, "completed")]  # fmt: skip
    assert len(acts) == 4
    for _ in range(4):  # the last one first, whichever that is
        left = [task for task in acts if not await _taken_back(desk, task)]
        assert len(left) < len(acts) or not left
        acts = left
    homes = desk.homes()
    assert homes["old"] == two and len(set(homes.values())) == 3


async def _taken_back(desk: Desk, task: Json) -> bool:
    try:
        await desk.steward.undo(task["id"], AUDIT)
    except IdentityError:
        return False
    return True


async def test_nobody_is_left_without_a_record(desk: Desk) -> None:
    """`keep` left by its card for a person of its own: the merge before that waits."""
    await desk.feed(said(M1, "keep", "李建国", **TRAITS))
    await desk.feed(said(M1, "old", "李建国", card=LI, **TRAITS))
    await desk.merge("keep", "old")
    one = desk.homes()["keep"]
    await desk.feed(said(M1, "keep", card=JUN, **TRAITS, hours=2))
    assert desk.homes()["keep"] != desk.homes()["old"] == one
    with pytest.raises(IdentityError):
        await desk.undo("merged-by-member")
    await desk.undo("moved-by-card")
    await desk.undo("merged-by-member")
    assert desk.homes()["keep"] == one != desk.homes()["old"]


async def test_a_first_word_begins_again_when_the_holder_was_merged_meanwhile(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.feed(li(M1, "his"))
    found = await desk.store.find_identifier("Patient", systems.ID_CARD, LI)
    await desk.feed(said(M1, "keep", "李建国", **TRAITS))
    await desk.merge("keep", "his")

    async def stale(type_: str, system: str, value: str) -> list[Resource]:
        return list(found)

    monkeypatch.setattr(desk.store, "find_identifier", stale)
    with pytest.raises(Moved):
        await desk.index.resolve([li(M2, "new")])
    with pytest.raises(Moved):
        await desk.index.create(CLIENTS, M2, "c1")
    monkeypatch.undo()
    assert await desk.feed(li(M2, "new")) == desk.homes()["keep"]


async def test_what_a_client_wrote_stands_again_whichever_of_two_merges_goes_back_last(desk: Desk) -> None:
    written = CLIENTS | {"text": NARRATIVE}
    await desk.store.apply((await desk.index.create(written, M1, "w1")).resolution)
    assert await desk.feed(li(M1, "keep")) == "w1"
    for number in "ab":
        await desk.feed(said(M1, number, "李建国", **TRAITS))
    await desk.store.apply(await desk.index.rewrite("w1", written, M1))
    before = patients(desk.store)["w1"]
    assert before["text"] == NARRATIVE
    for first in "ab":
        await desk.merge("keep", "a")
        await desk.merge("keep", "b")
        acts = desk.tasks("merged-by-member", "completed")
        acts.sort(key=lambda one: one["identifier"][0]["value"] != first)
        for act in acts:
            assert "text" not in patients(desk.store)["w1"]
            await desk.steward.undo(act["id"], AUDIT)
        assert patients(desk.store)["w1"] == before


async def test_an_update_of_a_patient_does_not_lose_what_had_moved_them(desk: Desk) -> None:
    """The client's own record was joined by a card; what it writes then still goes back with it."""
    his = await desk.feed(li(M4, "his"))
    plain = {key: one for key, one in CLIENTS.items() if key != "identifier"}
    await desk.store.apply((await desk.index.create(plain, M1, "w1")).resolution)
    await desk.store.apply(await desk.index.rewrite("w1", CLIENTS, M1))
    assert desk.homes()["w1"] == his
    await desk.store.apply(await desk.index.rewrite("w1", CLIENTS | {"photo": [{"url": "urn:photo:1"}]}, M1))
    await desk.undo("merged-by-card")
    assert desk.homes() == {"his": his, "w1": "w1"} and desk.lent("w1") == [LI]
    for _ in range(2):
        await desk.store.apply(await desk.index.rewrite("w1", CLIENTS, M1))
        assert desk.homes() == {"his": his, "w1": "w1"} and desk.lent("w1") == [LI]
    (asked,) = desk.tasks("card-unverified", "requested")
    await desk.steward.same(asked["id"], his, WORD, AUDIT)
    await desk.store.apply(await desk.index.rewrite("w1", CLIENTS, M1))  # the card is proven there by the other record
    await desk.undo("merged-by-steward")
    await desk.store.apply(await desk.index.rewrite("w1", CLIENTS, M1))
    assert desk.homes() == {"his": his, "w1": "w1"} and desk.holders(LI) == [his]


async def test_a_parting_taken_back_leaves_a_card_that_was_anothers_before(desk: Desk) -> None:
    """The question about the name is still open when the card is disowned by another way."""
    his, _ = await lent(desk)
    await desk.undo("merged-by-card")
    (asked,) = desk.tasks("card-name-differs", "requested")
    await desk.merge("a", "b")  # one already
    await desk.feed(li(M1, "own"))
    made = await desk.index.resolve([said(M1, "own", hours=4)], [MergeRequest(0, M1, "a")])
    await desk.store.apply(made)
    assert set(desk.homes().values()) == {his} and desk.lent("b") == [LI]
    await desk.steward.different(asked["id"], WORD, AUDIT)
    assert desk.homes()["b"] != his
    await desk.undo("parted-by-steward")
    assert set(desk.homes().values()) == {his} and desk.lent("b") == [LI]
