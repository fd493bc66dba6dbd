"""A study grows instance by instance, in any order, to the same study."""

from __future__ import annotations

import itertools

import pytest

from gateway.errors import StudyOfAnother
from gateway.model import systems
from gateway.model.resource import Json
from gateway.revise.study import Merged, grown, merge_parts, merge_study

UID = {"system": systems.DICOM_UID, "value": "urn:oid:1"}


def part(series: str, *instances: int, modality: str = "CT", patient: str = "p", at: str = "09:00:00") -> Json:
    listed = [{"uid": f"{series}.{n}", "number": n, "sopClass": {"code": "1.2"}} for n in instances]
    return {
        "resourceType": "ImagingStudy",
        "id": "s",
        "status": "available",
        "subject": {"reference": f"Patient/{patient}"},
        "started": f"2026-03-10T{at}+08:00",
        "modality": [{"code": modality}],
        "series": [{"uid": series, "number": int(series[-1]), "modality": {"code": modality}, "instance": listed}],
    }


def whole(*parts: Json) -> Json:
    study: Json | None = None
    for one in parts:
        study = merge_study(study, one).body
    assert study is not None
    return study


PARTS = (part("1", 1), part("1", 2), part("2", 1, 3, at="08:58:00"), part("2", 2))


@pytest.mark.parametrize("order", itertools.permutations(PARTS))
def test_any_order_of_instances_makes_the_same_study(order: tuple[Json, ...]) -> None:
    study = whole(*order)
    assert study == whole(*PARTS)
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (2, 5)
    assert [s["numberOfInstances"] for s in study["series"]] == [2, 3]
    assert study["started"].startswith("2026-03-10T08:58")


def test_parts_merged_among_themselves_make_the_same_study() -> None:
    for order in itertools.permutations(PARTS):
        for first in range(1, len(PARTS)):
            stored = whole(*order[:first])
            assert merge_study(stored, merge_parts(order[first:]).body).body == whole(*PARTS)


def test_an_instance_without_a_time_of_day_takes_none_from_the_study() -> None:
    day_alone = {**part("1", 2), "started": "2026-03-10"}
    for order in ((part("1", 1), day_alone), (day_alone, part("1", 1))):
        assert whole(*order)["started"] == "2026-03-10T09:00:00+08:00"


def test_the_same_instance_again_changes_nothing() -> None:
    study = whole(*PARTS)
    again = merge_study(study, PARTS[1])
    assert again.body == study and again.findings == ()


def test_an_archive_that_promises_more_is_believed() -> None:
    promised = {**part("1", 1), "numberOfInstances": 200}
    assert whole(promised, part("1", 2))["numberOfInstances"] == 200


def test_modalities_are_collected_once() -> None:
    study = whole(part("1", 1), part("2", 1, modality="SR"), part("1", 2))
    assert [one["code"] for one in study["modality"]] == ["CT", "SR"]


def test_the_same_uid_with_other_content_or_in_another_series_is_kept_as_it_first_came() -> None:
    other = part("1", 1)
    other["series"][0]["instance"][0]["number"] = 9
    made = merge_study(part("1", 1), other)
    assert made.body["series"][0]["instance"][0]["number"] == 1 and len(made.findings) == 1
    moved = part("2", 1)
    moved["series"][0]["instance"][0]["uid"] = "1.1"
    made = merge_study(part("1", 1), moved)
    assert made.body["numberOfInstances"] == 1 and len(made.findings) == 1
    assert [one["uid"] for one in made.body["series"]] == ["1"]


def note(*uids: str) -> Json:
    """A rejection note in a series of its own."""
    made = part("9", 1, modality="KO")
    made["series"][0]["instance"][0]["sopClass"]["code"] = "urn:oid:1.2.840.10008.5.1.4.1.1.88.59"
    named = [{"url": systems.EXT_REJECTED, "valueUri": f"urn:oid:{uid}"} for uid in uids]
    return {**made, "extension": named}


@pytest.mark.parametrize("order", itertools.permutations((part("1", 1, 2), part("2", 1), note("1.1", "2.1"))))
def test_what_a_rejection_note_names_is_no_part_of_the_study_whenever_it_comes(order: tuple[Json, ...]) -> None:
    study = whole(*order)
    assert {s["uid"]: [i["uid"] for i in s["instance"]] for s in study["series"]} == {"1": ["1.2"], "9": ["9.1"]}
    assert (study["numberOfSeries"], study["numberOfInstances"], study["status"]) == (2, 2, "available")


def test_a_study_of_which_only_the_note_is_left_is_in_error_until_a_better_image_comes() -> None:
    rejected = merge_study(whole(part("1", 1)), note("1.1"))
    assert rejected.body["status"] == "entered-in-error"
    assert [one.code for one in rejected.findings] == ["GW-REV-007"]
    assert whole(rejected.body, part("1", 1))["status"] == "entered-in-error"
    assert whole(rejected.body, part("1", 2))["status"] == "available"


def test_a_header_sent_again_corrects_what_it_said_and_that_is_told() -> None:
    first = {**part("1", 1), "description": "左膝", "identifier": [UID, {"system": "acc", "value": "DR1"}]}
    first["series"][0]["laterality"] = {"display": "L"}
    second = {**part("1", 1), "description": "右膝", "identifier": [UID, {"system": "acc", "value": "DR2"}]}
    second["series"][0]["laterality"] = {"display": "R"}
    made = merge_study(whole(first, part("1", 2)), second)
    assert made.body["identifier"] == second["identifier"] and made.body["description"] == "右膝"
    assert made.body["series"][0]["laterality"] == {"display": "R"}
    assert {(one.code, one.place) for one in made.findings} == {
        ("GW-REV-009", "ImagingStudy.description"),
        ("GW-REV-009", "ImagingStudy.identifier"),
        ("GW-REV-009", "ImagingStudy.series.laterality"),
    }
    assert merge_study(made.body, second) == Merged(made.body)


def test_a_header_sent_again_adds_the_accession_number_it_lacked_and_may_move_the_day() -> None:
    number = {"identifier": [{"system": "acc", "value": "CT1"}]}
    again = {**part("1", 1), **number, "started": "2026-03-12T08:00:00+08:00"}
    made = merge_study(whole(part("1", 1), part("1", 2)), again)
    assert made.body["identifier"] == number["identifier"] and made.body["started"] == again["started"]


def test_another_image_of_the_study_corrects_nothing_and_is_told() -> None:
    made = merge_study({**part("1", 1), "description": "胸部"}, {**part("1", 2), "description": "胸部CT平扫"})
    assert made.body["description"] == "胸部"
    assert [(one.code, one.place) for one in made.findings] == [("GW-REV-003", "ImagingStudy.description")]


def test_a_study_sent_again_whole_and_corrected_is_corrected_in_one_go() -> None:
    stored = {**whole(*PARTS), "description": "胸部", "identifier": [{"system": "acc", "value": "CT1"}]}
    fixed = [{**one, "description": "腹部", "identifier": [{"system": "acc", "value": "CT2"}]} for one in PARTS]
    late = {**part("3", 1), "description": "胸部", "identifier": [{"system": "acc", "value": "CT1"}]}
    for parts in ([*fixed, late], [late, *fixed]):
        made = grown(stored, parts).body
        assert (made["description"], made["numberOfInstances"]) == ("腹部", 6)
        assert made["identifier"] == [{"system": "acc", "value": "CT2"}]


def test_another_patients_image_is_refused() -> None:
    with pytest.raises(StudyOfAnother):
        merge_study(part("1", 1), part("1", 2, patient="q"))
