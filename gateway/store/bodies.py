"""Bodies as stored: zstd with a shipped dictionary, `id` and `meta` taken off at the door, spliced on when read.

What is compressed is `<kept meta>\\n<resource>`: the client's meta members as compact JSON without a line
break, then the resource without `id` and `meta`, `resourceType` first, every other member with its own
bytes, in order (design-store §6).
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache, lru_cache
from importlib import resources as package_files
from typing import cast

import msgspec
import zstandard
from msgspec import Struct

from ..errors import StoreError, Unparseable
from ..model.resource import Json, dumps
from ..model.subject import subject_of
from ..model.systems import RECORD_TAG
from ..model.times import CHINA, instant_text
from ..validate.shapes import struct
from ..validate.structure import decode
from .base import Keys, PackedPut, Put, Resource, fh_of, hash64, label_bits, param_number
from .engine import DELETED, RETIRED, Row
from .index import ORDERED, extract
from .index_text import sortable
from .packing import pack_keys

LEVEL = 3
_KEPT = ("profile", "source", "security", "tag", "extension")
_OWN_META = ("versionId", "lastUpdated", "source")
_ORDERED = frozenset((type_, param_number(code)) for type_, code in ORDERED)
"""Parameters (type, number) whose dates and texts population searches need in order."""
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_content = msgspec.json.Decoder(float_hook=Decimal).decode
_sorted = msgspec.json.Encoder(decimal_format="number", order="sorted").encode
_plain = msgspec.json.Encoder().encode
_FARTHEST = 308


class Codec:
    """Compresses with the newest dictionary, reads with any ever used. Safe in many threads."""

    def __init__(self, newest: int, dictionaries: Mapping[int, bytes]) -> None:
        self._newest = newest
        self._dictionaries = {key: zstandard.ZstdCompressionDict(data) for key, data in dictionaries.items()}
        self._local = threading.local()

    def pack(self, data: bytes) -> bytes:
        """A zstd frame that names its dictionary."""
        packer: zstandard.ZstdCompressor | None = getattr(self._local, "packer", None)
        if packer is None:
            packer = zstandard.ZstdCompressor(level=LEVEL, dict_data=self._dictionaries[self._newest])
            self._local.packer = packer
        return packer.compress(data)

    def unpack(self, frame: bytes) -> bytes:
        """The bytes given to `pack`."""
        try:
            return self._local.newest.decompress(frame)  # type: ignore[no-any-return]
        except AttributeError:
            self._local.newest = self._reader(self._newest)
            return self.unpack(frame)
        except zstandard.ZstdError:
            number = _dictionary_of(frame)
            if number == self._newest or number not in self._dictionaries:
                raise StoreError(detail=f"a body is damaged or its dictionary {number} is missing") from None
        try:
            return self._reader(number).decompress(frame)
        except zstandard.ZstdError:
            raise StoreError(detail="a body is damaged") from None

    def _reader(self, number: int) -> zstandard.ZstdDecompressor:
        readers: dict[int, zstandard.ZstdDecompressor] | None = getattr(self._local, "readers", None)
        if readers is None:
            readers = self._local.readers = {}
        if number not in readers:
            readers[number] = zstandard.ZstdDecompressor(dict_data=self._dictionaries[number])
        return readers[number]


def _dictionary_of(frame: bytes) -> int:
    """The id a frame names, 0 when it is no frame."""
    try:
        return int(zstandard.get_frame_parameters(frame).dict_id)
    except zstandard.ZstdError:
        return 0


def shipped_dictionaries() -> dict[int, bytes]:
    """Dictionaries in the package by zstd id, oldest first: files `<version>-<blake2b 16 hex>.zdict`.

    Raises StoreError when a file is not what its name says.
    """
    found: dict[int, bytes] = {}
    folder = package_files.files(__package__) / "dictionaries"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".zdict"):
            data = file.read_bytes()
            if dictionary_hash(data) not in file.name:
                raise StoreError(file.name, "the dictionary does not have the hash in its name")
            found[zstandard.ZstdCompressionDict(data).dict_id()] = data
    return found


@cache
def shipped_codec() -> Codec:
    """The codec of this release: every store keeps its dictionary before it opens."""
    shipped = shipped_dictionaries()
    return Codec(list(shipped)[-1], shipped)


def dictionary_hash(data: bytes) -> str:
    """The name of a dictionary."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


