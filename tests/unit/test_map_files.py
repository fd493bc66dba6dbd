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


def test_a_new_member_compiles_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path)
    asked = ["map", "new", "district_hospital", "--mappings", folder, "--name", "区医院", "--sender", "LIS/QYY"]
    assert main(asked) == 0
    assert main(["map", "check", "--mappings", folder]) == 0
    assert "district_hospital_his v2" in capsys.readouterr().out
    assert main(asked) == 3  # what is there is never overwritten
    assert main(["map", "new", "Bad Name", "--mappings", folder]) == 3


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
    assert (tmp_path / "base-lab-items.json").is_file()
