"""What method and path below /fhir mean, and what headers ask for."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from gateway.errors import GatewayError, NotFound, NotSupported
from gateway.model.rest import accepts_json, etag_versions, http_date, is_json, parse_http_date, prefer
from gateway.outbound.fhir_parts import On
from gateway.outbound.fhir_routes import classify

TYPES = frozenset({"Patient", "Observation"})


@pytest.mark.parametrize(
    ("method", "path", "meaning"),
    [
        ("GET", "metadata", On("capabilities")),
        ("POST", "", On("batch")),
        ("GET", "Patient", On("search-type", "Patient")),
        ("POST", "Patient/_search", On("search-type", "Patient")),
        ("POST", "Patient", On("create", "Patient")),
        ("GET", "Patient/a-1.b", On("read", "Patient", "a-1.b")),
        ("PUT", "Patient/1", On("update", "Patient", "1")),
        ("DELETE", "Patient/1", On("delete", "Patient", "1")),
        ("GET", "Patient/1/_history", On("history-instance", "Patient", "1")),
        ("GET", "Patient/1/_history/3", On("vread", "Patient", "1", 3)),
        ("GET", "Patient/1/$everything", On("operation", "Patient", "1", operation="$everything")),
    ],
)
def test_addresses_mean_interactions(method: str, path: str, meaning: On) -> None:
    assert classify(method, path, TYPES) == meaning


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("PUT", "", NotSupported),
        ("GET", "Patient/$" + "a" * 300, NotFound),
        ("GET", "Paitent", NotFound),
        ("GET", "Patient/../../etc/passwd", GatewayError),
        ("GET", "Patient/a b", NotFound),
        ("GET", "Patient/" + "x" * 65, NotFound),
        ("GET", "Patient/1/_history/x", NotFound),
        ("TRACE", "Patient/1", NotSupported),
        ("GET", "Patient/1/Observation/2/3", NotSupported),
    ],
)
def test_other_addresses_are_refused(method: str, path: str, error: type[GatewayError]) -> None:
    with pytest.raises(error):
        classify(method, path, TYPES)


@pytest.mark.parametrize(
    ("accept", "format_", "fine"),
    [
        ("", "", True),
        ("*/*", "", True),
        ("application/fhir+json", "", True),
        ("application/json;charset=utf-8", "", True),
        ("application/dicom+json, application/json", "", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "", True),
        ("application/fhir+xml", "", False),
        ("application/fhir+xml, application/fhir+json;q=0", "", False),
        ("application/fhir+xml", "json", True),
        ("application/json", "xml", False),
        ("*/*", "application/fhir json", True),
    ],
)
def test_json_is_given_when_asked_for_in_any_way(accept: str, format_: str, fine: bool) -> None:
    assert accepts_json(accept, format_) is fine


def test_a_body_is_json_in_utf8() -> None:
    assert is_json("application/fhir+json; charset=UTF-8") and is_json("application/json")
    assert not is_json("application/xml") and not is_json("application/json; charset=gbk")


def test_headers_are_read_generously() -> None:
    assert etag_versions('W/"3", "4"') == ("3", "4") and etag_versions("7") == ("7",) and etag_versions("*") == ("*",)
    assert prefer("return=minimal; handling=lenient", "handling") == "lenient"
    assert parse_http_date("yesterday") is None and parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT") is not None


def test_an_http_date_reads_as_it_was_written() -> None:
    at = datetime(2026, 3, 1, 23, 59, 5, tzinfo=timezone(timedelta(hours=8)))
    assert http_date(at) == "Sun, 01 Mar 2026 15:59:05 GMT" and parse_http_date(http_date(at)) == at
