"""Search keys of a resource: R4's search parameters compiled to straight-line Python over the structs.

`extract` gives everything a row can be found by. The generated function of a type tests each element once and calls
the emitters of `index_values.py`; its source comes from the R4 tables alone. The query side is `index_query.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from msgspec import Struct

from ..validate.definitions import compartment
from ..validate.fhirpath import Route, Step
from .base import Keys, hash64
from .index_params import UNSUPPORTED, SearchParam, params
from .index_query import ORDERED, CompiledFilter, compile_filter, sort_key
from .index_values import Gathered, Target, code_tokens, emitter, target_of

__all__ = [
    "ORDERED",
    "UNSUPPORTED",
    "CompiledFilter",
    "SearchParam",
    "compile_filter",
    "extract",
    "meta_tokens",
    "params",
    "sort_key",
]

_COMPARTMENTS = ("Patient", "Encounter")


def extract(resource_type: str, resource: Struct, resource_id: str, meta: Mapping[str, Any] | None = None) -> Keys:
    """Keys of one version.

    resource: what `validate.structure.decode` gave. meta: the meta members the row will carry (source, tag, profile,
    security) as JSON; the struct's own meta is taken when it is None. Tokens come without repetition, in no order.
    """
    gathered = Gathered()
    _extractor(resource_type)(resource, gathered)
    tokens = set(gathered.tokens)
    tokens.add(hash64(resource_type, "_id", resource_id))
    if resource_type in _COMPARTMENTS:
        tokens.add(hash64("compartment", resource_type, resource_id))
    tokens.update(meta_tokens(resource_type, _own_meta(resource) if meta is None else meta))
    return Keys(
        tuple(tokens), tuple(gathered.refs), tuple(gathered.dates), tuple(gathered.numbers), tuple(gathered.texts)
    )


def meta_tokens(resource_type: str, meta: Mapping[str, Any]) -> list[int]:
    """Tokens of `_source`, `_profile`, `_tag` and `_security`."""
    if not meta:
        return []
    found = []
    if meta.get("source"):
        found.append(hash64(resource_type, "_source", meta["source"]))
    found += [hash64(resource_type, "_profile", url) for url in meta.get("profile") or ()]
    for name in ("tag", "security"):
        for coding in meta.get(name) or ():
            found += code_tokens(f"{resource_type}|_{name}", coding.get("system"), coding.get("code"))
    return found


def _own_meta(resource: Any) -> dict[str, Any]:
    meta = resource.meta
    if meta is None:
        return {}
    return {
        "source": meta.source,
        "profile": meta.profile,
        "tag": _codings(meta.tag),
        "security": _codings(meta.security),
    }


def _codings(found: Any) -> list[dict[str, Any]]:
    return [{"system": c.system, "code": c.code} for c in found or ()]


# ---- compiling ----------------------------------------------------------------------------------
@dataclass(slots=True)
class _Node:
    """One element on the way: what to call there, and what lies below."""

    calls: list[str] = field(default_factory=list)
    below: dict[Step, _Node] = field(default_factory=dict)


@cache
def _extractor(resource_type: str) -> Callable[[Any, Gathered], None]:
    space: dict[str, Any] = {"names": _names_type, "inside": _inside}
    root = _Node()
    for param in params(resource_type).values():
        for route in param.routes:
            _plant(root, param, route, space)
    for name in _COMPARTMENTS:
        for route in _ways_into(resource_type, name):
            _leaf(root, route).calls.append(f"inside(g, {name!r}, {{v}})")
    lines = _lines(root, "r", 1)
    source = "def extract(r, g):\n" + "\n".join(lines or ["    pass"]) + "\n"
    exec(compile(source, f"<extract {resource_type}>", "exec"), space)
    made: Callable[[Any, Gathered], None] = space["extract"]
    return made


def _ways_into(resource_type: str, name: str) -> list[Route]:
    known = params(resource_type)
    codes = compartment(name).get(resource_type, ())
    ways = [route for code in codes if code in known for route in known[code].routes if route.type == "Reference"]
    # the filter `resolve() is Patient` is what `inside` tests; without it `subject` and `patient` are one way
    return list(dict.fromkeys(Route(tuple(_unfiltered(s) for s in way.steps), way.type) for way in ways))


def _unfiltered(step: Step) -> Step:
    return Step(step.attr, step.many, step.equals)


def _plant(root: _Node, param: SearchParam, route: Route, space: dict[str, Any]) -> None:
    number = len(space)
    owner = route.steps[-2].attr if len(route.steps) > 1 else ""
    space[f"e{number}"] = emitter(param, route.type, owner)
    space[f"t{number}"] = Target(param)
    _leaf(root, route).calls.append(f"e{number}(g, t{number}, {{v}})")


def _leaf(root: _Node, route: Route) -> _Node:
    node = root
    for step in route.steps:
        node = node.below.setdefault(step, _Node())
    return node


def _lines(node: _Node, variable: str, depth: int) -> list[str]:
    """Steps of one attribute share its reading and its loop; filters make branches."""
    groups: dict[tuple[str, bool], list[tuple[Step, _Node]]] = {}
    for step, below in node.below.items():
        groups.setdefault((step.attr, step.many), []).append((step, below))
    lines: list[str] = []
    for (attr, many), members in groups.items():
        value = f"v{depth}"
        pad = "    " * depth
        lines += [f"{pad}{value} = {variable}.{attr}", f"{pad}if {value} is not None:"]
        inner = depth + 1
        item = value
        if many:
            item = f"i{depth}"
            lines.append(f"{pad}    for {item} in {value}:")
            inner += 1
        for step, below in members:
            lines += _branch(step, below, item, value, inner)
    return lines


def _branch(step: Step, node: _Node, item: str, whole: str, depth: int) -> list[str]:
    tests = [f"{item} is not None"] if step.many else []
    if step.equals[0]:
        tests.append(f"{item}.{step.equals[0]} == {step.equals[1]!r}")
    if step.target:
        tests.append(f"names({item}, {step.target!r})")
    if step.index >= 0:
        tests.append(f"{item} is {whole}[{step.index}]")
    pad = "    " * depth
    lines = [f"{pad}if {' and '.join(tests)}:"] if tests else []
    at = depth + bool(tests)
    lines += ["    " * at + call.format(v=item) for call in node.calls]
    return lines + _lines(node, item, at)


def _names_type(reference: Any, type_: str) -> bool:
    text = reference.reference
    if text is None:
        return bool(reference.type == type_)
    return bool(text.startswith(type_ + "/"))


def _inside(g: Gathered, name: str, reference: Any) -> None:
    text = reference.reference
    if text is not None and text.startswith(name + "/"):
        g.tokens.append(hash64("compartment", name, target_of(text)[1]))
