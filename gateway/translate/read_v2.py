"""HL7 v2: the envelope a door needs (`peek_v2`, `ack`, `split_batch`) and the format as the engine sees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import GatewayError, TranslateError
from ..model.directory import Source
from ..model.message import RawMessage
from ..model.outcome import Finding, Unused
from ..model.times import CHINA
from . import charset
from .codes import Table
from .formats import Document
from .functions_v2 import part, unescape
from .loss_v2 import Loss, ignored_path
from .memo import Memo
from .paths_v2 import V2Session, first_in
from .tree_v2 import Tree, clean, separators, standard

_STARTS = re.compile(rb"(?:^|[\r\n])(?=MSH.)")
_HEADS = (b"MSH", b"FHS", b"BHS")
_BEGINNING = re.compile(rb"[\x0b\xef\xbb\xbf\xff\xfe\0 \t\r\n]*(?:MSH|FHS|BHS|M\0S\0H)")
_BEFORE = 200  # characters among which MSH-2 ends, whatever stands before MSH
_NO_FIELDS = [""] * 18


_FIRST = Memo(lambda field: part(field, 1))
_TYPE = Memo(lambda field: (part(field, 1), part(field, 2), part(field, 3)))


@dataclass(frozen=True, slots=True)
class Peek:
    """The envelope of a message: MSH-3, MSH-4, MSH-10, `ORU^R01`, the charset of its bytes, its five separators.

    version: MSH-12. sender fields are plain text; `declared` is MSH-18 as sent.
    """

    msh3: str
    msh4: str
    control_id: str
    kind: str
    charset: str
    separators: str
    version: str = "2.5.1"
    msh5: str = ""
    msh6: str = ""
    processing: str = "P"
    declared: str = ""
    trigger: str = ""
    structure: str = ""
    accept: str = ""  # MSH-15, table 0155
    application: str = ""  # MSH-16

    @classmethod
    def of_broken(cls, body: bytes) -> Peek:
        """The envelope of what is no message, as far as there is one, so that it can still be answered."""
        try:
            return peek_v2(body)
        except TranslateError:
            return cls("", "", "", "", charset.decode(body).charset, "|^~\\&")


def peek_v2(body: bytes, configured: str = "auto") -> Peek:
    """The envelope, from the whole body's charset. Raises TranslateError when there is no MSH."""
    text, decoded = _text(body, configured)
    raw = clean(decoded.text[:_BEFORE])  # as it was sent, for its own separators
    end = raw.find(raw[3], 4)
    marks = raw[4 : end if end >= 0 else 8]
    head = text.partition("\r")[0].split("|", 18) + _NO_FIELDS
    code, trigger, structure = _message_type(head[8], text)
    return Peek(
        msh3=_FIRST[head[2]], msh4=_FIRST[head[3]], control_id=unescape(head[9]).strip(), kind=_kind(code, trigger),
        charset=decoded.charset, separators=separators(raw[3], marks), version=_FIRST[head[11]] or "2.5.1",
        msh5=_FIRST[head[4]], msh6=_FIRST[head[5]], processing=_FIRST[head[10]] or "P",
        declared=head[17].partition("~")[0].strip(), trigger=trigger, structure=structure,
        accept=_FIRST[head[14]], application=_FIRST[head[15]],
    )  # fmt: skip


def _message_type(field: str, text: str) -> tuple[str, str, str]:
    """Code, trigger and structure of MSH-9; a trigger it leaves out is looked for in EVN-1 (v2.3 and before)."""
    code, trigger, structure = _TYPE[field]
    if not trigger and (at := text.find("\rEVN|")) >= 0:
        trigger = part(text[at + 5 :].partition("\r")[0].partition("|")[0], 1)
    return code, trigger, structure


def _kind(code: str, trigger: str) -> str:
    return f"{code}^{trigger}" if trigger else code


