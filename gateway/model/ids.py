"""Ids that follow from a source key and cannot be guessed without the store's key (D5)."""

from __future__ import annotations

import base64
import hashlib
import secrets


class Ids:
    """FHIR ids of one store: `of` for what a message makes, `random` for what a client creates."""

    __slots__ = ("_key",)

    def __init__(self, store_key: bytes) -> None:
        self._key = store_key

    def of(self, *parts: str) -> str:
        """26 lower-case letters and digits, the same for the same parts and store key."""
        text = "\x1f".join(parts).encode()
        return _text(hashlib.blake2b(text, digest_size=16, key=self._key).digest())

    @staticmethod
    def random() -> str:
        """A fresh id of the same look."""
        return _text(secrets.token_bytes(16))


def _text(digest: bytes) -> str:
    return base64.b32encode(digest)[:26].decode().lower()
