"""`gateway map export-xlsx|import-xlsx|conceptmap|schema`: code tables for those who edit sheets, and for FHIR tools.

A workbook holds one sheet a table, every cell as text. What comes back unchanged gives the same file, byte for byte.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from itertools import chain, repeat
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile

from ..errors import ConfigError, MappingError, MissingFile
from ..shipped import shipped
from ..translate.codes import LOOKED_UP, VALID_FROM, parse_table
from ..translate.concept_map import concept_maps
from ..translate.map_schema import schemas
from ..translate.strict_yaml import near_to, read_utf8
from .talk import Exit, emit, say
from .translate import folders_of

_SHEET = 31  # characters Excel allows in a sheet's name
_INDEX = "目录"
Rows: TypeAlias = Sequence[tuple[int, list[str]]]  # row of the sheet, cells


def export_xlsx(args: argparse.Namespace) -> int:
    """Every table of the member (and of the base, with --base) as a sheet. Raises ConfigError for a file there is.

    It may be a workbook somebody has worked on and not read back yet.
    """
    if Path(args.file).exists():
        zh = "文件已存在，不会覆盖；请换一个文件名，或先把它移走。"
        raise ConfigError(args.file, "exists already", detail_zh=zh)
    book = _openpyxl().Workbook()
    index = book.active
    index.title = _INDEX
    index.append(["工作表", "码表", "行数"])
    count = 0
    for count, (relative, path) in enumerate(_tables(args), 1):
        rows = list(csv.reader(io.StringIO(read_utf8(path, relative), newline="")))
        sheet = book.create_sheet(_sheet_name(count, path.stem))
        for row in rows:
            sheet.append(row)
        for row in sheet.iter_rows():
            for cell in row:
                cell.number_format = "@"  # a code such as 0102 keeps its zeros, in the rows to come as well
                cell.data_type = "s"  # what begins with `=` is no formula
        for number in range(1, len(rows[0]) + 1):
            sheet.column_dimensions[sheet.cell(1, number).column_letter].number_format = "@"
        sheet.freeze_panes = "A2"
        index.append([sheet.title, relative, len(rows) - 1])
    book.save(args.file)
    say(f"{count} 张码表写入 {args.file} / tables written")
    return Exit.OK


def import_xlsx(args: argparse.Namespace) -> int:
    """Sheets back into CSV below --mappings; every table is parsed before the first file is written."""
    root = Path(args.mappings)
    made = list(_read(args.file, root))
    for relative, rows in made:
        state = _put(root / relative, relative, rows)
        emit({"table": relative, "state": state}) if args.json else print(relative, state)
    if not args.json:
        say(f"接下来 / next: gateway map check --mappings {args.mappings}")
    return Exit.OK


def _read(file: str, root: Path) -> Iterator[tuple[str, Rows]]:
    """(path of a table, its rows) of every sheet. Raises MappingError with sheet and row."""
    with closing(_opened(file)) as book:
        for sheet, relative in _listed(book, file, root):
            place = f"{file}[{sheet}]"
            rows = list(_rows(book[sheet], place))
            lines = [number for number, cells in rows for _ in range(1 + sum(cell.count("\n") for cell in cells))]
            try:
                parse_table(_csv(rows), place, Path(relative).stem)
            except MappingError as fault:  # says the line of the CSV; the sheet may have empty rows between
                line = int(fault.place.rpartition(":")[2])
                fault.place = f"{place}:{lines[line - 1] if line <= len(lines) else line}"
                raise
            yield relative, rows


def _put(path: Path, relative: str, rows: Rows) -> str:
    """What became of a table's file. One with the same rows is not touched, whatever its line ends."""
    known = path.is_file()
    if known and [row for row in csv.reader(io.StringIO(read_utf8(path, relative), newline="")) if any(row)] == [
        cells for _, cells in rows
    ]:
        return "unchanged"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_csv(rows).encode("utf-8"))
    return "changed" if known else "new"


