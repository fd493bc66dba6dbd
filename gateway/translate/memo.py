"""Results of pure functions remembered per value, as JSON bytes ready to be joined (or as plain text).

All memos of the process share one allowance in bytes. What they took since it was last half used up is
one generation; the generation before it is kept as well, and a value asked for again moves to the new one.
So what recurs stays, what came once goes, and the memory is bounded however many maps there are.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import getsizeof
from typing import Any, TypeVar
from weakref import ref

from ..model.resource import dumps
from .remarks import Noted

_LONG = 400  # characters; longer inputs are reports, rarely the same twice
_ENTRY = 150  # bytes a place in a dictionary takes, with a tuple of references
_COUNTED = 16  # of so many entries one is measured for all: a miss costs little more than its function


class NotedText(str):
    """Plain text that carries a remark."""

    note: Noted


class NotedJson(bytes):
    """JSON that carries a remark."""

    note: Noted


Rendered = TypeVar("Rendered")


class Allowance:
    """Bytes that memos may hold together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._spent = 0
        self._memos: list[ref[Memo[Any]]] = []

    def joined(self, memo: Memo[Any]) -> None:
        """One more memo shares it, as long as somebody uses that memo."""
        self._memos.append(ref(memo))

    def spend(self, size: int) -> None:
        """A memo is about to keep this many bytes; at half the limit all of them begin a new generation."""
        self._spent += size
        if self._spent > self.limit // 2:
            self._spent = size
            self._memos = [memo for memo in self._memos if memo() is not None]
            for memo in self._memos:
                if (found := memo()) is not None:  # an empty one still has its generation before
                    found.age()


ALLOWANCE = Allowance(32 * 1024 * 1024)


class Memo(dict[Any, Rendered]):
    """`memo[key]` computes once; a known key (a text, or a tuple) costs one dictionary access in C."""

    __slots__ = ("__weakref__", "_before", "_call")

    def __init__(self, call: Callable[[Any], Rendered]) -> None:
        super().__init__()
        self._call: Callable[[Any], Rendered] = call
        self._before: dict[Any, Rendered] = {}
        ALLOWANCE.joined(self)

    def __missing__(self, key: Any) -> Rendered:
        found = self._before.get(key)
        if found is None:
            found = self._call(key)
        if len(key) <= _LONG:
            self[key] = found
            if len(self) % _COUNTED == 0:
                ALLOWANCE.spend(_COUNTED * (_ENTRY + _size(key) + _size(found)))
        return found

    def age(self) -> None:
        """What was not asked for since the last call is forgotten."""
        self._before = self.copy()
        self.clear()


class MemoOfTexts(Memo[Rendered]):
    """`memo[text, text]`: as Memo, and what is long together is not kept either."""

    __slots__ = ()

    def __missing__(self, key: tuple[str, ...]) -> Rendered:
        return self._call(key) if sum(map(len, key)) > _LONG else super().__missing__(key)


def _size(thing: Any) -> int:
    """Bytes of a text, or of a tuple with what it holds."""
    return getsizeof(thing) + (sum(map(getsizeof, thing)) if thing.__class__ is tuple else 0)


Prepare = Callable[[str], str] | None


def remembered(call: Callable[..., Any], prepares: list[Prepare], render: Callable[[Any], Rendered]) -> Memo[Rendered]:
    """A Memo over `call`; keys are the raw text, or a tuple of them when there are several inputs."""
    if len(prepares) == 1:
        prepare = prepares[0]
        if prepare is None:
            return Memo(lambda key: render(call(key)))
        return Memo(lambda key: render(call(prepare(key))))
    if not any(prepares):
        return MemoOfTexts(lambda key: render(call(*key)))
    return MemoOfTexts(lambda key: render(call(*[p(k) if p else k for p, k in zip(prepares, key, strict=True)])))


def as_json(value: Any) -> bytes:
    """JSON of a function's result; b"" for nothing, NotedJson with a remark."""
    if value.__class__ is str:
        return dumps(value) if value else b""
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
        if value is None or value == "":
            return b""
        plain = dumps(value)
        return b"," + plain[1:-1] if name.endswith("[x]") else head + wrap(plain)

    return render


def as_text(value: Any) -> str:
    """Plain text of a function's result, for ids, conditions and kept values."""
    if isinstance(value, Noted):
        text = NotedText(as_text(value.value))
        text.note = value
        return text
    return "" if value is None else str(value)
