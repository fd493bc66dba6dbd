"""Text of a DICOM file in the charset its bytes are in, whatever (0008,0005) says.

The charset is judged once for the whole file, from all text beyond ASCII together: a single short name may be
valid in several. Sources: DICOM PS3.3 §C.12.1.1.2, PS3.5 §6.1.2; china-standards §3.5; inbound-facts §4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..model.outcome import Finding

_CODECS = {
    "ISO_IR 192": "utf-8",
    "GB18030": "gb18030",
    "GBK": "gb18030",
    "ISO 2022 IR 58": "gb18030",
    "ISO_IR 58": "gb18030",
    "ISO_IR 100": "latin-1",
    "ISO 2022 IR 100": "latin-1",
    "ISO_IR 101": "iso8859-2",
    "ISO_IR 144": "iso8859-5",
    "ISO 2022 IR 149": "euc_kr",
    "ISO 2022 IR 13": "shift_jis",
    "ISO_IR 13": "shift_jis",
    "ISO 2022 IR 87": "iso2022_jp",
}
# What an escape sequence switches to. GB 2312 in G1 is a part of GB18030, so dropping the escape is enough.
_ESCAPES = {
    b"\x1b$)A": "gb18030",
    b"\x1b(B": "ascii",
    b"\x1b-A": "latin-1",
    b"\x1b$)C": "euc_kr",
    b"\x1b(J": "shift_jis",
    b"\x1b)I": "shift_jis",
}
_ESCAPE = re.compile(rb"\x1b(?:\$[()][A-Z]|\$[A-Z]|[()\-][A-Z])")
_HAN_PAIRS = re.compile(rb"(?:[\x00-\x7f]|[\xa1-\xf7][\xa1-\xfe])*")


@dataclass(frozen=True, slots=True)
class Charset:
    """How one file is decoded. declared: the values of (0008,0005) joined by a backslash; codec: a Python codec."""

    declared: str
    codec: str
    trusted: bool

    def findings(self) -> tuple[Finding, ...]:
        """A warning when the bytes are not what the file declares."""
        if self.trusted:
            return ()
        said = self.declared or "无"
        zh = f"(0008,0005) 声明的字符集是 {said}，实际内容是 {self.codec}；已按实际内容读取。"
        en = f"(0008,0005) declares {self.declared or 'nothing'}, the bytes are {self.codec}; read as what they are."
        return (Finding("GW-TRN-005", "warning", "(0008,0005)", zh, en),)

    def decode(self, raw: bytes) -> str:
        """The text of one value, escape sequences undone; what no charset holds becomes U+FFFD."""
        if raw.isascii() and b"\x1b" not in raw:
            return raw.decode("ascii")
        if b"\x1b" not in raw:
            return raw.decode(self.codec, "replace")
        return _unescaped(raw, self.codec)


def _unescaped(raw: bytes, codec: str) -> str:
    if b"\x1b$B" in raw:
        return raw.decode("iso2022_jp", "replace")
    out: list[str] = []
    at = 0
    for found in _ESCAPE.finditer(raw):
        out.append(raw[at : found.start()].decode(codec, "replace"))
        codec, at = _ESCAPES.get(found.group(), codec), found.end()
    out.append(raw[at:].decode("gb18030" if codec == "ascii" else codec, "replace"))
    return "".join(out)


def judge(declared: tuple[str, ...], texts: Iterable[bytes], override: str = "auto") -> Charset:
    """The charset of a file from its declaration and all its text values.

    Declared and fitting is believed, except Latin-1 whose bytes are all pairs of GB 2312 (an unset device in
    China). Undeclared or not fitting: UTF-8, GB18030, Latin-1, the first that fits. `override`: the source's own.
    """
    said = "\\".join(declared)
    beyond = b"\n".join(text for text in texts if not text.isascii() and b"\x1b" not in text)
    if override not in ("", "auto"):
        return Charset(said, override, True)
    codec = next((_CODECS[name] for name in declared if name in _CODECS and name != "ISO_IR 6"), "")
    if codec == "latin-1" and beyond and _HAN_PAIRS.fullmatch(beyond):
        return Charset(said, "gb18030", False)
    if codec and _fits(beyond, codec):
        return Charset(said, codec, True)
    found = next(name for name in ("utf-8", "gb18030", "latin-1") if _fits(beyond, name))
    return Charset(said, found, not beyond)


def _fits(text: bytes, codec: str) -> bool:
    try:
        text.decode(codec)
    except UnicodeDecodeError:
        return False
    return True
