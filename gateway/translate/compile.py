"""A map compiled to one straight-line Python function; the map's texts are data in it, never code.

The source is written from the rules alone and executed once at load. Rules keep the order of the file;
neighbours that walk the same nodes share their loops.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from ..model.message import DraftResource
from ..model.resource import dumps
from .element_check import check_choices, check_needed, check_subjects, check_types
from .expressions import WHOLE, Expressions
from .formats import Elements, Emit, Format, Session
from .functions import Setting
from .json_code import is_constant, literal
from .mapping import SPECIAL_TARGETS, Map, Rule
from .memo import MemoOfTexts, NotedJson, NotedText
from .names import Names
from .periods import Finder, finders
from .plan import Planned, plan_of, resets
from .reads import Noting
from .recurring import Row, around, for_all, plain_number
from .run import Run
from .strict_yaml import Yaml, nested

RunMap = Callable[[Any, Run], None]
LANGUAGE = "1"  # part of every mapping's version: changes when the same rules would make something else


@dataclass(frozen=True)
class Compiled:
    """One map ready to run on documents of its format. `traced` is compiled when it is first asked for."""

    map: Map
    version: str
    session: Any
    run: RunMap
    ignore: Mapping[str, str]
    source: str
    make_traced: Callable[[], RunMap]
    days: tuple[str, ...] = ()  # from which on one of its code tables says something else
    where: tuple[Finder, ...] = ()  # where a message says its day

    @cached_property
    def traced(self) -> RunMap:
        """As `run`, and it notes where every value stood."""
        return self.make_traced()


def version_of(found: Map, setting: Setting) -> str:
    """16 hexadecimal digits that change when rules, tables or the language change."""
    tables = [(name, table.digest) for name, table in sorted(setting.tables.items())]
    content = dumps([LANGUAGE, setting.member, setting.zone, found.canon(), tables])
    return hashlib.sha256(content).hexdigest()[:16]


def compile_map(found: Map, form: Format, setting: Setting, elements: Elements | None = None) -> Compiled:
    """The map as functions. Raises MappingError with file and line."""
    _check_ignored(found, form)
    version = version_of(found, setting)
    tables = Noting(setting.tables)
    setting = replace(setting, tables=tables)
    made = [one for one in found.rules if one.to and one.to not in SPECIAL_TARGETS]
    check_types(elements, made)
    fast, session, text = _function(found, form, setting, elements, traced=False)
    check_choices(made)
    check_subjects(elements, made)
    check_needed(elements, made)  # after the names of what they do set: a misspelt one is told as that
    return Compiled(
        found,
        version,
        session,
        fast,
        dict(found.ignore),
        text,
        lambda: _function(found, form, setting, elements, traced=True)[0],
        tuple(sorted({day for name in tables.seen for day in setting.tables[name].days})),
        finders(found, form.finder),
    )


def _check_ignored(found: Map, form: Format) -> None:
    for node in found.ignored:
        try:
            form.ignorable(node.text())
        except ValueError as error:
            raise node.slip(node.text(), error) from error


def _function(
    found: Map, form: Format, setting: Setting, elements: Elements | None, *, traced: bool
) -> tuple[RunMap, Session, str]:
    session = form.session(setting.tables)
    writer = _Writer(found, session, setting, elements, traced=traced)
    text = writer.write()
    names: dict[str, Any] = {
        "DraftResource": DraftResource,
        "MemoOfTexts": MemoOfTexts,
        "plain_number": plain_number,
        "around": around,
        "for_all": for_all,
        "NotedText": NotedText,
        "NotedJson": NotedJson,
        **writer.emit.names,
    }
    exec(compile(text, f"<mapping {found.name}>", "exec"), names)
    run: RunMap = names["run"]
    return run, session, text


class _Writer:
    """Writes the function of one map."""

    def __init__(
        self, found: Map, session: Session, setting: Setting, elements: Elements | None, *, traced: bool
    ) -> None:
        self.emit = Emit()
        self._map = found
        self._session = session
        self._plan = plan_of(found, session)
        self._resets = resets(self._plan)
        self._traced = traced
        self._names = Names()
        self._open = self._names.open
        self._marks: list[int] = []
        self._ahead: dict[int, int] = {}  # mark of a loop → how many of the lines before it say whether it is walked
        self._functions: list[str] = []
        self._write = Expressions(self.emit, session, setting, self._names, elements)
        self._write.traced = traced
        self._write.used.free = len(self._plan) + 1
        self._referred = {key: {n for p in self._plan for n in p.referred[key]} for key in ("ref", "refs")}

    def write(self) -> str:
        """The whole source."""
        emit = self.emit
        emit.line("of = m.ids.of; begun = m.ids.begun; put = m.resources.append; member = m.member")
        emit.line("organization = m.organization; limit = m.limit; new = tuple.__new__")
        emit.line("rec = -1; subject = b''")
        self._session.begin(emit)
        self._said()
        self._reset(0)
        for planned in self._plan:
            self._move_to(planned)
            self._rule(planned)
        self._close(0)
        self._session.finish(emit)
        return "\n".join([*self._functions, "def run(root, m):", *emit.lines, ""])

    def _said(self) -> None:
        if self._map.said is not None:
            self._write.used.bit = len(self._plan)
            self._session.fired(self._write.used.bit, self.emit)
            place = self._first_place(self._map.said) if self._traced else "''"
            self.emit.line(f"m.said({self._write.text(self._map.said)}, {place})")

    # ---- loops ----------------------------------------------------------------------------------
    def _move_to(self, planned: Planned) -> None:
        shared = 0
        while shared < min(len(self._open), len(planned.loops)) and self._open[shared] == planned.loops[shared]:
            shared += 1
        self._close(shared)
        for step, loop in list(zip(planned.chain, planned.loops, strict=True))[shared:]:
            self._marks.append(len(self.emit.lines))
            self._write.before.append([])
            try:
                self._session.enter(step, self.emit)
            except ValueError as error:
                raise planned.rule.node.slip("each", error) from error
            self._open.append(loop)
            self._reset(loop)

    def _close(self, down_to: int) -> None:
        while len(self._open) > down_to:
            self._session.leave(self.emit)
            self._open.pop()
            at, before = self._marks.pop(), self._write.before.pop()
            if before:
                ahead = self._ahead.pop(at, 0)
                self.emit.lines[at:] = before[:ahead] + self._walked(before[ahead:], self.emit.lines[at:])

    def _walked(self, before: list[str], loop: list[str]) -> list[str]:
        """A loop and the lines before it, all of them only where there is something to walk."""
        if not before:
            return loop
        head, nodes = loop[0].removesuffix(":").split(" in ", 1)
        margin, walked = head[: -len(head.lstrip())], self.emit.temp("w")
        inside = [*before, f"{head} in {walked}:", *loop[1:]]
        return [f"{margin}{walked} = {nodes}", f"{margin}if {walked}:", *[f"    {line}" for line in inside]]

    def _reset(self, loop: int) -> None:
        for name, empty in self._resets.get(loop, ()):
            self.emit.line(f"{name} = {empty}")

    # ---- rules ----------------------------------------------------------------------------------
    def _rule(self, planned: Planned) -> None:
        rule, write = planned.rule, self._write
        write.used.bit = planned.bit
        when = rule.node.get("when")
        if when is None:
            self._body(planned)
            return
        condition, lifted = write.lifted(lambda: write.condition(when))
        if lifted and self._alone(planned):
            # The loop has no other rule: it is walked only where the condition holds.
            walk = self.emit.lines[self._marks[-1]]
            self.emit.lines[self._marks[-1]] = f"{walk[:-1]} if {condition} else ():"
            self._ahead[self._marks[-1]] = len(write.before[-1])
            self._body(planned)
            return
        with self.emit.inside(f"if {condition}:"):
            self._body(planned)

    def _alone(self, planned: Planned) -> bool:
        innermost = planned.loops[-1]
        return sum(innermost in other.loops for other in self._plan) == 1

    def _body(self, planned: Planned) -> None:
        rule, node = planned.rule, planned.rule.node
        self._session.fired(planned.bit, self.emit)
        if node.get("document"):
            self.emit.line(f"m.document = m.document or {self._write.text(node.fields()['document'])}")
        if rule.to == "Patient":
            self._patient(rule)
        elif rule.to == "Merge":
            self._merge(rule)
        elif rule.to:
            self._row(rule)
        self._keep(rule)
        self._warn(rule)

    def _identity(self, rule: Rule) -> list[str]:
        items = _id_of(rule).items()
        self._write.fresh = True
        parts = [self._write.lifted(partial(self._write.text, item))[0] for item in items]
        self._write.fresh = False
        first = self._write.named(parts[0])
        self.emit.line(f"if not {first}: m.missing({self._first_place(items[0])})")
        return [first, *parts[1:]]

    def _first_place(self, node: Yaml) -> str:
        path = _first_path(node)
        return self._write.access(path, node).place if path else "''"

    def _patient(self, rule: Rule) -> None:
        first, *_ = self._identity(rule)
        body = self._traced_patient(rule, first) if self._traced else self._write.json(_set_of(rule), "Patient")
        gone, _ = self._gone(rule)
        at = self._first_place(_id_of(rule).items()[0]) if self._map.format in ("csv", "dicom") else "''"
        more = f"{'()' if gone == 'None' else gone}, {at}, {rule.node.get('in_passing') is not None}"
        self.emit.line(f"rec = m.patient({first}, {body}, {more})")
        self.emit.line('subject = b\'{"reference":"Patient/@%d"}\' % rec')
        self._names.born["subject"] = tuple(self._open)

    def _traced_patient(self, rule: Rule, first: str) -> str:
        """The record's elements one by one, so that each can be traced as one of `Patient/@<number>`."""
        self.emit.line(f"i = '@%d' % m.number_of({first})")
        constant, pieces = self._pieces(rule)
        found = self._write.named(f"b''.join(({''.join(piece + ', ' for piece in pieces)}))")
        return f"(b'{{' + ({constant!r} + {found})[1:] + b'}}' if {found} else b'')"

    def _merge(self, rule: Rule) -> None:
        first, *_ = self._identity(rule)
        self.emit.line(f"m.merge(rec, {first})")

    def _row(self, rule: Rule) -> None:
        """The resource; where its node is one of many alike, with the look-ups of the node gathered."""
        node = "" if self._traced else self._session.recurring()
        if not node:
            self._resource(rule)
            return
        mark = self.emit.mark()
        self._write.row = row = Row(rule.name, node)
        self._resource(rule)
        self._write.row = None
        function, asked = row.written(self.emit.lines[mark[0] :])
        if asked:
            self._functions.append(function)
            self.emit.insert(mark, asked)

    def _resource(self, rule: Rule) -> None:
        """`put(DraftResource(type, i, b''.join((head, i, constants, piece, …)), rec))`.

        A named tuple made by `tuple.__new__` costs half of one made by its own constructor.
        """
        emit, type_ = self.emit, rule.to
        self._id(rule, type_)
        self._awaits(rule)
        emit.line("j = i.encode()")
        constant, pieces = self._pieces(rule)
        head = f'{{"resourceType":"{type_}","id":"'.encode()
        parts = [repr(head), "j", *self._fused([repr(b'"' + constant), *pieces]), repr(b"}")]
        made = ", ".join([repr(type_), "i", f"b''.join(({', '.join(parts)}))", "rec", *self._gone(rule)])
        emit.line(f"put(new(DraftResource, ({made})))")
        self._remember(rule)

    def _awaits(self, rule: Rule) -> None:
        """Where the conditions hold: it has to be stored already, and it takes along what was filed with it."""
        condition = rule.node.get("awaits")
        if condition is not None:
            place = self._first_place(_id_of(rule).items()[0])
            with self.emit.inside(f"if {self._write.condition(condition)}:"):
                self.emit.line(f"m.awaited({rule.to!r}, i, {place})")
        carries = rule.node.get("carries")
        if carries is not None:
            with self.emit.inside(f"if {self._write.condition(carries)}:"):
                self.emit.line(f"m.carries.append({f'{rule.to}/'!r} + i)")

    def _fused(self, pieces: list[str]) -> list[str]:
        """The pieces with neighbours joined early: before the loop where it does not change them, else for the row."""
        write, out, row = self._write, list[str](), self._write.row
        if row is None:
            return pieces
        for piece in pieces:
            if out and out[-1] in write.lifted_names and piece in write.lifted_names:
                fused = self.emit.temp("h")
                write.put_before(f"{fused} = {out[-1]} + {piece}")
                write.lifted_names.add(fused)
                out[-1] = fused
            elif out and row.holds(piece) and row.holds(out[-1]):
                out[-1] = row.value(f"{out[-1]} + {piece}")
            else:
                out.append(piece)
        return [part for piece in out for part in row.spread(piece)]

    def _gone(self, rule: Rule) -> tuple[str, str]:
        """What else an update says: elements its sender deleted, elements it says nothing about."""
        clear, leave = rule.node.get("clear"), rule.node.get("leave")
        return self._names_where(clear) if clear or leave else "None", self._names_where(leave)

    def _names_where(self, node: Yaml | None) -> str:
        found = [(name, self._deleted(one)) for name, one in (node.fields() if node else {}).items()]
        if len(found) == 1:
            return f"(({found[0][0]!r},) if {found[0][1]} else ())"
        entries = [f"({name!r} if {deleted} else '')" for name, deleted in found]
        return f"tuple(filter(None, ({', '.join(entries)},)))" if entries else "()"

    def _deleted(self, node: Yaml) -> str:
        """Code that is true where the sender deleted an element: the field is `\"\"`, or the condition holds."""
        if isinstance(node.value, str):
            return f"{self._write.access(node.value, node, WHOLE).code} == '\"\"'"
        return self._write.condition(node.fields(frozenset({"when"}))["when"])

    def _id(self, rule: Rule, type_: str) -> None:
        """`i = of(type, member, part, …)`; what does not change inside the loop is absorbed before it."""
        emit, outer = self.emit, 0
        parts = self._identity(rule)
        while outer < len(parts) and parts[outer] in self._write.lifted_names:
            outer += 1
        member = rule.node.get("id") is not None
        if not 0 < outer < len(parts):
            emit.line(f"i = {self._write.identity(type_, parts, member=member)}")
            return
        begun, digest = emit.temp("h"), emit.temp("d")
        self._write.put_before(f"{begun} = begun({self._write.arguments(type_, parts[:outer], member=member)})")
        emit.line(f"{digest} = {begun}.copy()")
        emit.line(f"{digest}.update({self._write.of_row(f'({_joined(parts[outer:])}).encode()')})")
        emit.line(f"i = {digest}.hexdigest()")

    def _pieces(self, rule: Rule) -> tuple[bytes, list[str]]:
        """JSON of the constant members, and code of the others."""
        write, constant = self._write, b""
        pieces = list[str]()
        for name, child in nested(_set_of(rule)).fields().items():
            if self._traced:
                self.emit.line("m.element()")
            code, _ = write.lifted(partial(write.piece, name, child, rule.to))
            if is_constant(code):
                constant += literal(code)
            else:
                code = write.named(code) if self._traced else code
                pieces.append(code)
            if self._traced:
                self.emit.line(f"m.trace({rule.to!r}, i, {name!r}, {code}, {rule.name!r}, {child.place!r})")
        return constant, pieces

    def _remember(self, rule: Rule) -> None:
        """Names under which later rules refer to what this one made."""
        names, made, listed = self._names, f"r_{rule.name}", f"l_{rule.name}"
        if rule.name in self._referred["ref"]:
            self.emit.line(f"{made} = j")
        if rule.name in self._referred["refs"]:
            self.emit.line(f"{listed}.append(j)")
        names.made[rule.name], names.lists[rule.name], names.types[rule.name] = made, listed, rule.to
        names.born[made] = names.born[listed] = tuple(self._open)

    def _keep(self, rule: Rule) -> None:
        keep = rule.node.get("keep")
        for name, node in (keep.fields() if keep else {}).items():
            local = f"kept_{name}"
            value = self.emit.temp()
            if self._traced:
                self.emit.line("m.element()")
            self.emit.line(f"{value} = {self._write.text(node)}")
            if self._traced:
                self.emit.line(f"m.keeps({name!r}, {value}, {rule.name!r}, {node.place!r})")
            self.emit.line(f"{local} = m.kept({local}, {value}) if {local} else {value}")
            self._names.kept[name] = local
            self._names.born[local] = tuple(self._open)
            self._names.comes_from(name, _first_path(node) or f"${name}")
            if (first := node.get("first")) and len(first.items()) > 1:
                self._names.several.add(name)

    def _warn(self, rule: Rule) -> None:
        warn = rule.node.get("warn")
        if warn is None:
            return
        fields = warn.fields(frozenset({"at", "zh", "en"}))
        if fields.keys() != {"at", "zh", "en"}:
            raise warn.error("warn needs at, zh and en", "warn 要写全 at（位置）、zh（中文）、en（英文）。")
        place = self._write.access(fields["at"].text(), fields["at"]).place
        self.emit.line(f"m.warn({place}, {fields['zh'].text()!r}, {fields['en'].text()!r})")


def _joined(parts: list[str]) -> str:
    """Code of the parts with the separator of ids before each."""
    return " + ".join(f"'\\x1f' + {part}" for part in parts)


def _first_path(node: Yaml) -> str:
    """The first path a text is read from, "" for a constant."""
    while not isinstance(node.value, str):
        inner = node.get("from") or node.get("first")
        if inner is None:
            return ""
        node = inner.items()[0]
    return node.value


def _id_of(rule: Rule) -> Yaml:
    node = rule.node.get("id") or rule.node.get("global_id")
    if node is None:
        raise rule.node.error(f"the rule {rule.name} needs `id`", f"规则 {rule.name} 缺少 `id`。")
    return node


def _set_of(rule: Rule) -> Yaml:
    return rule.node.get("set") or Yaml({}, rule.node.place)
