"""Expressions of mapping rules, written as straight-line Python: texts for ids and conditions, JSON for elements.

Every piece of JSON is Python bytes, b"" when there is nothing to say; an object whose sources are all
empty vanishes, constants alone never make one appear.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..model.resource import dumps
from .condition import Condition
from .constants import constant, nobody
from .element_check import check_element
from .formats import Access, Elements, Emit, Session
from .function_list import ALL_FUNCTIONS, loses
from .functions import Function, Setting, text
from .json_code import around, is_constant, literal
from .memo import Memo, Prepare, as_json, as_member, as_text, remembered
from .names import Names
from .reads import read_line
from .recurring import Row
from .strict_yaml import MARKERS, Yaml, nested
from .used import Used

_PLAIN = Function(text)
WHOLE = Function(text, whole=True)  # a whole field as it stands, for what must see `""`
_FROM_KEYS = frozenset({"from", "by", "when"})

Render = Callable[[Any], str] | Callable[[Any], bytes]
Wrap = Callable[[bytes], bytes]


class Expressions:
    """Writes expressions into an Emit. One a compiled map."""

    def __init__(self, emit: Emit, session: Session, setting: Setting, names: Names, elements: Elements | None) -> None:
        self.emit = emit
        self.session = session
        self.setting = setting
        self.names = names
        self.elements = elements
        self.used = Used(emit, session)
        self.traced = False
        self.before: list[list[str]] = []  # lines to stand before each open loop
        self.lifted_names: set[str] = set()
        self.row: Row | None = None  # gathers what the row of the present rule says by itself
        self.fresh = False  # the present text is a number that hardly comes twice
        self._inner = False
        self._memos: dict[tuple[object, ...], str] = {}
        self._plain: dict[tuple[str, str], str] = {}

    # ---- paths ----------------------------------------------------------------------------------
    def access(self, path: str, node: Yaml, function: Function | None = None) -> Access:
        """A path or `$kept` value."""
        if path.startswith("$"):
            if path[1:] not in (kept := self.names.kept):
                raise node.unknown(path[1:], kept, f"nothing is kept under {path}", f"前面没有 keep 过 {path}")
            return Access(self._local(kept[path[1:]]), repr(self.names.origins.get(path[1:], path)))
        about = function or _PLAIN
        try:
            found = self.session.access(
                path, self.used.bit, self.emit, whole=about.whole, repeats=about.repeats, covers=about.covers
            )
        except ValueError as error:
            raise node.slip(path, error) from error
        self._inner = self._inner or found.inner
        return found

    def _local(self, local: str) -> str:
        self._inner = self._inner or self.names.inner(local)
        return local

    def lifted(self, write: Callable[[], str]) -> tuple[str, bool]:
        """What `write` gives; when nothing in it changes inside the innermost loop, worked out before that loop."""
        if self.traced or not self.names.open:
            return write(), False
        outer, self._inner = self._inner, False
        with self.emit.aside() as lines:
            code = write()
        inner, self._inner = self._inner, outer or self._inner
        if inner:
            self.emit.take(lines)
            return code, False
        if is_constant(code) or code.startswith("'"):
            return code, False
        outwards = self.emit.depth - self._loop_depth
        out = self.emit.temp("h")
        with self.emit.aside() as moved:
            self.emit.take(lines, outwards)
        self.before[-1] += moved
        self.put_before(f"{out} = {code}")
        self.lifted_names.add(out)
        return out, True

    def put_before(self, line: str) -> None:
        """One line before the innermost loop."""
        self.before[-1].append("    " * self._loop_depth + line)

    @property
    def _loop_depth(self) -> int:
        """Indentation of the innermost loop's own line."""
        return 1 + len(self.names.open) - 1

    def plain(self, path: str, node: Yaml) -> str:
        """Code of the plain text at a path."""
        found = self.access(path, node)
        if found.prepare is None:
            return found.code
        known = self._plain.get((path, found.code))
        if known is None:
            known = self._plain[path, found.code] = self.emit.bind(Memo(found.prepare), "t")
        if self.row and (local := self.row.look_up(known, [found])):
            return local
        looked_up = f"{known}[{found.code}]"
        return f"({found.code} if {found.code}.isalnum() else {looked_up})" if self.fresh and found.first else looked_up

    def of_row(self, code: str) -> str:
        """The code, or the name of its value where the row alone tells it."""
        return self.row.value(code) if self.row and self.row.holds(code) else code

    def held(self, path: str, node: Yaml) -> str:
        """Code that is true when there is anything at a path."""
        with self.used.looking():
            return self.access(path, node).held or f"({self.plain(path, node)} != '')"

    def condition(self, node: Yaml) -> str:
        """Code of a `when`."""
        try:
            return Condition(
                node.text(), partial(self.plain, node=node), partial(self.held, node=node), self.emit.bind
            ).code()
        except ValueError as error:
            raise node.slip("when", error) from error

    # ---- texts ----------------------------------------------------------------------------------
    def text(self, node: Yaml) -> str:
        """Code of a plain text: a path, a constant (`const`), the first that is not empty, or a function's result."""
        if isinstance(node.value, str):
            return self.plain(node.value, node)
        if node.get("const"):
            return repr(node.fields(frozenset({"const"}))["const"].text())
        if node.get("first"):
            items = node.fields(frozenset({"first"}))["first"].items()
            parts = [self.text(items[0]), *map(self._alternative, items[1:])]
            return f"({' or '.join(parts)})"
        return self._told(self._conditional(node, lambda: self._call(node, as_text), "''"), node, "NotedText")

    def _alternative(self, node: Yaml) -> str:
        """Code of a text that counts as used where it is asked for; in a row, whose id is worked out early, always."""
        if self.session.recurring():
            with self.used.perhaps():
                return self.text(node)
        with self.used.branch() as taken:
            code = self.text(node)
        return f"({''.join(f'({one}) and ' for one in taken)}{code})".replace(" = ", " := ", len(taken))

    # ---- JSON -----------------------------------------------------------------------------------
    def json(self, node: Yaml, path: str) -> str:
        """Code (a name or a literal) of the JSON text of one element."""
        if isinstance(node.value, str):
            return self._constant(node)
        if isinstance(node.value, list):
            return self._list(node, path)
        markers = MARKERS & node.value.keys()
        if not markers:
            return self._object(node, path)
        if len(markers) > 1:
            both = ", ".join(sorted(markers))
            raise node.error(f"only one of {both} can stand here", f"{both} 只能写其中一个。")
        marker = next(iter(markers))
        write = {"from": self._from, "first": self._first, "ref": self._ref, "refs": self._refs}.get(marker)
        return write(node, path) if write else self._each(node, path)

    def _constant(self, node: Yaml) -> str:
        text = node.text()
        if text == "$subject" and "subject" not in self.names.born:
            raise nobody(node)
        if text in ("$subject", "$member"):
            return self._local({"$subject": "subject", "$member": "organization"}[text])
        if text in ("$true", "$false"):
            return repr(text[1:].encode())
        if text.startswith("$"):
            return repr(dumps(constant(text[1:], self.setting.member, node)))
        return repr(dumps(text))

    def _from(self, node: Yaml, path: str) -> str:
        return self._told(self._value(node), node)

    def _value(self, node: Yaml) -> str:
        return self._conditional(node, lambda: self.lifted(lambda: self._call(node, as_json))[0])

    def piece(self, name: str, node: Yaml, path: str) -> str:
        """Code of one member with its comma, `,"status":"final"`; "" when there is nothing to say."""
        self._check(f"{path}.{name}", node)
        leaf = self._single(node, f"{path}.{name}")
        if leaf is not None:
            source, wrap = leaf
            return self._told(self._call(source, as_member(name, wrap)), source)
        code = self.json(node, f"{path}.{name}")
        if is_constant(code):
            return repr(f',"{name}":'.encode() + literal(code))
        value = self.named(code)
        head = f',"{name}":'.encode()
        return (
            f"(b',' + {value}[1:-1] if {value} else b'')"
            if name.endswith("[x]")
            else f"({head!r} + {value} if {value} else b'')"
        )

    def _single(self, node: Yaml, path: str) -> tuple[Yaml, Wrap] | None:
        """The one `from` an element hangs on and what stands around its value; None when there are several.

        Then the whole element is remembered per value, and costs one look-up.
        """
        if isinstance(node.value, list):
            inner = self._single(node.value[0], path) if len(node.value) == 1 else None
            return (inner[0], partial(around, b"[", inner[1], b"]")) if inner else None
        if not isinstance(node.value, dict):
            return None
        if "from" in node.value:
            function = ALL_FUNCTIONS.get(node.word("by") or "text")
            plain = "when" not in node.value and function is not None and not function.time
            return (node, bytes) if plain else None
        return None if MARKERS & node.value.keys() else self._single_member(node, path)

    def _single_member(self, node: Yaml, path: str) -> tuple[Yaml, Wrap] | None:
        constant, found = b"", list[tuple[Yaml, Wrap]]()
        for name, child in nested(node).fields().items():
            if isinstance(child.value, str) and child.value not in ("$subject", "$member"):
                self._check(f"{path}.{name}", child)
                constant += f',"{name}":'.encode() + literal(self._constant(child))
                continue
            inner = self._single(child, f"{path}.{name}")
            if inner is None or found or name.endswith("[x]"):
                return None
            self._check(f"{path}.{name}", child)
            found.append((inner[0], partial(around, f'"{name}":'.encode(), inner[1], b"")))
        if not found:
            return None
        source, wrap = found[0]
        return source, partial(around, b"{", wrap, constant + b"}")

    def named(self, code: str) -> str:
        """A local name for a piece of code used more than once."""
        if code.isidentifier():
            return code
        out = self.emit.temp()
        self.emit.line(f"{out} = {code}")
        return out

    def _conditional(self, node: Yaml, write: Callable[[], str], empty: str = "b''") -> str:
        when = node.get("when")
        if when is None:
            return write()
        out = self.emit.temp()
        self.emit.line(f"{out} = {empty}")
        with self.emit.inside(f"if {self.condition(when)}:"), self.used.block(out):
            self.emit.line(f"{out} = {write()}")
        return out

    def _call(self, node: Yaml, render: Render) -> str:
        fields = node.fields()
        if "from" not in fields:
            raise node.error("this mapping needs `from`", "这里缺 from：写明取自哪个字段。")
        name = node.word("by") or "text"
        function = ALL_FUNCTIONS.get(name)
        if function is None:
            text = f"there is no function {name!r}, see /docs/mapping"
            raise fields["by"].unknown(name, ALL_FUNCTIONS, text, f"没有函数 {name!r}，全部函数见手册 /docs/mapping")
        node.fields(_FROM_KEYS | set(function.inputs) | set(function.options))
        options = {key: self._option(key, fields[key]) for key in function.options if key in fields}
        inputs = [self.access(fields["from"].text(), fields["from"], function)]
        given = list(function.inputs)
        while given and given[-1] not in fields:
            given.pop()
        for key in given:
            inputs.append(self._input(fields.get(key), function))
        memo = self._memo(name, function, options, inputs, render)
        if self.traced:
            read = dict(zip(("from", *given), inputs, strict=True))
            self.emit.line(read_line(node, function, self.setting, options, read, self.names))
        return self._look_up(memo, inputs, function, render, notes=function.may_note(options))

    def _input(self, node: Yaml | None, function: Function) -> Access:
        if node is None:
            return Access("''", "''")
        return self.access(node.text(), node, Function(function.make, whole=function.whole))

    def _option(self, key: str, node: Yaml) -> str:
        value = node.text()
        if value.startswith("$"):
            return str(constant(value[1:], self.setting.member, node))
        if key == "table" and value not in self.setting.tables:
            text = f"there is no table {value!r} (codes/{value}.csv)"
            raise node.unknown(value, self.setting.tables, text, f"没有码表 {value!r}（codes/{value}.csv）")
        return value

    def _memo(
        self, name: str, function: Function, options: dict[str, str], inputs: list[Access], render: Render
    ) -> str:
        """Name of the memo of a function; the same function of the same components is worked out once for all rules."""
        prepares: list[Prepare] = [found.prepare for found in inputs]
        key = (name, tuple(options.items()), tuple(prepares), render)
        if key not in self._memos:
            call = function.make(self.setting, options)
            self._memos[key] = self.emit.bind(remembered(call, prepares, render), "k")
        return self._memos[key]

    def _look_up(self, memo: str, inputs: list[Access], function: Function, render: Render, *, notes: bool) -> str:
        emit = self.emit
        code = f"{memo}[{', '.join(found.code for found in inputs)}]"
        timed = function.time and render is as_json
        if self.row and not (timed or self.used.unsure):
            code = self.row.look_up(memo, inputs, function.measured) or code
        if not notes and not timed and not self.traced:
            return code
        out = self.named(code)
        if notes:
            self._inner = True  # a remark belongs to the rule that reads, once each time it applies
            noted = "NotedText" if render is as_text else "NotedJson"
            with emit.inside(f"if {out}.__class__ is {noted}:"):
                others = "".join(f", {key}={at.place}" for key, at in zip(function.inputs, inputs[1:], strict=False))
                emit.line(f"m.note({out}, {inputs[0].place}{others})")
        if timed:
            with emit.inside(f"if {out} > limit:"):
                emit.line(f"m.future({out}, {inputs[0].place})")
        return out

    def _first(self, node: Yaml, path: str) -> str:
        items = node.fields(frozenset({"first", "when"}))["first"].items()
        return self._conditional(node, lambda: self._fallbacks(items, path))

    def _fallbacks(self, items: list[Yaml], path: str) -> str:
        """The first alternative that gives a value; only where none does, what each had to lose is told."""
        out, asked = self.emit.temp(), list[tuple[str, Yaml]]()

        def written(item: Yaml) -> str:
            code = self.named(self._value(item)) if loses(item) else self.json(item, path)
            asked.append((code, item))
            return code

        self.emit.line(f"{out} = {written(items[0])}")
        for item in items[1:]:
            with self.emit.inside(f"if not {out}:"), self.used.block(out):
                self.emit.line(f"{out} = {written(item)}")
        if any(loses(item) for item in items):
            with self.emit.inside(f"if not {out}:"):
                for code, item in asked:
                    self._told(code, item)
        return out

    def _told(self, code: str, node: Yaml, noted: str = "NotedJson") -> str:
        """The code, under a name where its function may lose what the field says, which is told then."""
        if not loses(node):
            return code
        with self.used.looking():
            out, place = self.named(code), self.access(node.word("from"), node).place
        with self.emit.inside(f"if {out}.__class__ is {noted}:"):
            self.emit.line(f"m.lost({out}, {place})")
        return out

    def _list(self, node: Yaml, path: str) -> str:
        codes = [self._entry(item, path) for item in node.items()]
        if not codes:
            return "b''"
        if all(map(is_constant, codes)):
            # A list of constants is one itself, so that it cannot make an object appear.
            return repr(b"[" + b",".join(filter(None, map(literal, codes))) + b"]")
        out = self.emit.temp("l")
        if len(codes) == 1:
            value = self.named(codes[0])
            self.emit.line(f"{out} = b'[' + {value} + b']' if {value} else b''")
            return out
        self.emit.line(f"{out} = b','.join(filter(None, ({', '.join(codes)})))")
        self.emit.line(f"if {out}: {out} = b'[' + {out} + b']'")
        return out

    def _entry(self, item: Yaml, path: str) -> str:
        """One entry of a list; an entry that is a list itself (`each`, `refs`) gives its own entries."""
        code = self.json(item, path)
        if not isinstance(item.value, dict) or not {"each", "refs"} & item.value.keys():
            return code
        return f"{self.named(code)}[1:-1]"

    def _each(self, node: Yaml, path: str) -> str:
        fields = node.fields(frozenset({"each", "set", "when"}))
        out = self.emit.temp("l")
        if "set" not in fields:
            raise node.error("each needs `set`", "each 之下缺 set：写明每一项产生什么。")

        def write() -> str:
            self._inner = True
            self.emit.line(f"{out}_ = []; {out}n = 0")
            steps = tuple(step.text() for step in fields["each"].items())
            for step in steps:
                self._enter(step, fields["each"])
            self.emit.line(f"{out}n += 1")
            with self.used.perhaps():
                made = self.named(self.json(fields["set"], path))
            self.emit.line(f"if {made}: {out}_.append({made})")
            for _ in steps:
                self.session.leave(self.emit)
            self.emit.line(f"if {out}n > 24: m.walked({out}n)")
            self.emit.line(f"{out} = b'[' + b','.join({out}_) + b']' if {out}_ else b''")
            return out

        return self._conditional(node, write)

    def _enter(self, step: str, node: Yaml) -> None:
        try:
            self.session.enter(step, self.emit, self.used.bit)
        except ValueError as error:
            raise node.slip("each", error) from error

    # ---- references -----------------------------------------------------------------------------
    def _ref(self, node: Yaml, path: str) -> str:
        node.fields(frozenset({"ref", "id", "global_id", "when"}))
        name = node.word("ref")
        if node.get("id") or node.get("global_id"):
            return self._conditional(node, lambda: self._computed(node, name))
        if name not in self.names.made:
            text = f"no rule {name!r} makes a resource before this one"
            raise node.unknown(name, self.names.made, text, f"这条规则之前没有规则 {name!r} 产生资源")
        return self._conditional(node, lambda: self._to_made(name))

    def _to_made(self, name: str) -> str:
        out, made = self.emit.temp(), self._local(self.names.made[name])
        head = f'{{"reference":"{self.names.types[name]}/'.encode()
        self.emit.line(f"{out} = {head!r} + {made} + b'\"}}' if {made} else b''")
        return out

    def _computed(self, node: Yaml, type_: str) -> str:
        parts = [self.text(item) for item in (node.get("id") or node.get("global_id") or node).items()]
        first, out = self.emit.temp(), self.emit.temp()
        self.emit.line(f"{first} = {parts[0]}")
        head = f'{{"reference":"{type_}/'.encode()
        made = self.identity(type_, [first, *parts[1:]], member=bool(node.get("id")))
        self.emit.line(f"{out} = {head!r} + {made}.encode() + b'\"}}' if {first} else b''")
        return out

    def _refs(self, node: Yaml, path: str) -> str:
        names = node.fields(frozenset({"refs", "when"}))["refs"].items()
        for item in names:
            if item.text() not in self.names.lists:
                text, name = f"no rule {item.text()!r} makes resources before this one", item.text()
                raise item.unknown(name, self.names.lists, text, f"这条规则之前没有规则 {name!r} 产生资源")
        parts = [self._references(item.text()) for item in names]
        found = self.emit.temp()
        joined = parts[0] if len(parts) == 1 else f"b','.join(filter(None, ({', '.join(parts)})))"
        self.emit.line(f"{found} = {joined}")
        self.emit.line(f"if len({found}) > 1_700: m.walked(len({found}) // 70)")  # bytes of a reference
        return self._conditional(node, lambda: f"(b'[' + {found} + b']' if {found} else b'')")

    def _references(self, name: str) -> str:
        """Code of the references to everything a rule made, with commas between."""
        ids, between = self._local(self.names.lists[name]), f'"}},{{"reference":"{self.names.types[name]}/'.encode()
        return f"({between[3:]!r} + {between!r}.join({ids}) + b'\"}}' if {ids} else b'')"

    @staticmethod
    def identity(type_: str, parts: list[str], *, member: bool) -> str:
        """Code of an id; with `member` the ids of two members never meet."""
        return f"of({Expressions.arguments(type_, parts, member=member)})"

    @staticmethod
    def arguments(type_: str, parts: list[str], *, member: bool) -> str:
        """What an id is made of, as arguments of a call."""
        return f"{type_!r}, {'member, ' if member else ''}{', '.join(parts)}"

    # ---- objects --------------------------------------------------------------------------------
    def members(self, node: Yaml, path: str) -> tuple[bytes, list[str]]:
        """Members of an object: the constant ones as JSON (`,"a":1,…`), code of the others."""
        constant = b""
        found: list[str] = []
        for name, child in nested(node).fields().items():
            code = self.piece(name, child, path)
            if is_constant(code):
                constant += literal(code)
            else:
                found.append(code)
        return constant, found

    def _check(self, path: str, node: Yaml) -> None:
        if self.elements is not None:
            check_element(self.elements, path, node, self.setting.tables)

    def _object(self, node: Yaml, path: str) -> str:
        constant, found = self.members(node, path)
        if not found:
            return repr(b"{" + constant[1:] + b"}") if constant else "b''"
        out = self.emit.temp("o")
        self.emit.line(f"{out} = {' + '.join(found)}")
        head = b"{" + constant[1:]
        body = out if constant else f"{out}[1:]"
        self.emit.line(f"if {out}: {out} = {head!r} + {body} + b'}}'")
        return out
