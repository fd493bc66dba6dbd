"""What a format brings: a reader, a path compiler, an account of what was not used.

`Session` is the path compiler of one mapping while it is compiled. `NodeFormat` is the ready-made base for
formats read as nodes (XML, CSV rows, JSON, DICOM): a subclass gives `read`, `nodes`, `getter`, `place` and
`unused`, and the language works. HL7 v2 writes its own code for speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..model.directory import Source
from ..model.message import RawMessage
from ..model.outcome import Finding, Unused
from .codes import Table

Prepare = Callable[[str], str]


@dataclass(slots=True)
class Document:
    """One message as read. `root` is what compiled code walks; `kind` picks the map (`serves`).

    facts: charset, version, trigger, … for the outcome.
    """

    kind: str
    root: Any
    facts: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """One path compiled: `code` gives the raw text ("" when absent), `place` its place, both Python expressions.

    prepare: from the raw text to plain text; it runs once a distinct value. None = raw is plain.
    first: a raw text of letters and digits alone is the plain text.
    held: Python expression that is true when the place holds anything, where that is cheaper than the text.
    inner: it reads the node of the innermost loop; False lets the compiler read it once, before that loop.
    """

    code: str
    place: str
    prepare: Prepare | None = None
    inner: bool = True
    held: str = ""
    first: bool = False


class Emit:
    """Lines of the function being written, and the objects its names stand for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {}
        self._depth = 1
        self._count = 0

    def line(self, text: str) -> None:
        """One line at the present depth."""
        self.lines.append("    " * self._depth + text)

    def mark(self) -> tuple[int, int]:
        """A point where `insert` may put lines later."""
        return len(self.lines), self._depth

    def insert(self, mark: tuple[int, int], texts: list[str]) -> None:
        """Lines at an earlier mark, at its depth."""
        at, depth = mark
        self.lines[at:at] = ["    " * depth + text for text in texts]

    def indent(self) -> None:
        """What follows stands inside."""
        self._depth += 1

    def dedent(self) -> None:
        """What follows stands outside again."""
        self._depth -= 1

    @contextmanager
    def aside(self) -> Iterator[list[str]]:
        """What is written inside goes to the list given, not into the function."""
        kept, self.lines = self.lines, []
        yield self.lines
        self.lines = kept

    def take(self, lines: list[str], outwards: int = 0) -> None:
        """Lines written aside, moved some levels outwards."""
        self.lines += [line[4 * outwards :] for line in lines]

    @property
    def depth(self) -> int:
        """Levels of indentation now."""
        return self._depth

    @contextmanager
    def inside(self, header: str) -> Iterator[None]:
        """The block under a header line."""
        self.line(header)
        self.indent()
        yield
        self.dedent()

    def bind(self, thing: object, hint: str) -> str:
        """A fresh global name for an object."""
        self._count += 1
        name = f"{hint}{self._count}"
        self.names[name] = thing
        return name

    def temp(self, hint: str = "v") -> str:
        """A fresh local name."""
        self._count += 1
        return f"{hint}{self._count}"


class Elements(Protocol):
    """What the R4 definitions say, where they are at hand."""

    def knows(self, path: str) -> bool:
        """True when R4 has this element: `Observation.referenceRange.low`, `Observation.valueQuantity`."""

    def names(self, path: str) -> list[str]:
        """The elements below a path, [] for an unknown one."""

    def types(self) -> frozenset[str]:
        """All resource types."""

    def needed(self, type_: str) -> list[str]:
        """The elements a resource cannot do without, a choice as `medication[x]`."""

    def many(self, path: str) -> bool | None:
        """Whether an element is a list, None when that is not known."""

    def kind(self, path: str) -> str:
        """The type of an element (`Reference`, `date`), "" when it is unknown or chosen by a function."""

    def codes(self, path: str) -> frozenset[str]:
        """All codes an element may have, empty where the list is open."""


