"""read and vread. Source: FHIR R4 http.html §3.1.0.1–3.1.0.9."""

from __future__ import annotations

import base64
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from ..errors import NotFound
from ..model.resource import dumps
from ..model.rest import Answer, Call, Seen, accepts_json, etag
from ..store.base import Resource
from .fhir_answers import current, held, not_modified, resource_answer, subset
from .fhir_parts import FhirParts, On, Original
from .fhir_query import Shape, pairs, shape_of

_PLAIN = Shape()
_answers: WeakKeyDictionary[Resource, Answer] = WeakKeyDictionary()
"""The answer to a plain read of a version, kept as long as the store remembers the version."""


async def read(parts: FhirParts, call: Call, on: On) -> Answer:
    """The current version. 404 for absent and forbidden alike, 410 when deleted, 304 when the client has it."""
    found = await parts.store.read(on.type, on.id, call.who)
    if found is None and on.type == "Binary" and parts.originals is not None:
        return await _original(parts, call, on)
    resource = current(found, on.place)
    answer = _answers.get(resource)
    if answer is None:
        answer = _answers[resource] = resource_answer(resource, "read", on.place)
    return _as_asked(parts, call, resource, answer)


async def vread(parts: FhirParts, call: Call, on: On) -> Answer:
    """One version; it never changes, so its validators hold for good."""
    place = f"{on.place}/_history/{on.version}"
    resource = current(await parts.store.vread(on.type, on.id, on.version, call.who), place)
    return _as_asked(parts, call, resource, resource_answer(resource, "vread", place))


def _as_asked(parts: FhirParts, call: Call, resource: Resource, answer: Answer) -> Answer:
    shape = shape_of(pairs(call.query), rules=parts.rules(call)) if call.query else _PLAIN
    if held(resource, call):
        return not_modified(answer)
    if not shape.elements and shape.summary not in ("text", "data"):
        return answer
    return replace(answer, body=subset(resource.type, resource.body, elements=shape.elements, summary=shape.summary))


async def _original(parts: FhirParts, call: Call, on: On) -> Answer:
    """The kept original itself, or wrapped as Binary for a client that asks for FHIR JSON."""
    assert parts.originals is not None
    found = await parts.originals(on.id, call.who)
    if found is None:
        raise NotFound(on.place)
    seen = Seen("R", "read", found.patients, (on.place,))
    accept = call.header("accept")
    if "json" in accept and accepts_json(accept):
        return Answer(200, _binary(on.id, found), (("etag", etag(1)),), seen=seen)
    return Answer(200, found.body, _as_download(on.id), media=found.media, seen=seen)


def _binary(id_: str, found: Original) -> bytes:
    data = base64.b64encode(found.body).decode()
    return dumps({"resourceType": "Binary", "id": id_, "contentType": found.media, "data": data})


def _as_download(id_: str) -> tuple[tuple[str, str], ...]:
    # A document of somebody else's must not run in our origin: saved, never shown, and without rights if shown.
    return (
        ("etag", etag(1)),
        ("content-disposition", f'attachment; filename="{id_}"'),
        ("content-security-policy", "sandbox; default-src 'none'"),
    )
