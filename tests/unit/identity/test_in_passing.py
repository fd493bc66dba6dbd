"""What the header of an image says of a patient: it fills gaps, and may be about somebody else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.errors import NumberReused
from gateway.identity.index import PersonIndex
from gateway.model.message import SourceRecord

from .conftest import M1, said
from .memory import MemoryStore
from .test_index import active, feed


def in_passing(record: SourceRecord) -> SourceRecord:
    """What the header of an image repeats of it."""
    return replace(record, in_passing=True)


async def test_what_is_said_in_passing_fills_gaps_and_yields_to_every_message_before_and_after(
    index: PersonIndex, store: MemoryStore
) -> None:
    mistyped = in_passing(said(M1, "1", "ZHOU JIU", birth="1900-01-01", sex="other", hours=5))
    await feed(index, store, mistyped)
    assert active(store)[0]["birthDate"] == "1900-01-01"
    await feed(index, store, said(M1, "1", "周九", birth="1972-02-03", sex="female", hours=1))
    await feed(index, store, replace(mistyped, said_at=mistyped.said_at + timedelta(days=1)))
    patient = active(store)[0]
    assert (patient["name"][0]["text"], patient["birthDate"], patient["gender"]) == ("周九", "1972-02-03", "female")


@pytest.mark.parametrize(
    ("name", "birth", "taken"),
    [("WANG WU", "1945-01-01", False), ("王五", "1945-01-01", False), ("JIU ZHOU", "1972-03-02", True),
     ("WANG WU", "1972-02-03", True), ("UNKNOWN", "", True)],
)  # fmt: skip
async def test_an_image_of_somebody_else_under_a_mistyped_number_is_refused(
    name: str, birth: str, taken: bool, index: PersonIndex, store: MemoryStore
) -> None:
    await feed(index, store, said(M1, "1", "周九", birth="1972-02-03", sex="male"))
    image = in_passing(said(M1, "1", name, birth=birth, sex="male", hours=5))
    if taken:
        await feed(index, store, image)
    else:
        with pytest.raises(NumberReused):
            await feed(index, store, image)
