"""A DICOM file's header as cells by keyword; the pixels are never touched (D15).

Names come from the DICOM dictionary of pydicom; walking, limits and text are ours (`dicom_scan`, `dicom_text`),
because pydicom leaves the escapes of ISO 2022 IR 58 in the text, believes any length and recurses without end.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from pydicom.datadict import dictionary_VR, keyword_for_tag

from ..errors import BadDicom, BadValue, MissingField
from ..model.directory import Source
from ..model.message import RawMessage
from ..model.outcome import Finding
from .dicom_scan import DataSet, Scanned, name_of, scan
from .dicom_text import Charset, judge
from .formats import Document
from .rows import Row, RowFormat

_CHARACTER_SET, _SOP_CLASS, _SOP_INSTANCE = 0x00080005, 0x00080016, 0x00080018
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_UID = re.compile(r"[0-9.]{1,64}")
_TEXT = frozenset({b"PN", b"LO", b"SH", b"ST", b"LT", b"UT", b"UC"})
_ASCII = frozenset({b"AE", b"AS", b"CS", b"DA", b"DS", b"DT", b"IS", b"TM", b"UI", b"UR"})
_NUMBERS = {b"US": "H", b"SS": "h", b"UL": "I", b"SL": "i", b"FL": "f", b"FD": "d", b"SV": "q", b"UV": "Q"}


@dataclass(frozen=True, slots=True)
class Header:
    """One instance. `row`: every element with a value before the pixels, binary ones as `<n bytes>`, by keyword or,
    where there is none, `(gggg,eeee)`; several values are joined by a backslash, sequences are its tables.
    """

    row: Row
    charset: Charset
    transfer_syntax: str
    findings: tuple[Finding, ...]


class DicomFormat(RowFormat):
    """DICOM to the engine: one instance is one message of the kind `dicom`."""

    name = "dicom"

    def read(self, raw: RawMessage, source: Source) -> Document:
        """The header as rows; settings of the source are cells too (`source.address`).

        Raises BadDicom, MissingField and BadValue: what no instance may lack (PS3.3 C.7.2, C.7.3, C.12).
        """
        found = read(raw.body, source.charset)
        _identified(found.row.cells)
        for name, value in {**source.settings, "name": source.name, "title": source.title}.items():
            found.row.make(f"source.{name}", value)
        facts = {"charset": found.charset.codec, "declared": found.charset.declared}
        return Document("dicom", found.row, facts | {"transfer_syntax": found.transfer_syntax}, found.findings)


def _identified(cells: dict[str, str]) -> None:
    for name in (*_UIDS, "Modality"):
        if not cells.get(name):
            raise MissingField(name)
    for name in _UIDS:
        if not _UID.fullmatch(cells[name]):
            raise BadValue(
                name, "no UID: 64 digits and dots at most", detail_zh="不是 UID：应为不超过 64 位的数字和点。"
            )


def read(body: bytes, charset: str = "auto") -> Header:
    """The header of a DICOM file; `charset` other than auto overrides what the file says. Raises BadDicom."""
    found = _scanned(body)
    judged = judge(_declared(found), _texts(found.body, found.dataset), charset)
    decode, row = _decoder(found, judged), Row()
    _fill(row, found.meta, decode)
    _fill(row, found.dataset, decode)
    return Header(row, judged, found.transfer_syntax, judged.findings())


def instance_of(body: bytes) -> tuple[str, str]:
    """(SOP Class UID, SOP Instance UID) of the data set, "" for one it lacks. Raises BadDicom."""
    found = _scanned(body)
    return _plain(found, _SOP_CLASS), _plain(found, _SOP_INSTANCE)


def _plain(found: Scanned, tag: int) -> str:
    span = found.dataset.get(tag)
    return found.body[span[1] : span[2]].decode("ascii", "replace").strip("\0 ") if isinstance(span, tuple) else ""


def _scanned(body: bytes) -> Scanned:
    try:
        return scan(body, _vr_of)
    except struct.error:
        raise BadDicom("end of file", "cut off", detail_zh="文件被截断。") from None


def header_of(body: bytes) -> bytes:
    """The file up to its pixels: all that is kept of an image (D15). One that cannot be read is given as it is."""
    try:
        return body[: _scanned(body).size]
    except BadDicom:
        return body


def _declared(found: Scanned) -> tuple[str, ...]:
    text = _plain(found, _CHARACTER_SET)
    return tuple(part.strip() for part in text.split("\\")) if text else ()


def _texts(body: bytes, dataset: DataSet) -> Iterator[bytes]:
    for element in dataset.values():
        if isinstance(element, list):
            for item in element:
                yield from _texts(body, item)
        elif element[0] in _TEXT:
            yield body[element[1] : element[2]]


def _decoder(found: Scanned, charset: Charset) -> Callable[[bytes, int, int], str]:
    body, sign = found.body, ">" if found.big_endian else "<"
    numbers = {vr: struct.Struct(sign + form) for vr, form in _NUMBERS.items()}

    def decode(vr: bytes, start: int, stop: int) -> str:
        raw = body[start:stop]
        if vr in _TEXT:
            return charset.decode(raw).strip("\0 ")
        if vr in _ASCII:
            return raw.decode("ascii", "replace").strip("\0 ")
        if vr in numbers:
            return _numbers(raw, numbers[vr])
        if vr == b"AT":
            pairs = struct.iter_unpack(sign + "HH", raw[: len(raw) // 4 * 4])
            return "\\".join(name_of(group << 16 | element) for group, element in pairs)
        return f"<{len(raw)} bytes>" if raw else ""

    return decode


def _numbers(raw: bytes, form: struct.Struct) -> str:
    if len(raw) == form.size:
        return str(form.unpack(raw)[0])
    whole = raw[: len(raw) // form.size * form.size]
    return "\\".join(str(value) for (value,) in form.iter_unpack(whole))


def _fill(row: Row, dataset: DataSet, decode: Callable[[bytes, int, int], str]) -> None:
    cells = row.cells
    for tag, element in dataset.items():
        if isinstance(element, list):
            for item in element:
                if item:
                    _fill(row.new_row(_keyword(tag)), item, decode)
            continue
        vr, start, stop = element
        if start < stop and (text := decode(_vr_of(tag) if vr == b"UN" else vr, start, stop)):
            cells[_keyword(tag)] = text


@lru_cache(8192)
def _known(tag: int) -> tuple[str, bytes]:
    try:
        return keyword_for_tag(tag) or name_of(tag), dictionary_VR(tag)[:2].encode()
    except KeyError:
        return name_of(tag), b"UL" if tag & 0xFFFF == 0 else b"UN"


def _keyword(tag: int) -> str:
    # Private tags are not remembered: there are as many as there are devices.
    return name_of(tag) if tag >> 16 & 1 else _known(tag)[0]


def _vr_of(tag: int) -> bytes:
    return (b"LO" if 0x10 <= tag & 0xFFFF <= 0xFF else b"UN") if tag >> 16 & 1 else _known(tag)[1]
