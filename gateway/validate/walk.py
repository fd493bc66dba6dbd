"""Straight-line checks of decoded structs, one generated function a type; True means clean.

A type is visited only when it, or something below it, has a rule. Bodies without extensions and without `_x`
siblings take the lean set of functions, which skips both. A failed check says nothing about where: the caller
then runs the collecting walk. The code is generated from the R4 tables, never from input.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from .definitions import Element, elements
from .invariants import INVARIANTS, is_base64
from .shapes import PATTERNS, REMEMBERED
from .terminology import concept_bound, pairs

Walker = Callable[[Any], bool]
_URI = re.compile(PATTERNS["uri"])
_CODE = re.compile(PATTERNS["code"])
_REMEMBERED = 20_000
_seen: set[tuple[str | None, str | None]] = set()


def _fresh(node: Any) -> bool:
    """True when system and code are well formed; remembers the pair."""
    system, code = node.system, node.code
    if (system is not None and not _URI.search(system)) or (code is not None and not _CODE.search(code)):
        return False
    if len(_seen) >= _REMEMBERED:
        _seen.clear()
    _seen.add((system, code))
    return True


def _space() -> dict[str, Any]:
    return {"bound": concept_bound, "seen": _seen, "fresh": _fresh, "is_base64": is_base64, "other": reference_fits}


def walker(path: str, lean: bool) -> Walker:
    """The check of a type and everything below it."""
    space = _spaces[lean]
    name = _name(path)
    if name not in space:
        _compile(path, lean)
    found: Walker = space[name]
    return found


def _name(path: str) -> str:
    return "w_" + path.replace(".", "_")


def _compile(path: str, lean: bool) -> None:
    space = _spaces[lean]
    todo = [path]
    while todo:
        at = todo.pop()
        if _name(at) in space:
            continue
        source, needed = _source(at, lean, space)
        exec(compile(source, f"<check {at}>", "exec"), space)
        todo += needed


@cache
def _matters(path: str, lean: bool) -> bool:
    """True when the type or anything it reaches has a rule."""
    return any(_own_rules(at, lean) for at in _reachable(path, lean))


@cache
def _reachable(path: str, lean: bool) -> frozenset[str]:
    found: set[str] = set()
    todo = [path]
    while todo:
        at = todo.pop()
        if at not in found:
            found.add(at)
            todo += [e.type for e in _children(at, lean)]
    return frozenset(found)


def _children(path: str, lean: bool) -> list[Element]:
    skip = {"Extension"} if lean else set()
    return [e for e in elements(path) if not e.primitive and e.type != "Resource" and e.type not in skip]


@cache
def _own_rules(path: str, lean: bool) -> bool:
    return len(_rule_lines(path, lean, {})) > 0 or any(_value_lines(path, e, {}) for e in elements(path))


def _rule_lines(path: str, lean: bool, space: dict[str, Any]) -> list[str]:
    lines = _choice_lines(path, lean)
    if path in REMEMBERED:
        lines.append("if (n.system, n.code) not in seen and not fresh(n): return False")
    for e in elements(path):
        lines += _element_lines(path, e, lean)
    for number, rule in enumerate(INVARIANTS.get(path, ())):
        key = f"{_name(path)}_r{number}"
        space[key] = rule.test
        lines.append(f"if not {key}(n): return False")
    return lines


def _choice_lines(path: str, lean: bool) -> list[str]:
    groups: dict[str, list[Element]] = {}
    for e in elements(path):
        if e.choice:
            groups.setdefault(e.choice, []).append(e)
    lines = []
    for members in groups.values():
        least = members[0].least
        if len(members) == 1 and not least:
            continue
        present = " + ".join(_present(e, lean) for e in members)
        lines.append(f"if not {least} <= {present} <= 1: return False")
    return lines


def _present(e: Element, lean: bool) -> str:
    if e.primitive and not lean:
        return f"(n.{e.attr} is not None or n.{e.sibling} is not None)"
    return f"(n.{e.attr} is not None)"


def _element_lines(path: str, e: Element, lean: bool) -> list[str]:
    lines = []
    if e.primitive and e.least and not e.choice:
        sibling = "" if lean or _without_sibling(path, e) else f" and n.{e.sibling} is None"
        lines.append(f"if n.{e.attr} is None{sibling}: return False")
    if e.type == "base64Binary":
        lines.append(f"if n.{e.attr} is not None and not is_base64(n.{e.attr}): return False")
    if e.primitive and e.many:
        lines.append(f"if n.{e.attr} is not None and None in n.{e.attr}: return False")
    return lines


def _without_sibling(path: str, e: Element) -> bool:
    return e.name == "id" or (path, e.name) == ("Extension", "url")


def _value_lines(path: str, e: Element, space: dict[str, Any]) -> list[str]:
    """What holds for each value `v` of an element: reference target or required binding."""
    key = f"{_name(path)}_{e.attr}_x"
    if e.targets:
        # `#contained`, urn: and absolute addresses have no plain head; the collecting walk judges them
        space[key] = e.targets
        head = "v.reference.partition('/')[0]"
        return [f"if (v.reference is None or {head} not in {key}) and not other(v, {key}): return False"]
    if e.binding and not e.primitive and pairs(e.binding):
        space[key] = pairs(e.binding)
        return [f"if not bound(v, {key}): return False"]
    return []


def _child_lines(type_: str, lean: bool) -> list[str]:
    """The check of a value `v` of a type; the three commonest are written out, a call costs as much as they do."""
    if lean and type_ == "CodeableConcept":
        seen = "if (c.system, c.code) not in seen and not fresh(c): return False"
        return ["for c in v.coding or ():", "    " + seen]
    if lean and type_ == "Coding":
        return ["if (v.system, v.code) not in seen and not fresh(v): return False"]
    if lean and type_ == "Reference":
        return ["if v.identifier is not None and not w_Identifier(v.identifier): return False"]
    return [f"if not {_name(type_)}(v): return False"]


def reference_fits(reference: Any, targets: frozenset[str]) -> bool:
    """True unless the reference names, by its text or its `type`, an R4 type that is not allowed here."""
    found = target_type(reference.reference or "") or reference.type or ""
    return not found or found in targets


def target_type(text: str) -> str:
    """Resource type a literal reference points at; "" when the text does not tell (urn:, #, other systems)."""
    if text.startswith(("#", "urn:")):
        return ""
    head = text.split("?")[0].split("/_history/")[0]
    parts = head.split("/")
    if "?" in text and len(parts) == 1:
        return parts[0]
    return parts[-2] if len(parts) == 2 or ("://" in head and len(parts) > 4 and parts[-2] in _types()) else ""


@cache
def _types() -> frozenset[str]:
    from .definitions import resource_types

    return resource_types()


def _source(path: str, lean: bool, space: dict[str, Any]) -> tuple[str, list[str]]:
    lines = _rule_lines(path, lean, space)
    needed = ["Identifier"] if lean else ["Element"]
    visited = {e.name for e in _children(path, lean) if _matters(e.type, lean)}
    for e in elements(path):
        inner = _value_lines(path, e, space)
        if e.name in visited:
            needed.append(e.type)
            inner += _child_lines(e.type, lean)
        lines += _for_each(e, inner)
        if not lean and e.primitive and not _without_sibling(path, e):
            lines += _sibling_lines(e)
    body = "".join(f"    {line}\n" for line in lines)
    return f"def {_name(path)}(n):\n{body}    return True\n", needed


def _for_each(e: Element, inner: list[str]) -> list[str]:
    if not inner:
        return []
    if e.many:
        return [f"if n.{e.attr} is not None:", f"    for v in n.{e.attr}:", *("        " + line for line in inner)]
    return [f"v = n.{e.attr}", "if v is not None:", *("    " + line for line in inner)]


def _sibling_lines(e: Element) -> list[str]:
    if e.many:
        return [f"if n.{e.sibling} is not None: return False"]
    return [f"if n.{e.sibling} is not None and not w_Element(n.{e.sibling}): return False"]


_spaces: dict[bool, dict[str, Any]] = {True: _space(), False: _space()}
