"""The line of a traced function that notes what one expression looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .codes import Table
from .formats import Access
from .functions import Function, Setting
from .names import Names
from .strict_yaml import Yaml


class Noting(dict[str, Table]):
    """Tables that note which of them are asked for."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        super().__init__(tables)
        self.seen: dict[str, None] = {}

    def __getitem__(self, name: str) -> Table:
        self.seen[name] = None
        return super().__getitem__(name)


def read_line(
    node: Yaml,
    function: Function,
    setting: Setting,
    options: Mapping[str, str],
    inputs: Mapping[str, Access],
    kept: Names,
) -> str:
    """`m.read(file:line, path, tables, inputs)`; the tables are those the function asks for when it is made.

    A kept value that may stand in one of several places is told by its name.
    """
    tables = Noting(setting.tables)
    function.make(replace(setting, tables=tables), options)
    written = node.fields()
    seen = "".join(
        f"({name!r}, {repr(path) if (path := written[name].text())[1:] in kept.several else at.place}, {at.code}), "
        for name, at in inputs.items()
        if name in written
    )
    return f"m.read({node.place!r}, {node.word('from')!r}, {tuple(tables.seen)!r}, ({seen}))"
