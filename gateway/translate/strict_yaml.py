"""YAML as mapping authors may write it: every scalar is text, every surprise an error with file and line.

Refused: a key twice, an anchor or alias, a tag, an unquoted scalar that YAML 1.1 would turn into a
boolean, a null, a date or a base-60 number (`no`, `on`, `~`, `2026-03-10`, `12:30`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml

from ..errors import MappingError

T = TypeVar("T")
_SURPRISE = re.compile(
    r"(?i:y|n|yes|no|on|off|true|false|null|~)|0[0-7]+|\d{4}-\d\d?-\d\d?.*|[-+]?\d+(:[0-5]?\d)+(\.\d*)?|\.(?i:inf|nan)"
)

MARKERS = frozenset({"from", "first", "ref", "refs", "each"})
"""Keys of a mapping that make it a value taken from the message; any other one is an object of elements."""


class Slip(ValueError):
    """What is wrong with a text of a mapping, before anybody knows where it stands. `zh`: the same in Chinese."""

    def __init__(self, text: str, zh: str) -> None:
        super().__init__(text)
        self.zh = zh


_PROBLEMS = {  # of PyYAML's and libyaml's words the frequent ones
    "cannot start any token": "不能用制表符缩进，特殊字符开头的值要加引号。",
    "found a tab character": "不能用制表符缩进，请改用空格。",
    "mapping values are not allowed": "这里不能再有冒号：上一行没有写完，或含冒号的值没有加引号。",
    "could not find expected ':'": "少了冒号，或冒号后面少了空格。",
    "did not find expected key": "缩进与上面的行不齐，或少了引号、括号。",
    "did not find expected '-'": "列表各项的 - 没有对齐。",
    "expected <block end>": "缩进与上面的行不齐。",
    "did not find expected ','": "[ ] 或 { } 里少了逗号或右括号。",
    "expected ',' or": "[ ] 或 { } 里少了逗号或右括号。",
    "unexpected end of stream": "引号没有成对。",
    "did not find expected node content": "[ ] 或 { } 里有多余的逗号或少了值。",
    "undefined alias": "* 开头的值要加引号。",
}


@dataclass(frozen=True, slots=True)
class Yaml:
    """One node: text, a list of nodes, or named nodes in order; `place` is `file:line`."""

    value: str | list[Yaml] | dict[str, Yaml]
    place: str

    def error(self, detail: str, zh: str) -> MappingError:
        """A MappingError at this node, in both languages: what is wrong, and what to write instead."""
        return MappingError(self.place, detail, detail_zh=zh)

    def slip(self, what: str, fault: ValueError) -> MappingError:
        """A MappingError about a text at this node. what: the text, or the key it stands under."""
        zh = fault.zh if isinstance(fault, Slip) else str(fault)
        return self.error(f"{what}: {fault}", f"{what} 写法有误：{zh}")

    def unknown(self, name: str, known: Iterable[str], detail: str, zh: str) -> MappingError:
        """A MappingError about a name nobody knows, with the nearest that is known."""
        near, near_zh = near_to(name, known)
        return self.error(detail + near, zh + near_zh)

    def text(self) -> str:
        """The scalar; MappingError for anything else."""
        if not isinstance(self.value, str):
            raise self.error("a plain text is expected here", "这里应是一个文本值，不是列表或子项。")
        return self.value

    def items(self) -> list[Yaml]:
        """The list; a single node counts as a list of one."""
        return self.value if isinstance(self.value, list) else [self]

    def fields(self, allowed: frozenset[str] | None = None) -> dict[str, Yaml]:
        """The mapping; a key outside `allowed` is a MappingError."""
        if not isinstance(self.value, dict):
            raise self.error("a mapping (key: value) is expected here", "这里应是“键: 值”的子项，不是文本或列表。")
        for key, node in self.value.items():
            if allowed is not None and key not in allowed:
                near, near_zh = near_to(key, allowed)
                known = ", ".join(sorted(allowed))
                raise node.error(
                    f"unknown key {key!r}{near or ';'} known are {known}",
                    f"没有键 {key!r}{near_zh or '；'}可用：{known}。",
                )
        return self.value

    def get(self, key: str) -> Yaml | None:
        """The named node of a mapping, None when absent."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def word(self, key: str, default: str = "") -> str:
        """The scalar under `key`, or `default`."""
        found = self.get(key)
        return found.text() if found else default

    def words(self, key: str) -> tuple[str, ...]:
        """The scalars under `key`: none, one or a list."""
        found = self.get(key)
        return tuple(item.text() for item in found.items()) if found else ()

    def walk(self) -> Iterator[Yaml]:
        """This node and all below it."""
        yield self
        children = self.value.values() if isinstance(self.value, dict) else self.value
        if not isinstance(children, str):
            for child in children:
                yield from child.walk()

    def canon(self) -> object:
        """The content without places, for hashing."""
        if isinstance(self.value, dict):
            return {key: node.canon() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.canon() for node in self.value]
        return self.value


