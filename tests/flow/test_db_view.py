"""A hospital's database view, by data files alone: searchable, corrected, late, cut off, away and back."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.config import password_of
from gateway.errors import ViewChanged
from gateway.inbound.db_view.door import ViewDoor
from gateway.inbox.queue import Entry
from gateway.model.resource import Json
from gateway.model.view import Reading
from tests.flow.alliance import Alliance
from tests.flow.messages import card
from tests.flow.victim import start

RESIDENT, OTHER = card(77), card(78)
_SOURCE = """
name: 区人民医院
level: secondary
provides: [visits, labs]
sources:
  district_visits:
    format: csv
    title: 区医院门诊视图
    settings: {{kind.clinic: "门诊号 卡号 看诊时间"}}
    view:
      driver: sqlite
      database: {database}
      name: V_MZJL
      key: [门诊号, 看诊时间]
      changed: 更新时间
      every_s: {every}
      page_rows: 3
  district_labs:
    format: csv
    title: 区医院检验视图
    view:
      driver: sqlite
      database: {database}
      name: V_JYJG
      columns: {{JYDH: 检验单号, HZID: 病人编号, SFZH: 身份证号, XM: 姓名, XB: 性别, CSRQ: 出生日期, XMBH: 项目编号,
        XMMC: 项目名称, JG: 结果, DW: 单位, CKFW: 参考范围, CYSJ: 采样时间, BGSJ: 报告时间}}
      key: [JYDH, XMBH]
      changed: XH
      overlap: 10
      every_s: {every}
      page_rows: 4
  district_queue:
    format: csv
    title: 区医院中间表
    settings: {{kind.clinic: "门诊号 卡号 看诊时间"}}
    view:
      driver: sqlite
      database: {database}
      name: T_MZ
      key: 门诊号
      every_s: {every}
      page_rows: 2
      claim: {{column: 已取, taken: "1"}}
"""
_CLINIC = """
format: csv
serves: clinic
source: 区医院视图说明
rules:
  - rule: patient
    each: rows
    to: Patient
    id: [门诊号]
    set:
      identifier: [{system: $ID_CARD, value: {from: 卡号, by: card}}]
      name: [{text: {from: 姓名}}]
      gender: {from: 性别, by: code, table: gender}
      birthDate: {from: 生日, by: date}
  - rule: encounter
    each: rows
    to: Encounter
    id: [门诊号, 看诊时间]
    set:
      status: finished
      class: {system: $ACT_CODE, code: AMB}
      type: [{text: {from: 科室}}]
      subject: $subject
      period: {start: {from: 看诊时间, by: dateTime}}
      serviceProvider: $member
ignore:
  - {field: [更新时间, 已取], because: 视图的水位与标记}
