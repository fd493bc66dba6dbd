"""Whether a rule can make what R4 allows: its type, every element it must have, each name, list and closed code."""

from __future__ import annotations

from collections.abc import Mapping

from .codes import Table
from .formats import Elements
from .mapping import Rule
from .strict_yaml import Yaml, nested


def check_types(elements: Elements | None, rules: list[Rule]) -> None:
    """Raises MappingError for a rule that makes what is no resource of R4."""
    if elements is None:
        return
    types = elements.types()
    for rule in rules:
        if rule.to not in types:
            text, zh = f"R4 has no resource type {rule.to!r}", f"R4 没有资源类型 {rule.to!r}"
            raise rule.node.fields()["to"].unknown(rule.to, types, text, zh)


def check_needed(elements: Elements | None, rules: list[Rule]) -> None:
    """Raises MappingError for a rule that leaves out what R4 insists on: every message would be refused for it."""
    if elements is None:
        return
    for rule in rules:
        made = rule.node.get("set")
        given = nested(made).fields().keys() if made else ()
        for name in elements.needed(rule.to):
            stem = name.removesuffix("[x]")
            if not any(one == name or (name != stem and one.startswith(stem)) for one in given):
                text = f"R4 wants {rule.to}.{name}, and rule {rule.name!r} does not set it"
                raise rule.node.error(text, f"R4 要求 {rule.to}.{name}，规则 {rule.name!r} 的 set 里没有写。")


def check_choices(rules: list[Rule]) -> None:
    """Raises MappingError for an element whose function chooses its type (`value[x]`) beside one that is written out.

    Both would stand in one resource. A map that lays its rule over another takes the inherited one away first.
    """
    for made in (made for rule in rules if (made := rule.node.get("set"))):
        for node in (nested(made), *made.walk()):
            names = node.value.keys() if isinstance(node.value, dict) else ()
            for chosen in (name for name in names if name.endswith("[x]")):
                stem = chosen.removesuffix("[x]")
                for name in names:
                    typed = name.startswith(stem) and name[len(stem) :][:1].isupper()
                    if typed or (stem == "value" and name == "dataAbsentReason"):
                        text = f'{name} beside {chosen}, which may give it too; take the latter away: {chosen}: ""'
                        zh = f'{chosen} 已会产生 {name}，二者不能并用；不要继承来的 {chosen}，就写 {chosen}: ""。'
                        raise node.fields()[name].error(text, zh)


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
