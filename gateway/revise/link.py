"""What names another thing by its number points to it once both are stored, whichever came first.

A report names its request, a document its report, a dispense its prescription by the number on paper: a reference with
type and identifier. It gets the literal reference as soon as the resource with that number is there, and is about the
same Patient; a document that came before its report gets it when it is sent again. Where they are about two Patients,
the reference waits until these are one (`meet.py`), and the outcome says so.
Source: FHIR R4 §2.3.0.2 (logical references).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from ..model.context import SYSTEM
from ..model.message import DraftResource
from ..model.outcome import Finding
from ..model.query import Filter, Query, literal
from ..model.resource import Json, dumps, loads
from ..store.base import Move, Resource, Store
from .version import Step, again, bare, ref_of

_WAYS = (  # who names whom, and how it is searched by
    ("DiagnosticReport", "based-on", "ServiceRequest"),
    ("Appointment", "based-on", "ServiceRequest"),
    ("DocumentReference", "related", "ServiceRequest"),
    ("MedicationDispense", "prescription", "MedicationRequest"),
)
NAMING = frozenset(one for one, _, _ in _WAYS)
_NAMED = frozenset(one for _, _, one in _WAYS)
"""Types that are looked for backwards. A report is not: it would cost each report a search that hardly ever finds."""
NAMED = _NAMED | {"DiagnosticReport"}
_TEXT = rb'"((?:[^"\\]|\\.)*)"'
_NUMBER = rb'"type":"(%s)","identifier":\{"system":%s,"value":%s\}\}' % ("|".join(sorted(NAMED)).encode(), _TEXT, _TEXT)
LOGICAL = re.compile(rb"\{" + _NUMBER)
LITERAL = re.compile(rb'\{"reference":"([A-Za-z]+/[^"/]+)",' + _NUMBER)
SUBJECT = re.compile(rb'"(?:subject|actor)":\{"reference":"(Patient/[^"]+)"')
"""Whom a resource is about."""
_MOST = 200
"""Resources that get their reference from one message at most."""
Find = Callable[[str, str, str], Awaitable[Iterable[tuple[str, bytes]]]]
"""(id, body) of what has a number: by type, system and value."""


class Pointed(NamedTuple):
    """A body with its references. apart: a number in it belongs to something of another Patient."""

    body: bytes
    apart: bool = False


def numbers(drafts: Sequence[DraftResource]) -> set[str]:
    """`system|value` by which these drafts name others, or are named."""
    out = set[str]()
    for one in drafts:
        if names(one.type, one.body):
            found = (loads(named.group(0))["identifier"] for named in LOGICAL.finditer(one.body))
            out.update(f"{number['system']}|{number['value']}" for number in found)
        elif one.type in _NAMED:
            out.update(f"{number['system']}|{number['value']}" for number in _own(one))
    return out


async def linked(
    store: Store, drafts: Sequence[DraftResource], moves: Sequence[Move]
) -> tuple[list[DraftResource], list[Finding]]:
    """The drafts with a literal reference wherever what they name is stored, or among them.

    moves: what the same plan moves between Patients first.
    """
    out, findings = list[DraftResource](), list[Finding]()
    for one in drafts:
        if names(one.type, one.body):
            made = await _pointing(store, one, drafts, moves)
            one = one._replace(body=made.body)
            findings += [_finding(f"{one.type}/{one.id}")] if made.apart else []
        out.append(one)
    return out, findings


def names(type_: str, body: bytes) -> bool:
    """Whether a resource may name others by their numbers."""
    return type_ in NAMING and b',"identifier":{"system":' in body


async def _pointing(
    store: Store, one: DraftResource, drafts: Sequence[DraftResource], moves: Sequence[Move]
) -> Pointed:
    async def found(type_: str, system: str, value: str) -> Iterable[tuple[str, bytes]]:
        beside = [(d.id, d.body) for d in drafts if d.type == type_ and numbered(d.json, system, value)]
        return beside or [(row.id, moved(row, moves)) for row in await store.find_identifier(type_, system, value)]

    return await pointed(one.body, found)


def moved(row: Resource, moves: Sequence[Move]) -> bytes:
    """The body of a stored version after these moves."""
    body = row.body
    for move in moves:
        if row.src in move.srcs:
            old, new = f'"Patient/{move.from_patient}"', f'"Patient/{move.to_patient}"'
            body = body.replace(old.encode(), new.encode())
    return body


async def pointed(body: bytes, find: Find) -> Pointed:
    """The body with references to what `find` gives of the same Patient."""
    own, apart = subject(body), False
    for named in dict.fromkeys(one.group(0) for one in LOGICAL.finditer(body)):
        type_, number = (named_in := loads(named))["type"], named_in["identifier"]
        found = [(id_, subject(other)) for id_, other in await find(type_, number["system"], number["value"])]
        same = [id_ for id_, whose in found if own and whose == own]
        if same:
            body = body.replace(named, b'{"reference":"%s/%s",' % (type_.encode(), same[0].encode()) + named[1:])
        apart = apart or bool(found and not same)
    return Pointed(body, apart)


def subject(body: bytes) -> bytes:
    """`Patient/<id>` a resource is about, b"" when it is about nobody."""
    found = SUBJECT.search(body)
    return found.group(1) if found else b""


def patient_of(body: bytes) -> str:
    """Id of the Patient a resource is about, "" when it is about nobody."""
    return subject(body).decode().removeprefix("Patient/")


def numbered(body: Json, system: str, value: str) -> bool:
    """Whether a resource has this number."""
    return any(one.get("system") == system and one.get("value") == value for one in body.get("identifier", ()))


async def now_there(
    store: Store, drafts: Sequence[DraftResource], stored: Iterable[str], moves: Sequence[Move]
) -> tuple[list[Step], list[Finding]]:
    """Stored resources that named, before it was there, what these drafts bring for the first time, pointing to it."""
    old, own = set(stored), {f"{one.type}/{one.id}" for one in drafts}
    out, findings = dict[str, Step](), dict[str, Finding]()
    for one in drafts:
        if one.type not in _NAMED or f"{one.type}/{one.id}" in old:
            continue
        for row in await _naming(store, one):
            body = loads(moved(row, moves))
            ref = ref_of(body)
            before = dumps(bare(body))
            made = await pointed(before, _only(one))
            if ref not in own and made.body != before:
                out[ref] = again(row, loads(made.body), body, patient_of(made.body))
            elif made.apart:
                findings[ref] = _finding(ref)
    return list(out.values()), list(findings.values())


def _only(one: DraftResource) -> Find:
    async def found(type_: str, system: str, value: str) -> Iterable[tuple[str, bytes]]:
        return [(one.id, one.body)] if type_ == one.type and numbered(one.json, system, value) else []

    return found


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


def _finding(ref: str) -> Finding:
    zh = "它写的申请单号、处方号等属于另一位患者名下的内容：已照常入库，引用等两个患者号合并或认定为同一人后自动补上。"
    en = "What it names by number is about another Patient: stored; the reference follows once the two are one person."
    return Finding("GW-REV-006", "warning", ref, zh, en)
