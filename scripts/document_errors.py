"""Writes `gateway/docs/errors.md` from the error classes, so that page and code cannot drift apart."""

from __future__ import annotations

import inspect
from pathlib import Path

from gateway import errors

PAGE = Path(errors.__file__).parent / "docs" / "errors.md"
HEAD = """# 错误代码

每个错误都有固定代码，说明出了什么错、在哪里、接下来怎么办。HTTP 以 OperationOutcome 回答，HL7 v2 以 ACK + ERR 回答。
“可重发”指同样的内容稍后可能成功；其余的须先改正。

| 代码 | 含义 | English | HTTP | ACK | 可重发 |
|---|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    found = {one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.GatewayError)}
    rows = [
        f"| `{one.code}` | {one.zh} | {one.en} | {one.http} | {one.ack[0]} {one.ack[1]} | {'是' if one.retry else ''} |"
        for one in sorted(found, key=lambda one: one.code)
    ]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
