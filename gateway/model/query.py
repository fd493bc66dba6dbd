"""A search as data: what the URL meant, before anybody decided how to run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["token", "string", "reference", "date", "number", "quantity", "uri", "composite", "special"]
Total = Literal["none", "estimate", "accurate"]


@dataclass(frozen=True, slots=True)
class Filter:
    """One search parameter of the URL; `values` are alternatives (OR), several Filters are AND.

    code: the parameter (`code`, `birthdate`, `_id`, `_lastUpdated`, …) without modifier.
    values: each as written in the URL, prefix in front; a backslash escapes `,` `|` `$` and itself.
    """

    code: str
    kind: Kind
    values: tuple[str, ...]
    modifier: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """`subject:Patient.name=张`: a reference parameter, and what must hold for one it points to, by its type."""

    code: str
    ways: tuple[tuple[str, Condition], ...]


@dataclass(frozen=True, slots=True)
class Has:
    """`_has:Observation:patient:code=718-7`: a resource of that type points here by that parameter, and fits."""

    type: str
    code: str
    condition: Condition


Condition = Filter | Chain | Has


@dataclass(frozen=True, slots=True)
class Include:
    """`_include=Observation:subject:Patient` (reverse=False) or `_revinclude=…` (reverse=True).

    source "": any type; code `*`: every reference parameter. iterate: also from what was included.
    """

    source: str
    code: str
    target: str = ""
    reverse: bool = False
    iterate: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """One search of one type.

    types: of a search across types, which ones; `type` is "" then. within: `Patient/x`, the compartment searched.
    sort: (parameter code, descending) in order; () = newest row first.
    cursor: opaque text of the previous page's `Page.next`, holding the moment it sees; "" = first page.
    retired: also give merged and provisional Patients (asked by `_id` or `active`).
    """

    type: str
    filters: tuple[Condition, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()
    count: int = 50
    total: Total = "none"
    includes: tuple[Include, ...] = ()
    cursor: str = ""
    retired: bool = False
    types: tuple[str, ...] = ()
    within: str = ""
