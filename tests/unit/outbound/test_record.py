"""One resident's resources with what points where."""

from gateway.model.resource import Json
from gateway.outbound.record import Record, member_name, member_of
from tests.builders import (
    M3,
    a_patient,
    a_report,
    a_study,
    an_allergy,
    an_observation,
    stored,
    the_directory,
)


def a_record(*resources: Json) -> Record:
    return Record.of([stored(resource) for resource in resources])


def test_void_and_replaced_resources_stay_findable_but_are_not_current() -> None:
    old = {"resourceType": "DocumentReference", "id": "d0", "status": "superseded"}
    new = {"resourceType": "DocumentReference", "id": "d1", "status": "current"}
    gone = an_observation("gone", status="entered-in-error")
    record = a_record(old, new, gone, an_observation("kept"))
    assert [d["id"] for d in record.documents] == ["d1"]
    assert [o["id"] for o in record.observations] == ["kept"]
    assert record.get("DocumentReference/d0") == old


def test_a_report_gives_its_items_in_its_own_order_without_withdrawn_ones() -> None:
    a, b, gone = an_observation("a"), an_observation("b"), an_observation("c", status="entered-in-error")
    report = a_report(results=[b, gone, a])
    record = a_record(a, b, gone, report)
    assert [item["id"] for item in record.items_of(report)] == ["b", "a"]
    assert record.report_of(a) == report
    assert record.report_of(an_observation("unreported")) is None


def test_the_items_of_a_panel_stand_in_place_of_its_heading_and_are_of_its_report() -> None:
    k, na, gone = an_observation("k"), an_observation("na"), an_observation("gone", status="entered-in-error")
    panel = an_observation(
        "p", value=None, hasMember=[{"reference": f"Observation/{one['id']}"} for one in (na, k, gone)]
    )
    report, culture = a_report("r", results=[panel, k]), a_report("c", results=[panel], category="MB")
    record = Record.of([stored(one) for one in (k, na, gone, panel, report, culture)])
    assert [item["id"] for item in record.items_of(report)] == ["na", "k"]
    assert (record.report_of(na) or {})["id"] == "r"
    assert [item["id"] for item in record.items_of(culture)] == ["p"]


def test_a_withdrawn_report_does_not_own_its_items() -> None:
    item = an_observation("a")
    void, valid = a_report("r0", results=[item], status="entered-in-error"), a_report("r1", results=[item])
    assert a_record(item, void, valid).report_of(item) == valid


def test_references_are_followed_in_every_form() -> None:
    study = a_study("s1")
    record = a_record(study, a_report(studies=[study]))
    for reference in ("ImagingStudy/s1", {"reference": "https://gw/fhir/ImagingStudy/s1/_history/2"}):
        assert record.get(reference) == study
    assert record.get(None) is None and record.get({"display": "周医生"}) is None
    assert record.studies_of(record.reports[0]) == (study,)


def test_a_report_and_its_images_meet_by_accession_number_within_one_member() -> None:
    def number(member: str) -> Json:
        return {"identifier": [{"type": {"coding": [{"code": "ACSN"}]}, "system": member, "value": "CT1"}]}

    mine, other = a_study("s1", **number("m1")), a_study("s2", **number("m2"))
    record = a_record(mine, other, a_report("r1", **number("m1")), a_report("r2"))
    assert [[s["id"] for s in record.studies_of(one)] for one in record.reports] == [["s1"], []]


def test_the_surviving_patient_is_the_patient() -> None:
    retired, survivor = a_patient("old", active=False), a_patient("new", active=True)
    assert a_record(retired, survivor).patient["id"] == "new"
    assert a_record().patient == {}


def test_refuted_allergies_and_deleted_resources_are_left_out() -> None:
    refuted = an_allergy(verificationStatus={"coding": [{"code": "refuted"}]})
    assert a_record(refuted).allergies == ()
    assert Record.of([stored(an_allergy(), deleted=True)]).by_ref == {}


def test_the_member_is_the_one_whose_source_said_so() -> None:
    directory = the_directory()
    assert member_of(an_observation(member=M3), directory) == M3
    assert member_of({"resourceType": "Patient"}, directory) == ""
    assert (member_name(M3, directory), member_name("", directory)) == ("县人民医院", "来源未知")


def test_arrival_is_the_moment_the_present_version_was_stored() -> None:
    row = stored(an_observation("a"))
    assert Record.of([row]).arrived["Observation/a"] == row.at
