"""SIU: an appointment of a day alone, one without an end, and how it stands."""

from __future__ import annotations

import pytest

from gateway.model.message import DraftResource
from tests.unit.translate.v2_messages import PID, draft, message, segment


def appointment(event: str, timing: str = "", status: str = "", start: str = "", minutes: str = "") -> DraftResource:
    """The Appointment of one SCH with this SCH-11 and SCH-25, and perhaps an AIS."""
    sch = segment("SCH", {1: "Y1", 9: minutes, 10: "MIN", 11: timing, 25: status})
    ais = [segment("AIS", {1: "1", 3: "NK^内科", 4: start})] if start else []
    got = draft(message(sch, PID, *ais, kind=f"SIU^{event}"))
    (found,) = [one for one in got.resources if one.type == "Appointment"]
    return found


@pytest.mark.parametrize("told", ["20260325", "2026-03-25", "20260325000000"])
def test_an_appointment_of_a_day_alone_is_at_any_time_of_that_day_and_says_so(told: str) -> None:
    for one in (appointment("S12", start=told, minutes="15"), appointment("S12", f"^^^{told}")):
        assert one.json["start"] == "2026-03-25T00:00:00+08:00"
        assert one.json["end"] == "2026-03-25T23:59:59+08:00"
        assert one.json["requestedPeriod"] == [{"start": "2026-03-25"}]


def test_a_time_takes_the_place_of_a_day_alone() -> None:
    one = appointment("S13", "^^^202603250830", minutes="20")
    assert (one.json["start"], one.json["end"]) == ("2026-03-25T08:30:00+08:00", "2026-03-25T08:50:00+08:00")
    assert one.gone is not None and "requestedPeriod" in one.gone


def test_of_an_appointment_without_an_end_no_more_is_known_than_when_it_begins() -> None:
    one = appointment("S12", "^^^202603250830")
    assert one.json["start"] == one.json["end"] == "2026-03-25T08:30:00+08:00"


def test_who_cancels_and_names_the_day_leaves_the_time() -> None:
    assert {"start", "end", "requestedPeriod"} <= set(appointment("S15", "^^^20260325").left)
    assert not {"start", "end"} & set(appointment("S13", "^^^20260325").left)


@pytest.mark.parametrize(
    ("status", "code"), [("停诊", "cancelled"), ("爽约", "noshow"), ("已预约", "booked"), ("怪", "booked")]
)
def test_how_an_appointment_stands(status: str, code: str) -> None:
    assert appointment("S14", "^^^202603250830", status).json["status"] == code
