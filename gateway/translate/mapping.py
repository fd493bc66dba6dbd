"""Mapping files as data: what stands in `mappings/`, after `extends`, overrides and removals.

Nothing is compiled here. Every fault is a MappingError with file and line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import MappingError
from .codes import Table, read_table
from .strict_yaml import Yaml, load

MAP_KEYS = frozenset({"format", "serves", "extends", "for", "source", "said", "happened", "rules", "remove", "ignore"})
RULE_KEYS = frozenset(
    {
        "rule",
        "each",
        "when",
        "to",
        "id",
        "global_id",
        "set",
        "clear",
        "leave",
        "in_passing",
        "awaits",
        "carries",
        "keep",
        "document",
        "after",
        "before",
        "warn",
    }
)
IGNORE_KEYS = frozenset({"field", "because"})
SPECIAL_TARGETS = frozenset({"Patient", "Merge"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: for `each` node where `when` holds, make one `to` with `id` and the elements of `set`."""

    name: str
    node: Yaml

    @property
    def to(self) -> str:
        """Resource type, `Merge`, or "" for a rule that only keeps values or warns."""
        return self.node.word("to")

    @property
    def each(self) -> tuple[str, ...]:
        """Steps of the loop, outermost first; () = once a message."""
        return self.node.words("each")


@dataclass(frozen=True, slots=True)
class Map:
    """One map after extends: the rules in order, the fields ignored with a reason."""

    name: str
    format: str
    serves: tuple[str, ...]
    sources: tuple[str, ...]  # only for these sources of the member; () = all
    rules: tuple[Rule, ...]
    ignore: tuple[tuple[str, str], ...]
    ignored: tuple[Yaml, ...]  # where these fields are named
    said: Yaml | None
    happened: tuple[Yaml, ...]  # where its clinical time stands; the first that holds one counts
    place: str

    def canon(self) -> object:
        """Content for hashing, without places."""
        said = self.said.canon() if self.said else None
        happened = [one.canon() for one in self.happened]
        return [self.format, self.serves, [(r.name, r.node.canon()) for r in self.rules], self.ignore, said, happened]


