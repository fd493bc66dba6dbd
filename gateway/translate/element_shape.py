"""Whether one value of a rule can be what R4 has at an element: a text where R4 wants an object, a name where a date.

Such a map would compile, and every message would be refused for it. Source: FHIR R4 datatypes.
"""

from __future__ import annotations

import re

from .formats import Elements
from .function_list import ALL_FUNCTIONS
from .strict_yaml import Yaml

_USUAL = ("display", "text", "value", "start")  # what a plain text mostly is, of the elements inside
_TIMES = {"date": ("date",), "dateTime": ("dateTime", "date"), "instant": ("instant",)}
_WHOLE = ("integer", "positiveInt", "unsignedInt")
_NUMBERS = ("decimal", *_WHOLE)
_TIME = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d.*)?)?)?")


def check_shape(elements: Elements, path: str, leaf: Yaml) -> None:
    """Raises MappingError. leaf: a constant or a `from` that stands for the whole element, or one entry of its list."""
    kind = elements.kind(path)
    if not kind or (isinstance(leaf.value, str) and leaf.value.startswith("$")):
        return
    gives = "" if isinstance(leaf.value, str) else _gives(leaf)
    if isinstance(leaf.value, str):
        told = _of_constant(kind, leaf.value)
    elif kind[0].isupper():
        told = _of_object(elements, path, gives)
    else:
        told = _of_value(kind, gives)
    if told:
        raise leaf.error(f"{path} is of type {kind}: {told[0]}", f"R4 的 {path} 是 {kind}：{told[1]}")


def _gives(leaf: Yaml) -> str:
    """What the function of a `from` gives; a text out of a table, and one that was kept, may be anything."""
    function = ALL_FUNCTIONS.get(leaf.word("by") or "text")
    anything = leaf.get("table") or leaf.word("from").startswith("$")
    return "" if function is None or (function.gives == "text" and anything) else function.gives


def _of_object(elements: Elements, path: str, gives: str) -> tuple[str, str] | None:
    if gives in ("", "object"):
        return None
    inside = [name for name in elements.names(path) if name not in ("id", "extension") and name[0] != "_"][:8]
    known, first = ", ".join(inside), next((name for name in _USUAL if name in inside), inside[0])
    return f"write the elements inside it ({known})", f"请写它里面的元素（{known}），如 {{{first}: {{from: …}}}}。"


def _of_value(kind: str, gives: str) -> tuple[str, str] | None:
    """Of a function: nothing is said of one whose result is not known."""
    if gives == "object":
        return "the function gives an object", "这个函数产生的是对象，不是一个值；请换一个函数。"
    wanted = _TIMES.get(kind) or (("integer",) if kind in _WHOLE else (kind,) if kind in ("decimal", "boolean") else ())
    if not wanted or gives in ("", *wanted) or (kind == "decimal" and gives == "integer"):
        return None
    return f"write by: {wanted[0]}", f"请写 by: {wanted[0]}。"


def _of_constant(kind: str, text: str) -> tuple[str, str] | None:
    taken = "取自来文的写 {from: …}"
    if kind[0].isupper():
        return f"{text!r} is a constant text", f"{text!r} 是固定文字，这里要写它里面的元素；{taken}。"
    if kind in _TIMES and not _TIME.fullmatch(text):
        return f"{text!r} is a constant and no date", f"{text!r} 是固定文字，不是日期；{taken}。"
    if kind in _NUMBERS:
        return f"{text!r} is a text; write $int:1", f"{text!r} 是固定文字；固定的整数写 $int:1，{taken}。"
    if kind == "boolean":
        return f"{text!r} is a text; write $true or $false", f"{text!r} 是固定文字；写 $true 或 $false，{taken}。"
    return None
