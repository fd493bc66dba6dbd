"""read, vread, history, $everything, Binary, audit: over HTTP against the real store."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from gateway.outbound.fhir_parts import Original
from gateway.outbound.health import health_routes
from tests.unit.fhir_site import Site, a_patient, a_site, an_observation, code_of, link, matches


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as made:
        await made.keep(a_patient(), an_observation())
        yield made


async def test_a_resource_reads_back_with_its_digits_and_validators(site: Site) -> None:
    answer = await site.get("Observation/o1")
    assert answer.status_code == 200 and '"value":1.20' in answer.text
    assert answer.headers["etag"] == 'W/"1"' and "GMT" in answer.headers["last-modified"]
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert answer.json()["meta"]["versionId"] == "1"


async def test_a_client_that_holds_the_version_gets_304(site: Site) -> None:
    first = await site.get("Observation/o1")
    for headers in ({"If-None-Match": first.headers["etag"]}, {"If-Modified-Since": first.headers["last-modified"]}):
        again = await site.get("Observation/o1", **headers)
        assert (again.status_code, again.content) == (304, b"") and again.headers["etag"] == 'W/"1"'
    assert (await site.get("Observation/o1", **{"If-None-Match": 'W/"9"'})).status_code == 200


async def test_absent_and_unknown_addresses_are_operation_outcomes(site: Site) -> None:
    for path, status in (
        ("Observation/none", 404),
        ("Nonsense/1", 404),
        ("a/b/c/d", 404),
        ("Observation/o1/$nope", 405),
    ):
        answer = await site.get(path)
        assert answer.status_code == status, path
        code_of(answer)


async def test_fhir_answers_with_and_without_slash(site: Site) -> None:
    async with site.as_("platform") as http:
        one, other = await http.get("/fhir"), await http.get("/fhir/")
    assert one.status_code == other.status_code == 400  # a search across types names them


async def test_head_says_what_get_would_and_sends_no_body(site: Site) -> None:
    async with site.as_("platform") as http:
        head, get = await http.head("/fhir/Observation/o1"), await http.get("/fhir/Observation/o1")
    assert head.content == b"" and head.headers["content-length"] == str(len(get.content))
    assert head.headers["etag"] == get.headers["etag"]


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/fhir+json", 200),
        ("application/json", 200),
        ("application/dicom+json, application/json", 200),
        ("application/fhir+xml", 406),
    ],
)
async def test_accept_is_honoured(site: Site, accept: str, status: int) -> None:
    assert (await site.get("Observation/o1", Accept=accept)).status_code == status


async def test_format_wins_over_accept_and_pretty_keeps_the_digits(site: Site) -> None:
    answer = await site.get("Observation/o1?_format=json&_pretty=true", Accept="application/fhir+xml")
    assert answer.status_code == 200 and "\n  " in answer.text and '"value": 1.20' in answer.text
    assert (await site.get("Observation/o1?_format=xml")).status_code == 406


async def test_history_and_versions(site: Site) -> None:
    for value in ("1.21", "1.22"):
        await site.keep(an_observation(value=value))
    bundle = (await site.get("Observation/o1/_history")).json()
    assert bundle["type"] == "history"
    assert [one["resource"]["meta"]["versionId"] for one in bundle["entry"]] == ["3", "2", "1"]
    assert [one["request"]["method"] for one in bundle["entry"]] == ["PUT", "PUT", "PUT"]
    old = await site.get("Observation/o1/_history/1")
    assert '"value":1.20' in old.text and old.headers["etag"] == 'W/"1"'
    assert (await site.get("Observation/o1/_history/9")).status_code == 404


async def test_history_is_paged_by_version(site: Site) -> None:
    for value in ("1.21", "1.22"):
        await site.keep(an_observation(value=value))
    seen, path = [], "Observation/o1/_history?_count=2"
    while path:
        bundle = (await site.get(path)).json()
        seen += [one["resource"]["meta"]["versionId"] for one in bundle["entry"]]
        path = link(bundle, "next").removeprefix("http://gateway/fhir/")
    assert seen == ["3", "2", "1"]


async def test_a_deleted_resource_is_gone_and_its_history_stays(site: Site) -> None:
    await site.post("Observation", an_observation("x"))
    created = (await site.get("Observation?code=2160-0&_sort=-_lastUpdated&_count=1")).json()["entry"][0]["resource"][
        "id"
    ]
    assert (await site.delete(f"Observation/{created}")).status_code == 204
    assert (await site.get(f"Observation/{created}")).status_code == 410
    bundle = (await site.get(f"Observation/{created}/_history")).json()
    assert [one["request"]["method"] for one in bundle["entry"]] == ["DELETE", "POST"]


@pytest.mark.parametrize("named", ["value", "Observation.value", "value[x]", "valueQuantity", "valueQuantity.value"])
async def test_a_choice_is_named_by_its_base_or_in_full(site: Site, named: str) -> None:
    for path in (f"Observation/o1?_elements={named}", f"Observation?_id=o1&_elements={named}"):
        found = (await site.get(path)).json()
        assert "valueQuantity" in found.get("entry", [{"resource": found}])[0]["resource"], path


async def test_metadata_is_json_only_too(site: Site) -> None:
    assert (await site.get("metadata?_format=xml")).status_code == 406
    assert (await site.get("metadata?_format=json", Accept="application/fhir+xml")).status_code == 200


async def test_elements_leave_what_identifies_and_say_subsetted(site: Site) -> None:
    found = (await site.get("Observation/o1?_elements=valueQuantity")).json()
    assert set(found) == {"resourceType", "id", "meta", "status", "code", "valueQuantity"}
    assert found["meta"]["tag"][0]["code"] == "SUBSETTED"


async def test_everything_gives_the_person_first_and_narrows_by_type(site: Site) -> None:
    bundle = (await site.get("Patient/p1/$everything")).json()
    assert matches(bundle) == ["Patient/p1", "Observation/o1"]
    only = (await site.get("Patient/p1/$everything?_type=Observation")).json()
    assert "Observation/o1" in matches(only)
    assert (await site.get("Patient/nobody/$everything")).status_code == 404
    assert (await site.get("Patient/p1/$everything?_type=Nonsense")).status_code == 400


async def test_everything_in_pages_gives_each_resource_once(site: Site) -> None:
    await site.keep(*(an_observation(f"n{number}") for number in range(7)))
    seen, path = [], "Patient/p1/$everything?_count=3"
    while path:
        bundle = (await site.get(path)).json()
        seen += matches(bundle)
        path = link(bundle, "next").removeprefix("http://gateway/fhir/")
    assert len(seen) == len(set(seen)) == 9


async def test_a_kept_original_comes_as_it_was_or_as_binary(site: Site) -> None:
    site.originals["raw1"] = Original(b"<ClinicalDocument/>", "text/xml", ("p1",))
    plain = await site.get("Binary/raw1")
    assert plain.content == b"<ClinicalDocument/>" and plain.headers["content-type"] == "text/xml"
    assert (
        "attachment" in plain.headers["content-disposition"] and "sandbox" in plain.headers["content-security-policy"]
    )
    wrapped = (await site.get("Binary/raw1", Accept="application/fhir+json")).json()
    assert base64.b64decode(wrapped["data"]) == b"<ClinicalDocument/>"
    assert (await site.get("Binary/none")).status_code == 404
    assert (await site.audits(entity="Binary/raw1"))[0].patients == ("p1",)


async def test_an_administrator_of_one_member_does_not_read_the_audit_of_all(site: Site) -> None:
    answers = {role: await site.get("AuditEvent", role) for role in ("admin", "m1", "m2", "doctor")}
    assert {role: answer.status_code for role, answer in answers.items()} == {
        "admin": 200, "m1": 403, "m2": 403, "doctor": 403,
    }  # fmt: skip
    assert "整个联盟的管理员" in answers["m1"].text and "整个联盟的管理员" not in answers["doctor"].text
    (event,) = (await site.get("AuditEvent?_count=1", "admin")).json()["entry"]
    assert (await site.get(f"AuditEvent/{event['resource']['id']}", "m1")).status_code == 403


async def test_metadata_is_open_complete_and_has_an_etag(site: Site) -> None:
    answer = await site.get("metadata", role="")
    statement = answer.json()
    assert answer.status_code == 200 and statement["fhirVersion"] == "4.0.1"
    types = {one["type"]: one for one in statement["rest"][0]["resource"]}
    assert {"Patient", "Observation", "AuditEvent"} <= set(types)
    assert "birthdate" in {one["name"] for one in types["Patient"]["searchParam"]}
    assert {"code": "create"} in types["Patient"]["interaction"] and {"code": "create"} not in types["AuditEvent"][
        "interaction"
    ]
    assert types["Patient"]["operation"][0]["name"] == "everything"
    again = await site.get("metadata", role="", **{"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


async def test_where_clients_probe_for_smart_they_get_an_honest_no_in_json(site: Site) -> None:
    async with site.as_("") as http:
        for path in ("/.well-known/smart-configuration", "/fhir/.well-known/smart-configuration"):
            answer = await http.get(path)
            assert answer.status_code == 404 and code_of(answer) == "GW-FHR-001"


async def test_health_tells_live_and_ready(site: Site) -> None:
    async def failing() -> int:
        return 0

    app = Starlette(routes=health_routes(site.store, failing))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:
        assert [(await http.get(f"/health/{path}")).status_code for path in ("live", "ready")] == [200, 200]


async def test_a_long_answer_is_compressed_only_for_who_takes_it(site: Site) -> None:
    plain = await site.get("metadata", role="", **{"Accept-Encoding": "identity"})
    packed = await site.get("metadata", role="", **{"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers and packed.headers["content-encoding"] == "gzip"
    refused = await site.get("metadata", role="", **{"Accept-Encoding": "gzip;q=0, identity"})
    assert "content-encoding" not in refused.headers
    assert int(packed.headers["content-length"]) < len(plain.content) / 5 and packed.json() == plain.json()
    assert "content-encoding" not in (await site.get("Observation/o1")).headers


# ---- access and audit -------------------------------------------------------------------------
async def test_nobody_reads_without_a_token_and_the_attempt_is_audited(site: Site) -> None:
    answer = await site.get("Observation/o1", role="")
    assert (
        answer.status_code == 401 and code_of(answer) == "GW-SEC-001" and "Bearer" in answer.headers["www-authenticate"]
    )
    row = (await site.audits())[0]
    assert (row.outcome, row.user, row.entities) == ("4", "", ("Observation/o1",))


async def test_a_vendor_reads_nothing_and_a_doctor_no_audit(site: Site) -> None:
    assert (await site.get("Observation/o1", role="vendor")).status_code == 403
    assert (await site.get("AuditEvent", role="doctor")).status_code == 403
    assert (await site.get("Observation/o1", role="doctor")).status_code == 200


async def test_every_reading_leaves_exactly_one_row(site: Site) -> None:
    etag = (await site.get("Observation/o1")).headers["etag"]
    await site.get("Observation/o1", **{"If-None-Match": etag})
    async with site.as_("platform") as http:
        await http.head("/fhir/Observation/o1")
    await site.get("Observation/none")
    await site.get("Observation?patient=p1")
    await site.get("Observation?patient=p1&_summary=count")
    await site.get("Observation?nonsense=1")
    rows = list(reversed(await site.audits()))
    assert [(row.action, row.subtype, row.outcome, row.detail) for row in rows] == [
        ("R", "read", "0", ""),
        ("R", "read", "0", "304"),
        ("R", "read", "0", "HEAD"),
        ("R", "read", "4", "GW-FHR-001 404"),
        ("E", "search-type", "0", "1 matches"),
        ("E", "search-type", "0", "count only"),
        ("E", "search-type", "4", "GW-FHR-003 400"),
    ]
    assert all(row.patients == ("p1",) for row in rows[:3]) and rows[4].patients == ("p1",)
    assert rows[4].query == "Observation?patient=p1"


async def test_the_audit_is_read_as_balp_events_and_its_reading_is_audited(site: Site) -> None:
    await site.keep(a_patient("p2"))
    await site.get("Patient?name=李建国")
    bundle = (await site.get("AuditEvent?patient=Patient/p2", role="admin")).json()
    events = [one["resource"] for one in bundle["entry"]]
    assert len(events) == 1 and events[0]["subtype"][0]["code"] == "search-type"
    assert [e["what"]["reference"] for e in events[0]["entity"] if e.get("role", {}).get("code") == "1"] == [
        "Patient/p2"
    ]
    one = await site.get(f"AuditEvent/{events[0]['id']}", role="admin")
    assert one.json() == events[0]
    assert [row.user for row in await site.audits(entity=f"AuditEvent/{events[0]['id']}")] == ["admin"]


async def test_audit_filters_and_pages(site: Site) -> None:
    for _ in range(5):
        await site.get("Observation/o1")
    await site.get("Patient/p1", role="doctor")
    by_user = (await site.get("AuditEvent?agent=doctor", role="admin")).json()
    assert {e["resource"]["agent"][2]["who"]["identifier"]["value"] for e in by_user["entry"]} == {"doctor"}
    seen, path = [], "AuditEvent?entity=Observation/o1&action=R&_count=2"
    while path:
        bundle = (await site.get(path, role="admin")).json()
        seen += [one["resource"]["id"] for one in bundle.get("entry", ())]
        path = link(bundle, "next").removeprefix("http://gateway/fhir/")
    assert len(seen) == len(set(seen)) == 5
    following = link((await site.get("AuditEvent?_count=2", role="admin")).json(), "next").partition("?")[2]
    assert (await site.get(f"AuditEvent?{following}", role="auditor")).status_code == 400, "another user's link"
    assert (await site.get(f"Patient?{following.partition('&')[2]}", role="admin")).status_code == 400
    assert (await site.get("AuditEvent", role="platform")).status_code == 403
    assert (await site.get("AuditEvent?altid=x", role="admin")).status_code == 400
    assert (await site.get("AuditEvent?date=ge2026-03-20&_sort=-date", role="admin")).status_code == 200
    assert "entry" not in (await site.get("AuditEvent?date=lt2026-03-20", role="admin")).json()
    assert (await site.get("AuditEvent?date=2026-03-20,2026-03-21", role="admin")).status_code == 400


async def test_audit_dates_cover_what_their_precision_says(site: Site) -> None:
    site.clock.now += timedelta(seconds=30)
    await site.get("Observation/o1")
    assert (await site.get("AuditEvent?entity=Observation/o1&date=2026-03-20T09:00", role="admin")).json()["entry"]
    for date in ("gt9999-12-31T23:59:59Z", "2026-03-20T08", "0000", "9999-99"):
        assert (await site.get(f"AuditEvent?date={date}", role="admin")).status_code == 400, date
    assert (await site.get("AuditEvent?date=9999-12", role="admin")).status_code == 200


@pytest.mark.parametrize(
    "path", ["Observation/o1?_unheardof=1", "_history?_type=Patient", "Patient/_history?_list=x",
             "Patient/p1/$everything?_updatedafter=2026", "Patient/p1/$everything?type=Observation"]
)  # fmt: skip
async def test_what_would_silently_give_more_than_was_asked_for_is_refused(site: Site, path: str) -> None:
    assert (await site.get(path)).status_code == 400
    assert (await site.get(path, Prefer="handling=lenient")).status_code == 200
    assert (await site.get(path.partition("?")[0] + "?_dc=1")).status_code == 200
