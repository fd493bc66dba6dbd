"""The person index over a store: who is linked, who is not, what a person has to look at."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from gateway.errors import Conflict, NumberReused
from gateway.identity.index import PersonIndex
from gateway.identity.workspace import Resolution
from gateway.model import systems
from gateway.model.message import SourceRecord
from gateway.model.resource import Json, loads
from gateway.store.base import Keys, Put, src_of

from .conftest import LI, M1, M2, M3, M4, MOTHER, an_observation, li, said
from .memory import MemoryStore


async def feed(index: PersonIndex, store: MemoryStore, *records: SourceRecord) -> Resolution:
    made = await index.resolve(records)
    await store.apply(made)
    return made


def active(store: MemoryStore) -> list[Json]:
    return [one for one in store.bodies("Patient") if one["active"]]


def tasks(store: MemoryStore) -> list[tuple[str, str, str]]:
    found = [
        (t["code"]["coding"][0]["code"], t["reasonCode"]["text"], t["status"])
        for t in store.bodies("Task")
        if "reasonCode" in t
    ]
    return sorted(found)


def values(patient: Json, system: str = systems.ID_CARD) -> list[str]:
    return [one["value"] for one in patient["identifier"] if one["system"] == system]


@pytest.mark.parametrize(
    ("card", "code", "why"),
    [(f"{LI[:-1]}6", "GW-IDN-011", "校验位不符"), ("12345", "GW-IDN-011", "不是居民身份证号"), (LI, "", "")],
)
async def test_the_sender_is_told_of_a_card_that_can_be_nobodys(
    index: PersonIndex, store: MemoryStore, card: str, code: str, why: str
) -> None:
    for _ in range(2):  # each time it is sent
        made = await feed(index, store, li(M1, "A1", card=card))
        assert [one.code for one in made.findings] == ([code] if code else [])
        assert all(one.zh.startswith(why) and card not in one.zh for one in made.findings)


async def test_one_card_in_three_spellings_is_one_patient_with_four_local_numbers(
    index: PersonIndex, store: MemoryStore
) -> None:
    ids = set()
    for record in (
        li(M1, "A1"),
        li(M2, "B2", hours=1),
        li(M3, "C3", card=" ９９０１０１１９５８０３１２０１１５", hours=2),
        li(M4, "D4", card="990101580312011", hours=3),
    ):
        ids |= set((await feed(index, store, record)).patients)
    assert len(ids) == 1 and len(active(store)) == 1
    patient = active(store)[0]
    assert values(patient) == [LI]
    numbers = [
        (one["value"], one["assigner"]["display"]) for one in patient["identifier"] if "number:" in one["system"]
    ]
    assert sorted(numbers) == [("A1", "市第一人民医院"), ("B2", "县中医院"), ("C3", "县人民医院"), ("D4", "镇卫生院")]
    assert store.bodies("Task") == []


async def test_an_unchanged_record_costs_one_read_and_writes_nothing(index: PersonIndex, store: MemoryStore) -> None:
    await feed(index, store, li(M1, "A1", phone="13800001234"))
    store.reads.clear()
    made = await index.resolve([li(M1, "A1", phone="13800001234", hours=5), said(M1, "A1", hours=6)])
    assert store.reads == ["records"]
    assert made.patients[0] == made.patients[1]
    assert (made.records, made.resources, made.moves) == ((), (), ())


TWINS = (
    said(M1, "1", "孙浩然", card="990101201905060772", birth="2019-05-06", sex="male"),
    said(M1, "2", "孙浩冉", card="990101201905060780", birth="2019-05-06", sex="female"),
    said(M1, "3", "林芳", card=MOTHER, birth="1991-08-30", sex="female"),
    said(M4, "4", "孙浩然", card=MOTHER, birth="2019-05-06", sex="male"),
    said(M4, "5", "孙浩冉", card=MOTHER, birth="2019-05-06", sex="female"),
)


@pytest.mark.parametrize("order", [*itertools.permutations(range(5))][::7])
async def test_twins_under_their_mothers_number_stay_apart_in_any_order(
    order: tuple[int, ...], index: PersonIndex, store: MemoryStore
) -> None:
    for place in order:
        await feed(index, store, TWINS[place])
    assert sorted(one["name"][0]["text"] for one in active(store)) == ["孙浩冉", "孙浩然", "林芳"]
    assert all("link" not in one for one in store.bodies("Patient"))
    assert tasks(store) == [("card-contradicts-birth", "证件与出生日期不符", "requested")] * 2
    by_name = {one["name"][0]["text"]: one["id"] for one in active(store)}
    for task in store.bodies("Task"):
        whose = task["identifier"][0]["value"]
        told = {one["valueReference"]["reference"].removeprefix("Patient/") for one in task["input"]}
        assert told == {by_name["林芳"], by_name["孙浩然" if whose == "4" else "孙浩冉"]}
    provisional = [one for one in store.bodies("Patient") if not one["active"]]
    assert [one["meta"]["tag"][0]["code"] for one in provisional] == ["provisional"] * 2
    reasons = [e["valueString"] for one in provisional for e in one["identifier"][0]["extension"]]
    assert reasons == ["证件与出生日期不符"] * 2
    assert [one["name"][0]["text"] for one in active(store) if MOTHER in values(one)] == ["林芳"]


async def test_twins_in_one_message_stay_apart_too(index: PersonIndex, store: MemoryStore) -> None:
    await feed(index, store, *TWINS)
    assert len(active(store)) == 3 and len(tasks(store)) == 2


async def test_a_declared_mothers_card_is_not_searched_as_the_childs(index: PersonIndex, store: MemoryStore) -> None:
    await feed(index, store, said(M4, "9", "林芳之子", card=MOTHER, kind="19", birth="2026-03-01", sex="male"))
    child = active(store)[0]
    assert values(child) == [] and values(child, systems.MOTHERS_CARD) == [MOTHER]
    assert tasks(store) == []


@pytest.mark.parametrize("name", ["林芳之女", "林芳 之 次女"])
async def test_a_newborn_booked_with_the_mothers_particulars_is_not_the_mother(
    index: PersonIndex, store: MemoryStore, name: str
) -> None:
    facts = {"card": MOTHER, "birth": "1991-08-30", "sex": "female"}
    for records in (said(M1, "A1", "林芳", **facts), said(M4, "B1", name, **facts)):
        await feed(index, store, records)
    assert len(active(store)) == 2 and len({row.patient for row in store.rows.values()}) == 2
    with pytest.raises(NumberReused):
        await feed(index, store, said(M1, "A1", name, hours=1, **facts))
    await feed(index, store, said(M4, "B2", "林之女", hours=1, **facts))  # a grown woman may be called so
    assert len(active(store)) == 2


async def test_a_name_alone_never_links_but_asks(index: PersonIndex, store: MemoryStore) -> None:
    await feed(index, store, said(M1, "1", "陈明", birth="1971-09-02", sex="male"))
    await feed(index, store, said(M2, "2", "陈 明", birth="1971-09-02", sex="male"))
    await feed(index, store, said(M3, "3", "陈明", birth="1971-09-03", sex="male"))
    assert len(active(store)) == 3
    assert [code for code, _, _ in tasks(store)] == ["same-name-birth-sex"]


async def test_two_people_with_cards_and_one_name_are_no_review(index: PersonIndex, store: MemoryStore) -> None:
    await feed(index, store, said(M1, "1", "陈明", card="990101197109020332", birth="1971-09-02", sex="male"))
    await feed(index, store, said(M2, "2", "陈明", card="990101197109020359", birth="1971-09-02", sex="male"))
    assert len(active(store)) == 2
    assert tasks(store) == []


async def test_the_same_card_under_unlike_names_links_and_is_shown_to_a_person(
    index: PersonIndex, store: MemoryStore
) -> None:
    await feed(index, store, li(M1, "1"))
    await feed(index, store, said(M2, "2", "王强", card=LI, birth="1958-03-12", sex="male"))
    assert len(active(store)) == 1
    assert [code for code, _, _ in tasks(store)] == ["card-name-differs"]


async def test_a_later_message_with_only_a_number_stays_with_its_person(index: PersonIndex, store: MemoryStore) -> None:
    first = await feed(index, store, li(M1, "1", phone="13800001234"))
    await feed(index, store, li(M2, "2"))
    later = await feed(index, store, said(M2, "2", phone="13900005678", hours=1))
    assert later.patients == first.patients
    patient = active(store)[0]
    assert (patient["name"][0]["text"], patient["telecom"][0]["value"]) == ("李建国", "13900005678")


async def test_empty_never_overwrites_but_an_explicit_deletion_does(index: PersonIndex, store: MemoryStore) -> None:
    await feed(index, store, li(M1, "1", phone="13800001234"))
    empty = SourceRecord(M1, "1", {"telecom": [], "name": [], "gender": ""}, li(M1, "1", hours=1).said_at)
    await feed(index, store, empty)
    assert active(store)[0]["telecom"][0]["value"] == "13800001234"
    await feed(index, store, SourceRecord(M1, "1", {"telecom": None}, li(M1, "1", hours=2).said_at))
    assert "telecom" not in active(store)[0]
    await feed(index, store, li(M1, "1", phone="13800001234", hours=1.5))
    assert "telecom" not in active(store)[0]


async def test_a_late_older_message_fills_gaps_and_changes_nothing_newer(
    index: PersonIndex, store: MemoryStore
) -> None:
    await feed(index, store, said(M1, "1", "张珅", phone="13900005678", hours=5))
    await feed(index, store, said(M1, "1", "张坤", phone="13800001234", birth="1955-06-20", sex="male", hours=1))
    patient = active(store)[0]
    assert (patient["name"][0]["text"], patient["telecom"][0]["value"]) == ("张珅", "13900005678")
    assert patient["birthDate"] == "1955-06-20"


def born(birth: str, clock: str = "", *, hours: float = 0) -> SourceRecord:
    """李建国's record with this day of birth and, where told, its time."""
    record = li(M1, "1", birth=birth, hours=hours)
    if clock:
        at = {"url": systems.BIRTH_TIME, "valueDateTime": f"{birth}T{clock}+08:00"}
        record.patient["_birthDate"] = {"extension": [at]}
    return record


