"""`gateway map export-xlsx|import-xlsx|conceptmap|schema`: code tables for those who edit sheets, and for FHIR tools.

A workbook holds one sheet a table, every cell as text. What comes back unchanged gives the same file, byte for byte.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import ConfigError, MappingError, MissingFile
from ..translate.codes import VALID_FROM, parse_table
from ..translate.concept_map import concept_maps
from ..translate.map_schema import schemas
from ..translate.strict_yaml import read_utf8
from .talk import Exit, emit, say
from .translate import folders_of

_SHEET = 31  # characters Excel allows in a sheet's name
_INDEX = "目录"


def export_xlsx(args: argparse.Namespace) -> int:
    """Every table of the member (and of the base, with --base) as a sheet."""
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
        for number in range(1, len(rows[0]) + 1):
            sheet.column_dimensions[sheet.cell(1, number).column_letter].number_format = "@"
        sheet.freeze_panes = "A2"
        index.append([sheet.title, relative, len(rows) - 1])
    if not count:
        raise MissingFile(f"{args.member or '_base'}/codes/*.csv", "no table", detail_zh="没有码表。")
    book.save(args.file)
    say(f"{count} 张码表写入 {args.file} / tables written")
    return Exit.OK


def import_xlsx(args: argparse.Namespace) -> int:
    """Sheets back into CSV below --mappings; every table is parsed before the first file is written."""
    if not Path(args.file).is_file():
        raise MissingFile(args.file)
    book = _openpyxl().load_workbook(args.file, read_only=True)
    made = [(relative, _csv(book[sheet], f"{args.file}[{sheet}]")) for sheet, relative in _listed(book, args.file)]
    for relative, text in made:
        parse_table(text, f"{args.file}[{relative}]", Path(relative).stem)
    for relative, text in made:
        path = Path(args.mappings) / relative
        before = path.read_bytes().decode("utf-8") if path.is_file() else None
        state = "unchanged" if before == text else "changed" if before is not None else "new"
        if state != "unchanged":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8"))
        emit({"table": relative, "state": state}) if args.json else print(relative, state)
    return Exit.OK


def conceptmap(args: argparse.Namespace) -> int:
    """One ConceptMap a table and period: a line each, or a file each below --out."""
    for relative, path in _tables(args):
        member = relative.partition("/")[0]
        for made in concept_maps(path.stem, read_utf8(path, relative), "" if member == "_base" else member):
            if args.out:
                Path(args.out).mkdir(parents=True, exist_ok=True)
                text = json.dumps(made, ensure_ascii=False, indent=2)
                (Path(args.out) / f"{made['id']}.json").write_text(text + "\n", encoding="utf-8")
            else:
                emit(made)
    return Exit.OK


def schema(args: argparse.Namespace) -> int:
    """The JSON Schemas of map files and of source.yaml, for editors."""
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in schemas().items():
        (folder / name).write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        say(f"{folder / name}")
    return Exit.OK


def _tables(args: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """(path below the mapping folder, file) of the tables asked for; the operator's file hides its namesake."""
    owners = [*([args.member] if args.member else []), *(["_base"] if args.base or not args.member else [])]
    for owner in owners:
        found: dict[str, Path] = {}
        for folder in folders_of(args.mappings):
            for path in sorted((folder / owner / "codes").glob("*.csv")):
                found.setdefault(f"{owner}/codes/{path.name}", path)
        yield from sorted(found.items())


def _listed(book: Any, file: str) -> Iterator[tuple[str, str]]:
    """(sheet, path of its table) as the first sheet says."""
    if _INDEX not in book.sheetnames:
        zh = f"没有工作表“{_INDEX}”：这不是 export-xlsx 导出的工作簿，请先导出再修改。"
        raise MappingError(file, f"there is no sheet {_INDEX}: this is no workbook of export-xlsx", detail_zh=zh)
    for sheet, relative, *_ in book[_INDEX].iter_rows(min_row=2, values_only=True):
        if sheet not in book.sheetnames:
            zh = f"工作表“{sheet}”不见了：请恢复它，或在“{_INDEX}”里删去这一行。"
            raise MappingError(file, f"the sheet {sheet!r} is missing", detail_zh=zh)
        parts = Path(str(relative)).parts
        if len(parts) != 3 or parts[1] != "codes" or ".." in parts or not parts[2].endswith(".csv"):
            zh = f"“{relative}”不是码表位置，应为 <成员>/codes/<码表>.csv；请保持“{_INDEX}”原样。"
            raise MappingError(f"{file}[{_INDEX}]", f"{relative!r} is no <member>/codes/<table>.csv", detail_zh=zh)
        yield str(sheet), str(relative)


def _csv(sheet: Any, place: str) -> str:
    """A sheet as the CSV it came from: empty rows are left out, a number in a cell is an error (0102 lost its zero)."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    width = 0
    days: list[bool] = []
    for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
        days = days or [cell == VALID_FROM for cell in row]
        cells = [_text(cell, f"{place}:{number}", day=day) for cell, day in zip(row, days, strict=False)]
        width = width or len([cell for cell in cells if cell])
        if any(cells):
            writer.writerow(cells[:width])
    return out.getvalue()


def _text(cell: object, place: str, *, day: bool) -> str:
    """day: the column holds days, which Excel makes dates of."""
    if cell is None or isinstance(cell, str):
        return cell or ""
    if day and isinstance(cell, datetime):
        return cell.date().isoformat()
    text = f"{cell!r} is a number or a date; format the column as text, so that 0102 stays 0102"
    zh = f"{cell!r} 成了数字或日期：请把该列设为“文本”再填，0102 才不会变成 102。"
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