def near_to(name: str, known: Iterable[str]) -> tuple[str, str]:
    """`, did you mean 'patient'?` in English and Chinese; empty where no known name is like it."""
    by_lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), by_lower, 1, 0.6)
    near = by_lower[found[0]] if found else ""
    return (f", did you mean {near!r}?", f"，是不是 {near!r}？") if near else ("", "")


def read_utf8(path: Path, shown_as: str) -> str:
    """The text of a mapping file. Raises MappingError with the line of the first byte that is not UTF-8."""
    body = path.read_bytes()
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = body.count(b"\n", 0, fault.start) + 1
        text, text_zh = "not UTF-8; save the file as UTF-8", "不是 UTF-8 编码，请另存为 UTF-8。"
        raise MappingError(f"{shown_as}:{line}", text, detail_zh=text_zh) from None


def load(path: Path, *, shown_as: str = "") -> Yaml:
    """The file as nodes. Raises MappingError with file and line."""
    return parse(read_utf8(path, shown_as or path.name), shown_as or path.name)


def parse(text: str, name: str) -> Yaml:
    """The text as nodes; `name` stands for the file in error places."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = yaml.compose(text, loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        said = next((told for begin, told in _PROBLEMS.items() if begin in str(error.problem)), error.problem)
        zh = f"YAML 写法有误：{said}"
        raise MappingError(f"{name}:{line}", str(error.problem), detail_zh=zh) from error
    except yaml.YAMLError as error:
        raise MappingError(
            f"{name}:1", str(error), detail_zh=f"不是可读的 YAML，多为不可见的控制字符：{error}"
        ) from error
    if root is None:
        return Yaml({}, f"{name}:1")
    return _convert(root, name, set())


def _convert(node: yaml.Node, name: str, seen: set[int]) -> Yaml:
    place = f"{name}:{node.start_mark.line + 1}"
    if id(node) in seen:
        zh = "映射文件里不用锚点（&）和引用（*），请把内容写全。"
        raise MappingError(place, "anchors and aliases are not used in mapping files", detail_zh=zh)
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        return Yaml(_pairs(node, name, seen), place)
    if isinstance(node, yaml.SequenceNode):
        return Yaml([_convert(item, name, seen) for item in node.value], place)
    if isinstance(node, yaml.ScalarNode) and not node.style and _SURPRISE.fullmatch(node.value):
        zh = f"{node.value!r} 在 YAML 里另有含义，请加引号。"
        raise MappingError(place, f"{node.value!r} means something else to YAML; put it in quotes", detail_zh=zh)
    return Yaml(node.value, place)


def _pairs(node: yaml.MappingNode, name: str, seen: set[int]) -> dict[str, Yaml]:
    out: dict[str, Yaml] = {}
    for key, value in node.value:
        place = f"{name}:{key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise MappingError(
                place, "a key is a plain text", detail_zh="键应是一个文本，不能是列表或子项；请检查缩进。"
            )
        if key.value in out:
            raise MappingError(
                place, f"the key {key.value!r} stands here twice", detail_zh=f"键 {key.value!r} 写了两次。"
            )
        out[key.value] = Yaml(_convert(value, name, seen).value, place)
    return out


def each(node: Yaml | None, make: Callable[[str, Yaml], T]) -> dict[str, T]:
    """`make(key, node)` for every entry of a mapping; {} for None."""
    return {key: make(key, value) for key, value in node.fields().items()} if node else {}


def nested(node: Yaml) -> Yaml:
    """`a.b: x` as `a: {b: x}`; keys that meet are joined."""
    out: dict[str, Yaml] = {}
    for key, child in node.fields().items():
        head, dot, tail = key.partition(".")
        if not dot:
            if head in out:
                raise child.error(f"{head} stands here twice", f"{head} 写了两次，请并成一处。")
            out[head] = child
            continue
        inner = out.get(head)
        have = inner.fields() if inner else {}
        out[head] = Yaml({**have, tail: child}, child.place)
    return Yaml(out, node.place)
