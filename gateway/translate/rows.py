"""Rows of named cells: what CDA documents, CSV files, JSON bodies and DICOM headers look like to a mapping.

A cell remembers where it was read and whether a rule used it, so nothing is lost in silence (D7).
Path grammar: `name` is a cell of the present row, `/name` one of the document row, `table.name` a cell of a
table's first row. `each:` names a table of the present row, or else of the document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..model.outcome import Unused
from .formats import Document, Getter, NodeFormat, Nodes, Placer
from .strict_yaml import Slip


class Row:
    """Cells by name, and the tables of rows below. label: how places call it (`items[3]`), "" for the document."""

    __slots__ = ("_again", "cells", "label", "lines", "tables", "used")

    def __init__(self, label: str = "") -> None:
        self.label = label
        self.cells: dict[str, str] = {}
        self.lines: dict[str, int] = {}
        self.used: set[str] = set()
        self.tables: dict[str, list[Row]] = {}
        self._again: dict[str, int] | None = None  # cells there are several of → the number of the last

    def add(self, name: str, text: str, line: int = 0) -> None:
        """A populated cell; a second one of the same name gets `[2]` behind it."""
        if name in self.cells:
            if self._again is None:
                self._again = {}
            number = self._again.get(name, 1) + 1
            while f"{name}[{number}]" in self.cells:
                number += 1
            self._again[name] = number
            name = f"{name}[{number}]"
        self.cells[name] = text
        if line:
            self.lines[name] = line

    def make(self, name: str, text: str) -> None:
        """A cell made by the reader: it was not sent, so nobody has to use it."""
        if text:
            self.cells[name] = text
            self.used.add(name)

    def new_row(self, table: str) -> Row:
        """A fresh row at the end of one of its tables."""
        rows = self.tables.setdefault(table, [])
        row = Row(f"{self.label}/{table}[{len(rows) + 1}]" if self.label else f"{table}[{len(rows) + 1}]")
        rows.append(row)
        return row

    def place(self, name: str) -> str:
        """`items[3]/DE04.30.015#88`: row, cell, line."""
        at = f"{self.label}/{name}" if self.label else name
        line = self.lines.get(name)
        return f"{at}#{line}" if line else at


@dataclass(frozen=True, slots=True)
class Part:
    """One row of a table as a message of its own. root: holds that row alone."""

    root: Row
    table: list[Row]

    def leave_out(self) -> None:
        """Take the row out of the message."""
        for rows in self.root.tables.values():
            self.table.remove(rows[0])


class RowFormat(NodeFormat):
    """Base of formats read as rows; a subclass gives `name`, `read`, and may spell places in its own way."""

    def nodes(self, path: str) -> Nodes:
        """`each: items` walks a table; `each: /` the document row once."""
        if path == "/":
            return lambda node, root: (root,)
        return lambda node, root: node.tables.get(path) or root.tables.get(path, ())

    def getter(self, path: str) -> Getter:
        """A cell of the present row, or of the document with `/` before its name."""
        name, of_document = _split(path)

        def get(node: Any, root: Any) -> str:
            row = root if of_document else node
            text: str | None = row.cells.get(name)
            if text is None:
                return _in_first_row(row, name) if "." in name else ""
            row.used.add(name)
            return text

        return get

    def place(self, path: str) -> Placer:
        """Row, cell and line."""
        name, of_document = _split(path)

        def where(node: Any, root: Any) -> str:
            return self.place_of(root if of_document else node, name)

        return where

    def finder(self, path: str) -> Callable[[Any], str]:
        """The first cell of that name, in the document row or below."""
        name, _ = _split(path)
        return lambda root: next((text for row, _ in _with_first(root) if (text := row.cells.get(name, ""))), "")

    def parts(self, document: Document) -> list[Part]:
        """Rows that may stand alone when another of them is wrong; [] when the message stands or falls as one."""
        return []

    def place_of(self, row: Row, name: str) -> str:
        """How findings call a cell of this format."""
        return row.place(name)

    def unused(self, document: Document, session: Any, ignore: Mapping[str, str]) -> tuple[Unused, ...]:
        """Every populated cell no rule read, with the reason where the map names one.

        `ignore` names a cell, or several with `*`; the number behind a repeated cell may be left out. A cell that
        repeats what a rule read in the first row of its table (the patient on every line) says nothing new.
        """
        why = _reasons(tuple(ignore.items()))
        out: list[Unused] = []
        seen: set[int] = set()
        for row, first in _with_first(document.root):
            if len(row.used) < len(row.cells) and id(row.cells) not in seen:
                seen.add(id(row.cells))  # a gathered report shares its cells with its first line
                left = [name for name in row.cells if name not in row.used and not _repeats(row, first, name)]
                out += [Unused(self.place_of(row, name), why(name)) for name in left]
        return tuple(out)


def _with_first(root: Row) -> Iterator[tuple[Row, Row]]:
    """Every row with the first one of its table."""
    yield root, root
    for rows in root.tables.values():
        for row in rows:
            for below, first in _with_first(row):
                yield below, rows[0] if below is row else first


def _repeats(row: Row, first: Row, name: str) -> bool:
    return row is not first and name in first.used and first.cells.get(name) == row.cells[name]


def _in_first_row(row: Row, name: str) -> str:
    table, _, rest = name.partition(".")
    rows = row.tables.get(table)
    if not rows:
        return ""
    text = rows[0].cells.get(rest)
    if text is None:
        return _in_first_row(rows[0], rest)
    rows[0].used.add(rest)
    return text


def _split(path: str) -> tuple[str, bool]:
    if not path.strip():
        raise Slip("a path names a cell", "路径应是一个列名，不能为空。")
    return (path[1:], True) if path.startswith("/") else (path, False)


@lru_cache(64)
def _reasons(ignore: tuple[tuple[str, str], ...]) -> Callable[[str], str]:
    exact = {pattern: because for pattern, because in ignore if "*" not in pattern}
    wild = [(re.compile(".*".join(map(re.escape, p.split("*")))), because) for p, because in ignore if "*" in p]

    @lru_cache(4096)
    def why(name: str) -> str:
        bare = re.sub(r"\[\d\d?\]", "", name)
        for spelling in (name, bare):
            if spelling in exact:
                return exact[spelling]
            for pattern, because in wild:
                if pattern.fullmatch(spelling):
                    return because
        return ""

    return why