class RawPut(Struct, frozen=True, array_like=True, gc=False):
    """A whole resource body and what `prepare` is to make a Put of it with; may travel to another process."""

    type: str
    id: str
    body: bytes
    patient: str
    src: int
    member: str
    meta: Json
    expect: int | None


# ---- in --------------------------------------------------------------------------------------
def strip(resource_type: str, body: bytes) -> tuple[bytes, Json]:
    """(JSON without id and meta, resourceType first; the client's own meta members)."""
    members = _members(body)
    members.pop("id", None)
    members.pop("resourceType", None)
    meta = members.pop("meta", None)
    parts = [b'{"resourceType":' + _plain(resource_type)]
    parts += [_plain(name) + b":" + bytes(raw) for name, raw in members.items()]
    kept = _content(bytes(meta)) if meta is not None else {}
    return b",".join(parts) + b"}", kept if isinstance(kept, dict) else {}


def kept_meta(*metas: Json) -> bytes:
    """The client's and pipeline's meta members as JSON; later ones win, what the server says itself is left out."""
    merged: Json = {}
    for meta in metas:
        merged.update({name: value for name, value in meta.items() if name in _KEPT and value not in (None, [], "")})
    return dumps(merged)


def prepare(
    resource_type: str,
    resource_id: str,
    body: bytes,
    *,
    patient: str = "",
    src: int = 0,
    member: str = "",
    meta: Json | None = None,
    expect: int | None = None,
    resource: Struct | None = None,
) -> Put:
    """A Put from a whole resource body: id and meta taken off, keys extracted, labels turned into `acl`.

    meta: members that win over the body's own (source, tag, profile, security). resource: what
    `validate.structure.decode` gave, when the caller has it; without it the body is decoded, and checked, here.
    Raises Invalid, Unparseable.
    """
    made = resource if resource is not None else decode(resource_type, body)
    stripped, own = strip(resource_type, body)
    kept = kept_meta(own, meta or {})
    said = json_of(kept)
    keys = extract(resource_type, made, resource_id, said)
    acl = label_bits(said.get("security"))
    return Put(resource_type, resource_id, stripped, keys, kept, patient, src, member, acl, expect)


def made_put(raw: RawPut) -> Put:
    """The same, asked for in one piece."""
    return prepare(
        raw.type, raw.id, raw.body,
        patient=raw.patient, src=raw.src, member=raw.member, meta=raw.meta, expect=raw.expect,
    )  # fmt: skip


def repointed(put: Put, old_patient: str, new_patient: str, before: bytes = b"") -> Put:
    """The same content with its references to one Patient pointing to another, lying with that other one.

    before: the body of a version from before the two were one, when this is the way back.
    """
    body = repoint(put.body, old_patient, new_patient, before)
    made: Struct = msgspec.json.decode(body, type=struct(put.type))
    keys = extract(put.type, made, put.id, json_of(put.meta))
    return msgspec.structs.replace(put, body=body, keys=keys, patient=new_patient)


def opened_put(put: PackedPut, codec: Codec) -> Put:
    """A packed put as the Put that made it, without keys."""
    meta, _, body = codec.unpack(put.body).partition(b"\n")
    patient = subject_of(put.type, put.id, body)
    return Put(put.type, put.id, body, Keys(), meta, patient, put.src, put.member, put.acl, put.expect)


def stored_put(row: Row, codec: Codec, patient: str) -> Put:
    """A stored version as the Put that made it, without keys; expects to follow that version."""
    opened = open_body(row, codec)
    return Put(
        row.type, row.id, opened.body, Keys(), opened.meta, patient, row.src, row.member, row.acl, row.version
    )  # fmt: skip


