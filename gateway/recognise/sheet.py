"""Strict reading of a YAML rule file: every value typed, every fault with file and line.

Works on YAML nodes, not on loaded objects, so that `no`, `on` or `2026-01` stay the text they are and every
value keeps its line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path

import yaml

from ..errors import ConfigError


@dataclass(frozen=True, slots=True)
class Entry:
    """One YAML value with its place; the readers raise ConfigError when it is not what is asked for."""

    node: yaml.Node
    file: str

    @property
    def place(self) -> str:
        """`file:line`, lines from 1."""
        return f"{self.file}:{self.node.start_mark.line + 1}"

    def fault(self, detail: str, zh: str) -> ConfigError:
        """The error to raise for this value."""
        return ConfigError(self.place, detail, detail_zh=zh)

    def fields(self, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Entry]:
        """A mapping with just these keys; anything else, missing or doubled, is a fault."""
        needed, allowed = set(required), {*required, *optional}
        found: dict[str, Entry] = {}
        for key, value in self.pairs():
            if key not in allowed:
                near = get_close_matches(key, allowed, 1)
                meant, meant_zh = (f"; did you mean {near[0]!r}?", f"，是不是 {near[0]!r}？") if near else ("", "。")
                raise value.fault(f"unknown key {key!r}{meant}", f"没有 {key!r} 这个键{meant_zh}")
            found[key] = value
        if missing := sorted(needed - found.keys()):
            listed = ", ".join(missing)
            raise self.fault(f"missing {listed}", f"缺少 {listed}。")
        return found

    def pairs(self) -> Iterator[tuple[str, Entry]]:
        """Key and value of a mapping, keys unique."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.fault("a mapping is expected here", "这里应是“键: 值”。")
        seen: set[str] = set()
        for key, value in self.node.value:
            name = Entry(key, self.file).text()
            if name in seen:
                raise Entry(key, self.file).fault(f"{name!r} stands here twice", f"{name!r} 写了两次。")
            seen.add(name)
            yield name, Entry(value, self.file)

    def list(self) -> list[Entry]:
        """The members of a sequence."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.fault("a list is expected here", "这里应是列表，如 [a, b]。")
        return [Entry(value, self.file) for value in self.node.value]

    def texts(self) -> tuple[str, ...]:
        """A list of distinct texts."""
        seen: dict[str, None] = {}
        for entry in self.list():
            text = entry.text()
            if text in seen:
                raise entry.fault(f"{text!r} stands here twice", f"{text!r} 写了两次。")
            seen[text] = None
        return tuple(seen)

    def text(self) -> str:
        """A text that is not empty."""
        if not isinstance(self.node, yaml.ScalarNode) or not self.node.value.strip():
            raise self.fault("a text is expected here", "这里应是文字，不能空着。")
        return str(self.node.value)

    def one_of(self, choices: Iterable[str]) -> str:
        """One of these words."""
        text, words = self.text(), tuple(choices)
        if text not in words:
            raise self.fault(f"{text!r} is none of {', '.join(words)}", f"{text!r} 不行，只能是 {'、'.join(words)}。")
        return text

    def number(self) -> int:
        """A whole number above zero, not quoted."""
        text = self.text()
        if self.node.tag != "tag:yaml.org,2002:int" or not text.isdigit() or int(text) < 1:
            raise self.fault(f"a whole number above zero is expected here, not {text!r}", f"{text!r} 应是正整数。")
        return int(text)

    def yes(self) -> bool:
        """true or false, spelled so."""
        return self.one_of(("true", "false")) == "true"

    def day(self) -> date:
        """A date `YYYY-MM-DD`."""
        try:
            return date.fromisoformat(self.text())
        except ValueError as error:
            raise self.fault(f"a date YYYY-MM-DD is expected here: {error}", "这里应是日期，如 2026-12-31。") from error


def read(path: Path) -> Entry:
    """The root of a YAML file; ConfigError when it cannot be read or is empty."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}", detail_zh="规则表读不到。") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(
            f"{path}:{line}", f"is no YAML: {error.problem}", detail_zh="这里不合 YAML 的写法。"
        ) from error
    if node is None:
        raise ConfigError(f"{path}:1", "is empty", detail_zh="规则表是空的。")
    return Entry(node, str(path))
