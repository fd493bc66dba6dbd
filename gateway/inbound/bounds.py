"""How large and how deep one resource may be, decided on its bytes before anything walks through it."""

from __future__ import annotations

import re

from ..errors import TooLarge, Unparseable

MAX_DEPTH, MAX_NODES = 64, 200_000
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def bounded(body: bytes, place: str) -> None:
    """Raises Unparseable above 64 levels, TooLarge above 200,000 values. Most bodies need two counts for it."""
    opened = body.count(b"{") + body.count(b"[")
    if opened <= MAX_DEPTH and len(body) < MAX_NODES:
        return
    bare = _STRING.sub(b"", body)
    if bare.count(b",") + bare.count(b"{") + bare.count(b"[") > MAX_NODES:
        raise TooLarge(place, f"> {MAX_NODES} values")
    depth = 0
    for found in _BRACKET.findall(bare):
        depth += 1 if found in b"{[" else -1
        if depth > MAX_DEPTH:
            raise Unparseable(place, f"nested deeper than {MAX_DEPTH}", detail_zh=f"嵌套超过 {MAX_DEPTH} 层。")
