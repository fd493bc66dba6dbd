"""HL7 v2 paths as Python: `SEG-f`, `SEG-f.c`, `SEG-f.c.s`, `SEG-f[r].c`, `parent/SEG-f`.

A segment means the nearest one: the node of the loop, else the first of its order, patient or message.
The loops are PID, ORC/OBR, OBX and any other segment; `OBX/OBX` walks the results of the orders whose
OBR-26 points at this OBX. Source: HL7 v2.5.1 §2.6, §7.4.1.26 (OBR-26).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

from .codes import Table
from .formats import Access, Emit
from .functions_v2 import part
from .strict_yaml import Slip
from .tree_v2 import ORDER_SEGMENTS, ROOT_SEGMENTS, Tree

_PATH = re.compile(r"(parent/)?([A-Z][A-Z0-9]{2})-(\d+)(?:\[(\d+)\])?(?:\.(\d+)(?:\.(\d+))?)?")
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
_CHILD = "OBR>"
_NOTHING = ("", '""')


@dataclass(frozen=True, slots=True)
class Cover:
    """What one rule reads of a segment: repetition 0 = all, components () = all."""

    rule: int
    segment: str
    field: int
    repetition: int
    components: tuple[int, ...]


@dataclass(slots=True)
class _Scope:
    kind: str  # root | patient | order | segment
    group: str  # local name of the group, or of the fields for a segment
    level: int
    segment: str = ""
    bound: dict[str, str] = field(default_factory=dict)
    mark: tuple[int, int] = (0, 0)
    bit: int = -1
    parented: bool = False


@dataclass(slots=True)
class Cultures:
    """Whether an order's results may have orders below them: microbiology, in a map that walks these (`OBX/OBX`)."""

    sections: Table | None
    walked: bool = False

    def __call__(self, section: str) -> bool:
        return self.walked and self.sections is not None and self.sections.value(section) == "MB"


