"""Where a body stops being JSON: line and column, for the person who has to mend it."""

from __future__ import annotations

import re

import msgspec

from ..errors import Unparseable

JSON_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for a body that is no JSON, or not of the shape asked for."""
_NEW_LINE = b"\n"
_AT = re.compile(r"(?:JSON is malformed: )?(.+?) \(byte (\d+)\)")
_SHAPE = re.compile(r"(.+?)(?: - at `(.+)`)?")
_ZH = {
    "invalid character": "此处有不该出现的字符",
    "trailing characters": "JSON 结束后还有内容",
    "invalid number": "数值写法不对",
    "invalid escape character in string": "字符串里的转义写法不对",
}


def unparseable(body: bytes, fault: Exception) -> Unparseable:
    """The error to raise for what a decoder said of a body: the place as `line 3, column 14`, else its JSON path."""
    if isinstance(fault, RecursionError):
        return Unparseable(detail="nests too deep", detail_zh="嵌套过深。")
    if isinstance(fault, UnicodeDecodeError) or "UTF-8" in str(fault):  # msgspec 0.23 has a fault of its own for it
        return Unparseable(_place(body, _not_text(body)), "not UTF-8", detail_zh="不是 UTF-8 编码。")
    if isinstance(fault, msgspec.ValidationError):
        said = _SHAPE.fullmatch(str(fault))
        what, path = (said[1], said[2] or "$") if said else (str(fault), "$")
        return Unparseable(path, what.replace("`", ""), detail_zh="此处的结构不对。")
    said = _AT.fullmatch(str(fault))
    if said is None:
        return Unparseable(_place(body, len(body)), "ends too early", detail_zh="内容不完整，在此处中断。")
    return Unparseable(_place(body, int(said[2])), said[1], detail_zh=f"{_ZH.get(said[1], '语法错误')}。")


def _not_text(body: bytes) -> int:
    try:
        body.decode()
    except UnicodeDecodeError as fault:
        return fault.start
    return len(body)


def _place(body: bytes, at: int) -> str:
    """Counted from 1, the column in characters."""
    before = body[:at]
    line = before[before.rfind(_NEW_LINE) + 1 :]
    return f"line {before.count(_NEW_LINE) + 1}, column {len(line.decode(errors='replace')) + 1}"
