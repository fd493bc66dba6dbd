"""Whether R4 has an element as a mapping writes it: the name, one value or a list, a code of a closed list."""

from __future__ import annotations

from collections.abc import Mapping

from .codes import Table
from .formats import Elements
from .strict_yaml import Yaml


def check_element(elements: Elements, path: str, node: Yaml, tables: Mapping[str, Table], *, written: bool) -> None:
    """Raises MappingError. written: the value stands in the mapping itself; of a function only its table is known."""
    if not elements.knows(path.replace("[x]", "")):
        parent, _, name = path.rpartition(".")
        raise node.unknown(name, elements.names(parent), f"R4 has no element {path}", f"R4 没有元素 {path}")
    many = elements.many(path)
    if isinstance(node.value, list):
        if many is False:
            raise node.error(
                f"{path} has one value, no list: leave [ ] away", f"R4 的 {path} 只有一个值，请去掉列表的 [ ]。"
            )
        return
    if written and many:
        raise node.error(f"{path} is a list: write [ … ]", f"R4 的 {path} 是列表，请写成 [ … ]。")
    allowed = elements.codes(path)
    if isinstance(node.value, str) and not node.value.startswith("$"):
        _check_code(path, node, node.value, allowed)
    for inner in node.walk() if allowed else ():
        for code in sorted(_targets(inner, tables)):
            _check_code(path, inner, code, allowed, inner.word("table"))


def _check_code(path: str, node: Yaml, code: str, allowed: frozenset[str], table: str = "") -> None:
    """table: the one that gives the code; "" for a code that stands in the mapping."""
    if allowed and code not in allowed:
        by, by_zh = (f" (table {table})", f"（码表 {table}）") if table else ("", "")
        text = f"{path} cannot be {code!r}{by}; R4 allows {', '.join(sorted(allowed))}"
        zh = f"R4 的 {path} 不能是 {code!r}{by_zh}；只能是 {'、'.join(sorted(allowed))}"
        raise node.unknown(code, allowed, text, zh)


def _targets(node: Yaml, tables: Mapping[str, Table]) -> set[str]:
    """Everything a look-up may give, today and from other days on, and what it gives when it finds nothing."""
    name = node.get("table")
    table = tables.get(name.text()) if name is not None else None
    if table is None:
        return set()
    found = {code for one in (table, *(later for _, later in table.later)) for code in one.values.values() if code}
    return found | {otherwise} if (otherwise := node.word("else")) else found
