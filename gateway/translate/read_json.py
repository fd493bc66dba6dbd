"""A JSON body of a vendor's own schema as rows: objects flatten to dotted cells, arrays of objects are tables.

`{"patient": {"name": "…"}, "results": [{"code": "…"}]}` gives the cell `patient.name` and the table `results`;
an array of plain values gives `tags`, `tags[2]`. The kind is the body's `type`, or the cell the source
names in `settings: kind`. Numbers keep their digits.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import BadJson
from ..model.directory import Source
from ..model.message import RawMessage
from .charset import decode
from .formats import Document
from .rows import Row, RowFormat

MAX_DEPTH = 64


class JsonFormat(RowFormat):
    """JSON to the engine."""

    name = "json"

    def read(self, raw: RawMessage, source: Source) -> Document:
        """The body as rows. Raises BadJson, WrongCharset."""
        text = decode(raw.body, configured=source.charset)
        row = read(text.text)
        kind = row.cells.get(source.settings.get("kind", "type"), "")
        row.used.add(source.settings.get("kind", "type"))
        return Document(kind, row, {"charset": text.charset})


def read(text: str) -> Row:
    """The body as the document row; an array at the top is its table `items`."""
    try:
        body = json.loads(
            text.removeprefix("\ufeff"),
            parse_float=str,
            parse_int=str,
            parse_constant=_no_number,
            object_pairs_hook=_distinct,
        )
    except RecursionError:
        raise BadJson("body", "nests too deep", detail_zh="嵌套过深。") from None
    except json.JSONDecodeError as error:
        raise BadJson(f"line {error.lineno}, column {error.colno}", error.msg, detail_zh="语法错误。") from None
    root = Row()
    if not isinstance(body, dict | list):
        raise BadJson("body", "neither an object nor an array", detail_zh="既不是对象也不是数组。")
    _fill(root, "" if isinstance(body, dict) else "items", body, 0)
    return root


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise BadJson("body", "a key stands twice in one object", detail_zh="同一对象里有重复的键。")
    return out


def _no_number(name: str) -> Any:
    raise BadJson("body", f"{name} is no JSON number", detail_zh="含有非 JSON 数值。")


def _fill(row: Row, path: str, value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BadJson(path, "nests too deep", detail_zh="嵌套过深。")
    if isinstance(value, dict):
        for key, inner in value.items():
            _fill(row, f"{path}.{key}" if path else key, inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict):
                _fill(row.new_row(path), "", inner, depth + 1)
            else:
                _fill(row, path, inner, depth + 1)
    elif isinstance(value, bool):
        row.add(path, "true" if value else "false")
    elif value is not None and str(value).strip():
        row.add(path, str(value))