def time_of_birth(store: MemoryStore) -> str:
    """As the Patient has it, "" for none."""
    return str(
        active(store)[0].get("_birthDate", {"extension": [{"valueDateTime": ""}]})["extension"][0]["valueDateTime"]
    )


async def test_a_time_of_birth_links_as_the_day_alone_does_and_stays_with_it(
    index: PersonIndex, store: MemoryStore
) -> None:
    first = await feed(index, store, born("1958-03-12", "08:30:00"))
    assert (await feed(index, store, li(M2, "2", hours=-1))).patients == first.patients
    assert tasks(store) == [] and time_of_birth(store) == "1958-03-12T08:30:00+08:00"
    await feed(index, store, born("1958-03-12", hours=1))  # a later message that tells the day alone
    assert time_of_birth(store) == "1958-03-12T08:30:00+08:00"


async def test_a_time_of_birth_goes_with_the_day_it_was_of(index: PersonIndex, store: MemoryStore) -> None:
    for record in (
        born("1958-03-12", "08:30:00"),
        born("1958-03-13", hours=2),
        born("1958-03-12", "09:00:00", hours=1),
    ):
        record.patient.pop("identifier")  # no card that says which day is right
        await feed(index, store, record)
    assert (active(store)[0]["birthDate"], time_of_birth(store)) == ("1958-03-13", "")


