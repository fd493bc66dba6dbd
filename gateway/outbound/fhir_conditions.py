"""Filters, chains, `_has`, includes and sort keys of a search URL, understood or refused.

Sources: FHIR R4 search.html; limits from reliability-security T21.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, cast

from ..errors import BadParameter, TooCostly, UnknownParameter
from ..model.query import Chain, Condition, Filter, Has, Include, Kind

MAX_VALUES = 100
MAX_STEPS = 3
"""How many references a chain and `_has` may go along."""
MAX_TARGETS = 12
"""Types a chain may lead to without naming one."""
_UNSORTED = frozenset({"_text", "_content"})


class Parameter(Protocol):
    """What these doors need to know of a search parameter."""

    @property
    def kind(self) -> str:
        """token, string, reference, …"""

    @property
    def targets(self) -> tuple[str, ...]:
        """Types a reference may point to."""

    @property
    def modifiers(self) -> frozenset[str]:
        """What may stand behind its name after a colon."""

    @property
    def definition(self) -> str:
        """Canonical of its SearchParameter, "" for R4's."""


Lookup = Callable[[str], Mapping[str, Parameter]]
"""The search parameters of a type, by code."""


def bare(name: str) -> str:
    """A parameter without its modifier."""
    return name.partition(":")[0]


def is_linked(name: str) -> bool:
    """True for a chain or `_has`."""
    return name.startswith("_has:") or "." in name


def condition(type_: str, name: str, value: str, lookup: Lookup, steps: int = MAX_STEPS) -> Condition:
    """One `name=value` of a URL. steps: references it may still go along.

    Raises UnknownParameter, BadParameter, TooCostly.
    """
    if not is_linked(name):
        return _filter(type_, name, value, lookup)
    if steps == 0:
        raise TooCostly(name[:64], f"more than {MAX_STEPS} references", detail_zh=f"链式查询最多 {MAX_STEPS} 级")
    if name.startswith("_has:"):
        return _has(type_, name, value, lookup, steps - 1)
    return _chain(type_, name, value, lookup, steps - 1)


# ---- filters ----------------------------------------------------------------------------------
def _filter(type_: str, name: str, value: str, lookup: Lookup) -> Filter:
    code, _, modifier = name.partition(":")
    parameter = lookup(type_).get(code)
    if parameter is None:
        raise UnknownParameter(f"{type_}?{code[:64]}")
    if modifier:
        _check_modifier(name, modifier, value, parameter)
    values = tuple(split_values(value))
    if not values or not all(values):
        raise BadParameter(name, "the value is empty", detail_zh="值为空。")
    if len(values) > MAX_VALUES:
        raise TooCostly(name, f"more than {MAX_VALUES} values", detail_zh=f"最多 {MAX_VALUES} 个值")
    if (type_, code, modifier, values) == ("Patient", "deceased", "", ("false",)):
        values, modifier = ("true",), "not"  # R4: everybody of whom no death is told, not only who is told to live
    return Filter(code, cast(Kind, parameter.kind), values, modifier)


def _check_modifier(name: str, modifier: str, value: str, parameter: Parameter) -> None:
    if modifier not in parameter.modifiers:
        known = " ".join(f":{one}" for one in sorted(parameter.modifiers - frozenset(parameter.targets))) or "none"
        detail_zh = f"不支持该修饰符，可用：{known if parameter.modifiers else '无'}。"
        raise UnknownParameter(name[:64], f"no such modifier here; {known}", detail_zh=detail_zh)
    if modifier == "missing" and value not in ("true", "false"):
        raise BadParameter(name, "true or false")


def split_values(value: str) -> list[str]:
    r"""The alternatives of a value: split at commas, `\,` undone; what else is escaped is undone by who reads it."""
    if "\\" not in value:
        return value.split(",")
    parts, current, escaped = list[str](), "", False
    for character in value:
        if escaped:
            current += "," if character == "," else "\\" + character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current + "\\" * escaped]


