"""msgspec structs of the R4 types, made the first time a resource type is met (D19).

Attributes bear the FHIR name; Python keywords get a trailing `_` (`class_`), the `_status` of a primitive is
`status__`. A field that was not sent is None. Resources inside resources stay `msgspec.Raw` until
`structure.py` decodes them by their own type.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from types import GenericAlias
from typing import Annotated, Any, ForwardRef, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from .definitions import Element, elements, resource_types
from .terminology import plain_codes

_YEAR = r"(?!0000)\d{4}"
_LEAP = r"(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_DAY = (
    rf"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    rf"|02-(?:0[1-9]|1\d|2[0-8]))|{_LEAP}-02-29)"
)
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
_ZONE = r"(?:Z|[+-](?:0\d|1[0-3]):[0-5]\d|[+-]14:00)"
_URI = r"\A[^ \t\n\r]+\Z"

PATTERNS = {
    "code": r"\A[^ \t\n\r]+(?:[ \t\n\r][^ \t\n\r]+)*\Z",
    "id": r"\A[A-Za-z0-9.-]{1,64}\Z",
    "uri": _URI,
    "url": _URI,
    "canonical": _URI,
    "oid": r"\Aurn:oid:[0-2](?:\.(?:0|[1-9]\d*))+\Z",
    "uuid": r"\Aurn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z",
    "date": rf"\A(?:{_DAY}|{_YEAR}(?:-(?:0[1-9]|1[0-2]))?)\Z",
    "dateTime": rf"\A(?:{_DAY}(?:T{_TIME}{_ZONE})?|{_YEAR}(?:-(?:0[1-9]|1[0-2]))?)\Z",
    "instant": rf"\A{_DAY}T{_TIME}{_ZONE}\Z",
    "time": rf"\A{_TIME}\Z",
}
"""What the text of a primitive must look like; days that do not exist do not match. Source: FHIR R4 datatypes.

White space is that of XML Schema, whose regular expressions R4 uses: blank, tab, line feed, carriage return.
"""

_OUTWARD = (
    r"[A-Z][A-Za-z]+(?:/[A-Za-z0-9.-]{1,64}(?:/_history/[A-Za-z0-9.-]{1,64})?(?:#\S+)?|\?\S+)"
    r"|(?:https?|urn|ftp|mailto|ldap|fhir):\S+"
)
REFERENCE = rf"\A(?:{_OUTWARD}|#\S*)\Z"
"""`Type/id`, `Type?criteria` (in a transaction), `#contained`, or an absolute address that no browser executes."""

_FAST_REFERENCE = rf"\A(?:{_OUTWARD})\Z"  # `#…` always takes the collecting walk, which knows what is contained
REMEMBERED = frozenset({"Coding", "Quantity", "Age", "Count", "Distance", "Duration"})
"""Types whose system and code are checked once per value and then remembered (`walk.py`): the same few recur."""

_MAX_STRING = 1024 * 1024
_INTEGERS = {"integer": -(2**31), "unsignedInt": 0, "positiveInt": 1}
_building: set[str] = set()


def python_name(path: str) -> str:
    """Name of a struct in this module: `R4_Observation_component`."""
    return "R4_" + path.replace(".", "_")


def struct(path: str) -> type[Struct]:
    """The struct of a type or backbone path; made with everything it needs at the first call."""
    found: type[Struct] | None = globals().get(python_name(path))
    return found or _define(path)


def _define(path: str) -> type[Struct]:
    _building.add(path)
    fields: list[Any] = []
    for element in elements(path):
        fields += _fields(path, element)
    is_resource = path in resource_types()
    made = msgspec.defstruct(
        python_name(path),
        fields,
        module=__name__,
        rename=_renamed,
        kw_only=True,
        forbid_unknown_fields=True,
        omit_defaults=True,
        gc=False,
        tag_field="resourceType" if is_resource else None,
        tag=path if is_resource else None,
    )
    globals()[python_name(path)] = made
    _building.discard(path)
    return made


def _renamed(attr: str) -> str:
    if attr.endswith("__"):
        return "_" + attr[:-2]
    return attr.removesuffix("_")


def _fields(path: str, element: Element) -> list[tuple[Any, ...]]:
    plain = _annotation(path, element)
    nullable = element.many and element.primitive
    kind = _list_of(plain | None if nullable else plain) if element.many else plain
    if element.least and not element.choice and not element.primitive:
        return [(element.attr, kind)]
    fields = [(element.attr, kind, None)]
    if element.primitive and element.name != "id" and (path, element.name) != ("Extension", "url"):
        sibling: Any = _complex("Element")
        fields.append((element.sibling, _list_of(_element_or_none(sibling)) if element.many else sibling, None))
    return fields


def _list_of(item: Any) -> Any:
    return Annotated[GenericAlias(list, (item,)), Meta(min_length=1)]


def _element_or_none(kind: Any) -> Any:
    # a ForwardRef cannot be joined with `|`; Element itself is still being built only inside Extension
    return kind | None if isinstance(kind, type) else ForwardRef("R4_Element | None", is_class=True)


def _annotation(path: str, element: Element) -> Any:
    if not element.primitive:
        return Raw if element.type == "Resource" else _complex(element.type)
    if (path, element.name) == ("Reference", "reference"):
        return Annotated[str, Meta(pattern=_FAST_REFERENCE)]
    if element.type == "code" and (allowed := plain_codes(element.binding)):
        return Literal[allowed]
    if path in REMEMBERED and element.name in ("system", "code"):
        return _primitive("string")
    return _primitive(element.type)


def _complex(path: str) -> Any:
    return ForwardRef(python_name(path), is_class=True) if path in _building else struct(path)


@cache
def _primitive(kind: str) -> Any:
    if kind == "boolean":
        return bool
    if kind == "decimal":
        return Decimal
    if kind in _INTEGERS:
        return Annotated[int, Meta(ge=_INTEGERS[kind], le=2**31 - 1)]
    if kind in PATTERNS:
        return Annotated[str, Meta(pattern=PATTERNS[kind])]
    return Annotated[str, Meta(min_length=1, max_length=_MAX_STRING if kind in ("string", "markdown") else None)]
