"""What the fields of one recurring node say by themselves, worked out once for each set of fields.

The rows of a laboratory say the same things again and again: item, unit, interval, flag, often the value.
Look-ups of a rule that read nothing but its row are gathered into a function of those fields; its results are
remembered, and a known row costs one look-up.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from .formats import Access


class Row:
    """The gathered look-ups of one rule: `node` is the local name of the row's fields in `run`."""

    def __init__(self, rule: str, node: str) -> None:
        self._rule = rule
        self._node = node
        self._inputs: dict[str, str] = {}  # code in `run` → parameter
        self._values: dict[str, str] = {}  # code in the function → local name, here and in `run`

    def look_up(self, memo: str, inputs: list[Access]) -> str:
        """Local name of what `memo` holds for the inputs; "" when one of them is not of the row."""
        if not all(self._own(found.code) for found in inputs):
            return ""
        return self.value(f"{memo}[{', '.join([self._input(found.code) for found in inputs])}]")

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

    def written(self, body: Iterable[str]) -> tuple[str, str]:
        """The function's source, and the line of `run` before `body` that asks it; both "" when nothing is asked."""
        used = set(re.findall(r"\w+", "\n".join(body)))
        results = [name for name in self._values.values() if name in used]
        if not results:
            return "", ""
        lines = [
            f"def {self._rule}_row(key):",
            f"    {', '.join(self._inputs.values())}, = key",
            *[f"    {name} = {code}" for code, name in self._values.items()],
            f"    return {', '.join(results)},",
            f"{self._rule}_rows = RowMemo({self._rule}_row)",
        ]
        return "\n".join(lines), f"{', '.join(results)}, = {self._rule}_rows[{', '.join(self._inputs)},]"