# ---- across references ------------------------------------------------------------------------
def _chain(type_: str, name: str, value: str, lookup: Lookup, steps: int) -> Chain:
    head, _, rest = name.partition(".")
    code, _, target = head.partition(":")
    parameter = lookup(type_).get(code)
    if parameter is None or parameter.kind != "reference":
        raise UnknownParameter(f"{type_}?{head[:64]}", "no reference to chain along", detail_zh="不是引用类参数。")
    if target and target not in parameter.targets:
        raise BadParameter(name[:64], f"{code} points to no {target[:40]}", detail_zh=f"{code} 不指向 {target[:40]}。")
    targets = [target] if target else [one for one in parameter.targets if _known(one, rest, lookup)]
    if len(targets) > MAX_TARGETS:
        raise BadParameter(name[:64], f"name the type: {code}:Patient.{rest[:32]}", detail_zh="请写明所指类型。")
    if not targets:
        raise UnknownParameter(name[:64], "nothing it points to has that parameter", detail_zh="所指类型都没有该参数。")
    return Chain(code, tuple((one, condition(one, rest, value, lookup, steps)) for one in targets))


def _known(type_: str, name: str, lookup: Lookup) -> bool:
    if name.startswith("_has:"):
        return True
    head = name.partition(".")[0]
    found = lookup(type_).get(bare(head))
    return found is not None and ("." not in name or found.kind == "reference")


def _has(type_: str, name: str, value: str, lookup: Lookup, steps: int) -> Has:
    parts = name.split(":", 3)
    if len(parts) != 4 or not all(parts):
        raise BadParameter(name[:64], "use _has:Type:reference:parameter", detail_zh="应写作 _has:类型:引用参数:参数")
    _, source, code, rest = parts
    parameter = lookup(source).get(code)
    if parameter is None or parameter.kind != "reference":
        raise UnknownParameter(f"{source}?{code}"[:64], "no reference parameter", detail_zh="不是引用类参数。")
    if parameter.targets and type_ not in parameter.targets:
        raise BadParameter(name[:64], f"{source}.{code} points to no {type_}", detail_zh=f"{code} 不指向 {type_}。")
    return Has(source, code, condition(source, rest, value, lookup, steps))


# ---- includes and sort ------------------------------------------------------------------------
def includes(name: str, value: str, type_: str, lookup: Lookup) -> Include:
    """`_include` or `_revinclude`, with `:iterate`; `*` stands for every reference parameter."""
    head, _, modifier = name.partition(":")
    if modifier not in ("", "iterate"):
        raise UnknownParameter(name[:64], "only :iterate", detail_zh="只支持 :iterate。")
    reverse, iterate = head == "_revinclude", modifier == "iterate"
    if value == "*":
        return Include("" if reverse or iterate else type_, "*", "", reverse, iterate)
    source, _, rest = value.partition(":")
    code, _, target = rest.partition(":")
    anywhere = reverse or iterate or not type_
    if (not anywhere and source != type_) or not code:
        raise BadParameter(name, f"{type_}:parameter[:Type]" if not reverse else "Type:parameter[:Type]")
    _check_reference(name, source, code, lookup)
    return Include(source, code, target, reverse, iterate)


def _check_reference(name: str, source: str, code: str, lookup: Lookup) -> None:
    found = lookup(source).get(code)
    if code != "*" and (found is None or found.kind != "reference"):
        detail_zh = f"{source} 没有引用类参数 {code[:40]}。"
        raise BadParameter(name, f"{source} has no reference parameter {code[:40]!r}", detail_zh=detail_zh)


def sort_keys(value: str, known: Mapping[str, Parameter]) -> tuple[tuple[str, bool], ...]:
    """(code, descending) of each key, once: again it changes no order. Raises KeyError with an unknown code."""
    keys = []
    for part in value.split(","):
        code = part.strip().removeprefix("-")
        if known[code].kind in ("composite", "special") or code in _UNSORTED:
            raise BadParameter(f"_sort={code}", "this kind has no order", detail_zh="该类参数没有顺序。")
        keys.append((code, part.strip().startswith("-")))
    return tuple(dict.fromkeys(keys))
