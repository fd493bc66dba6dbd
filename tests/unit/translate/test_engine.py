"""The engine: what a draft holds, the same every time, and nothing but its own errors on any input."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.cases import Case, cases
from fixtures.times import ANCHOR
from gateway.errors import GatewayError
from gateway.model.ids import Ids
from gateway.model.message import RawMessage
from gateway.shipped import shipped
from gateway.translate.engine import Mappings
from tests.unit.translate.v2_messages import IDS, NOW, PID, draft, mappings, message, oru

V2_CASES = [case for case in cases(shipped("fixtures")) if case.format == "v2"]
K = "OBX|1|NM|K^钾||4.2|mmol/L|3.5-5.3||||F"


def raw(body: bytes, source: str = "sandbox") -> RawMessage:
    return RawMessage("k1", source, "v2", body, NOW)


def test_the_same_message_makes_the_same_draft() -> None:
    assert draft(oru(K)) == draft(oru(K))


def test_ids_follow_from_the_report_and_cannot_be_made_without_the_key() -> None:
    corrected = oru(K.replace("4.2", "4.9").replace("|F", "|C"))
    ids = [[one.id for one in draft(text).resources if one.type != "Provenance"] for text in (oru(K), corrected)]
    assert ids[0] == ids[1]
    source = mappings().directory.sources["sandbox"]
    other = mappings().translate(raw(oru(K).encode()), source, Ids(b"another key" * 3), NOW)
    assert not {one.id for one in other.resources} & set(ids[0])


def test_two_members_with_the_same_numbers_do_not_meet() -> None:
    text = oru(K)
    one, two = draft(text, "city_first_hospital"), draft(text, "county_tcm_hospital")
    assert not {r.id for r in one.resources} & {r.id for r in two.resources}


def test_provenance_names_the_message_the_member_and_the_mapping() -> None:
    got = draft(oru(K), "city_first_hospital")
    provenance = next(one.json for one in got.resources if one.type == "Provenance")
    made = {f"{one.type}/{one.id}" for one in got.resources if one.type != "Provenance"}
    assert {one["reference"] for one in provenance["target"]} == made
    assert provenance["policy"] == [f"urn:alliance-gateway:mapping:{got.mapping}"]
    assert provenance["entity"][0]["what"]["identifier"]["value"] == "k1"
    assert provenance["agent"][0]["who"]["display"] == "市第一人民医院"


def test_the_messages_own_time_is_kept_and_arrival_stands_in_for_it() -> None:
    assert draft(oru(K)).said_at == NOW.replace(hour=8, minute=30)
    assert draft(oru(K).replace("20260320083000", "")).said_at == NOW


def test_a_merge_names_the_survivor_and_the_retired_number() -> None:
    (merge,) = draft(message(PID, "MRG|A9^^^H1^MR", kind="ADT^A40")).merges
    assert (merge.survivor, merge.retired_number, merge.member) == (0, "A9", "sandbox")


@pytest.mark.parametrize("case", V2_CASES, ids=lambda case: case.name)
def test_the_trace_makes_the_same_resources_and_knows_where_values_stood(case: Case) -> None:
    known = mappings()
    source = known.directory.sources[case.source]
    message = RawMessage("k1", case.source, "v2", case.body, ANCHOR)
    plain, (traced, steps) = known.translate(message, source, IDS, ANCHOR), known.trace(message, source, IDS, ANCHOR)
    assert [(r.type, r.id, r.json) for r in traced.resources] == [(r.type, r.id, r.json) for r in plain.resources]
    assert (traced.records, traced.findings, traced.unused) == (plain.records, plain.findings, plain.unused)
    for step in steps:
        if step.element == "value[x]":
            assert step.place.startswith("OBX[") and step.raw
            assert Path(step.line.rpartition(":")[0]).suffix == ".yaml"


def test_formats_are_told_by_their_first_bytes() -> None:
    sniff = Mappings.sniff
    assert sniff(b"\x0bMSH|^~\\&|") == "v2"
    assert sniff(b"\xef\xbb\xbf<?xml version='1.0'?>") == "cda"
    assert sniff(b"\0" * 128 + b"DICM") == "dicom"
    assert sniff(b' [{"a":1}]') == "json"
    assert sniff("病人编号,姓名\n".encode("gb18030")) == "csv"


def test_a_documents_own_id_is_found_without_parsing() -> None:
    xml = (
        b'<ClinicalDocument xmlns="urn:hl7-org:v3"><typeId root="9"/><id root="1.2" extension="D7"/></ClinicalDocument>'
    )
    assert Mappings.document_id(xml, "cda") == "1.2^D7"
    assert Mappings.document_id(b"whatever", "csv") == ""


def survive(body: bytes) -> None:
    """Translating raises nothing but the gateway's own errors, and those carry no data."""
    source = mappings().directory.sources["sandbox"]
    try:
        made = mappings().translate(raw(body), source, IDS, NOW)
    except GatewayError as error:
        assert "张三" not in str(error)
        return
    for one in made.resources:
        assert one.json["id"] == one.id


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_survived(tail: bytes) -> None:
    survive(b"MSH|^~\\&|A|B|C|D|20260320||ORU^R01|1|P|2.5.1\r" + tail)


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_any_broken_message_is_survived(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(V2_CASES))
    body = bytearray(case.body)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1))
        change = data.draw(st.sampled_from(["cut", "swap", "drop", "bar"]))
        if change == "cut":
            body = body[: max(at, 1)]
        elif change == "swap":
            body[at] = data.draw(st.integers(0, 255))
        elif change == "drop" and len(body) > 1:
            del body[at]
        else:
            body[at:at] = data.draw(st.sampled_from([b"|", b"^", b"~", b"\r", b"\\", b"&", b"\rOBX|", b"\rPID|"]))
    survive(bytes(body))