class V2Session:
    """Path compiler of one mapping; afterwards it knows which rule reads what (`covers`) and how wide segments are."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._cultures = Cultures(tables.get("diagnostic_section"))
        self.covers: list[Cover] = []
        self.widths: dict[str, int] = {"OBX": 6, "NTE": 4}  # what reading itself looks at
        self._empty: dict[str, list[object]] = {}
        self._scopes: list[_Scope] = []
        self._levels = 0
        self._levels_read: dict[int, set[int]] = {}

    # ---- loops ----------------------------------------------------------------------------------
    def begin(self, emit: Emit) -> None:
        """The tree is cut into segments; `u` counts what was read."""
        emit.line(f"root.parse({emit.bind(self.widths, 'widths')}, {emit.bind(self._cultures, 'cultures')})")
        emit.line("u = root.used; notes = root.notes; children = root.children; place = root.place")
        emit.line("g0 = root.root; f0 = 0")
        self._scopes = [_Scope("root", "g0", 0, mark=emit.mark())]

    def finish(self, emit: Emit) -> None:
        """Marks of the message's own segments."""
        self._close(self._scopes[0], emit)
        for segment, empty in self._empty.items():
            # Fields of a segment that is not there: every one is empty, its line is the scratch line.
            empty[:] = [-1, *[""] * self.widths[segment]]

    def chain(self, each: tuple[str, ...]) -> tuple[str, ...]:
        """`OBX` → PID, OBR, OBX."""
        if not each:
            return ()
        if len(each) > 1:
            raise Slip("one segment name, or OBX/OBX", "只能写一个段名，或 OBX/OBX。")
        name = each[0]
        if name == "OBX/OBX":
            return ("PID", "OBR", "OBX", _CHILD, "OBX")
        if not _SEGMENT.fullmatch(name):
            raise Slip(f"{name!r} is no segment name", f"{name!r} 不是段名；段名是三位大写字母或数字，如 OBX、ZPV。")
        if name == "PID":
            return ("PID",)
        if name in ("OBR", "ORC"):
            return ("PID", "OBR")
        return ("PID", "OBR", name) if name == "OBX" or name in ORDER_SEGMENTS else ("PID", name)

    def enter(self, step: str, emit: Emit, bit: int = -1) -> None:
        """Open one loop."""
        self._levels += 1
        level, outer = self._levels, self._scopes[-1]
        if step == "PID":
            scope = _Scope("patient", f"g{level}", level)
            walk = "root.patients"
        elif step == "OBR":
            scope = _Scope("order", f"g{level}", level)
            walk = f"{self._nearest('patient').group}['orders']"
        elif step == _CHILD:
            scope = _Scope("order", f"g{level}", level, parented=True)
            self._cultures.walked = True
            walk = f"children.get({outer.group}[0], ()) if children else ()"
        else:
            scope = _Scope("segment", f"s{level}_{step}", level, segment=step)
            kind = "order" if step == "OBX" or step in ORDER_SEGMENTS else "patient"
            walk = f"{self._nearest(kind).group}.get({step!r}, ())"
        emit.line(f"for {scope.group} in {walk}:")
        emit.indent()
        scope.mark = emit.mark()
        scope.bit = bit
        self._scopes.append(scope)

    def leave(self, emit: Emit) -> None:
        """Close the innermost loop: its segments get their marks, the loop outside learns of them."""
        scope = self._scopes.pop()
        self._close(scope, emit)
        if self._scopes:
            emit.line(f"f{self._scopes[-1].level} |= f{scope.level}")
        emit.dedent()

    def _close(self, scope: _Scope, emit: Emit) -> None:
        level = f"f{scope.level}"
        if scope.kind == "segment":
            emit.line(f"u[{scope.group}[0]] |= {level}")
        for local in scope.bound.values():
            emit.line(f"u[{local}[0]] |= {level}")
        first = [f"{level} = {1 << scope.bit if scope.bit >= 0 else 0}"] if scope.kind != "root" else []
        emit.insert(scope.mark, first + [self._binding(scope, name, emit) for name in scope.bound])

    def _binding(self, scope: _Scope, name: str, emit: Emit) -> str:
        local, empty = scope.bound[name], emit.bind(self._empty.setdefault(name, []), "none")
        if name == "NTE":
            line = f"{scope.group}[0]" if scope.kind == "segment" else f"{self._head(scope)}"
            return f"{local} = notes.get({line}, {empty}) if notes else {empty}"
        return f"{local} = {scope.group}[{name!r}][0] if {name!r} in {scope.group} else {empty}"

    @staticmethod
    def _head(scope: _Scope) -> str:
        name = {"order": "OBR", "patient": "PID", "root": "MSH"}[scope.kind]
        return f"{scope.group}[{name!r}][0][0] if {name!r} in {scope.group} else -1"

    def _nearest(self, kind: str) -> _Scope:
        for scope in reversed(self._scopes):
            if scope.kind == kind:
                return scope
        raise Slip(f"there is no {kind} around this loop", f"这个循环外面没有 {kind}。")

    def fired(self, bit: int, emit: Emit) -> None:
        """The rule applies: what it reads of the present segments counts as used."""
        emit.line(f"f{self._scopes[-1].level} |= {1 << bit}")

    def taken(self, bit: int) -> list[str]:
        """Marks of the segments still open; loops that stood inside the part are marked already."""
        levels = {scope.level for scope in self._scopes} & self._levels_read.get(bit, set())
        return [f"f{level} = f{level} | {1 << bit}" for level in sorted(levels)]

    def recurring(self) -> str:
        """The fields of an OBX: results of a laboratory are many, and much alike."""
        scope = self._scopes[-1]
        return scope.group if scope.segment == "OBX" else ""

    # ---- paths ----------------------------------------------------------------------------------
    def access(
        self,
        path: str,
        bit: int,
        emit: Emit,
        *,
        whole: bool = False,
        repeats: bool = False,
        covers: tuple[int, ...] = (),
    ) -> Access:
        """One field or component from the nearest segment."""
        found = _PATH.fullmatch(path)
        if not found:
            raise _bad_form()
        parent, segment, number, repeat, component, sub = found.groups()
        position = int(number)
        whole = whole and component is None
        local, inner, level = self._local(segment, above=bool(parent))
        self._widen(segment, position)
        read = covers if whole else (int(component or 1),)
        if bit >= 0:
            repetition = 0 if whole and repeats and not repeat else int(repeat or 1)
            self.covers.append(Cover(bit, segment, position, repetition, read))
            self._levels_read.setdefault(bit, set()).add(level)
        code = f"{local}[{position}]"
        if repeat:
            code = f"{emit.bind(_Repetition(int(repeat)), 'rep')}({code})"
        suffix = f"-{position}" + (f"[{repeat}]" if repeat else "") + (f".{component}" if component else "")
        place = f"place({local}[0], {suffix!r}) if {local}[0] >= 0 else {segment + suffix!r}"
        prepare = None if whole else _component(int(component or 1), int(sub or 1))
        held = f"({code} not in {emit.bind(_NOTHING, 'nothing')})" if component is None else ""
        return Access(code, f"({place})", prepare, inner, held, first=component in (None, "1") and sub in (None, "1"))

    def _widen(self, segment: str, position: int) -> None:
        self.widths[segment] = max(self.widths.get(segment, 0), position + 1)

    def _local(self, segment: str, *, above: bool) -> tuple[str, bool, int]:
        """Local name of the nearest such segment, whether it is of the innermost loop, and its own level."""
        scopes = self._scopes
        if above:
            child = max((n for n, scope in enumerate(scopes) if scope.parented), default=None)
            if child is None:
                raise Slip("parent/ has a meaning only under each: OBX/OBX", "parent/ 只能用在 each: OBX/OBX 之下。")
            scopes = scopes[:child]
        for scope in reversed(scopes):
            inner = scope is self._scopes[-1]
            if scope.kind == "segment" and scope.segment == segment:
                return scope.group, inner, scope.level
            if segment == "NTE" or scope.kind == _kind_of(segment):
                return scope.bound.setdefault(segment, f"s{scope.level}_{segment}"), inner, scope.level
        text = f"{segment} is not within reach here; walk it with `each: {segment}` or `keep` its value"
        raise Slip(text, f"这里够不到 {segment}：用 each: {segment} 逐段取，或在前面的规则里 keep 它的值。")


