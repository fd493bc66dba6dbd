"""DIMSE commands: sets of group 0000 in implicit VR little endian, and what we say to each.

Source: DICOM PS3.7 §6.3, §9.3.1 (C-STORE), §9.3.5 (C-ECHO), annex C (status), annex E (dictionary).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..errors import BrokenAssociation, GatewayError

C_STORE, C_ECHO, C_CANCEL = 0x0001, 0x0030, 0x0FFF
SUCCESS, UNRECOGNISED = 0x0000, 0x0211
VERIFICATION = "1.2.840.10008.1.1"
_NO_DATA_SET = 0x0101
_RESPONSE = 0x8000
_ELEMENT = struct.Struct("<HHI")
_COMMENT = 64  # characters of an LO


@dataclass(frozen=True, slots=True)
class Command:
    """A request. number: its message id. sop_class, instance: what it is about, "" where it does not say."""

    field: int
    number: int
    sop_class: str = ""
    instance: str = ""
    data_set: bool = False


def command_of(body: bytes) -> Command:
    """A command set as read. Raises BrokenAssociation."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(body):
        if at + _ELEMENT.size > len(body):
            raise _malformed()
        group, element, size = _ELEMENT.unpack_from(body, at)
        at += _ELEMENT.size
        if group or at + size > len(body):
            raise _malformed()
        found[element] = body[at : at + size]
        at += size
    if not {0x0100, 0x0110, 0x0800} <= found.keys():
        raise _malformed()
    return Command(
        _number(found[0x0100]),
        _number(found[0x0110]),
        _uid(found.get(0x0002, b"") or found.get(0x0003, b"")),
        _uid(found.get(0x1000, b"") or found.get(0x1001, b"")),
        _number(found[0x0800]) != _NO_DATA_SET,
    )


def response(command: Command, status: int, fault: GatewayError | None = None) -> bytes:
    """The command set that answers; the reason of a fault stands in (0000,0902), in ASCII."""
    elements = [
        (0x0002, _padded(command.sop_class.encode(), b"\0")),
        (0x0100, _short(command.field | _RESPONSE)),
        (0x0120, _short(command.number)),
        (0x0800, _short(_NO_DATA_SET)),
        (0x0900, _short(status)),
    ]
    if fault is not None:
        elements.append((0x0902, _padded(comment(fault).encode(), b" ")))
    if command.instance:
        elements.append((0x1000, _padded(command.instance.encode(), b"\0")))
    body = b"".join(_ELEMENT.pack(0, element, len(value)) + value for element, value in elements if value)
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<I", len(body)) + body


def comment(fault: GatewayError) -> str:
    """Code and reason in at most 64 characters of ASCII, what is particular to this fault first."""
    text = f"{fault.code} {' '.join(filter(None, (fault.place, fault.detail))) or fault.en}"
    return text.encode("ascii", "replace").decode().replace("\\", "/")[:_COMMENT]


def _malformed() -> BrokenAssociation:
    return BrokenAssociation("command set", "malformed", detail_zh="命令集的结构不对。")


def _number(value: bytes) -> int:
    return int.from_bytes(value[:2], "little")


def _uid(value: bytes) -> str:
    return value.rstrip(b"\0 ").decode("ascii", "replace")[:64]


def _short(value: int) -> bytes:
    return struct.pack("<H", value)


def _padded(value: bytes, pad: bytes) -> bytes:
    return value + pad * (len(value) % 2)
