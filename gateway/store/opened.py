"""Versions with their whole JSON; those spliced lately serve again, because a version never changes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from .base import Resource
from .bodies import Codec, to_resource
from .engine import SEQ_BITS, Row

_KEPT_BYTES = 32 * 1024 * 1024
_OVERHEAD = 500  # of an entry beside its body, about


class Home(NamedTuple):
    """A person's number and the id of their Patient: what lies there is about them, however its elements say so."""

    person: int
    patient: str


NOWHERE = Home(-1, "")


class Opened:
    """Rows as resources. Remembers at most `kept_bytes` of them, those opened last."""

    __slots__ = ("_bytes", "_codec", "_kept", "_known")

    def __init__(self, codec: Codec, kept_bytes: int = _KEPT_BYTES) -> None:
        self._codec, self._kept, self._bytes = codec, kept_bytes, 0
        self._known: dict[int, Resource] = {}

    def one(self, row: Row) -> Resource:
        """The version a row holds."""
        known = self._known.get(row[0])
        return self._fresh(row) if known is None else known

    def all(self, rows: Iterable[Row], home: Home = NOWHERE) -> list[Resource]:
        """The same for many; of those at home it need not be looked up in their bodies whom they are about."""
        known, fresh = self._known.get, self._fresh
        return [known(row[0]) or fresh(row, home) for row in rows]

    def _fresh(self, row: Row, home: Home = NOWHERE) -> Resource:
        patient = home.patient if row[0] >> SEQ_BITS == home.person else ""
        made = self._known[row[0]] = to_resource(row, self._codec, patient)
        self._bytes += len(made.body) + _OVERHEAD
        if self._bytes > self._kept:
            self._forget()
        return made

    def _forget(self) -> None:
        """The half that was opened first."""
        for rid in list(islice(self._known, len(self._known) // 2 + 1)):
            self._bytes -= len(self._known.pop(rid).body) + _OVERHEAD
