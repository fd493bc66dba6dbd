"""Small things an engine remembers of Patients until a commit says otherwise."""

from __future__ import annotations

from collections.abc import Iterable

_MANY = 50_000  # of each, about 100 bytes


class People:
    """Numbers of persons, and who reads for whom."""

    def __init__(self) -> None:
        self._survivors: dict[int, str] = {}  # by fh of a Patient, "" for one who stands for himself
        self._persons: dict[int, int] = {}  # by fh of a Patient: a number once given stays

    def person(self, fh: int) -> int | None:
        """A Patient's number, where it is remembered."""
        return self._persons.get(fh)

    def keep_person(self, fh: int, person: int) -> None:
        """Remember it."""
        if len(self._persons) > _MANY:
            self._persons.clear()
        self._persons[fh] = person

    def unknown(self, fhs: Iterable[int]) -> list[int]:
        """Those of whom it is not remembered whether another reads for them."""
        if len(self._survivors) > _MANY:
            self._survivors.clear()
        return [fh for fh in fhs if fh not in self._survivors]

    def keep_survivors(self, asked: Iterable[int], found: dict[int, str]) -> None:
        """Remember who reads for whom; of those asked who were not found, nobody."""
        self._survivors.update(dict.fromkeys(asked, ""))
        self._survivors.update(found)

    def survivors(self, fhs: Iterable[int]) -> dict[int, str]:
        """Who reads for these; all are remembered."""
        return {fh: id_ for fh in fhs if (id_ := self._survivors[fh])}

    def changed(self, fh: int) -> None:
        """Another version of a resource was written."""
        self._survivors.pop(fh, None)

    def clear(self) -> None:
        """Forget all that a commit could change."""
        self._survivors.clear()
