"""The words of codes, for `:text`: which of them this process knows to be in the store already.

Codes are few and resources many, so words stand in a table of their own, each with a posting that every row carries
which has them: `:text` looks there, then goes by postings. Nothing is ever taken out, so what is known stays true.
"""

from __future__ import annotations

from collections.abc import Iterable

from .base import PackedPut, Wording

_MANY = 100_000
_Known = tuple[str, int, str, int]


class Wordings:
    """Of one store."""

    def __init__(self) -> None:
        self._known: set[_Known] = set()

    def new(self, put: PackedPut) -> tuple[Wording, ...]:
        """Those the store may not have yet."""
        known, type_ = self._known, put.type
        return tuple([one for one in put.wordings if (type_, *one) not in known])

    def told(self, puts: Iterable[PackedPut]) -> None:
        """What these say is in the store now."""
        if len(self._known) > _MANY:
            self._known.clear()
        self._known.update((put.type, *one) for put in puts for one in put.wordings)
