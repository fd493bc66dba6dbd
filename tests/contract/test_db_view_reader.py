"""Views are read alike on the databases at hand: pages in order, values as an export has them, nothing ever written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from gateway.errors import ViewChanged, ViewDenied, ViewError, ViewSlow
from gateway.inbound.db_view.position import Row
from gateway.inbound.db_view.reader import ViewReader
from gateway.inbound.db_view.values import given
from gateway.model.directory import Source
from gateway.model.view import Claim, View

_COLUMNS = (
    "检验单号 TEXT, 项目名称 TEXT, 结果 NUMERIC(9,3), 采样时间 TIMESTAMP, 报告日 DATE, 备注 {bytes}, 水位 {time},"
    " 取 TEXT"
)
_READ = ("检验单号", "项目名称", "结果", "采样时间", "报告日", "备注", "水位", "取")
Run = Callable[..., None]


class Database:
    """A member's database: its tables are made and changed by `run`, read through `view`."""

    def __init__(self, view: View, run: Run, sqlite: bool) -> None:
        self.view, self.run, self.sqlite = view, run, sqlite
        self.opened: list[ViewReader] = []

    def add(self, report: str, item: str, result: object, stamp: str, note: object = None) -> None:
        mark = "?" if self.sqlite else "%s"
        values = (report, item, result, "2026-03-02 08:05:00", "2026-03-02", note, stamp, None)
        self.run(f"INSERT INTO {self.view.name} VALUES({', '.join([mark] * 8)})", *values)

    def reader(self, **changed: Any) -> ViewReader:
        """Open on the view, with changes to what source.yaml says."""
        self.opened.append(ViewReader(Source("lis", "m", "csv", view=replace(self.view, **changed)), lambda view: ""))
        self.opened[-1].open()
        return self.opened[-1]


def _sqlite(path: Path) -> Database:
    def run(sql: str, *values: object) -> None:
        with sqlite3.connect(path) as db:
            db.execute(sql, values)
        db.close()

    run(f"CREATE TABLE 检验({_COLUMNS.format(bytes='BLOB', time='TEXT')})")
    return Database(View("sqlite", str(path), "检验", ("检验单号", "项目名称"), changed="水位"), run, True)


def _postgres(url: str) -> Database:
    given, schema = conninfo_to_dict(url), url.rpartition("%3D")[2]

    def run(sql: str, *values: object) -> None:
        with psycopg.connect(url, autocommit=True) as db:
            db.execute(sql.encode(), values)

    run(f"CREATE TABLE 检验({_COLUMNS.format(bytes='bytea', time='timestamptz')})")
    view = View(
        "postgresql", str(given["dbname"]), f"{schema}.检验", ("检验单号", "项目名称"),
        host=str(given["host"]), user=str(given["user"]), changed="水位",
    )  # fmt: skip
    return Database(view, run, False)


@pytest.fixture
def database(url: str, tmp_path: Path) -> Iterator[Database]:
    made = _sqlite(tmp_path / "lis.db") if url.startswith("sqlite") else _postgres(url)
    yield made
    for reader in made.opened:
        reader.close()


def _names(rows: list[Row]) -> list[str]:
    return [f"{row.cells[0]}/{row.cells[1]}" for row in rows]


def test_pages_go_on_behind_their_last_row_also_among_equal_times(database: Database) -> None:
    for number in range(5):
        database.add("R1", f"A{number}", "1", "2026-03-02 09:00:00+08")
    database.add("R0", "B", "1", "2026-03-02 09:00:01+08")
    reader, found, after = database.reader(), list[str](), list[Any]()
    for _ in range(4):
        rows = reader.page(after=after, rows=2)
        found += _names(rows)
        after = [given(one) for one in (rows[-1].changed, *rows[-1].key)] if rows else after
    assert found == ["R1/A0", "R1/A1", "R1/A2", "R1/A3", "R1/A4", "R0/B"]
    newest = reader.page(rows=1, newest=True)
    assert _names(newest) == ["R0/B"]
    assert _names(reader.page(since=given(newest[0].changed), rows=9)) == ["R0/B"]


def test_values_are_text_as_an_export_has_it(database: Database) -> None:
    database.add("R1", '血糖, "快速"\n二', "5.600", "2026-03-02 09:00:00+08", "张三".encode("gbk"))
    database.add("R2", "A", None, "2026-03-02 09:00:01+08", b"\x89PNG\xff\x00")
    reader = database.reader()
    first, second = reader.page(rows=9)
    result = "5.6" if database.sqlite else "5.600"  # NUMERIC of SQLite is a float
    assert first.cells[:6] == ("R1", '血糖, "快速"\n二', result, "2026-03-02 08:05:00", "2026-03-02", "张三")
    assert (second.cells[2], second.cells[5]) == ("", "iVBOR/8A")
    (file,) = reader.messages([first, second])
    assert file.rows == 2
    assert file.body.decode().splitlines()[0] == "\t".join(_READ)