class Session(Protocol):
    """Path compiler of one mapping. Raises ValueError for a path it cannot read; the caller adds file:line."""

    def begin(self, emit: Emit) -> None:
        """Lines at the top of the function; its arguments are `root` and `m`."""

    def finish(self, emit: Emit) -> None:
        """Lines at its end."""

    def chain(self, each: tuple[str, ...]) -> tuple[str, ...]:
        """The loops an `each` stands for, outermost first."""

    def enter(self, step: str, emit: Emit, bit: int = -1) -> None:
        """Open one loop inside the present one; `bit` is the rule it belongs to when it stands inside a rule."""

    def leave(self, emit: Emit) -> None:
        """Close the innermost loop."""

    def fired(self, bit: int, emit: Emit) -> None:
        """The rule numbered `bit` applies to the present nodes."""

    def taken(self, bit: int) -> list[str]:
        """Assignments that count what `bit`, a part of a rule, read of the present nodes as used."""

    def recurring(self) -> str:
        """Local name of the innermost node where such nodes are many and much alike; "" elsewhere."""

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
        """One path from the present node, read by rule `bit`; by a negative one it is read without being used."""


class Format(Protocol):
    """A format as the engine sees it."""

    name: str

    def read(self, raw: RawMessage, source: Source) -> Document:
        """Raises a TranslateError for bytes that are no such message."""

    def session(self, tables: Mapping[str, Table]) -> Session:
        """A path compiler for one mapping, with the code tables it may need to read a document."""

    def finder(self, path: str) -> Callable[[Any], str]:
        """Of a document's root: the first text at the path wherever it stands, without counting as read."""

    def ignorable(self, path: str) -> None:
        """Raises ValueError for what no field can be ignored by."""

    def unused(self, document: Document, session: Any, ignore: Mapping[str, str]) -> tuple[Unused, ...]:
        """Populated fields nobody read, after the mapping ran; `ignore` is path → reason."""


Getter = Callable[[Any, Any], str]  # (node, root) → text
Nodes = Callable[[Any, Any], Iterable[Any]]
Placer = Callable[[Any, Any], str]


class NodeSession:
    """Session over plain nodes: a loop variable `n<depth>`, a getter a path."""

    def __init__(self, paths: NodePaths) -> None:
        self._paths = paths
        self._depth = 0

    def begin(self, emit: Emit) -> None:
        emit.line("n0 = root")

    def finish(self, emit: Emit) -> None:
        pass

    def chain(self, each: tuple[str, ...]) -> tuple[str, ...]:
        return each

    def enter(self, step: str, emit: Emit, bit: int = -1) -> None:
        nodes = emit.bind(self._paths.nodes(step), "each")
        emit.line(f"for n{self._depth + 1} in {nodes}(n{self._depth}, root):")
        emit.indent()
        self._depth += 1

    def leave(self, emit: Emit) -> None:
        emit.line("pass")
        emit.dedent()
        self._depth -= 1

    def fired(self, bit: int, emit: Emit) -> None:
        pass

    def taken(self, bit: int) -> list[str]:
        return []

    def recurring(self) -> str:
        return ""

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
        getter = emit.bind(self._paths.getter(path), "get")
        placer = emit.bind(self._paths.place(path), "place")
        node = f"n{self._depth}, root"
        return Access(f"{getter}({node})", f"{placer}({node})")


class NodePaths(Protocol):
    """The three path compilers of a NodeFormat. A getter marks on the document what it read."""

    def nodes(self, path: str) -> Nodes:
        """What `each: path` walks."""

    def getter(self, path: str) -> Getter:
        """The text at a path, "" when absent."""

    def place(self, path: str) -> Placer:
        """Where a path points, for findings: `row 7, column 收缩压`."""


class NodeFormat:
    """Base of formats read as nodes. Subclasses give `name`, `read`, `nodes`, `getter`, `place`, `unused`."""

    name = ""

    def session(self, tables: Mapping[str, Table]) -> NodeSession:
        """A path compiler over this format's nodes."""
        return NodeSession(self)

    def read(self, raw: RawMessage, source: Source) -> Document:
        """See Format."""
        raise NotImplementedError

    def nodes(self, path: str) -> Nodes:
        """See NodePaths."""
        raise NotImplementedError

    def getter(self, path: str) -> Getter:
        """See NodePaths."""
        raise NotImplementedError

    def place(self, path: str) -> Placer:
        """See NodePaths."""
        raise NotImplementedError

    def finder(self, path: str) -> Callable[[Any], str]:
        """See Format."""
        raise NotImplementedError

    def ignorable(self, path: str) -> None:
        """Any name of a cell, or several with `*`."""

    def unused(self, document: Document, session: Any, ignore: Mapping[str, str]) -> tuple[Unused, ...]:
        """See Format."""
        raise NotImplementedError
