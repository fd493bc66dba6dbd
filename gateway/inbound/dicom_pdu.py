"""The DICOM upper layer as bytes: what a peer asks and says, what we answer. No connection, no clock.

| type | PDU | after type, a reserved byte and a length of four bytes, big endian |
|---|---|---|
| 01, 02 | A-ASSOCIATE-RQ, -AC | version 2, reserved 2, called 16, calling 16, reserved 32, items |
| 03 | A-ASSOCIATE-RJ | reserved, result, source, reason |
| 04 | P-DATA-TF | PDVs: length 4, presentation context 1, control 1 (bit 0 command, bit 1 last), fragment |
| 05, 06 | A-RELEASE-RQ, -RP | reserved 4 |
| 07 | A-ABORT | reserved 2, source, reason |

Source: DICOM PS3.8 §9.3 and annex D.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import BrokenAssociation, GatewayError

ASSOCIATE, ACCEPT, REJECT, DATA, RELEASE, RELEASED, ABORT = range(1, 8)
MOST_BYTES = 128 * 1024
"""Largest PDU we take, which is told the peer; a request for an association may be as large."""
IMPLEMENTATION = b"2.25.214861339051906410853268146216358143507"
VERSION_NAME = b"ALLIANCE_GATEWAY"
_APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
_HEAD = struct.Struct(">BxI")
_ITEM = struct.Struct(">BxH")
_PDV = struct.Struct(">IBB")
_FIXED = 68  # bytes of a request before its items
_MOST_CONTEXTS = 128


@dataclass(frozen=True, slots=True)
class Context:
    """One presentation context as it is asked for. number: odd, 1 to 255."""

    number: int
    abstract: str
    transfer: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """An A-ASSOCIATE-RQ. fixed: titles and what is reserved, as the answer repeats them."""

    called: str
    calling: str
    contexts: tuple[Context, ...]
    application: str = ""
    fixed: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Fragment:
    """One presentation data value."""

    context: int
    command: bool
    last: bool
    data: memoryview


class Pdus:
    """Cuts a byte stream into PDUs; never holds more than one and what came with it."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def begun(self) -> bool:
        """True when a PDU has begun and was not taken out."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add bytes."""
        self._buffer += data

    def next(self) -> tuple[int, bytes] | None:
        """(type, what follows the length) of the next PDU once it is whole. Raises BrokenAssociation."""
        if len(self._buffer) < _HEAD.size:
            return None
        kind, size = _HEAD.unpack_from(self._buffer)
        if not ASSOCIATE <= kind <= ABORT or size > MOST_BYTES:
            place = f"PDU {kind:02x}"
            raise BrokenAssociation(place, f"of {size} bytes", detail_zh=f"PDU 类型或长度（{size} 字节）不对。")
        end = _HEAD.size + size
        if len(self._buffer) < end:
            return None
        body = bytes(memoryview(self._buffer)[_HEAD.size : end])
        del self._buffer[:end]
        return kind, body


def request_of(body: bytes) -> Request:
    """What an A-ASSOCIATE-RQ asks for. Raises BrokenAssociation."""
    try:
        return _request(body)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise BrokenAssociation("A-ASSOCIATE-RQ", "malformed", detail_zh="连接请求的结构不对。") from None


def _request(body: bytes) -> Request:
    if len(body) < _FIXED or not int.from_bytes(body[:2], "big") & 1:
        raise BrokenAssociation("A-ASSOCIATE-RQ", "protocol version", detail_zh="协议版本不是 1。")
    contexts, application = list[Context](), ""
    for kind, item in _items(body[_FIXED:]):
        if kind == 0x10:
            application = _uid(item)
        elif kind == 0x20:
            contexts.append(_context(item))
    if not contexts or len(contexts) > _MOST_CONTEXTS:
        raise BrokenAssociation(
            "A-ASSOCIATE-RQ", f"{len(contexts)} presentation contexts", detail_zh=f"表示上下文 {len(contexts)} 个。"
        )
    return Request(_title(body[4:20]), _title(body[20:36]), tuple(contexts), application, body[4:_FIXED])


def _items(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(body):
        kind, size = _ITEM.unpack_from(body, at)
        at += _ITEM.size
        if at + size > len(body):
            raise IndexError
        yield kind, body[at : at + size]
        at += size


def _context(item: bytes) -> Context:
    abstract, transfer = "", list[str]()
    for kind, part in _items(item[4:]):
        if kind == 0x30:
            abstract = _uid(part)
        elif kind == 0x40:
            transfer.append(_uid(part))
    return Context(item[0], abstract, tuple(transfer))


def _uid(text: bytes) -> str:
    return text.rstrip(b"\0 ").decode("ascii")[:64]


def _title(text: bytes) -> str:
    """An AE title fit to be shown: spaces around it mean nothing; what cannot be in one is a question mark."""
    shown = text.replace(b"\0", b" ").decode("latin-1").strip()
    return "".join(one if " " <= one <= "~" else "?" for one in shown)


# ---- answers ------------------------------------------------------------------------------------
def accepted(request: Request, answers: dict[int, tuple[int, str]]) -> bytes:
    """A-ASSOCIATE-AC; answers: by context number, (result, transfer syntax)."""
    items = _item(0x10, _APPLICATION_CONTEXT)
    for number, (result, transfer) in answers.items():
        items += _item(0x21, bytes((number, 0, result, 0)) + _item(0x40, transfer.encode()))
    said = _item(0x51, struct.pack(">I", MOST_BYTES)) + _item(0x52, IMPLEMENTATION) + _item(0x55, VERSION_NAME)
    return _pdu(ACCEPT, b"\0\1\0\0" + request.fixed + items + _item(0x50, said))


def rejected(fault: GatewayError) -> bytes:
    """A-ASSOCIATE-RJ with the result, source and reason of the fault."""
    return _pdu(REJECT, bytes((0, *fault.rejection)))


def released() -> bytes:
    """A-RELEASE-RP."""
    return _pdu(RELEASED, bytes(4))


def aborted(reason: int = 0) -> bytes:
    """A-ABORT by the service provider. reason: 0 none said, 2 an unexpected PDU, 6 a wrong value in one."""
    return _pdu(ABORT, bytes((0, 0, 2, reason)))


def command(context: int, data: bytes) -> bytes:
    """P-DATA-TF with one command in one fragment: ours are shorter than any PDU."""
    return _pdu(DATA, _PDV.pack(len(data) + 2, context, 3) + data)


def fragments(body: bytes) -> Iterator[Fragment]:
    """The presentation data values of a P-DATA-TF. Raises BrokenAssociation."""
    at, view = 0, memoryview(body)
    while at < len(body):
        if at + _PDV.size > len(body):
            raise BrokenAssociation("P-DATA-TF", "malformed", detail_zh="数据 PDU 的结构不对。")
        size, context, control = _PDV.unpack_from(body, at)
        end = at + 4 + size
        if size < 2 or end > len(body):
            raise BrokenAssociation("P-DATA-TF", "malformed", detail_zh="数据 PDU 的结构不对。")
        yield Fragment(context, bool(control & 1), bool(control & 2), view[at + _PDV.size : end])
        at = end


def _item(kind: int, body: bytes) -> bytes:
    return _ITEM.pack(kind, len(body)) + body


def _pdu(kind: int, body: bytes) -> bytes:
    return _HEAD.pack(kind, len(body)) + body
