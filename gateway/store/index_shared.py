"""Parameters that say the same: where the keys of one serve another, they are kept once.

R4 gives many elements two parameters: `combo-code` is `code` or `component-code`, `phonetic` is `name`, `patient` is a
`subject` that names one. Kept under each, they were a third of the postings of a laboratory Observation, and half of
its numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache

from ..validate.fhirpath import Route
from .base import hash64
from .index_params import SearchParam, params
from .index_values import emitter

Posted = tuple[SearchParam, ...]


def posted_as(param: SearchParam) -> Posted:
    """The parameters under which its values are kept: itself, another, or several that together have its places."""
    return _shared(param.type).get(param.code, (param,))


def pointing(param: SearchParam, target: str, id_: str) -> tuple[int, ...]:
    """The posting of what points to a resource by a reference parameter; () where it never names such a one."""
    only = filtered(param)
    return () if only and target not in only else (hash64(posted_as(param)[0].prefix, "ref", target, id_),)


def filtered(param: SearchParam) -> tuple[str, ...]:
    """What `resolve() is …` leaves of the types a reference may name; () when it says nothing."""
    found = {way.steps[-1].target for way in param.routes if way.steps}
    return () if "" in found else tuple(sorted(found))


@cache
def _shared(type_: str) -> Mapping[str, Posted]:
    """Of a type those that others serve."""
    found: dict[str, Posted] = {}
    alone: list[SearchParam] = []
    for one in sorted(params(type_).values(), key=_rank):
        of_its_kind = [two for two in alone if two.kind == one.kind]
        served = _SERVED[one.kind](one, of_its_kind) if one.kind in _SERVED and one.routes else ()
        if served:
            found[one.code] = served
        else:
            alone.append(one)
    return found


def forget() -> None:
    """Other parameters are in force."""
    _shared.cache_clear()


def _rank(one: SearchParam) -> tuple[bool, int, bool, str]:
    """Those that serve come first: R4's before own ones, of few places before many, of all targets before of one."""
    return one.own, len(one.routes), any(way.steps[-1].target for way in one.routes), one.code


def _by_another(one: SearchParam, others: Iterable[SearchParam]) -> Posted:
    """One with the same places, read alike."""
    for two in others:
        if set(two.routes) == set(one.routes) and _emitters(two) == _emitters(one):
            return (two,)
    return ()


def _emitters(one: SearchParam) -> list[object]:
    return [emitter(one, way.type, way.owner) for way in sorted(one.routes, key=str)]


def _by_several(one: SearchParam, others: Iterable[SearchParam]) -> Posted:
    """One with the same places, or several that share them out among them."""
    left, serving = set(one.routes), list[SearchParam]()
    for two in sorted(others, key=lambda two: -len(two.routes)):
        if two.routes and left.issuperset(two.routes):
            left.difference_update(two.routes)
            serving.append(two)
    return () if left else tuple(serving)


def _by_wider(one: SearchParam, others: Iterable[SearchParam]) -> Posted:
    """One with the same places, whatever the references there name."""
    places = set(map(unfiltered, one.routes))
    return next(((two,) for two in others if set(two.routes) == places), ())


def unfiltered(way: Route) -> Route:
    """The same way to references, whatever they name."""
    return Route((*way.steps[:-1], replace(way.steps[-1], target="")), way.type)


_SERVED = {
    "token": _by_several,
    "quantity": _by_several,
    "number": _by_several,
    "string": _by_another,
    "reference": _by_wider,
}
