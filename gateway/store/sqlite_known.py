"""What the one process that writes a SQLite store remembers of it: rows, persons, who reads for whom, the moment.

A version never changes, so a row read lately serves again by its key; whether it may be seen is asked of the tables
every time. The rest holds until a commit says otherwise: `told` hears of each before anybody else does, and what is
read is read as of the last one told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

import apsw

from .base import Committed, fh_of
from .engine import LATEST, PackedPlan, Row, Sight, puts_of, told_by_records
from .known import People
from .sqlite_sql import WITH_BODY, Names, numbers

_BYTES = 32 * 1024 * 1024  # of rows remembered
_ROW_BYTES = 700  # of a row beside its keys and body, about


class Known(People):
    """Of one engine. tx, at: the last commit told and its instant (epoch ms)."""

    def __init__(self, names: Names, tx: int, at: int) -> None:
        super().__init__()
        self.tx, self.at = tx, at
        self._names = names
        self._rows: dict[int, Row] = {}
        self._bytes = 0
        self._heads: dict[int, Row] = {}  # current rows by fh
        self._head_bytes = 0
        self._moving: Counter[int] = Counter()  # Patients whom plans on their way to the tables may change

    # ---- rows --------------------------------------------------------------------------------
    def rows(self, db: apsw.Connection, rids: Sequence[int]) -> list[Row]:
        """Rows by key, with bodies, in the order asked."""
        if self._bytes > _BYTES:
            self._rows = dict(islice(self._rows.items(), len(self._rows) // 2, None))
            self._bytes = sum(map(_size, self._rows.values()))
        known = self._rows
        lacking = [rid for rid in rids if rid not in known]
        if lacking:
            sql = f"SELECT {WITH_BODY} FROM carray(?) AS asked CROSS JOIN row ON row.rid = asked.value"
            fresh = self._names.rows(db.execute(sql, (numbers(lacking),)))
            known.update({row[0]: row for row in fresh})
            self._bytes += sum(map(_size, fresh))
        return [known[rid] for rid in rids]

    def head(self, fh: int, sight: Sight) -> Row | None:
        """The current row of a resource where it is remembered, and tells by itself whether this caller sees it."""
        row = self._heads.get(fh) if sight.as_of >= LATEST and fh not in self._moving else None
        return None if row is None or told_by_records(sight, row) else row

    def keep_heads(self, rows: Iterable[Row]) -> None:
        """Remember current rows."""
        if self._head_bytes > _BYTES // 2:
            self._heads.clear()
            self._head_bytes = 0
        for row in rows:
            self._heads[row.fh] = row
            self._head_bytes += _size(row)

    # ---- commits -----------------------------------------------------------------------------
    def heard(self, done: Committed) -> None:
        """From now on what is read is read as of this commit."""
        if done.tx > self.tx:
            self.tx, self.at = done.tx, int(done.at.timestamp() * 1000)

    def begun(self, plan: PackedPlan) -> None:
        """Until it is told the tables are asked for its Patients: whose a source record is they tell at once."""
        self._moving.update(_patients(plan))

    def told(self, plan: PackedPlan, *, everything: bool = False) -> None:
        """Drop what a plan may have changed, or everything."""
        self._moving -= Counter(_patients(plan))
        if everything:
            self.clear()
            return
        for put in puts_of(plan):
            self.changed(put.fh)
        for gone in plan.deletes:
            self.changed(fh_of(gone.type, gone.id))

    def changed(self, fh: int) -> None:
        """Its current row is another too."""
        super().changed(fh)
        self._heads.pop(fh, None)

    def clear(self) -> None:
        """Forget all that a commit could change."""
        super().clear()
        self._heads.clear()
        self._head_bytes = 0

    def indexed(self) -> None:
        """Rows were indexed anew: their keys and their postings are others."""
        self._rows, self._bytes = {}, 0
        self.clear()


def _patients(plan: PackedPlan) -> list[int]:
    return [put.fh for put in plan.puts if put.type == "Patient"]


def _size(row: Row) -> int:
    return _ROW_BYTES + len(row.keys) + len(row.body)
