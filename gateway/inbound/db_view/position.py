"""How far a view was read, and what lies in the stretch that is read again: rows may commit late below the newest.

A row is known by its key, and unchanged while the hash of its cells is that of last time. Of rows that stretch over
more than MOST nothing is remembered below the newest MOST: reading then begins right behind the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from ...model.view import View
from .values import below, given, is_future

MOST = 100_000


class Row(NamedTuple):
    """One row. key, changed: as positions keep them, key () for one without; cells: what the CSV has of it; group: the
    report it belongs to.
    """

    key: tuple[str, ...]
    changed: str
    cells: tuple[str, ...]
    group: Any = None

    @property
    def hash(self) -> str:
        """Of all its cells."""
        return hashlib.blake2b("\x1f".join(self.cells).encode(), digest_size=8).hexdigest()


class Known(msgspec.Struct, array_like=True):
    """What is remembered of a row: its key, its `changed`, the hash of its cells."""

    key: tuple[str, ...]
    changed: str
    hash: str


class Position(msgspec.Struct, array_like=True):
    """of: what was read. generation: how often it was saved. newest: the highest `changed`. columns: of the view then.

    behind: (changed, *key) of the last row nothing is remembered of, where there were too many.
    """

    of: str = ""
    generation: int = 0
    newest: str = ""
    columns: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    rows: list[Known] = []

    @classmethod
    def loaded(cls, body: bytes, view: View) -> Position:
        """As saved; a fresh one for b"", and for another view, `changed` or `since`."""
        of = f"{view.address} {view.name} {view.changed} {view.since}"
        saved = msgspec.msgpack.decode(body, type=cls) if body else cls(of)
        return saved if saved.of == of else cls(of, saved.generation)

    def saved(self) -> bytes:
        """As it is kept."""
        return msgspec.msgpack.encode(self)


class Window:
    """A position at work: the rows it remembers by their key, in the order they were read."""

    def __init__(self, position: Position, overlap: int, today: Callable[[], datetime]) -> None:
        """today: the present time where the source is, aware."""
        self.position = position
        self._overlap, self._today = overlap, today
        self._known = {one.key: one for one in position.rows}
        self._met: dict[tuple[str, ...], str] = {}

    def __len__(self) -> int:
        return len(self._known)

    @property
    def since(self) -> Any:
        """`changed` where the next reading begins; None at the very first. Raises ValueError."""
        newest = self.position.newest
        return below(given(newest), self._overlap) if newest else None

    @property
    def after(self) -> list[Any]:
        """Values of the row behind which it begins instead, [] where all are remembered."""
        return [given(one) for one in self.position.behind]

    def begin(self) -> None:
        """A reading begins."""
        self._met = {}

    def twins(self, rows: Iterable[Row]) -> list[Row]:
        """Rows of a page whose key this reading met with other cells: changed meanwhile, or the key is no key."""
        return [row for row in rows if self._met.setdefault(row.key, row.hash) != row.hash]

    def new(self, rows: Iterable[Row]) -> list[Row]:
        """Those that were not read before, or are others by now."""
        return [row for row in rows if (known := self._known.get(row.key)) is None or known.hash != row.hash]

    def remember(self, rows: Iterable[Row]) -> None:
        """The rows of a page, in their order; what they hold was kept."""
        for row in rows:
            self._known.pop(row.key, None)
            self._known[row.key] = Known(row.key, row.changed, row.hash)

    def remember_others(self, rows: Iterable[Row], page: Row | None) -> None:
        """Rows kept with those of a page, as far as they are known or still to come. page: its last row."""
        for row in (row for row in rows if row.key):
            if row.key in self._known or page is None or given(row.changed) >= given(page.changed):
                self._known[row.key] = Known(row.key, row.changed, row.hash)

    def only(self, keys: set[tuple[str, ...]]) -> None:
        """Forget all others: they will not be read again."""
        self._known = {key: one for key, one in self._known.items() if key in keys}

    def ahead(self, row: Row) -> bool:
        """True when nothing was read as new as this row. A wrong clock's row, from tomorrow or 2099, never counts:
        what comes after it would lie below it."""
        newest, value = self.position.newest, given(row.changed)
        return not is_future(value, self._today()) and (not newest or value > given(newest))

    def reach(self, row: Row) -> None:
        """The page ended with this row: what lies below the next reading's beginning need not be remembered."""
        position = self.position
        if self.ahead(row):
            position.newest = row.changed
        since = self.since
        if since is None:
            return
        if position.behind and given(position.behind[0]) < since:
            position.behind = ()
        for known in list(self._known.values()):
            if given(known.changed) >= since:
                if len(self._known) <= MOST:
                    break
                position.behind = (known.changed, *known.key)
            del self._known[known.key]
            self._met.pop(known.key, None)

    def saved(self) -> bytes:
        """The position as it is kept, one generation on."""
        self.position.generation += 1
        self.position.rows = list(self._known.values())
        return self.position.saved()
