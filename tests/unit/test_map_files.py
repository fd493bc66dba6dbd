"""`gateway map new`, workbooks and ConceptMaps: a new member and its tables as files."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest

from gateway.cli import main
from gateway.shipped import shipped
from gateway.translate.concept_map import concept_maps
from gateway.translate.engine import Mappings


def test_a_new_member_compiles_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path)
    asked = ["map", "new", "district_hospital", "--mappings", folder, "--name", "区医院", "--sender", "LIS/QYY"]
    assert main(asked) == 0
    assert main(["map", "check", "--mappings", folder]) == 0
    assert "district_hospital_his v2 LIS/QYY" in (told := capsys.readouterr().out)
    assert "其中自己的映射： ORU^R01\n" in told
    assert main(asked) == 3  # what is there is never overwritten
    assert main(["map", "new", "Bad Name", "--mappings", folder]) == 3


def test_a_new_csv_member_shows_how_a_view_is_written(tmp_path: Path) -> None:
    assert main(["map", "new", "qu", "--format", "csv", "--mappings", str(tmp_path)]) == 0
    path = tmp_path / "qu" / "source.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("    # view", "    view").replace("    #   ", "      "))
    assert main(["map", "check", "--mappings", str(tmp_path)]) == 0
    view = Mappings.load([tmp_path, shipped("mappings")], check=False).directory.sources["qu_his"].view
    assert view is not None and (view.name, view.key, view.heading("XM")) == ("V_MZJL", ("MZH",), "姓名")


def test_a_recognition_sheet_is_checked_before_it_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (shipped("profiles") / "recognition/990101-2026.yaml").read_text(encoding="utf-8")
    sheet = tmp_path / "990101-2027.yaml"
    sheet.write_text(text.replace("until: 2029-12-31", "until: 2024-12-31").replace("member: county_tcm", "member: no"))
    assert main(["map", "check", "--rules", str(sheet)]) == 0
    said = capsys.readouterr()
    assert "可以使用" in said.err and "质评证据已于 2024-12-31 到期。" in said.out and "成员单位未登记" in said.out
    sheet.write_text(text.replace("unlisted: judge", "unlisted: yes"))
    assert main(["map", "check", "--rules", str(sheet)]) == 3
    assert "990101-2027.yaml:" in capsys.readouterr().err


def test_a_new_member_is_told_by_which_sender_its_messages_are_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", "new", "qu_hospital", "--mappings", str(tmp_path)]) == 0
    assert "MSH-3 = HIS、MSH-4 = QU_HOSPITAL" in capsys.readouterr().err
    assert main(["map", "new", "other", "--mappings", str(tmp_path), "--sender", "0102/yes", "--name", "a: [b"]) == 0
    made = (tmp_path / "other/source.yaml").read_text(encoding="utf-8")
    assert 'settings: {msh3: "0102", msh4: "yes"}' in made and 'name: "a: [b"' in made
    for sender in ("LIS", "/QYY", "LIS/", "LIS/QYY/3"):
        with pytest.raises(SystemExit):
            main(["map", "new", "third", "--mappings", str(tmp_path), "--sender", sender])
        assert f"--sender：{sender!r} 应写成 MSH-3/MSH-4 两部分" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "place", "zh"),
    [
        ("Bad_Name", "member", "只能用小写字母"),
        ("qu --source lis-1", "--source", "只能用小写字母"),
        ("qu --format csv --sender LIS/QYY", "--sender", "csv 来源请去掉 --sender"),
        ("county_tcm_hospital", "member", "随包映射已有成员"),
        ("qu --source sandbox --sender LIS/QYY", "qu/source.yaml:7", "定义了两次"),
        ("qu --sender ESB/CITY1", "qu/source.yaml:13", "相同"),
    ],
)
def test_a_member_that_cannot_be_is_refused_and_nothing_was_written(
    words: str, place: str, zh: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", "new", *words.split(), "--mappings", str(tmp_path / "maps")]) == 3
    said = capsys.readouterr().err
    assert zh in said and f"[位置：{place}]" in said
    assert list(tmp_path.iterdir()) == []


def test_a_workbook_that_comes_back_unchanged_gives_the_same_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = str(tmp_path / "tables.xlsx")
    assert main(["map", "export-xlsx", book, "--member", "county_people_hospital", "--base"]) == 0
    assert main(["map", "import-xlsx", book, "--mappings", str(tmp_path / "back"), "--json"]) == 0
    states = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(states) > 30 and {one["state"] for one in states} == {"new"}
    for one in states:
        sent = (shipped("mappings") / one["table"]).read_bytes()
        assert (tmp_path / "back" / one["table"]).read_bytes() == sent, one["table"]
    assert main(["map", "import-xlsx", book, "--mappings", str(tmp_path / "back"), "--json"]) == 0
    assert {json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()} == {"unchanged"}


def test_an_edited_sheet_changes_its_table_alone_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    book, into = str(tmp_path / "tables.xlsx"), str(tmp_path / "own")
    assert main(["map", "export-xlsx", book, "--member", "county_people_hospital"]) == 0
    assert main(["map", "import-xlsx", book, "--mappings", into]) == 0
    opened = openpyxl.load_workbook(book)
    sheet = opened[next(name for name in opened.sheetnames if "exam_items" in name)]
    sheet.append(["0102", "腹部CT平扫", "", "", "LOINC", "36424-0", "腹部CT平扫"])
    opened.save(book)
    assert main(["map", "import-xlsx", book, "--mappings", into]) == 0
    table = Path(into, "county_people_hospital/codes/exam_items.csv")
    assert table.read_text(encoding="utf-8").splitlines()[-1] == "0102,腹部CT平扫,,,LOINC,36424-0,腹部CT平扫"
    sheet["H1"], sheet["H2"] = "valid-from", datetime(2026, 7, 1)  # Excel makes a date of a day
    opened.save(book)
    assert main(["map", "import-xlsx", book, "--mappings", into]) == 0
    assert table.read_text(encoding="utf-8").splitlines()[1].endswith(",2026-07-01")
    before = table.read_bytes()
    sheet.append([102, "数字", "", "", "LOINC", "1-1", ""])  # Excel took the zero away
    opened.save(book)
    assert main(["map", "import-xlsx", book, "--mappings", into]) == 3
    assert table.read_bytes() == before


_HEADER = ["from", "name", "unit", "specimen", "system", "code", "display", "equivalence", "note", "valid-from"]
_ROW = ["K1", "白细胞", "10*9/L", "B", "LOINC", "6690-2", "白细胞计数"]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A new member's table with one row, and its workbook `b.xlsx`."""
    maps = tmp_path / "maps"
    assert main(["map", "new", "qu", "--mappings", str(maps), "--sender", "QLIS/QYY"]) == 0
    rows = [",".join(_HEADER), ",".join([*_ROW, "", "", ""])]
    (maps / "qu/codes/lab_items.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert main(["map", "export-xlsx", str(tmp_path / "b.xlsx"), "--mappings", str(maps), "--member", "qu"]) == 0
    return tmp_path


def _edit(book: openpyxl.Workbook, edit: str) -> None:
    exec(edit, {"b": book, "s": book.worksheets[1], "i": book.worksheets[0], "row": _ROW, "day": datetime(2026, 7, 1)})


@pytest.mark.parametrize(
    ("edit", "place", "zh"),
    [
        ("s['A1'] = '代码'", "[1 lab_items]:1", "应在第一行，这里是“代码”"),
        ("s.insert_rows(1); s['A1'] = '检验项目'; s.merge_cells('A1:J1')", "[1 lab_items]:1", "请删去表头之上的行"),
        ("s.append([None, *row[1:]])", "[1 lab_items]:3", "合并的单元格请取消合并"),
        ("s.append(['#N/A', *row[1:]])", "[1 lab_items]:3", "A3 是错误值 #N/A"),
        ("s['B1'] = 'names'", "[1 lab_items]:1", "没有列 'names'，是不是 'name'"),
        ("s['C1'] = None", "[1 lab_items]:1", "表头第 3 列是空的"),
        ("s.insert_cols(1)", "[1 lab_items]:1", "表头第 1 列是空的"),
        ("s['L2'] = 'x'", "[1 lab_items]:2", "第 12 列有内容"),
        ("s.append(['K2', *row[1:4], 'LOINK', *row[5:]])", "[1 lab_items]:3", "是不是 'LOINC'"),
        ("s.insert_rows(1, 2); s.append(['K2', *row[1:5], '6690-3'])", "[1 lab_items]:5", "不是 LOINC 代码"),
        ("s.append([*row[:5], '718-7'])", "[1 lab_items]:3", "有两个 code"),
        ("s.append([102, *row[1:]])", "[1 lab_items]:3", "A3 的 102 成了数字或日期"),
        ("s.append(['K2', *row[1:5], day])", "[1 lab_items]:3", "F3 的 2026-07-01 00:00:00 成了数字或日期"),
        ("s.append(['K2', *row[1:5], '=F2'])", "[1 lab_items]:3", "=F2 是公式"),
        ("s.title = 'x'", "[目录]:2", "工作表“1 lab_items”不见了"),
        ("b.remove(i)", "", "没有工作表“目录”"),
        ("i['B2'] = 'qu/lab_items.csv'", "[目录]:2", "不是码表位置"),
        ("i['B2'] = 'quu/codes/lab_items.csv'", "[目录]:2", "没有成员 'quu'，是不是 'qu'"),
        ("i['B2'] = '../codes/lab_items.csv'", "[目录]:2", "不是码表位置"),
        ("i.append(['1 lab_items', 'qu/codes/units.csv'])", "[目录]:3", "已经列过"),
        ("b.create_sheet('备忘')", "[备忘]", "没有这张工作表"),
    ],
)
def test_a_wrong_workbook_is_told_by_sheet_and_row_and_changes_nothing(
    lab: Path, edit: str, place: str, zh: str, capsys: pytest.CaptureFixture[str]
) -> None:
    book, table = lab / "b.xlsx", lab / "maps/qu/codes/lab_items.csv"
    opened, before = openpyxl.load_workbook(book), table.read_bytes()
    _edit(opened, edit)
    opened.save(book)
    capsys.readouterr()
    assert main(["map", "import-xlsx", str(book), "--mappings", str(lab / "maps")]) == 3
    said = capsys.readouterr().err
    assert f"[位置：{book}{place}]" in said and zh in said
    assert table.read_bytes() == before


def test_numbers_and_days_may_stand_in_notes_and_rows_of_blanks_are_none(lab: Path) -> None:
    book = openpyxl.load_workbook(lab / "b.xlsx")
    sheet = book.worksheets[1]
    sheet["K1"], sheet["K2"], sheet["L1"], sheet["L2"] = "序号", 1.0, "核对日", datetime(2026, 7, 1)
    sheet["I2"] = 2026
    sheet.append([" ", "\u3000"])
    book.save(lab / "b.xlsx")
    assert main(["map", "import-xlsx", str(lab / "b.xlsx"), "--mappings", str(lab / "maps")]) == 0
    rows = (lab / "maps/qu/codes/lab_items.csv").read_text(encoding="utf-8").splitlines()
    assert rows[1:] == [",".join([*_ROW, "", "2026", "", "1", "2026-07-01"])]


def test_what_is_no_workbook_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = tmp_path / "b.xlsx"
    book.write_bytes(b"from,to\n")
    assert main(["map", "import-xlsx", str(book), "--mappings", str(tmp_path)]) == 3
    assert "不是能读的 Excel 工作簿" in capsys.readouterr().err
    for command in ("import-xlsx", "export-xlsx"):
        with pytest.raises(SystemExit) as caught:
            main(["map", command, str(tmp_path / "b.csv"), "--mappings", str(tmp_path)])
        assert caught.value.code == 2
    assert main(["map", "export-xlsx", str(tmp_path / "c.xlsx"), "--member", "nobody"]) == 2
    assert main(["map", "conceptmap", "--member", "nobody"]) == 2


def test_a_workbook_there_is_already_is_named_and_left_as_it_is(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = lab / "b.xlsx"
    before = book.read_bytes()
    assert main(["map", "export-xlsx", str(book), "--mappings", str(lab / "maps"), "--member", "qu"]) == 3
    said = capsys.readouterr().err
    assert f"[位置：{book}]" in said and "文件已存在，不会覆盖" in said
    assert book.read_bytes() == before


def test_a_table_with_the_same_rows_is_not_touched_whatever_its_line_ends(lab: Path) -> None:
    table = lab / "maps/qu/codes/lab_items.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))
    before = table.read_bytes()
    assert main(["map", "import-xlsx", str(lab / "b.xlsx"), "--mappings", str(lab / "maps")]) == 0
    assert table.read_bytes() == before


def test_a_code_that_looks_like_a_formula_comes_back_as_it_was(lab: Path) -> None:
    table = lab / "maps/qu/codes/lab_items.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("K1,", "=K1,"), encoding="utf-8")
    asked = ["--mappings", str(lab / "maps")]
    assert main(["map", "export-xlsx", str(lab / "c.xlsx"), "--member", "qu", *asked]) == 0
    table.unlink()
    assert main(["map", "import-xlsx", str(lab / "c.xlsx"), *asked]) == 0
    assert "\n=K1," in table.read_text(encoding="utf-8")


def test_a_value_table_becomes_a_concept_map_with_its_equivalences() -> None:
    (made,) = concept_maps("status", "from,to,equivalence,note\nF|final,final,equal,x\nZ,,unmatched,停用\n")
    (group,) = made["group"]
    assert [one["code"] for one in group["element"]] == ["F", "final", "Z"]
    assert group["element"][0]["target"] == [{"code": "final", "equivalence": "equal", "comment": "x"}]
    assert group["element"][2]["target"] == [{"equivalence": "unmatched", "comment": "停用"}]


def test_every_shipped_table_is_a_valid_concept_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gateway.validate.structure import check

    assert main(["map", "conceptmap", "--member", "county_people_hospital", "--base"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 30
    for line in lines:
        check("ConceptMap", line.encode())
    assert main(["map", "conceptmap", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    (tmp_path / "base-lab-items.json").write_text("mine", encoding="utf-8")
    assert main(["map", "conceptmap", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().err
    assert "base-lab-items.json 已改写" in told and "base-gender.json unchanged" in told
    assert main(["generate", "--out", str(tmp_path)]) == 3 and "目录里已有文件" in capsys.readouterr().err
