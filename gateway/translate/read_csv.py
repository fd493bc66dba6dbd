"""A CSV file of an old HIS as rows: one file is one message, each row makes its own resources.

A row with another number of columns than the header is left out with an error of its own, and the others go
on. Cells lose the padding of char(n) columns; everything else stays as sent. Source: RFC 4180;
china-standards §7.3.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping

from ..errors import ShiftedColumns, TranslateError
from ..model.directory import Source
from ..model.message import RawMessage
from ..model.outcome import Finding
from .charset import decode
from .codes import key_of
from .formats import Document
from .rows import Part, Row, RowFormat

MAX_CELL = 1 << 20
_KIND = "kind."
_GATHER = "gather."
_DELIMITERS = ",\t|;"
_PADDING = " \t\u3000\xa0\0"

_SIGNATURES = {
    "visits": "就诊流水号 就诊日期",
    "prescriptions": "处方号 药品名称",
    "labs": "检验单号 项目名称 结果",
}
"""Columns that tell what a file holds, where the source does not say (`settings: kind.<name>: columns`)."""


_GATHERED = {"labs": "检验单号"}
"""Column whose equal values make one report, where the source does not say (`settings: gather.<name>: column`)."""


class CsvFormat(RowFormat):
    """CSV to the engine: the kind is chosen by the header, the rows are the table `rows`."""

    name = "csv"

    def read(self, raw: RawMessage, source: Source) -> Document:
        """The file as rows. Raises WrongCharset, and TranslateError for a file without a header."""
        text = decode(raw.body, configured=source.charset)
        root, findings, header = read_rows(text.text)
        if header and len(findings) and not root.tables.get("rows"):
            raise ShiftedColumns(findings[0].place, "no row fits the header", detail_zh="没有一行与表头相符。")
        kind = kind_of(header, source.settings)
        gather(root, source.settings.get(f"{_GATHER}{kind}", _GATHERED.get(kind, "")))
        return Document(kind, root, {"charset": text.charset, "header": ",".join(header)}, tuple(findings))

    def parts(self, document: Document) -> list[Part]:
        """Each row, or each gathered report, by itself."""
        out: list[Part] = []
        for name, rows in document.root.tables.items():
            for row in rows:
                alone = Row()
                alone.tables[name] = [row]
                out.append(Part(alone, rows))
        return out

    def place_of(self, row: Row, name: str) -> str:
        """`row 7, column 收缩压`."""
        return f"{row.label}, column {name}"


def csv_kinds(sources: Iterable[Source]) -> set[str]:
    """Every kind a file of these sources may be of."""
    own = {key.removeprefix(_KIND) for one in sources for key in one.settings if key.startswith(_KIND)}
    return own | _SIGNATURES.keys()


def kind_of(header: list[str], settings: Mapping[str, str]) -> str:
    """The first kind all of whose columns the header has; "" when none fits."""
    own = {key.removeprefix(_KIND): value for key, value in settings.items() if key.startswith(_KIND)}
    have = {key_of(name) for name in header}
    for kind, columns in (own or _SIGNATURES).items():
        if {key_of(name) for name in columns.split()} <= have:
            return kind
    return ""


def read_rows(text: str) -> tuple[Row, list[Finding], list[str]]:
    """(root with table `rows`, a finding for each row left out, header); rows are numbered as a spreadsheet does."""
    lines = _lines(text)
    try:
        _, header = next(lines)
    except StopIteration:
        raise TranslateError("row 1", "no header", detail_zh="文件没有表头。") from None
    header = [name.strip(_PADDING + "\ufeff") for name in header]
    root, findings = Row(), []
    rows = root.tables["rows"] = []
    for number, cells in lines:
        if len(cells) != len(header):
            place, count = f"row {number}", f"{len(cells)} ≠ {len(header)}"
            findings.append(ShiftedColumns(place, count).finding())
            continue
        rows.append(_row(number, header, cells))
    return root, findings, header


def gather(root: Row, column: str) -> None:
    """Rows with the same value of a column under one row of `reports`: its cells are those of its first line.

    Lines of one report need not stand together. Without a column the rows stay as they are.
    """
    if not column:
        return
    reports: dict[str, Row] = {}
    for row in root.tables.pop("rows", []):
        key = row.cells.get(column, row.label)
        report = reports.get(key)
        if report is None:
            report = reports[key] = Row(row.label)
            report.cells, report.used = row.cells, row.used
        report.tables.setdefault("items", []).append(row)
    root.tables["reports"] = list(reports.values())


def _row(number: int, header: list[str], cells: list[str]) -> Row:
    row = Row(f"row {number}")
    for name, cell in zip(header, cells, strict=True):
        text = cell.strip(_PADDING)
        if text:
            row.add(name, text)
    return row


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """(row number, cells) of every row that is not blank; the header's own delimiter separates."""
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(io.StringIO(text.replace("\0", ""), newline=""), delimiter=delimiter)
    try:
        for number, cells in enumerate(reader, 1):
            if any(cell.strip(_PADDING) for cell in cells):
                yield number, cells
    except csv.Error as error:
        raise TranslateError(f"line {reader.line_num}", str(error), detail_zh="CSV 格式错误。") from None
