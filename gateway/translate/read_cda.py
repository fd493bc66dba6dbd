"""A CDA document as rows of named cells, so that a mapping names a data element and never a nesting.

The header and single facts are one row; items, drugs, orders, diagnoses, procedures and sections are tables
(`cda_tables`). A cell is named by its data-element code (`DE04.30.015`; `@unit`, `@time`, `/low` behind it) or,
in the header, by its path (`recordTarget/patientRole/id[1.33]`, the root without its national prefix). Every
populated leaf becomes a cell; only what the CDA schema fixes (class, mood and type codes, code systems,
flavours of null) does not. What is denied (`negationInd`) is no fact: its cells stand below `negated`.
Source: HL7 CDA R2; WS/T 500-2016; china-standards §4.3, §4.4, §7.4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from ..errors import BadXml
from ..model import xml
from ..model.directory import Source
from ..model.message import RawMessage
from ..model.outcome import Finding
from ..model.xml import Node
from .cda_tables import BESIDE_DRUG, BESIDE_ORDER, ORDER_CLASS, ROW_ELEMENTS, ROW_OF, data_element, document_kind
from .cda_values import interval, lacking, prose
from .charset import fold
from .formats import Document, Getter
from .rows import Row, RowFormat

_NATIONAL = re.compile(r"^2?\.?0?16\.156\.10011\.")
_FULL_CODE = re.compile(r"(DE\d\d\.\d\d\.\d{3})\.00")
_WRAPPERS = frozenset({"entry", "entryRelationship", "entryReationship", "component"})
_STATEMENTS = frozenset({"observation", "organizer", "act", "encounter", "supply", "observationMedia"})
_SPECIMEN_COLLECTION = frozenset({"SPECCOLL", "SAS"})
_LABEL = "consumable/manufacturedProduct/manufacturedLabeledDrug"
_SHARED = ("DE06.00.294", "DE06.00.179")
_DONE = frozenset({"", "completed", "normal"})  # status codes that say no more than that it is told


@dataclass(frozen=True, slots=True)
class CdaDocument:
    """One document. kind: `C0007`, "" when unknown. Tables of `row`: items, drugs, orders, …, sections."""

    kind: str
    row: Row
    charset: str
    declared: str
    findings: tuple[Finding, ...] = ()


@dataclass(slots=True)
class _Scope:
    """Where facts go now: open rows by table, the row of the statement around, the panel around an item.

    told: elements the open rows have, also those without a value: what follows them belongs to the next row.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    inside: Row | None = None
    panel: Node | None = None
    told: dict[str, set[str]] = field(default_factory=dict)

    def within(self, row: Row) -> _Scope:
        """The scope of what stands in a statement of this one."""
        return _Scope(self.rows, row, self.panel, self.told)


def read(body: bytes) -> CdaDocument:
    """The document in `body`, also wrapped in SOAP as XML or as text. Raises BadXml, WrongCharset, TooLarge."""
    parsed = xml.parse(body)
    root = _clinical_document(xml.nodes(parsed))
    walk = _Walk()
    walk.header(root)
    for section in _sections(root):
        walk.section(section)
    cells = walk.document.cells
    kind = document_kind(cells.get("code", ""), cells.get("title", ""), cells.get("templateId", ""))
    return CdaDocument(kind, walk.document, parsed.charset, parsed.declared, parsed.findings)


class CdaFormat(RowFormat):
    """CDA to the engine: the kind is the document's code, `C0007`."""

    name = "cda"

    def getter(self, path: str) -> Getter:
        """A cell; `DE04.30.015.00` is written for `DE04.30.015` as often as not."""
        return super().getter(_FULL_CODE.sub(r"\1", path))

    def read(self, raw: RawMessage, source: Source) -> Document:
        """The document as rows. Raises BadXml, WrongCharset, TooLarge."""
        found = read(raw.body)
        _name_the_document(found, raw)
        facts = {"charset": found.charset, "declared": found.declared}
        return Document(found.kind, found.row, facts, found.findings)


def _name_the_document(found: CdaDocument, raw: RawMessage) -> None:
    """Cells `document.id`, `document.kind`, `document.original`, whatever root the id has and where the kind stood."""
    row = found.row
    number = next((name for name in row.cells if name == "id" or name.startswith("id[")), "")
    if number:
        row.used.add(number)
        row.make("document.id", row.cells[number])
    row.make("document.kind", found.kind)
    row.make("document.original", f"Binary/{raw.key}")
    row.used.update({"code", "templateId"} & row.cells.keys())


def _clinical_document(root: Node) -> Node:
    if root.name == "ClinicalDocument":
        return root
    for node in root.walk():
        if node.name == "ClinicalDocument":
            return node
        text = node.text.strip()
        if text.startswith("<") and "ClinicalDocument" in text:
            return _clinical_document(xml.nodes(xml.parse(text.encode())))
    raise BadXml(f"line {root.line}", "no ClinicalDocument", detail_zh="没有 ClinicalDocument 元素。")


