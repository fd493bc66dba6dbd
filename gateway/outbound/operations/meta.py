"""`$meta` of one resource, a type or the whole system; `$meta-add`, `$meta-delete` of one resource.

Of a type or the system it tells which profiles, tags and labels are in use among what the caller may see. Nothing is
kept for that: the newest resource with a label is looked for, then the newest with none of those found, until there is
none. Source: FHIR R4 resource-operations.html §2.37.3–2.37.5, operation-resource-meta.html.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from ...errors import NotSupported, TooCostly
from ...model.query import Filter, Kind, Query, literal
from ...model.resource import Json, dumps, loads
from ...model.rest import Answer, Call, Seen, etag
from ...store.base import Resource
from ..fhir_answers import current
from ..fhir_parts import FhirParts, On, Operation
from ..fhir_query import pairs, shape_of

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/Resource-"
_LABELS: tuple[tuple[str, Kind], ...] = (("profile", "uri"), ("security", "token"), ("tag", "token"))
_STEP = 50
_MOST = 1000
"""Labels of one kind and type that are listed."""


async def meta(parts: FhirParts, call: Call, on: On) -> Answer:
    """Profiles, tags and labels: of the current version, or all that are in use."""
    shape_of(pairs(call.query), frozenset(), parts.rules(call))
    if on.level != "instance":
        return await _in_use(parts, call, on)
    resource = current(await parts.store.read(on.type, on.id, call.who), on.place)
    patient = resource.patient
    seen = Seen("R", "operation", (patient,) if patient else (), (on.place,), f"{on.place}/$meta")
    return Answer(200, _returned(loads(resource.body)["meta"]), (("etag", etag(resource.version)),), seen=seen)


def _returned(found: Json) -> bytes:
    """Without labels there is nothing to return: R4 knows no empty Meta."""
    said = {"parameter": [{"name": "return", "valueMeta": found}]} if found else {}
    return dumps({"resourceType": "Parameters"} | said)


async def _in_use(parts: FhirParts, call: Call, on: On) -> Answer:
    known = (on.type,) if on.type else sorted(parts.types - {"AuditEvent"})
    found: dict[str, dict[str, Json | str]] = {}
    for type_ in known:
        if call.who.may_read(type_):
            for member, kind in _LABELS:
                found.setdefault(member, {}).update(await _labels(parts, call, type_, member, kind))
    said = {member: [labels[one] for one in sorted(labels)] for member, labels in found.items() if labels}
    return Answer(200, _returned(said), seen=Seen("R", "operation", (), (), f"{on.place}/$meta".lstrip("/")))


async def _labels(parts: FhirParts, call: Call, type_: str, member: str, kind: Kind) -> dict[str, Json | str]:
    """By the search value that finds them."""
    code = f"_{member}"
    carries = (Filter(code, kind, ("false",), "missing"),)
    query = Query(type_, carries, count=_STEP, retired=True)
    found: dict[str, Json | str] = {}
    while len(found) <= _MOST:
        page = await parts.store.search(query, call.who)
        fresh = {name: one for name, one in _named(page.matches, member).items() if name not in found}
        if not fresh and not page.next:
            return found
        found |= fresh
        known = tuple(name for name in found if not name.endswith("|"))  # a system alone would mean all of its codes
        without = (*carries, Filter(code, kind, known, "not")) if known else carries
        query = replace(query, filters=without, cursor="") if fresh else replace(query, cursor=page.next)
    raise TooCostly(f"{type_}/$meta", f"more than {_MOST} of {code}")


def _named(resources: Sequence[Resource], member: str) -> dict[str, Json | str]:
    labels = [one for resource in reversed(resources) for one in loads(resource.body)["meta"].get(member, ())]
    return {_name(one): one for one in labels}


def _name(label: Json | str) -> str:
    if isinstance(label, str):
        return literal(label)
    return f"{literal(label.get('system', ''))}|{literal(label.get('code', ''))}"


async def _change(parts: FhirParts, call: Call, on: On) -> Answer:
    if parts.write is None or call.method != "POST":
        raise NotSupported(f"{on.place}/{on.operation}", "POST to a gateway that takes writes", detail_zh="须用 POST。")
    return await parts.write(call, on)


META = (
    Operation(
        "$meta",
        "",
        meta,
        f"{_CANONICAL}meta",
        frozenset(),
        "当前版本的，或全部在用的 profile、标签与安全标签。",
        ("instance", "type", "system"),
    ),
    Operation("$meta-add", "", _change, f"{_CANONICAL}meta-add", frozenset(), "增加 profile、标签或安全标签。"),
    Operation("$meta-delete", "", _change, f"{_CANONICAL}meta-delete", frozenset(), "去掉 profile、标签或安全标签。"),
)
"""On every type."""
