"""Results of pure functions remembered per value, as JSON text ready to be joined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..model.resource import dumps
from .functions import Noted

_LIMIT = 20_000  # distinct values remembered a field; then it starts anew
_LONG = 200  # longer texts are reports, rarely the same twice


class NotedText(str):
    """JSON text that carries a remark."""

    __slots__ = ("note",)
    note: Noted


class Memo(dict[Any, str]):
    """`memo[key]` computes once. Look-up of a known key costs one dictionary access in C."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[Any], str]) -> None:
        super().__init__()
        self._call = call

    def __missing__(self, key: Any) -> str:
        found = self._call(key)
        if len(self) >= _LIMIT:
            self.clear()
        if len(key if isinstance(key, str) else key[0]) <= _LONG:
            self[key] = found
        return found


Prepare = Callable[[str], str] | None


def remembered(call: Callable[..., Any], prepares: list[Prepare], render: Callable[[Any], str]) -> Memo:
    """A Memo over `call`; keys are the raw text, or a tuple of them when there are several inputs."""
    if len(prepares) == 1:
        prepare = prepares[0]
        if prepare is None:
            return Memo(lambda key: render(call(key)))
        return Memo(lambda key: render(call(prepare(key))))
    return Memo(lambda key: render(call(*[p(k) if p else k for p, k in zip(prepares, key, strict=True)])))


def as_json(value: Any) -> str:
    """JSON text of a function's result; "" for nothing, NotedText with a remark."""
    if isinstance(value, Noted):
        text = NotedText(as_json(value.value))
        text.note = value
        return text
    if value is None or value == "":
        return ""
    return dumps(value).decode()


def as_member(name: str, wrap: Callable[[str], str] = str) -> Callable[[Any], str]:
    """Renderer to a member of an object with its comma: `,"status":"final"`; "" for nothing.

    wrap: what stands around the value (`[{"text":…}]`). `value[x]` stands for the members its value brings.
    """
    head = f',"{name}":'

    def render(value: Any) -> str:
        if isinstance(value, Noted):
            text = NotedText(render(value.value))
            text.note = value
            return text
        plain = as_json(value)
        if not plain:
            return ""
        return f",{plain[1:-1]}" if name.endswith("[x]") else head + wrap(plain)

    return render


def as_text(value: Any) -> str:
    """Plain text of a function's result, for ids, conditions and kept values."""
    if isinstance(value, Noted):
        text = NotedText(as_text(value.value))
        text.note = value
        return text
    return "" if value is None else str(value)
