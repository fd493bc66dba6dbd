"""无已知过敏 beside an allergy of the same source."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.model import systems
from gateway.model.message import DraftResource
from gateway.model.resource import Json, dumps
from gateway.store.resources import open_store
from tests.unit.identity.real_store import RealStore
from tests.unit.revise.test_message import NOON, now, put

THIS, OTHER = [7], [8]  # source records: `put` files everything under 7


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RealStore]:
    real = await open_store(f"sqlite:///{tmp_path}", clock=lambda: NOON)
    yield RealStore(real)
    await real.close()


def allergy(code: str, verification: str = "confirmed") -> DraftResource:
    status = {"coding": [{"system": systems.ALLERGY_CLINICAL, "code": "active"}]}
    body: Json = {
        "resourceType": "AllergyIntolerance",
        "id": code,
        "code": {"coding": [{"system": "urn:x", "code": code}]},
        "patient": {"reference": "Patient/p"},
        "verificationStatus": {"coding": [{"system": systems.ALLERGY_VERIFICATION, "code": verification}]},
    }
    body |= {"clinicalStatus": status} if verification == "confirmed" else {}
    return DraftResource("AllergyIntolerance", code, dumps(body))


NONE, PENICILLIN, TAKEN_BACK = allergy("no-known-allergy"), allergy("PCN"), allergy("PCN", "entered-in-error")


def stands(store: RealStore) -> tuple[str, str]:
    body = now(store, "AllergyIntolerance", "no-known-allergy")
    return tuple(body[one]["coding"][0]["code"] for one in ("clinicalStatus", "verificationStatus"))  # type: ignore[return-value]


@pytest.mark.parametrize("order", [(NONE, PENICILLIN), (PENICILLIN, NONE)])
async def test_a_denial_is_refuted_by_an_allergy_in_whatever_order_both_come(
    store: RealStore, order: tuple[DraftResource, ...]
) -> None:
    for hours, one in enumerate(order):
        await put(store, [one], str(hours), hours=hours, srcs=THIS)
    assert stands(store) == ("inactive", "refuted")
    assert now(store, "AllergyIntolerance", "PCN")["clinicalStatus"]["coding"][0]["code"] == "active"


async def test_an_older_message_refutes_a_newer_denial_too(store: RealStore) -> None:
    await put(store, [NONE], "1", hours=2, srcs=THIS)
    await put(store, [PENICILLIN], "2", hours=1, srcs=THIS)
    assert stands(store) == ("inactive", "refuted")


async def test_a_denial_after_the_allergy_was_taken_back_stands(store: RealStore) -> None:
    for hours, one in enumerate((PENICILLIN, NONE, TAKEN_BACK, NONE)):
        await put(store, [one], str(hours), hours=hours, srcs=THIS)
    assert stands(store) == ("active", "confirmed")


async def test_what_another_source_denies_stays_its_own(store: RealStore) -> None:
    await put(store, [NONE], "1", hours=0, srcs=THIS)
    await put(store, [PENICILLIN], "2", hours=1, srcs=OTHER)
    assert stands(store) == ("active", "confirmed")
