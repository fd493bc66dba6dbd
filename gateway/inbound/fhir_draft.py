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

    root: what its relative references begin with in its Bundle (`root_of`).
    """

    start: int
    end: int
    member: str
    type: str
    id: str
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
    asked = tuple(conditional(resource)) if b"?" in resource else ()
    return Entry(begin, end, entry.fullUrl, entry.request, head.resourceType, head.id, asked)


def ready(body: bytes | bytearray, wanted: Iterable[Wanted], places: Places) -> Iterator[Ready | None]:
    """Each resource wanted, None where there is a fault (`made_ready` tells which)."""
    for one in wanted:
        try:
            sent = resolved(bytes(body[one.start : one.end]), places, one.root)
            yield made_ready(one.member, one.type, one.id, sent)
        except Exception:  # whatever it is, whoever asked does it again and meets it
            yield None


def conditional(body: bytes) -> Iterator[str]:
    """The conditional references of a body (`Patient?identifier=…`), each once."""
    found = (match[2].decode() for match in _ADDRESS.finditer(body) if match[1] == b"reference")
    for one in dict.fromkeys(found):
        if "?" in one and one.partition("?")[0] in resource_types():
            yield one


def root_of(full_url: str) -> str:
    """The server an entry's fullUrl is of, "" for a temporary address.

    A relative reference means a resource of that server, perhaps another entry (FHIR R4 bundle.html#references).
    """
    found = _OF_A_SERVER.fullmatch(full_url)
    return found[1] if found and found[2] in resource_types() else ""


def resolved(body: bytes, places: Places, root: str = "") -> bytes:
    """A body with addresses replaced by what they stand for. Raises BadReference for a temporary one nobody knows.

    root: before its relative references.
    """
    if not places and b"urn:" not in body:
        return body

    def swap(match: re.Match[bytes]) -> bytes:
        address = match[2].decode()
        place = places.get(root + address) if root and match[1] == b"reference" else None
        place = place or places.get(address)
        if place is not None:
            return b'"' + match[1] + b'":"' + place.encode() + b'"'
        if match[1] == b"reference" and address.startswith(("urn:uuid:", "urn:oid:")):
            raise BadReference("resource", address[:64])
        return match[0]

    return _ADDRESS.sub(swap, body)


def made_ready(member: str, type_: str, id_: str, body: bytes) -> Ready:
    """A body as its writer's own. Raises TooLarge, Unparseable, BadParameter, Invalid, ActiveNarrative."""
    bounded(body, type_)
    said(type_, head_of(body).resourceType)
    patient = subject_of(type_, id_, body)
    src = src_of(member, patient) if patient else 0
    put = prepare(type_, id_, body, patient=patient, src=src, member=member)
    return Ready(patient, pack_put(put, shipped_codec()))
