"""`/fhir/metadata`: the CapabilityStatement, made from what is really mounted. Open to everybody.

Source: FHIR R4 capabilitystatement.html.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from ..errors import NotAcceptable
from ..model.resource import Json, dumps
from ..model.rest import PATCH_FORMATS, Answer, accepts_json, etag_versions
from ..model.times import instant_text
from .fhir_audit import PARAMETERS as AUDIT_PARAMETERS
from .fhir_conditions import Parameter
from .fhir_parts import FhirParts, Level

_MAX_BASES = 16
_READ = ("read", "vread", "history-instance", "history-type", "search-type")
_WRITE = ("create", "update", "patch", "delete")
_GRAMMAR = (
    "链式参数（patient.name，最多 3 级）、_has 与 :iterate 均可用；各参数可用的修饰符列在其 documentation 中；"
    "_sort、_count、_total、_summary、_elements、_include、_revinclude 适用于除 AuditEvent 之外的各类型；"
    "跨类型查询须给 _type。"
)
"""What R4 gives no element for."""


def answer(parts: FhirParts, base: str, headers: Mapping[str, str], format_: str = "") -> Answer:
    """The statement with a strong ETag, or 304. Made once for each address the gateway is reached under."""
    if not accepts_json(headers.get("accept", ""), format_):
        raise NotAcceptable("_format" if format_ else "Accept")
    if base not in parts.caches:
        if len(parts.caches) >= _MAX_BASES:
            parts.caches.clear()
        body = dumps(statement(parts, base))
        parts.caches[base] = (hashlib.sha256(body).hexdigest()[:32], body)
    tag, body = parts.caches[base]
    own = (("etag", f'"{tag}"'), ("cache-control", "public, max-age=60"))
    held = etag_versions(headers.get("if-none-match", "")) if "if-none-match" in headers else ()
    if tag in held or "*" in held:
        return Answer(304, b"", own)
    return Answer(200, body, own)


def statement(parts: FhirParts, base: str) -> Json:
    """CapabilityStatement of kind instance."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant_text(parts.clock()),
        "kind": "instance",
        "software": {"name": "alliance-gateway", "version": parts.version},
        "implementation": {"description": "医联体网关 FHIR R4 接口", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json", "application/fhir+json"],
        "patchFormat": list(PATCH_FORMATS),
        "rest": [_rest(parts)],
    }


def _rest(parts: FhirParts) -> Json:
    reverse = _pointing_at(parts)
    rest: Json = {
        "mode": "server",
        "documentation": _GRAMMAR,
        "security": {
            "cors": bool(parts.cors.origins),
            "description": "Authorization: Bearer <token>，令牌由网关管理员发放。",
        },
        "resource": [_resource(parts, type_, reverse.get(type_, [])) for type_ in sorted(parts.types)],
    }
    writes = ("transaction", "batch") if parts.write is not None else ()
    rest["interaction"] = [{"code": code} for code in (*writes, "history-system", "search-system")]
    rest["operation"] = _operations(parts, "", "system")
    rest["searchParam"] = [{"name": "_type", "type": "token"}, *_common(parts)]
    rest["compartment"] = [f"http://hl7.org/fhir/CompartmentDefinition/{name}" for name in ("patient", "encounter")]
    return rest


def _common(parts: FhirParts) -> list[Json]:
    """What can be asked of every type alike, and so across types."""
    known = parts.lookup("Basic")
    return [
        {"name": code, "type": known[code].kind, "definition": known[code].definition}
        for code in sorted(known)
        if code.startswith("_")
    ]


def _resource(parts: FhirParts, type_: str, reverse: list[str]) -> Json:
    if type_ == "AuditEvent":
        return _entry(type_, ("read", "search-type"), AUDIT_PARAMETERS) | {"versioning": "no-version"}
    writes = _WRITE if parts.write is not None else ()
    found = _entry(type_, _READ + writes, parts.lookup(type_))
    found |= {"versioning": "versioned-update" if writes else "versioned", "readHistory": True}
    if writes:
        found |= {"updateCreate": True, "conditionalCreate": True, "conditionalRead": "full-support"}
        found |= {"conditionalUpdate": True, "conditionalDelete": "multiple" if parts.many_deletes else "single"}
    references = [key for key, one in parts.lookup(type_).items() if one.kind == "reference"]
    found |= _unless_empty("searchInclude", ["*", *(f"{type_}:{key}" for key in sorted(references))])
    found |= _unless_empty("searchRevInclude", ["*", *reverse] if reverse else [])
    return found | _unless_empty("operation", _operations(parts, type_, "instance", "type"))


def _entry(type_: str, interactions: tuple[str, ...], parameters: Mapping[str, Parameter]) -> Json:
    return {
        "type": type_,
        "interaction": [{"code": code} for code in interactions],
        "searchParam": [_parameter(key, parameters[key]) for key in sorted(parameters)],
    }


def _parameter(code: str, one: Parameter) -> Json:
    found: Json = {"name": code, "type": one.kind}
    words = " ".join(f":{word}" for word in sorted(one.modifiers - frozenset(one.targets)))
    said = words + (" :[type]" if not one.modifiers.isdisjoint(one.targets) else "")
    return (
        found | ({"definition": one.definition} if one.definition else {}) | ({"documentation": said} if said else {})
    )


def _pointing_at(parts: FhirParts) -> dict[str, list[str]]:
    """`Type:parameter` of every reference parameter, by the types it may point to."""
    found: dict[str, list[str]] = {}
    for type_ in sorted(parts.types):
        for key, one in sorted(parts.lookup(type_).items()):
            for target in one.targets if one.kind == "reference" else ():
                found.setdefault(target, []).append(f"{type_}:{key}")
    return found


_ADDRESSES = {"instance": "{type}/{id}/", "type": "{type}/", "system": "/"}


def _operations(parts: FhirParts, type_: str, *levels: Level) -> list[Json]:
    """The operations asked at these levels, each with the addresses it answers at."""
    found = []
    for one in parts.operations:
        at = [_ADDRESSES[level].replace("{type}", type_) + one.code for level in levels if level in one.levels]
        if at and one.type in (type_, "") and (parts.write is not None or not one.code.startswith("$meta-")):
            said = f"{'、'.join(at)}：{one.documentation}"
            found.append({"name": one.code.lstrip("$"), "definition": one.definition, "documentation": said})
    return found


def _unless_empty(name: str, values: list[str] | list[Json]) -> Json:
    return {name: values} if values else {}
