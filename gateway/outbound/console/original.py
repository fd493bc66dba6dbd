"""The original of a message, decoded: v2 as segments of numbered fields, other texts as numbered lines.

What nobody used is marked on it; card numbers and phones are masked unless the reader is the operator.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ...errors import GatewayError
from ...model import xml
from ...model.message import RawMessage
from ...model.outcome import Unused
from ...security import redact
from ...translate.charset import decode
from ...translate.tree_v2 import clean

_V2_FIELD = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[(\d+)\])?(?:-(\d+))?")
_LINE = re.compile(r"#(\d+)$|^row (\d+)\b")
MAX_LINES = 600
MAX_LINE = 4_000


@dataclass(frozen=True, slots=True)
class Piece:
    """A field or a line. css: "" = used, `ignored`, `lost`, `noted`, `wrong`; note: why; href: its trace row."""

    number: int
    text: str
    css: str = ""
    note: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """`OBX[2]` with its fields, empty ones included."""

    name: str
    label: str
    fields: tuple[Piece, ...]

    @property
    def filled(self) -> tuple[Piece, ...]:
        """Fields that hold something."""
        return tuple(piece for piece in self.fields if piece.text)


@dataclass(frozen=True, slots=True)
class Original:
    """segments for HL7 v2, lines for other texts, neither for images. `more`: lines that are not shown."""

    charset: str
    segments: tuple[Segment, ...] = ()
    lines: tuple[Piece, ...] = ()
    more: int = 0
    separator: str = "|"


Marks = Mapping[str, tuple[str, str]]  # spot → css, note


def spot(place: str) -> str:
    """The field or line a place stands in: `OBX[2]-5` of `OBX[2]-5.1`, `#56` of `…#56` and of `row 56, column x`."""
    found = _LINE.search(place)
    if found:
        return f"#{found[1] or found[2]}"
    field = _V2_FIELD.match(place)
    if field and field[3]:
        return f"{field[1]}[{field[2] or 1}]-{field[3]}"
    return ""


def marks_of(
    unused: Iterable[Unused], wrong: Iterable[str] = (), noted: Iterable[str] = ()
) -> dict[str, tuple[str, str]]:
    """What to mark on the original, by spot; of several the later wins: ignored, lost, noted, wrong."""
    out: dict[str, tuple[str, str]] = {}
    for one in unused:
        where = spot(one.place)
        if where and (one.lost or where not in out):
            out[where] = ("lost", "未用，没有理由") if one.lost else ("ignored", one.because)
    out |= {spot(place): ("noted", "有提示") for place in noted if spot(place)}
    return out | {spot(place): ("wrong", "出错的位置") for place in wrong if spot(place)}


def read(raw: RawMessage, configured: str, marks: Marks, links: Mapping[str, str], *, masked: bool) -> Original:
    """The original, with marks and links by spot. Bytes of no known charset are read as latin-1."""
    if raw.format == "dicom":
        return Original("")
    text, charset = _text(raw, configured)
    show: Callable[[str], str] = redact.text if masked else str
    if raw.format == "v2":
        return _segments(clean(text), charset, marks, links, show)
    lines = text.splitlines()
    pieces = tuple(
        Piece(number, show(line[:MAX_LINE]), *marks.get(f"#{number}", ("", "")), links.get(f"#{number}", ""))
        for number, line in enumerate(lines[:MAX_LINES], 1)
    )
    return Original(charset, lines=pieces, more=max(0, len(lines) - MAX_LINES))


def _text(raw: RawMessage, configured: str) -> tuple[str, str]:
    try:
        if raw.format == "cda":
            text, _, charset = xml.decode(raw.body)
            return text, charset
        declared = raw.body[: max(raw.body.find(b"\r"), 0) or None].split(b"|", 18)
        name = declared[17].decode("latin-1").partition("~")[0] if raw.format == "v2" and len(declared) > 17 else ""
        decoded = decode(raw.body, name, configured)
        return decoded.text, decoded.charset
    except GatewayError:
        return raw.body.decode("latin-1"), "latin-1"


def _segments(text: str, charset: str, marks: Marks, links: Mapping[str, str], show: Callable[[str], str]) -> Original:
    bar = text[3:4] or "|"
    rows = text.split("\r")
    counts: dict[str, int] = {}
    out: list[Segment] = []
    for row in rows[:MAX_LINES]:
        name = row[:3]
        counts[name] = counts.get(name, 0) + 1
        out.append(_segment(row, bar, f"{name}[{counts[name]}]", marks, links, show))
    return Original(charset, segments=tuple(out), more=max(0, len(rows) - MAX_LINES), separator=bar)


def _segment(
    row: str, bar: str, label: str, marks: Marks, links: Mapping[str, str], show: Callable[[str], str]
) -> Segment:
    name, *values = row.split(bar)
    first = 2 if name in ("MSH", "FHS", "BHS") else 1  # MSH-1 is the separator itself
    fields = []
    for number, value in enumerate(values, first):
        where = f"{label}-{number}"
        fields.append(Piece(number, show(value[:MAX_LINE]), *marks.get(where, ("", "")), links.get(where, "")))
    return Segment(name, label, tuple(fields))
