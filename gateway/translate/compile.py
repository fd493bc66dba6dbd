"""A map compiled to one straight-line Python function; the map's texts are data in it, never code.

The source is written from the rules alone and executed once at load. Rules keep the order of the file;
neighbours that walk the same nodes share their loops.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..model.message import DraftResource
from ..model.resource import dumps
from .expressions import Elements, Expressions, Names, nested
from .formats import Emit, Format, Session
from .functions import Setting
from .mapping import SPECIAL_TARGETS, Map, Rule
from .memo import NotedText
from .run import Run
from .strict_yaml import Yaml

LANGUAGE = "1"  # part of every mapping's version: changes when the same rules would make something else
_WORD = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Compiled:
    """One map ready to run on documents of its format."""

    name: str
    version: str
    session: Any
    run: Callable[[Any, Run], None]
    traced: Callable[[Any, Run], None]
    ignore: Mapping[str, str]
    source: str


@dataclass(frozen=True, slots=True)
class _Planned:
    """A rule with its loop steps and the numbers of the loops it stands in (the same number = the same loop)."""

    rule: Rule
    bit: int
    chain: tuple[str, ...]
    loops: tuple[int, ...]


def version_of(found: Map, setting: Setting) -> str:
    """16 hexadecimal digits that change when rules, tables or the language change."""
    tables = {
        name: (table.values, {k: [repr(r) for r in rows] for k, rows in table.concepts.items()}, table.counted)
        for name, table in sorted(setting.tables.items())
    }
    content = dumps([LANGUAGE, setting.member, setting.zone, found.canon(), _sorted(tables)])
    return hashlib.sha256(content).hexdigest()[:16]


def _sorted(tables: dict[str, Any]) -> list[Any]:
    plain = [
        (name, sorted(v.items()), sorted((k, sorted(_stable(r) for r in rows)) for k, rows in c.items()), sorted(n.items()))
        for name, (v, c, n) in tables.items()
    ]
    return plain


def _stable(row: str) -> str:
    # A frozenset prints in the order of string hashes, which differs between runs.
    return re.sub(r"frozenset\(\{([^}]*)\}\)", lambda found: ",".join(sorted(found[1].split(", "))), row)


def compile_map(found: Map, form: Format, setting: Setting, elements: Elements | None = None) -> Compiled:
    """The map as functions. Raises MappingError with file and line."""
    fast, session, text = _function(found, form, setting, elements, traced=False)
    slow, _, _ = _function(found, form, setting, elements, traced=True)
    return Compiled(found.name, version_of(found, setting), session, fast, slow, dict(found.ignore), text)


def _function(
    found: Map, form: Format, setting: Setting, elements: Elements | None, *, traced: bool
) -> tuple[Callable[[Any, Run], None], Session, str]:
    session = form.session()
    writer = _Writer(found, session, setting, elements, traced=traced)
    text = writer.write()
    names: dict[str, Any] = {"DraftResource": DraftResource, "NotedText": NotedText, **writer.emit.names}
    exec(compile(text, f"<mapping {found.name}>", "exec"), names)
    run: Callable[[Any, Run], None] = names["run"]
    return run, session, text


class _Writer:
    """Writes the function of one map."""

    def __init__(
        self, found: Map, session: Session, setting: Setting, elements: Elements | None, *, traced: bool
    ) -> None:
        self.emit = Emit()
        self._map = found
        self._session = session
        self._plan = _plan(found, session)
        self._resets = _resets(self._plan)
        self._traced = traced
        names = Names({}, {}, {}, {})
        self._names = names
        self._kept, self._made = dict[str, str](), dict[str, str]()
        self._lists, self._types = dict[str, str](), dict[str, str]()
        names.kept, names.made, names.lists, names.types = self._kept, self._made, self._lists, self._types
        self._write = Expressions(self.emit, session, setting, names, elements)
        self._write.traced = traced
        self._open: list[int] = []

    def write(self) -> str:
        """The whole source."""
        emit = self.emit
        emit.line("of = m.ids.of; put = m.resources.append; member = m.member")
        emit.line("organization = m.organization; limit = m.limit")
        emit.line("rec = -1; subject = ''")
        self._session.begin(emit)
        self._said()
        self._reset(0)
        for planned in self._plan:
            self._move_to(planned)
            self._rule(planned)
        self._close(0)
        self._session.finish(emit)
        return "def run(root, m):\n" + "\n".join(emit.lines) + "\n"

    def _said(self) -> None:
        if self._map.said is not None:
            self._write.bit = len(self._plan)
            self._session.fired(self._write.bit, self.emit)
            self.emit.line(f"m.said({self._write.text(self._map.said)})")

    # ---- loops ----------------------------------------------------------------------------------
    def _move_to(self, planned: _Planned) -> None:
        shared = 0
        while shared < min(len(self._open), len(planned.loops)) and self._open[shared] == planned.loops[shared]:
            shared += 1
        self._close(shared)
        for step, loop in list(zip(planned.chain, planned.loops, strict=True))[shared:]:
            try:
                self._session.enter(step, self.emit)
            except ValueError as error:
                raise planned.rule.node.error(f"each: {error}") from error
            self._open.append(loop)
            self._reset(loop)

    def _close(self, down_to: int) -> None:
        while len(self._open) > down_to:
            self._session.leave(self.emit)
            self._open.pop()

    def _reset(self, loop: int) -> None:
        for name, empty in self._resets.get(loop, ()):
            self.emit.line(f"{name} = {empty}")

    # ---- rules ----------------------------------------------------------------------------------
    def _rule(self, planned: _Planned) -> None:
        rule, write = planned.rule, self._write
        write.bit = planned.bit
        when = rule.node.get("when")
        if when is None:
            self._body(planned)
            return
        with self.emit.inside(f"if {write.condition(when)}:"):
            self._body(planned)

    def _body(self, planned: _Planned) -> None:
        rule, node = planned.rule, planned.rule.node
        self._session.fired(planned.bit, self.emit)
        if node.get("document"):
            self.emit.line(f"m.document = m.document or {self._write.text(node.fields()['document'])}")
        if rule.to == "Patient":
            self._patient(rule)
        elif rule.to == "Merge":
            self._merge(rule)
        elif rule.to:
            self._resource(rule)
        self._keep(rule)
        self._warn(rule)

    def _identity(self, rule: Rule) -> list[str]:
        node = rule.node.get("id") or rule.node.get("global_id")
        if node is None:
            raise rule.node.error(f"the rule {rule.name} needs `id`")
        items = node.items()
        parts = [self._write.text(item) for item in items]
        first = self.emit.temp("i")
        self.emit.line(f"{first} = {parts[0]}")
        self.emit.line(f"if not {first}: m.missing({self._first_place(items[0])})")
        return [first, *parts[1:]]

    def _first_place(self, node: Yaml) -> str:
        while not isinstance(node.value, str):
            inner = node.get("from") or node.get("first")
            if inner is None:
                return "''"
            node = inner.items()[0]
        return self._write.access(node.value, node).place

    def _patient(self, rule: Rule) -> None:
        first, *_ = self._identity(rule)
        body = self._write.json(_set_of(rule), "Patient")
        self.emit.line(f"rec = m.patient({first}, {body})")
        self.emit.line("subject = '{\"reference\":\"Patient/@' + str(rec) + '\"}'")

    def _merge(self, rule: Rule) -> None:
        first, *_ = self._identity(rule)
        self.emit.line(f"m.merge(rec, {first})")

    def _resource(self, rule: Rule) -> None:
        emit, write, type_ = self.emit, self._write, rule.to
        parts = self._identity(rule)
        emit.line(f"i = {write.identity(type_, parts, member=rule.node.get('id') is not None)}")
        made, listed = f"r_{rule.name}", f"l_{rule.name}"
        constant, found = self._members(rule)
        body = emit.temp("b")
        emit.line(f"{body} = {_head(type_)!r} + i + {chr(39) + chr(34) + chr(39)} + {constant!r}")
        for name, code, child in found:
            write.append(body, name, code)
            del child
        emit.line(f"put(DraftResource({type_!r}, i, ({body} + '}}').encode(), rec))")
        emit.line(f"{made} = i; {listed}.append('{{\"reference\":\"{type_}/' + i + '\"}}')")
        self._made[rule.name], self._lists[rule.name], self._types[rule.name] = made, listed, type_

    def _members(self, rule: Rule) -> tuple[str, list[tuple[str, str, Yaml]]]:
        if not self._traced:
            return self._write.members(_set_of(rule), rule.to)
        constant, found = "", list[tuple[str, str, Yaml]]()
        for name, child in nested(_set_of(rule)).fields().items():
            self.emit.line("m.at = ('', '')")
            one, some = self._write.members(Yaml({name: child}, child.place), rule.to)
            constant += one
            for _, code, node in some:
                value = self.emit.temp()
                self.emit.line(f"{value} = {code}")
                self.emit.line(f"m.trace({rule.to!r}, i, {name!r}, {value}, {rule.name!r}, {child.place!r})")
                found.append((name, value, node))
        return constant, found

    def _keep(self, rule: Rule) -> None:
        keep = rule.node.get("keep")
        for name, node in (keep.fields() if keep else {}).items():
            local = f"kept_{name}"
            value = self.emit.temp()
            self.emit.line(f"{value} = {self._write.text(node)}")
            self.emit.line(f"{local} = m.kept({local}, {value}) if {local} else {value}")
            self._kept[name] = local

    def _warn(self, rule: Rule) -> None:
        warn = rule.node.get("warn")
        if warn is None:
            return
        fields = warn.fields(frozenset({"at", "zh", "en"}))
        if fields.keys() != {"at", "zh", "en"}:
            raise warn.error("warn needs at, zh and en")
        place = self._write.access(fields["at"].text(), fields["at"]).place
        self.emit.line(f"m.warn({place}, {fields['zh'].text()!r}, {fields['en'].text()!r})")


def _head(type_: str) -> str:
    return f'{{"resourceType":"{type_}","id":"'


def _set_of(rule: Rule) -> Yaml:
    return rule.node.get("set") or Yaml({}, rule.node.place)


def _plan(found: Map, session: Session) -> list[_Planned]:
    """Rules with their loops: a loop number is shared by neighbours with the same outer steps."""
    out: list[_Planned] = []
    count, steps, loops = 0, tuple[str, ...](), tuple[int, ...]()
    for number, rule in enumerate(found.rules):
        _check_names(rule)
        try:
            chain = session.chain(rule.each)
        except ValueError as error:
            raise rule.node.error(f"each: {error}") from error
        shared = 0
        while shared < min(len(steps), len(chain)) and steps[shared] == chain[shared]:
            shared += 1
        fresh = tuple(range(count + 1, count + 1 + len(chain) - shared))
        count += len(fresh)
        steps, loops = chain, loops[:shared] + fresh
        out.append(_Planned(rule, number, chain, loops))
    return out


def _check_names(rule: Rule) -> None:
    if not _WORD.fullmatch(rule.name):
        raise rule.node.error(f"a rule's name is lower-case letters, digits and _: {rule.name!r}")
    if rule.to and rule.to not in SPECIAL_TARGETS and not rule.to.isalpha():
        raise rule.node.error(f"{rule.to!r} is no resource type")
    keep = rule.node.get("keep")
    for name, node in (keep.fields() if keep else {}).items():
        if not _WORD.fullmatch(name):
            raise node.error(f"a kept value's name is lower-case letters, digits and _: {name!r}")


def _resets(plan: list[_Planned]) -> dict[int, list[tuple[str, str]]]:
    """For each loop (0 = the message): local names to empty at the start of its body.

    A name lives in the innermost loop that its maker and everybody who uses it share.
    """
    out: dict[int, list[tuple[str, str]]] = {}
    kept = dict.fromkeys(name for planned in plan for name in _kept_names(planned.rule))
    for name in kept:
        lives = [p.loops for p in plan if name in _kept_names(p.rule) or f"${name}" in _texts(p.rule)]
        out.setdefault(_deepest(lives), []).append((f"kept_{name}", "''"))
    for planned in plan:
        if not planned.rule.to or planned.rule.to in SPECIAL_TARGETS:
            continue
        name = planned.rule.name
        for key, local, empty in (("ref", f"r_{name}", "''"), ("refs", f"l_{name}", "[]")):
            users = [p.loops for p in plan if name in _named(p.rule, key)]
            out.setdefault(_deepest([planned.loops, *users]), []).append((local, empty))
    return out


def _deepest(paths: list[tuple[int, ...]]) -> int:
    shared = paths[0]
    for path in paths[1:]:
        while path[: len(shared)] != shared:
            shared = shared[:-1]
    return shared[-1] if shared else 0


def _kept_names(rule: Rule) -> list[str]:
    keep = rule.node.get("keep")
    return list(keep.fields()) if keep else []


def _texts(rule: Rule) -> set[str]:
    words: set[str] = set()
    for node in rule.node.walk():
        if isinstance(node.value, str):
            words.add(node.value)
            words.update(re.findall(r"\$[a-z][a-z0-9_]*", node.value))
    return words


def _named(rule: Rule, key: str) -> set[str]:
    found = (node.get(key) for node in rule.node.walk())
    return {item.value for node in found if node is not None for item in node.items() if isinstance(item.value, str)}