async def test_a_birth_refused_for_the_card_is_refused_with_its_time(index: PersonIndex, store: MemoryStore) -> None:
    await feed(index, store, born("1958-03-12", "08:30:00"))
    await feed(index, store, born("1985-03-12", "09:00:00", hours=1))
    await feed(index, store, born("1985-03-12", hours=2))
    assert (active(store)[0]["birthDate"], time_of_birth(store)) == ("1958-03-12", "1958-03-12T08:30:00+08:00")


async def test_a_deleted_birth_takes_its_time_along(index: PersonIndex, store: MemoryStore) -> None:
    await feed(index, store, said(M1, "1", "张坤"), born("1958-03-12", "08:30:00"))
    await feed(index, store, SourceRecord(M1, "1", {"birthDate": None}, li(M1, "1", hours=2).said_at))
    assert "birthDate" not in active(store)[0] and time_of_birth(store) == ""


async def test_a_patched_time_of_birth_keeps_the_day(index: PersonIndex, store: MemoryStore) -> None:
    made = await feed(index, store, born("1958-03-12", "08:30:00"))
    (patient,) = active(store)
    patched = {key: value for key, value in patient.items() if key != "_birthDate"}
    await store.apply(await index.rewrite(made.patients[0], patched, M1, frozenset({"_birthDate"})))
    await feed(index, store, li(M2, "2", phone="13800001234", hours=3))
    assert (active(store)[0]["birthDate"], time_of_birth(store)) == ("1958-03-12", "")