def conceptmap(args: argparse.Namespace) -> int:
    """One ConceptMap a table and period: a line each, or a file each below --out."""
    for relative, path in _tables(args):
        member = relative.partition("/")[0]
        for made in concept_maps(path.stem, read_utf8(path, relative), "" if member == "_base" else member):
            if args.out:
                _write(Path(args.out) / f"{made['id']}.json", json.dumps(made, ensure_ascii=False, indent=2))
            else:
                emit(made)
    return Exit.OK


def schema(args: argparse.Namespace) -> int:
    """The JSON Schemas of map files and of source.yaml, for editors."""
    for name, made in schemas().items():
        _write(Path(args.out) / name, json.dumps(made, ensure_ascii=False, indent=1))
    return Exit.OK


def _write(path: Path, text: str) -> None:
    """A file that is made anew each time; says so where it takes the place of another."""
    state, body = "new", f"{text}\n".encode()
    if path.is_file():
        state = "unchanged" if path.read_bytes() == body else "已改写 / rewritten"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    say(f"{path} {state}")


def _tables(args: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """(path below the mapping folder, file) of the tables asked for; the operator's file hides its namesake.

    Raises MissingFile where there is none.
    """
    some = False
    owners = [*([args.member] if args.member else []), *(["_base"] if args.base or not args.member else [])]
    for owner in owners:
        found: dict[str, Path] = {}
        for folder in folders_of(args.mappings):
            for path in sorted((folder / owner / "codes").glob("*.csv")):
                found.setdefault(f"{owner}/codes/{path.name}", path)
        some = some or bool(found)
        yield from sorted(found.items())
    if not some:
        raise MissingFile(f"{args.member}/codes/*.csv", "no table", detail_zh=f"成员 {args.member} 没有码表。")


def _opened(file: str) -> Any:
    """The workbook. Raises MissingFile, or MappingError for what is none."""
    if not Path(file).is_file():
        raise MissingFile(file)
    try:
        return _openpyxl().load_workbook(file, read_only=True)
    except (BadZipFile, KeyError, ValueError):
        text, zh = "no workbook that can be read", "不是能读的 Excel 工作簿：请用 Excel 另存为 .xlsx，不加密码。"
        raise MappingError(file, text, detail_zh=zh) from None


def _listed(book: Any, file: str, root: Path) -> list[tuple[str, str]]:
    """(sheet, path of its table) as the first sheet says; every other sheet is one of them, and every table once."""
    if _INDEX not in book.sheetnames:
        zh = f"没有工作表“{_INDEX}”：这不是 export-xlsx 导出的工作簿，请先导出再修改。"
        raise MappingError(file, f"there is no sheet {_INDEX}: this is no workbook of export-xlsx", detail_zh=zh)
    known = sorted({path.parent.name for one in (root, shipped("mappings")) for path in one.glob("*/source.yaml")})
    found: dict[str, str] = {}
    for number, row in enumerate(book[_INDEX].iter_rows(min_row=2, values_only=True), 2):
        sheet, relative = (str(cell or "") for cell in (*row, None, None)[:2])
        if sheet or relative:
            _check_listed(book, sheet, relative, f"{file}[{_INDEX}]:{number}", known)
            if sheet in found or relative in found.values():
                zh = f"工作表“{sheet}”或码表“{relative}”已经列过，请删去这一行。"
                raise MappingError(f"{file}[{_INDEX}]:{number}", "this sheet or table is listed already", detail_zh=zh)
            found[sheet] = relative
    for sheet in book.sheetnames:
        if sheet not in found and sheet != _INDEX:
            zh = f"“{_INDEX}”里没有这张工作表，不知道写到哪张码表：请在“{_INDEX}”加一行，或删去它。"
            raise MappingError(f"{file}[{sheet}]", f"this sheet is not listed in {_INDEX}", detail_zh=zh)
    return list(found.items())


def _check_listed(book: Any, sheet: str, relative: str, place: str, known: Sequence[str]) -> None:
    """A line of the first sheet names a sheet there is and a table of a member there is (known)."""
    if sheet not in book.sheetnames:
        zh = f"工作表“{sheet}”不见了：请恢复它，或删去这一行。"
        raise MappingError(place, f"the sheet {sheet!r} is missing", detail_zh=zh)
    member, *parts = relative.split("/")
    if len(parts) != 2 or parts[0] != "codes" or ".." in (member, *parts) or not parts[1].endswith(".csv"):
        zh = f"“{relative}”不是码表位置，应为 <成员>/codes/<码表>.csv。"
        raise MappingError(place, f"{relative!r} is no <member>/codes/<table>.csv", detail_zh=zh)
    if member not in (*known, "_base"):
        near, near_zh = near_to(member, known)
        zh = f"没有成员 {member!r}{near_zh or '，请先 gateway map new。'}"
        raise MappingError(place, f"there is no member {member!r}{near}", detail_zh=zh)


def _rows(sheet: Any, place: str) -> Iterator[tuple[int, list[str]]]:
    """(row of the sheet, its cells) below the header and with it; rows without content are left out.

    Refused is what would be lost or would be something else in the CSV: a column without a name, a cell beside the
    columns, a formula, a number (0102 lost its zero).
    """
    header: list[str] = []
    for number, row in enumerate(sheet.iter_rows(), 1):
        columns = chain(header, repeat(""))
        cells = [_text(cell, f"{place}:{number}", column) for cell, column in zip(row, columns, strict=False)]
        while cells and not cells[-1].strip():
            cells.pop()
        if cells and not header:
            header = cells
            if "from" not in header:
                zh = f"表头（from，…）应在第一行，这里是“{cells[0]}”：请删去表头之上的行，不要合并单元格。"
                raise MappingError(f"{place}:{number}", "the header, with from, must come first", detail_zh=zh)
            if "" in header:
                column = header.index("") + 1
                zh = f"表头第 {column} 列是空的：请写列名；多余的列请删去。"
                raise MappingError(f"{place}:{number}", f"column {column} has no name", detail_zh=zh)
        if len(cells) > len(header):
            zh = f"第 {len(cells)} 列有内容，表头却没有这一列：请写列名，或删去内容。"
            raise MappingError(f"{place}:{number}", f"column {len(cells)} is filled and has no name", detail_zh=zh)
        if cells:
            yield number, cells + [""] * (len(header) - len(cells))


def _csv(rows: Rows) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(cells for _, cells in rows)
    return out.getvalue()


def _text(cell: Any, place: str, column: str) -> str:
    """column: its name, "" above the header. Excel makes dates of days, which may stay so; numbers may in notes."""
    value = cell.value
    if cell.data_type == "e":
        text, zh = f"{value} is an error of the sheet", f"{cell.coordinate} 是错误值 {value}：请改成文字。"
        raise MappingError(place, text, detail_zh=zh)
    if cell.data_type == "f":
        text, zh = f"{value!r} is a formula; paste its value", f"{value} 是公式：请粘贴为数值。"
        raise MappingError(place, text, detail_zh=zh)
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, datetime) and (column == VALID_FROM or column not in LOOKED_UP):
        return value.date().isoformat()
    if column and column not in LOOKED_UP:
        return f"{value:g}" if isinstance(value, float) else str(value)
    text = f"{value} is a number or a date; format the column as text, so that 0102 stays 0102"
    zh = f"{cell.coordinate} 的 {value} 成了数字或日期：请把该列设为“文本”再填，0102 才不会变成 102。"
    raise MappingError(place, text, detail_zh=zh)


def _sheet_name(number: int, table: str) -> str:
    return f"{number} {table}"[:_SHEET]


def _openpyxl() -> Any:
    try:
        import openpyxl
    except ImportError:
        detail = "openpyxl is missing: pip install 'alliance-gateway[xlsx]'"
        raise ConfigError("map xlsx", detail, detail_zh="缺少 openpyxl，请安装 alliance-gateway[xlsx]") from None
    return openpyxl
