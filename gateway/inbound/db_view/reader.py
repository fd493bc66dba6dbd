"""Reads one view over one connection, blocking: its columns checked, pages of rows, whole reports, the CSV of them."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ...errors import GatewayError, ViewChanged, ViewRowsLeftOut
from ...model.directory import Source
from ...model.view import View
from ...translate.read_csv import gathered_by, kind_of
from ...translate.strict_yaml import near_to
from .drivers import DRIVERS
from .position import Row
from .statements import Statement, Statements
from .values import given, kept, like, text_of

Secret = Callable[[View], str]
"""The password of a view's account. Raises ConfigError."""
_AT_ONCE = 200  # reports fetched by one statement
_CSV_BYTES = 1 << 20
_TOLD = 5  # columns named in an error


@dataclass(frozen=True, slots=True)
class Csv:
    """Some rows as a message."""

    body: bytes
    rows: int


class ViewReader:
    """Not for two threads at once. Every method may raise a ViewError; then the reader is of no more use: close it."""

    def __init__(self, source: Source, secret: Secret) -> None:
        assert source.view is not None
        self.view = source.view
        self._source = source
        self._secret = secret
        self._driver = DRIVERS[self.view.driver]
        self._reading: Any = None
        self._writing: Any = None
        self._statements = Statements(self._driver, self.view)
        self.columns: tuple[str, ...] = ()
        self.unread: list[str] = []
        """Columns the view has and source.yaml does not name."""
        self._headings: tuple[str, ...] = ()
        self._group = ""  # the column whose equal values make one report

    # ---- what there is -----------------------------------------------------------------------
    def open(self, known: Sequence[str] = ()) -> None:
        """Connect and look which columns there are. known: those of last time, none of which may be missing."""
        self._reading = self._driver.opened(self.view, self._secret(self.view))
        _, found = self._run(self._statements.probe())
        spelt = {one.casefold(): one for one in found} | {one: one for one in found}
        view = self.view
        if view.columns:
            wanted = [self._spelt(one, spelt, found) for one in view.columns]
            headings = dict(zip(wanted, view.columns.values(), strict=True))
        else:
            gone = [one for one in known if one not in found]
            if gone:
                raise self._gone(gone)
            headings = {one: one for one in found}
        key = tuple(self._spelt(one, spelt, found) for one in view.key)
        changed = self._spelt(view.changed, spelt, found) if view.changed else ""
        claim = self._spelt(view.claim.column, spelt, found) if view.claim else ""
        self._headings = tuple(headings.values())
        self.columns = tuple(headings)
        if not kind_of(list(self._headings), self._source.settings):
            zh = "这些列不是任何已知的文件；自己的列名写在来源的 settings: kind.<名称>，或用 columns 改名。"
            raise ViewChanged(view.name, "its columns are those of no known file", detail_zh=zh)
        gathered = gathered_by(list(self._headings), self._source.settings)
        self._group = self.columns[self._headings.index(gathered)] if gathered in self._headings else ""
        extra = [one for one in (*key, *([changed] if changed else [])) if one not in headings]
        self._statements = Statements(self._driver, view, (*headings, *dict.fromkeys(extra)), key, changed, claim)
        self.unread = [one for one in found if one not in headings and one not in (*key, changed, claim)]

    def _spelt(self, name: str, spelt: dict[str, str], found: Sequence[str]) -> str:
        known = spelt.get(name) or spelt.get(name.casefold())
        if known is None:
            near, near_zh = near_to(name, found)
            have = "、".join(found[:40])
            zh = f"视图没有这一列{near_zh or '；'}有：{have}。"
            raise ViewChanged(self._place(name), f"no such column{near or ';'} there are {have}", detail_zh=zh)
        return known

    def _gone(self, columns: Sequence[str]) -> ViewChanged:
        zh = "以前有的列不见了；确已取消的，请在 view 的 columns 里写明要读的列。"
        return ViewChanged(self._place("、".join(columns[:_TOLD])), "columns that were there are gone", detail_zh=zh)

    def first(self) -> Any:
        """`since` as a value of the column; None when the view is empty or has no `since`."""
        if not self.view.changed or (self.view.claim and not self.view.since):
            return None
        found = self.sample()
        if not (found and self.view.since):
            return None
        value = given(found)
        try:
            return like(value, self.view.since)
        except (ValueError, ArithmeticError):
            zh = f"since 写的是 {self.view.since!r}，与这一列的值（{type(value).__name__}）不是一类。"
            raise ViewChanged(self._place(self.view.changed), "since is not of its type", detail_zh=zh) from None

    def sample(self) -> str:
        """The `changed` of a row, as positions keep it; "" when there is no row."""
        rows, _ = self._run(self._statements.one_changed())
        return self._kept(rows[0][0]) if rows else ""

    def left_out(self) -> ViewRowsLeftOut | None:
        """Rows without key or `changed`, which no page has."""
        rows, _ = self._run(self._statements.left_out())
        count = int(rows[0][0])
        if not count:
            return None
        columns = "、".join(self._statements.order)
        return ViewRowsLeftOut(self._place(columns), f"{count} rows", detail_zh=f"共 {count} 行。")

    # ---- rows --------------------------------------------------------------------------------
    def page(self, *, since: Any = None, after: Sequence[Any] = (), rows: int, newest: bool = False) -> list[Row]:
        """Rows in order; see `Statements.page`."""
        found, _ = self._run(self._statements.page(since=since, after=after, rows=rows, newest=newest))
        return [self._row(one) for one in found]

    def whole(self, rows: Sequence[Row]) -> list[Row]:
        """With every line of the reports these rows belong to, each report's lines together; else the rows."""
        groups = list(dict.fromkeys(row.group for row in rows if row.group is not None))
        if not groups:
            return list(rows)
        out = [row for row in rows if row.group is None]
        for first in range(0, len(groups), _AT_ONCE):
            found, _ = self._run(self._statements.whole(self._group, groups[first : first + _AT_ONCE]))
            reports: dict[Any, list[Row]] = {}
            for row in map(self._row, found):
                reports.setdefault(row.group, []).append(row)
            out += chain.from_iterable(reports.values())
        return out

    def check_key(self, row: Row) -> None:
        """Raises ViewChanged when a row is not alone with its key."""
        found, _ = self._run(self._statements.count([given(one) for one in row.key]))
        if found[0][0] > 1:
            place = self._place("、".join(self.view.key))
            zh = f"key 不能唯一指出一行：同一 key 有 {found[0][0]} 行，请加上能区分它们的列。"
            raise ViewChanged(place, f"{found[0][0]} rows have the same key", detail_zh=zh)

    def _row(self, values: Sequence[Any]) -> Row:
        names, charset = self._statements.columns, self._source.charset
        by_name = dict(zip(names, values, strict=True))
        cells = tuple(text_of(by_name[one], charset) for one in self.columns)
        place = [by_name[one] for one in self._statements.order]
        found = () if None in place else tuple(map(self._kept, place))  # (): a line of a report that no page has
        changed, key = (found[0], found[1:]) if found and self._statements.changed else ("", found)
        return Row(key, changed, cells, by_name[self._group] if self._group else None)

    def _kept(self, value: Any) -> str:
        try:
            return kept(value)
        except (ValueError, UnicodeDecodeError):
            zh = f"key 和 changed 的列须是时间、数字或文字，这里有 {type(value).__name__}。"
            text = f"a key or changed column holds {type(value).__name__}"
            raise ViewChanged(self.view.name, text, detail_zh=zh) from None

    def take(self, rows: Sequence[Row], value: Callable[[str], Any]) -> list[Row]:
        """Mark rows as taken, all in one transaction; those that were still what they had been when read."""
        if not rows:
            return []
        if self._writing is None:
            self._writing = self._driver.opened(self.view, self._secret(self.view), writing=True)
        taken: list[Row] = []
        with self._told(self._writing.cursor()) as cursor:
            for row in rows:
                changed = value(row.changed) if row.changed else None
                sql, values = self._statements.taken([value(one) for one in row.key], changed)
                self._driver.execute(cursor, sql, values, self.view.timeout_s)
                taken += [row] if cursor.rowcount else []
            self._writing.commit()
        return taken

    # ---- as messages -------------------------------------------------------------------------
    def messages(self, rows: Sequence[Row]) -> Iterator[Csv]:
        """The rows as CSV files of about 1 MB at most; lines of one report are never parted."""
        part, size = list[Row](), 0
        for bunch in _bunches(rows):
            length = sum(len(cell) + 1 for row in bunch for cell in row.cells) * 3
            if part and size + length > _CSV_BYTES:
                yield self.csv(part)
                part, size = [], 0
            part, size = part + bunch, size + length
        if part:
            yield self.csv(part)

    def csv(self, rows: Sequence[Row]) -> Csv:
        """A header and the rows, UTF-8. Parted by tabs: a long text has lines of commas, as if a quote were missing."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter="\t", lineterminator="\n")
        writer.writerow(self._headings)
        writer.writerows(row.cells for row in rows)
        return Csv(text.getvalue().encode(), len(rows))

    # ---- the connection ----------------------------------------------------------------------
    def _run(self, statement: Statement) -> tuple[list[Sequence[Any]], list[str]]:
        """(rows, names of the columns) of a select, in a transaction of its own."""
        sql, values = statement
        with self._told(self._reading.cursor()) as cursor:
            if self._driver.begin:
                cursor.execute(self._driver.begin)
            self._driver.execute(cursor, sql, values, self.view.timeout_s)
            rows, names = list(cursor.fetchall()), [one[0] for one in cursor.description]
            if self._driver.begin:
                self._reading.rollback()
        return rows, names

    @contextlib.contextmanager
    def _told(self, cursor: Any) -> Iterator[Any]:
        try:
            yield cursor
        except GatewayError:
            raise
        except Exception as fault:  # a driver raises what it likes
            raise self._driver.told(fault, self.view.name) from None
        finally:
            with contextlib.suppress(Exception):
                cursor.close()

    def _place(self, column: str) -> str:
        return f"{self.view.name}, column {column}"

    def close(self) -> None:
        """Let the connections go."""
        for connection in (self._reading, self._writing):
            with contextlib.suppress(Exception):
                connection.close()


def _bunches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows that must stay together."""
    bunch: list[Row] = []
    for row in rows:
        if bunch and (row.group is None or row.group != bunch[-1].group):
            yield bunch
            bunch = []
        bunch.append(row)
    if bunch:
        yield bunch