async def test_a_latin_name_never_replaces_a_chinese_one(index: PersonIndex, store: MemoryStore) -> None:
    await feed(index, store, said(M1, "1", "张珅", birth="1955-06-20", sex="male"))
    await feed(index, store, said(M1, "1", "ZHANG^SHEN", birth="1955-06-20", sex="male", hours=1))
    assert active(store)[0]["name"][0]["text"] == "张珅"


async def test_a_card_that_comes_later_joins_the_person_and_takes_the_rows_along(
    index: PersonIndex, store: MemoryStore
) -> None:
    person = (await feed(index, store, li(M1, "1"))).patients[0]
    own = (await feed(index, store, said(M2, "2", "李建国", birth="1958-03-12", sex="male"))).patients[0]
    body = an_observation(own)
    await store.apply(Resolution(), Put("Observation", "o", body, Keys(), patient=own, src=src_of(M2, "2"), member=M2))
    assert person != own and [status for _, _, status in tasks(store)] == ["requested"]
    made = await feed(index, store, li(M2, "2", hours=1))
    assert made.patients == (person,)
    assert store.bodies("Observation")[0]["subject"]["reference"] == f"Patient/{person}"
    retired = next(one for one in store.bodies("Patient") if one["id"] == own)
    assert retired["active"] is False
    assert retired["link"] == [{"other": {"reference": f"Patient/{person}"}, "type": "replaced-by"}]
    assert [status for _, _, status in tasks(store)] == ["completed"]


async def test_a_provisional_record_with_its_card_put_right_becomes_the_person(
    index: PersonIndex, store: MemoryStore
) -> None:
    for record in TWINS:
        await feed(index, store, record)
    right = said(M4, "4", "孙浩然", card="990101201905060772", birth="2019-05-06", sex="male", hours=1)
    made = await feed(index, store, right)
    hao = next(one for one in active(store) if one["name"][0]["text"] == "孙浩然")
    assert made.patients == (hao["id"],)
    assert sorted(status for _, _, status in tasks(store)) == ["completed", "requested"]


async def test_a_provisional_person_alone_with_the_right_card_becomes_active(
    index: PersonIndex, store: MemoryStore
) -> None:
    first = await feed(index, store, TWINS[3])
    right = said(M4, "4", "孙浩然", card="990101201905060772", birth="2019-05-06", sex="male", hours=1)
    made = await feed(index, store, right)
    assert made.patients == first.patients
    assert active(store)[0]["id"] == first.patients[0] and active(store)[0]["meta"] == {}


async def test_one_wrong_message_does_not_tear_a_resident_from_their_history(
    index: PersonIndex, store: MemoryStore
) -> None:
    first = await feed(index, store, li(M1, "1"))
    wrong = li(M1, "1", birth="1985-03-12", hours=1)
    assert (await feed(index, store, wrong)).patients == first.patients
    assert active(store)[0]["birthDate"] == "1958-03-12"
    assert [code for code, _, _ in tasks(store)] == ["card-contradicts-birth"]
    made = await feed(index, store, li(M1, "1", birth="1985-03-12", hours=2))
    assert (made.records, made.resources) == ((), ())


async def test_a_number_given_to_somebody_else_is_refused(index: PersonIndex, store: MemoryStore) -> None:
    await feed(index, store, li(M1, "1"))
    other = said(M1, "1", "赵丽", card="990101198602140666", birth="1986-02-14", sex="female", hours=1)
    with pytest.raises(NumberReused):
        await index.resolve([other])


@pytest.mark.parametrize(
    ("card", "other"),
    [
        (LI, {"birth": "1961-05-06", "sex": "male"}),
        (LI, {"birth": "1986-02-14", "sex": "female"}),
        ("", {"birth": "1986-02-14", "sex": "female"}),
        ("", {"birth": "1986-02-14", "sex": "female", "card": "990101198602140666"}),
        ("9.90101E+17", {"birth": "1986-02-14", "sex": "female", "card": "9.90101E+17"}),
        (MOTHER, {"birth": "1961-05-06", "sex": "male", "card": LI}),
    ],
)
async def test_a_number_given_to_somebody_else_is_refused_without_their_card_too(
    index: PersonIndex, store: MemoryStore, card: str, other: dict[str, str]
) -> None:
    await feed(index, store, li(M1, "1", card=card))
    for hours in (1, -1):
        with pytest.raises(NumberReused):
            await index.resolve([said(M1, "1", "赵丽", hours=hours, **other)])


