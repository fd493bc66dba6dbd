"""FHIRPath Patch: a Parameters resource whose operations name their places by FHIRPath, on a plain resource.

add, insert, delete, replace and move. Of FHIRPath the part that names places is understood: member names (a choice by
its plain name), `[n]`, `first()`, `last()`, `single()`, `where(a = 'b' and …)`, `ofType(T)` and `extension('url')`.
What lies beside a primitive (`_birthDate`) goes where the primitive goes.
Source: FHIR R4 fhirpatch.html; http.html §3.1.0.9.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from ..errors import PatchFailed, Unparseable
from ..model.json_fault import JSON_FAULTS
from ..model.resource import Json, loads
from ..validate.definitions import PRIMITIVES, Element, elements

MAX_OPERATIONS = 1_000
_NEEDED = {
    "add": ("path", "name", "value"), "insert": ("path", "value", "index"), "delete": ("path",),
    "replace": ("path", "value"), "move": ("path", "source", "destination"),
}  # fmt: skip
_STEP = re.compile(
    r"\.?(?:(?P<call>where|ofType|extension|first|last|single)\((?P<inside>(?:'(?:[^'\\]|\\.)*'|[^()'])*)\)"
    r"|\[(?P<index>\d{1,6})\]|(?P<name>[A-Za-z_]\w*))\s*"
)
_TERM = re.compile(r"\s*(?P<path>[A-Za-z_][\w.]*)\s*=\s*(?P<text>'(?:[^'\\]|\\.)*'|[\w.+-]+)\s*")


def patched_by_path(document: Json, body: bytes) -> Json:
    """The resource after every operation, in order; `document` itself is not changed.

    Raises Unparseable for what is no FHIRPath Patch, PatchFailed with the operation that does not fit.
    """
    document = deepcopy(document)
    for number, operation in enumerate(_operations(body)):
        try:
            _apply(document, operation)
        except PatchFailed as fault:
            raise fault.within(f"operation[{number}]") from None
    return document


# ---- operations -------------------------------------------------------------------------------
def _operations(body: bytes) -> list[dict[str, Json]]:
    """The parts of each operation by name."""
    try:
        sent: Any = loads(body)
        found = [_parts(one) for one in sent["parameter"]]
    except (*JSON_FAULTS, TypeError, KeyError):
        raise Unparseable("Parameters") from None
    if sent.get("resourceType") != "Parameters" or not 0 < len(found) <= MAX_OPERATIONS:
        detail = f"Parameters with 1 to {MAX_OPERATIONS} operations"
        raise Unparseable("Parameters", detail, detail_zh=f"须为含 1 至 {MAX_OPERATIONS} 个 operation 的 Parameters。")
    for number, one in enumerate(found):
        needed = _NEEDED.get(str(_simple(one.get("type"))))
        if needed is None or not all(name in one for name in needed):
            raise Unparseable(f"operation[{number}]", "not an operation of FHIRPath Patch", detail_zh="不是补丁操作。")
    return found


def _parts(parameter: Json) -> dict[str, Json]:
    return {str(one["name"]): one for one in parameter["part"]} if parameter["name"] == "operation" else {}


def _simple(part: Json | None) -> Any:
    """The value[x] of a part, None for none."""
    return next((value for key, value in (part or {}).items() if key.startswith("value")), None)


def _number(operation: dict[str, Json], name: str) -> int:
    value = _simple(operation[name])
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise PatchFailed(name, "a whole number from 0", detail_zh="应为不小于 0 的整数。")
    return value


def _apply(document: Json, operation: dict[str, Json]) -> None:
    kind, path = str(_simple(operation["type"])), str(_simple(operation["path"]))
    match kind:
        case "add":
            _add(_one(resolve(document, path)), str(_simple(operation["name"])), operation["value"])
        case "insert":
            _insert(_list(document, path), _number(operation, "index"), operation["value"])
        case "delete":
            found = resolve(document, path)
            if found:  # what is not there is gone already
                _delete(_one(found))
        case "replace":
            _replace(_one(resolve(document, path)), operation["value"])
        case "move":
            held = _list(document, path)
            _move(held, _number(operation, "source"), _number(operation, "destination"))


def _add(node: Node, name: str, given: Json) -> None:
    if not isinstance(node.value, dict):
        raise _misfit("path", "it has no members", "它没有成员。")
    key, element = _target(node.type, name, given)
    value = _value(given, element.type)
    if element.many:
        _insert_into(node.value, key, len(node.value.get(key, ())), value)
    elif _held(node.value, element):
        raise _misfit("name", f"{name} is there already", "该成员已存在。")
    else:
        node.value[key] = value


def _insert(held: Held, index: int, given: Json) -> None:
    if index > len(held.holder.get(held.key, ())):
        raise _misfit("index", "beyond the end of the list", "超出列表末尾。")
    _insert_into(held.holder, held.key, index, _value(given, held.element.type))


def _insert_into(holder: Json, key: str, index: int, value: Any) -> None:
    holder.setdefault(key, []).insert(index, value)
    if (beside := holder.get(f"_{key}")) is not None:
        beside.insert(index, None)


def _delete(node: Node) -> None:
    if node.holder is None:
        raise _misfit("path", "the resource itself stays", "不能删除资源本身。")
    for key in (node.key, f"_{node.key}"):
        if key not in node.holder:
            continue
        if node.index is None:
            del node.holder[key]
        else:
            del node.holder[key][node.index : node.index + 1]
            if not any(one is not None for one in node.holder[key]):
                del node.holder[key]


def _replace(node: Node, given: Json) -> None:
    if node.holder is None or node.element is None:
        raise _misfit("path", "the resource itself stays", "不能替换资源本身。")
    if node.index is not None:
        node.holder[node.key][node.index] = _value(given, node.element.type)
        return
    key, element = _target(node.owner, node.element.choice or node.element.name, given)
    if key != node.key:
        _delete(node)
    node.holder[key] = _value(given, element.type)


def _move(held: Held, source: int, destination: int) -> None:
    for key in (held.key, f"_{held.key}"):
        values = held.holder.get(key)
        if values is None and key != held.key:
            continue
        if values is None or source >= len(values) or destination >= len(values):
            raise _misfit("source", "beyond the end of the list", "超出列表末尾。")
        values.insert(destination, values.pop(source))


# ---- values -----------------------------------------------------------------------------------
def _target(owner: str, name: str, given: Json) -> tuple[str, Element]:
    """(JSON name, definition) of a member; of a choice, the one of the value's type."""
    kinds = {key.removeprefix("value").lower() for key in given if key.startswith("value")}
    for element in _elements(owner):
        if element.name == name or (element.choice == name and element.name.removeprefix(name).lower() in kinds):
            return element.name, element
    raise _misfit("name", f"{owner} has no {name} of this type"[:80], "没有这个成员或类型不符。")