# ---- packed ----------------------------------------------------------------------------------
def pack_put(put: Put, codec: Codec) -> PackedPut:
    """Everything costly about a Put, done outside its transaction."""
    content = _measured(put.body)
    meta = _content(put.meta)
    fh = fh_of(put.type, put.id)
    home = fh if put.type == "Patient" else fh_of("Patient", put.patient) if put.patient else 0
    survivor = replaced_by(content) if put.type == "Patient" else ""
    retired = bool(survivor) or (put.type == "Patient" and _provisional(content, meta))
    return PackedPut(
        type=put.type, id=put.id, fh=fh, flags=RETIRED if retired else 0,
        member=put.member, acl=put.acl, src=put.src, home=home,
        same=_same(put, content, meta), expect=put.expect,
        words=tuple(set(put.keys.tokens)), idents=tuple(identifier_hashes(put.type, content)),
        dates=ordered_dates(put.type, put.keys), texts=ordered_texts(put.type, put.keys),
        keys=pack_keys(put.keys), body=codec.pack(b"%b\n%b" % (put.meta, _typed_first(put))),
        wordings=put.keys.wordings, away=away_of(put.keys, home), survivor=survivor,
    )  # fmt: skip


def _measured(body: bytes) -> Json:
    """A body as plain values. Raises Unparseable for a number that is too long or too far from 1 to be written out."""
    try:
        found: Json = _checked(body)
    except msgspec.ValidationError as fault:
        detail_zh = "有一个数字太长（整数超过 4300 位）、太大或太小（10 的 308 次方以外）。"
        raise Unparseable(detail=str(fault)[:80], detail_zh=detail_zh) from fault
    return found


def _decimal(text: str) -> Decimal:
    # 1E-999999 is ten bytes of a body and a megabyte of a page, and no client's double holds it
    found = Decimal(text)
    if abs(found.adjusted()) > _FARTHEST:
        raise ValueError(f"a number beyond 1e{_FARTHEST} or 1e-{_FARTHEST}")
    return found


_checked = msgspec.json.Decoder(float_hook=_decimal).decode


def away_of(keys: Keys, home: int) -> tuple[int, ...]:
    """Patients a resource refers to, but those it lies with."""
    return tuple([fh for fh in keys.patients if fh != home])


def ordered_dates(type_: str, keys: Keys) -> tuple[tuple[int, int, int], ...]:
    """What of the dates goes into the ordered table."""
    return tuple({found for found in keys.dates if (type_, found[0]) in _ORDERED})


def ordered_texts(type_: str, keys: Keys) -> tuple[tuple[int, str], ...]:
    """What of the texts goes into the ordered table."""
    return tuple({(number, sortable(text)) for number, text in keys.texts if (type_, number) in _ORDERED})


def _typed_first(put: Put) -> bytes:
    return put.body if put.body.startswith(_start(put.type)) else strip(put.type, put.body)[0]


def _same(put: Put, content: object, meta: Json) -> int:
    # No-op means equal after sorting keys, decimals as written; who said it (`source`) is not content.
    client = {name: value for name, value in meta.items() if name not in _OWN_META}
    digest = hashlib.blake2b(_sorted(content), digest_size=8)
    digest.update(_sorted(client))
    digest.update(f"{put.src}|{put.acl}".encode())
    return int.from_bytes(digest.digest(), "big", signed=True)


def identifier_hashes(resource_type: str, content: Json) -> set[int]:
    """Hashes under which `identifier` and `masterIdentifier` of a resource stand in the directory.

    Both are what the search parameter `identifier` of a DocumentReference or DocumentManifest looks at.
    """
    named = [content.get("identifier"), content.get("masterIdentifier")]
    entries = [one for found in named for one in (found if isinstance(found, list) else [found])]
    return {
        ident_hash(resource_type, str(entry.get("system", "")), str(entry["value"]))
        for entry in entries
        if isinstance(entry, dict) and entry.get("value")
    }


def ident_hash(resource_type: str, system: str, value: str) -> int:
    """Directory key of an identifier."""
    return hash64("ident", resource_type, system, value)


def has_identifier(body: bytes, system: str, value: str) -> bool:
    """True when a resource carries exactly this identifier (a hash alone decides nothing)."""
    found = _content(body).get("identifier")
    entries = found if isinstance(found, list) else [found]
    return any(isinstance(e, dict) and e.get("system", "") == system and e.get("value") == value for e in entries)


