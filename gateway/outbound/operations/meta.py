"""`$meta`, `$meta-add`, `$meta-delete` of one resource. Source: FHIR R4 resource-operations.html §2.37.3–2.37.5."""

from __future__ import annotations

from ...errors import NotSupported
from ...model.resource import dumps, loads
from ...model.rest import Answer, Call, Seen, etag
from ..fhir_answers import current
from ..fhir_parts import FhirParts, On, Operation
from ..fhir_query import pairs, shape_of

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/Resource-"


async def meta(parts: FhirParts, call: Call, on: On) -> Answer:
    """Profiles, tags and labels of the current version."""
    shape_of(pairs(call.query), frozenset(), parts.rules(call))
    resource = current(await parts.store.read(on.type, on.id, call.who), on.place)
    patient = resource.patient
    found = loads(resource.body)["meta"]
    body = dumps({"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": found}]})
    seen = Seen("R", "operation", (patient,) if patient else (), (on.place,), f"{on.place}/$meta")
    return Answer(200, body, (("etag", etag(resource.version)),), seen=seen)


async def _change(parts: FhirParts, call: Call, on: On) -> Answer:
    if parts.write is None or call.method != "POST":
        raise NotSupported(f"{on.place}/{on.operation}", "POST to a gateway that takes writes", detail_zh="须用 POST。")
    return await parts.write(call, on)


META = (
    Operation("$meta", "", meta, f"{_CANONICAL}meta", frozenset(), "资源当前版本的 profile、标签与安全标签。"),
    Operation("$meta-add", "", _change, f"{_CANONICAL}meta-add", frozenset(), "增加 profile、标签或安全标签。"),
    Operation("$meta-delete", "", _change, f"{_CANONICAL}meta-delete", frozenset(), "去掉 profile、标签或安全标签。"),
)
"""On every type."""
