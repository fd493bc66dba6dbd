"""Members, people and an index over a store, as the tests of this folder need them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.identity.index import PersonIndex
from gateway.model import systems
from gateway.model.directory import Directory, Member
from gateway.model.ids import Ids
from gateway.model.message import SourceRecord
from gateway.model.resource import Json, dumps
from gateway.model.times import CHINA
from gateway.store.resources import open_store

from .memory import MemoryStore
from .real_store import RealStore

NOW = datetime(2026, 3, 20, 9, tzinfo=CHINA)
M1, M2, M3, M4 = "city_first_hospital", "county_tcm_hospital", "county_people_hospital", "township_health_centre"
NAMES = {M1: "市第一人民医院", M2: "县中医院", M3: "县人民医院", M4: "镇卫生院"}
LI = "990101195803120115"
MOTHER = "99010119910830122X"

Said = Callable[..., SourceRecord]


def said(
    member: str,
    number: str,
    name: str = "",
    *,
    card: str = "",
    kind: str = "",
    birth: str = "",
    sex: str = "",
    phone: str = "",
    hours: float = 0,
) -> SourceRecord:
    """A source record as a mapping makes it, said `hours` after the anchor of the fixtures."""
    patient: Json = {"resourceType": "Patient"}
    if name:
        patient["name"] = [{"text": name}]
    if card:
        identifier: Json = {"system": systems.ID_CARD, "value": card}
        if kind:
            identifier["extension"] = [{"url": systems.EXT_ID_KIND, "valueCode": kind}]
        patient["identifier"] = [identifier]
    if birth:
        patient["birthDate"] = birth
    if sex:
        patient["gender"] = sex
    if phone:
        patient["telecom"] = [{"system": "phone", "value": phone}]
    return SourceRecord(member, number, patient, NOW + timedelta(hours=hours))


def li(member: str, number: str, **more: object) -> SourceRecord:
    """李建国 with his card, birth date and sex."""
    facts = {"card": LI, "birth": "1958-03-12", "sex": "male"} | more
    return said(member, number, "李建国", **facts)  # type: ignore[arg-type]


def an_observation(patient: str) -> bytes:
    """An Observation of a resident."""
    subject = {"reference": f"Patient/{patient}"}
    return dumps({"resourceType": "Observation", "status": "final", "code": {"text": "K"}, "subject": subject})


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MemoryStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    real = await open_store(f"sqlite:///{tmp_path}", clock=lambda: NOW)
    yield RealStore(real)
    await real.close()


@pytest.fixture
def index(store: MemoryStore) -> PersonIndex:
    directory = Directory({key: Member(key, name, "primary") for key, name in NAMES.items()}, {}, {})
    return PersonIndex(store, Ids(store.store_key), lambda: NOW, directory)  # type: ignore[arg-type]
