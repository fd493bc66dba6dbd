"""Results of pure functions remembered per value, as JSON bytes ready to be joined (or as plain text)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..model.resource import dumps
from .functions import Noted

_LIMIT = 20_000  # distinct values remembered a field; then it starts anew
_LONG = 200  # longer texts are reports, rarely the same twice


class NotedText(str):
    """Plain text that carries a remark."""

    note: Noted


class NotedJson(bytes):
    """JSON that carries a remark."""

    note: Noted


Rendered = TypeVar("Rendered", bound=str | bytes)


class Memo(dict[Any, Rendered]):
    """`memo[key]` computes once. Look-up of a known key costs one dictionary access in C."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[Any], Rendered]) -> None:
        super().__init__()
        self._call: Callable[[Any], Rendered] = call

    def __missing__(self, key: Any) -> Rendered:
        found = self._call(key)
        if len(self) >= _LIMIT:
            self.clear()
        if len(key if isinstance(key, str) else key[0]) <= _LONG:
            self[key] = found
        return found


Prepare = Callable[[str], str] | None


def remembered(call: Callable[..., Any], prepares: list[Prepare], render: Callable[[Any], Rendered]) -> Memo[Rendered]:
    """A Memo over `call`; keys are the raw text, or a tuple of them when there are several inputs."""
    if len(prepares) == 1:
        prepare = prepares[0]
        if prepare is None:
            return Memo(lambda key: render(call(key)))
        return Memo(lambda key: render(call(prepare(key))))
    return Memo(lambda key: render(call(*[p(k) if p else k for p, k in zip(prepares, key, strict=True)])))


def as_json(value: Any) -> bytes:
    """JSON of a function's result; b"" for nothing, NotedJson with a remark."""
    if isinstance(value, Noted):
        noted = NotedJson(as_json(value.value))
        noted.note = value
        return noted
    return b"" if value is None or value == "" else dumps(value)


def as_member(name: str, wrap: Callable[[bytes], bytes] = bytes) -> Callable[[Any], bytes]:
    """Renderer to a member of an object with its comma: `,"status":"final"`; b"" for nothing.

    wrap: what stands around the value (`[{"text":…}]`). `value[x]` stands for the members its value brings.
    """
    head = f',"{name}":'.encode()

    def render(value: Any) -> bytes:
        if isinstance(value, Noted):
            noted = NotedJson(render(value.value))
            noted.note = value
            return noted
        plain = as_json(value)
        if not plain:
            return b""
        return b"," + plain[1:-1] if name.endswith("[x]") else head + wrap(plain)

    return render


def as_text(value: Any) -> str:
    """Plain text of a function's result, for ids, conditions and kept values."""
    if isinstance(value, Noted):
        text = NotedText(as_text(value.value))
        text.note = value
        return text
    return "" if value is None else str(value)
