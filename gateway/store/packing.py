"""What a row carries of its search keys: `keys` = msgpack [refs, dates, numbers, texts], and its postings cut short.

Six bytes of a posting are enough to test one row that is already in hand (one false answer in 10^13);
what is *found* by postings is found by all 64 bits.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from .base import Keys

WORD = 6
_Rest = tuple[
    tuple[tuple[int, int], ...],
    tuple[tuple[int, int, int], ...],
    tuple[tuple[int, int, float], ...],
    tuple[tuple[int, str], ...],
]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Rest).decode


def short(word: int) -> bytes:
    """The six bytes by which a row is tested for a posting."""
    return struct.pack(">q", word)[:WORD]


def short_words(words: Sequence[int]) -> bytes:
    """The same for all postings of a row, one after the other."""
    whole = struct.pack(f">{len(words)}q", *words)
    return b"".join([whole[at : at + WORD] for at in range(0, len(whole), 8)])


def pack_keys(keys: Keys) -> bytes:
    """What a row carries of its keys beside its postings."""
    if not (keys.refs or keys.dates or keys.numbers or keys.texts):
        return b""
    return _encode((keys.refs, keys.dates, keys.numbers, keys.texts))


def unpack_keys(blob: bytes) -> Keys:
    """Keys without tokens."""
    if not blob:
        return Keys()
    refs, dates, numbers, texts = _decode(blob)
    return Keys((), refs, dates, numbers, texts)
