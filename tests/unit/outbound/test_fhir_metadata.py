"""`/metadata` tells the truth: what it declares answers, and what it does not declare is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest_asyncio
from starlette.applications import Starlette

from gateway.model.resource import Json
from gateway.outbound.dicom_web import Pacs, PacsSettings
from gateway.outbound.fhir_routes import FhirDoor, smart_routes
from gateway.outbound.operations.recognition import recognition_operations
from gateway.outbound.recognition import Judge
from gateway.security.http import Guard
from tests.unit.fhir_site import DIRECTORY, Site, a_patient, a_site, an_observation
from tests.unit.outbound.test_fhir_recognition import SHEET, a_report

VALUES = {
    "token": "true", "string": "x", "date": "2020", "number": "1", "quantity": "1", "uri": "http://x/y",
    "reference": "x", "composite": "2020$2020",
}  # fmt: skip


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as made, httpx.AsyncClient() as http:
        judge = Judge(made.store, DIRECTORY, SHEET, {}, Pacs(PacsSettings(), http, made.clock))
        parts = replace(made.parts, operations=(*made.parts.operations, *recognition_operations(judge)))
        made.app = Guard(Starlette(routes=smart_routes()), ahead={"fhir": FhirDoor(parts)})
        await made.keep(a_patient(), an_observation(), a_report("o1"))
        yield made


async def declared(site: Site) -> tuple[Json, dict[str, Json]]:
    """The rest element, and its resources by type."""
    rest = (await site.get("metadata", role="")).json()["rest"][0]
    return rest, {one["type"]: one for one in rest["resource"]}


def names(resource: Json) -> dict[str, str]:
    return {one["name"]: one["type"] for one in resource["searchParam"]}


def value_for(name: str, kind: str) -> str:
    """A value of the kind; a window has two ends besides what it lies on."""
    return "2020$2020$2020" if name.endswith("-window-coordinate") else VALUES[kind]


async def refused(http: httpx.AsyncClient, paths: list[str]) -> dict[str, int]:
    """What is not answered with 200."""
    found = [(path, (await http.get(f"/fhir/{path}")).status_code) for path in paths]
    return {path: status for path, status in found if status != 200}


async def test_every_search_parameter_it_declares_is_answered(site: Site) -> None:
    _, types = await declared(site)
    assert len(types) > 140 and sum(len(names(one)) for one in types.values()) > 2500
    async with site.as_("admin") as http:
        for type_, resource in types.items():
            asked = [f"{type_}?{name}={value_for(name, kind)}&_count=1" for name, kind in names(resource).items()]
            assert await refused(http, asked) == {}


async def test_a_parameter_beyond_r4_names_its_definition(site: Site) -> None:
    _, types = await declared(site)
    defined = {one["name"]: one["definition"] for one in types["Observation"]["searchParam"] if "definition" in one}
    assert defined == {"interpretation": "urn:alliance-gateway:searchparameter:Observation-interpretation"}


async def test_missing_is_taken_by_every_parameter_but_composites(site: Site) -> None:
    _, types = await declared(site)
    kinds = [(type_, name, kind) for type_ in ("Patient", "Observation") for name, kind in names(types[type_]).items()]
    taken = [f"{type_}?{name}:missing=true" for type_, name, kind in kinds if kind != "composite" and name[0] != "_"]
    async with site.as_("admin") as http:
        assert await refused(http, taken) == {}
        wrong = ["Observation?code:colour=x", "Patient?birthdate:exact=2020", "Patient?name:below=x"]
        wrong += [f"{type_}?{name}:missing=true" for type_, name, kind in kinds if kind == "composite"]
        assert await refused(http, wrong) == dict.fromkeys(wrong, 400)


async def test_parameters_of_other_types_are_refused(site: Site) -> None:
    _, types = await declared(site)
    everywhere = sorted({name for one in types.values() for name in names(one)})
    async with site.as_("admin") as http:
        for type_ in ("Patient", "Observation", "Encounter", "AuditEvent"):
            foreign = [name for name in everywhere if name not in names(types[type_])][::8]
            answers = await refused(http, [f"{type_}?{name}=1" for name in foreign])
            assert answers == {f"{type_}?{name}=1": 400 for name in foreign if not name.startswith("_")}


async def test_every_include_it_declares_is_followed_and_no_other(site: Site) -> None:
    rest, types = await declared(site)
    async with site.as_("admin") as http:
        for type_, resource in types.items():
            asked = [f"{type_}?_count=1&_include={one}" for one in resource.get("searchInclude", ())]
            # Any parameter that points here; the common types are pointed at by hundreds.
            asked += [f"{type_}?_count=1&_include:iterate={one}" for one in resource.get("searchInclude", ())[:2]]
            asked += [
                f"{type_}?_count=1&_revinclude={one}"
                for one in resource.get("searchRevInclude", ())[:: 1 if type_ == "Group" else 12]
            ]
            assert await refused(http, asked) == {}
        strange = ["Patient?_include=Patient:name", "Patient?_include=Observation:subject", "Patient?_revinclude=X:y"]
        assert await refused(http, strange) == dict.fromkeys(strange, 400)
        assert await refused(http, ["Patient?_has:Observation:patient:code=x", "Observation?patient.name=x"]) == {}
    assert "_has" in rest["documentation"] and ":iterate" in rest["documentation"]


async def test_what_the_system_declares_for_all_types_is_answered_across_types(site: Site) -> None:
    rest, _ = await declared(site)
    common = names(rest)
    assert {"_id", "_lastUpdated", "_tag", "_type"} <= set(common)
    asked = [f"?_type=Patient,Observation&{name}={VALUES[kind]}" for name, kind in common.items() if name != "_type"]
    async with site.as_("admin") as http:
        assert await refused(http, asked) == {}
        assert await refused(http, ["_history?_count=1"]) == {}
        assert (await http.get("/fhir/?_type=Patient,Observation&code=x")).status_code == 400


# ---- interactions ------------------------------------------------------------------------------
READS = {
    "read": "{0}/none", "vread": "{0}/none/_history/1", "history-instance": "{0}/none/_history",
    "history-type": "{0}/_history?_count=1", "search-type": "{0}?_count=1",
}  # fmt: skip


async def test_every_reading_interaction_is_answered_where_declared_and_nowhere_else(site: Site) -> None:
    _, types = await declared(site)
    async with site.as_("admin") as http:
        for type_, resource in types.items():
            offered = {one["code"] for one in resource["interaction"]}
            for code, path in READS.items():
                status = (await http.get(f"/fhir/{path.format(type_)}")).status_code
                assert (status in (200, 404)) if code in offered else (status == 405), (type_, code, status)


async def test_every_writing_interaction_is_answered_where_declared_and_nowhere_else(site: Site) -> None:
    _, types = await declared(site)
    addition = [{"op": "add", "path": "/language", "value": "zh"}]
    for type_, resource in types.items():
        offered = {one["code"] for one in resource["interaction"]}
        body: Json = {"resourceType": type_, "id": "none"}
        answers = {
            # An empty resource lacks what most types require; refused for its content it was understood.
            "create": (await site.post(type_, body)).status_code,
            "update": (await site.put(f"{type_}/none", body)).status_code,
            "patch": (await site.patch(f"{type_}/absent", addition)).status_code,
            "delete": (await site.delete(f"{type_}/none")).status_code,
        }  # fmt: skip
        for code, status in answers.items():
            assert (status != 405) if code in offered else (status == 405), (type_, code, status)


# ---- operations --------------------------------------------------------------------------------
def operations(type_: str, listed: Json) -> dict[str, set[str]]:
    """Name of each operation → the levels it says it is asked at."""
    addresses = {"instance": f"{type_}/{{id}}/$", "type": f"{type_}/$"} if type_ else {"system": "/$"}
    return {
        one["name"]: {
            level
            for address in one["documentation"].partition("：")[0].split("、")
            for level, start in addresses.items()
            if address == start + one["name"]
        }
        for one in listed.get("operation", ())
    }


async def test_every_operation_is_answered_at_its_levels_and_nowhere_else(site: Site) -> None:
    rest, types = await declared(site)
    known = {type_: operations(type_, resource) for type_, resource in types.items()}
    codes = sorted({name for names in known.values() for name in names})
    assert {"everything", "lastn", "meta", "meta-add", "meta-delete", "recognition", "alerts"} == set(codes)
    async with site.as_("admin") as http:
        for type_ in types:
            for name in codes:
                statuses = {
                    "instance": await _asked(http, f"{type_}/none/${name}", name),
                    "type": await _asked(http, f"{type_}/${name}{'?patient=x' * (name == 'lastn')}", name),
                }
                for level, status in statuses.items():
                    assert (status != 405) == (level in known[type_].get(name, ())), (type_, name, level, status)
        system = operations("", rest)
        assert system == {"meta": {"system"}}
        for name in (*codes, "validate", "expand", "export"):
            assert (await _asked(http, f"${name}", name) == 200) == (name in system), name


async def _asked(http: httpx.AsyncClient, path: str, name: str) -> int:
    if name.startswith("meta-"):
        return (await http.post(f"/fhir/{path}", json={"resourceType": "Parameters"})).status_code
    return (await http.get(f"/fhir/{path}")).status_code


async def test_every_compartment_is_searched_and_no_other(site: Site) -> None:
    rest, _ = await declared(site)
    offered = [one.rpartition("/")[2] for one in rest["compartment"]]
    assert offered == ["patient", "encounter"]
    async with site.as_("admin") as http:
        assert await refused(http, [f"{one.title()}/p1/Observation" for one in offered]) == {}
        assert (await http.get("/fhir/Practitioner/p1/Observation")).status_code in (400, 404, 405)


async def test_a_gateway_that_only_reads_declares_no_writing(site: Site) -> None:
    site.app = Guard(FhirDoor(replace(site.parts, write=None, caches={})))
    rest, types = await declared(site)
    assert not {"transaction", "batch"} & {one["code"] for one in rest["interaction"]}
    assert not {"create", "update", "patch", "delete"} & {
        c["code"] for one in types.values() for c in one["interaction"]
    }
    assert not {"meta-add", "meta-delete"} & {name for one in types for name in operations(one, types[one])}
    assert (await site.post("Basic", {"resourceType": "Basic"})).status_code == 405
