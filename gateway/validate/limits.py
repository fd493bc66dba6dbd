"""What a body must not be before anybody parses it: too deep, too many nodes, NUL inside, keys twice (T20).

All tests run at C speed on the bytes; a resource of 2 KB costs about 2 µs.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ..errors import Unparseable

MAX_DEPTH = 64
MAX_NODES = 200_000

_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"{}[],'))
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_QUOTED = re.compile(rb'"[^"]*"')
_PAIR = re.compile(rb"\{\}|\[\]")


def check_limits(body: bytes) -> None:
    """Raises Unparseable for NUL, more than 64 levels or more than 200,000 values."""
    if b"\\" in body and b"\\u0000" in body and _NUL.search(body):
        raise Unparseable(detail="NUL character", detail_zh="含有 NUL 字符")
    openers = body.count(b"{") + body.count(b"[")
    if openers <= MAX_DEPTH and len(body) <= 2 * MAX_NODES:
        return
    structure = _structure(body)
    if structure.count(b",") + openers > MAX_NODES:
        raise Unparseable(detail=f"more than {MAX_NODES} values", detail_zh=f"超过 {MAX_NODES} 个值")
    if _deeper(structure.replace(b",", b""), MAX_DEPTH):
        raise Unparseable(detail=f"nested deeper than {MAX_DEPTH}", detail_zh=f"嵌套超过 {MAX_DEPTH} 层")


def _structure(body: bytes) -> bytes:
    """Only brackets and commas outside strings."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    kept = body.translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    return _QUOTED.sub(b"", kept) if b'"' in kept else kept


def _deeper(brackets: bytes, limit: int) -> bool:
    """True when the brackets nest deeper; each round takes the innermost pairs away."""
    for _ in range(limit):
        if not brackets:
            return False
        brackets = _PAIR.sub(b"", brackets)
    return brackets.startswith((b"{", b"["))


class _Twice(ValueError):
    pass


def parse(body: bytes) -> Any:
    """Plain JSON value; raises Unparseable, also for keys given twice. Numbers come as text wrapped in Number."""
    try:
        return json.loads(body, object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=_refuse)
    except _Twice as error:
        raise Unparseable(detail=f"key twice: {error}", detail_zh=f"键重复：{error}") from None
    except (ValueError, RecursionError):
        raise Unparseable() from None


class Number(str):
    """The digits of a JSON number as sent."""

    __slots__ = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(n for n in names if names.count(n) > 1)[:64])
    return found


def _refuse(name: str) -> Any:
    raise ValueError(name)
