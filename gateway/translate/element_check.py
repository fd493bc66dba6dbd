"""Whether R4 has an element as a mapping writes it: the name, one value or a list, a code of a closed list."""

from __future__ import annotations

from .formats import Elements
from .strict_yaml import Yaml


def check_element(elements: Elements, path: str, node: Yaml, *, written: bool) -> None:
    """Raises MappingError. written: the value stands in the mapping itself; what a function gives is not known here."""
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
    if isinstance(node.value, str) and not node.value.startswith("$") and allowed and node.value not in allowed:
        known = "、".join(sorted(allowed))
        text = f"{path} cannot be {node.value!r}; R4 allows {', '.join(sorted(allowed))}"
        raise node.unknown(node.value, allowed, text, f"R4 的 {path} 不能是 {node.value!r}；只能是 {known}")
