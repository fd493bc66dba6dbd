"""What the fields of one recurring node say by themselves, worked out once for each set of fields.

The rows of a laboratory say the same things again and again: item, unit, interval, flag. Look-ups of a rule
that read nothing but its row are gathered into a function of those fields; its results are remembered, and a
known row costs one look-up. What was measured is new each time, but all plain numbers are said alike: the
function says it of one number, and the digits sent take that number's place.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .formats import Access
from .result_values import DIGITS

PROBE = "90710.271828"
# What JSON and Decimal write as it was sent; a small fraction of more digits gets an exponent.
plain_number = re.compile(r"-?(?:0|[1-9][0-9]{0,50})(?:\.[0-9]{1,6})?").fullmatch


def around(memo: Mapping[Any, bytes], key: tuple[str, ...]) -> tuple[bytes | None, bytes]:
    """What stands before and after the digits of PROBE in the answer; None where numbers are not said so."""
    try:
        said = memo[key]
    except ValueError:  # these fields want no number, but a date
        return None, b""
    head, *rest = said.split(PROBE.encode())
    return (head, rest[0]) if len(rest) == 1 and said.__class__ is bytes else (None, b"")


def for_all(memo: Mapping[Any, bytes], key: tuple[str, ...]) -> bytes | None:
    """What the memo says beside any plain number; None where that tells the numbers apart."""
    said = memo[key]
    return said if said.__class__ is bytes and PROBE.encode() not in said else None


@dataclass(slots=True)
class _Measured:
    """A look-up that a number passes through: names it sets, how the row's function sets them, how `run` uses them."""

    name: str
    number: str
    names: tuple[str, ...]
    ask: str
    other: str
    spread: bool = False

    def use(self) -> list[str]:
        """Lines that set `name`; spread over three names, it is empty for a plain number."""
        if self.spread:
            head, tail = self.names
            return [
                f"{self.name} = b''; {self.name}_digits = {self.number}",
                f"if not {self.number} or {head} is None:"
                f" {head} = {self.name} = {self.other}; {self.name}_digits = {tail} = b''",
            ]
        said = f" + {self.number} + ".join(self.names)
        return [f"{self.name} = {said} if {self.number} and {self.names[0]} is not None else {self.other}"]


class Row:
    """The gathered look-ups of one rule: `node` is the local name of the row's fields in `run`."""

    def __init__(self, rule: str, node: str) -> None:
        self._rule = rule
        self._node = node
        self._inputs: dict[str, str] = {}  # code in `run` → parameter
        self._values: dict[str, str] = {}  # code in the function → local name, here and in `run`
        self._measured: dict[str, _Measured] = {}  # local name in `run` → its look-up
        self._numbers: dict[str, str] = {}  # code of a field → its digits' local name in `run`

    def look_up(self, memo: str, inputs: list[Access], uniform: int | None = None) -> str:
        """Local name of what `memo` holds for the inputs; "" when one of them is not of the row.

        uniform: which of the inputs is a text of which the memo says the same whatever plain number it is; in
        an answer to the first input its digits stand once.
        """
        if not all(self._own(found.code) for found in inputs):
            return ""
        if uniform is not None and uniform < len(inputs) and inputs[uniform].code != "''":
            return self._look_up_measured(memo, [found.code for found in inputs], uniform)
        return self.value(f"{memo}[{', '.join([self._input(found.code) for found in inputs])}]")

    def _look_up_measured(self, memo: str, codes: list[str], uniform: int) -> str:
        number = self._numbers.setdefault(codes[uniform], f"{self._rule}_number_{len(self._numbers) + 1}")
        name = f"{self._rule}_measured_{len(self._measured) + 1}"
        key = ", ".join(repr(PROBE) if at == uniform else self._input(code) for at, code in enumerate(codes))
        other = f"{memo}[{', '.join(codes)}]"
        if uniform == 0:
            names: tuple[str, ...] = (f"{name}_head", f"{name}_tail")
            ask = f"{', '.join(names)} = around({memo}, ({key},))"
        else:
            names = (f"{name}_said",)
            ask = f"{names[0]} = for_all({memo}, ({key},))"
        self._measured[name] = _Measured(name, number, names, ask, other)
        return name

    def spread(self, code: str) -> list[str]:
        """A piece that is joined with others and used nowhere else: in three parts, where digits are its middle one."""
        found = self._measured.get(code)
        if found is None or len(found.names) == 1:
            return [code]
        found.spread = True
        return [found.names[0], f"{code}_digits", found.names[1]]

    def value(self, code: str) -> str:
        """Local name of an expression over names of the row."""
        return self._values.setdefault(code, f"{self._rule}_{len(self._values) + 1}")

    def holds(self, code: str) -> bool:
        """True when an expression reads nothing but names of the row."""
        names = {node.id for node in ast.walk(ast.parse(code, mode="eval")) if isinstance(node, ast.Name)}
        return names <= set(self._values.values())

    def _own(self, code: str) -> bool:
        return code.startswith((f"{self._node}[", "kept_")) or code == "''"

    def _input(self, code: str) -> str:
        if code == "''":
            return code
        return self._inputs.setdefault(code, re.sub(r"\W+", "_", code).strip("_"))

    def written(self, body: Iterable[str]) -> tuple[str, list[str]]:
        """The function's source, and the lines of `run` before `body` that ask it; empty when nothing is asked."""
        used = set(re.findall(r"\w+", "\n".join(body)))
        results = [name for name in self._values.values() if name in used]
        measured = [one for name, one in self._measured.items() if name in used]
        results += [name for one in measured for name in one.names]
        if not results:
            return "", []
        lines = [
            f"def {self._rule}_row(key):",
            f"    {', '.join(self._inputs.values())}, = key",
            *[f"    {name} = {code}" for code, name in self._values.items()],
            *[f"    {one.ask}" for one in measured],
            f"    return {', '.join(results)},",
            f"{self._rule}_rows = MemoOfTexts({self._rule}_row)",
        ]
        asked = [f"{', '.join(results)}, = {self._rule}_rows[{', '.join(self._inputs)},]"]
        asked += [line for code, name in self._numbers.items() for line in _number(name, code)]
        return "\n".join(lines), asked + [line for one in measured for line in one.use()]


def _number(name: str, code: str) -> tuple[str, str]:
    """Lines that set the digits of a plain number, b"" for other texts; what is usual costs a third."""
    usual = f"{name}.replace(b'.', b'', 1).isdigit() and {name}[0] > 48 and {name}[-1] > 46 and len({name}) < {DIGITS}"
    return f"{name} = {code}.encode()", f"if not ({usual}) and not plain_number({code}): {name} = b''"
