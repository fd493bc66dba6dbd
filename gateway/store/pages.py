"""First pages given lately, true as of the last commit the engine was told of.

A page found by postings can only change by a version that carries one of the words all its matches carry, or by another
version of a resource on it. `changed` forgets a page when either is committed. Kept by question and by what the caller
may see.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

from msgspec import Struct

from .base import Resource, fh_of
from .engine import PackedPlan, puts_of

_BYTES = 32 * 1024 * 1024
_PAGE_BYTES = 2_000  # of a page beside its bodies, about


class Kept(Struct, frozen=True):
    """made: what the question was compiled to. place: where the next page begins, () on the last. marks: see above."""

    made: object
    matches: tuple[Resource, ...]
    place: tuple[Any, ...]
    marks: tuple[int, ...]


class Pages:
    """When so many bytes were remembered, all are forgotten; with 0 none are.

    turn: moves with every commit told. What was found out while it stood still may be kept.
    """

    def __init__(self, kept_bytes: int = _BYTES) -> None:
        self._kept = kept_bytes
        self.turn = 0
        self._pages: dict[Hashable, tuple[int, Kept]] = {}  # with its number
        self._keys: dict[int, Hashable] = {}  # by number, of pages still there
        self._marked: dict[int, int | list[int]] = {}  # numbers of pages, also of some forgotten since
        self._bytes = 0
        self._last = 0

    def __bool__(self) -> bool:
        return bool(self._pages)

    def get(self, key: Hashable, made: object) -> Kept | None:
        """The page, when the question still means the same (a merged Patient makes it mean another)."""
        kept = self._pages.get(key)
        return kept[1] if kept is not None and kept[1].made is made else None

    def keep(self, key: Hashable, page: Kept) -> None:
        """Remember a page that is true as of the last commit told."""
        if not self._kept:
            return
        if self._bytes > self._kept:
            self.clear()
        self._last += 1
        before = self._pages.get(key)
        if before is not None:
            del self._keys[before[0]]
        self._pages[key] = self._last, page
        self._keys[self._last] = key
        self._bytes += _size(page)
        self._mark(page.marks, self._last)

    def _mark(self, marks: tuple[int, ...], number: int) -> None:
        # Mostly a mark is of one page: a plain number, which collections of garbage need not look at.
        marked = self._marked
        for mark in marks if not marked.keys().isdisjoint(marks) else ():
            known = marked.get(mark)
            if isinstance(known, list):
                known.append(number)
            elif known is not None:
                marked[mark] = [known, number]
        marked.update(dict.fromkeys([mark for mark in marks if mark not in marked], number))

    def told(self, plan: PackedPlan) -> None:
        """Forget what a plan may have changed."""
        self.turn += 1
        for put in puts_of(plan) if self._marked else ():
            self.changed(put.fh, put.words)
        for gone in plan.deletes:
            self.changed(fh_of(gone.type, gone.id), ())

    def changed(self, fh: int, words: Iterable[int]) -> None:
        """Forget what another version of this resource, with these words, may have changed."""
        if fh in self._marked:
            self._forget(fh)
        if not self._marked.keys().isdisjoint(words):
            for word in self._marked.keys() & set(words):
                self._forget(word)

    def _forget(self, mark: int) -> None:
        numbers = self._marked.pop(mark)
        for number in numbers if isinstance(numbers, list) else (numbers,):
            key = self._keys.pop(number, None)
            if key is not None:
                del self._pages[key]

    def clear(self) -> None:
        """Forget all."""
        self.turn += 1
        self._pages.clear()
        self._keys.clear()
        self._marked.clear()
        self._bytes = 0


def _size(page: Kept) -> int:
    return _PAGE_BYTES + sum([len(one.body) for one in page.matches])
