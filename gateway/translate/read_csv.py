"""A CSV file of an old HIS as rows: one file is one message, each row makes its own resources.

A row with another number of columns than the header is left out with an error of its own, and the others go
on; so are lines that a quote without its partner made one row of. Lines above the header (a title, Excel's `sep=;`)
are no rows. Cells lose the padding of char(n) columns; everything else stays as sent.
Source: RFC 4180; china-standards §7.3.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping

from ..errors import ShiftedColumns, TranslateError
from ..model.directory import Source
from ..model.message import RawMessage
from ..model.normalise import card_key, is_sound
from ..model.view import View
from .charset import decode
from .codes import key_of
from .formats import Document
from .rows import Part, Row, RowFormat

MAX_CELL = 1 << 20
_KIND = "kind."
_GATHER = "gather."
_DELIMITERS = ",\t|;"
_PADDING = " \t\u3000\xa0\0"
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")
_ABOVE = 10  # lines a title may have

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
        root, faults, header = read_rows(text.text)
        if faults and not root.tables["rows"]:
            first = faults[0]
            zh = f"没有一行与表头（{len(header)} 列）相符：{first.detail_zh}"
            raise ShiftedColumns(first.place, f"no row fits the header: {first.detail}", detail_zh=zh)
        kind = kind_of(header, source.settings)
        if source.view is not None:
            _name_rows(root.tables["rows"], source.view)
        gather(root, gathered_by(header, source.settings))
        return Document(
            kind, root, {"charset": text.charset, "header": ",".join(header)}, tuple(one.finding() for one in faults)
        )

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
        """`row 7, column 收缩压`; `row 1` for a line above the header."""
        return f"{row.label}, column {name}" if row.label else name


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


def gathered_by(header: list[str], settings: Mapping[str, str]) -> str:
    """The column whose equal values make one report of the rows of such a file; "" where each stands alone."""
    kind = kind_of(header, settings)
    return settings.get(f"{_GATHER}{kind}", _GATHERED.get(kind, ""))


def _name_rows(rows: Iterable[Row], view: View) -> None:
    """`row 3 V_JYJG[R1/WBC]`: whoever looks for the row in the database finds it by its key.

    What says when the row changed and whether it was taken was used by who read it.
    """
    read = {view.heading(one) for one in (view.changed, view.claim.column if view.claim else "")}
    headings = [view.heading(one) for one in view.key]
    for row in rows:
        row.used |= read & row.cells.keys()
        key = "/".join(_shown(row.cells.get(one, "")) for one in headings)
        row.label += f" {view.name}[{key}]"


def _shown(key: str) -> str:
    """A card number is no number for logs."""
    return f"{key[:6]}…{key[-4:]}" if is_sound(card_key(key)) else key


def read_rows(text: str) -> tuple[Row, list[ShiftedColumns], list[str]]:
    """(root with table `rows`, an error for each row left out, header); rows are numbered as a spreadsheet does."""
    root, faults = Row(), list[ShiftedColumns]()
    above, text = _above(text.replace("\0", ""))
    for number, line in enumerate(above, 1):
        if line and not line.startswith("sep="):
            root.add(f"row {number}", line)
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    lines = _lines(text, delimiter, len(above))
    try:
        _, header = next(lines)
    except StopIteration:
        raise TranslateError("row 1", "no header", detail_zh="文件没有表头。") from None
    header = [name.strip(_PADDING + "\ufeff") for name in header]
    rows = root.tables["rows"] = []
    for number, cells in lines:
        fault = _fault(cells, len(header), delimiter)
        if fault:
            faults.append(ShiftedColumns(f"row {number}", fault[0], detail_zh=fault[1]))
        else:
            rows.append(_row(number, header, cells))
    return root, faults, header


def _above(text: str) -> tuple[list[str], str]:
    """(lines above the header, the rest): the header is the first line with two names."""
    found, at = list[str](), 0
    for line in (match[0] for match in _LINE.finditer(text)):
        if max(sum(map(_filled, line.strip('\r\n"').split(one))) for one in _DELIMITERS) > 1:
            return found, text[at:]
        if not line or len(found) == _ABOVE:
            break
        found.append(line.strip(_PADDING + "\ufeff\r\n" + _DELIMITERS))
        at += len(line)
    return [], text


def _fault(cells: list[str], columns: int, delimiter: str) -> tuple[str, str] | None:
    """Why a row is none (English, Chinese): its columns are more or less, or it is several lines and the cell that
    holds them has all their delimiters: a quote was opened there and closed lines later."""
    for cell in cells:
        text = cell.strip("\r\n")
        breaks = max(text.count("\n"), text.count("\r"))
        if breaks and text.count(delimiter) >= breaks * (columns - 1):
            en = f"a quote without its partner made one row of {breaks + 1} lines; none of them was read"
            return en, f"引号没有配对，使 {breaks + 1} 行连成一行，这几行都没有读入。"
    count = f"{len(cells)} ≠ {columns}"
    return (count, count) if len(cells) != columns else None


def _filled(cell: str) -> bool:
    return bool(cell.strip(_PADDING))


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


def _lines(text: str, delimiter: str, above: int) -> Iterator[tuple[int, list[str]]]:
    """(row number, cells) of every row that is not blank."""
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for number, cells in enumerate(reader, above + 1):
            if any(map(_filled, cells)):
                yield number, cells
    except csv.Error as error:
        raise TranslateError(f"line {reader.line_num}", str(error), detail_zh="CSV 格式错误。") from None
