"""Where the elements of a DICOM file lie: one bounded walk over the bytes, up to the pixels.

Nothing is decoded here and nothing is read past the header, so a file costs what its header costs. Every
length is checked against the bytes that are there, sequences nest 32 deep at most, and a deflated file is
inflated to 64 MB at most. Source: DICOM PS3.5 §7, PS3.10 §7.1; reliability-security T32.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import BadDicom

MAX_DEPTH = 32
MAX_ELEMENTS = 100_000
MAX_TEXT = 1 << 20
MAX_INFLATED = 64 << 20
_STEP = 1024
_ELEMENT = 8  # bytes by which an element is recognised

Span = tuple[bytes, int, int]
"""(VR, first byte, byte after the last)."""
Items = list["DataSet"]
DataSet = dict[int, "Span | Items"]
"""Elements by tag number (group × 65536 + element): a span of the bytes, or the items of a sequence."""

IMPLICIT = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"

_TRANSFER_SYNTAX = 0x00020010
_PER_FRAME_GROUPS = 0x52009230
_PIXELS = 0x7FE00008
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_TEXT = frozenset({b"PN", b"LO", b"SH", b"ST", b"LT", b"UT", b"UC", b"CS", b"AE", b"UI", b"UR"})
_EXECUTABLES = (b"MZ", b"\x7fELF", b"#!", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe")


@dataclass(frozen=True, slots=True)
class Scanned:
    """The header of one file. `body`: the bytes the spans of `dataset` point into, inflated where it was deflated.

    size: of the file up to its pixels; of a deflated one, as much as still inflates to all that stands before them.
    """

    body: bytes
    meta: DataSet
    dataset: DataSet
    transfer_syntax: str
    big_endian: bool
    size: int


def scan(body: bytes, vr_of: Callable[[int], bytes]) -> Scanned:
    """The header of a DICOM file; `vr_of` names the VR of a tag where the file leaves it out.

    Raises BadDicom for anything but a whole header behind a preamble and `DICM`.
    """
    if body[128:132] != b"DICM":
        raise BadDicom("byte 128", "no DICM after the preamble", detail_zh="文件头没有 DICM 标记。")
    if body.startswith(_EXECUTABLES):
        raise BadDicom("byte 0", "the preamble is that of a program", detail_zh="文件前导部分是可执行程序。")
    reader = _Reader(body, vr_of)
    meta, at = reader.meta()
    syntax = _transfer_syntax(body, meta)
    deflated_at = at
    if syntax == DEFLATED:
        reader, at = _Reader(_inflate(body[at:]), vr_of), 0
    explicit = syntax != IMPLICIT if syntax else _looks_explicit(body, at)
    reader.order(big_endian=syntax == BIG_ENDIAN)
    dataset, end = reader.dataset(at, len(reader.body), explicit=explicit)
    if not dataset:
        raise BadDicom(f"byte {at}", "no data set", detail_zh="文件只有头部，没有数据集。")
    size = end if syntax != DEFLATED else len(body)
    if syntax == DEFLATED and end < len(reader.body):
        size = deflated_at + _enough(body[deflated_at:], end + _ELEMENT)
    return Scanned(reader.body, meta, dataset, syntax, syntax == BIG_ENDIAN, size)


def _transfer_syntax(body: bytes, meta: DataSet) -> str:
    found = meta.get(_TRANSFER_SYNTAX)
    return body[found[1] : found[2]].rstrip(b"\0 ").decode("ascii", "replace") if isinstance(found, tuple) else ""


def _looks_explicit(body: bytes, at: int) -> bool:
    vr = body[at + 4 : at + 6]
    return vr in _LONG or (len(vr) == 2 and vr.isalpha() and vr.isupper())


def _inflate(deflated: bytes) -> bytes:
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = engine.decompress(deflated, MAX_INFLATED)
    except zlib.error:
        raise BadDicom("data set", "the deflated data set is damaged", detail_zh="压缩的数据集已损坏。") from None
    if engine.unconsumed_tail:
        raise BadDicom("data set", f"inflates beyond {MAX_INFLATED} bytes", detail_zh="压缩的数据集展开后过大。")
    return plain


def _enough(deflated: bytes, plain: int) -> int:
    """How many of these bytes inflate to at least so many."""
    engine, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
    for at in range(0, len(deflated), _STEP):
        inflated += len(engine.decompress(deflated[at : at + _STEP]))
        if inflated >= plain:
            return min(at + _STEP, len(deflated))
    return len(deflated)


class _Reader:
    """A cursor over one file; counts elements over all levels."""

    __slots__ = ("_header", "_left", "_long", "_pair", "_vr_of", "body")

    def __init__(self, body: bytes, vr_of: Callable[[int], bytes]) -> None:
        self.body = body
        self._vr_of = vr_of
        self._left = MAX_ELEMENTS
        self.order(big_endian=False)

    def order(self, *, big_endian: bool) -> None:
        """Byte order of what is read from now on (group 2 is always little endian)."""
        sign = ">" if big_endian else "<"
        self._header = struct.Struct(sign + "HH2sH")
        self._pair = struct.Struct(sign + "HHI")
        self._long = struct.Struct(sign + "I")

    def meta(self) -> tuple[DataSet, int]:
        """Group 2, and where the data set begins."""
        return self.dataset(132, len(self.body), explicit=True, group=2)

    def dataset(
        self, at: int, end: int, *, explicit: bool, depth: int = 0, group: int | None = None, open_end: bool = False
    ) -> tuple[DataSet, int]:
        """Elements from `at`; ends at `end`, before the pixels, after an item's delimiter, or where `group` ends."""
        out: DataSet = {}
        while at + 8 <= end:
            first = at
            tag, vr, size, at = self._element_header(at, end, explicit)
            if group is not None and tag >> 16 != group:
                return out, first
            if tag == _ITEM_END and open_end:
                return out, at
            if depth == 0 and (tag == _PER_FRAME_GROUPS or tag >= _PIXELS):
                return out, first
            self._count(tag)
            if vr == b"SQ" or (size == _UNDEFINED and vr in (b"UN", b"OB", b"OW")):
                out[tag], at = self._sequence(at, end, size, explicit=explicit and vr != b"UN", depth=depth, tag=tag)
                continue
            stop = at + size
            if stop > end:
                raise BadDicom(name_of(tag), "cut off", detail_zh="文件被截断，长度超出文件末尾。")
            if size > MAX_TEXT and vr in _TEXT:
                raise BadDicom(name_of(tag), f"text of {size} bytes", detail_zh="文本过长。")
            out[tag] = (vr, at, stop)
            at = stop
        if open_end or self.body[at:end].strip(b"\0"):
            raise BadDicom(f"byte {at}", "cut off", detail_zh="文件被截断。")
        return out, end

    def _element_header(self, at: int, end: int, explicit: bool) -> tuple[int, bytes, int, int]:
        if not explicit:
            group, element, size = self._pair.unpack_from(self.body, at)
            tag = group << 16 | element
            return tag, (b"" if group == 0xFFFE else self._vr_of(tag)), size, at + 8
        group, element, vr, size = self._header.unpack_from(self.body, at)
        tag = group << 16 | element
        if group == 0xFFFE:
            return tag, b"", self._long.unpack_from(self.body, at + 4)[0], at + 8
        if vr in _LONG:
            if at + 12 > end:
                raise BadDicom(name_of(tag), "cut off", detail_zh="文件被截断。")
            return tag, vr, self._long.unpack_from(self.body, at + 8)[0], at + 12
        return tag, vr, size, at + 8

    def _sequence(self, at: int, end: int, size: int, *, explicit: bool, depth: int, tag: int) -> tuple[Items, int]:
        if depth >= MAX_DEPTH:
            raise BadDicom(name_of(tag), f"nests deeper than {MAX_DEPTH}", detail_zh="序列嵌套过深。")
        undefined = size == _UNDEFINED
        stop = end if undefined else at + size
        if stop > end:
            raise BadDicom(name_of(tag), "cut off", detail_zh="文件被截断，长度超出文件末尾。")
        items: Items = []
        while at + 8 <= stop:
            group, element, length = self._pair.unpack_from(self.body, at)
            marker = group << 16 | element
            at += 8
            if marker == _SEQUENCE_END and undefined:
                return items, at
            if marker != _ITEM:
                raise BadDicom(name_of(tag), "no item where one must be", detail_zh="序列结构错误。")
            item, at = self._item(at, stop, length, explicit=explicit, depth=depth, tag=tag)
            items.append(item)
        if undefined or at != stop:
            raise BadDicom(name_of(tag), "cut off", detail_zh="文件被截断。")
        return items, stop

    def _item(self, at: int, end: int, length: int, *, explicit: bool, depth: int, tag: int) -> tuple[DataSet, int]:
        self._count(tag)
        undefined = length == _UNDEFINED
        stop = end if undefined else at + length
        if stop > end:
            raise BadDicom(name_of(tag), "cut off", detail_zh="文件被截断，长度超出文件末尾。")
        return self.dataset(at, stop, explicit=explicit, depth=depth + 1, open_end=undefined)

    def _count(self, tag: int) -> None:
        self._left -= 1
        if self._left < 0:
            raise BadDicom(name_of(tag), f"more than {MAX_ELEMENTS} elements", detail_zh="元素过多。")


def name_of(tag: int) -> str:
    """`(0010,0020)`."""
    return f"({tag >> 16:04x},{tag & 0xFFFF:04x})"
