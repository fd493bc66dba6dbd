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
    values: each as written in the URL, unescaped (`\\,` → `,`), prefix still in front.
    """

    code: str
    kind: Kind
    values: tuple[str, ...]
    modifier: str = ""


@dataclass(frozen=True, slots=True)
class Include:
    """`_include=Observation:subject:Patient` (reverse=False) or `_revinclude=…` (reverse=True)."""

    source: str
    code: str
    target: str = ""
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """One search of one type.

    sort: (parameter code, descending) in order; () = newest row first.
    cursor: opaque text of the previous page's `Page.next`, holding the moment it sees; "" = first page.
    retired: also give merged and provisional Patients (asked by `_id` or `active`).
    """

    type: str
    filters: tuple[Filter, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()
    count: int = 50
    total: Total = "none"
    includes: tuple[Include, ...] = ()
    cursor: str = ""
    retired: bool = False
