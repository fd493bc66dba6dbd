"""Helpers for code that stands for JSON bytes."""

from __future__ import annotations

import ast
from collections.abc import Callable


def around(head: bytes, wrap: Callable[[bytes], bytes], tail: bytes, plain: bytes) -> bytes:
    return head + wrap(plain) + tail


def is_constant(code: str) -> bool:
    """True for code that is a bytes literal."""
    return code.startswith(("b'", 'b"'))


def literal(code: str) -> bytes:
    """The bytes such code stands for."""
    found = ast.literal_eval(code)
    assert isinstance(found, bytes)
    return found
