"""Which populated fields of an HL7 v2 message no rule read (D7), at the cost of two look-ups a segment.

The answer depends only on the segment's shape (which fields hold anything) and on the rules that read it, so
it is worked out once for each pair and remembered. All look-ups of a message run in one loop of the interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from ..model.outcome import Unused
from .memo import Memo
from .paths_v2 import Cover
from .strict_yaml import Slip
from .tree_v2 import Tree

_IGNORE = re.compile(r"([A-Z][A-Z0-9*]{0,2})(?:-(\d+)(?:\.(\d+))?)?")
_ENVELOPE = {("MSH", 1), ("MSH", 2)}  # separators, used by the reader itself


# No segment of the standard has so many; what stands further on is told as one, or a hostile field would be all of it.
_FIELDS, _REPETITIONS, _COMPONENTS = 200, 20, 50


class Loss:
    """The account of one compiled mapping."""

    def __init__(self, covers: list[Cover], ignore: Mapping[str, str]) -> None:
        self._covers: dict[str, list[Cover]] = {}
        for cover in covers:
            self._covers.setdefault(cover.segment, []).append(cover)
        self._ignore = {ignored_path(path): because for path, because in ignore.items()}
        self._known: Memo[tuple[Unused, ...]] = Memo(lambda key: self._labelled(*key))
        self._told: Memo[tuple[Unused, ...]] = Memo(lambda key: tuple(self._work_out(*key)))

    def of(self, tree: Tree) -> tuple[Unused, ...]:
        """Unused fields of a message whose mapping has run."""
        used = tree.used
        for line, into in tree.merged:
            used[line] |= used[into]
        found = map(self._known.__getitem__, zip(tree.shapes(), tree.labels(), used, strict=False))
        return tuple(chain.from_iterable(found))

    def _labelled(self, shape: bytes, label: str, rules: int) -> tuple[Unused, ...]:
        """Unused fields of one segment, `OBX[3]`, that these rules read."""
        told = self._told[shape, label.partition("[")[0], rules]
        return tuple([Unused(label + one.place, one.because) for one in told])

    def _work_out(self, shape: bytes, name: str, rules: int) -> Iterator[Unused]:
        """Its unused fields with their place inside the segment: `-5[2].1`."""
        covers: dict[int, list[Cover]] = {}
        for cover in self._covers.get(name, ()):
            if rules >> cover.rule & 1:
                covers.setdefault(cover.field, []).append(cover)
        shift = 1 if name in ("MSH", "FHS", "BHS") else 0
        fields = shape.decode().split("|")[1:]
        for position, field in enumerate(fields[:_FIELDS], 1 + shift):
            if field.strip("^~") and (name, position) not in _ENVELOPE:
                yield from self._field(name, position, field, covers.get(position, []))
        if any(field.strip("^~") for field in fields[_FIELDS:]):
            yield Unused(f"-{_FIELDS + 1 + shift}", self._because(name, _FIELDS + 1 + shift, 1))

    def _field(self, name: str, position: int, field: str, mine: list[Cover]) -> Iterable[Unused]:
        out: dict[str, Unused] = {}
        for repetition, text in _repetitions(field, mine):
            parts = text.split("^", _COMPONENTS)  # the last holds whatever comes after them
            for component, held in enumerate(parts, 1):
                if not held.strip("^") or any(_reads(cover, repetition, component) for cover in mine):
                    continue
                because = self._because(name, position, component)
                times = f"[{repetition}]" if repetition > 1 and mine else ""
                place = f"-{position}{times}"
                if mine and len(parts) > 1:
                    place += f".{component}"
                if place not in out or (because == "" and out[place].because):
                    out[place] = Unused(place, because)
        return out.values()

    def _because(self, name: str, position: int, component: int) -> str:
        for key in ((name, position, component), (name, position, 0), (name, 0, 0), (f"{name[0]}**", 0, 0)):
            if key in self._ignore:
                return self._ignore[key]
        return ""


def _repetitions(field: str, mine: list[Cover]) -> Iterable[tuple[int, str]]:
    """Repetitions by number, as far as they may differ; each look of those after that once, under the next number."""
    texts = field.split("~")
    apart = max([_REPETITIONS, *(cover.repetition for cover in mine)])
    first = list(enumerate(texts[:apart] if mine else dict.fromkeys(texts), 1))
    return first + [(apart + 1, text) for text in dict.fromkeys(texts[apart:])] if mine else first


def _reads(cover: Cover, repetition: int, component: int) -> bool:
    return cover.repetition in (0, repetition) and (not cover.components or component in cover.components)


def ignored_path(path: str) -> tuple[str, int, int]:
    """Segment, field and component, 0 for all of them. Raises Slip."""
    found = _IGNORE.fullmatch(path)
    if not found:
        raise Slip(
            f"{path!r} is no segment, field or component", f"{path!r} 不是段、字段或成分，应如 ZPV、OBX-14、PID-5.2。"
        )
    return found[1], int(found[2] or 0), int(found[3] or 0)
