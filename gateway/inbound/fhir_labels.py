"""$meta-add and $meta-delete: profiles, tags and security labels of one resource, its content untouched.

The only way a security label goes (design-store §6). Source: FHIR R4 resource-operation-meta-add.html.
"""

from __future__ import annotations

import msgspec

from ..errors import BadParameter, UnsupportedMedia
from ..model.json_fault import JSON_FAULTS, unparseable
from ..model.resource import Json, dumps, loads
from ..model.rest import FHIR_JSON, Call, is_json
from ..model.subject import subject_of
from ..store.base import Put, Resource
from ..store.bodies import prepare

_KINDS = ("profile", "tag", "security")


class _Parameter(msgspec.Struct):
    name: str = ""
    valueMeta: Json = {}


class _Parameters(msgspec.Struct):
    resourceType: str = ""
    parameter: list[_Parameter] = []


_parameters = msgspec.json.Decoder(_Parameters)


def relabelled(old: Resource, call: Call, operation: str) -> Put:
    """The resource's next version, with what `Parameters.parameter[name=meta]` names added or taken away.

    Raises UnsupportedMedia, Unparseable, BadParameter, Invalid.
    """
    given = _given(call)
    whole = loads(old.body)
    meta = {key: value for key, value in whole.pop("meta", {}).items() if key not in ("versionId", "lastUpdated")}
    change = _with if operation == "$meta-add" else _without
    for kind in _KINDS:
        if kind in given:
            meta[kind] = change(meta.get(kind, []), given[kind])
    meta = {key: value for key, value in meta.items() if value}
    whole = {"resourceType": old.type, **({"meta": meta} if meta else {}), **whole}
    patient = subject_of(old.type, old.id, old.body)
    return prepare(
        old.type, old.id, dumps(whole), patient=patient, src=old.src, member=old.member, expect=old.version
    )  # fmt: skip


def _given(call: Call) -> Json:
    if not is_json(call.header("content-type") or FHIR_JSON):
        raise UnsupportedMedia("Content-Type")
    try:
        found = _parameters.decode(call.body)
    except JSON_FAULTS as fault:
        raise unparseable(call.body, fault) from None
    meta = next((one.valueMeta for one in found.parameter if one.name == "meta"), {})
    if found.resourceType != "Parameters" or not any(isinstance(meta.get(kind), list) for kind in _KINDS):
        raise BadParameter("Parameters.parameter", "meta with profile, tag or security", detail_zh="须有 meta。")
    return {kind: meta[kind] for kind in _KINDS if isinstance(meta.get(kind), list)}


def _key(label: object) -> object:
    """A Coding is known by system and code, a profile by its address."""
    return (label.get("system"), label.get("code")) if isinstance(label, dict) else label


def _with(held: list[object], given: list[object]) -> list[object]:
    known = {_key(one) for one in held}
    return [*held, *(one for one in given if _key(one) not in known)]


def _without(held: list[object], given: list[object]) -> list[object]:
    gone = {_key(one) for one in given}
    return [one for one in held if _key(one) not in gone]
