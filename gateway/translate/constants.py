"""Constants a mapping may name: `$LOINC`, `$number:report`, `$codes:lab`, `$int:3`."""

from __future__ import annotations

from ..errors import MappingError
from ..model import systems
from .strict_yaml import Yaml


def nobody(node: Yaml) -> MappingError:
    """`$subject` where no rule has made a Patient yet."""
    zh = "$subject 是前面规则产生的患者：请在此之前写一条 to: Patient 的规则；来文须有患者号或证件号。"
    return node.error("no rule makes a Patient before this one, so $subject would be nobody", zh)


def constant(name: str, member: str, node: Yaml) -> object:
    """What `$name` stands for in a mapping of this member. Raises MappingError at the node."""
    head, _, tail = name.partition(":")
    if head == "number":
        return systems.local_number(member, tail or "patient")
    if head == "codes":
        return systems.local_codes(member, tail)
    if head == "int" and tail.isdigit():
        return int(tail)
    found = getattr(systems, head, None)
    if not isinstance(found, str) or not head.isupper():
        known = [one for one in vars(systems) if one.isupper()]
        raise node.unknown(name, known, f"unknown constant ${name}", f"没有常量 ${name}")
    return found
