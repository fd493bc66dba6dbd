"""The statements a view is read with: its columns by name, rows above a position in order, never more than a page.

All are SELECTs but one: the claim of an intermediate table's rows, an UPDATE of one column.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...model.view import View
from .drivers import VALUE, Driver

Statement = tuple[str, tuple[Any, ...]]
"""SQL with VALUE for each of its values, and these."""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$#]*")


@dataclass(frozen=True, slots=True)
class Statements:
    """columns: all that are read, as the database spells them. key, changed, claim: those of the view, spelt so too."""

    driver: Driver
    view: View
    columns: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    changed: str = ""
    claim: str = ""

    @property
    def order(self) -> tuple[str, ...]:
        """The columns rows are in order of: when they changed, then their key."""
        return (*([self.changed] if self.changed else []), *self.key)

    def probe(self) -> Statement:
        """No row: what columns there are."""
        return f"SELECT * FROM {self._table()} WHERE 1 = 0", ()

    def one_changed(self) -> Statement:
        """A row's `changed` alone: what its values look like."""
        where = f"WHERE {self._name(self.changed)} IS NOT NULL"
        return self._limited([self.changed], f"FROM {self._table()} {where}", 1), ()

    def left_out(self) -> Statement:
        """How many rows have nothing to go on from."""
        where = " OR ".join(f"{self._name(one)} IS NULL" for one in self.order)
        return f"SELECT COUNT(*) FROM {self._table()} WHERE {where}", ()

    def page(self, *, since: Any = None, after: Sequence[Any] = (), rows: int, newest: bool = False) -> Statement:
        """Rows in order: changed at `since` or later, or behind the row whose `order` is `after`."""
        where, values = [f"{self._name(one)} IS NOT NULL" for one in self.order], list[Any]()
        if self.claim:
            where.append(self._open(values))
        if after:
            where.append(self._behind(list(self.order), list(after), values))
        elif since is not None:
            where.append(f"{self._name(self.changed)} >= {VALUE}")
            values.append(since)
        order = ", ".join(self._name(one) + (" DESC" if newest else "") for one in self.order)
        rest = f"FROM {self._table()} WHERE {' AND '.join(where)} ORDER BY {order}"
        return self._limited(self.columns, rest, rows), tuple(values)

    def whole(self, column: str, wanted: Sequence[Any]) -> Statement:
        """Every row with one of these values, whenever it changed: the lines of some reports."""
        marks = ", ".join([VALUE] * len(wanted))
        order = ", ".join(map(self._name, self.order))
        sql = f"SELECT {self._list(self.columns)} FROM {self._table()} WHERE {self._name(column)} IN ({marks})"
        return f"{sql} ORDER BY {order}", tuple(wanted)

    def count(self, key: Sequence[Any]) -> Statement:
        """How many rows have a key."""
        where = " AND ".join(f"{self._name(one)} = {VALUE}" for one in self.key)
        return f"SELECT COUNT(*) FROM {self._table()} WHERE {where}", tuple(key)

    def taken(self, key: Sequence[Any], changed: Any) -> Statement:
        """Mark one row as taken, unless it is another by now. Needs a claim."""
        claim = self.view.claim
        assert claim is not None
        values: list[Any] = [claim.taken, *key]
        where = [f"{self._name(one)} = {VALUE}" for one in self.key]
        if self.changed:
            where.append(f"{self._name(self.changed)} = {VALUE}")
            values.append(changed)
        where.append(self._open(values))
        return f"UPDATE {self._table()} SET {self._name(self.claim)} = {VALUE} WHERE {' AND '.join(where)}", tuple(
            values
        )

    def _open(self, values: list[Any]) -> str:
        """What an untaken row's claim is."""
        claim, name = self.view.claim, self._name(self.claim)
        assert claim is not None
        if not claim.open:
            return f"{name} IS NULL"
        values.append(claim.open)
        return f"{name} = {VALUE}"

    def _behind(self, columns: list[str], after: list[Any], values: list[Any]) -> str:
        """`a >= 1 AND (a > 1 OR (a = 1 AND b > 2))`: the first part is what an index is used for."""
        name = self._name(columns[0])
        if len(columns) == 1:
            values.append(after[0])
            return f"{name} > {VALUE}"
        values += [after[0], after[0], after[0]]
        inner = self._behind(columns[1:], after[1:], values)
        return f"{name} >= {VALUE} AND ({name} > {VALUE} OR ({name} = {VALUE} AND {inner}))"

    def _limited(self, columns: Sequence[str], rest: str, rows: int) -> str:
        filled = {"{columns}": self._list(columns), "{rest}": rest, "{rows}": str(rows)}
        return re.sub(r"\{\w+\}", lambda found: filled[found[0]], self.driver.limit)

    def _list(self, columns: Sequence[str]) -> str:
        return ", ".join(map(self._name, columns))

    def _name(self, column: str) -> str:
        return self.driver.name(column)

    def _table(self) -> str:
        """A plain name as it is, so that the database folds its case as for everybody; another one in quotes."""
        return ".".join(one if _PLAIN.fullmatch(one) else self.driver.name(one) for one in self.view.name.split("."))