def _text(body: bytes, configured: str) -> tuple[str, charset.Decoded]:
    if body[:3] not in _HEADS and not _BEGINNING.match(body[:64]):
        raise TranslateError("MSH", "no MSH at the start", detail_zh="开头不是 MSH。")
    declared = body[: max(body.find(b"\r"), 0) or None].split(b"|", 18)
    name = declared[17].decode("latin-1").partition("~")[0] if len(declared) > 17 else ""
    decoded = charset.decode(body, name, configured)
    try:
        return standard(clean(decoded.text)), decoded
    except ValueError as error:
        raise TranslateError("MSH", str(error), detail_zh="开头不是 MSH，或分隔符不可识别。") from error


def split_batch(body: bytes) -> list[bytes]:
    """The messages of a file or batch, each as its own bytes; FHS, BHS, BTS and FTS are left out."""
    starts = [found.end() for found in _STARTS.finditer(body)]
    if len(starts) < 2 and not (starts and starts[0] > 0 and body.lstrip(b"\x0b\r\n ")[:3] in (b"FHS", b"BHS")):
        return [body]
    ends = [*starts[1:], len(body)]
    return [_without_trailers(body[a:b]) for a, b in zip(starts, ends, strict=True)]


def _without_trailers(message: bytes) -> bytes:
    return re.sub(rb"[\r\n]+(?:BTS|FTS|BHS|FHS)[^\r\n]*", b"", message).strip(b"\r\n\x0b\x1c") + b"\r"


# ---- acknowledgement ----------------------------------------------------------------------------
def ack(peek: Peek, code: str, error: GatewayError | None, now: datetime) -> bytes:
    """ACK in the charset, separators and version of the message: MSH, MSA, and ERR when there is an error.

    Up to v2.4 the text stands in MSA-3 and ERR-1 holds the place; from v2.5 ERR-2, 3, 4 and 8 do.
    Source: HL7 v2.4 §2.16.5, v2.5.1 §2.15.5; tables 0008, 0357.
    """
    old = peek.version.startswith(("2.1", "2.2", "2.3", "2.4"))
    kind = f"ACK^{escaped(peek.trigger)}" if peek.trigger else "ACK"
    if peek.trigger and not old:
        kind += "^ACK"
    rows = [_msa(peek, code, error, old=old)]
    if error is not None:
        rows.append(_err_old(error) if old else error_segment(error))
    return respond(peek, kind, rows, now)


def respond(peek: Peek, kind: str, rows: Sequence[str], now: datetime) -> bytes:
    """A message back to the sender of `peek`, in its charset and separators; rows: segments, escaped already."""
    text = "".join(f"{row}\r" for row in (_msh(peek, kind, now), *rows))
    if peek.separators != "|^~\\&":
        text = _respelt(text, peek.separators)
    return charset.encode(text, peek.charset)


def plain_text(body: bytes) -> str:
    """The message as text with the separators `|^~\\&` and CR between segments. Raises TranslateError."""
    return _text(body, "auto")[0]


def _msh(peek: Peek, kind: str, now: datetime) -> str:
    stamp = now.astimezone(CHINA).strftime("%Y%m%d%H%M%S")
    sent = (peek.msh5, peek.msh6, peek.msh3, peek.msh4)
    fields = ["MSH", "^~\\&", *map(escaped, sent), stamp, "", kind, escaped(f"A{peek.control_id}"[:50])]
    fields += [escaped(peek.processing), escaped(peek.version)]
    if peek.declared:
        fields += ["", "", "", "", "", escaped(unescape(peek.declared))]
    return "|".join(fields)


def _msa(peek: Peek, code: str, error: GatewayError | None, *, old: bool) -> str:
    text = f"|{escaped(error.sentence_zh())}" if error is not None and old else ""
    return f"MSA|{code}|{escaped(peek.control_id)}{text}"


def error_segment(error: GatewayError) -> str:
    """ERR of v2.5 and later: place, table 0357, severity, our code, both texts."""
    severity = "E" if error.ack[0] != "AA" else "W"
    own = f"{error.code}^{escaped(error.en)}^L"
    zh, en = escaped(error.sentence_zh()), escaped(error.sentence_en())
    return f"ERR||{_location(error.place)}|{error.ack[1]}^^HL70357|{severity}|{own}||{en}|{zh}"


