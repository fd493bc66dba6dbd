"""What an operator watches of a store: how much there is, what waits, what this process committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class Commits:
    """Transactions one process committed since it began, in how many seconds; together they held so many writes."""

    count: int = 0
    writes: int = 0
    seconds: float = 0.0

    def add(self, writes: int, seconds: float) -> None:
        """One more."""
        self.count += 1
        self.writes += writes
        self.seconds += seconds


@dataclass(frozen=True, slots=True)
class Figures:
    """resources: current ones by type, deleted ones left out. unchained: audit rows not in the chain yet."""

    resources: Mapping[str, int]
    unchained: int
    commits: Commits