def _value(given: Json, type_: str) -> Any:
    """What a `value` part says: its value[x], or a complex value made of parts named like its elements."""
    simple = _simple(given)
    if simple is not None:
        return simple
    made: Json = {}
    try:
        for part in given["part"]:
            key, element = _target(type_, str(part["name"]), part)
            value = _value(part, element.type)
            if element.many:
                made.setdefault(key, []).append(value)
            else:
                made[key] = value
    except (KeyError, TypeError):
        raise _misfit("value", "neither a value nor parts", "既无取值也无 part。") from None
    return made


def _held(holder: Json, element: Element) -> bool:
    """Whether an element, a choice in any of its types, has a value."""
    return any(key in holder for key in (element.name, f"_{element.name}")) or any(
        bool(element.choice) and key.startswith(element.choice) and key[len(element.choice) :][:1].isupper()
        for key in holder
    )


def _elements(type_: str) -> tuple[Element, ...]:
    return () if type_ in PRIMITIVES or type_ == "Resource" else elements(type_)


def _misfit(place: str, detail: str, detail_zh: str) -> PatchFailed:
    return PatchFailed(place, detail, detail_zh=detail_zh)


# ---- paths ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it lies. holder None: the resource itself. owner: type of the holder."""

    value: Any
    type: str
    holder: Json | None = None
    owner: str = ""
    key: str = ""
    index: int | None = None
    element: Element | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A repeating member of one holder; it may be absent still."""

    holder: Json
    key: str
    element: Element


def resolve(document: Json, path: str) -> list[Node]:
    """The values a path names, in their order. Raises PatchFailed for a path beyond this part of FHIRPath."""
    type_ = str(document["resourceType"])
    steps = list(_steps(path))
    if steps and steps[0]["name"] in (type_, "Resource", "DomainResource"):
        steps = steps[1:]
    nodes = [Node(document, type_)]
    for step in steps:
        nodes = _taken(nodes, step)
    return nodes


def _steps(path: str) -> Iterator[re.Match[str]]:
    at, path = 0, path.strip()
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None or (path[at] == ".") != (at > 0 and path[at] != "["):
            detail = "names, [n], first(), last(), single(), where(a = 'b'), ofType(T), extension('url') are understood"
            raise _misfit(
                "path", detail, "只支持成员名、[n]、first()、last()、single()、where()、ofType()、extension()。"
            )
        yield step
        at = step.end()
    if not path:
        raise _misfit("path", "empty", "路径为空。")


def _taken(nodes: list[Node], step: re.Match[str]) -> list[Node]:
    if step["name"]:
        return [child for node in nodes for child in _children(node, step["name"])]
    if step["index"]:
        return nodes[int(step["index"]) : int(step["index"]) + 1]
    inside = step["inside"].strip()
    match step["call"]:
        case "first":
            return nodes[:1]
        case "last":
            return nodes[-1:]
        case "single":
            return [_one(nodes)] if nodes else []
        case "ofType":
            return [node for node in nodes if node.type == inside]
        case "extension":
            found = [child for node in nodes for child in _children(node, "extension")]
            return [node for node in found if node.value.get("url") == _literal(inside)]
    return [node for node in nodes if _holds(node, inside)]


def _children(node: Node, name: str) -> list[Node]:
    if not isinstance(node.value, dict):
        return []
    found: list[Node] = []
    known = False
    for element in _elements(node.type):
        if name not in (element.name, element.choice):
            continue
        known = True
        value = node.value.get(element.name)
        values = value if element.many else [value]
        for index, one in enumerate(values or ()):
            if one is not None:
                place = index if element.many else None
                type_ = one.get("resourceType", "") if element.type == "Resource" else element.type
                found.append(Node(one, type_, node.value, node.type, element.name, place, element))
    if not known:
        raise _misfit("path", f"{node.type} has no {name}"[:80], "没有这个成员。")
    return found


def _holds(node: Node, condition: str) -> bool:
    at = 0
    while at < len(condition):
        term = _TERM.match(condition, at)
        if term is None:
            raise _misfit("path", "where() takes a = 'b', joined by and", "where() 只支持 a = 'b' 与 and。")
        values = [node]
        for name in term["path"].split("."):
            values = [child for one in values for child in _children(one, name)]
        if not any(_text(one.value) == _literal(term["text"]) for one in values):
            return False
        at = term.end()
        if at < len(condition):
            if not condition.startswith("and ", at):
                raise _misfit("path", "where() takes a = 'b', joined by and", "where() 只支持 a = 'b' 与 and。")
            at += 4
    return True


def _literal(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[:1] == "'" else text


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _one(nodes: list[Node]) -> Node:
    if len(nodes) != 1:
        detail, zh = ("names nothing", "没有匹配") if not nodes else ("names several", "匹配到多个")
        raise _misfit("path", detail, f"路径{zh}。")
    return nodes[0]


def _list(document: Json, path: str) -> Held:
    """The repeating member a path ends with."""
    head, _, name = path.rpartition(".")
    if not head or not name.isalnum():
        raise _misfit("path", "a list of the resource", "应为资源中的列表。")
    holder = _one(resolve(document, head))
    element = next((one for one in _elements(holder.type) if one.name == name), None)
    if element is None or not element.many or not isinstance(holder.value, dict):
        raise _misfit("path", "a list of the resource", "应为资源中的列表。")
    return Held(holder.value, name, element)
