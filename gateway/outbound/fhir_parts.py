"""What the FHIR doors are joined from, and the words they share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from ..model.context import AccessContext
from ..model.rest import Answer, Call, prefer
from ..model.times import Clock
from ..security.access import Access
from ..security.cors import Cors
from ..security.seal import Seal
from ..store.base import Store, StoreReads
from .fhir_conditions import Lookup
from .fhir_query import CLIENT_CONTROLS, Rules


@dataclass(frozen=True, slots=True)
class On:
    """What a request is about. name: FHIR restful-interaction code; operation: with its dollar sign.

    within: of a compartment search the compartment, `Patient/1`; its type is "" for all types.
    """

    name: str
    type: str = ""
    id: str = ""
    version: int = 0
    operation: str = ""
    within: str = ""

    @property
    def level(self) -> Level:
        """Of what an operation is asked."""
        return "instance" if self.id else "type" if self.type else "system"

    @property
    def place(self) -> str:
        """`Patient/1`, `Patient`, `Patient/1/*` or "" for the whole system."""
        if self.within:
            return f"{self.within}/{self.type or '*'}"
        return f"{self.type}/{self.id}" if self.id else self.type


@dataclass(frozen=True, slots=True)
class Original:
    """A kept original as it was received: bytes, media type, and the Patients it speaks of."""

    body: bytes
    media: str
    patients: tuple[str, ...] = ()


Originals = Callable[[str, AccessContext], Awaitable[Original | None]]
"""The original under a raw key, None when there is none or the caller may not have it."""

Level = Literal["instance", "type", "system"]
Handler = Callable[["FhirParts", Call, On], Awaitable[Answer]]
Write = Callable[[Call, On], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One named operation. `definition`: canonical of its OperationDefinition. type: "" = every type.

    parameters: query parameters it knows. levels: of what it is asked.
    """

    code: str
    type: str
    handler: Handler
    definition: str
    parameters: frozenset[str] = frozenset()
    documentation: str = ""
    levels: tuple[Level, ...] = ("instance",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchParts:
    """What a search needs. lookup: search parameters of a type (`store.index.params`). types: resource types served."""

    store: StoreReads
    clock: Clock
    lookup: Lookup
    types: frozenset[str]
    client_controls: frozenset[str] = CLIENT_CONTROLS
    page_life_s: int = 3600

    def rules(self, call: Call) -> Rules:
        """How strict this request wants to be treated."""
        return Rules(prefer(call.header("prefer"), "handling") == "lenient", self.client_controls)

    def seal(self, purpose: str) -> Seal:
        """Closes and opens paging links of one kind; the same on every process of one store."""
        return _seal(self.store.store_key, purpose)


Search = Callable[[SearchParts, Call, On], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirParts(SearchParts):
    """write: the writing door, None for a read-only gateway. base: public address of `/fhir`, "" = as the client
    addressed it. originals: reads kept originals for `Binary/<raw key>`. many_deletes: a conditional delete may meet
    several. search: answers searches, None for here.
    """

    store: Store
    access: Access
    version: str
    operations: tuple[Operation, ...] = ()
    write: Write | None = None
    originals: Originals | None = None
    base: str = ""
    many_deletes: bool = False
    cors: Cors = field(default_factory=Cors)
    caches: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    search: Search | None = None


@lru_cache(8)
def _seal(key: bytes, purpose: str) -> Seal:
    return Seal(key, purpose)
