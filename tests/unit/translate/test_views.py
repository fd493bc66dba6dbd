"""`view:` of source.yaml: slips are refused with file, line and what to write; rows are named by their key."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.errors import MappingError
from gateway.model.directory import Source
from gateway.model.message import RawMessage
from gateway.model.view import Claim, View
from gateway.translate.engine import Mappings
from gateway.translate.gaps import without_numbers
from gateway.translate.read_csv import CsvFormat
from tests.flow.messages import card
from tests.unit.translate.test_map_schema import faults

_SOURCE = """name: 区医院
level: secondary
sources:
  qu:
    format: csv
    view:
      driver: mysql
      host: 10.1.2.3
      database: his
      user: gateway_ro
      password_file: /etc/gateway/his.password
      name: his.V_JYJG
      columns: {JYDH: 检验单号, XMMC: 项目名称, JG: 结果}
      key: [JYDH, XMMC]
      changed: GXSJ
      overlap: 900
      claim: {column: QZ, open: "0", taken: "1"}
"""


def loaded(folder: Path, text: str) -> Source:
    (folder / "qu").mkdir(exist_ok=True)
    (folder / "qu" / "source.yaml").write_text(text, encoding="utf-8")
    return Mappings.load([folder], check=False).directory.sources["qu"]


def test_a_view_is_read_as_written(tmp_path: Path) -> None:
    assert loaded(tmp_path, _SOURCE).view == View(
        "mysql", "his", "his.V_JYJG", ("JYDH", "XMMC"), host="10.1.2.3", user="gateway_ro",
        password_file="/etc/gateway/his.password", columns={"JYDH": "检验单号", "XMMC": "项目名称", "JG": "结果"},
        changed="GXSJ", overlap=900, claim=Claim("QZ", "1", "0"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("right", "wrong", "line", "zh"),
    [
        ("format: csv", "format: json", 6, "view 只用于 format: csv"),
        ("driver: mysql", "driver: mysqll", 7, "是不是 'mysql'"),
        ("changed: GXSJ", "chnaged: GXSJ", 15, "是不是 'changed'"),
        ("password_file: /etc/gateway/his.password", "password: abc", 11, "口令不写在映射里"),
        ("password_file: /etc/gateway/his.password", "password_env: GATEWAY_HIS", 11, "请换名"),
        ("user: gateway_ro", "options: {password: abc}", 10, "options 里不能有口令"),
        ("      user: gateway_ro\n", "", 6, "mysql 要写 host 和 user"),
        ("      key: [JYDH, XMMC]\n", "", 6, "view 缺 key"),
        ("key: [JYDH, XMMC]", "key: [JYDH, XMBH]", 13, "没有 key 的列 'XMBH'"),
        ("JG: 结果}", "JG: 项目名称}", 13, "重复的列：项目名称"),
        ("overlap: 900", "overlap: 15m", 16, "应是 0 到 1000000000 的整数"),
        ('open: "0", taken: "1"', 'opne: "0", taken: "1"', 17, "是不是 'open'"),
        ('      claim: {column: QZ, open: "0", taken: "1"}\n', '      since: "2026-01-01"\n', 0, ""),
    ],
)
def test_a_slip_is_refused_with_its_line(tmp_path: Path, right: str, wrong: str, line: int, zh: str) -> None:
    text = _SOURCE.replace(right, wrong, 1)
    assert text != _SOURCE
    if not zh:
        assert loaded(tmp_path, text).view is not None
        return
    with pytest.raises(MappingError) as caught:
        loaded(tmp_path, text)
    assert caught.value.place == f"qu/source.yaml:{line}" and zh in caught.value.sentence_zh()


def test_a_view_without_a_column_to_go_by_is_refused(tmp_path: Path) -> None:
    text = _SOURCE.replace("      changed: GXSJ\n", "").partition("      claim")[0]
    with pytest.raises(MappingError) as caught:
        loaded(tmp_path, text)
    assert "缺 changed" in caught.value.sentence_zh()


def test_the_editors_schema_knows_the_keys() -> None:
    good = {"driver": "sqlite", "database": "a.db", "name": "V", "key": "k", "columns": ["k", "t"], "changed": "t"}
    member = {"name": "x", "level": "primary", "sources": {"s": {"format": "csv", "view": good}}}
    assert faults("source", member) == []
    for wrong in ({"driver": "db2"}, {"pasword_file": "x"}, {"claim": {"column": "c"}}, {"every_s": 0}):
        assert faults("source", {**member, "sources": {"s": {"format": "csv", "view": good | wrong}}})


def test_rows_are_named_by_view_and_key_and_cards_in_it_are_masked() -> None:
    view = View("sqlite", "a.db", "V_JYJG", ("DH", "项目名称"), columns={"DH": "检验单号"}, changed="更新时间")
    source = Source("qu", "qu", "csv", view=view)
    person = card(3)
    body = f"检验单号,项目名称,结果,更新时间\nR1,WBC,5.6,20260302\n{person},WBC,5.7,20260302\n".encode()
    form = CsvFormat()
    document = form.read(RawMessage("m1", "qu", "csv", body, datetime.now(UTC)), source)
    places = [one.place for one in form.unused(document, None, {})]
    assert "row 2 V_JYJG[R1/WBC], column 结果" in places
    assert not any(person in one for one in places)
    assert not any("更新时间" in one for one in places), "the door used it"
    assert {without_numbers(one) for one in places} == {"column 检验单号", "column 项目名称", "column 结果"}
