"""What the header of an instance becomes, and where it is wrong."""

from __future__ import annotations

import io

import pydicom
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from gateway.errors import BadValue, MissingField
from gateway.model import systems
from gateway.model.message import Draft
from gateway.model.resource import Json

from .test_row_maps import case, of, sent


def image(drop: str = "", **changes: object) -> Draft:
    """The knee of the fixtures with other elements."""
    dataset = pydicom.dcmread(io.BytesIO(case("city_first_pacs/instance/dx_knee").body))
    for name, value in changes.items():
        dataset.add(DataElement(name, dictionary_VR(name), value, validation_mode=0))
    if drop:
        delattr(dataset, drop)
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, enforce_file_format=True)
    return sent("city_first_pacs", "dicom", out.getvalue())


def study(found: Draft) -> Json:
    return of(found, "ImagingStudy")[0]


def told(found: Draft) -> list[tuple[str, str]]:
    return [(one.code, one.place) for one in found.findings]


@pytest.mark.parametrize(
    "name", ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality"]
)
def test_what_no_instance_may_lack_is_missed_at_its_own_place(name: str) -> None:
    with pytest.raises(MissingField) as missed:
        image(drop=name)
    assert missed.value.place == name


def test_what_is_no_uid_is_refused_at_its_own_place() -> None:
    with pytest.raises(BadValue) as refused:
        image(SeriesInstanceUID="S_1/2")
    assert refused.value.place == "SeriesInstanceUID"


@pytest.mark.parametrize("number", ["-1", "99999999999", "3.0"])
def test_a_number_r4_cannot_hold_costs_nobody_an_image(number: str) -> None:
    found = image(InstanceNumber=number)
    assert "number" not in study(found)["series"][0]["instance"][0]
    assert told(found) == [("GW-MAP-014", "InstanceNumber")]


@pytest.mark.parametrize(
    ("time", "zone", "started", "place"),
    [
        ("081530.25", "-0500", "2026-03-07T08:15:30-05:00", ""),
        ("0815", "", "2026-03-07T08:15:00+08:00", ""),
        ("256199", "", "2026-03-07", "StudyTime"),
        ("081530", "CST", "2026-03-07T08:15:30+08:00", "TimezoneOffsetFromUTC"),
    ],
)
def test_the_time_of_a_study_is_in_the_zone_the_header_names(time: str, zone: str, started: str, place: str) -> None:
    found = image(StudyTime=time, TimezoneOffsetFromUTC=zone)
    assert study(found)["started"] == started
    assert {one for one in told(found) if one[1] == place} == ({("GW-MAP-014", place)} if place else set())


def test_the_frames_of_a_multi_frame_image_are_counted() -> None:
    assert study(image(NumberOfFrames="12"))["series"][0]["instance"][0]["extension"] == [
        {"url": systems.EXT_FRAMES, "valuePositiveInt": 12}
    ]
    assert "extension" not in study(image(NumberOfFrames="1"))["series"][0]["instance"][0]


def items(*rows: dict[str, object]) -> Sequence:
    made = []
    for row in rows:
        made.append(Dataset())
        for name, value in row.items():
            setattr(made[-1], name, value)
    return Sequence(made)


@pytest.mark.parametrize(("title", "rejects"), [("113001", True), ("113038", True), ("113000", False)])
def test_a_rejection_note_names_what_it_takes_back(title: str, rejects: bool) -> None:
    instances = items({"ReferencedSOPInstanceUID": "2.25.71"}, {"ReferencedSOPInstanceUID": "2.25.72"})
    found = image(
        ConceptNameCodeSequence=items({"CodeValue": title}),
        CurrentRequestedProcedureEvidenceSequence=items(
            {"ReferencedSeriesSequence": items({"ReferencedSOPSequence": instances})}
        ),
    )
    named = [one["valueUri"] for one in study(found).get("extension", ()) if one["url"] == systems.EXT_REJECTED]
    assert named == (["urn:oid:2.25.71", "urn:oid:2.25.72"] if rejects else [])