"""
_TABLES = """
CREATE TABLE mz(门诊号 TEXT, 卡号 TEXT, 姓名 TEXT, 性别 TEXT, 生日 TEXT, 看诊时间 TEXT, 科室 TEXT, 更新时间 TEXT);
CREATE VIEW V_MZJL AS SELECT * FROM mz;
CREATE TABLE jy(JYDH, HZID, SFZH, XM, XB, CSRQ, XMBH, XMMC, JG, DW, CKFW, CYSJ, BGSJ, XH INTEGER);
CREATE VIEW V_JYJG AS SELECT * FROM jy;
CREATE TABLE T_MZ(门诊号 TEXT, 卡号 TEXT, 姓名 TEXT, 性别 TEXT, 生日 TEXT, 看诊时间 TEXT, 科室 TEXT, 已取 TEXT);
"""


class His:
    """The hospital's database, and what its own programs do to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(sqlite3.connect(path)) as db:
            db.executescript(_TABLES)

    def run(self, sql: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute(sql, values)

    def rows(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as db:
            return db.execute(sql).fetchall()

    def visit(
        self, number: str, changed: str, person: str = RESIDENT, *, dept: str = "内科", table: str = "mz"
    ) -> None:
        """A visit; of the intermediate table without a claim."""
        last = changed if table == "mz" else None
        row = (number, person, "测试居民", _sex(person), _born(person), "2026-03-02 09:10:00", dept, last)
        self.run(f"INSERT INTO {table} VALUES(?, ?, ?, ?, ?, ?, ?, ?)", *row)

    def item(self, report: str, code: str, result: str, number: int, person: str = RESIDENT) -> None:
        row = (
            report,
            "Q100",
            person,
            "测试居民",
            _sex(person),
            _born(person),
            code,
            f"项目{code}",
            result,
            "g/L",
            "3-9",
        )
        times = ("2026-03-02 08:00:00", "2026-03-02 10:00:00")
        self.run(f"INSERT INTO jy VALUES({','.join('?' * 14)})", *row, *times, number)


def _sex(person: str) -> str:
    return "男" if int(person[16]) % 2 else "女"


def _born(person: str) -> str:
    return f"{person[6:10]}-{person[10:12]}-{person[12:14]}"


@pytest.fixture
def his(tmp_path: Path) -> His:
    return His(tmp_path / "his.db")


@pytest.fixture
def maps(tmp_path: Path, his: His) -> Path:
    """What the hospital's engineer writes. The gateway reads once when it starts, then an hour later."""
    member = tmp_path / "maps" / "district_hospital"
    member.mkdir(parents=True)
    (member / "source.yaml").write_text(_SOURCE.format(database=his.path, every=3600), encoding="utf-8")
    (member / "clinic.yaml").write_text(_CLINIC, encoding="utf-8")
    return tmp_path / "maps"


class Hospital(Alliance):
    """The alliance with this hospital; `read` is a reading at a time of the test's choice."""

    def __init__(self, home: Path, maps: Path) -> None:
        super().__init__(home, mappings=maps)
        self.doors: dict[str, ViewDoor] = {}

    def reading(self, source: str) -> Reading:
        found = self.run(self.gateway.inbox.messages.positions.readings())
        return found.get(source, Reading(""))

    def until(self, source: str, good: Callable[[Reading], bool]) -> Reading:
        """How it goes with a source once it is good so."""
        end = time.monotonic() + 60
        while not good(found := self.reading(source)):
            assert time.monotonic() < end, found
            time.sleep(0.02)
        return found

    def read(self, source: str) -> int:
        """Everything that is new, processed; how many rows that were."""
        if source not in self.doors:
            gateway = self.gateway
            positions, known = gateway.inbox.messages.positions, gateway.directory.sources[source]
            self.doors[source] = ViewDoor(gateway.intake, positions, known, password_of, gateway.shared.clock)
        new = self.run(self.doors[source].read())
        self.drain()
        return new

    def kept(self, source: str) -> list[Entry]:
        return self.run(self.gateway.inbox.messages.entries(source=source, limit=100))

    def visits(self, person: str = RESIDENT) -> list[Json]:
        return self.of(person, "Encounter")


@pytest.fixture
def joined(tmp_path: Path, maps: Path) -> Iterator[Hospital]:
    """After the first look at empty views."""
    fresh = Hospital(tmp_path / "home", maps)
    for source in ("district_visits", "district_labs", "district_queue"):
        fresh.until(source, lambda one: one.read_at > 0)
    yield fresh
    fresh.close()


@pytest.fixture
def polling(tmp_path: Path, maps: Path, his: His) -> Iterator[Hospital]:
    """Reading every second, by itself."""
    path = maps / "district_hospital" / "source.yaml"
    path.write_text(path.read_text("utf-8").replace("every_s: 3600", "every_s: 1"), encoding="utf-8")
    fresh = Hospital(tmp_path / "home", maps)
    yield fresh
    fresh.close()


def test_a_row_of_a_view_is_found_by_the_card_number(joined: Hospital, his: His) -> None:
    for number in range(5):  # more than a page
        his.visit(f"Q10{number}", "2026-03-02 10:00:00")
    joined.read("district_visits")
    assert len(joined.visits()) == 5
    assert {one["serviceProvider"]["display"] for one in joined.visits()} == {"区人民医院"}
    assert joined.reading("district_visits").rows == 5


def test_a_corrected_row_is_a_new_version_and_nothing_is_read_twice(joined: Hospital, his: His) -> None:
    his.visit("Q100", "2026-03-02 10:00:00")
    joined.read("district_visits")
    his.run("UPDATE mz SET 科室 = '外科'")
    joined.read("district_visits")
    (visit,) = joined.visits()
    assert (visit["type"][0]["text"], visit["meta"]["versionId"]) == ("外科", "2")
    joined.read("district_visits")
    assert len(joined.kept("district_visits")) == 2
    his.run("UPDATE mz SET 科室 = '内科'")  # to the letter what it was at first
    joined.read("district_visits")
    assert joined.visits()[0]["type"][0]["text"] == "内科"


def test_a_row_that_commits_late_below_the_watermark_is_not_lost(joined: Hospital, his: His) -> None:
    his.visit("Q100", "2026-03-02 10:00:00")
    joined.read("district_visits")
    his.visit("Q101", "2026-03-02 09:55:00", OTHER)
    joined.read("district_visits")
    assert len(joined.visits(OTHER)) == 1
    assert len(joined.kept("district_visits")) == 2, "what was read before is not kept again"


def test_lines_of_a_report_come_together_however_pages_and_changes_cut_them(joined: Hospital, his: His) -> None:
    for number in range(6):
        his.item("R1", f"A{number}", f"5.{number}0", number + 1)
    joined.read("district_labs")
    (report,) = joined.of(RESIDENT, "DiagnosticReport")
    assert len(report["result"]) == 6
    his.run("UPDATE jy SET JG = '7.10', XH = 50 WHERE XMBH = 'A3'")
    joined.read("district_labs")
    results = joined.of(RESIDENT, "Observation")
    assert {one["status"] for one in results} == {"final"}, "the lines that did not change were sent with it"
    assert sorted(str(one["valueQuantity"]["value"]) for one in results)[-1] == "7.10"
    (report,) = joined.of(RESIDENT, "DiagnosticReport")
    assert len(report["result"]) == 6


def test_rows_of_an_intermediate_table_are_marked_once_they_are_kept(joined: Hospital, his: His) -> None:
    for number in range(3):
        his.visit(f"Q10{number}", "", table="T_MZ")
    joined.read("district_queue")
    assert his.rows("SELECT DISTINCT 已取 FROM T_MZ") == [("1",)]
    assert len(joined.visits()) == 3
    count = len(joined.kept("district_queue"))
    his.run("UPDATE T_MZ SET 科室 = '外科', 已取 = NULL WHERE 门诊号 = 'Q101'")  # written again, to be taken again
    joined.read("district_queue")
    assert sorted(one["type"][0]["text"] for one in joined.visits()) == ["内科", "内科", "外科"]
    assert len(joined.kept("district_queue")) == count + 1


def test_a_row_with_a_bad_value_is_named_by_its_key_and_the_others_go_on(joined: Hospital, his: His) -> None:
    his.visit("Q100", "2026-03-02 10:00:00")
    his.visit("Q101", "2026-03-02 10:00:01")
    his.run("UPDATE mz SET 看诊时间 = '2026-02-30 09:00:00' WHERE 门诊号 = 'Q101'")
    joined.read("district_visits")
    assert len(joined.visits()) == 1
    (entry,) = joined.kept("district_visits")
    found = joined.run(joined.gateway.store.done([entry.key]))[entry.key].decode()
    assert "V_MZJL[Q101/2026-02-30 09:00:00], column 看诊时间" in found


def test_long_texts_of_many_lines_and_a_wrong_clock_do_no_harm(joined: Hospital, his: His) -> None:
    note = "一，二,三,四,五,六,七,八\n" * 3 + '"未配对的引号'
    his.visit("Q100", "2099-01-01 00:00:00", dept=note)
    assert joined.read("district_visits") == 1
    assert joined.visits()[0]["type"][0]["text"] == note
    his.visit("Q101", "2026-03-02 10:00:00")
    assert joined.read("district_visits") == 1
    assert len(joined.visits()) == 2


def test_values_in_no_order_stop_the_view_and_say_so(joined: Hospital, his: His) -> None:
    his.visit("Q100", "2026-03-02 10:00:00")
    joined.read("district_visits")
    his.run("DROP VIEW V_MZJL")
    columns = "门诊号, 卡号, 姓名, 性别, 生日, 看诊时间, 科室"
    his.run(f"CREATE VIEW V_MZJL AS SELECT {columns}, rowid AS 更新时间 FROM mz")
    with pytest.raises(ViewChanged) as caught:
        joined.read("district_visits")
    assert caught.value.place == "V_MZJL, column 更新时间" and "类型变了" in caught.value.detail_zh


def _is_told_everywhere(polling: Hospital) -> None:
    """On the console with what to do, in the metrics, and as a number to whoever asks for health."""
    page = polling.client.get("/console/", headers=polling.bearer("admin")).text
    assert "视图 V_MZJL" in page and "<code>GW-INB-052</code>" in page and "no such table" in page
    assert "视图 V_JYJG：刚刚读到头，共 1 行" in page
    metrics = polling.client.get("/metrics", headers=polling.bearer("admin")).text
    assert 'gateway_view_up{source="district_visits",view="V_MZJL"} 0' in metrics
    assert 'gateway_view_rows_total{source="district_labs",view="V_JYJG"} 1' in metrics
    health = polling.client.get("/health/ready")
    assert (health.status_code, health.json()) == (200, {"status": "up", "views_failing": 1})


def test_a_view_that_goes_away_is_told_and_read_on_when_it_is_back(polling: Hospital, his: His) -> None:
    his.visit("Q100", "2026-03-02 10:00:00")
    polling.until("district_visits", lambda one: one.rows == 1)
    his.run("DROP VIEW V_MZJL")
    fault = polling.until("district_visits", lambda one: one.fault is not None).fault
    assert fault is not None and fault.code == "GW-INB-052" and fault.place == "V_MZJL" and "no such table" in fault.zh
    his.item("R1", "A1", "5.10", 1)
    polling.until("district_labs", lambda one: one.rows == 1)
    _is_told_everywhere(polling)
    his.visit("Q101", "2026-03-02 10:05:00")
    his.run("CREATE VIEW V_MZJL AS SELECT * FROM mz")
    polling.until("district_visits", lambda one: one.fault is None and one.rows == 2)
    polling.drain()
    assert len(polling.visits()) == 2


def test_a_column_that_vanishes_stops_the_view_instead_of_emptying_its_element(polling: Hospital, his: His) -> None:
    his.visit("Q100", "2026-03-02 10:00:00")
    polling.until("district_visits", lambda one: one.rows == 1)
    his.run("DROP VIEW V_MZJL")
    his.run("CREATE VIEW V_MZJL AS SELECT 门诊号, 卡号, 姓名, 性别, 生日, 看诊时间, 更新时间 FROM mz")
    his.run("UPDATE mz SET 更新时间 = '2026-03-02 12:00:00'")
    fault = polling.until("district_visits", lambda one: one.fault is not None and "column" in one.fault.place).fault
    assert fault is not None and fault.place == "V_MZJL, column 科室"
    assert polling.visits()[0]["type"][0]["text"] == "内科"


def test_a_new_source_with_a_view_is_read_without_a_restart(polling: Hospital, maps: Path, his: His) -> None:
    path = maps / "district_hospital" / "source.yaml"
    path.write_text(path.read_text("utf-8").replace("district_labs:", "district_results:"), encoding="utf-8")
    proof = polling.run(polling.gateway.proof.attempt(switch=True))
    assert proof.switched, proof
    his.item("R1", "A1", "5.10", 1)
    polling.until("district_results", lambda one: one.rows == 1)


def test_rows_without_key_or_time_are_counted_and_told(tmp_path: Path, maps: Path, his: His) -> None:
    his.visit("Q100", "2026-03-02 10:00:00")
    his.run("INSERT INTO mz(门诊号, 卡号, 看诊时间) VALUES('Q101', ?, '2026-03-02 09:00:00')", OTHER)
    joined = Hospital(tmp_path / "home", maps)
    found = joined.until("district_visits", lambda one: one.read_at > 0)
    joined.close()
    assert found.rows == 1
    assert found.left_out is not None and found.left_out.code == "GW-INB-054" and "共 1 行" in found.left_out.zh


def test_a_kill_between_message_and_position_makes_nothing_twice(tmp_path: Path, maps: Path, his: His) -> None:
    his.visit("Q100", "2026-03-02 10:00:00")
    process, *_ = start(tmp_path / "home", mappings=maps, cut="district_visits")
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    again = Hospital(tmp_path / "home", maps)
    try:
        again.until("district_visits", lambda one: one.read_at > 0)
        assert again.reading("district_visits").rows == 1, "it was read again"
        assert len(again.kept("district_visits")) == 1, "and was on disk already"
        (visit,) = again.visits()
        assert visit["meta"]["versionId"] == "1"
    finally:
        again.close()


def test_a_restart_reads_on_where_it_was(tmp_path: Path, maps: Path, his: His) -> None:
    for number in range(4):
        his.visit(f"Q10{number}", "2026-03-02 10:00:00")
    for wanted in (2, 3):
        one = Hospital(tmp_path / "home", maps)
        one.until("district_visits", lambda one, wanted=wanted: one.rows == wanted + 2)
        assert len(one.kept("district_visits")) == wanted
        one.close()
        his.visit("Q200", "2026-03-02 10:00:01", OTHER)


def test_a_view_is_tried_without_storing_anything(maps: Path, his: His, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["try", "--mappings", str(maps), "--view"]
    for number in range(3):
        his.visit(f"Q10{number}", f"2026-03-02 10:00:0{number}", table="mz")
    his.visit("Q200", "", table="T_MZ")
    assert main([*asked, "district_visits", "--rows", "2"]) == 0
    shown = capsys.readouterr()
    assert "V_MZJL：2 行" in shown.err and "Q102" in shown.err and "Q100" not in shown.err, "the newest"
    assert "未用字段 0" in shown.err and '"resourceType":"Encounter"' in shown.out
    assert main([*asked, "district_queue"]) == 0
    assert his.rows("SELECT 已取 FROM T_MZ") == [(None,)]
    his.run("UPDATE mz SET 生日 = '不详' WHERE 门诊号 = 'Q102'")
    assert main([*asked, "district_visits", "--json"]) == 5
    assert "V_MZJL[Q102/2026-03-02 09:10:00], column 生日" in capsys.readouterr().out
    his.run("DROP VIEW V_MZJL")
    assert main([*asked, "district_visits"]) == 3
    his.path.unlink()
    assert main([*asked, "district_visits"]) == 4
    assert main([*asked, "sandbox"]) == 3
    assert main(["try", "--mappings", str(maps)]) == 2