def _bad_form() -> Slip:
    text = "not of the form SEG-field.component.subcomponent, SEG-field[repetition]"
    return Slip(text, "应写成 段-字段.成分.子成分（如 PID-5.1）或 段-字段[重复]（如 PID-3[2]）。")


def first_in(path: str) -> Callable[[Tree], str]:
    """Of a message: the first text at a path, whichever segment of that name holds it. ValueError for no path."""
    found = _PATH.fullmatch(path)
    if not found or found[1]:
        raise _bad_form()
    _, segment, field, repeat, component, sub = found.groups()
    head, at = f"\r{segment}|", int(field) - (segment in ("MSH", "FHS", "BHS"))
    pick, prepare = _Repetition(int(repeat or 1)), _component(int(component or 1), int(sub or 1))

    def first(tree: Tree) -> str:
        whole, begin = f"\r{tree.text}\r", 0
        while (begin := whole.find(head, begin)) >= 0:
            row = whole[begin + 1 : whole.index("\r", begin + 1)].split("|", at + 1)
            if at < len(row) and (text := prepare(pick(row[at]))):
                return text
            begin += 1
        return ""

    return first


def _kind_of(segment: str) -> str:
    if segment in ROOT_SEGMENTS:
        return "root"
    if segment == "OBX":
        return "segment"
    return "order" if segment in ORDER_SEGMENTS else "patient"


@dataclass(frozen=True, slots=True)
class _Repetition:
    """The n-th repetition of a field."""

    number: int

    def __call__(self, text: str) -> str:
        parts = text.split("~")
        return parts[self.number - 1] if self.number <= len(parts) else ""


@cache  # the same component is the same function, so that what is worked out of it is shared
def _component(component: int, subcomponent: int) -> Callable[[str], str]:
    if component == subcomponent == 1:
        return lambda text: text if text.isalnum() else part(text, 1)
    return lambda text: part(text, component, subcomponent)