def _sections(root: Node) -> list[Node]:
    """Every section at any depth, whether or not a structuredBody stands around it."""
    found: list[Node] = []
    for child in root.children:
        if child.name == "section":
            found.append(child)
        if child.name in ("component", "structuredBody", "section"):
            found += _sections(child)
    return found


def _code_of(node: Node) -> str:
    code = node.child("code")
    return code.attrs.get("code", "").strip() if code is not None else ""


@lru_cache(1024)
def root_name(root: str) -> str:
    """`1.33` for a root below 2.16.156.10011, also misspelt `2016.156.10011`; other roots as they are."""
    return _NATIONAL.sub("", root.strip())


class _Walk:
    """One pass over a document, filling rows in document order."""

    __slots__ = ("_lines", "_named", "_order_class", "document")

    def __init__(self) -> None:
        self.document = Row()
        self._lines: list[tuple[str, str]] = []
        self._named: dict[
            str, dict[tuple[tuple[str, str], ...], int]
        ] = {}  # code of an item → its results → their number
        self._order_class: Node | None = None

    def header(self, root: Node) -> None:
        """Everything but the sections into the document row; also a body that is no XML."""
        for child, name in _named(root):
            if child.name != "component":
                _cells(child, name, self.document)
            elif (body := child.child("nonXMLBody")) is not None:
                _cells(body, "nonXMLBody", self.document)

    def section(self, section: Node) -> None:
        """Its facts into rows, and itself into the table of sections, with a narrative made where none was sent."""
        self._lines, self._order_class = [], None
        row, scope = self.document.new_row("sections"), _Scope()
        before = {table: len(rows) for table, rows in self.document.tables.items()}
        for child, name in _named(section):
            if child.name == "entry":
                self._statements(child, scope)
            elif child.name == "text":
                _put(row, "narrative", prose(child), child)
            elif child.name != "component":
                _cells(child, name, row)
        made = {table: _populated(rows, before.get(table, 0)) for table, rows in self.document.tables.items()}
        _share(made.get("drugs", []))
        for item in made.get("items", ()):
            _settle(item)
            self._name(item, item.cells.get("DE04.30.019") or item.cells.get("code", ""))
        for drug in made.get("drugs", ()):
            self._name(drug, drug.cells.get(f"{_LABEL}/code") or drug.cells.get(f"{_LABEL}/name", ""))
        label = row.cells.get("code") or row.cells.get("title", "")
        for diagnosis in made.get("diagnoses", ()):
            diagnosis.make("section", label)
        sent = row.cells.get("narrative", "")
        if sent:
            row.cells["narrative"] = "\n".join([sent, *lacking(sent, self._lines)])
        else:
            row.make("narrative", "\n".join("：".join(filter(None, line)) for line in self._lines))

    def _name(self, item: Row, code: str) -> None:
        """Cell `item`: its code, told apart from others of it: results of a tolerance test, doses of a day."""
        others = self._named.setdefault(code, {})
        number = others.setdefault(tuple(item.cells.items()), len(others) + 1)
        item.make("item", code if number == 1 or not code else f"{code}#{number}")

    def _statements(self, wrapper: Node, scope: _Scope) -> None:
        for child in wrapper.children:
            name = child.name
            if child.attrs.get("negationInd") == "true":
                self._denied(child, scope.inside or self.document)
            elif name == "observation":
                self._observation(child, scope)
            elif name == "organizer":
                self._organizer(child, scope)
            elif name in ROW_ELEMENTS:
                self._row_element(child, ROW_ELEMENTS[name], scope)
            elif name != "section" and not (name == "sequenceNumber" and scope.panel is not None):
                _cells(child, _statement_name(child), scope.inside or self.document)

    def _observation(self, observation: Node, scope: _Scope) -> None:
        code = observation.child("code")
        spelt = code.attrs.get("code", "").strip() if code is not None else ""
        element = data_element(spelt)
        if not element and scope.panel is not None:
            self._panel_item(observation, scope.panel)
            return
        row = self._row_for(element, scope) if element else scope.inside or self.document
        if element == ORDER_CLASS and scope.inside is None:
            self._order_class = observation.child("value")
        name = element or (f"observation[{spelt}]" if spelt else "observation")
        for child in observation.children:
            part = child.name
            if part == "value":
                _cells(child, name, row)
                _interval_of(child, name, row)
                label = (code.attrs.get("displayName") if code is not None else "") or name
                self._lines.append((label, _shown(child)))
            elif part == "effectiveTime":
                _cells(child, f"{name}@time", row)
            elif part in _WRAPPERS:
                self._statements(child, scope.within(row))
            elif part == "code":
                for original in child.children:
                    _cells(original, f"{name}@{original.name}", row)
            elif part == "statusCode":
                _status(child, row, "" if element in ROW_OF else name)
            else:
                _cells(child, f"{name}/{part}", row)

    def _denied(self, node: Node, row: Row) -> None:
        """What a statement with negationInd says: not a fact of any table, but told, in the narrative too."""
        statement = Row()
        _cells(node, f"negated/{_statement_name(node)}", statement)
        for name, text in statement.cells.items():
            row.add(name, text, statement.lines.get(name, 0))
        code = node.child("code")
        label = code.attrs.get("displayName", "") if code is not None else ""
        shown = (text for name, text in statement.cells.items() if not name.endswith(("Code", "/code")))
        self._lines.append((label or _statement_name(node), f"（否定）{' '.join(shown)}"))

    def _row_for(self, element: str, scope: _Scope) -> Row:
        table = ROW_OF.get(element)
        if table is None:
            if element in BESIDE_DRUG and "drugs" in scope.rows:
                return scope.rows["drugs"]
            if element in BESIDE_ORDER and "orders" in scope.rows:
                return scope.rows["orders"]
            return scope.inside or self.document
        row, told = scope.rows.get(table), scope.told.setdefault(table, set())
        if row is None or element in told:
            row = scope.rows[table] = self.document.new_row(table)
            told.clear()
            if table == "orders" and self._order_class is not None:
                _repeat(self._order_class, ORDER_CLASS, row)
        told.add(element)
        return row

    def _organizer(self, organizer: Node, scope: _Scope) -> None:
        is_panel = organizer.attrs.get("classCode") == "BATTERY" and _code_of(organizer) != ""
        inner = _Scope({}, scope.inside, organizer if is_panel else None)
        before = {table: len(rows) for table, rows in self.document.tables.items()}
        for child in organizer.children:
            if child.name in _WRAPPERS:
                self._statements(child, inner)
            elif child.name not in ("statusCode", "code"):
                _cells(child, f"organizer/{child.name}", scope.inside or self.document)
        status = organizer.child("statusCode")
        if status is not None:
            for table, rows in self.document.tables.items():
                for row in rows[before.get(table, 0) :]:
                    _status(status, row, "")

    def _panel_item(self, observation: Node, panel: Node) -> None:
        """The vendors' laboratory item: its own code instead of data elements, one row an observation."""
        row = self.document.new_row("items")
        title = panel.child("code")
        if title is not None:
            _cells(title, "panel", row)
        for child, name in _named(observation):
            if child.name in _WRAPPERS:
                for inner in child.children:
                    _cells(inner, _statement_name(inner), row)
            elif child.name == "statusCode":
                _status(child, row, "")
            else:
                _cells(child, name, row)
                _interval_of(child, name, row)
        value = observation.child("value")
        label = row.cells.get("code@displayName") or row.cells.get("code", "")
        self._lines.append((label, _shown(value) if value is not None else ""))

    def _row_element(self, node: Node, table: str, scope: _Scope) -> None:
        if table == "procedures" and _code_of(node) in _SPECIMEN_COLLECTION:
            for child, name in _named(node):
                if child.name != "code":
                    _cells(child, f"specimen/{name}", self.document)
            return
        row = scope.rows[table] = self.document.new_row(table)
        for child, name in _named(node):
            if child.name in _WRAPPERS:
                self._statements(child, _Scope(scope.rows, row))
            elif child.name == "statusCode":
                _status(child, row, "")
            else:
                _cells(child, name, row)
        shown = (cell for name, cell in row.cells.items() if not name.endswith(("Code", "/code")))
        self._lines.append((" ".join(shown), ""))


