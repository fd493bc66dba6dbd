"""Routes compiled to straight-line Python over the structs: each element is read and tested once.

The source of a generated function comes from the R4 tables alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..validate.fhirpath import Route, Step
from .index_values import Gathered

Reader = Callable[[Any, Gathered], None]
Planted = tuple[Route, Callable[[Gathered, Any], None] | None, int]
"""Where, what takes the value there (None: nobody), and the bit that says a value is there (0 = none)."""


@dataclass(slots=True)
class _Node:
    """One element on the way: what to call there, and what lies below."""

    bits: int = 0
    calls: list[str] = field(default_factory=list)
    below: dict[Step, _Node] = field(default_factory=dict)


def reader(planted: Iterable[Planted]) -> Reader:
    """A function that goes through a struct and hands each route's values to what was planted there."""
    space: dict[str, Any] = {"names": _names_type}
    root = _Node()
    for number, (route, call, bit) in enumerate(planted):
        node = _leaf(root, route)
        node.bits |= bit
        if call is not None:
            space[f"c{number}"] = call
            node.calls.append(f"c{number}(g, {{v}})")
    source = "def extract(r, g):\n" + "\n".join(_lines(root, "r", 1) or ["    pass"]) + "\n"
    exec(compile(source, "<extract>", "exec"), space)
    made: Reader = space["extract"]
    return made


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
    if node.bits:
        lines.append("    " * at + f"g.present |= {node.bits}")
    lines += ["    " * at + call.format(v=item) for call in node.calls]
    return lines + _lines(node, item, at)


def _names_type(reference: Any, type_: str) -> bool:
    text = reference.reference
    if text is None:
        return bool(reference.type == type_)
    return bool(text.startswith(type_ + "/"))
