"""A search beside the process that writes the SQLite store: it reads as of the moments that process tells."""

from __future__ import annotations

import time
from pathlib import Path

from ..model.times import Clock
from .bodies import Codec, shipped_dictionaries
from .pages import Pages
from .reads import ResourceReads
from .sqlite_reads import SqliteReads
from .sqlite_sql import dictionaries
from .sqlite_zones import SqliteZones

_ZONES_S = 60.0
"""How long zones are believed to be all there are: more are made now and then, and those known stay right."""


class Following(SqliteReads):
    """`<directory>/store.db`. What a commit could change is forgotten when the moment moves."""

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory / "store.db"), Pages(0))  # it is not asked what was asked lately
        self.zones = SqliteZones(self._reader, self._names, self._apart)
        self._renew_at = time.monotonic() + _ZONES_S

    def told(self, tx: int, at: int) -> None:
        """The last commit somebody has heard of, and its instant (epoch ms)."""
        if tx <= self._known.tx:
            return
        self._known.clear()
        self._known.tx, self._known.at = tx, at
        if self._one("SELECT max(no) FROM name")[0] != len(self._names.number):
            self._names.load(self._reader)
        if time.monotonic() > self._renew_at:
            self.zones.renew()
            self._renew_at = time.monotonic() + _ZONES_S

    def codec(self) -> Codec:
        """Opens all bodies of the store."""
        return Codec(list(shipped_dictionaries())[-1], dictionaries(self._reader))


def open_following(directory: Path, clock: Clock, page_life_s: int) -> tuple[Following, ResourceReads]:
    """The store in that directory, which another process has opened already."""
    engine = Following(directory)
    return engine, ResourceReads(engine, engine.codec(), clock, page_life_s)