class Library:
    """All map files and tables of several folders; a file in an earlier folder hides its namesake."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders
        self._yaml: dict[str, Yaml] = {}
        self._tables: dict[str, Table | None] = {}

    def find(self, relative: str) -> Path | None:
        """The file of that name in the first folder that has it."""
        return next((folder / relative for folder in self._folders if (folder / relative).is_file()), None)

    def names(self, folder: str) -> list[str]:
        """Map names (`<folder>/<stem>`) in a folder, sorted; source.yaml is none."""
        found = {path.stem for root in self._folders for path in (root / folder).glob("*.yaml")}
        return [f"{folder}/{stem}" for stem in sorted(found) if stem != "source"]

    def members(self) -> list[str]:
        """Folders that hold a source.yaml. Refuses files nobody would read: one level off, or of another ending."""
        for root in self._folders:
            if (root / "source.yaml").is_file():
                text = "this is the folder of one member; name the folder above it"
                zh = f"{root} 是一个成员的目录，请改指它的上一级目录。"
                raise MappingError("source.yaml", text, detail_zh=zh)
            for path in sorted(root.glob("*/*.yml")):
                text = "only .yaml is read; rename the file"
                raise MappingError(
                    f"{path.parent.name}/{path.name}", text, detail_zh="只读取 .yaml，请把扩展名改成 .yaml。"
                )
        known = {path.parent.name for root in self._folders for path in root.glob("*/source.yaml")}
        for path in (one for root in self._folders for one in sorted(root.glob("*/*.yaml"))):
            if path.parent.name not in known:
                text = f"missing; {path.name} beside it serves nobody"
                zh = f"没有这个文件，旁边的 {path.name} 不为任何来源服务：请写 source.yaml（gateway map new 会生成）。"
                raise MappingError(f"{path.parent.name}/source.yaml", text, detail_zh=zh)
        return sorted(known)

    def yaml(self, relative: str) -> Yaml:
        """One YAML file; MappingError when there is none."""
        if relative not in self._yaml:
            path = self.find(relative)
            if path is None:
                raise MappingError(relative, "there is no such file", detail_zh="没有这个文件。")
            self._yaml[relative] = load(path, shown_as=relative)
        return self._yaml[relative]

    def table(self, member: str, name: str) -> Table | None:
        """A code table as a member sees it: the member's rows over the shared ones; None when neither exists."""
        shared = self._table(f"_base/codes/{name}.csv")
        own = self._table(f"{member}/codes/{name}.csv") if member else None
        return own.over(shared) if own else shared

    def table_names(self, member: str) -> list[str]:
        """Names of the tables a member sees: the shared ones and its own."""
        found = {path.stem for root in self._folders for path in (root / "_base/codes").glob("*.csv")}
        own = {path.stem for root in self._folders for path in (root / member / "codes").glob("*.csv")}
        return sorted(found | own)

    def table_files(self, member: str, name: str) -> list[tuple[str, Path]]:
        """Files a table is read from, as shown and as found: the member's, whose rows win, then the shared one."""
        names = [*([f"{member}/codes/{name}.csv"] if member else []), f"_base/codes/{name}.csv"]
        return [(one, path) for one in names if (path := self.find(one)) is not None]

    def _table(self, relative: str) -> Table | None:
        if relative not in self._tables:
            path = self.find(relative)
            self._tables[relative] = read_table(path, shown_as=relative) if path else None
        return self._tables[relative]

    def map(self, name: str) -> Map:
        """One map with everything it extends merged in. Raises MappingError."""
        node = self.yaml(f"{name}.yaml")
        self._check_formats(name, node)
        rules, ignore, ignored = self._merged(name)
        return Map(
            name=name,
            format=form.text() if (form := self._nearest(name, "format")) else "",
            serves=node.words("serves"),
            sources=node.words("for"),
            rules=tuple(rules.values()),
            ignore=tuple(ignore.items()),
            ignored=tuple(ignored),
            said=self._nearest(name, "said"),
            happened=tuple((self._nearest(name, "happened") or Yaml([], node.place)).items()),
            place=node.place,
        )

    def _check_formats(self, name: str, node: Yaml) -> None:
        """The parts of two formats in one map would name nodes the other has not."""
        forms = {parent: self._nearest(parent, "format", (name,)) for parent in self._parents(name, ())}
        said = {parent: form.text() for parent, form in forms.items() if form}
        if len(set(said.values())) > 1:
            all_ = "、".join(f"{parent}（{form}）" for parent, form in said.items())
            text = f"a map extends maps of one format, not of several: {', '.join(said.values())}"
            raise node.fields()["extends"].error(text, f"extends 的几个映射格式不同，请只留一种：{all_}。")

    def _parents(self, name: str, seen: tuple[str, ...]) -> Iterator[str]:
        node = self.yaml(f"{name}.yaml")
        if name in seen:
            way = " → ".join((*seen, name))
            raise node.error(f"{name} extends itself: {way}", f"extends 绕回了自己：{way}；请去掉一处。")
        for parent in node.words("extends"):
            if self.find(f"{parent}.yaml") is None:
                text, zh = f"there is no map {parent!r}", f"没有映射 {parent!r}"
                raise node.fields()["extends"].unknown(parent, self._all(), text, zh)
            yield parent

    def _all(self) -> list[str]:
        """Every map there is, as `extends` names them."""
        found = {path.relative_to(root).with_suffix("") for root in self._folders for path in root.rglob("*.yaml")}
        return sorted(one.as_posix() for one in found if one.name != "source")

    def _nearest(self, name: str, key: str, seen: tuple[str, ...] = ()) -> Yaml | None:
        """The map's own key, else that of the first map it extends that has it."""
        found = self.yaml(f"{name}.yaml").get(key)
        for parent in () if found else self._parents(name, seen):
            found = found or self._nearest(parent, key, (*seen, name))
        return found

    def _line(self, name: str, seen: tuple[str, ...] = ()) -> list[str]:
        """The map and what it extends, each once, ancestors first: a part two parents share counts once."""
        line = [one for parent in self._parents(name, seen) for one in self._line(parent, (*seen, name))]
        return list(dict.fromkeys([*line, name]))

    def _merged(self, name: str) -> tuple[dict[str, Rule], dict[str, str], list[Yaml]]:
        rules: dict[str, Rule] = {}
        ignore: dict[str, str] = {}
        ignored: list[Yaml] = []
        for one in self._line(name):
            node = self.yaml(f"{one}.yaml")
            node.fields(MAP_KEYS)
            for gone in (node.get("remove") or Yaml([], node.place)).items():
                if rules.pop(gone.text(), None) is None:
                    text, zh = f"there is no rule {gone.text()!r} to remove", f"没有可去掉的规则 {gone.text()!r}"
                    raise gone.unknown(gone.text(), rules, text, zh)
            for rule in _once((node.get("rules") or Yaml([], node.place)).items()):
                rules = _with_rule(rules, rule)
            for field, because in _ignored(node):
                ignore[field.text()] = because
                ignored.append(field)
        return rules, ignore, ignored


