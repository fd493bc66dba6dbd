"""What a search URL means, and what it must not be taken to mean (D16)."""

from __future__ import annotations

import pytest

from gateway.errors import BadParameter, GatewayError, TooCostly, UnknownParameter
from gateway.model.query import Chain, Filter, Has, Include
from gateway.outbound.fhir_conditions import split_values
from gateway.outbound.fhir_query import Parsed, Rules, nearest, pairs, parse, query_text, shape_of
from gateway.store.index import params


def understood(type_: str, query: str, *, lenient: bool = False) -> Parsed:
    return parse(type_, pairs(query), params, Rules(lenient))


def test_parameters_become_filters_with_kind_modifier_and_alternatives() -> None:
    found = understood("Observation", "patient=Patient/1&code=a,urn:x%7Cb&date=ge2026-01-01&status:not=final").query
    assert found.filters == (
        Filter("patient", "reference", ("Patient/1",)),
        Filter("code", "token", ("a", "urn:x|b")),
        Filter("date", "date", ("ge2026-01-01",)),
        Filter("status", "token", ("final",), "not"),
    )


def test_chinese_arrives_percent_encoded() -> None:
    assert understood("Patient", "name=%E6%9D%8E%E5%BB%BA%E5%9B%BD").query.filters[0].values == ("李建国",)


def test_an_escaped_comma_belongs_to_the_value_and_other_escapes_wait_for_their_reader() -> None:
    assert split_values(r"a\,b,c\$d\|e\\f") == ["a,b", r"c\$d\|e\\f"]


def test_sort_count_total_and_includes() -> None:
    query = (
        "_sort=-date,_id&_count=7&_total=accurate&_include=Observation:subject:Patient&_revinclude=Provenance:target"
    )
    found = understood("Observation", query).query
    assert found.sort == (("date", True), ("_id", False))
    assert (found.count, found.total) == (7, "accurate")
    assert found.includes == (
        Include("Observation", "subject", "Patient"),
        Include("Provenance", "target", "", True),
    )


def test_a_sort_key_given_again_is_one() -> None:
    keys = ",".join(["code", "-date"] * 300)
    assert understood("Observation", f"_sort={keys},date").query.sort == (
        ("code", False),
        ("date", True),
        ("date", False),
    )


@pytest.mark.parametrize("query", ["_summary=count", "_count=0", "_count=0&_totalMethod=count"])
def test_counting_asks_for_a_total_and_no_rows(query: str) -> None:
    found = understood("Patient", query)
    assert (found.query.count, found.query.total, found.shape.summary) == (0, "accurate", "count")


def test_a_count_beyond_the_ceiling_is_lowered() -> None:
    assert understood("Patient", "_count=100000").query.count == 1000


@pytest.mark.parametrize(("wrong", "right"), [("nmae", "name"), ("_cuont", "_count"), ("_lastupdatd", "_lastUpdated")])
def test_a_misspelt_parameter_is_refused_and_the_nearest_named(wrong: str, right: str) -> None:
    with pytest.raises(UnknownParameter, match=right):
        understood("Patient", f"{wrong}=x")


def test_an_unknown_filter_is_refused_even_when_nothing_is_near() -> None:
    with pytest.raises(UnknownParameter):
        understood("Patient", "favourite-colour=green")


@pytest.mark.parametrize("control", ["_t", "_dc", "_totalMethod", "_somethingQuiteDifferent"])
def test_client_controls_are_ignored_reported_and_left_out_of_self(control: str) -> None:
    found = understood("Patient", f"gender=male&{control}=1")
    assert [one.place for one in found.ignored] == [control]
    assert found.applied == (("gender", "male"),)


def test_lenient_handling_ignores_what_strict_refuses() -> None:
    found = understood("Patient", "favourite-colour=green&nmae=x&_list=a&link:Patient.nmae=x", lenient=True)
    assert len(found.ignored) == 4 and not found.query.filters


@pytest.mark.parametrize(
    "query",
    [
        "_has:Observation:patient:colour=1",
        "_has:Observation:code:status=final",
        "_filter=name eq x",
        "_list=x",
        "general-practitioner.colour=x",
        "gender.name=x",
        "genral-practitioner.name=x",
        "name:below=x",
        "birthdate:exact=1",
        "_include:recurse=Patient:link",
        "_sort=colour",
    ],
)
def test_what_is_not_served_is_refused_not_ignored(query: str) -> None:
    with pytest.raises(UnknownParameter):
        understood("Patient", query)


