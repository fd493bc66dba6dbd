"""Ids that follow from a source key and cannot be guessed without the store's key (D5)."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from typing import Protocol

_OURS = re.compile(r"[0-9a-f]{26}")
_BYTES = 13  # 104 bits: two of 10^12 resources meet with probability 2.5e-8


class Hash(Protocol):
    """What hashlib gives."""

    def copy(self) -> Hash:
        """One more, in the same state."""

    def update(self, data: bytes, /) -> None:
        """Absorb more."""

    def hexdigest(self) -> str:
        """The digest so far."""


class _Drawn:
    """Random ids, 64 drawn at a time: the system is asked for random numbers outside the interpreter's lock.

    A forked process draws its own, else two would give the same.
    """

    def __init__(self) -> None:
        self._left: list[str] = []
        os.register_at_fork(after_in_child=self._left.clear)

    def next(self) -> str:
        """One nobody has."""
        if not self._left:
            text = secrets.token_hex(_BYTES * 64)
            self._left += [text[first : first + 2 * _BYTES] for first in range(0, len(text), 2 * _BYTES)]
        return self._left.pop()


_drawn = _Drawn()


class Ids:
    """FHIR ids of one store: `of` for what a message makes, `random` for what a client creates."""

    __slots__ = ("_keyed",)

    def __init__(self, store_key: bytes) -> None:
        self._keyed = hashlib.blake2b(digest_size=_BYTES, key=store_key)

    def of(self, *parts: str) -> str:
        """26 lower-case hexadecimal digits, the same for the same parts and store key."""
        digest = self._keyed.copy()  # the key is absorbed once: a quarter of the cost
        digest.update("\x1f".join(parts).encode())
        return digest.hexdigest()

    def begun(self, *parts: str) -> Hash:
        """The digest with the first parts absorbed: `copy()` it, `update` with `\\x1f` before each further part.

        `hexdigest()` then gives what `of` gives for all parts; for many ids that begin alike.
        """
        digest = self._keyed.copy()
        digest.update("\x1f".join(parts).encode())
        return digest

    @staticmethod
    def random() -> str:
        """A fresh id of the same look."""
        return _drawn.next()


def made_here(id_: str) -> bool:
    """Whether an id looks like one of ours; any other was chosen by a client."""
    return _OURS.fullmatch(id_) is not None