def _err_old(error: GatewayError) -> str:
    segment, _, rest = _location(error.place).partition("^")
    return (
        f"ERR|{segment}^{rest}^{error.ack[1]}&{error.code}&HL70357"
        if segment
        else f"ERR|^^^{error.ack[1]}&{error.code}"
    )


_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[(\d+)\])?(?:-(\d+))?(?:\[(\d+)\])?(?:\.(\d+))?(?![A-Za-z]).*")


def _location(place: str) -> str:
    """`OBX[3]-5.1` as ERL: segment, sequence, field, repetition, component."""
    found = _PLACE.match(place)
    if not found:
        return ""
    segment, sequence, field, repetition, component = found.groups()
    parts = [segment, sequence or "1", field or "", repetition or ("1" if field else ""), component or ""]
    return "^".join(parts).rstrip("^")


_SPECIAL = re.compile(r"[\\|^&~\r\n]")
_ESCAPED = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\r": " ", "\n": " "})


def escaped(text: str) -> str:
    """Text for a field: what would separate is escaped, line ends are blanks."""
    return text.translate(_ESCAPED) if _SPECIAL.search(text) else text


def _respelt(text: str, own: str) -> str:
    """An answer in the sender's separators; where its data has one of them, that is escaped instead."""
    names = dict(zip(own, "FSRET", strict=False))
    exchange = dict(zip("|^~\\&", own, strict=True))

    def data(char: str) -> str:
        return f"{own[3]}{names[char]}{own[3]}" if char in names else char

    def spelt(found: re.Match[str]) -> str:
        escaped, char = found[1], found[0]
        return data("|^~\\&"["FSRET".index(escaped)]) if escaped else exchange.get(char) or data(char)

    head = "MSH" + own
    return head + re.sub(rf"\\([FSRET])\\|[{re.escape(own)}|^~\\&]", spelt, text[8:])


# ---- the format ---------------------------------------------------------------------------------
class V2Format:
    """HL7 v2 to the engine."""

    name = "v2"

    def __init__(self) -> None:
        self._losses: dict[int, tuple[V2Session, Loss]] = {}

    def read(self, raw: RawMessage, source: Source) -> Document:
        """The message as a tree; `kind` is MSH-9 (`ORU^R01`)."""
        text, decoded = _text(raw.body, source.charset)
        head = text.partition("\r")[0].split("|", 18) + _NO_FIELDS
        code, trigger, structure = _message_type(head[8], text)
        declared = head[17].partition("~")[0].strip()
        facts = {"charset": decoded.charset, "version": _FIRST[head[11]], "control_id": unescape(head[9])}
        if declared:
            facts["declared"] = declared
        if structure:
            facts["structure"] = structure
        return Document(_kind(code, trigger), Tree(text), facts, _charset_findings(decoded, declared))

    def session(self, tables: Mapping[str, Table]) -> V2Session:
        """A path compiler for one mapping."""
        return V2Session(tables)

    def finder(self, path: str) -> Callable[[Tree], str]:
        """See Format."""
        return first_in(path)

    def ignorable(self, path: str) -> None:
        """See Format."""
        ignored_path(path)

    def unused(self, document: Document, session: Any, ignore: Mapping[str, str]) -> tuple[Unused, ...]:
        """Fields nobody read."""
        known = self._losses.get(id(session))
        if known is None:
            known = self._losses[id(session)] = (session, Loss(session.covers, ignore))
        return known[1].of(document.root)


def _charset_findings(decoded: charset.Decoded, declared: str) -> tuple[Finding, ...]:
    if decoded.guessed:
        zh = "字节既不是 UTF-8 也不是 GB18030，按 latin-1 读取，请核对姓名。"
        en = "The bytes are neither UTF-8 nor GB18030; they were read as latin-1."
        return (Finding("GW-MAP-005", "warning", "MSH-18", zh, en),)
    named = charset.known_name(declared)
    if named and named != decoded.charset and not decoded.text.isascii():
        zh = f"声明的字符集是 {declared}，实际是 {decoded.charset}，按实际读取。"
        en = f"MSH-18 declares {declared}, the bytes are {decoded.charset}; they were read as such."
        return (Finding("GW-MAP-006", "information", "MSH-18", zh, en),)
    return ()
