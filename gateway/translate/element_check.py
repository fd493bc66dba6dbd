"""Whether a rule can make what R4 allows: its type, every element it must have, each name, list and closed code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .codes import Table
from .element_shape import check_shape
from .formats import Elements
from .mapping import Rule
from .strict_yaml import MARKERS, Yaml, nested

_OF_NOBODY = ("Basic", "Contract", "MeasureReport")  # what need not be about one resident


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


def check_subjects(elements: Elements | None, rules: list[Rule]) -> None:
    """Raises MappingError for a rule whose results would belong to nobody, and be seen by nobody."""
    for rule in rules if elements is not None else ():
        made = rule.node.get("set")
        if rule.to in _OF_NOBODY or elements is None or elements.kind(f"{rule.to}.subject") != "Reference":
            continue
        if not made or "subject" not in nested(made).fields():
            text = f"{rule.to} of rule {rule.name!r} would belong to nobody: write subject: $subject"
            zh = f"规则 {rule.name!r} 的 {rule.to} 没有写是谁的，谁也看不到：请在 set 里写 subject: $subject。"
            raise rule.node.error(text, zh)


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


def check_element(elements: Elements, path: str, node: Yaml, tables: Mapping[str, Table]) -> None:
    """Raises MappingError. Of a value that does not stand in the mapping itself only its table is known."""
    if not elements.knows(path.replace("[x]", "")):
        parent, _, name = path.rpartition(".")
        raise node.unknown(name, elements.names(parent), f"R4 has no element {path}", f"R4 没有元素 {path}")
    _check_choice(elements, path, node)
    for leaf in _leaves(node):
        check_shape(elements, path, leaf)
    many = elements.many(path)
    if isinstance(node.value, list):
        if many is False:
            raise node.error(
                f"{path} has one value, no list: leave [ ] away", f"R4 的 {path} 只有一个值，请去掉列表的 [ ]。"
            )
        return
    if many and not (isinstance(node.value, dict) and MARKERS & node.value.keys()):
        raise node.error(f"{path} is a list: write [ … ]", f"R4 的 {path} 是列表，请写成 [ … ]。")
    allowed = elements.codes(path)
    if isinstance(node.value, str) and not node.value.startswith("$"):
        _check_code(path, node, node.value, allowed)
    for inner in node.walk() if allowed else ():
        for code in sorted(_targets(inner, tables)):
            _check_code(path, inner, code, allowed, inner.word("table"))


def _check_choice(elements: Elements, path: str, node: Yaml) -> None:
    """A choice of R4 stands in a resource with its type, `effectiveDateTime`, or is left to a function: `value[x]`."""
    parent, _, name = path.rpartition(".")
    typed = [one for one in elements.names(parent) if one.startswith(name) and one[len(name) :][:1].isupper()]
    if typed and elements.many(path) is None and not path.endswith("[x]"):
        known = "、".join(typed)
        raise node.error(f"{path} is a choice: write {known}", f"R4 的 {path} 要连类型一起写：{known}。")


def _leaves(node: Yaml) -> Iterator[Yaml]:
    """What stands for a whole element, or an entry of its list: a constant, or a value from the message."""
    if isinstance(node.value, list):
        for item in node.value:
            yield from _leaves(item)
    elif isinstance(node.value, str) or "from" in node.value:
        yield node
    elif inner := node.get("first"):
        for item in inner.items():
            yield from _leaves(item)
    elif node.get("each") and (made := node.get("set")):
        yield from _leaves(made)


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
