"""What a steward compares: the same number is the same number, verified or not."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.identity.reviews import CARD_MOVED, PARTED, Trace, act_task
from gateway.model import systems
from gateway.model.directory import Directory, Member
from gateway.outbound.console.views_people import Asked, act_view, review_view
from tests.builders import a_patient

MOTHERS_CARD = "99010119910830122X"


def test_a_child_filed_under_the_mothers_card_shows_the_mothers_number_as_equal() -> None:
    card = [{"system": systems.ID_CARD, "value": MOTHERS_CARD}]
    doubt = {"extension": [{"url": systems.EXT_UNVERIFIED, "valueBoolean": True}]}
    child = a_patient(id="child", gender="male", birthDate="2019-05-06", identifier=[card[0] | doubt])
    mother = a_patient(id="mother", gender="female", birthDate="1991-08-30", identifier=card)
    task = {
        "resourceType": "Task", "id": "t1", "authoredOn": "2026-03-20T08:00:00+08:00",
        "identifier": [{"system": systems.local_number("m1"), "value": "T1"}],
        "for": {"reference": "Patient/child"},
        "input": [{"type": {"text": "candidate"}, "valueReference": {"reference": "Patient/mother"}}],
    }  # fmt: skip
    seen = review_view(task, Asked(child, (("mother", mother),)), Directory({}, {}, {}), datetime.now(UTC))
    card_row = dict(seen.rows)["居民身份证"]
    assert card_row[0].text == f"{MOTHERS_CARD}（未核验）"
    assert [cell.differs for cell in card_row] == [False, False]


def test_an_act_tells_what_moved_and_whose_card_did_it() -> None:
    now, members = datetime.now(UTC), Directory({"m1": Member("m1", "县医院", "primary")}, {}, {})
    moved = act_task("new", "old", [("m1", "T1")], Trace(CARD_MOVED, ("m1", "T1"), now, card=MOTHERS_CARD))
    seen = act_view(moved | {"id": "t1"}, {"new": a_patient(id="new")}, members, now)
    assert (seen.kind, seen.records) == ("凭证件改归，仅此本地号", ("县医院 T1",))
    assert seen.proof == "县医院 T1，证件尾号 122X"
    parted = act_task("new", "old", [("m1", "T1")], Trace(PARTED, ("m1", "T1"), now, review="r1"))
    assert act_view(parted | {"id": "t2"}, {}, members, now).proof == ""