def _ignored(node: Yaml) -> Iterator[tuple[Yaml, str]]:
    """(field, reason)."""
    for entry in (node.get("ignore") or Yaml([], node.place)).items():
        entry.fields(IGNORE_KEYS)
        because = entry.word("because").strip()
        if not because:
            raise entry.error("say why the field is ignored: because", "请写明忽略的理由：because")
        if (fields := entry.get("field")) is None:
            raise entry.error("say which field is ignored: field", "请写明忽略哪个字段：field")
        yield from ((one, because) for one in fields.items())


def _once(rules: list[Yaml]) -> Iterator[Yaml]:
    """The rules of one file. Two of one name are refused: the second would be laid over the first, unseen."""
    names: set[str] = set()
    for rule in rules:
        rule.fields(RULE_KEYS)
        if (name := _name(rule)) in names:
            zh = f"规则 {name!r} 在这个文件里写了两次，请并成一条，或另取名字。"
            raise rule.error(f"the rule {name!r} stands twice in this file", zh)
        names.add(name)
        yield rule


def _name(rule: Yaml) -> str:
    name = rule.word("rule") or rule.word("to").lower()
    if not name:
        raise rule.error("a rule needs a name: rule", "规则缺名字：写 rule: 名字。")
    return name


def _with_rule(rules: dict[str, Rule], node: Yaml) -> dict[str, Rule]:
    """Rules with one more: a known name is overridden key by key, a new one is appended or put in place."""
    name = _name(node)
    old = rules.get(name)
    merged = _override(old.node, node) if old else node
    made = Rule(name, merged)
    beside = node.word("after") or node.word("before")
    if not beside:
        return {**rules, name: made}
    if beside not in rules:
        raise node.unknown(beside, rules, f"there is no rule {beside!r} to stand beside", f"没有规则 {beside!r}")
    out: dict[str, Rule] = {}
    for key, rule in rules.items():
        if key == name:
            continue
        pair = [(key, rule), (name, made)] if node.get("after") else [(name, made), (key, rule)]
        out.update(pair if key == beside else [(key, rule)])
    return out


def _override(old: Yaml, new: Yaml) -> Yaml:
    """`new` over `old`: keys replace, `set`, `clear`, `leave` and `keep` merge key by key, an empty entry removes."""
    merged = dict(old.fields())
    for key, node in new.fields().items():
        if key in ("set", "clear", "leave", "keep") and key in merged:
            entries = {**merged[key].fields(), **node.fields()}
            merged[key] = Yaml({name: entry for name, entry in entries.items() if entry.value != ""}, node.place)
        elif node.value == "":
            merged.pop(key, None)
        else:
            merged[key] = node
    return Yaml(merged, new.place)
