"""Audit rows read as IHE BALP AuditEvents that R4 accepts."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from gateway.errors import Forbidden, NotSignedIn, StoreError
from gateway.model.context import AccessContext, Role
from gateway.model.resource import dumps
from gateway.model.rest import Seen
from gateway.security.audit import SIGN_IN, SIGN_OUT, anonymous_row, audit_row, events, refused_row
from gateway.validate.structure import decode

AT = datetime(2026, 3, 20, 1, tzinfo=UTC)
WHO = AccessContext(
    "zhou", "周医生", Role.DOCTOR, "township", "county", client="browser", address="10.0.0.1", request_id="req-00001"
)
READ = Seen("R", "read", ("p1",), ("Observation/o1",))
SEARCH = Seen("E", "search-type", ("p1", "p2", "p3"), (), "Patient?identifier=x|990101195803120115&name=李")


@pytest.mark.parametrize(
    "row",
    [
        audit_row(AT, WHO, READ),
        audit_row(AT, WHO, SEARCH),
        audit_row(AT, WHO, Seen("C", "create", ("p1",), ("Patient/p1",))),
        audit_row(AT, WHO, Seen("D", "delete", (), ("Basic/b1",))),
        audit_row(AT, WHO, Seen("E", "operation", ("p1",), ("Patient/p1",), "Patient/p1/$everything"), kind="export"),
        refused_row(AT, WHO, READ, Forbidden("x")),
        anonymous_row(AT, READ, Forbidden(), address="10.0.0.1", request_id="req-00001"),
        audit_row(AT, WHO, SIGN_IN, kind="login"),
        audit_row(AT, WHO, SIGN_OUT, kind="login"),
        anonymous_row(
            AT, SIGN_IN, NotSignedIn(), address="10.0.0.1", request_id="req-00002", kind="login", user="zheng"
        ),
    ],
    ids=lambda row: f"{row.kind}-{row.subtype}-{row.outcome}",
)
def test_every_event_is_valid_r4(row: object) -> None:
    for event in events("42", row):  # type: ignore[arg-type]
        decode("AuditEvent", dumps(event))


def test_one_row_about_three_patients_is_three_events_of_one_patient_each() -> None:
    found = events("42", audit_row(AT, WHO, SEARCH))
    assert [event["id"] for event in found] == ["42-1", "42-2", "42-3"]
    patients = [
        [e["what"]["reference"] for e in event["entity"] if "reference" in e.get("what", {})] for event in found
    ]
    assert patients == [["Patient/p1"], ["Patient/p2"], ["Patient/p3"]]


def test_a_query_entity_holds_the_raw_request_and_a_description_without_the_person() -> None:
    query = next(e for e in events("42", audit_row(AT, WHO, SEARCH))[0]["entity"] if "query" in e)
    assert base64.b64decode(query["query"]).decode() == SEARCH.query
    assert "990101195803120115" not in query["description"] and "李" not in query["description"]
    assert "what" not in query and query["role"]["code"] == "24"


def test_client_and_server_change_roles_between_read_and_search() -> None:
    read, search = events("1", audit_row(AT, WHO, READ))[0], events("2", audit_row(AT, WHO, SEARCH))[0]
    assert [a["type"]["coding"][0]["code"] for a in read["agent"]][:2] == ["110152", "110153"]
    assert [a["type"]["coding"][0]["code"] for a in search["agent"]][:2] == ["110153", "110152"]
    assert read["agent"][2]["type"]["coding"][0]["code"] == "IRCP" and read["agent"][2]["requestor"] is True


def test_profiles_are_named_only_where_they_hold() -> None:
    assert events("1", audit_row(AT, WHO, READ))[0]["meta"]["profile"][0].endswith("IHE.BasicAudit.PatientRead")
    assert events("1", audit_row(AT, WHO, SEARCH))[0]["meta"]["profile"][0].endswith("IHE.BasicAudit.PatientQuery")
    assert "profile" not in events("1", refused_row(AT, WHO, READ, Forbidden()))[0]["meta"]


def test_the_callers_fault_is_outcome_4_and_ours_is_8() -> None:
    assert refused_row(AT, WHO, READ, Forbidden()).outcome == "4"
    assert refused_row(AT, WHO, READ, StoreError()).outcome == "8"


def test_the_detail_of_a_row_carries_no_card_number() -> None:
    row = audit_row(AT, WHO, Seen("R", "read", detail="990101195803120115"))
    assert "990101195803120115" not in row.detail


def test_the_request_id_and_the_purpose_are_in_the_event() -> None:
    event = events("1", audit_row(AT, WHO, READ))[0]
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "TREAT"
    assert any(e.get("what", {}).get("identifier", {}).get("value") == "req-00001" for e in event["entity"])
