"""Bodies of FHIR writes: what they say of themselves, whom they are about, and the Puts they become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec

from ..errors import BadParameter, UnsupportedMedia
from ..identity.workspace import Resolution
from ..model.context import AccessContext
from ..model.json_fault import JSON_FAULTS, unparseable
from ..model.resource import Json, loads
from ..model.rest import FHIR_JSON, Call, is_json
from ..model.subject import subject_of
from ..store.base import Put, Resource
from ..store.bodies import prepare
from .bounds import bounded


class Head(msgspec.Struct):
    """What a body says it is."""

    resourceType: str = ""
    id: str = ""


_heads = msgspec.json.Decoder(Head)


def head_of(body: bytes) -> Head:
    """Type and id of a body. Raises Unparseable."""
    try:
        return _heads.decode(body)
    except JSON_FAULTS as fault:
        raise unparseable(body, fault) from None


def plain(body: bytes) -> Json:
    """A body as dict. Raises Unparseable."""
    try:
        return loads(body)
    except JSON_FAULTS as fault:
        raise unparseable(body, fault) from None


def checked(call: Call, type_: str) -> Head:
    """What the body of a call says it is. Raises UnsupportedMedia, TooLarge, Unparseable, BadParameter."""
    if not is_json(call.header("content-type") or FHIR_JSON):
        raise UnsupportedMedia("Content-Type")
    bounded(call.body, type_)
    head = head_of(call.body)
    said(type_, head.resourceType)
    return head


def said(type_: str, found: str) -> None:
    """Raises BadParameter for a resource of another type than its address says."""
    if found != type_:
        raise BadParameter("resourceType", f"must be {type_}", detail_zh=f"须为 {type_}。")


def put_of(who: AccessContext, type_: str, id_: str, body: bytes, *, src: int, expect: int | None, meta: Json) -> Put:
    """A body as its writer's own. Raises Invalid, Unparseable, ActiveNarrative."""
    patient = subject_of(type_, id_, body)
    return prepare(type_, id_, body, patient=patient, src=src, member=who.member, meta=meta, expect=expect)


def with_meta(resolution: Resolution, patient: str, meta: Json) -> Resolution:
    """The new Patient with the profile, tags and labels its client gave it."""
    found = tuple(
        replace(one, meta=meta | one.meta) if (one.type, one.id) == ("Patient", patient) else one
        for one in resolution.resources
    )
    return replace(resolution, resources=found)


def kept_labels(old: Resource, body: Callable[[], bytes]) -> Json:
    """Security labels survive an update that omits them (design-store §6)."""
    if b'"security"' not in old.body:
        return {}
    before = loads(old.body).get("meta", {}).get("security", [])
    now = plain(body()).get("meta", {}).get("security", [])
    return {"security": [*now, *(one for one in before if one not in now)]} if before else {}
