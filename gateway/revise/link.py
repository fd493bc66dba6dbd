"""What names another thing by its number points to it once both are stored, whichever came first.

A report names its request, a document its report, a dispense its prescription by the number on paper: a reference with
type and identifier. It gets the literal reference as soon as the resource with that number is there, and is about the
same Patient; a document that came before its report gets it when it is sent again.
Source: FHIR R4 §2.3.0.2 (logical references).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from ..model.context import SYSTEM
from ..model.message import DraftResource
from ..model.query import Filter, Query, literal
from ..model.resource import Json, dumps, loads
from ..store.base import Resource, Store
from .version import bare, kept, ref_of

_WAYS = (  # who names whom, and how it is searched by
    ("DiagnosticReport", "based-on", "ServiceRequest"),
    ("Appointment", "based-on", "ServiceRequest"),
    ("DocumentReference", "related", "ServiceRequest"),
    ("MedicationDispense", "prescription", "MedicationRequest"),
)
_NAMING = frozenset(one for one, _, _ in _WAYS)
_NAMED = frozenset(one for _, _, one in _WAYS)
"""Types that are looked for backwards. A report is not: it would cost each report a search that hardly ever finds."""
_TEXT = rb'"((?:[^"\\]|\\.)*)"'
_LOGICAL = re.compile(
    rb'\{"type":"(%s|DiagnosticReport)","identifier":\{"system":%s,"value":%s\}\}'
    % ("|".join(sorted(_NAMED)).encode(), _TEXT, _TEXT)
)
SUBJECT = re.compile(rb'"(?:subject|actor)":\{"reference":"(Patient/[^"]+)"')
"""Whom a resource is about."""
_MOST = 200
"""Resources that get their reference from one message at most."""


class Late(NamedTuple):
    """A stored resource that can point to what came now: its new body and meta, and the version it was made from.

    record: which of the message's records is the Patient of both.
    """

    row: Resource
    body: Json
    meta: Json
    record: int


def numbers(drafts: Sequence[DraftResource]) -> set[str]:
    """`system|value` by which these drafts name others, or are named."""
    out = set[str]()
    for one in drafts:
        if _names(one):
            found = (loads(named.group(0))["identifier"] for named in _LOGICAL.finditer(one.body))
            out.update(f"{number['system']}|{number['value']}" for number in found)
        elif one.type in _NAMED:
            out.update(f"{number['system']}|{number['value']}" for number in _own(one))
    return out


async def linked(store: Store, drafts: Sequence[DraftResource]) -> list[DraftResource]:
    """The drafts with a literal reference wherever what they name is stored, or among them."""
    return [await _pointing(store, one, drafts) if _names(one) else one for one in drafts]


def _names(one: DraftResource) -> bool:
    return one.type in _NAMING and b',"identifier":{"system":' in one.body


async def _pointing(store: Store, one: DraftResource, drafts: Sequence[DraftResource]) -> DraftResource:
    async def found(type_: str, system: str, value: str) -> Iterable[tuple[str, bytes]]:
        beside = [(d.id, d.body) for d in drafts if d.type == type_ and _numbered(d.json, system, value)]
        return beside or [(row.id, row.body) for row in await store.find_identifier(type_, system, value)]

    return one._replace(body=await _pointed(one.body, found))


async def _pointed(body: bytes, find: Callable[[str, str, str], Awaitable[Iterable[tuple[str, bytes]]]]) -> bytes:
    """The body with references to what `find` gives of the same Patient: (id, body) by type, system and value."""
    subject = _subject(body)
    for named in dict.fromkeys(one.group(0) for one in _LOGICAL.finditer(body)):
        type_, number = (named_in := loads(named))["type"], named_in["identifier"]
        same = [
            id_ for id_, other in await find(type_, number["system"], number["value"]) if _subject(other) == subject
        ]
        if same and subject:
            body = body.replace(named, b'{"reference":"%s/%s",' % (type_.encode(), same[0].encode()) + named[1:])
    return body


def _subject(body: bytes) -> bytes:
    found = SUBJECT.search(body)
    return found.group(1) if found else b""


def _numbered(body: Json, system: str, value: str) -> bool:
    return any(one.get("system") == system and one.get("value") == value for one in body.get("identifier", ()))


async def now_there(store: Store, drafts: Sequence[DraftResource], stored: Iterable[str]) -> list[Late]:
    """Stored resources that named, before it was there, what these drafts bring for the first time."""
    old, own = set(stored), {f"{one.type}/{one.id}" for one in drafts}
    out: dict[str, Late] = {}
    for one in drafts:
        if one.type in _NAMED and f"{one.type}/{one.id}" not in old:
            for row in await _naming(store, one):
                if ref_of(body := loads(row.body)) not in own and (new := await _towards(one, body)) is not None:
                    out[f"{row.type}/{row.id}"] = Late(row, new, kept(body).meta or {}, one.record)
    return list(out.values())


def _own(one: DraftResource) -> list[Json]:
    return [i for i in one.json.get("identifier", ()) if i.get("system") and i.get("value")]


async def _naming(store: Store, one: DraftResource) -> list[Resource]:
    values = tuple(f"{literal(i['system'])}|{literal(i['value'])}" for i in _own(one))
    out: list[Resource] = []
    for naming, param, named in _WAYS if values else ():
        if named == one.type:
            asked = Query(naming, (Filter(param, "reference", values, "identifier"),), count=_MOST)
            out += (await store.search(asked, SYSTEM)).matches
    return out


async def _towards(one: DraftResource, body: Json) -> Json | None:
    """The stored body pointing to the draft, None when it does not."""

    async def found(type_: str, system: str, value: str) -> Iterable[tuple[str, bytes]]:
        return [(one.id, one.body)] if type_ == one.type and _numbered(one.json, system, value) else []

    old = dumps(bare(body))
    new = await _pointed(old, found)
    return loads(new) if new != old else None
