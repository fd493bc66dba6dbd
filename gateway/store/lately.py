"""What was found out about questions lately, so that it need not be found out again: asked once, often asked again."""

from __future__ import annotations

import time
from collections.abc import Hashable

_QUESTIONS, _LATELY_S = 2_000, 60.0
"""How many are remembered, and how long each."""
_LEAST, _USUAL = 0.02, 1 / 3


class Lately:
    """Of one process."""

    def __init__(self) -> None:
        self._many: dict[Hashable, tuple[int, float]] = {}  # more than so many, until then
        self._shares: dict[Hashable, float] = {}

    def many(self, question: Hashable, limit: int) -> bool:
        """Whether there were more than half as many as `limit`."""
        known, until = self._many.get(question, (-1, 0.0))
        return 2 * known >= limit and time.monotonic() < until

    def note(self, question: Hashable, limit: int) -> None:
        """There are more than `limit`."""
        if len(self._many) >= _QUESTIONS:
            self._many.clear()
        self._many[question] = limit, time.monotonic() + _LATELY_S

    def share(self, question: Hashable) -> float:
        """How many of the rows met on a walk fitted, about, and a little less: so many fill a page in one step."""
        return self._shares.get(question, _USUAL)

    def shared(self, question: Hashable, share: float) -> None:
        """So many fitted."""
        if len(self._shares) >= _QUESTIONS:
            self._shares.clear()
        self._shares[question] = min(max(0.8 * share, _LEAST), 1.0)
