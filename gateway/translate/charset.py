"""From bytes to text before anything is split: in GB18030 the second byte of a character may look like `|`.

Ladder, per message and never per field: BOM, strict UTF-8, GB18030, the declared charset, latin-1 with a
flag. Source: HL7 v2.5.1 §2.15.9.18 (MSH-18) and table 0211; GB 18030-2022.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from ..errors import WrongCharset
from ..model.normalise import PRIVATE_USE

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BOM_STARTS = {bom[:1] for bom, _ in _BOMS}
_NAMES = {
    "UNICODE UTF-8": "utf-8",
    "UNICODEUTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "GB 18030-2000": "gb18030",
    "GB18030": "gb18030",
    "GB18030-2000": "gb18030",
    "GBK": "gb18030",
    "GB2312": "gb18030",
    "CP936": "gb18030",
    "BIG-5": "big5",
    "BIG5": "big5",
    "UNICODE UTF-16": "utf-16",
    "8859/1": "latin-1",
    "ISO-8859-1": "latin-1",
}

_PRIVATE = re.compile(f"[{''.join(map(chr, PRIVATE_USE))}]")


class Decoded(NamedTuple):
    """Text with the charset that gave it; `guessed` is True when only latin-1 took the bytes."""

    text: str
    charset: str
    guessed: bool = False


def known_name(declared: str) -> str:
    """Python codec for a declared charset name (MSH-18, XML, configuration); "" when unknown."""
    return _NAMES.get(declared.strip().upper(), "")


def decode(body: bytes, declared: str = "", configured: str = "auto") -> Decoded:
    """Text of the whole body. A configured charset other than `auto` is the only one tried.

    Raises WrongCharset when a configured charset does not fit the bytes.
    """
    if configured not in ("", "auto"):
        return _configured(body, configured)
    if body[:1] in _BOM_STARTS:
        for bom, codec in _BOMS:
            if body.startswith(bom):
                return Decoded(body.decode(codec, "replace"), codec.removesuffix("-sig"))
    try:
        return Decoded(body.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        return _after_utf8(body, known_name(declared))


def _configured(body: bytes, configured: str) -> Decoded:
    codec = known_name(configured) or configured
    try:
        return Decoded(fold(body.decode(codec)), codec)
    except (UnicodeDecodeError, LookupError) as error:
        raise WrongCharset(
            "body", f"configured charset {configured}", detail_zh=f"来源配置的字符集是 {configured}。"
        ) from error


def _after_utf8(body: bytes, declared: str) -> Decoded:
    for codec in ("gb18030", declared):
        if not codec:
            continue
        try:
            return Decoded(fold(body.decode(codec)), codec)
        except UnicodeDecodeError:
            continue
    return Decoded(body.decode("latin-1"), "latin-1", guessed=True)


def fold(text: str) -> str:
    """Private-use code points of older GB18030 tables as the characters GB 18030-2022 gives them."""
    return text.translate(PRIVATE_USE) if _PRIVATE.search(text) else text


def encode(text: str, charset: str) -> bytes:
    """Bytes in a charset of the ladder; a character it lacks becomes `?`."""
    return text.encode(charset, "replace")