def _populated(rows: list[Row], since: int) -> list[Row]:
    """The rows from a number on; those nothing was said in are taken away."""
    rows[since:] = [row for row in rows[since:] if row.cells or row.tables]
    return rows[since:]


def _share(drugs: list[Row]) -> None:
    """有效天数 or a remark standing once, behind the last drug of a prescription, is that of the prescription."""
    for element in _SHARED if len(drugs) > 1 else ():
        if not any(element in drug.cells for drug in drugs[:-1]):
            for name in [name for name in drugs[-1].cells if name.startswith(element)]:
                for drug in drugs[:-1]:
                    drug.make(name, drugs[-1].cells[name])


def _status(node: Node, row: Row, name: str) -> None:
    """Cell `statusCode` of a row, or `name@status`, where it says more than that the fact is told."""
    status, cell = node.attrs.get("code", "").strip(), f"{name}@status" if name else "statusCode"
    if status not in _DONE and cell not in row.cells:
        _put(row, cell, status, node)


def _interval_of(node: Node, name: str, row: Row) -> None:
    """The interval a value or a reference range is, as the laboratory would print it, where no text does."""
    if node.name == "referenceRange":
        found = node.child("observationRange")
        value = found.child("value") if found is not None else None
        cell, at = f"{name}/text", f"{name}/value"
    else:
        value, cell, at = (node if node.name == "value" else None), name, name
    text, unit = interval(value) if value is not None else ("", "")
    if not text or cell in row.cells:
        return
    other = cell != name and unit != row.cells.get("value@unit", unit)  # bounds that are not to be read in the unit
    row.make(cell, f"{text} {unit}" if other else text)
    row.lines[cell] = node.line
    row.used.update(one for one in row.cells if one.startswith((f"{at}/low", f"{at}/high")))
    if cell == name:
        row.make(f"{name}@unit", unit)


