"""What a row carries of its keys: `keys` = msgpack [present, refs, dates, numbers, texts]; its postings cut short.

Dates are (param, first ms, length ms); numbers are (param, value, unit hashes), one entry a value. Six bytes of a
posting are enough to test one row that is already in hand (one false answer in 10^13); what is *found* by postings
is found by all 64 bits.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

import msgspec

from ..model.times import CHINA
from .base import Committed, Kept, Keys, Written

WORD = 6
_Packed = tuple[
    bytes,
    tuple[tuple[int, int], ...],
    tuple[tuple[int, int, int], ...],
    tuple[tuple[int, float, tuple[int, ...]], ...],
    tuple[tuple[int, str], ...],
]
_Referring = tuple[bytes, tuple[tuple[int, int], ...], msgspec.Raw, msgspec.Raw, msgspec.Raw]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode
_referring = msgspec.msgpack.Decoder(_Referring).decode
_loose = msgspec.msgpack.Decoder().decode


def short(word: int) -> bytes:
    """The six bytes by which a row is tested for a posting."""
    return struct.pack(">q", word)[:WORD]


def short_words(words: Sequence[int]) -> bytes:
    """The same for all postings of a row, one after the other."""
    found = bytearray(struct.pack(f">{len(words)}q", *words))
    for last in (7, 6):  # of each eight bytes the first six stay
        del found[last :: last + 1]
    return bytes(found)


def pack_keys(keys: Keys) -> bytes:
    """What a row carries of its keys beside its postings; b"" for nothing."""
    if not (keys.refs or keys.dates or keys.numbers or keys.texts or keys.present):
        return b""
    dates = [(param, low, high - low) for param, low, high in keys.dates]
    values: dict[tuple[int, float], list[int]] = {}
    for param, unit, value in keys.numbers:
        values.setdefault((param, value), []).append(unit)
    numbers = [(param, value, units) for (param, value), units in values.items()]
    present = keys.present.to_bytes((keys.present.bit_length() + 7) // 8, "little")
    return _encode((present, tuple(dict.fromkeys(keys.refs)), dates, numbers, keys.texts))


def present_of(blob: bytes) -> int:
    """`Keys.present` alone, without decoding the rest: an array of five whose first is at most 255 bytes."""
    return int.from_bytes(blob[3 : 3 + blob[2]], "little") if blob[:2] == b"\x95\xc4" else 0


def refs_of(blob: bytes) -> Sequence[tuple[int, int]]:
    """`Keys.refs` alone."""
    if not blob:
        return ()
    try:
        found: _Referring = _referring(blob)
    except msgspec.ValidationError:  # as below
        return decode_keys(blob).refs
    return found[1]


@lru_cache(8192)
def unpack_keys(blob: bytes) -> Keys:
    """Keys without tokens. Those of rows read again and again are not taken apart again."""
    return decode_keys(blob)


def decode_keys(blob: bytes) -> Keys:
    """The same of a row that is read once."""
    if not blob:
        return Keys()
    try:
        present, refs, dates, numbers, texts = _decode(blob)
    except msgspec.ValidationError:  # a row indexed before `present` was kept; `store.reindex` brings it up to date
        refs, dates, numbers, texts = _loose(blob)
        present = b""
    return Keys(
        (),
        refs,
        tuple([(param, low, low + length) for param, low, length in dates]),
        tuple([(param, unit, value) for param, value, units in numbers for unit in units]),
        texts,
        int.from_bytes(present, "little"),
    )


_written = msgspec.json.Decoder(tuple[Written, ...]).decode


def pack_written(written: Sequence[Written]) -> bytes:
    """What became of a plan, kept with its answer (JSON)."""
    return msgspec.json.encode(written)


def kept_answer(tx: int, at: int, digest: bytes, said: bytes, written: bytes) -> Kept:
    """A row of the kept answers; `at` in epoch ms."""
    return Kept(digest, said, Committed(tx, datetime.fromtimestamp(at / 1000, CHINA), _written(written)))
