"""Opaque texts for links and cookies: unreadable and unchangeable without the key.

A paging link must carry its whole search, and the search may hold a card number, so signing alone is
not enough. Construction: encrypt-then-MAC, keystream and tag both from keyed BLAKE2b (a PRF) under two
keys derived from one, a fresh 16-byte nonce a text. Source: RFC 7693; Bellare & Namprempre 2000.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

_NONCE = 16
_TAG = 16


class Seal:
    """`close` makes a URL-safe text of bytes, `open` gives the bytes back or None."""

    __slots__ = ("_mac_key", "_stream_key")

    def __init__(self, key: bytes, purpose: str) -> None:
        self._stream_key = _derived(key, purpose, b"stream")
        self._mac_key = _derived(key, purpose, b"mac")

    def close(self, clear: bytes) -> str:
        """The sealed text; the same bytes give another text each time."""
        nonce = secrets.token_bytes(_NONCE)
        hidden = self._xor(clear, nonce)
        return base64.urlsafe_b64encode(nonce + hidden + self._tag(nonce + hidden)).rstrip(b"=").decode()

    def open(self, text: str) -> bytes | None:
        """The bytes, or None when one character was changed or the key is another."""
        try:
            whole = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        body, tag = whole[:-_TAG], whole[-_TAG:]
        if len(body) < _NONCE or not hmac.compare_digest(tag, self._tag(body)):
            return None
        return self._xor(body[_NONCE:], body[:_NONCE])

    def _tag(self, body: bytes) -> bytes:
        return hashlib.blake2b(body, key=self._mac_key, digest_size=_TAG).digest()

    def _xor(self, text: bytes, nonce: bytes) -> bytes:
        size = len(text)
        blocks = (
            hashlib.blake2b(nonce + number.to_bytes(8, "big"), key=self._stream_key).digest()
            for number in range((size + 63) // 64)
        )
        stream = b"".join(blocks)[:size]
        return (int.from_bytes(text, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


def _derived(key: bytes, purpose: str, part: bytes) -> bytes:
    return hashlib.blake2b(purpose.encode() + b"\x1f" + part, key=key[:64], digest_size=32).digest()