def _settle(item: Row) -> None:
    """A laboratory item with its unit and its result as they are to be read.

    A unit beside the number (PQ) is the unit where no element of its own tells it; of a coded result (CD) the name
    counts, its code is none of ours to number.
    """
    cells, used = item.cells, item.used
    beside = cells.get("DE04.30.015@unit")
    if beside and "DE04.30.016" not in cells:
        item.make("DE04.30.016", beside)
    if beside and cells["DE04.30.016"] == beside:
        used.add("DE04.30.015@unit")
    for name in ("value", "DE04.30.015"):
        shown = cells.pop(f"{name}@displayName", "")
        if shown:
            cells[f"{name}@code"], cells[name] = cells[name], shown


def _repeat(value: Node, name: str, row: Row) -> None:
    """What stands once before several rows, in each of them."""
    said = Row()
    _cells(value, name, said)
    for cell, text in said.cells.items():
        row.make(cell, text)


def _statement_name(node: Node) -> str:
    code = _code_of(node) if node.name in _STATEMENTS else ""
    return f"{node.name}[{code}]" if code else node.name


def _named(parent: Node) -> list[tuple[Node, str]]:
    """Children with their names in a cell's path: repeats numbered, participants and ranges named by their kind."""
    out: list[tuple[Node, str]] = []
    seen: dict[str, int] = {}
    for child in parent.children:
        name = child.name
        if name in ("participant", "relatedDocument"):
            name = f"{name}[{child.attrs.get('typeCode', '')}]"
        elif name == "referenceRange":
            found = child.child("observationRange")
            name = f"range[{(_code_of(found) if found is not None else '') or '01'}]"
        elif name in ("id", "templateId"):
            out.append((child, name))
            continue
        count = seen[name] = seen.get(name, 0) + 1
        out.append((child, name if count == 1 else f"{name}[{count}]"))
    return out


def _cells(node: Node, path: str, row: Row) -> None:
    """All populated leaves at and below a node, named by their path."""
    if node.attrs:
        _attribute_cells(node, path, row)
    children = node.children
    if not children:
        if node.text:
            _put(row, path, node.text, node)
        return
    if node.name == "name":
        _put(row, path, node.all_text(), node)
        return
    if node.text and not node.text.isspace():
        _put(row, path, node.text, node)
    if len(children) == 1 and children[0].name not in ("participant", "relatedDocument", "referenceRange"):
        named = [(children[0], children[0].name)]
    else:
        named = _named(node)
    for child, name in named:
        if child.name == "observationRange":
            for inner, inner_name in _named(child):
                if inner.name != "code":
                    _cells(inner, f"{path}/{inner_name}", row)
        elif child.name in _WRAPPERS:
            for inner in child.children:
                _cells(inner, f"{path}/{_statement_name(inner)}", row)
        elif not (child.name == "code" and path.endswith("]") and node.name in _STATEMENTS):
            _cells(child, f"{path}/{name}", row)


def _attribute_cells(node: Node, path: str, row: Row) -> None:
    attrs = node.attrs
    extension, root = attrs.get("extension"), attrs.get("root")
    if extension:
        _put(row, f"{path}[{root_name(root)}]" if root else path, extension, node)
    elif root and (path == "templateId" or len(root) == 36):
        _put(row, path, root, node)
    value = attrs.get("value")
    if value:
        _put(row, path, value, node)
    code, display = attrs.get("code"), attrs.get("displayName")
    if code:
        _put(row, path if value is None else f"{path}@code", code, node)
    if display:
        _put(row, f"{path}@displayName" if code else path, display, node)
    unit = attrs.get("unit") or attrs.get("currency")
    if unit:
        _put(row, f"{path}@unit", unit, node)


def _put(row: Row, name: str, text: str, node: Node) -> None:
    text = text.strip()
    if text:
        row.add(name, text if text.isascii() else fold(text), node.line)


def _shown(value: Node) -> str:
    attrs = value.attrs
    text = attrs.get("displayName") or attrs.get("value") or attrs.get("code") or " ".join(interval(value)).strip()
    text = text or value.all_text()
    return f"{text} {attrs.get('unit', '')}".strip()
