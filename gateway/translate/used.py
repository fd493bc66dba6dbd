"""Which reading counts as use of a field (D7): what a rule reads where it applies, an alternative that gives something.

To ask whether a field holds anything is not to use it; to compare it decides something and is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .formats import Emit, Session

NOBODY = -1
"""In whose name a field is read that is not used by that."""


class Used:
    """In whose name the present expression reads: `bit` numbers the rule, or the alternative or condition inside it."""

    def __init__(self, emit: Emit, session: Session) -> None:
        self.bit = 0
        self.free = 0  # the next number nobody has
        self.unsure = False  # the present expression may never be asked for, so nothing of it is worked out early
        self._emit = emit
        self._session = session

    @contextmanager
    def looking(self) -> Iterator[None]:
        """What is read inside is not used by it."""
        outer, self.bit = self.bit, NOBODY
        yield
        self.bit = outer

    @contextmanager
    def perhaps(self) -> Iterator[None]:
        """An expression that may never be asked for."""
        outer, self.unsure = self.unsure, True
        yield
        self.unsure = outer

    @contextmanager
    def branch(self) -> Iterator[list[str]]:
        """Likewise, with a number of its own; afterwards the list holds the assignments that count it as taken."""
        outer, taken = self.bit, list[str]()
        if outer != NOBODY:
            self.bit, self.free = self.free, self.free + 1
        with self.perhaps():
            yield taken
        taken += self._session.taken(self.bit)
        self.bit = outer

    @contextmanager
    def block(self, made: str) -> Iterator[None]:
        """Likewise, the lines of a block: the last of them counts it as taken where it made something."""
        with self.branch() as taken:
            yield
        if taken:
            self._emit.line(f"if {made}: {'; '.join(taken)}")