def test_the_lines_of_a_report_are_read_whole_and_never_parted(database: Database) -> None:
    for report in ("R1", "R2"):
        for number in range(3):
            database.add(report, f"A{number}", "1", f"2026-03-02 09:00:0{number}+08")
    reader = database.reader()
    rows = reader.page(rows=1)
    assert _names(reader.whole(rows)) == ["R1/A0", "R1/A1", "R1/A2"]
    both = reader.whole(reader.page(rows=2))
    assert _names(both) == ["R1/A0", "R1/A1", "R1/A2", "R2/A0", "R2/A1", "R2/A2"]


def test_a_row_without_a_time_is_on_no_page_and_comes_with_its_report(database: Database) -> None:
    database.add("R1", "A", "1", "2026-03-02 09:00:00+08")
    database.run(f"INSERT INTO {database.view.name}(检验单号, 项目名称) VALUES('R1', 'B')")
    reader = database.reader()
    rows = reader.page(rows=9)
    assert _names(rows) == ["R1/A"]
    whole = reader.whole(rows)
    assert sorted(_names(whole)) == ["R1/A", "R1/B"] and sorted(row.key for row in whole)[0] == ()


def test_rows_are_claimed_only_as_they_were_read(database: Database) -> None:
    for item in ("A", "B"):
        database.add("R1", item, "1", "2026-03-02 09:00:00+08")
    reader = database.reader(claim=Claim("取", "1"))
    rows = reader.page(rows=9)
    database.run(f"UPDATE {database.view.name} SET 水位 = '2026-03-02 10:00:00+08' WHERE 项目名称 = 'B'")
    assert _names(reader.take(rows, given)) == ["R1/A"]
    assert _names(reader.page(rows=9)) == ["R1/B"], "it was written again meanwhile and is read again"


def test_a_reading_connection_cannot_write(database: Database) -> None:
    reader = database.reader()
    with pytest.raises(ViewDenied):
        reader._run((f"DELETE FROM {database.view.name}", ()))


def test_a_statement_ends_at_its_limit(database: Database) -> None:
    reader = database.reader(timeout_s=1)
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n"
    with pytest.raises(ViewSlow):
        reader._run((slow, ()))


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"key": ("检验单号", "项目名")}, "column 项目名"),
        ({"columns": {"检验单": "检验单号"}}, "column 检验单"),
        ({"changed": "时间"}, "column 时间"),
        ({"name": "没有的视图"}, "没有的视图"),
    ],
)
def test_what_the_view_lacks_is_named(database: Database, changed: dict[str, Any], place: str) -> None:
    with pytest.raises(ViewChanged) as caught:
        database.reader(**changed)
    assert caught.value.place.endswith(place)


def test_a_since_is_a_value_of_the_column_or_refused(database: Database) -> None:
    assert database.reader(since="2026-03-02 00:00:00").first() is None, "an empty view has nothing to compare with"
    database.add("R1", "A", "1", "2026-03-01 09:00:00+08")
    database.add("R2", "A", "1", "2026-03-02 09:00:00+08")
    reader = database.reader(since="2026-03-02 00:00:00")
    assert _names(reader.page(since=reader.first(), rows=9)) == ["R2/A"]
    if not database.sqlite:
        with pytest.raises(ViewChanged):
            database.reader(since="昨天").first()


def test_rows_without_key_or_time_and_keys_of_several_rows_are_found(database: Database) -> None:
    database.add("R1", "A", "1", "2026-03-02 09:00:00+08")
    database.add("R1", "A", "2", "2026-03-02 09:00:00+08")
    reader = database.reader()
    assert reader.left_out() is None
    with pytest.raises(ViewChanged) as caught:
        reader.check_key(reader.page(rows=1)[0])
    assert "2 行" in caught.value.detail_zh
    database.run(f"INSERT INTO {database.view.name}(检验单号) VALUES('R9')")
    assert "共 1 行" in str(getattr(reader.left_out(), "detail_zh", ""))


def test_a_database_that_is_not_there_is_told_by_its_address(database: Database, tmp_path: Path) -> None:
    nowhere = {"database": str(tmp_path / "gone.db")} if database.sqlite else {"host": str(tmp_path)}
    with pytest.raises(ViewError) as caught:
        database.reader(**nowhere)
    assert caught.value.place.startswith(database.view.driver) and str(tmp_path) in caught.value.place
