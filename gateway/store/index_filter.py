"""One filter of a query, compiled: what to look up, and what decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from msgspec import Struct

from ..errors import BadParameter
from ..model.query import Filter
from ..model.resource import Json, loads
from ..validate.fhirpath import Step
from ..validate.shapes import struct
from .base import Keys

Test = Callable[[Keys], bool]


class Whole:
    """A resource in hand, decoded when somebody looks."""

    def __init__(self, type_: str, body: bytes) -> None:
        self.type, self.body = type_, body

    @cached_property
    def doc(self) -> Json:
        """As plain JSON."""
        return loads(self.body)

    @cached_property
    def made(self) -> Struct:
        """As the struct of its type."""
        made: Struct = msgspec.json.decode(self.body, type=struct(self.type))
        return made


Verify = Callable[[Whole], bool]
Reach = tuple[int, int, float, float]
"""Parameter number, unit, least and greatest value."""


@dataclass(frozen=True, slots=True)
class CompiledFilter:
    """One filter, ready to run.

    postings: tokens any of which a match carries; None when no posting serves. ordered: (parameter number, first ms,
    last ms): every match has a date range that overlaps it; None when that says nothing. reach: every match has a
    number in one of these, () when that says nothing. decided: the postings alone decide. updated: decides on the
    instant (ms) of the version, for `_lastUpdated`. also: further groups of postings every match carries. absent: (bit
    of `Keys.present`, whether it must be off), decides alone. A row matches when `test`, `verify` and `updated`, where
    they are given, all say so.
    """

    postings: tuple[int, ...] | None
    test: Test
    ordered: tuple[int, int, int] | None = None
    verify: Verify | None = None
    decided: bool = False
    updated: Callable[[int], bool] | None = None
    also: tuple[tuple[int, ...], ...] = ()
    absent: tuple[int, bool] | None = None
    reach: tuple[Reach, ...] = ()


def always(keys: Keys) -> bool:
    """The keys have nothing against it."""
    return True


def tokens(hashes: tuple[int, ...]) -> CompiledFilter:
    """Any of these postings; they alone decide."""
    wanted = frozenset(hashes)
    return CompiledFilter(hashes, lambda keys: not wanted.isdisjoint(keys.tokens), decided=True)


def allow(filter: Filter, *modifiers: str) -> None:
    """Raises BadParameter for any other modifier."""
    if filter.modifier not in modifiers:
        place = f"{filter.code}:{filter.modifier}"
        raise BadParameter(place, "modifier is not supported here", detail_zh="此参数不支持该修饰符")


def values_at(doc: Any, steps: tuple[Step, ...]) -> Iterator[Any]:
    """Values a route leads to in plain JSON."""
    if not steps:
        yield doc
        return
    step = steps[0]
    found = doc.get(step.attr.removesuffix("_")) if isinstance(doc, dict) else None
    items = found if isinstance(found, list) else [] if found is None else [found]
    for place, item in enumerate(items):
        if _passes(step, item, place):
            yield from values_at(item, steps[1:])


def _passes(step: Step, item: Any, place: int) -> bool:
    if item is None or (step.index >= 0 and place != step.index):
        return False
    if step.equals[0] and item.get(step.equals[0]) != step.equals[1]:
        return False
    return not step.target or str(item.get("reference", "")).startswith(step.target + "/")


def split_escaped(value: str, mark: str) -> list[str]:
    r"""The pieces of a value between marks that no backslash escapes; `\,` `\|` `\$` `\\` are undone in each."""
    pieces, current, escaped = list[str](), "", False
    if "\\" not in value:
        return value.split(mark)
    for character in value:
        if escaped:
            current += character if character in ",|$\\" else "\\" + character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == mark:
            pieces.append(current)
            current = ""
        else:
            current += character
    return [*pieces, current + "\\" * escaped]


def unescaped(value: str) -> str:
    """The value as meant."""
    return split_escaped(value, "\0")[0]
