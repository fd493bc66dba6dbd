"""Composite parameters: `code-value-quantity=2823-3$gt5.5`, true of one instance, never of parts from two.

Each instance is read as if it were a resource of its own, so a part means here what it means alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from ..errors import BadParameter
from ..model.query import Filter
from ..validate.fhirpath import Step
from .base import Keys
from .index_extract import Reader, reader
from .index_filter import CompiledFilter, Whole, allow, always
from .index_params import Part, SearchParam, params
from .index_shared import posted_as
from .index_values import Gathered, Target, emitter

_Compile = Callable[[str, str, str], CompiledFilter]


def compile_composite(param: SearchParam, filter: Filter, compile_part: _Compile) -> CompiledFilter:
    """Alternatives of parts joined by `$`. compile_part: (type, code, value) as a filter of its own."""
    allow(filter, "")
    groups = param.groups
    options = [_option(param, value, compile_part) for value in filter.values]

    def verify(whole: Whole) -> bool:
        nodes = ((group, node) for group in groups for node in _nodes(whole, group))
        return any(_true_of(node, group, option) for group, node in nodes for option in options)

    plain = [place for place in range(len(groups[0])) if all(_plain(param, group[place]) for group in groups)]

    def may_match(keys: Keys) -> bool:
        return any(all(option[place].test(keys) for place in plain) for option in options)

    reached = next((place for place in plain if all(option[place].reach for option in options)), None)
    reach = () if reached is None else tuple(one for option in options for one in option[reached].reach)
    test = may_match if plain else always
    return CompiledFilter(None, test, verify=verify, also=tuple(_necessary(options)), reach=reach)


def _plain(param: SearchParam, part: Part) -> bool:
    """Whether what a part compares in an instance is in the keys of the whole resource as well."""
    whole = params(param.type)[part.code]
    known = {way.steps for way in whole.routes}
    return whole.kind in ("quantity", "date", "number") and all(
        (*part.base.steps, *way.steps) in known for way in part.routes
    )


def _necessary(options: list[list[CompiledFilter]]) -> Iterator[tuple[int, ...]]:
    """For each part that postings serve, those of all alternatives."""
    for parts in zip(*options, strict=True):
        found = [made.postings for made in parts if made.postings is not None]
        if len(found) == len(parts):
            yield tuple(word for words in found for word in words)


def _option(param: SearchParam, value: str, compile_part: _Compile) -> list[CompiledFilter]:
    codes = [part.code for part in param.groups[0]]
    texts = _split(value)
    if len(texts) != len(codes) or not all(texts):
        shown = "$".join(codes)
        raise BadParameter(param.code, f"use {shown}", detail_zh=f"应写作 {shown}")
    return [compile_part(param.type, code, text) for code, text in zip(codes, texts, strict=True)]


def _split(value: str) -> list[str]:
    """At each `$` that is not escaped; other escapes stay for the part to undo."""
    pieces = value.split("$")
    at = 0
    while at < len(pieces) - 1:
        if pieces[at].endswith("\\") and not pieces[at].endswith("\\\\"):
            pieces[at : at + 2] = [pieces[at] + "$" + pieces[at + 1]]
        else:
            at += 1
    return pieces


def _true_of(node: Any, group: tuple[Part, ...], option: list[CompiledFilter]) -> bool:
    return all(made.test(_keys(part, node)) for part, made in zip(group, option, strict=True))


def _keys(part: Part, node: Any) -> Keys:
    gathered = Gathered()
    _reader(part)(node, gathered)
    return Keys(tuple(gathered.tokens), (), tuple(gathered.dates), tuple(gathered.numbers), tuple(gathered.texts))


@cache
def _reader(part: Part) -> Reader:
    """Reads the values of a part from one instance."""
    type_ = part.owner
    param = params(type_)[part.code]
    target = Target(posted_as(param)[0])
    planted = [(way, partial(emitter(param, way.type, way.owner), target), 0) for way in part.routes]
    return reader(planted)


def _nodes(whole: Whole, group: tuple[Part, ...]) -> Iterator[Any]:
    return _at(whole.made, group[0].base.steps)


def _at(node: Any, steps: tuple[Step, ...]) -> Iterator[Any]:
    if not steps:
        yield node
        return
    found = getattr(node, steps[0].attr)
    for item in found if isinstance(found, list | tuple) else [] if found is None else [found]:
        yield from _at(item, steps[1:])
