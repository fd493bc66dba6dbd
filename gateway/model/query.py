"""A search as data: what the URL meant, before anybody decided how to run it."""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

Kind = Literal["token", "string", "reference", "date", "number", "quantity", "uri", "composite", "special"]
Total = Literal["none", "estimate", "accurate"]


class Filter(Struct, frozen=True):
    """One search parameter of the URL; `values` are alternatives (OR), several Filters are AND.

    code: the parameter (`code`, `birthdate`, `_id`, `_lastUpdated`, …) without modifier.
    values: each as written in the URL, prefix in front; a backslash escapes `,` `|` `$` and itself.
    """

    code: str
    kind: Kind
    values: tuple[str, ...]
    modifier: str = ""


class Chain(Struct, frozen=True):
    """`subject:Patient.name=张`: a reference parameter, and what must hold for one it points to, by its type."""

    code: str
    ways: tuple[tuple[str, Condition], ...]


class Has(Struct, frozen=True):
    """`_has:Observation:patient:code=718-7`: a resource of that type points here by that parameter, and fits."""

    type: str
    code: str
    condition: Condition


Condition = Filter | Chain | Has


def literal(text: str) -> str:
    """A text as a search value that means just it: what would separate is escaped (FHIR R4 search.html#escaping)."""
    return re.sub(r"([\\,|$])", r"\\\1", text)


class Include(Struct, frozen=True):
    """`_include=Observation:subject:Patient` (reverse=False) or `_revinclude=…` (reverse=True).

    source "": any type; code `*`: every reference parameter. iterate: also from what was included.
    """

    source: str
    code: str
    target: str = ""
    reverse: bool = False
    iterate: bool = False


class Query(Struct, frozen=True):
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
