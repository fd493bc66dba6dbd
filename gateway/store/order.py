"""Rows gathered put in the order asked for: by what their keys hold, or by the resource itself.

Of several values of a resource the one counts that comes first in that order. Source: FHIR R4 search.html#sort.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..model.query import Query
from .engine import Row, Sight
from .index import params, sort_key
from .index_filter import Whole, values_at
from .index_params import META
from .judge import Judge
from .packing import unpack_keys

_First = Callable[..., Any]
"""`min`, or for a descending key `max`."""


class Order:
    """Sorts rows; those without a value come last, equal ones by age, newest first unless the oldest are asked for."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def sorted(self, query: Query, rows: list[Row], sight: Sight) -> list[Row]:
        """All rows in order of `query.sort`."""
        oldest_first = query.sort[-1:] == (("_lastUpdated", False),)
        out = sorted(rows, key=lambda row: (row.tx, row.rid), reverse=not oldest_first)
        for code, descending in reversed(query.sort):
            values = await self._values(query.type, code, descending, out, sight)
            with_value = [row for row in out if values[row.rid] is not None]
            with_value.sort(key=lambda row: values[row.rid], reverse=descending)
            out = with_value + [row for row in out if values[row.rid] is None]
        return out

    async def _values(self, type_: str, code: str, descending: bool, rows: list[Row], sight: Sight) -> dict[int, Any]:
        """What each row sorts by, None without a value."""
        if code == "_id":
            return {row.rid: row.id for row in rows}
        if code == "_lastUpdated":
            return {row.rid: row.at for row in rows}
        by_keys = sort_key(type_, code, descending)
        if by_keys is not None:
            keyed = {row.rid: by_keys(unpack_keys(row.keys)) for row in rows}
            return {rid: value if has else None for rid, (has, value) in keyed.items()}
        return await self._texts(type_, code, max if descending else min, rows, sight)

    async def _texts(self, type_: str, code: str, first: _First, rows: list[Row], sight: Sight) -> dict[int, Any]:
        found: dict[int, Any] = {row.rid: None for row in rows}
        for at in range(0, len(rows), 500):
            for row in await self._judge.whole(rows[at : at + 500], sight):
                found[row.rid] = first(_texts_of(self._judge.opened(row), type_, code), default=None)
        return found


def _texts_of(whole: Whole, type_: str, code: str) -> list[str]:
    """The texts a token, reference or uri parameter has on a resource."""
    ways = [(way.steps, way.type) for way in params(type_)[code].routes] or [(META[code], "")]
    # a token that is a point in time (`deceased`) says "true"
    return [
        text for steps, kind in ways for value in values_at(whole.doc, steps)
        for text in (["true"] if kind == "dateTime" else _texts(value))
    ]  # fmt: skip


def _texts(value: Any) -> list[str]:
    if not isinstance(value, dict):
        return [("true" if value else "false") if isinstance(value, bool) else str(value)]
    coding = value.get("coding")
    inner = coding if isinstance(coding, list) else [value]
    names = ("code", "value", "reference", "display")
    texts = [next((str(one[name]) for name in names if one.get(name)), "") for one in inner]
    return [text for text in texts if text] or ([str(value["text"])] if value.get("text") else [])
