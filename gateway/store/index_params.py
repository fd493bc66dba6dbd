"""The search parameters of a type: code, kind, targets, and where the values lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ..model.query import Kind
from ..validate.definitions import codes, element, resource_types, search_rows
from ..validate.fhirpath import Beyond, Route, routes
from .base import param_number

UNSUPPORTED: dict[tuple[str, str], str] = {
    ("Resource", "_content"): "full text has its own postings",
    ("DomainResource", "_text"): "full text has its own postings",
    ("Resource", "_filter"): "no filter language",
    ("Resource", "_query"): "no named queries",
    ("Patient", "age"): "the standard gives no expression",
    ("Patient", "birthOrderBoolean"): "the standard gives no expression",
    ("QuestionnaireResponse", "item-subject"): "hasExtension",
    ("Bundle", "composition"): "a resource inside, not a reference",
    ("Bundle", "message"): "a resource inside, not a reference",
    ("Location", "near"): "distance",
    ("Patient", "part-agree"): "an example, about another type",
}
"""Parameters of R4 that are not offered, by base; composites are left out as a kind."""

_META = {
    "_id": "token",
    "_lastUpdated": "date",
    "_tag": "token",
    "_profile": "uri",
    "_security": "token",
    "_source": "uri",
}
_TYPES_OF: dict[str, frozenset[str]] = {
    "token": frozenset(
        [
            "CodeableConcept",
            "Coding",
            "Identifier",
            "ContactPoint",
            "code",
            "string",
            "id",
            "uri",
            "boolean",
            "url",
            "uuid",
            "oid",
        ]
    ),
    "string": frozenset(["string", "markdown", "HumanName", "Address"]),
    "reference": frozenset(["Reference", "canonical", "uri"]),
    "date": frozenset(["date", "dateTime", "instant", "Period", "Timing"]),
    "quantity": frozenset(["Quantity", "Age", "Duration", "Count", "Distance", "Money", "Range"]),
    "number": frozenset(["decimal", "integer", "positiveInt", "unsignedInt", "Range"]),
    "uri": frozenset(["uri", "url", "canonical", "oid", "uuid"]),
}
_PLAIN = frozenset(["code", "id", "boolean", "string", "uri", "url", "uuid", "oid"])


@dataclass(frozen=True, slots=True)
class SearchParam:
    """One parameter of one resource type.

    prefix: `Observation|code`, the first two parts of every hash. number: `param_number(code)`.
    routes: where the values lie; () for those answered from the row itself (`_id`, `_lastUpdated`) or from meta.
    systems: code systems of a bound `code` element, which `system|code` may name although it is not written.
    """

    type: str
    code: str
    kind: Kind
    targets: tuple[str, ...]
    routes: tuple[Route, ...]
    systems: frozenset[str] = frozenset()

    @property
    def prefix(self) -> str:
        """First parts of this parameter's hashes."""
        return f"{self.type}|{self.code}"

    @property
    def number(self) -> int:
        """Its number in Keys."""
        return param_number(self.code)

    @property
    def plain(self) -> bool:
        """True when the values carry no system of their own (`code`, `boolean`, …)."""
        return bool(self.routes) and all(r.type in _PLAIN for r in self.routes)


@cache
def params(resource_type: str) -> Mapping[str, SearchParam]:
    """Every parameter that can be asked of a type, by code; composites and UNSUPPORTED are left out."""
    found = {code: _meta_param(resource_type, code) for code in _META}
    for code, bases, kind, expression, targets in search_rows():
        if kind in ("composite", "special") or (code in found and code.startswith("_")):
            continue
        if resource_type in bases and (resource_type, code) not in UNSUPPORTED:
            made = _param(resource_type, code, kind, expression, targets)
            old = found.get(code)
            found[code] = made if old is None else _joined(old, made)
    return found


def _meta_param(resource_type: str, code: str) -> SearchParam:
    return SearchParam(resource_type, code, _META[code], (), ())  # type: ignore[arg-type]


def _param(type_: str, code: str, kind: str, expression: str, targets: tuple[str, ...]) -> SearchParam:
    if (type_, code) == ("Patient", "deceased"):
        # exists() and != false: the boolean itself, or a dateTime, which says true
        expression = "(Patient.deceased as boolean) | (Patient.deceased as dateTime)"
    ways = tuple(w for w in routes(type_, expression) if _fits(type_, code, kind, w))
    if not ways:
        raise Beyond(f"{type_}.{code}: {expression}")
    return SearchParam(type_, code, kind, targets, ways, _systems(type_, ways))  # type: ignore[arg-type]


def _fits(type_: str, code: str, kind: str, way: Route) -> bool:
    return way.type in _TYPES_OF[kind] or (type_, code) == ("Patient", "deceased")


def _joined(a: SearchParam, b: SearchParam) -> SearchParam:
    ways = tuple(dict.fromkeys(a.routes + b.routes))
    return SearchParam(a.type, a.code, a.kind, tuple(sorted({*a.targets, *b.targets})), ways, a.systems | b.systems)


def _systems(type_: str, ways: tuple[Route, ...]) -> frozenset[str]:
    found: set[str] = set()
    for way in ways:
        at = type_
        binding = ""
        for step in way.steps:
            e = next((e for e in (element(at, step.attr), element(at, step.attr.rstrip("_"))) if e is not None), None)
            if e is None:
                break
            at, binding = e.type, e.binding
        if way.type == "code":
            found.update(codes(binding))
    return frozenset(found)


def check_types() -> dict[tuple[str, str], str]:
    """Parameters whose expression is beyond us and which UNSUPPORTED does not name; {} is as it should be."""
    missing: dict[tuple[str, str], str] = {}
    for type_ in sorted(resource_types()):
        try:
            params(type_)
        except Beyond as error:
            missing[(type_, str(error))] = "beyond"
    return missing