@pytest.mark.parametrize(
    "query",
    [
        "name=",
        "_count=-1",
        "_count=x",
        "_count=٣",
        "_total=maybe",
        "_summary=brief",
        "active:missing=perhaps",
        "_include=Observation:subject",
        "_include=Patient:name",
        "_include=Patient",
        "name=%FF",
    ],
)
def test_impossible_values_are_refused(query: str) -> None:
    with pytest.raises(BadParameter):
        understood("Patient", query)


@pytest.mark.parametrize(
    "query", ["&".join(["gender=male"] * 21), "_id=" + ",".join("a" * 101), "name=" + "x" * 70_000, "x" * 70_000 + "=1"]
)
def test_too_many_parameters_or_values_are_too_costly(query: str) -> None:
    with pytest.raises(TooCostly):
        understood("Patient", query)


def test_hostile_queries_are_refused_politely() -> None:
    for query in ("&" * 5000, "a=" * 300, "%00=1", "=1", "name=" + "x" * 100_000, "_sort=" + "," * 1000):
        try:
            understood("Patient", query)
        except GatewayError as error:
            assert 400 <= error.http < 500


def test_merged_and_provisional_patients_are_seen_only_when_asked_by_id_or_active() -> None:
    assert understood("Patient", "_id=1").query.retired and understood("Patient", "active=false").query.retired
    assert not understood("Patient", "name=x").query.retired


def test_a_query_text_says_the_same_again() -> None:
    given = (("name:exact", "李 建国&co"), ("code", "urn:x|a,b"))
    assert tuple(pairs(query_text(given))) == given


def test_personal_values_are_known_as_such() -> None:
    assert understood("Patient", "identifier=x|1").personal and understood("Patient", "name:exact=x").personal
    assert not understood("Observation", "code=1").personal


def test_a_read_takes_elements_and_refuses_filters() -> None:
    assert shape_of(pairs("_elements=code,value")).elements == {"code", "value"}
    with pytest.raises(UnknownParameter):
        shape_of(pairs("code=1"))


def test_the_distance_is_blind_to_case() -> None:
    assert nearest("BIRTHDATE", frozenset({"birthdate", "name"})) == ("birthdate", 0)


def test_a_chain_leads_to_every_type_that_has_the_parameter() -> None:
    chain = understood("Observation", "subject.name=x").query.filters[0]
    assert isinstance(chain, Chain)
    assert [type_ for type_, _ in chain.ways] == ["Location", "Patient"]
    named = understood("Observation", "subject:Patient.organization.name=x").query.filters[0]
    assert named == Chain(
        "subject", (("Patient", Chain("organization", (("Organization", Filter("name", "string", ("x",))),))),)
    )


def test_has_is_nested() -> None:
    found = understood("Patient", "_has:Encounter:patient:_has:Observation:encounter:code=1").query.filters[0]
    assert found == Has("Encounter", "patient", Has("Observation", "encounter", Filter("code", "token", ("1",))))


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ("&".join(["gender=male"] * 21), "20"),
        ("gender=" + ",".join(["male"] * 101), "100"),
        ("link:Patient.link:Patient.link:Patient.link:Patient.name=x", "3"),
    ],
)
def test_a_limit_passed_is_named(query: str, limit: str) -> None:
    with pytest.raises(TooCostly, match=limit):
        understood("Patient", query)


def test_a_search_across_types_knows_what_they_share() -> None:
    types = frozenset({"Observation", "Condition", "Patient"})
    found = parse("", pairs("_type=Observation,Condition&patient=Patient/1"), params, types=types).query
    assert found.types == ("Condition", "Observation") and found.filters[0] == Filter(
        "patient", "reference", ("Patient/1",)
    )
    with pytest.raises(UnknownParameter):
        parse("", pairs("patient=Patient/1"), params, types=types)
    with pytest.raises(BadParameter):
        parse("", pairs("_type=Nothing"), params, types=types)


def test_the_value_at_the_end_of_a_chain_counts_as_personal() -> None:
    assert understood("Observation", "patient.name=x").personal
    assert not understood("Observation", "patient.gender=male").personal


def test_a_query_that_is_not_utf_8_is_refused_in_words() -> None:
    with pytest.raises(BadParameter) as caught:
        pairs("name=%ff%fe")
    assert caught.value.detail == "not UTF-8"
