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
    "GB2312": "gb18030",
    "UTF-8": "utf-8",
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
_LATIN = ("latin-1", "iso8859-2")
_ONE_BYTE = (*_LATIN, "iso8859-5")
_HAN_PAIR = re.compile(rb"[\xa1-\xf7][\xa1-\xfe]")
_HIGH = re.compile(rb"[\x80-\xff]")
_CERTAIN = 12
"""So many bytes of Chinese that are valid UTF-8 are UTF-8: six characters in GBK hardly ever are (inbound-facts §3)."""


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

    Declared and fitting is believed, except Latin letters that are mostly pairs of GB 2312 (an unset device in China),
    and what is UTF-8 beyond doubt. Undeclared or not fitting: UTF-8, GB18030, Latin-1, the first that fits.
    `override`: the source's own.
    """
    said = "\\".join(declared)
    beyond = b"\n".join(text for text in texts if not text.isascii() and b"\x1b" not in text)
    if override not in ("", "auto"):
        return Charset(said, override, True)
    codec = next((_CODECS[name] for name in declared if name in _CODECS and name != "ISO_IR 6"), "")
    if beyond and codec and (meant := _meant(beyond, codec)) != codec:
        return Charset(said, meant, False)
    if codec and _fits(beyond, codec):
        return Charset(said, codec, True)
    found = next(name for name in ("utf-8", "gb18030", "latin-1") if _fits(beyond, name))
    return Charset(said, found, not beyond)


def _meant(text: bytes, declared: str) -> str:
    """The codec of text beyond ASCII under a declaration that it fits by chance."""
    high = len(_HIGH.findall(text))
    if (declared in _ONE_BYTE or high >= _CERTAIN) and _fits(text, "utf-8") and max(text.decode()) > "\u2e80":
        return "utf-8"
    if declared in _LATIN and len(_HAN_PAIR.findall(text)) * 4 > high and _fits(text, "gb18030"):
        return "gb18030"
    return declared


def _fits(text: bytes, codec: str) -> bool:
    try:
        text.decode(codec)
    except UnicodeDecodeError:
        return False
    return True
