"""What a steward compares: the same number is the same number, verified or not."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.model import systems
from gateway.model.directory import Directory
from gateway.outbound.console.views_people import review_view
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
    seen = review_view(task, {"child": child, "mother": mother}, Directory({}, {}, {}), datetime.now(UTC))
    card_row = dict(seen.rows)["居民身份证"]
    assert card_row[0].text == f"{MOTHERS_CARD}（未核验）"
    assert [cell.differs for cell in card_row] == [False, False]
