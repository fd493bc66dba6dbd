"""The R4 definitions as Python sees them: elements of a type, closed code lists, search rows.

Read once from the generated tables beside this module, at first use. Source: FHIR R4 (4.0.1).
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

_TABLES = Path(__file__).parent / "tables"
_SEARCH = "http://hl7.org/fhir/SearchParameter/"
_ONE_TYPE = re.compile(r"(Reference)\((.*)\)")

PRIMITIVES = frozenset(
    [
        "base64Binary",
        "boolean",
        "canonical",
        "code",
        "date",
        "dateTime",
        "decimal",
        "id",
        "instant",
        "integer",
        "markdown",
        "oid",
        "positiveInt",
        "string",
        "time",
        "unsignedInt",
        "uri",
        "url",
        "uuid",
        "xhtml",
    ]
)


@dataclass(frozen=True, slots=True)
class Element:
    """One JSON property of a type. A choice `value[x]` gives one Element per allowed type.

    attr: attribute of the struct (`class_` for `class`). type: primitive, data type, backbone path or `Resource`.
    choice: `value` for `valueQuantity`, "" when it is no choice. least: 1 when the element (or choice) is required.
    """

    name: str
    attr: str
    type: str
    many: bool
    least: int
    choice: str
    targets: frozenset[str]
    binding: str

    @property
    def primitive(self) -> bool:
        """True for types without children in JSON."""
        return self.type in PRIMITIVES

    @property
    def sibling(self) -> str:
        """Attribute of the `_name` property that carries a primitive's id and extensions."""
        return f"{self.name}__"


@cache
def _table(name: str) -> Any:
    return msgspec.json.decode((_TABLES / f"{name}.json").read_bytes())


@cache
def resource_types() -> frozenset[str]:
    """The 148 concrete R4 resource types."""
    return frozenset(_table("elements")["resources"])


@cache
def elements(path: str) -> tuple[Element, ...]:
    """Elements of a type (`HumanName`) or backbone (`Observation.component`), in the order of R4."""
    return tuple(element for row in _table("elements")["types"][path] for element in _expanded(row))


def _expanded(row: list[Any]) -> list[Element]:
    name, least, many, types, binding = row
    stem = name.removesuffix("[x]")
    choice = stem if name.endswith("[x]") else ""
    return [_element(stem, choice, t, bool(many), least, binding) for t in types]


def _element(stem: str, choice: str, type_: str, many: bool, least: int, binding: str) -> Element:
    found = _ONE_TYPE.fullmatch(type_)
    plain, targets = (found[1], frozenset(found[2].split("|"))) if found else (type_, frozenset[str]())
    name = stem + plain[0].upper() + plain[1:] if choice else stem
    attr = name + "_" if keyword.iskeyword(name) else name
    return Element(name, attr, plain, many, least, choice, targets, binding)


@cache
def element(path: str, name: str) -> Element | None:
    """One element by its JSON name; None when the type has none of that name."""
    return next((e for e in elements(path) if e.name == name), None)


@cache
def codes(value_set: str) -> dict[str, frozenset[str]]:
    """Codes by system of a closed required value set; {} when the set is open or unknown."""
    return {system: frozenset(found) for system, found in _table("codes").get(value_set, {}).items()}


class SearchRow(NamedTuple):
    """One R4 search parameter. expression: FHIRPath. parts: (code, FHIRPath) of each part of a composite.

    url: canonical of its definition.
    """

    code: str
    bases: tuple[str, ...]
    kind: str
    expression: str
    targets: tuple[str, ...]
    parts: tuple[tuple[str, str], ...]
    url: str


@cache
def search_rows() -> tuple[SearchRow, ...]:
    """Every R4 search parameter."""
    return tuple(
        SearchRow(code, tuple(bases), kind, expression, tuple(targets), tuple((c, e) for c, e in parts), _SEARCH + url)
        for code, bases, kind, expression, targets, parts, url in _table("search")["parameters"]
    )


@cache
def summary(path: str) -> frozenset[str]:
    """Elements of a type or backbone that `_summary=true` keeps, named as in the definition (`value[x]`)."""
    return frozenset(_table("summary").get(path, ()))


@cache
def compartment(name: str) -> dict[str, tuple[str, ...]]:
    """Parameters that put a resource of a type into the compartment `Patient` or `Encounter`."""
    return {kind: tuple(found) for kind, found in _table("compartments")[name].items()}