async def test_of_the_rows_of_a_file_only_the_one_with_anothers_number_is_refused(
    index: PersonIndex, store: MemoryStore
) -> None:
    other = said(M1, "1", "赵丽", card="990101198602140666", birth="1986-02-14", sex="female")
    rows = [li(M1, "1"), replace(other, place="row 3"), li(M1, "1", phone="13911112222"), said(M1, "2", "孙浩")]
    made = await index.resolve(rows, apart=True)
    assert [bool(one) for one in made.patients] == [True, False, True, True]
    assert [(one.code, one.place) for one in made.findings] == [("GW-IDN-003", "row 3")]
    await store.apply(made)
    named = {one["name"][0]["text"]: one for one in active(store)}
    assert sorted(named) == ["孙浩", "李建国"]
    assert named["李建国"]["telecom"][0]["value"] == "13911112222"
    with pytest.raises(NumberReused):  # nothing is left of a file all of whose rows are refused
        await index.resolve([other], apart=True)


async def test_an_unnamed_patient_and_a_new_name_keep_their_number(index: PersonIndex, store: MemoryStore) -> None:
    await feed(index, store, said(M1, "1", "无名氏", birth="1960-01-01", sex="male"))
    named = await feed(index, store, li(M1, "1", hours=1))
    assert [one.code for one in named.findings] == ["GW-IDN-012"], "it may as well be somebody else"
    await feed(index, store, said(M1, "1", "李建军", birth="1958-03-12", sex="male", hours=2))
    await feed(index, store, said(M1, "1", "LI JIANGUO", birth="1958-12-03", sex="male", hours=3))
    await feed(index, store, said(M1, "1", "李建", birth="1958-03", sex="male", hours=4))
    assert len(active(store)) == 1 and values(active(store)[0]) == [LI]


async def test_a_corrected_card_moves_the_record_to_the_person_who_holds_it(
    index: PersonIndex, store: MemoryStore
) -> None:
    await feed(index, store, li(M1, "1"))
    await feed(index, store, li(M2, "2"))
    typo = said(M3, "3", "李建军", card="990101195803120131", birth="1958-03-12", sex="male")
    await feed(index, store, typo)
    moved = await feed(index, store, li(M2, "2", card="990101195803120131", hours=1))
    home = {key: row.patient for key, row in store.rows.items()}
    assert home[(M2, "2")] == home[(M3, "3")] == moved.patients[0] != home[(M1, "1")]
    assert len(active(store)) == 2


async def test_the_same_people_come_out_of_any_order_of_arrival(index: PersonIndex, store: MemoryStore) -> None:
    records = [
        li(M1, "A1", phone="1380000001"),
        li(M2, "B2", phone="1380000002", hours=2),
        said(M1, "A1", phone="1380000003", hours=3),
        li(M4, "D4", card="990101580312011", hours=1),
        *TWINS,
    ]
    outcomes = []
    for seed in range(12):
        shuffled, fresh = records[:], MemoryStore()
        random.Random(seed).shuffle(shuffled)
        mine = PersonIndex(fresh, index._ids, index._clock, index._directory)  # type: ignore[arg-type]
        for record in shuffled:
            await feed(mine, fresh, record)
        outcomes.append(
            sorted(str([one["name"], values(one), one["telecom"]]) for one in active(fresh) if "telecom" in one)
        )
        assert len(active(fresh)) == 4
    assert outcomes == [outcomes[0]] * 12
    assert "1380000003" in outcomes[0][0]


async def test_two_first_messages_at_once_cannot_make_two_people(index: PersonIndex, store: MemoryStore) -> None:
    one, two = await index.resolve([li(M1, "1")]), await index.resolve([li(M2, "2")])
    await store.apply(one)
    with pytest.raises(Conflict):
        await store.apply(two)
    again = await index.resolve([li(M2, "2")])
    assert again.patients == one.patients


