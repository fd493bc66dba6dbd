"""What of FHIR writes needs no store: a Bundle read entry by entry, and bodies checked, indexed, compressed.

Pure, so that it may be done in the loop for little and in another process for much (`preparer.py`); the work and its
outcome are the same. A place that cannot be prepared is only named: whoever asked does it again, and meets the fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct

from ..errors import BadParameter, BadReference, GatewayError
from ..model.json_fault import JSON_FAULTS, unparseable
from ..model.subject import subject_of
from ..store.base import PackedPut, src_of
from ..store.bodies import pack_put, prepare, shipped_codec
from ..validate.definitions import resource_types
from .bounds import bounded
from .fhir_body import head_of, said

_ADDRESS = re.compile(rb'"(reference|url|uri|value(?:Uri|Url|Uuid|Oid|Canonical))"\s*:\s*"([^"\\]{1,2048})"')
_REFERENCE = re.compile(rb'("reference"\s*:\s*")([^"\\]{1,2048})')
_TEMPORARY = (b"urn:uuid:", b"urn:oid:")
_SIGNS = (b'"urn:uuid:', b'"urn:oid:', b"?")
"""A body without any of these has references to resources alone."""
_OF_A_SERVER = re.compile(r"(https?://.+/)([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?")
Places = Mapping[str, str]
"""What stands for an address of the Bundle or a conditional reference: `Type/id` by the text in the body."""


class _Bundle(Struct):
    resourceType: str = ""
    type: str = ""
    entry: list[msgspec.Raw] = []


class Request(Struct, frozen=True, omit_defaults=True, gc=False):
    """`Bundle.entry.request`."""

    method: str = ""
    url: str = ""
    ifMatch: str = ""
    ifNoneExist: str = ""
    ifNoneMatch: str = ""
    ifModifiedSince: str = ""


class _Entry(Struct):
    fullUrl: str = ""
    resource: msgspec.Raw = msgspec.Raw(b"")
    request: Request | None = None


_bundles = msgspec.json.Decoder(_Bundle)
_entries = msgspec.json.Decoder(_Entry)


class Entry(Struct, frozen=True, array_like=True, gc=False):
    """One entry as read. Its resource lies at [start, end) of the Bundle's bytes.

    request: None when the entry cannot be read; then [start, end) is the whole entry, and `read_entry` tells why.
    type, id: what its resource says it is. asked: its conditional references.
    """

    start: int
    end: int
    full_url: str = ""
    request: Request | None = None
    type: str = ""
    id: str = ""
    asked: tuple[str, ...] = ()


class Wanted(Struct, frozen=True, array_like=True, gc=False):
    """A resource at [start, end) of some bytes, to be made ready as a member's own under a type and an id.

    base: this server's address. root: what its relative references begin with in its Bundle (`root_of`).
    """

    start: int
    end: int
    member: str
    type: str
    id: str
    base: str = ""
    root: str = ""


class Ready(Struct, frozen=True, array_like=True, gc=False):
    """A body as a put, and whom it is about ("" = nobody). The put expects nothing yet."""

    patient: str
    put: PackedPut


class Draft:
    """A Bundle of interactions. Raises Unparseable, BadParameter for what is none."""

    def __init__(self, body: bytes | bytearray) -> None:
        try:
            bundle = _bundles.decode(body)
        except JSON_FAULTS as fault:
            raise unparseable(bytes(body), fault) from None
        if bundle.resourceType != "Bundle" or bundle.type not in ("batch", "transaction"):
            raise BadParameter("Bundle.type", "batch or transaction", detail_zh="须为 batch 或 transaction。")
        self.kind, self.count = bundle.type, len(bundle.entry)
        self._entries, self._body = bundle.entry, body

    def entries(self) -> Iterator[Entry]:
        """In their order."""
        at = 0
        for raw in self._entries:
            whole = bytes(raw)
            start = self._body.find(whole, at)
            at = start + len(whole)
            try:
                yield read_entry(whole, start)
            except GatewayError:
                yield Entry(start, at)


def read_entry(whole: bytes, start: int) -> Entry:
    """One entry, which begins there in its Bundle. Raises Unparseable, BadParameter when it has no request."""
    try:
        entry = _entries.decode(whole)
    except JSON_FAULTS as fault:
        raise unparseable(whole, fault) from None
    if entry.request is None:
        raise BadParameter("request", "method and url are required", detail_zh="缺少 method 或 url。")
    resource = bytes(entry.resource)
    begin = start + whole.find(resource)
    end = begin + len(resource)
    if not resource:
        return Entry(begin, end, entry.fullUrl, entry.request)
    head = head_of(resource)
    try:
        asked = tuple(conditional(resource)) if b"?" in resource else ()
    except JSON_FAULTS as fault:
        raise unparseable(whole, fault) from None
    return Entry(begin, end, entry.fullUrl, entry.request, head.resourceType, head.id, asked)


def ready(body: bytes | bytearray, wanted: Iterable[Wanted], places: Places) -> Iterator[Ready | None]:
    """Each resource wanted, None where there is a fault (`made_ready` tells which)."""
    for one in wanted:
        try:
            sent = resolved(one.type, bytes(body[one.start : one.end]), places, one.base, one.root)
            yield made_ready(one.member, one.type, one.id, sent)
        except Exception:  # whatever it is, whoever asked does it again and meets it
            yield None


def conditional(body: bytes) -> Iterator[str]:
    """The conditional references of a body (`Patient?identifier=…`), each once."""
    found = dict.fromkeys(match[2] for match in _REFERENCE.finditer(body))
    return (one.decode() for one in found if _is_conditional(one))


def root_of(full_url: str) -> str:
    """The server an entry's fullUrl is of, "" for a temporary address.

    A relative reference means a resource of that server, perhaps another entry (FHIR R4 bundle.html#references).
    """
    found = _OF_A_SERVER.fullmatch(full_url)
    return found[1] if found and found[2] in resource_types() else ""


def resolved(type_: str, body: bytes, places: Places, base: str = "", root: str = "") -> bytes:
    """A body with addresses replaced by what they stand for. Raises BadReference for a temporary one nobody knows.

    base: this server's address. root: before relative references of the body. A Bundle that is kept has addresses of
    its own.
    """
    if type_ == "Bundle":
        return body
    if not places and b"urn:" not in body:
        return at_home(body, base)

    def swap(match: re.Match[bytes]) -> bytes:
        address = match[2].decode(errors="replace")
        place = places.get(root + address) if root and match[1] == b"reference" else None
        place = place or places.get(address)
        if place is not None:
            return b'"' + match[1] + b'":"' + place.encode() + b'"'
        if match[1] == b"reference" and match[2].startswith(_TEMPORARY):
            raise BadReference("resource", address[:64])
        return match[0]

    return at_home(_ADDRESS.sub(swap, body), base)


def at_home(body: bytes, base: str) -> bytes:
    """A body whose references to this very server are relative ones: by those it is found and filed."""
    own = base.encode() + b"/"
    if not base or own not in body:
        return body
    return _REFERENCE.sub(lambda match: match[1] + match[2].removeprefix(own), body)


def alone(type_: str, body: bytes, base: str) -> bytes:
    """A body that comes by itself. Raises BadReference for what only a transaction gives a meaning: filed under
    nobody, it would be lost.
    """
    if type_ == "Bundle":
        return body
    for match in _REFERENCE.finditer(body) if any(sign in body for sign in _SIGNS) else ():
        if match[2].startswith(_TEMPORARY) or _is_conditional(match[2]):
            address = match[2][:64].decode(errors="replace")
            detail_zh = f"{address} 只能用在事务（transaction）里。"
            raise BadReference(type_, f"{address} has a meaning in a transaction only", detail_zh=detail_zh)
    return at_home(body, base)


def _is_conditional(address: bytes) -> bool:
    return b"?" in address and address.partition(b"?")[0].decode(errors="replace") in resource_types()


def made_ready(member: str, type_: str, id_: str, body: bytes) -> Ready:
    """A body as its writer's own. Raises TooLarge, Unparseable, BadParameter, Invalid, ActiveNarrative."""
    bounded(body, type_)
    said(type_, head_of(body).resourceType)
    try:
        patient = subject_of(type_, id_, body)
    except JSON_FAULTS as fault:
        raise unparseable(body, fault) from None
    src = src_of(member, patient) if patient else 0
    put = prepare(type_, id_, body, patient=patient, src=src, member=member)
    return Ready(patient, pack_put(put, shipped_codec()))
