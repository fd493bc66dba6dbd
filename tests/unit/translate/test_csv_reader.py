"""CSV files of old systems as rows."""

from __future__ import annotations

import pytest

from gateway.errors import ShiftedColumns, TranslateError
from gateway.model.directory import Source
from gateway.model.message import RawMessage
from gateway.model.times import CHINA, datetime
from gateway.translate.read_csv import CsvFormat, kind_of, read_rows

HEADER = "就诊流水号,姓名,就诊日期,收缩压\n"


def message(body: bytes) -> RawMessage:
    return RawMessage("k1", "s", "csv", body, datetime(2026, 3, 20, tzinfo=CHINA))


SOURCE = Source("s", "m", "csv")


def test_padding_of_fixed_columns_goes_and_full_width_digits_stay_as_sent() -> None:
    root, findings, _ = read_rows(HEADER + "V1    ,李建国　　,2026-03-19,１２８\n")
    row = root.tables["rows"][0]
    assert not findings
    assert row.cells == {"就诊流水号": "V1", "姓名": "李建国", "就诊日期": "2026-03-19", "收缩压": "１２８"}


def test_a_row_with_another_number_of_columns_is_named_and_the_others_go_on() -> None:
    root, findings, _ = read_rows(HEADER + "V1,a,2026-03-19,1\nV2,b,with,comma,2\n\nV3,c,2026-03-19,3\n")
    assert [row.label for row in root.tables["rows"]] == ["row 2", "row 5"]
    assert [(finding.code, finding.place) for finding in findings] == [("GW-TRN-007", "row 3")]


def test_a_file_in_which_no_row_fits_is_an_error() -> None:
    with pytest.raises(ShiftedColumns):
        CsvFormat().read(message((HEADER + "a,b\n").encode()), SOURCE)


def test_an_empty_file_has_no_header() -> None:
    with pytest.raises(TranslateError):
        CsvFormat().read(message(b"\n"), SOURCE)


@pytest.mark.parametrize("codec", ["gb18030", "utf-8-sig", "utf-8"])
def test_the_kind_is_read_from_the_header_in_every_charset(codec: str) -> None:
    found = CsvFormat().read(message((HEADER + "V1,张珅,2026-03-19,1\n").encode(codec)), SOURCE)
    assert found.kind == "visits"
    assert found.root.tables["rows"][0].cells["姓名"] == "张珅"


def test_a_source_may_name_its_own_kinds_and_a_strange_header_has_none() -> None:
    assert kind_of(["JZLSH", "XM"], {"kind.visits": "JZLSH XM"}) == "visits"
    assert kind_of(["a"], {}) == ""


def test_quoted_cells_keep_commas_and_line_breaks_and_tabs_may_separate() -> None:
    root, _, _ = read_rows('主诉\t姓名\n"咳嗽,\n发热"\tx\n')
    assert root.tables["rows"][0].cells["主诉"] == "咳嗽,\n发热"


def test_unused_cells_are_reported_with_row_and_column() -> None:
    form = CsvFormat()
    document = form.read(message((HEADER + "V1,x,2026-03-19,128\n").encode()), SOURCE)
    row = document.root.tables["rows"][0]
    assert form.getter("收缩压")(row, document.root) == "128"
    got = {unused.place: unused.because for unused in form.unused(document, None, {"姓*": "在别处"})}
    assert got == {"row 2, column 就诊流水号": "", "row 2, column 姓名": "在别处", "row 2, column 就诊日期": ""}


def test_lines_that_an_unpaired_quote_made_one_row_are_left_out_and_told() -> None:
    lines = [f"V{n},a,2026-03-19,{n}\n" for n in range(5)]
    lines[1], lines[3] = lines[1].replace("a,", '"头晕,'), lines[3].replace("a,", '呕吐",')
    root, faults, _ = read_rows(HEADER + "".join(lines))
    assert [row.cells["就诊流水号"] for row in root.tables["rows"]] == ["V0", "V4"]
    assert [(one.place, one.detail_zh) for one in faults] == [
        ("row 3", "引号没有配对，使 3 行连成一行，这几行都没有读入。")
    ]
    with pytest.raises(ShiftedColumns, match="a quote without its partner"):  # open until the end
        CsvFormat().read(message((HEADER + lines[1] + "".join(lines[:1] * 3)).encode()), SOURCE)


@pytest.mark.parametrize("above", ["sep=,\n", "镇卫生院门诊日志,,,\n", "\ufeff门诊日志\r\n\r\n"])
def test_what_stands_above_the_header_is_no_row_and_told(above: str) -> None:
    root, faults, header = read_rows(above + HEADER + "V1,a,2026-03-19,1\n")
    assert header == ["就诊流水号", "姓名", "就诊日期", "收缩压"] and not faults
    assert [row.label for row in root.tables["rows"]] == [f"row {above.count(chr(10)) + 2}"]
    assert list(root.cells) == ([] if "sep" in above else ["row 1"])
