"""`/metadata` tells the truth: what it declares answers, and what it does not declare is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest_asyncio
from starlette.applications import Starlette

from gateway.errors import UnknownParameter
from gateway.model.resource import Json
from gateway.outbound.dicom_web import Pacs, PacsSettings
from gateway.outbound.fhir_audit import PARAMETERS as AUDIT_PARAMETERS
from gateway.outbound.fhir_conditions import Lookup
from gateway.outbound.fhir_query import parse
from gateway.outbound.fhir_routes import FhirDoor, smart_routes
from gateway.outbound.operations.recognition import recognition_operations
from gateway.outbound.recognition import Judge
from gateway.security.http import Guard
from tests.unit.fhir_site import DIRECTORY, Site, a_patient, a_site, an_observation, link
from tests.unit.outbound.test_fhir_recognition import SHEET, a_report

GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"
BESIDE, TOGETHER = 32, 15
"""Requests under way at a time; parameters in one of them."""
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


async def beside(calls: list[Coroutine[Any, Any, httpx.Response]]) -> list[httpx.Response]:
    """All answers, many asked for beside each other: the audit writes what comes together at once."""
    out: list[httpx.Response] = []
    for at in range(0, len(calls), BESIDE):
        out += await asyncio.gather(*calls[at : at + BESIDE])
    return out


async def answered(http: httpx.AsyncClient, paths: list[str]) -> list[httpx.Response]:
    return await beside([http.get(f"/fhir/{path}") for path in paths])


async def refused(http: httpx.AsyncClient, paths: list[str]) -> dict[str, int]:
    """What is not answered with 200."""
    found = zip(paths, await answered(http, paths), strict=True)
    return {path: answer.status_code for path, answer in found if answer.status_code != 200}


async def left_out(http: httpx.AsyncClient, asked: dict[str, list[tuple[str, str]]]) -> list[str]:
    """What is not applied, by the `self` link, of these parameters of each type; many in one address."""
    pieces = [
        (type_, given[at : at + TOGETHER]) for type_, given in asked.items() for at in range(0, len(given), TOGETHER)
    ]
    answers = await answered(http, [f"{type_}?{urlencode([*piece, ('_count', '1')])}" for type_, piece in pieces])
    out = []
    for (type_, piece), answer in zip(pieces, answers, strict=True):
        assert answer.status_code == 200, (type_, piece, answer.text)
        applied = parse_qsl(link(answer.json(), "self").partition("?")[2], keep_blank_values=True)
        out += [f"{type_}?{name}={value}" for name, value in piece if (name, value) not in applied]
    return out


async def test_every_search_parameter_it_declares_is_answered(site: Site) -> None:
    _, types = await declared(site)
    assert len(types) > 140 and sum(len(names(one)) for one in types.values()) > 2500
    given = {
        type_: [(name, value_for(name, kind)) for name, kind in names(resource).items()]
        for type_, resource in types.items()
    }
    async with site.as_("admin") as http:
        assert await left_out(http, given) == []


MODIFIERS = {
    "missing": "true", "not": "x", "text": "x", "in": GENDERS, "not-in": GENDERS, "below": "http://x/y", "above": "http://x",
    "of-type": "a|b|c", "exact": "x", "contains": "x", "identifier": "x", "[type]": "x", "iterate": "x", "colour": "x",
}  # fmt: skip


async def test_a_parameter_takes_the_modifiers_it_lists_and_no_other(site: Site) -> None:
    _, types = await declared(site)
    tried = 0
    for type_, resource in types.items():
        known = AUDIT_PARAMETERS if type_ == "AuditEvent" else site.parts.lookup(type_)
        for one in resource["searchParam"]:
            target = next(iter(known[one["name"]].targets), "Patient")
            for word, value in MODIFIERS.items():
                listed = f":{word}" in one.get("documentation", "").split()
                name = f"{one['name']}:{target if word == '[type]' else word}"
                assert _taken(type_, name, value, lambda _, known=known: known) == listed, (type_, name)
                tried += 1
    assert tried > 30_000


def _taken(type_: str, name: str, value: str, lookup: Lookup) -> bool:
    try:
        return bool(parse(type_, [(name, value)], lookup).query.filters)
    except UnknownParameter:
        return False


async def test_every_modifier_listed_is_answered(site: Site) -> None:
    """By one parameter for each kind and set of modifiers."""
    _, types = await declared(site)
    system: Json = {"resourceType": "CodeSystem", "id": "cs", "url": "http://x", "status": "active"}
    await site.keep(system | {"content": "complete", "concept": [{"code": "y"}]})
    kinds = {
        (one["type"], one["documentation"]): (type_, one["name"])
        for type_, resource in types.items()
        for one in resource["searchParam"]
        if "documentation" in one
    }
    given: dict[str, list[tuple[str, str]]] = {}
    for (kind, said), (type_, name) in kinds.items():
        target = next(iter(site.parts.lookup(type_)[name].targets), "")
        for word in said.replace(":", "").split():
            code = kind == "token" and word in ("below", "above")
            value = "http://x|y" if code else "false" if said == ":missing :not" else MODIFIERS[word]
            pair = f"{name}:{target if word == '[type]' else word}", "true" if word == "missing" else value
            given.setdefault(type_, []).append(pair)
    assert len(kinds) > 8
    async with site.as_("admin") as http:
        assert await left_out(http, given) == []


async def test_every_parameter_names_its_definition(site: Site) -> None:
    rest, types = await declared(site)
    del types["AuditEvent"]  # its parameters are answered from the log
    defined = {
        type_: {one["name"]: one["definition"] for one in found["searchParam"]} for type_, found in types.items()
    }
    r4 = "http://hl7.org/fhir/SearchParameter/"
    observation = defined["Observation"]
    assert observation["interpretation"] == "urn:alliance-gateway:searchparameter:Observation-interpretation"
    assert (observation["code"], observation["_id"]) == (f"{r4}clinical-code", f"{r4}Resource-id")
    assert (defined["Patient"]["name"], observation["value-date"]) == (
        f"{r4}Patient-name",
        f"{r4}Observation-value-date",
    )
    common = {one["name"]: one.get("definition") for one in rest["searchParam"]}
    assert common["_lastUpdated"] == f"{r4}Resource-lastUpdated"


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
        ways = {"_include": "searchInclude", "_include:iterate": "searchInclude", "_revinclude": "searchRevInclude"}
        given = {
            type_: [(name, one) for name, element in ways.items() for one in resource.get(element, ())]
            for type_, resource in types.items()
        }
        assert sum(map(len, given.values())) > 5_000
        assert await left_out(http, given) == []
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
    asked = [(type_, code) for type_ in types for code in READS]
    async with site.as_("admin") as http:
        answers = await answered(http, [READS[code].format(type_) for type_, code in asked])
    for (type_, code), answer in zip(asked, answers, strict=True):
        offered = {one["code"] for one in types[type_]["interaction"]}
        status = answer.status_code
        assert (status in (200, 404)) if code in offered else (status == 405), (type_, code, status)


async def test_every_writing_interaction_is_answered_where_declared_and_nowhere_else(site: Site) -> None:
    _, types = await declared(site)
    addition = [{"op": "add", "path": "/language", "value": "zh"}]
    # An empty resource lacks what most types require; refused for its content it was understood.
    ways = {
        "create": lambda type_: site.post(type_, {"resourceType": type_, "id": "none"}),
        "update": lambda type_: site.put(f"{type_}/none", {"resourceType": type_, "id": "none"}),
        "patch": lambda type_: site.patch(f"{type_}/absent", addition),
        "delete": lambda type_: site.delete(f"{type_}/none"),
    }  # fmt: skip
    for code, way in ways.items():
        answers = await beside([way(type_) for type_ in types])
        for (type_, resource), answer in zip(types.items(), answers, strict=True):
            offered = {one["code"] for one in resource["interaction"]}
            assert (answer.status_code != 405) == (code in offered), (type_, code, answer.status_code)


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
    assert {"everything", "lastn", "meta", "meta-add", "meta-delete", "recognition", "alerts", "validate"} == set(codes)
    async with site.as_("admin") as http:
        for name in codes:
            places = {"instance": "{}/none/$" + name, "type": "{}/$" + name + "?patient=x" * (name == "lastn")}
            for level, place in places.items():
                answers = await beside([_asked(http, place.format(type_), name) for type_ in types])
                for type_, answer in zip(types, answers, strict=True):
                    offered = level in known[type_].get(name, ())
                    assert (answer.status_code != 405) == offered, (type_, name, level, answer.status_code)
        system = operations("", rest)
        assert system == {"meta": {"system"}}
        for name in (*codes, "expand", "export"):
            assert ((await _asked(http, f"${name}", name)).status_code == 200) == (name in system), name


async def _asked(http: httpx.AsyncClient, path: str, name: str) -> httpx.Response:
    if name.startswith("meta-"):
        return await http.post(f"/fhir/{path}", json={"resourceType": "Parameters"})
    return await http.get(f"/fhir/{path}")


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
