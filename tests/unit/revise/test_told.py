"""Messages about one resource in every order of arrival: the end is that of the order in which they were written."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta

import pytest

from gateway.model.message import DraftResource
from gateway.model.resource import Json, dumps
from gateway.model.times import CHINA
from gateway.revise.told import first_meta, said_at_of, told

NOON = datetime(2026, 3, 17, 12, tzinfo=CHINA)


def update(*, gone: tuple[str, ...] | None = (), left: tuple[str, ...] = (), **elements: object) -> DraftResource:
    body = {"resourceType": "Encounter", "id": "e", **elements}
    return DraftResource("Encounter", "e", dumps(body), 0, gone, left)


STAY = [  # admission, an update without a state, a transfer, discharge, the discharge taken back
    update(status="in-progress", period={"start": "2026-03-10"}, location=[1], reasonCode=["A"]),
    update(status="unknown", left=("status",), serviceType={"text": "内科"}, reasonCode=["B"]),
    update(status="onleave", location=[2], hospitalization={"destination": 1}),
    update(status="finished", period={"end": "2026-03-18"}, hospitalization={"dischargeDisposition": 2}),
    update(
        status="in-progress",
        gone=("period.end", "hospitalization.dischargeDisposition", "serviceType"),
        period={"start": "2026-03-11"},
    ),
]


def received(messages: list[tuple[int, DraftResource]]) -> Json:
    """The resource after messages written so many hours after noon, each as if stored in between."""
    stored: Json = {}
    for hour, one in messages:
        said = NOON + timedelta(hours=hour)
        if not stored:
            stored = {**one.json, "meta": first_meta(one, said)}
        else:
            made = told(stored, one, said)
            stored = {**made.body, "meta": made.meta}
    return stored


@pytest.mark.parametrize("order", list(itertools.permutations(range(5))))
def test_updates_in_any_order_end_as_in_the_order_they_were_written(order: tuple[int, ...]) -> None:
    wanted = received(list(enumerate(STAY)))
    assert received([(place, STAY[place]) for place in order]) == wanted
    assert "end" not in wanted["period"] and "serviceType" not in wanted


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_of_a_resource_told_whole_the_newest_stays_whole(order: tuple[int, ...]) -> None:
    whole = [update(gone=None, status="active", note=[1]), update(gone=None, status="revoked"), update(gone=None, x=1)]
    end = received([(place, whole[place]) for place in order])
    assert {key: value for key, value in end.items() if key != "meta"} == whole[2].json
    assert said_at_of(end) == NOON + timedelta(hours=2)


def test_a_whole_message_is_woven_into_what_was_told_piece_by_piece() -> None:
    pieces = [(2, update(status="finished")), (4, update(location=[9], status="x", left=("status",)))]
    end = received([*pieces, (3, update(gone=None, status="onleave", location=[1], note=[1]))])
    assert (end["status"], end["location"], end["note"]) == ("onleave", [9], [1])


def test_the_same_message_again_changes_nothing() -> None:
    stored = received(list(enumerate(STAY)))
    for hour, one in enumerate(STAY):
        assert told(stored, one, NOON + timedelta(hours=hour)).body == {k: v for k, v in stored.items() if k != "meta"}


def test_messages_without_a_time_count_as_they_arrive() -> None:
    stored: Json = update(status="a", location=[1]).json
    assert told(stored, update(status="b"), None).body["status"] == "b"


def by_role(*roles: str) -> list[Json]:
    """Participants of a visit, one a role; the second letter tells who it is."""
    return [{"type": [{"coding": [{"code": role[:1]}]}], "individual": {"display": role}} for role in roles]


def test_doctors_of_a_visit_are_told_one_by_one() -> None:
    stay = [update(participant=by_role("A1", "R1")), update(participant=by_role("A2")), update(gone=("participant.R",))]
    for order in itertools.permutations(range(3)):
        assert received([(place, stay[place]) for place in order])["participant"] == by_role("A2")
    assert received(list(enumerate(stay[:2])))["participant"] == by_role("A2", "R1")


def test_nothing_of_another_patient_is_left_under_a_number_given_anew() -> None:
    first = update(subject={"reference": "Patient/a"}, status="finished", reasonCode=["E11"], period={"start": "2026"})
    other = update(subject={"reference": "Patient/b"}, status="in-progress", gone=("serviceType",))
    end = received([(0, first), (1, other)])
    assert {key: value for key, value in end.items() if key != "meta"} == other.json
    assert received([(1, other), (0, first)]) == received([(1, other)]), "what was written before it adds nothing"
    made = told({**first.json, "meta": first_meta(first, NOON)}, other, NOON, carried=True)
    assert made.body["reasonCode"] == ["E11"], "but for a visit that was moved"
