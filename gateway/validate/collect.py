"""The collecting walk: every fault of a JSON value with its path, at most 100 (design-store §11).

Slow on purpose: it runs only for bodies the fast checks did not pass, and decides alone. Where a value is wrong
it is left out and the walk goes on, so that the invariants around it are still judged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from ..model.outcome import Finding
from .definitions import Element, element, elements, resource_types
from .invariants import INVARIANTS, is_base64
from .limits import Number
from .shapes import PATTERNS, REFERENCE, struct
from .terminology import concept_bound, pairs, plain_codes
from .walk import reference_fits

MAX_FAULTS = 100
_REGEX = {kind: re.compile(pattern) for kind, pattern in PATTERNS.items()}
_REFERENCE = re.compile(REFERENCE)
_INTEGER = re.compile(r"-?(?:0|[1-9]\d*)")
_BOUNDS = {"integer": -(2**31), "unsignedInt": 0, "positiveInt": 1}


@dataclass(slots=True)
class Walk:
    """Faults found so far. `value` gives the lenient struct of a resource, or None."""

    faults: list[Finding] = field(default_factory=list)

    def fault(self, path: str, zh: str, en: str) -> None:
        """Notes one fault, unless there are 100 already."""
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Finding("GW-VAL-001", "error", path, zh, en))

    def resource(self, value: Any, path: str, contained: bool = False) -> Any:
        """Walks a resource of any type."""
        if not isinstance(value, dict):
            self.fault(path, "须为资源对象", "a resource must be an object")
            return None
        kind = value.get("resourceType")
        if not isinstance(kind, str) or kind not in resource_types():
            self.fault(f"{path}.resourceType", "不是 R4 的资源类型", "not a resource type of R4")
            return None
        if contained and "contained" in value:
            self.fault(f"{path}.contained", "内嵌资源不能再内嵌 (dom-2)", "a contained resource contains none (dom-2)")
        rest = {name: inner for name, inner in value.items() if name != "resourceType"}
        return self.object(kind, rest, path)

    def object(self, type_: str, value: Any, path: str) -> Any:
        """Walks an object of a data type, backbone or resource."""
        if type_ == "Resource":
            return self.resource(value, path, contained=path.rpartition(".")[2].startswith("contained["))
        if not isinstance(value, dict):
            self.fault(path, "须为对象", "must be an object")
            return None
        if not any(name != "id" for name in value) and type_ not in resource_types():
            self.fault(path, "不能为空 (ele-1)", "must not be empty (ele-1)")
            return None
        found = {name: self._member(type_, name, inner, path) for name, inner in value.items()}
        self._required(type_, value, path)
        self._aligned(type_, value, path)
        return self._judged(type_, found, path)

    def _member(self, type_: str, name: str, value: Any, path: str) -> tuple[str, Any]:
        plain = element(type_, name)
        if plain is not None:
            return plain.attr, self._values(type_, plain, value, f"{path}.{name}")
        owner = element(type_, name[1:]) if name.startswith("_") else None
        if owner is None or not owner.primitive or owner.name == "id" or (type_, owner.name) == ("Extension", "url"):
            self.fault(f"{path}.{name}", "没有这个元素", "no such element")
            return "", None
        return owner.sibling, self._siblings(owner, value, f"{path}.{name}")

    def _siblings(self, owner: Element, value: Any, path: str) -> Any:
        if not owner.many:
            return self.object("Element", value, path)
        if not isinstance(value, list) or not value:
            self.fault(path, "须为非空数组", "must be an array that is not empty")
            return None
        return [None if v is None else self.object("Element", v, f"{path}[{i}]") for i, v in enumerate(value)]

    def _values(self, owner: str, e: Element, value: Any, path: str) -> Any:
        if not e.many:
            if isinstance(value, list):
                self.fault(path, "不能为数组", "must not be an array")
                return None
            return self._value(owner, e, value, path)
        if not isinstance(value, list) or not value:
            self.fault(path, "须为非空数组", "must be an array that is not empty")
            return None
        kept = [
            None if v is None and e.primitive else self._value(owner, e, v, f"{path}[{i}]") for i, v in enumerate(value)
        ]
        return [v for v in kept if v is not None] or None

    def _value(self, owner: str, e: Element, value: Any, path: str) -> Any:
        if e.primitive:
            return self._primitive(owner, e, value, path)
        found = self.object(e.type, value, path)
        if found is None:
            return None
        if e.targets and not reference_fits(found, e.targets):
            self.fault(f"{path}.reference", f"只能引用 {_list(e.targets)}", f"may only point at {_list(e.targets)}")
        if e.binding and pairs(e.binding) and not concept_bound(found, pairs(e.binding)):
            self.fault(path, "代码不在必须使用的值集内", f"no code of the required value set {e.binding}")
        return found

    def _primitive(self, owner: str, e: Element, value: Any, path: str) -> Any:
        wrong = _wrong(owner, e, value)
        if wrong is not None:
            self.fault(path, *wrong)
            return None
        if e.type == "decimal":
            return Decimal(value)
        return int(value) if e.type in _BOUNDS else value

    def _required(self, type_: str, value: dict[str, Any], path: str) -> None:
        groups: dict[str, list[str]] = {}
        for e in elements(type_):
            here = e.name in value or (e.primitive and "_" + e.name in value)
            if e.choice:
                groups.setdefault(e.choice, []).extend([e.name] if here else [])
                if e is _last(type_, e.choice) and not groups[e.choice] and e.least:
                    self.fault(f"{path}.{e.choice}[x]", "必填", "is required")
            elif e.least and not here:
                self.fault(f"{path}.{e.name}", "必填", "is required")
        for choice, names in groups.items():
            if len(names) > 1:
                self.fault(f"{path}.{choice}[x]", f"只能有一个：{'、'.join(names)}", f"only one of {', '.join(names)}")

    def _aligned(self, type_: str, value: dict[str, Any], path: str) -> None:
        """Nulls of a list of primitives stand only where the sibling has an entry."""
        for e in elements(type_):
            plain, extra = value.get(e.name), value.get("_" + e.name)
            if not (e.primitive and e.many) or not isinstance(plain or extra, list):
                continue
            plain_list, extra_list = plain if isinstance(plain, list) else [], extra if isinstance(extra, list) else []
            if plain_list and extra_list and len(plain_list) != len(extra_list):
                self.fault(f"{path}._{e.name}", "长度与主数组不同", "must be as long as the array it belongs to")
            for i in range(max(len(plain_list), len(extra_list))):
                if _at(plain_list, i) is None and _at(extra_list, i) is None:
                    self.fault(f"{path}.{e.name}[{i}]", "不能为 null", "must not be null")

    def _judged(self, type_: str, found: dict[str, tuple[str, Any]], path: str) -> Any:
        cls = struct(type_)
        values: dict[str, Any] = dict.fromkeys(cls.__struct_fields__)
        values.update({attr: value for attr, value in found.values() if attr})
        made = cls(**values)
        for rule in INVARIANTS.get(type_, ()):
            if not rule.test(made):
                self.fault(path, f"{rule.zh} ({rule.key})", f"{rule.en} ({rule.key})")
        return made


def _at(values: list[Any], i: int) -> Any:
    return values[i] if i < len(values) else None


def _last(type_: str, choice: str) -> Element:
    return [e for e in elements(type_) if e.choice == choice][-1]


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)[:8])


def _wrong(owner: str, e: Element, value: Any) -> tuple[str, str] | None:
    """What is wrong with a primitive (Chinese, English), or None."""
    if value is None:
        return "不能为 null", "must not be null"
    if e.type == "boolean":
        return None if isinstance(value, bool) else ("须为 true 或 false", "must be true or false")
    if e.type == "decimal" or e.type in _BOUNDS:
        return _wrong_number(e.type, value)
    if not isinstance(value, str) or isinstance(value, Number):
        return "须为文本", "must be text"
    return _wrong_text(owner, e, value)


def _wrong_number(kind: str, value: Any) -> tuple[str, str] | None:
    if not isinstance(value, Number):
        return "须为数字", "must be a number"
    if kind == "decimal":
        try:
            Decimal(value)
        except InvalidOperation:
            return "数字超出范围", "the number is out of range"
        return None
    if not _INTEGER.fullmatch(value) or len(value) > 11 or not _BOUNDS[kind] <= int(value) < 2**31:
        return f"不是 {kind}", f"not a {kind}"
    return None


def _wrong_text(owner: str, e: Element, value: str) -> tuple[str, str] | None:
    if not value:
        return "不能为空文本", "must not be empty"
    if (owner, e.name) == ("Reference", "reference"):
        return None if _REFERENCE.search(value) else ("引用的写法不对", "not a reference")
    if e.type == "code" and (allowed := plain_codes(e.binding)):
        return None if value in allowed else (f"只能是 {_some(allowed)}", f"must be one of {_some(allowed)}")
    if e.type in _REGEX:
        return None if _REGEX[e.type].search(value) else (f"不是有效的 {e.type}", f"not a valid {e.type}")
    if e.type == "base64Binary":
        return None if is_base64(value) else ("不是有效的 base64", "not base64")
    if e.type in ("string", "markdown") and len(value) > 1024 * 1024:
        return "文本超过 1 MB", "longer than 1 MB"
    return None


def _some(allowed: tuple[str, ...]) -> str:
    return ", ".join(allowed[:12]) + (", …" if len(allowed) > 12 else "")