async def test_two_first_messages_of_a_mother_conflict_also_when_children_carry_her_number(
    index: PersonIndex, store: MemoryStore
) -> None:
    await feed(index, store, TWINS[3])
    mother = said(M2, "8", "林芳", card=MOTHER, birth="1991-08-30", sex="female")
    one, two = await index.resolve([TWINS[2]]), await index.resolve([mother])
    await store.apply(one)
    with pytest.raises(Conflict):
        await store.apply(two)


async def test_a_fhir_create_with_a_known_card_answers_with_the_person(index: PersonIndex, store: MemoryStore) -> None:
    person = (await feed(index, store, li(M1, "1"))).patients[0]
    sent = {**li(M2, "x").patient, "maritalStatus": {"text": "已婚"}}
    decision = await index.create(sent, M2, "random-id")
    assert (decision.known, decision.patient) == (True, person)
    await store.apply(decision.resolution)
    assert active(store)[0]["maritalStatus"] == {"text": "已婚"}
    assert store.rows[(M2, "random-id")].patient == person
    assert values(active(store)[0], systems.local_number(M2)) == []


async def test_any_other_fhir_create_is_kept_as_written(index: PersonIndex, store: MemoryStore) -> None:
    sent = {"resourceType": "Patient", "name": [{"family": "Li", "given": ["Lei"]}], "birthDate": "1990"}
    decision = await index.create(sent, M2, "random-id")
    assert not decision.known
    await store.apply(decision.resolution)
    assert loads(store.current("Patient")[0].body) == {**sent, "id": "random-id", "meta": {}}


async def test_a_feed_finds_the_person_a_client_wrote_with_a_15_digit_card(
    index: PersonIndex, store: MemoryStore
) -> None:
    decision = await index.create(li(M2, "x", card="990101580312011").patient, M2, "random-id")
    await store.apply(decision.resolution)
    assert (await feed(index, store, li(M1, "1"))).patients == ("random-id",)


async def test_a_stewards_update_reads_back_as_written_and_feeds_change_only_the_rest(
    index: PersonIndex, store: MemoryStore
) -> None:
    person = (await feed(index, store, said(M1, "1", "陈明", birth="1971-09-02"))).patients[0]
    written = {
        "resourceType": "Patient",
        "name": [{"text": "陈鸣"}],
        "birthDate": "1971-09-02",
        "maritalStatus": {"text": "未婚"},
    }
    made = await index.rewrite(person, written, M1)
    assert made.patients == (person,)
    await store.apply(made)
    stored = loads(store.current("Patient")[0].body)
    assert [one["value"] for one in stored.pop("identifier")] == ["1"]
    assert stored == {**written, "id": person, "meta": {}}
    await feed(index, store, said(M1, "1", "陈明", phone="13800001234", hours=9))
    assert active(store)[0]["name"][0]["text"] == "陈鸣"
    assert active(store)[0]["telecom"][0]["value"] == "13800001234"


async def test_an_update_that_leaves_an_element_out_leaves_it_to_the_feeds(
    index: PersonIndex, store: MemoryStore
) -> None:
    person = (await feed(index, store, li(M1, "1", phone="13800001234"))).patients[0]
    for name in ("李健国", "李建国"):
        await store.apply(await index.rewrite(person, {"resourceType": "Patient", "name": [{"text": name}]}, M1))
    again = await feed(index, store, li(M2, "2"))
    assert again.patients == (person,)
    await feed(index, store, li(M1, "1", phone="13900005678", hours=3))
    patient = active(store)[0]
    assert (patient["name"][0]["text"], patient["telecom"][0]["value"]) == ("李建国", "13900005678")
    assert values(patient) == [LI]


async def test_of_two_records_that_speak_at_once_none_is_composed_without_the_other(
    index: PersonIndex, store: MemoryStore
) -> None:
    await feed(index, store, li(M1, "A1", phone="13900000001", hours=2), li(M2, "B2", hours=1))
    silenced = li(M1, "A1", hours=4)
    silenced.patient["telecom"] = None  # `""` in HL7 v2
    unseen = await index.resolve([li(M2, "B2", phone="13900000002", hours=1.5)])  # A1's shows: said later
    removes = await index.resolve([silenced])
    await store.apply(unseen)
    with pytest.raises(Conflict):
        await store.apply(removes)
    await feed(index, store, silenced)
    assert [one["value"] for one in active(store)[0]["telecom"]] == ["13900000002"]