def survivor_in(patient: bytes) -> str:
    """Id of the Patient that replaces this one, "" when none does."""
    return replaced_by(_content(patient))


def replaced_by(patient: Json) -> str:
    """The same of a Patient that is a dict already."""
    for link in patient.get("link") or ():
        if isinstance(link, dict) and link.get("type") == "replaced-by":
            reference = str((link.get("other") or {}).get("reference", ""))
            return reference.removeprefix("Patient/") if reference.startswith("Patient/") else ""
    return ""


def _provisional(patient: Json, meta: Json) -> bool:
    return patient.get("active") is False and any(
        tag.get("system") == RECORD_TAG and tag.get("code") == "provisional" for tag in meta.get("tag") or ()
    )


def repoint(body: bytes, old_patient: str, new_patient: str, before: bytes = b"") -> bytes:
    """A body with its literal references to one Patient pointing to another (design-store §8).

    before: a version in which either was named where it was meant; where it has as many references to the two, each
    is read from there.
    """
    meant = _named(before, old_patient, new_patient)
    if len(meant) != len(_named(body, old_patient)):
        meant = []
    order = iter(meant)
    return _reference(old_patient).sub(
        lambda found: found[1] + (next(order) if meant else _plain(f"Patient/{new_patient}")), body
    )


def named(body: bytes, patient: str) -> int:
    """In how many places a body refers to a Patient."""
    return len(_named(body, patient))


def _named(body: bytes, *patients: str) -> list[bytes]:
    """Addresses of any of these Patients, as they are referred to in a body, in its order."""
    return [found[2] for found in _reference(*patients).finditer(body)]


@lru_cache(256)
def _reference(*patients: str) -> re.Pattern[bytes]:
    addresses = b"|".join(re.escape(_plain(f"Patient/{one}")) for one in patients)
    return re.compile(b'("reference": ?)(%b)' % addresses)


# ---- out -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Opened:
    """A stored body taken apart: the kept meta members and the resource without id and meta."""

    meta: bytes
    body: bytes


def open_body(row: Row, codec: Codec) -> Opened:
    """The stored body of a row; empty for a version that says "deleted"."""
    if row.flags & DELETED or not row.body:
        return Opened(b"{}", b"")
    meta, _, body = codec.unpack(row.body).partition(b"\n")
    return Opened(meta, body)


def instant_of(ms: int) -> datetime:
    """Epoch milliseconds as an aware instant in +08:00."""
    return datetime.fromtimestamp(ms / 1000, CHINA)


@lru_cache(4096)
def _spliced(version: int, ms: int) -> tuple[datetime, bytes]:
    """The instant of a version, and what stands between its id and its own meta; the rows of a page share few."""
    at = instant_of(ms)
    return at, f'","meta":{{"versionId":"{version}","lastUpdated":"{instant_text(at)}"'.encode()


def to_resource(row: Row, codec: Codec, patient: str = "") -> Resource:
    """One version with its whole JSON: `id` and `meta` follow `resourceType`. patient: whom it is about, if known."""
    _, _, type_, flags, member, _, version, ms, _, src, _, id_, _, frame = row
    at, head = _spliced(version, ms)
    if flags & DELETED:
        return Resource(type_, id_, version, at, member, src, b"", True)
    said = codec.unpack(frame)
    cut = said.index(b"\n")
    body, start = said[cut + 1 :], _start(type_)
    more = b"," if cut > 2 else b""
    whole = b"".join((start, b',"id":"', id_.encode(), head, more, said[1:cut], body[len(start) :]))
    if not patient or type_ == "Patient":
        patient = subject_of(type_, id_, body)
    return Resource(type_, id_, version, at, member, src, whole, False, patient)


@cache
def _start(resource_type: str) -> bytes:
    return b'{"resourceType":"%b"' % resource_type.encode()


def json_of(body: bytes) -> Json:
    """A body as a dict, decimals kept."""
    return cast(Json, _content(body))
