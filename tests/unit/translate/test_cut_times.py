"""A time of day sent for a date: that of a birth is kept beside it, any other is cut off and told at its place."""

from __future__ import annotations

import json

import pytest

from gateway.model import systems
from gateway.model.message import Draft
from gateway.model.outcome import Finding
from gateway.model.resource import Json
from gateway.validate.elements import R4Elements
from gateway.validate.structure import check
from tests.unit.translate.test_row_maps import COUNTY, TOWN, case, sent
from tests.unit.translate.v2_messages import draft, message, patient, resources

NIGHT = {"extension": [{"url": systems.BIRTH_TIME, "valueDateTime": "1990-01-02T08:30:00+08:00"}]}
KIN = "NK1|1|张^三|SPO|||||||||||||{}"


def born(text: str) -> Json:
    return patient(f"PID|1||A1^^^H1^MR||张三||{text}|M")


def told(found: Draft) -> list[str]:
    return [one.place for one in found.findings if one.code == "GW-MAP-012"]


@pytest.mark.parametrize("sent_as", ["19900102083000", "199001020830", "1990-1-2 8:30", "19900102083000+0800"])
def test_a_time_of_birth_stands_beside_the_date(sent_as: str) -> None:
    found = born(sent_as)
    assert (found["birthDate"], found["_birthDate"]) == ("1990-01-02", NIGHT)
    assert draft(message(f"PID|1||A1^^^H1^MR||张三||{sent_as}|M", kind="ADT^A08")).findings == ()


@pytest.mark.parametrize("sent_as", ["19900102", "199001", "19900102000000", "19900102000000.00+0800", "1990-1-2 0:00"])
def test_a_date_and_midnight_tell_no_time_of_birth(sent_as: str) -> None:
    assert "_birthDate" not in born(sent_as)
    assert draft(message(f"PID|1||A1^^^H1^MR||张三||{sent_as}|M", kind="ADT^A08")).findings == ()


def test_a_second_after_midnight_is_a_time_of_birth() -> None:
    (time,) = born("19900102000001")["_birthDate"]["extension"]
    assert time["valueDateTime"] == "1990-01-02T00:00:01+08:00"


def test_documents_files_and_json_keep_the_time_of_birth() -> None:
    document = case(f"{COUNTY}/c0004/amlodipine").body.decode()
    header, row, *_ = case(f"{TOWN}/visits/morning").body.decode("gb18030").splitlines()
    cells = dict(zip(header.split(","), row.split(","), strict=True)) | {"出生日期": "1990/1/2 8:30"}
    report = {
        "type": "lab_report",
        "patient": {"number": "9", "name": "甲", "birth_date": "1990-01-02 08:30:00"},
        "report": {"number": "R1", "name": "生化"},
        "results": [{"code": "K", "name": "钾", "value": 4, "unit": "mmol/L"}],
    }
    born_then = document.replace('birthTime value="19580312"', 'birthTime value="19900102083000"')
    for found in (
        sent(COUNTY, "cda", born_then),
        sent(TOWN, "csv", "\n".join([header, ",".join(cells.values()), ""])),
        sent("sandbox", "json", json.dumps(report)),
    ):
        assert (found.records[0].patient["birthDate"], found.records[0].patient["_birthDate"]) == ("1990-01-02", NIGHT)
        assert told(found) == []


def test_a_time_cut_off_elsewhere_is_told_with_its_place() -> None:
    found = draft(message("PID|1||A1^^^H1^MR||张三||19900102|M", KIN.format("19610203174500"), kind="ADT^A08"))
    assert [one for one in found.findings if one.code == "GW-MAP-012"] == [
        Finding(
            "GW-MAP-012", "information", "NK1[1]-16",
            "钟点已略去：此处只能写日期（FHIR R4 date），原文照常保存。",
            "The time of day was cut off: R4 has but a date here. The original is kept.",
        )
    ]  # fmt: skip
    assert [one.json["birthDate"] for one in found.resources if one.type == "RelatedPerson"] == ["1961-02-03"]


@pytest.mark.parametrize("kin", ["19610203", "19610203000000", "1961-2-3", ""])
def test_nothing_is_told_where_nothing_is_cut_off(kin: str) -> None:
    text = message("PID|1||A1^^^H1^MR||张三||19900102|M", KIN.format(kin), kind="ADT^A08")
    assert told(draft(text)) == [] and len(resources(text, "RelatedPerson")) == 1


@pytest.mark.parametrize(
    ("kind", "segment", "type_", "place"),
    [
        ("PPR^PC1", "GOL|AD|20260101|G1^血压达标^L|G1||||202612310805", "Goal", "GOL[1]-8"),
        ("VXU^V04", "ORC|RE||V1\rRXA|0|1|20260301||03^MMR^CVX|1||||||||||202712312359", "Immunization", "RXA[1]-16"),
    ],
)
def test_a_day_to_come_with_a_time_of_day_is_cut_and_its_message_is_not_refused(
    kind: str, segment: str, type_: str, place: str
) -> None:
    found = draft(message("PID|1||A1^^^H1^MR||张三||19900102|M", segment, kind=kind))
    (made,) = (one for one in found.resources if one.type == type_)
    check(made.type, made.body.replace(b"Patient/@", b"Patient/"))
    assert told(found) == [place]


def test_r4_has_what_stands_beside_a_single_plain_value_and_nothing_else() -> None:
    known = R4Elements().knows
    assert known("Patient._birthDate.extension.valueDateTime") and known("Observation._valueString.extension")
    assert not known("Patient._name") and not known("Patient._birthDate.value") and not known("Patient._birthdate")
