"""The search parameters of a type: code, kind, targets, and where the values lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from ..errors import ConfigError
from ..model.query import Kind
from ..validate.definitions import SearchRow, codes, element, resource_types, search_rows
from ..validate.fhirpath import Beyond, Route, Step, routes
from .base import param_number
from .index_own import OwnParameter, own

UNSUPPORTED: dict[tuple[str, str], str] = {
    ("Resource", "_filter"): "no filter language",
    ("Resource", "_query"): "no named queries",
    ("Patient", "age"): "the standard gives no expression",
    ("Patient", "birthOrderBoolean"): "the standard gives no expression",
    ("QuestionnaireResponse", "item-subject"): "hasExtension",
    ("Bundle", "composition"): "a resource inside, not a reference",
    ("Bundle", "message"): "a resource inside, not a reference",
    ("Location", "near"): "distance",
    ("Patient", "part-agree"): "an example, about another type",
    ("MolecularSequence", "chromosome-variant-coordinate"): "parts that lie in different elements",
    ("MolecularSequence", "referenceseqid-variant-coordinate"): "parts that lie in different elements",
}
"""Parameters of R4 that are not offered, by base."""

_META = {
    "_id": "token",
    "_lastUpdated": "date",
    "_tag": "token",
    "_profile": "uri",
    "_security": "token",
    "_source": "uri",
    "_text": "string",
    "_content": "string",
}
_MISPRINTED = {
    ("DocumentReference", "relatesto", "code"): "relation",
    ("DocumentReference", "relation", "target"): "relatesto",
}
"""Parts of R4's composites whose parameter is another's: (type, code, expression) → the code meant."""
_MEDIA = frozenset(
    {
        ("CapabilityStatement", "format"),
        ("DocumentReference", "contenttype"),
        ("Library", "content-type"),
        ("Subscription", "payload"),
    }
)
FULL_TEXT = frozenset({"_text", "_content"})
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
_CODED = frozenset(["CodeableConcept", "Coding", "code"])
_WORDED = frozenset(["CodeableConcept", "Coding", "Identifier"])
_CANONICAL = frozenset(["canonical", "uri"])
_MODIFIERS: dict[str, frozenset[str]] = {
    "token": frozenset({"missing", "not"}),
    "string": frozenset({"missing", "exact", "contains"}),
    "uri": frozenset({"missing", "below", "above"}),
    "date": frozenset({"missing"}),
    "number": frozenset({"missing"}),
    "quantity": frozenset({"missing"}),
    "reference": frozenset({"missing"}),
}
"""What every parameter of a kind takes; tokens and references take more, as their values allow."""


META: dict[str, tuple[Step, Step]] = {
    "_tag": (Step("meta", False), Step("tag", True)),
    "_security": (Step("meta", False), Step("security", True)),
    "_profile": (Step("meta", False), Step("profile", True)),
    "_source": (Step("meta", False), Step("source", False)),
}
"""Where the values of these lie in the JSON of a resource."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a composite: type and code of the parameter it is compared as, where its values lie below `base`."""

    owner: str
    code: str
    base: Route
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class SearchParam:
    """One parameter of one resource type.

    prefix: `Observation|code`, the first two parts of every hash. number: `param_number(code)`.
    routes: where the values lie; () for those answered from the row itself (`_id`, `_lastUpdated`) or from meta.
    systems: code systems of a bound `code` element, which `system|code` may name although it is not written.
    groups: of a composite, for each place an instance of it may lie, its parts.
    definition: canonical of its SearchParameter. own: it is none of R4's.
    """

    type: str
    code: str
    kind: Kind
    targets: tuple[str, ...]
    routes: tuple[Route, ...]
    systems: frozenset[str] = frozenset()
    groups: tuple[tuple[Part, ...], ...] = ()
    definition: str = ""
    own: bool = False

    @property
    def prefix(self) -> str:
        """First parts of this parameter's hashes."""
        return f"{self.type}|{self.code}"

    @property
    def number(self) -> int:
        """Its number in Keys."""
        return param_number(self.code)

    @property
    def modifiers(self) -> frozenset[str]:
        """What may stand behind its name; of a reference also the types it may name. Source: search.html#modifiers."""
        if self.code in FULL_TEXT:
            return frozenset()
        if self.code == "_id":
            return frozenset({"missing"})
        types = {r.type for r in self.routes} or ({"Coding"} if self.code in ("_tag", "_security") else set())
        found = _MODIFIERS.get(self.kind, frozenset())
        if self.kind == "token":
            more = {
                "text": _WORDED,
                "of-type": {"Identifier"},
                **dict.fromkeys(("in", "not-in", "below", "above"), _CODED),
            }
            found |= {name for name, wanted in more.items() if not types.isdisjoint(wanted)}
        if self.kind == "reference":
            more = {"identifier": {"Reference"}, "below": _CANONICAL}
            found |= {name for name, wanted in more.items() if not types.isdisjoint(wanted)}.union(self.targets)
        return found

    @property
    def media(self) -> bool:
        """True for media types."""
        return (self.type, self.code) in _MEDIA

    @property
    def plain(self) -> bool:
        """True when the values carry no system of their own (`code`, `boolean`, …)."""
        return bool(self.routes) and all(r.type in _PLAIN for r in self.routes)


