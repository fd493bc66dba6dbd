"""The members as FHIR: an Organization each, and an Endpoint for each PACS, written once at the start."""

from __future__ import annotations

from ..model.context import SYSTEM
from ..model.directory import Directory, Member, Source
from ..model.ids import Ids
from ..model.resource import Json, dumps, loads
from ..store.base import Plan, Put, Store
from ..store.bodies import prepare

_LEVELS = {"tertiary": "三级", "secondary": "二级", "primary": "基层"}
_MEMBER = "urn:alliance-gateway:member"


async def introduce(store: Store, directory: Directory, ids: Ids) -> None:
    """Put every member's Organization and Endpoint, where the store does not hold them as they are."""
    wanted = [(_organization(member, ids), member.key) for member in directory.members.values()]
    wanted += [
        (endpoint(source, directory, ids), source.member)
        for source in directory.sources.values()
        if source.settings.get("address") and source.member in directory.members
    ]
    stored = await store.read_many([(one["resourceType"], one["id"]) for one, _ in wanted], SYSTEM)
    known = {(one.type, one.id): _bare(loads(one.body)) for one in stored}
    fresh = [_put(one, member) for one, member in wanted if known.get((one["resourceType"], one["id"])) != one]
    if fresh:
        await store.commit(Plan(puts=tuple(fresh)))


def _bare(resource: Json) -> Json:
    return {key: value for key, value in resource.items() if key != "meta"}


def _put(resource: Json, member: str) -> Put:
    return prepare(resource["resourceType"], resource["id"], dumps(resource), member=member)


def _organization(member: Member, ids: Ids) -> Json:
    return {
        "resourceType": "Organization",
        "id": ids.of("Organization", member.key),
        "identifier": [{"system": _MEMBER, "value": member.key}],
        "active": True,
        "type": [{"text": _LEVELS[member.level]}],
        "name": member.name,
        "alias": [member.short or member.name],
    }


def endpoint(source: Source, directory: Directory, ids: Ids) -> Json:
    """The Endpoint of a PACS: where the pixels are (D15)."""
    member = directory.members[source.member]
    return {
        "resourceType": "Endpoint",
        "id": ids.of("Endpoint", source.member, source.name),
        "status": "active",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "dicom-wado-rs",
        },
        "name": f"{member.name} 影像",
        "managingOrganization": {
            "reference": f"Organization/{ids.of('Organization', member.key)}",
            "display": member.name,
        },
        "payloadType": [{"text": "DICOM"}],
        "payloadMimeType": ["application/dicom"],
        "address": source.settings["address"],
    }
