"""JSON Patch (RFC 6902) on a plain JSON value, numbers compared as numbers and never rounded.

Own code, because what we need is small and exact: `true` is not `1`, a Decimal stays one, a fault names its
operation, and copies are counted: they can neither grow a resource beyond reason nor take long.
"""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

from ..errors import PatchFailed, TooLarge, Unparseable
from ..model.json_fault import JSON_FAULTS, unparseable
from ..model.resource import dumps, loads

MAX_OPERATIONS = 1_000
MAX_BYTES = 16 * 1024 * 1024
"""What all copies of a patch may amount to: each costs what it copies, and no more."""
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_NEEDED = {
    "add": ("value",), "remove": (), "replace": ("value",), "move": ("from",), "copy": ("from",), "test": ("value",)
}  # fmt: skip
Steps = list[str]


def patched(document: Any, patch: bytes) -> Any:
    """The value after every operation, in order; `document` itself is not changed.

    Raises Unparseable for what is no JSON Patch, PatchFailed with the operation that does not fit, TooLarge.
    """
    document, copied = deepcopy(document), 0
    for number, operation in enumerate(_operations(patch)):
        try:
            if operation["op"] == "copy":
                text = dumps(_at(document, _steps(operation["from"])))
                copied += len(text)
                if copied > MAX_BYTES:
                    raise TooLarge(
                        "patch", f"copies more than {MAX_BYTES} bytes", detail_zh=f"复制的内容超过 {MAX_BYTES} 字节。"
                    )
                document = _added(document, _steps(operation["path"]), loads(text))
            else:
                document = _applied(document, operation)
        except PatchFailed as fault:
            raise fault.within(f"patch[{number}]") from None
        except RecursionError:  # copies into their own depths
            raise Unparseable(f"patch[{number}]", "nests too deep", detail_zh="嵌套过深。") from None
    return document


def _operations(patch: bytes) -> list[dict[str, Any]]:
    try:
        found: Any = loads(patch)
    except JSON_FAULTS as fault:
        raise unparseable(patch, fault) from None
    if not isinstance(found, list) or not found or len(found) > MAX_OPERATIONS:
        detail = f"a JSON Patch is a list of 1 to {MAX_OPERATIONS} operations"
        raise Unparseable("patch", detail, detail_zh=f"JSON Patch 须为 1 至 {MAX_OPERATIONS} 个操作的数组。")
    for number, one in enumerate(found):
        needed = _NEEDED.get(str(one.get("op"))) if isinstance(one, dict) else None
        pointers = () if needed is None else ("path", *(name for name in needed if name == "from"))
        if needed is None or not all(name in one for name in needed) or not all(_pointer(one, key) for key in pointers):
            raise Unparseable(f"patch[{number}]", "not an operation of RFC 6902", detail_zh="不是 RFC 6902 的操作。")
    return found


def _pointer(operation: dict[str, Any], key: str) -> bool:
    text = operation.get(key)
    return isinstance(text, str) and (text == "" or text.startswith("/"))


def _steps(pointer: str) -> Steps:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _applied(document: Any, operation: dict[str, Any]) -> Any:
    path = _steps(operation["path"])
    match operation["op"]:
        case "add":
            return _added(document, path, operation["value"])
        case "remove":
            return _removed(document, path)[0]
        case "replace":
            _at(document, path)
            return _replaced(document, path, operation["value"])
        case "move":
            return _moved(document, _steps(operation["from"]), path)
    if not same(_at(document, path), operation["value"]):
        raise PatchFailed(operation["path"], "the test does not hold", detail_zh="test 条件不成立。")
    return document


def _at(document: Any, path: Steps) -> Any:
    for step in path:
        document = _member(document, step)
    return document


def _member(holder: Any, step: str) -> Any:
    if isinstance(holder, dict) and step in holder:
        return holder[step]
    if isinstance(holder, list) and _INDEX.fullmatch(step) and int(step) < len(holder):
        return holder[int(step)]
    raise _missing(step)


def _missing(step: str) -> PatchFailed:
    return PatchFailed(step[:64], "there is no such place", detail_zh="没有这个位置。")


def _added(document: Any, path: Steps, value: Any) -> Any:
    if not path:
        return value
    holder, last = _at(document, path[:-1]), path[-1]
    if isinstance(holder, dict):
        holder[last] = value
    elif isinstance(holder, list) and (last == "-" or (_INDEX.fullmatch(last) and int(last) <= len(holder))):
        holder.insert(len(holder) if last == "-" else int(last), value)
    else:
        raise _missing(last)
    return document


def _replaced(document: Any, path: Steps, value: Any) -> Any:
    if not path:
        return value
    holder = _at(document, path[:-1])
    holder[path[-1] if isinstance(holder, dict) else int(path[-1])] = value
    return document


def _removed(document: Any, path: Steps) -> tuple[Any, Any]:
    """(what is left, what was taken out)."""
    value = _at(document, path)
    if not path:
        return None, value
    holder = _at(document, path[:-1])
    del holder[path[-1] if isinstance(holder, dict) else int(path[-1])]
    return document, value


def _moved(document: Any, source: Steps, path: Steps) -> Any:
    if path[: len(source)] == source and len(path) > len(source):
        raise PatchFailed("/".join(path)[:64], "a value cannot move into itself", detail_zh="不能移入自身。")
    document, value = _removed(document, source)
    return _added(document, path, value)


def same(left: Any, right: Any) -> bool:
    """Equal as JSON: numbers by value, `true` never equal to 1 (RFC 6902 §4.6)."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)
