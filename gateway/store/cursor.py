"""Paging links that hold the moment they began at, signed, without any state on the server (design-store §5)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from ..errors import BadParameter, ExpiredPage
from ..model.query import Query

_MAC = 12
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Cursor:
    """as_of, at: the transaction all pages see and its instant (epoch ms). born: when the first page was given (ms).

    place: where the way taken goes on; its first part says which way.
    """

    as_of: int
    at: int
    born: int
    place: tuple[Any, ...]


class Cursors:
    """Writes and reads cursors under a key derived from the store's own."""

    def __init__(self, store_key: bytes, life_s: int) -> None:
        self._key = hashlib.blake2b(b"paging", key=store_key, digest_size=32).digest()
        self._life_ms = life_s * 1000

    def write(self, query: Query, cursor: Cursor) -> str:
        """Opaque text for `Page.next`."""
        data = _encode((cursor.as_of, cursor.at, cursor.born, _fingerprint(query), cursor.place))
        return base64.urlsafe_b64encode(data + self._mac(data)).decode().rstrip("=")

    def read(self, query: Query, now_ms: int) -> Cursor:
        """The cursor of a query. Raises BadParameter for one not written for this query, ExpiredPage for an old one."""
        text = query.cursor
        try:
            whole = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (binascii.Error, ValueError):
            raise _foreign() from None
        data, mac = whole[:-_MAC], whole[-_MAC:]
        if not hmac.compare_digest(mac, self._mac(data)):
            raise _foreign()
        as_of, at, born, fingerprint, place = msgspec.msgpack.decode(data)
        if fingerprint != _fingerprint(query):
            raise _foreign()
        if now_ms - born > self._life_ms:
            raise ExpiredPage()
        return Cursor(as_of, at, born, tuple(place))

    def _mac(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._key, digest_size=_MAC).digest()


def _foreign() -> BadParameter:
    return BadParameter("_cursor", "not a paging link of this search", detail_zh="不是本次查询的翻页链接")


@lru_cache(2048)
def _fingerprint(query: Query) -> bytes:
    # The page size may change from page to page; everything else makes another search.
    same = replace(query, cursor="", count=0, total="none", includes=())
    return hashlib.blake2b(_encode(same), digest_size=8).digest()
