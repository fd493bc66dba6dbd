"""The part of FHIRPath that R4 search parameters are written in, parsed into paths over the structs.

Covered: dotted paths, unions, `as T`, `as(T)`, `ofType(T)`, `where(a='b')`, `where(resolve() is T)`,
`extension('url')`, `[n]`. A choice without `as` becomes one path a type. Anything else raises Beyond.
Source: FHIRPath N1; FHIR R4 search.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .definitions import PRIMITIVES, Element, elements, resource_types

_CAST = re.compile(r"\(\s*([\w.]+)\s+as\s+(\w+)\s*\)|([\w.]+)\.(?:as|ofType)\((\w+)\)|([\w.]+)\s+as\s+(\w+)\Z")
_STEP = re.compile(r"\.?(?:(where|extension)\(((?:'[^']*'|[^()']|\([^()]*\))*)\)|\[(\d+)\]|(\w+))")
_EQUALS = re.compile(r"(\w+)\s*=\s*'([^']*)'")
_RESOLVES = re.compile(r"resolve\(\)\s+is\s+(\w+)")


class Beyond(Exception):
    """The expression needs more FHIRPath than this."""


@dataclass(frozen=True, slots=True)
class Step:
    """One element of a path. equals: (attr, text) a value must have. target: type a reference must name."""

    attr: str
    many: bool
    equals: tuple[str, str] = ("", "")
    target: str = ""
    index: int = -1


@dataclass(frozen=True, slots=True)
class Route:
    """Steps from a resource to values of one type."""

    steps: tuple[Step, ...]
    type: str

    @property
    def owner(self) -> str:
        """The element before the last: `name` in `Patient.name.family`."""
        return self.steps[-2].attr if len(self.steps) > 1 else ""


def routes(resource_type: str, expression: str) -> tuple[Route, ...]:
    """Routes of an expression for one resource type; parts about other types are left out. Raises Beyond."""
    found: list[Route] = []
    for part in _parts(expression):
        cast = ""
        match = _CAST.search(part)
        if match:
            inner = match[1] or match[3] or match[5]
            cast = match[2] or match[4] or match[6]
            part = part[: match.start()] + inner + "\0" + part[match.end() :]
        head = re.match(r"\w+", part)
        if head is None:
            raise Beyond(part)
        if head[0] == resource_type or head[0] in ("Resource", "DomainResource"):
            found += _follow(resource_type, part[head.end() :], cast)
        elif head[0] not in resource_types():
            found += _follow(resource_type, "." + part, cast)
    return tuple(dict.fromkeys(found))


def _parts(expression: str) -> list[str]:
    if " and " in expression or "hasExtension" in expression:
        raise Beyond(expression)
    return [p.strip() for p in expression.split("|")]


def _follow(resource_type: str, text: str, cast: str) -> list[Route]:
    ways = [Route((), resource_type)]
    while text:
        if text[0] == "\0":
            ways = [w for w in ways if w.type == cast]
            text, cast = text[1:], ""
            continue
        match = _STEP.match(text)
        if match is None:
            raise Beyond(text)
        is_cast = text[match.end() : match.end() + 1] == "\0"
        ways = [w for way in ways for w in _advance(way, match, cast if is_cast else "")]
        text = text[match.end() :]
    if not ways:
        raise Beyond("nothing there")
    return ways


def _advance(way: Route, match: re.Match[str], cast: str) -> list[Route]:
    if match[1] == "where":
        return [_filtered(way, match[2])]
    if match[1] == "extension":
        step = Step("extension", True, equals=("url", match[2].strip("'")))
        values = [e for e in elements("Extension") if e.choice == "value"]
        return [Route((*way.steps, step, Step(e.attr, False)), e.type) for e in values]
    if match[3]:
        return [replace(way, steps=(*way.steps[:-1], replace(way.steps[-1], index=int(match[3]))))]
    return [Route((*way.steps, Step(e.attr, e.many)), e.type) for e in _named(way.type, match[4], cast)]


def _filtered(way: Route, text: str) -> Route:
    last = way.steps[-1]
    equals, resolves = _EQUALS.fullmatch(text.strip()), _RESOLVES.fullmatch(text.strip())
    if equals:
        return replace(way, steps=(*way.steps[:-1], replace(last, equals=(equals[1], equals[2]))))
    if resolves:
        return replace(way, steps=(*way.steps[:-1], replace(last, target=resolves[1])))
    raise Beyond(text)


def _named(type_: str, name: str, cast: str) -> list[Element]:
    if type_ in PRIMITIVES:
        raise Beyond(f"{type_}.{name}")
    if type_ == "Resource":
        raise Beyond(name)
    found = [e for e in elements(type_) if e.name == name or e.choice == name]
    if cast:
        found = [e for e in found if e.type == cast]
    if not found:
        raise Beyond(f"{type_}.{name} {cast}".strip())
    return found
