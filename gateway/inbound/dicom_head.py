"""Of an instance that streams in, the file as far as its pixels; what comes after is let go as it arrives (D15).

Source: DICOM PS3.10 §7.1 (file meta information), PS3.5 §10 (transfer syntaxes), PS3.6 annex A.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from ..translate.read_dicom import header_of
from .dicom_dimse import VERIFICATION, Command
from .dicom_pdu import IMPLEMENTATION, VERSION_NAME, Context, Request
from .intake import BODY_LIMIT

_STORAGE = "1.2.840.10008.5.1.4.1.1."
"""Where the standard keeps its composite storage classes; the two outside are of radiotherapy."""
_STORAGE_ELSEWHERE = frozenset({"1.2.840.10008.5.1.4.34.7", "1.2.840.10008.5.1.4.34.10"})
_NATIVE = frozenset({f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2", ".5", ".8.1")})
_COMPRESSED = "1.2.840.10008.1.2.4."
_NO_DATA_SET_WE_READ = frozenset({"1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})  # JPIP, deflated
_FIRST_LOOK, _TIMES = 16 * 1024, 4
"""Bytes at which the pixels are looked for, then at so many times as many."""


def taken(abstract: str, private: tuple[str, ...]) -> bool:
    """True for a composite storage SOP class, and for the private ones the operator listed."""
    return abstract.startswith(_STORAGE) or abstract in _STORAGE_ELSEWHERE or abstract in private


def answers(request: Request, private: tuple[str, ...]) -> dict[int, tuple[int, str]]:
    """(result, transfer syntax) a context: 0 accepted, 3 no such service, 4 none of its transfer syntaxes is read.

    The first transfer syntax is taken that can be read, whatever the pixels are in: they are not looked at.
    """
    return {one.number: _answer(one, private) for one in request.contexts}


def _answer(one: Context, private: tuple[str, ...]) -> tuple[int, str]:
    first = one.transfer[0] if one.transfer else ""
    if one.abstract != VERIFICATION and not taken(one.abstract, private):
        return 3, first
    read = next(filter(_reads, one.transfer), "")
    return (0, read) if read else (4, first)


def _reads(transfer: str) -> bool:
    return transfer in _NATIVE or (transfer.startswith(_COMPRESSED) and transfer not in _NO_DATA_SET_WE_READ)


@dataclass(slots=True)
class Head:
    """The file an instance is kept as: preamble, meta information, data set up to its pixels, as it was received.

    received: bytes of the data set so far.
    """

    command: Command
    transfer: str
    calling: str
    received: int = 0
    body: bytearray = field(init=False)
    _look: int = _FIRST_LOOK
    _whole: bool = False

    def __post_init__(self) -> None:
        self.body = bytearray(_preamble(self.command, self.transfer, self.calling))

    def feed(self, data: memoryview) -> None:
        """The next piece of the data set. A head that does not end within the limit is kept one byte above it."""
        self.received += len(data)
        if self._whole:
            return
        self.body += data[: BODY_LIMIT + 1 - len(self.body)]
        if len(self.body) >= self._look:
            self._cut()

    def _cut(self) -> None:
        while self._look <= len(self.body):
            self._look *= _TIMES
        head = header_of(bytes(self.body))
        if len(head) < len(self.body):
            self.body, self._whole = bytearray(head), True
        elif len(self.body) > BODY_LIMIT:
            self._whole = True


def _preamble(command: Command, transfer: str, calling: str) -> bytes:
    meta = b"".join((
        _element(0x01, b"OB", b"\0\1"),
        _element(0x02, b"UI", command.sop_class.encode()),
        _element(0x03, b"UI", command.instance.encode()),
        _element(0x10, b"UI", transfer.encode()),
        _element(0x12, b"UI", IMPLEMENTATION),
        _element(0x13, b"SH", VERSION_NAME),
        _element(0x16, b"AE", calling.encode()),
    ))  # fmt: skip
    return bytes(128) + b"DICM" + _element(0x00, b"UL", struct.pack("<I", len(meta))) + meta


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    value += (b"\0" if vr in (b"UI", b"OB") else b" ") * (len(value) % 2)
    if vr == b"OB":
        return struct.pack("<HH2sHI", 2, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value
