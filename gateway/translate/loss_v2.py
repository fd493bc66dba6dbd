"""Which populated fields of an HL7 v2 message no rule read (D7), at the cost of two look-ups a segment.

The answer depends only on the segment's shape (which fields hold anything) and on the rules that read it, so
it is worked out once for each pair and remembered. All look-ups of a message run in one loop of the interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain

from ..model.outcome import Unused
from .memo import Memo
from .paths_v2 import Cover
from .tree_v2 import Tree

_IGNORE = re.compile(r"([A-Z][A-Z0-9*]{0,2})(?:-(\d+)(?:\.(\d+))?)?")
_ENVELOPE = {("MSH", 1), ("MSH", 2)}  # separators, used by the reader itself


class Loss:
    """The account of one compiled mapping."""

    def __init__(self, covers: list[Cover], ignore: Mapping[str, str]) -> None:
        self._covers: dict[str, list[Cover]] = {}
        for cover in covers:
            self._covers.setdefault(cover.segment, []).append(cover)
        self._ignore = {_ignored(path): because for path, because in ignore.items()}
        self._known: Memo[tuple[Unused, ...]] = Memo(lambda key: self._work_out(*key))

    def of(self, tree: Tree) -> tuple[Unused, ...]:
        """Unused fields of a message whose mapping has run."""
        used = tree.used
        for line, into in tree.merged:
            used[line] |= used[into]
        labels = _LABELS["\r".join(tree.names)]
        found = map(self._known.__getitem__, zip(tree.shapes(), labels, used, strict=False))
        return tuple(chain.from_iterable(found))

    def _work_out(self, shape: bytes, label: str, rules: int) -> tuple[Unused, ...]:
        """Unused fields of one segment, `OBX[3]`, that these rules read."""
        name = label.partition("[")[0]
        covers = [cover for cover in self._covers.get(name, ()) if rules >> cover.rule & 1]
        shift = 1 if name in ("MSH", "FHS", "BHS") else 0
        out: list[Unused] = []
        for position, field in enumerate(shape.decode().split("|")[1:], 1 + shift):
            if field.strip("^~") and (name, position) not in _ENVELOPE:
                out += self._field(label, name, position, field, covers)
        return tuple(out)

    def _field(self, label: str, name: str, position: int, field: str, covers: list[Cover]) -> list[Unused]:
        mine = [cover for cover in covers if cover.field == position]
        repeats = field.split("~")
        left: list[tuple[int, int, bool]] = []  # repetition, component, stands alone
        for repetition, text in enumerate(repeats, 1):
            parts = text.split("^")
            for component, held in enumerate(parts, 1):
                if held and not any(_reads(cover, repetition, component) for cover in mine):
                    left.append((repetition, component, len(parts) == 1))
        if not left:
            return []
        whole = not mine
        out: dict[str, Unused] = {}
        for repetition, component, alone in left:
            because = self._because(name, position, component)
            times = f"[{repetition}]" if repetition > 1 and not whole else ""
            place = f"{label}-{position}{times}" + ("" if whole or alone else f".{component}")
            out.setdefault(place, Unused(place, because))
            if because == "" and out[place].because:
                out[place] = Unused(place, "")
        return list(out.values())

    def _because(self, name: str, position: int, component: int) -> str:
        for key in ((name, position, component), (name, position, 0), (name, 0, 0), (f"{name[0]}**", 0, 0)):
            if key in self._ignore:
                return self._ignore[key]
        return ""


def _labels(names: str) -> list[str]:
    """`MSH\rOBX\rOBX` → `MSH[1]`, `OBX[1]`, `OBX[2]`."""
    counts: dict[str, int] = {}
    out = list[str]()
    for name in names.split("\r"):
        counts[name] = counts.get(name, 0) + 1
        out.append(f"{name}[{counts[name]}]")
    return out


_LABELS = Memo(_labels)


def _reads(cover: Cover, repetition: int, component: int) -> bool:
    return cover.repetition in (0, repetition) and (not cover.components or component in cover.components)


def _ignored(path: str) -> tuple[str, int, int]:
    found = _IGNORE.fullmatch(path)
    if not found:
        raise ValueError(f"{path!r} is no segment, field or component")
    return found[1], int(found[2] or 0), int(found[3] or 0)
