"""Many new people in one message, as the first file of an old system brings them."""

from __future__ import annotations

import pytest

from gateway.identity import workspace
from gateway.identity.index import PersonIndex
from tests.flow.messages import card

from .conftest import LI, M1, M2, said
from .memory import MemoryStore


async def test_each_new_person_is_compared_with_those_who_may_be_the_same(
    index: PersonIndex, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, compose = 0, workspace.compose

    def counted(*given: object) -> object:
        nonlocal made
        made += 1
        return compose(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(workspace, "compose", counted)
    many = [said(M1, f"A{n}", f"测试{n}", card=card(n), birth=_born(card(n)), sex=_sex(card(n))) for n in range(300)]
    found = await index.resolve(many)
    assert len(set(found.patients)) == 300
    assert made < 1500, "all of them with all others would be 90,000"


async def test_people_of_one_message_are_found_by_card_and_by_name_birth_date_and_sex(
    index: PersonIndex, store: MemoryStore
) -> None:
    same = {"birth": "1958-03-12", "sex": "male"}
    found = await index.resolve(
        [
            said(M1, "A1", "李建国", card=LI, **same),
            said(M2, "B1", "李建国", card="990101580312011", **same),
            said(M2, "B2", "李建国", **same),
        ]
    )
    first, by_old_card, by_traits = found.patients
    assert first == by_old_card != by_traits
    (task,) = [one for one in found.resources if one.type == "Task"]
    assert first.encode() in task.body, "whether they are one is asked"


def _born(number: str) -> str:
    return f"{number[6:10]}-{number[10:12]}-{number[12:14]}"


def _sex(number: str) -> str:
    return "male" if int(number[16]) % 2 else "female"