@lru_cache(256)  # of any name a client takes for a type
def params(resource_type: str) -> Mapping[str, SearchParam]:
    """Every parameter that can be asked of a type, by code; UNSUPPORTED are left out."""
    found = {code: _meta_param(resource_type, code) for code in _META}
    for row in search_rows():
        if row.kind == "special" or (row.code in found and row.code.startswith("_")):
            continue
        if resource_type in row.bases and (resource_type, row.code) not in UNSUPPORTED:
            made = _composite(resource_type, row) if row.kind == "composite" else _param(resource_type, row)
            old = found.get(row.code)
            found[row.code] = made if old is None else _joined(old, made)
    for one in own():
        if resource_type in one.row.bases:
            found[one.row.code] = own_param(resource_type, one)
    return found


def own_param(resource_type: str, one: OwnParameter) -> SearchParam:
    """A parameter beyond R4, of one of its bases. Raises ConfigError naming the file."""
    try:
        return replace(_param(resource_type, one.row), own=True)
    except Beyond as error:
        place = f"{one.path}: expression"
        raise ConfigError(place, f"cannot be indexed: {error}", detail_zh=f"无法索引：{error}") from error


@cache
def presence(resource_type: str) -> Mapping[str, int]:
    """Which bit of `Keys.present` says that a resource has a value for a parameter.

    Own parameters come last: R4's keep their bits, whatever is added or taken away.
    """
    added = {one.row.code for one in own() if resource_type in one.row.bases}
    known = [code for code, one in params(resource_type).items() if one.routes or code in META]
    asked = sorted(known, key=lambda code: (code in added, code))
    return {code: 1 << place for place, code in enumerate(asked)}


def _composite(type_: str, row: SearchRow) -> SearchParam:
    groups = tuple(tuple(_parts(type_, base, row.parts)) for base in routes(type_, row.expression))
    return SearchParam(type_, row.code, "composite", (), (), groups=groups, definition=row.url)


def _parts(type_: str, base: Route, parts: tuple[tuple[str, str], ...]) -> Iterator[Part]:
    for code, expression in parts:
        code = _MISPRINTED.get((type_, code, expression), code)
        # the published table writes `DateTime` for the type `dateTime`
        ways = routes(base.type, expression.replace("DateTime", "dateTime"))
        kind = next(row.kind for row in search_rows() if row.code == code and type_ in row.bases)
        yield Part(type_, code, base, tuple(way for way in ways if way.type in _TYPES_OF[kind]))


def _meta_param(resource_type: str, code: str) -> SearchParam:
    return SearchParam(resource_type, code, _META[code], (), (), definition=_meta_urls()[code])  # type: ignore[arg-type]


@cache
def _meta_urls() -> Mapping[str, str]:
    """R4's own definitions, not its example of one."""
    return {row.code: row.url for row in search_rows() if row.url.endswith(f"Resource-{row.code.lstrip('_')}")}


def _param(type_: str, row: SearchRow) -> SearchParam:
    code, kind, expression = row.code, row.kind, row.expression
    if (type_, code) == ("Patient", "deceased"):
        # exists() and != false: the boolean itself, or a dateTime, which says true
        expression = "(Patient.deceased as boolean) | (Patient.deceased as dateTime)"
    ways = tuple(w for w in routes(type_, expression) if _fits(type_, code, kind, w))
    if not ways:
        raise Beyond(f"{type_}.{code}: {expression}")
    systems = _systems(type_, ways)
    return SearchParam(type_, code, kind, row.targets, ways, systems, definition=row.url)  # type: ignore[arg-type]


def _fits(type_: str, code: str, kind: str, way: Route) -> bool:
    return way.type in _TYPES_OF[kind] or (type_, code) == ("Patient", "deceased")


def _joined(a: SearchParam, b: SearchParam) -> SearchParam:
    ways = tuple(dict.fromkeys(a.routes + b.routes))
    targets = tuple(sorted({*a.targets, *b.targets}))
    return replace(a, targets=targets, routes=ways, systems=a.systems | b.systems, groups=a.groups + b.groups)


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
