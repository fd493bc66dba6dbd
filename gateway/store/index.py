"""Search keys of a resource: R4's search parameters compiled to straight-line Python over the structs.

`extract` gives everything a row can be found by. The generated function of a type tests each element once and calls
the emitters of `index_values.py`; its source comes from the R4 tables alone. The query side is `index_query.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from ..validate.definitions import compartment
from ..validate.fhirpath import Route
from .base import Keys, hash64
from .index_extract import Planted, Reader, reader
from .index_filter import CompiledFilter
from .index_own import keep, load
from .index_params import UNSUPPORTED, SearchParam, own_param, params, presence
from .index_query import ORDERED, compile_filter, sort_key
from .index_shared import forget as forget_shared
from .index_shared import posted_as, unfiltered
from .index_values import Gathered, Target, code_tokens, emitter, split_part, target_of

__all__ = [
    "ORDERED",
    "UNSUPPORTED",
    "CompiledFilter",
    "SearchParam",
    "compile_filter",
    "extract",
    "forgets",
    "keep_parameters",
    "meta_tokens",
    "params",
    "sort_key",
]

_COMPARTMENTS = ("Patient", "Encounter")
forgets: list[Callable[[], None]] = [forget_shared]
"""Called when other search parameters come in force, by whoever remembers what was made of them."""
_META = ("source", "profile", "tag", "security")


def extract(resource_type: str, resource: Struct, resource_id: str, meta: Mapping[str, Any] | None = None) -> Keys:
    """Keys of one version.

    resource: what `validate.structure.decode` gave. meta: the meta members the row will carry (source, tag, profile,
    security) as JSON; the struct's own meta is taken when it is None. Tokens come without repetition, in no order.
    """
    gathered = Gathered()
    _extractor(resource_type)(resource, gathered)
    tokens = set(gathered.tokens)
    tokens.add(hash64(resource_type, "_id", resource_id))
    if resource_type in _COMPARTMENTS:
        tokens.add(hash64("compartment", resource_type, resource_id))
    said = _own_meta(resource) if meta is None else meta
    tokens.update(meta_tokens(resource_type, said))
    bits = presence(resource_type)
    present = gathered.present
    for name in _META if said else ():
        present |= bits[f"_{name}"] if said.get(name) else 0
    return Keys(
        tuple(tokens),
        tuple(gathered.refs),
        tuple(gathered.dates),
        tuple(gathered.numbers),
        tuple(gathered.texts),
        present,
        tuple(dict.fromkeys(gathered.wordings)),
        tuple(set(gathered.patients)),
    )


def keep_parameters(folders: Iterable[Path]) -> None:
    """Put the own parameters of these profile folders in force, first folder first. Raises ConfigError.

    Before any row is written or asked; rows written under others are due for a reindex.
    """
    found = load(folders)
    for one in found:
        for base in one.row.bases:
            own_param(base, one)
    keep(found)
    for made in (params, presence, _extractor):
        made.cache_clear()
    for forget in forgets:
        forget()


def meta_tokens(resource_type: str, meta: Mapping[str, Any]) -> list[int]:
    """Tokens of `_source`, `_profile`, `_tag` and `_security`."""
    if not meta:
        return []
    found = []
    if meta.get("source"):
        found.append(hash64(resource_type, "_source", meta["source"]))
    found += [hash64(resource_type, "_profile", url) for url in meta.get("profile") or ()]
    for name in ("tag", "security"):
        for coding in meta.get(name) or ():
            found += code_tokens(f"{resource_type}|_{name}", coding.get("system"), coding.get("code"))
    return found


def _own_meta(resource: Any) -> dict[str, Any]:
    meta = resource.meta
    if meta is None:
        return {}
    return {
        "source": meta.source,
        "profile": meta.profile,
        "tag": _codings(meta.tag),
        "security": _codings(meta.security),
    }


def _codings(found: Any) -> list[dict[str, Any]]:
    return [{"system": c.system, "code": c.code} for c in found or ()]


# ---- compiling ----------------------------------------------------------------------------------
@cache
def _extractor(resource_type: str) -> Reader:
    planted = [one for param in params(resource_type).values() for one in _planted(param)]
    for name in _COMPARTMENTS:
        planted += [(route, partial(_inside, name), 0) for route in _ways_into(resource_type, name)]
    return reader(planted)


def _planted(param: SearchParam) -> Iterator[Planted]:
    posts = posted_as(param) == (param,)
    for route in param.routes:
        target = Target(param, presence(param.type).get(param.code, 0), posts=posts)
        takes = posts or param.kind == "reference"
        yield route, partial(emitter(param, route.type, route.owner), target) if takes else None, target.bit
        yield from _untold(param, route, target)


def _untold(param: SearchParam, route: Route, target: Target) -> Iterator[Planted]:
    """`family` and `given` of a name that has only its text."""
    part = param.code if param.kind == "string" and route.owner == "name" else ""
    if part in ("family", "given"):
        yield Route(route.steps[:-1], "HumanName"), partial(split_part, part, target), 0


def _ways_into(resource_type: str, name: str) -> list[Route]:
    known = params(resource_type)
    codes = compartment(name).get(resource_type, ())
    ways = [route for code in codes if code in known for route in known[code].routes if route.type == "Reference"]
    # the filter `resolve() is Patient` is what `inside` tests; without it `subject` and `patient` are one way
    return list(dict.fromkeys(map(unfiltered, ways)))


def _inside(name: str, g: Gathered, reference: Any) -> None:
    text = reference.reference
    if text is not None and text.startswith(name + "/"):
        g.tokens.append(_member_of(name, text))


@lru_cache(8192)
def _member_of(name: str, text: str) -> int:
    return hash64("compartment", name, target_of(text)[1])
