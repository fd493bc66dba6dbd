"""Names a compiled map gives its local variables."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Names:
    """Local variables of kept values and of made resources, by the names rules give them.

    origins: paths kept values are read from. open: numbers of the loops around the present rule. born: loops around
    the rule that sets a variable. several: kept values that may stand in one of several places.
    """

    kept: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    several: set[str] = field(default_factory=set)
    made: dict[str, str] = field(default_factory=dict)
    lists: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    open: list[int] = field(default_factory=list)
    born: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def comes_from(self, kept: str, path: str) -> None:
        """A rule keeps what is at the path; a value kept from several places stands at none of them."""
        self.origins[kept] = path if self.origins.get(kept, path) == path else f"${kept}"

    def inner(self, local: str) -> bool:
        """True when the variable changes inside the innermost loop."""
        return bool(self.open) and self.open[-1] in self.born.get(local, ())
